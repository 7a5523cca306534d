// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Text;
using Cosim.Backend.Internal;
using Cosim.VfioUser;
using Cosim.Virtio;

namespace Cosim.Backend;

/// <summary>virtio-blk (virtio 1.3, 5.2) on an image file or a raw block device.</summary>
/// <remarks>
/// Not offered: LIFETIME (a file has no such metrics), SECURE_ERASE (punched holes are no erasure), ZONED (there are no zones); requests of
/// theirs are unsupported.
/// </remarks>
public sealed unsafe class BlockBackend : IDeviceBackend
{
    /// <summary>What GET_ID gives (VIRTIO_BLK_ID_BYTES).</summary>
    public const int SerialSize = 20;

    /// <summary>VIRTIO_BLK_F_SIZE_MAX, SEG_MAX, GEOMETRY, BLK_SIZE, TOPOLOGY, MQ.</summary>
    private const ulong CommonFeatures = (1 << 1) | (1 << 2) | (1 << 4) | (1 << 6) | (1 << 10) | (1 << 12);

    /// <summary>VIRTIO_BLK_F_RO.</summary>
    private const ulong ReadOnlyFeature = 1 << 5;

    /// <summary>VIRTIO_BLK_F_FLUSH.</summary>
    private const ulong FlushFeature = 1 << 9;

    /// <summary>VIRTIO_BLK_F_CONFIG_WCE.</summary>
    private const ulong ConfigWceFeature = 1 << 11;

    /// <summary>VIRTIO_BLK_F_DISCARD.</summary>
    private const ulong DiscardFeature = 1 << 13;

    /// <summary>VIRTIO_BLK_F_WRITE_ZEROES.</summary>
    private const ulong WriteZeroesFeature = 1 << 14;

    private const int ConfigurationSize = 60;
    private const int WritebackOffset = 32;
    private const int SectorSize = 512;
    private const int HeaderSize = 16;
    private const int RangeSize = 16;
    private const int SegmentMaximum = 126;
    private const int RangeMaximum = 16;

    /// <summary>4 MiB: what one entry of a discard or write zeroes may cover.</summary>
    private const uint RangeSectors = 8192;

    /// <summary>Requests of one queue carried out before other queues and devices have their turn.</summary>
    private const int Batch = 32;

    private readonly byte[] _configuration = new byte[ConfigurationSize];
    private readonly byte[] _serial = new byte[SerialSize];
    private readonly byte[] _zeros = GC.AllocateArray<byte>(64 * 1024, pinned: true);
    private readonly BlockOptions _options;
    private readonly bool _isDevice;
    private readonly Action<string> _report;
    private Action _configurationChanged = () => { };
    private NextRound? _next;
    private ulong _sectors;
    private ulong _negotiated;
    private bool _withoutFlush;
    private long _flushes;
    private int _fd;

    /// <summary>Opens the image.</summary>
    /// <param name="options">What is served.</param>
    /// <param name="poolSize">Requests are kept small enough for a pool of this many bytes.</param>
    /// <param name="report">Takes a sentence for each I/O error.</param>
    /// <exception cref="BackendException">The image cannot be opened, or it does not go with the options.</exception>
    public BlockBackend(BlockOptions options, ulong poolSize, Action<string> report)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (options.Violation is { } violation)
        {
            throw new BackendException($"The disk {options.Path} cannot have {violation}.");
        }

        _options = options;
        _report = report;
        _fd = Linux.Open(options.Path, (options.ReadOnly ? Linux.O_RDONLY : Linux.O_RDWR) | Linux.O_CLOEXEC);
        if (_fd < 0)
        {
            throw new BackendException($"The image {options.Path} cannot be opened: {Linux.LastError}.");
        }

        long size = Linux.Seek(_fd, 0, Linux.SEEK_END);
        if (!IsWhole(size))
        {
            Dispose();
            throw new BackendException($"The image {options.Path} has {size} bytes; expected a multiple of {options.LogicalBlockSize} above 0.");
        }

        Encoding.UTF8.GetBytes(options.Serial, _serial);
        ulong bytes;
        _isDevice = Linux.Control(_fd, Linux.BLKGETSIZE64, &bytes) == 0;

        // Several requests of the greatest size have to fit the pool at once, or one of them stalls the others.
        ulong segment = Math.Clamp(poolSize / 8 / SegmentMaximum / 4096 * 4096, 4096, 65536);
        uint physical = (uint)Math.Max(options.PhysicalBlockSize, options.LogicalBlockSize) / (uint)options.LogicalBlockSize;
        uint alignment = physical * (uint)options.LogicalBlockSize / SectorSize;
        SetCapacity((ulong)size / SectorSize);
        Set32(8, (uint)segment); // size_max
        Set32(12, SegmentMaximum); // seg_max
        Set32(20, (uint)options.LogicalBlockSize); // blk_size
        _configuration[24] = (byte)BitOperations.Log2(physical); // physical_block_exp
        Set16(26, (ushort)physical); // min_io_size
        Set32(28, (uint)(options.OptimalSize / options.LogicalBlockSize)); // opt_io_size
        _configuration[WritebackOffset] = options.WriteThrough ? (byte)0 : (byte)1;
        Set16(34, (ushort)options.Queues); // num_queues
        if ((Features & DiscardFeature) != 0)
        {
            Set32(36, RangeSectors); // max_discard_sectors
            Set32(40, RangeMaximum); // max_discard_seg
            Set32(44, alignment); // discard_sector_alignment
        }

        if ((Features & WriteZeroesFeature) != 0)
        {
            Set32(48, RangeSectors); // max_write_zeroes_sectors
            Set32(52, RangeMaximum); // max_write_zeroes_seg
            _configuration[56] = CanPunchHoles() ? (byte)1 : (byte)0; // write_zeroes_may_unmap
        }
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
    public string Description =>
        $"blk {_options.Path}, {_sectors * SectorSize} bytes{(_options.ReadOnly ? ", read-only" : string.Empty)}{(_options.Queues > 1 ? $", {_options.Queues} queues" : string.Empty)}";

    /// <inheritdoc/>
    public VirtioDeviceId DeviceId => VirtioDeviceId.Block;

    /// <summary>SCSI storage controller, as virtio-blk on PCI has always called itself; revision 1.</summary>
    public uint ClassRevision => 0x0100_0001;

    /// <inheritdoc/>
    public int QueueCount => _options.Queues;

    /// <inheritdoc/>
    public int QueueSize => 256;

    /// <inheritdoc/>
    public ulong Features => CommonFeatures | FlushFeature | ConfigWceFeature
        | (_options.ReadOnly ? ReadOnlyFeature : WriteZeroesFeature | (_options.Discard ? DiscardFeature : 0));

    /// <inheritdoc/>
    public ReadOnlySpan<byte> Configuration => _configuration;

    /// <summary>How often the storage was asked to keep what it was given.</summary>
    public long Flushes => Volatile.Read(ref _flushes);

    /// <summary>A write that is done has to be on the storage (5.2.6.2, stable writes).</summary>
    private bool WritesThrough => (_negotiated & ConfigWceFeature) != 0
        ? _configuration[WritebackOffset] == 0
        : (_negotiated & FlushFeature) == 0;

    /// <inheritdoc/>
    public void Attach(EventLoop loop, Action configurationChanged)
    {
        _configurationChanged = configurationChanged;
        _next = new NextRound(loop, Serve, _report);
    }

    /// <summary>Takes the driver's choice of the cache mode, the one field that it may write.</summary>
    public bool WriteConfiguration(int offset, ReadOnlySpan<byte> data)
    {
        int writeback = _configuration[WritebackOffset];
        for (int index = 0; index < data.Length; index++)
        {
            if (offset + index == WritebackOffset && data[index] <= 1)
            {
                writeback = data[index];
            }
            else if (data[index] != _configuration[offset + index])
            {
                return false;
            }
        }

        if (writeback == 0 && _configuration[WritebackOffset] != 0)
        {
            _ = Flush(0);
        }

        _configuration[WritebackOffset] = (byte)writeback;
        return true;
    }

    /// <inheritdoc/>
    public void Negotiated(ulong features)
    {
        // A driver that cannot flush finds a write-through cache (5.2.5.2); the next one that can, what there was before.
        bool withoutFlush = (features & (ConfigWceFeature | FlushFeature)) == ConfigWceFeature;
        if (withoutFlush != _withoutFlush)
        {
            _withoutFlush = withoutFlush;
            byte writeback = withoutFlush || _options.WriteThrough ? (byte)0 : (byte)1;
            if (_configuration[WritebackOffset] != writeback)
            {
                _configuration[WritebackOffset] = writeback;
                _configurationChanged();
            }
        }

        _negotiated = features;
    }

    /// <summary><c>capacity</c>: looks how large the image is now, and tells the driver if that has changed.</summary>
    public string Command(IReadOnlyList<string> words)
    {
        if (words is not ["capacity"])
        {
            throw new BackendException("the command of a disk is capacity");
        }

        long size = Linux.Seek(_fd, 0, Linux.SEEK_END);
        if (!IsWhole(size))
        {
            throw new BackendException($"{_options.Path} has {size} bytes now; expected a multiple of {_options.LogicalBlockSize} above 0");
        }

        if ((ulong)size / SectorSize != _sectors)
        {
            SetCapacity((ulong)size / SectorSize);
            _configurationChanged();
        }

        return $"its capacity is {_sectors} sectors";
    }

    /// <inheritdoc/>
    public void Serve(Virtqueue queue)
    {
        int count = 0;
        do
        {
            queue.SuppressKicks();
            while (queue.TryTake())
            {
                if (++count > Batch)
                {
                    queue.Untake();
                    _next!.Add(queue);
                    return;
                }

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
        _next?.Dispose();
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
            _report($"{_options.Path}: a request without room for its status was dropped.");
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
                RequestType.Out => Stable(WriteImage(chain, sector), sector),
                RequestType.Flush => Flush(0),
                RequestType.GetId => GetId(chain, room, out written),
                RequestType.Discard when _options.Discard => ChangeRanges(chain, discard: true),
                RequestType.WriteZeroes => Stable(ChangeRanges(chain, discard: false), 0),
                _ => Status.Unsupported,
            };
        }

        // The status is the last byte: everything before it counts as written, so it must not be what lay there before.
        chain.Clear(written, room - written);
        _ = chain.Write(room, [(byte)status]);
        return (uint)chain.WritableLength;
    }

    private Status Flush(ulong sector)
    {
        Volatile.Write(ref _flushes, _flushes + 1);
        return Linux.SyncData(_fd) == 0 ? Status.Ok : Failed("flush", sector);
    }

    private Status Stable(Status status, ulong sector) => status == Status.Ok && WritesThrough ? Flush(sector) : status;

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
        if (_options.ReadOnly || !IsInside(sector, length))
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
        if (_options.ReadOnly || length == 0 || length % RangeSize != 0 || length / RangeSize > RangeMaximum)
        {
            return _options.ReadOnly ? Status.IoError : Status.Unsupported;
        }

        // All of them are looked at before anything is done. Read once: the front end could change them under us.
        Span<byte> ranges = stackalloc byte[RangeMaximum * RangeSize];
        ranges = ranges[..(int)length];
        _ = chain.Read(HeaderSize, ranges);
        for (int offset = 0; offset < ranges.Length; offset += RangeSize)
        {
            // Bit 0, unmap, is for write zeroes only; the others are reserved (5.2.6.2).
            uint flags = BinaryPrimitives.ReadUInt32LittleEndian(ranges[(offset + 12)..]);
            if ((flags & ~1u) != 0 || (discard && flags != 0))
            {
                return Status.Unsupported;
            }
        }

        for (int offset = 0; offset < ranges.Length; offset += RangeSize)
        {
            uint sectors = BinaryPrimitives.ReadUInt32LittleEndian(ranges[(offset + 8)..]);
            if (sectors > RangeSectors || !IsInside(BinaryPrimitives.ReadUInt64LittleEndian(ranges[offset..]), (ulong)sectors * SectorSize))
            {
                return Status.IoError;
            }
        }

        Status status = Status.Ok;
        for (int offset = 0; offset < ranges.Length && status == Status.Ok; offset += RangeSize)
        {
            ulong sector = BinaryPrimitives.ReadUInt64LittleEndian(ranges[offset..]);
            uint sectors = BinaryPrimitives.ReadUInt32LittleEndian(ranges[(offset + 8)..]);
            bool unmap = ranges[offset + 12] != 0;
            status = sectors == 0 ? Status.Ok : discard ? Discard(sector, sectors) : WriteZeroes(sector, sectors, unmap);
        }

        return status;
    }

    private Status Discard(ulong sector, uint sectors)
    {
        long* range = stackalloc long[] { (long)(sector * SectorSize), (long)sectors * SectorSize };
        int result = _isDevice
            ? Linux.Control(_fd, Linux.BLKDISCARD, range)
            : Linux.Allocate(_fd, Linux.FALLOC_FL_PUNCH_HOLE | Linux.FALLOC_FL_KEEP_SIZE, range[0], range[1]);

        // What was discarded may keep its content, so storage that cannot do it, or not in such pieces, has done it (5.2.6.2).
        return result == 0 || Marshal.GetLastPInvokeError() is Linux.EOPNOTSUPP or Linux.EINVAL ? Status.Ok : Failed("discard", sector);
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

    // Behind the end of a file there is nothing that a hole could take away. A device takes no such question; what it does, sysfs knows.
    private bool CanPunchHoles()
    {
        if (_isDevice)
        {
            string limit = $"/sys/class/block/{Path.GetFileName(_options.Path)}/queue/discard_max_bytes";
            return File.Exists(limit) && File.ReadAllText(limit).Trim() != "0";
        }

        return Linux.Allocate(_fd, Linux.FALLOC_FL_PUNCH_HOLE | Linux.FALLOC_FL_KEEP_SIZE, (long)(_sectors * SectorSize), SectorSize) == 0;
    }

    private void SetCapacity(ulong sectors)
    {
        // Geometry as BIOSes have long assumed it where a disk has none: 16 heads of 63 sectors.
        const int heads = 16;
        const int perTrack = 63;
        _sectors = sectors;
        BinaryPrimitives.WriteUInt64LittleEndian(_configuration, sectors); // capacity
        Set16(16, (ushort)Math.Min(ushort.MaxValue, sectors / (heads * perTrack))); // cylinders
        _configuration[18] = heads;
        _configuration[19] = perTrack;
    }

    private void Set16(int offset, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(_configuration.AsSpan(offset), value);

    private void Set32(int offset, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(_configuration.AsSpan(offset), value);

    private bool IsWhole(long size) => size > 0 && size % _options.LogicalBlockSize == 0;

    private bool IsInside(ulong sector, ulong length) =>
        length % SectorSize == 0 && sector <= _sectors && length / SectorSize <= _sectors - sector;

    private Status Failed(string what, ulong sector, nint result = -1)
    {
        _report($"{_options.Path}: {what} at sector {sector} failed: {(result < 0 ? Linux.LastError : "the image ends there")}.");
        return Status.IoError;
    }
}
