// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using Cosim.Backend.Internal;
using Cosim.VfioUser;
using Cosim.Virtio;

namespace Cosim.Backend;

/// <summary>virtio-blk (virtio 1.3, 5.2) on an image file or a raw block device.</summary>
public sealed unsafe class BlockBackend : IDeviceBackend
{
    /// <summary>VIRTIO_BLK_F_SIZE_MAX, SEG_MAX, BLK_SIZE, FLUSH.</summary>
    private const ulong CommonFeatures = (1 << 1) | (1 << 2) | (1 << 6) | (1 << 9);

    /// <summary>VIRTIO_BLK_F_RO.</summary>
    private const ulong ReadOnlyFeature = 1 << 5;

    /// <summary>VIRTIO_BLK_F_DISCARD, WRITE_ZEROES.</summary>
    private const ulong WritableFeatures = (1 << 13) | (1 << 14);

    private const int ConfigurationSize = 60;
    private const int SectorSize = 512;
    private const int HeaderSize = 16;
    private const int RangeSize = 16;
    private const int SerialSize = 20;
    private const int SegmentMaximum = 126;
    private const int RangeMaximum = 16;

    /// <summary>4 MiB: what one entry of a discard or write zeroes may cover.</summary>
    private const uint RangeSectors = 8192;

    private readonly byte[] _configuration = new byte[ConfigurationSize];
    private readonly byte[] _serial = new byte[SerialSize];
    private readonly byte[] _zeros = GC.AllocateArray<byte>(64 * 1024, pinned: true);
    private readonly string _path;
    private readonly bool _readOnly;
    private readonly Action<string> _report;
    private readonly ulong _sectors;
    private int _fd;

    /// <summary>Opens the image.</summary>
    /// <param name="path">A file or a block device; its size is a multiple of 512 bytes, and not 0.</param>
    /// <param name="readOnly">Writes are refused.</param>
    /// <param name="serial">What GET_ID answers: at most 20 bytes of ASCII.</param>
    /// <param name="poolSize">Requests are kept small enough for a pool of this many bytes.</param>
    /// <param name="report">Takes a sentence for each I/O error.</param>
    /// <exception cref="BackendException">The image cannot be opened or has such a size.</exception>
    public BlockBackend(string path, bool readOnly, string serial, ulong poolSize, Action<string> report)
    {
        ArgumentNullException.ThrowIfNull(serial);
        _path = path;
        _readOnly = readOnly;
        _report = report;
        _fd = Linux.Open(path, (readOnly ? Linux.O_RDONLY : Linux.O_RDWR) | Linux.O_CLOEXEC);
        if (_fd < 0)
        {
            throw new BackendException($"The image {path} cannot be opened: {Linux.LastError}.");
        }

        long size = Linux.Seek(_fd, 0, Linux.SEEK_END);
        if (size <= 0 || size % SectorSize != 0)
        {
            Dispose();
            throw new BackendException($"The image {path} has {size} bytes; expected a multiple of {SectorSize} above 0.");
        }

        if (Encoding.UTF8.GetByteCount(serial) > SerialSize)
        {
            Dispose();
            throw new BackendException($"The serial \"{serial}\" is longer than {SerialSize} bytes.");
        }

        Encoding.UTF8.GetBytes(serial, _serial);
        _sectors = (ulong)size / SectorSize;

        // Several requests of the greatest size have to fit the pool at once, or one of them stalls the others.
        ulong segment = Math.Clamp(poolSize / 8 / SegmentMaximum / 4096 * 4096, 4096, 65536);
        BinaryPrimitives.WriteUInt64LittleEndian(_configuration, _sectors); // capacity
        BinaryPrimitives.WriteUInt32LittleEndian(_configuration.AsSpan(8), (uint)segment); // size_max
        BinaryPrimitives.WriteUInt32LittleEndian(_configuration.AsSpan(12), SegmentMaximum); // seg_max
        BinaryPrimitives.WriteUInt32LittleEndian(_configuration.AsSpan(20), SectorSize); // blk_size
        BinaryPrimitives.WriteUInt16LittleEndian(_configuration.AsSpan(34), 1); // num_queues
        BinaryPrimitives.WriteUInt32LittleEndian(_configuration.AsSpan(36), RangeSectors); // max_discard_sectors
        BinaryPrimitives.WriteUInt32LittleEndian(_configuration.AsSpan(40), RangeMaximum); // max_discard_seg
        BinaryPrimitives.WriteUInt32LittleEndian(_configuration.AsSpan(44), 1); // discard_sector_alignment
        BinaryPrimitives.WriteUInt32LittleEndian(_configuration.AsSpan(48), RangeSectors); // max_write_zeroes_sectors
        BinaryPrimitives.WriteUInt32LittleEndian(_configuration.AsSpan(52), RangeMaximum); // max_write_zeroes_seg
        _configuration[56] = 1; // write_zeroes_may_unmap
    }

    private enum RequestType : uint
    {
        In = 0,
        Out = 1,
        Flush = 4,
        GetId = 8,
        Discard = 11,
        WriteZeroes = 13,
    }

    private enum Status : byte
    {
        Ok = 0,
        IoError = 1,
        Unsupported = 2,
    }

    /// <inheritdoc/>
    public string Description => $"blk {_path}, {_sectors * SectorSize} bytes{(_readOnly ? ", read-only" : string.Empty)}";

    /// <inheritdoc/>
    public VirtioDeviceId DeviceId => VirtioDeviceId.Block;

    /// <summary>SCSI storage controller, as virtio-blk on PCI has always called itself; revision 1.</summary>
    public uint ClassRevision => 0x0100_0001;

    /// <inheritdoc/>
    public int QueueCount => 1;

    /// <inheritdoc/>
    public int QueueSize => 256;

    /// <inheritdoc/>
    public ulong Features => CommonFeatures | (_readOnly ? ReadOnlyFeature : WritableFeatures);

    /// <inheritdoc/>
    public ReadOnlySpan<byte> Configuration => _configuration;

    /// <inheritdoc/>
    public void Attach(EventLoop loop, Action configurationChanged)
    {
        // All work is done when the queue is served, and the image does not change its size.
    }

    /// <inheritdoc/>
    public void Serve(Virtqueue queue)
    {
        do
        {
            queue.SuppressKicks();
            while (queue.TryTake())
            {
                uint written = Carry(queue.Chain);
                queue.Complete(queue.Chain.Head, written);

                // One call each: the FPGA fetches what is done while the next request is at the disk.
                queue.Call();
            }
        }
        while (queue.Rearm());
    }

    /// <summary>Closes the image.</summary>
    public void Dispose()
    {
        if (_fd >= 0)
        {
            _ = Linux.Close(_fd);
            _fd = -1;
        }
    }

    /// <summary>Carries one request out.</summary>
    /// <returns>How many bytes were written to the driver's buffer.</returns>
    private uint Carry(DescriptorChain chain)
    {
        Span<byte> header = stackalloc byte[HeaderSize];
        if (chain.WritableLength == 0)
        {
            _report($"{_path}: a request without room for its status was dropped.");
            return 0;
        }

        ulong room = chain.WritableLength - 1;
        ulong written = 0;
        Status status = Status.IoError;
        if (chain.Read(0, header) == HeaderSize)
        {
            ulong sector = BinaryPrimitives.ReadUInt64LittleEndian(header[8..]);
            status = (RequestType)BinaryPrimitives.ReadUInt32LittleEndian(header) switch
            {
                RequestType.In => ReadImage(chain, sector, room, out written),
                RequestType.Out => WriteImage(chain, sector),
                RequestType.Flush => Linux.SyncData(_fd) == 0 ? Status.Ok : Failed("flush", 0),
                RequestType.GetId => GetId(chain, room, out written),
                RequestType.Discard => ChangeRanges(chain, discard: true),
                RequestType.WriteZeroes => ChangeRanges(chain, discard: false),
                _ => Status.Unsupported,
            };
        }

        // The status is the last byte: everything before it counts as written, so it must not be what lay there before.
        chain.Clear(written, room - written);
        _ = chain.Write(room, [(byte)status]);
        return (uint)chain.WritableLength;
    }

    private Status ReadImage(DescriptorChain chain, ulong sector, ulong length, out ulong done)
    {
        done = 0;
        if (!IsInside(sector, length))
        {
            return Status.IoError;
        }

        while (done < length && chain.Find(writable: true, done, out byte* address, out ulong available))
        {
            nint part = Linux.ReadAt(_fd, address, (nuint)Math.Min(available, length - done), (long)((sector * SectorSize) + done));
            if (part > 0)
            {
                done += (ulong)part;
            }
            else if (part == 0 || Marshal.GetLastPInvokeError() != Linux.EINTR)
            {
                return Failed("read", sector, part);
            }
        }

        return Status.Ok;
    }

    private Status WriteImage(DescriptorChain chain, ulong sector)
    {
        ulong length = chain.ReadableLength - HeaderSize;
        if (_readOnly || !IsInside(sector, length))
        {
            return Status.IoError;
        }

        ulong done = 0;
        while (done < length && chain.Find(writable: false, HeaderSize + done, out byte* address, out ulong available))
        {
            nint part = Linux.WriteAt(_fd, address, (nuint)Math.Min(available, length - done), (long)((sector * SectorSize) + done));
            if (part > 0)
            {
                done += (ulong)part;
            }
            else if (part == 0 || Marshal.GetLastPInvokeError() != Linux.EINTR)
            {
                return Failed("write", sector, part);
            }
        }

        return Status.Ok;
    }

    private Status GetId(DescriptorChain chain, ulong room, out ulong written)
    {
        // A serial shorter than its field ends in a NUL; the driver's buffer may be shorter than the field (5.2.6).
        written = (ulong)chain.Write(0, _serial.AsSpan(0, (int)Math.Min(room, SerialSize)));
        return Status.Ok;
    }

    private Status ChangeRanges(DescriptorChain chain, bool discard)
    {
        ulong length = chain.ReadableLength - HeaderSize;
        if (_readOnly || length == 0 || length % RangeSize != 0 || length / RangeSize > RangeMaximum)
        {
            return _readOnly ? Status.IoError : Status.Unsupported;
        }

        Span<byte> range = stackalloc byte[RangeSize];
        for (ulong offset = 0; offset < length; offset += RangeSize)
        {
            _ = chain.Read(HeaderSize + offset, range);
            ulong sector = BinaryPrimitives.ReadUInt64LittleEndian(range);
            uint sectors = BinaryPrimitives.ReadUInt32LittleEndian(range[8..]);
            uint flags = BinaryPrimitives.ReadUInt32LittleEndian(range[12..]);

            // Bit 0, unmap, is for write zeroes only; the others are reserved (5.2.6.1).
            if ((flags & ~1u) != 0 || (discard && flags != 0))
            {
                return Status.Unsupported;
            }

            if (sectors > RangeSectors || !IsInside(sector, (ulong)sectors * SectorSize))
            {
                return Status.IoError;
            }

            Status status = sectors == 0
                ? Status.Ok
                : discard ? Discard(sector, sectors) : WriteZeroes(sector, sectors, unmap: flags != 0);
            if (status != Status.Ok)
            {
                return status;
            }
        }

        return Status.Ok;
    }

    private Status Discard(ulong sector, uint sectors)
    {
        // What was discarded may keep its content, so storage that cannot do it has done it (5.2.6.2).
        return Linux.Allocate(
            _fd,
            Linux.FALLOC_FL_PUNCH_HOLE | Linux.FALLOC_FL_KEEP_SIZE,
            (long)(sector * SectorSize),
            (long)sectors * SectorSize) == 0
            || Marshal.GetLastPInvokeError() == Linux.EOPNOTSUPP
            ? Status.Ok
            : Failed("discard", sector);
    }

    private Status WriteZeroes(ulong sector, uint sectors, bool unmap)
    {
        long start = (long)(sector * SectorSize);
        long length = (long)sectors * SectorSize;
        int mode = (unmap ? Linux.FALLOC_FL_PUNCH_HOLE : Linux.FALLOC_FL_ZERO_RANGE) | Linux.FALLOC_FL_KEEP_SIZE;
        if (Linux.Allocate(_fd, mode, start, length) == 0)
        {
            return Status.Ok;
        }

        fixed (byte* zeros = _zeros)
        {
            while (length > 0)
            {
                nint part = Linux.WriteAt(_fd, zeros, (nuint)Math.Min(length, _zeros.Length), start);
                if (part > 0)
                {
                    start += part;
                    length -= part;
                }
                else if (part == 0 || Marshal.GetLastPInvokeError() != Linux.EINTR)
                {
                    return Failed("write zeroes", sector, part);
                }
            }
        }

        return Status.Ok;
    }

    private bool IsInside(ulong sector, ulong length) =>
        length % SectorSize == 0 && sector <= _sectors && length / SectorSize <= _sectors - sector;

    private Status Failed(string what, ulong sector, nint result = -1)
    {
        _report($"{_path}: {what} at sector {sector} failed: {(result < 0 ? Linux.LastError : "the image ends there")}.");
        return Status.IoError;
    }
}
