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
