// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser.Internal;

/// <summary>Sizes and flag bits of the vfio-user messages. All fields are in host byte order, little endian here.</summary>
internal static class Wire
{
    /// <summary>Header: u16 id, u16 command, u32 size, u32 flags, u32 error.</summary>
    internal const int HeaderSize = 16;

    /// <summary>VFIO_USER_F_TYPE_MASK: 0 command, 1 reply.</summary>
    internal const uint TypeMask = 0xF;
    internal const uint TypeCommand = 0;
    internal const uint TypeReply = 1;
    internal const uint NoReply = 0x10;
    internal const uint Error = 0x20;

    /// <summary>u16 major, u16 minor; JSON follows.</summary>
    internal const int VersionSize = 4;

    /// <summary>u32 argsz, u32 flags, u64 offset, u64 address, u64 size.</summary>
    internal const int DmaMapSize = 32;
    internal const uint DmaMapFileIo = 8;
    internal const uint DmaMapFlags = 0xF;

    /// <summary>u32 argsz, u32 flags, u64 address, u64 size.</summary>
    internal const int DmaUnmapSize = 24;
    internal const uint DmaUnmapGetDirtyBitmap = 1;
    internal const uint DmaUnmapAll = 2;

    /// <summary>u32 argsz, u32 flags, u32 num_regions, u32 num_irqs.</summary>
    internal const int DeviceInfoSize = 16;

    /// <summary>VFIO_DEVICE_FLAGS_RESET and VFIO_DEVICE_FLAGS_PCI.</summary>
    internal const uint DeviceFlags = 3;

    /// <summary>u32 argsz, u32 flags, u32 index, u32 cap_offset, u64 size, u64 offset.</summary>
    internal const int RegionInfoSize = 32;

    /// <summary>u32 argsz, u32 flags, u32 index, u32 count.</summary>
    internal const int IrqInfoSize = 16;

    /// <summary>u32 argsz, u32 flags, u32 index, u32 start, u32 count; data follows.</summary>
    internal const int IrqSetSize = 20;

    /// <summary>u64 offset, u32 region, u32 count; data follows.</summary>
    internal const int RegionAccessSize = 16;

    /// <summary>DMA_READ, DMA_WRITE: u64 address, u64 count; data follows.</summary>
    internal const int DmaAccessSize = 16;

    /// <summary>The reply to DMA_WRITE as the specification's table has it: u64 address, u32 count.</summary>
    internal const int DmaWriteReplySize = 12;

    /// <summary>u32 argsz, u32 flags, u32 index, u32 count; sub-regions follow.</summary>
    internal const int RegionIoFdsSize = 16;

    /// <summary>u64 offset, u64 size, u32 fd_index, u32 type, u32 flags, u32 padding, u64 datamatch.</summary>
    internal const int IoEventFdSize = 40;

    /// <summary>VFIO_USER_IO_FD_TYPE_IOEVENTFD.</summary>
    internal const uint IoEventFdType = 0;

    /// <summary>KVM_IOEVENTFD_FLAG_DATAMATCH.</summary>
    internal const uint IoEventFdDataMatch = 1;

    /// <summary>VFIO_REGION_INFO_FLAG_MMAP.</summary>
    internal const uint RegionMmap = 4;

    /// <summary>VFIO_REGION_INFO_FLAG_CAPS.</summary>
    internal const uint RegionCaps = 8;

    /// <summary>VFIO_REGION_INFO_CAP_SPARSE_MMAP.</summary>
    internal const ushort SparseMmapCapability = 1;

    /// <summary>u16 id, u16 version, u32 next, u32 nr_areas, u32 reserved; areas follow.</summary>
    internal const int SparseMmapSize = 16;

    /// <summary>u64 offset, u64 size.</summary>
    internal const int SparseAreaSize = 16;

    /// <summary>u32 argsz, u32 flags; data follows.</summary>
    internal const int FeatureSize = 8;
    internal const uint FeatureMask = 0xFFFF;
    internal const uint FeatureGet = 0x1_0000;
    internal const uint FeatureSet = 0x2_0000;
    internal const uint FeatureProbe = 0x4_0000;

    /// <summary>VFIO_DEVICE_FEATURE_DMA_LOGGING_START, _STOP and _REPORT.</summary>
    internal const uint DmaLoggingStart = 6;
    internal const uint DmaLoggingStop = 7;
    internal const uint DmaLoggingReport = 8;

    /// <summary>u64 page_size, u32 num_ranges, u32 reserved; ranges follow.</summary>
    internal const int LoggingControlSize = 16;

    /// <summary>u64 iova, u64 length.</summary>
    internal const int LoggingRangeSize = 16;

    /// <summary>u64 iova, u64 length, u64 page_size; the bitmap follows in the reply.</summary>
    internal const int LoggingReportSize = 24;

    /// <summary>Most ranges of one DMA_LOGGING_START.</summary>
    internal const int LoggingRangesMaximum = 256;

    /// <summary>u64 wr_cnt; entries follow.</summary>
    internal const int WriteMultiSize = 8;

    /// <summary>u64 offset, u32 region, u32 count, 8 bytes of data.</summary>
    internal const int WriteMultiEntrySize = 24;
    internal const int WriteMultiEntryData = 8;

    /// <summary>Bounds what one REGION_WRITE_MULTI can make the device queue.</summary>
    internal const int WriteMultiMaximum = 256;

    /// <summary>Default of max_data_xfer_size.</summary>
    internal const int DefaultMaxDataTransfer = 1024 * 1024;

    /// <summary>Descriptors in one message (max_msg_fds); the most QEMU takes.</summary>
    internal const int MaxDescriptors = 16;
}
