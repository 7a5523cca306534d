// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Scheduling.Rings;
using Cosim.Virtio;

namespace Cosim.Fuzzing.Targets;

/// <summary>A chain as the specification has it, read straight from the memory it lies in; what is wrong with it, if anything is.</summary>
internal sealed class ChainOracle
{
    private readonly List<(ulong Address, uint Length)> _readable = [];
    private readonly List<(ulong Address, uint Length)> _writable = [];
    private int _descriptors;

    /// <summary>What is wrong, or null.</summary>
    public string? Error { get; private set; }

    public ushort Id { get; private set; }

    /// <summary>Descriptors of a packed ring that it takes.</summary>
    public int RingDescriptors { get; private set; } = 1;

    public IReadOnlyList<(ulong Address, uint Length)> Readable => _readable;

    public IReadOnlyList<(ulong Address, uint Length)> Writable => _writable;

    public ulong ReadableBytes { get; private set; }

    public ulong WritableBytes { get; private set; }

    /// <summary>The chain that an entry of the available ring names (2.7).</summary>
    public static ChainOracle Split(ReadOnlySpan<byte> memory, in HostQueue queue, ushort entry, ulong greatest)
    {
        SplitVirtqueue ring = new(queue.Size, queue.Descriptors, queue.Driver, queue.Device);
        ChainOracle chain = new() { Id = BinaryPrimitives.ReadUInt16LittleEndian(memory[(int)ring.AvailableEntry(entry)..]) };
        ulong table = ring.DescriptorTable;
        int entries = queue.Size;
        bool isIndirect = false;
        int index = chain.Id;
        while (chain.Error is null)
        {
            if (index >= entries)
            {
                return chain.Wrong("an index lies behind the table");
            }

            if (!TryRead(memory, table, index, out ReadOnlySpan<byte> bytes))
            {
                return chain.Wrong("a table lies where nothing is");
            }

            Descriptor descriptor = Descriptor.Read(bytes);
            bool more = (descriptor.Flags & DescriptorFlags.Next) != 0;
            if ((descriptor.Flags & DescriptorFlags.Indirect) != 0)
            {
                if (isIndirect || more || !IsTable(queue, descriptor.Length))
                {
                    return chain.Wrong("an indirect table that may not be, or of a wrong size");
                }

                (table, entries, index, isIndirect) = (descriptor.Address, (int)(descriptor.Length / Descriptor.Size), 0, true);
                continue;
            }

            chain.Add(descriptor.Address, descriptor.Length, descriptor.Flags, queue.Size, greatest);
            if (!more)
            {
                break;
            }

            index = descriptor.Next;
        }

        return chain.Ended(memory);
    }

    /// <summary>The chain that begins at a position of a packed ring (2.8); null: none is available there.</summary>
    public static ChainOracle? Packed(ReadOnlySpan<byte> memory, in HostQueue queue, PackedPosition position, ulong greatest)
    {
        PackedVirtqueue ring = new(queue.Size, queue.Descriptors, queue.Driver, queue.Device);
        if (!PackedVirtqueue.IsAvailable(PackedDescriptor.Read(memory[(int)ring.DescriptorAddress(position.Index)..]).Flags, position.Wrap))
        {
            return null;
        }

        ChainOracle chain = new() { RingDescriptors = 0 };
        bool more = true;
        while (more && chain.Error is null)
        {
            if (++chain.RingDescriptors > queue.Size)
            {
                return chain.Wrong("the chain is longer than the ring");
            }

            PackedDescriptor descriptor = PackedDescriptor.Read(memory[(int)ring.DescriptorAddress(position.Index)..]);
            position = position.Advance(1, queue.Size);
            chain.Id = descriptor.Id;
            more = (descriptor.Flags & DescriptorFlags.Next) != 0;
            if ((descriptor.Flags & DescriptorFlags.Indirect) == 0)
            {
                chain.Add(descriptor.Address, descriptor.Length, descriptor.Flags, queue.Size, greatest);
                continue;
            }

            if (more || chain.RingDescriptors != 1 || !IsTable(queue, descriptor.Length))
            {
                return chain.Wrong("an indirect table that may not be, or of a wrong size");
            }

            for (int i = 0; i < descriptor.Length / Descriptor.Size && chain.Error is null; i++)
            {
                if (!TryRead(memory, descriptor.Address, i, out ReadOnlySpan<byte> bytes))
                {
                    return chain.Wrong("a table lies where nothing is");
                }

                PackedDescriptor entry = PackedDescriptor.Read(bytes);
                if ((entry.Flags & DescriptorFlags.Indirect) != 0)
                {
                    return chain.Wrong("an indirect table inside of one");
                }

                chain.Add(entry.Address, entry.Length, entry.Flags, queue.Size, greatest);
            }
        }

        return chain.Ended(memory);
    }

    private static bool TryRead(ReadOnlySpan<byte> memory, ulong table, int index, out ReadOnlySpan<byte> bytes)
    {
        ulong at = table + ((ulong)index * Descriptor.Size);
        bool isThere = at <= (ulong)memory.Length - Descriptor.Size && at >= table;
        bytes = isThere ? memory.Slice((int)at, Descriptor.Size) : default;
        return isThere;
    }

    private static bool IsTable(in HostQueue queue, uint bytes) => queue.Indirect && bytes != 0 && bytes % Descriptor.Size == 0 && bytes / Descriptor.Size <= queue.Size;

    private ChainOracle Wrong(string error)
    {
        Error ??= error;
        return this;
    }

    private void Add(ulong address, uint length, DescriptorFlags flags, int queueSize, ulong greatest)
    {
        bool writable = (flags & DescriptorFlags.Write) != 0;
        Error ??= ++_descriptors > queueSize ? "a loop"
            : address + length < address ? "a buffer wraps around"
            : !writable && WritableBytes != 0 ? "a readable buffer follows a writable one"
            : null;
        if (length != 0)
        {
            (writable ? _writable : _readable).Add((address, length));
        }

        if (writable)
        {
            WritableBytes += length;
        }
        else
        {
            ReadableBytes += length;
        }

        Error ??= ((ReadableBytes + 63) & ~63UL) + WritableBytes > greatest ? "more bytes than the pool can ever hold" : null;
    }

    private ChainOracle Ended(ReadOnlySpan<byte> memory)
    {
        Error ??= ReadableBytes + WritableBytes == 0 ? "no byte" : null;
        foreach ((ulong address, uint length) in _readable)
        {
            if (address + length > (ulong)memory.Length)
            {
                Error ??= "a readable buffer lies where nothing is";
            }
        }

        return this;
    }
}
