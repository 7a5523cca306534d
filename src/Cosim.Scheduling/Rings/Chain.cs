// SPDX-License-Identifier: Apache-2.0
using Cosim.Virtio;

namespace Cosim.Scheduling.Rings;

/// <summary>What has become of a chain.</summary>
internal enum ChainState : byte
{
    /// <summary>Read, not offered to host 2.</summary>
    Fetched,

    /// <summary>In host 2's ring.</summary>
    Offered,

    /// <summary>Was offered to a back end that is gone.</summary>
    OfferAgain,

    /// <summary>Used by host 2; its bytes are on their way back.</summary>
    Used,

    /// <summary>All of it is in host 1's memory; it waits for those that were made available before it (VIRTIO_F_IN_ORDER).</summary>
    Held,
}

/// <summary>A chain of descriptors that the driver made available, and its buffer in the pool.</summary>
internal sealed class Chain
{
    private const uint WritableAlignment = 64;

    // A guest that makes every chain as long as it may shall not have us keep it all.
    private const int MostKeptSegments = 256;

    private int _descriptors;

    public ChainState State { get; set; }

    /// <summary>By what the driver knows it: index of its first descriptor, or its buffer id.</summary>
    public ushort Id { get; private set; }

    /// <summary>Descriptors of a packed ring that it takes.</summary>
    public int RingDescriptors { get; set; }

    /// <summary>Position in the batch that is being read.</summary>
    public int BatchIndex { get; private set; }

    /// <summary>Address of the descriptor table that is being read.</summary>
    public ulong Table { get; private set; }

    public int TableSize { get; private set; }

    public bool InIndirectTable { get; private set; }

    /// <summary>Index in the table of the first descriptor that was asked for.</summary>
    public ushort WindowStart { get; set; }

    public (ulong Address, uint Length)[] Segments { get; private set; } = new (ulong, uint)[4];

    public int SegmentCount { get; private set; }

    public int ReadableSegments { get; private set; }

    public ulong ReadableBytes { get; private set; }

    public ulong WritableBytes { get; private set; }

    /// <summary>Place in host 2's ring.</summary>
    public int Slot { get; set; }

    /// <summary>Address of the buffer in the pool.</summary>
    public ulong Buffer { get; set; }

    public bool HasBuffer { get; set; }

    /// <summary>Bytes that host 2 wrote.</summary>
    public uint UsedLength { get; set; }

    /// <summary>Grows with each offer.</summary>
    public ulong Sequence { get; set; }

    public ulong BufferBytes => WritableOffset + WritableBytes;

    public ulong WritableBuffer => Buffer + WritableOffset;

    private ulong WritableOffset => (ReadableBytes + WritableAlignment - 1) & ~(ulong)(WritableAlignment - 1);

    /// <summary>Begins a new chain.</summary>
    public void Begin(ushort id, int batchIndex, ulong table, int tableSize)
    {
        State = ChainState.Fetched;
        Id = id;
        RingDescriptors = 0;
        BatchIndex = batchIndex;
        Table = table;
        TableSize = tableSize;
        InIndirectTable = false;
        SegmentCount = ReadableSegments = 0;
        if (Segments.Length > MostKeptSegments)
        {
            Segments = new (ulong, uint)[4];
        }

        ReadableBytes = WritableBytes = 0;
        _descriptors = 0;
    }

    /// <summary>The id of a packed chain is known from its last descriptor on.</summary>
    public void Name(ushort id) => Id = id;

    /// <summary>Goes on in an indirect table.</summary>
    /// <returns>What is wrong with it, or null.</returns>
    public string? EnterTable(ulong table, uint bytes, int queueSize)
    {
        if (InIndirectTable)
        {
            return "INDIRECT inside an indirect table";
        }

        if (bytes == 0 || bytes % Descriptor.Size != 0 || bytes / Descriptor.Size > queueSize)
        {
            return $"indirect table of {bytes} bytes; expected a multiple of {Descriptor.Size} with at most {queueSize} entries";
        }

        Table = table;
        TableSize = (int)(bytes / Descriptor.Size);
        InIndirectTable = true;
        return null;
    }

    /// <summary>Adds a buffer.</summary>
    /// <returns>What is wrong with it, or null.</returns>
    public string? Add(ulong address, uint length, bool writable, int queueSize, ulong greatestBuffer)
    {
        if (++_descriptors > queueSize)
        {
            return $"the chain is longer than the queue ({queueSize}): a loop";
        }

        if (address + length < address)
        {
            return $"buffer 0x{address:X}+0x{length:X} wraps around";
        }

        if (!writable && WritableBytes != 0)
        {
            return "a device-readable buffer follows a device-writable one";
        }

        if (length == 0)
        {
            return null;
        }

        if (SegmentCount == Segments.Length)
        {
            (ulong, uint)[] larger = new (ulong, uint)[2 * Segments.Length];
            Segments.CopyTo(larger, 0);
            Segments = larger;
        }

        Segments[SegmentCount++] = (address, length);
        if (writable)
        {
            WritableBytes += length;
        }
        else
        {
            ReadableSegments = SegmentCount;
            ReadableBytes += length;
        }

        return BufferBytes > greatestBuffer ? $"the chain has {BufferBytes} bytes; the pool can hold {greatestBuffer} at most" : null;
    }
}
