// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Virtio;

namespace Cosim.Fuzzing.Targets;

/// <summary>A queue in its host's memory as the driver writes it, split (virtio 1.3, 2.7) or packed (2.8), right or wrong.</summary>
/// <param name="descriptors">Address of the descriptor area.</param>
/// <param name="driver">Address of the driver area.</param>
/// <param name="device">Address of the device area.</param>
internal sealed class DriverRing(ulong descriptors, ulong driver, ulong device)
{
    private const int IdOffset = 12;
    private const int FlagsOffset = 14;

    private ushort _available;
    private PackedPosition _position;
    private ushort _id;
    private ushort _used;
    private PackedPosition _usedPosition;

    public ushort Size { get; private set; }

    public bool IsPacked { get; private set; }

    /// <summary>Chains, or descriptors of a packed ring, that were made available.</summary>
    public ushort Available => _available;

    public SplitVirtqueue Split => new(Size, descriptors, driver, device);

    public PackedVirtqueue Packed => new(Size, descriptors, driver, device);

    /// <summary>What a notification carries above the queue's number (2.9).</summary>
    public ushort NextOffset => IsPacked ? _position.Raw : _available;

    /// <summary>The queue is empty, and both sides begin.</summary>
    public void Start(ushort size, bool packed)
    {
        Size = size;
        IsPacked = packed;
        _available = _id = _used = 0;
        _position = _usedPosition = PackedPosition.Start;
    }

    /// <summary>Address of a descriptor; places beyond the table begin anew.</summary>
    public ulong DescriptorAddress(int index) => descriptors + ((ulong)(index % Size) * Descriptor.Size);

    /// <summary>Writes a descriptor. In a packed ring the last field is the buffer id.</summary>
    public void PutDescriptor(Span<byte> memory, ulong at, ulong address, uint length, DescriptorFlags flags, ushort next)
    {
        if (IsPacked)
        {
            new PackedDescriptor(address, length, next, flags).Write(memory[(int)at..]);
        }
        else
        {
            new Descriptor(address, length, flags, next).Write(memory[(int)at..]);
        }
    }

    /// <summary>Puts heads into the available ring and moves its index; of a packed ring makes the next descriptors available, with the heads as their ids.</summary>
    public void Publish(Span<byte> memory, ushort count, ReadOnlySpan<byte> heads)
    {
        if (IsPacked)
        {
            PublishPacked(memory, count, heads);
            return;
        }

        for (int i = 0; i + 2 <= heads.Length && i / 2 < Size; i += 2)
        {
            heads.Slice(i, 2).CopyTo(memory[(int)Split.AvailableEntry((ushort)(_available + (i / 2)))..]);
        }

        _available += count;
        BinaryPrimitives.WriteUInt16LittleEndian(memory[(int)Split.AvailableIndex..], _available);
    }

    /// <summary>Makes a chain of an indirect table available.</summary>
    public void PutIndirect(Span<byte> memory, ulong table, uint bytes) => _ = PutChain(memory, table, bytes, 0, 0, DescriptorFlags.Indirect);

    /// <summary>Makes a chain in order available: a part that is read, and one that is written where that has a byte.</summary>
    /// <returns>What the used element will call it.</returns>
    public ushort PutChain(Span<byte> memory, ulong readable, uint readableLength, ulong writable, uint writableLength, DescriptorFlags flags = DescriptorFlags.None)
    {
        DescriptorFlags more = flags | (writableLength > 0 ? DescriptorFlags.Next : DescriptorFlags.None);
        if (!IsPacked)
        {
            ushort head = (ushort)(2 * (_available & ((Size / 2) - 1)));
            PutDescriptor(memory, DescriptorAddress(head), readable, readableLength, more, (ushort)(head + 1));
            if (writableLength > 0)
            {
                PutDescriptor(memory, DescriptorAddress(head + 1), writable, writableLength, DescriptorFlags.Write, 0);
            }

            Span<byte> heads = stackalloc byte[2];
            BinaryPrimitives.WriteUInt16LittleEndian(heads, head);
            Publish(memory, 1, heads);
            return head;
        }

        ushort id = (ushort)(_id++ % Size);
        PackedPosition first = _position;
        _position = first.Advance(1, Size);
        if (writableLength > 0)
        {
            PutDescriptor(memory, DescriptorAddress(_position.Index), writable, writableLength, DescriptorFlags.Write | PackedVirtqueue.AvailableFlags(_position.Wrap), id);
            _position = _position.Advance(1, Size);
        }

        // The first one last: from then on the device sees the chain (2.8.21).
        PutDescriptor(memory, DescriptorAddress(first.Index), readable, readableLength, more | PackedVirtqueue.AvailableFlags(first.Wrap), id);
        _available++;
        return id;
    }

    /// <summary>Whether there is a used element that was not taken.</summary>
    public bool HasUsed(ReadOnlySpan<byte> memory) => IsPacked
        ? PackedVirtqueue.IsUsed(PackedDescriptor.Read(memory[(int)Packed.DescriptorAddress(_usedPosition.Index)..]).Flags, _usedPosition.Wrap)
        : BinaryPrimitives.ReadUInt16LittleEndian(memory[(int)Split.UsedIndex..]) != _used;

    /// <summary>Takes the next used element, if there is one.</summary>
    /// <param name="memory">The host's memory.</param>
    /// <param name="taken">Descriptors of the chain that is expected.</param>
    /// <param name="id">Its head, or its buffer id.</param>
    /// <param name="length">Bytes written.</param>
    public bool TryTakeUsed(ReadOnlySpan<byte> memory, int taken, out uint id, out uint length)
    {
        bool any = HasUsed(memory);
        if (IsPacked)
        {
            PackedDescriptor element = PackedDescriptor.Read(memory[(int)Packed.DescriptorAddress(_usedPosition.Index)..]);
            (id, length) = (element.Id, element.Length);
            for (int i = 0; any && i < taken; i++)
            {
                _usedPosition = _usedPosition.Advance(1, Size);
            }

            return any;
        }

        ulong at = Split.UsedElement(_used);
        id = BinaryPrimitives.ReadUInt32LittleEndian(memory[(int)at..]);
        length = BinaryPrimitives.ReadUInt32LittleEndian(memory[(int)(at + 4)..]);
        _used += (ushort)(any ? 1 : 0);
        return any;
    }

    /// <summary>Says when the driver wants an interrupt: flags and used_event of the available ring (2.7.7), or the driver event suppression structure (2.8.14).</summary>
    public void Suppress(Span<byte> memory, ushort flags, ushort at)
    {
        if (IsPacked)
        {
            BinaryPrimitives.WriteUInt16LittleEndian(memory[(int)driver..], at);
            BinaryPrimitives.WriteUInt16LittleEndian(memory[(int)(driver + 2)..], flags);
        }
        else
        {
            BinaryPrimitives.WriteUInt16LittleEndian(memory[(int)driver..], flags);
            BinaryPrimitives.WriteUInt16LittleEndian(memory[(int)Split.UsedEvent..], at);
        }
    }

    private void PublishPacked(Span<byte> memory, ushort count, ReadOnlySpan<byte> heads)
    {
        for (int i = 0; i < Math.Min(count, Size); i++)
        {
            Span<byte> descriptor = memory[(int)DescriptorAddress(_position.Index)..];
            DescriptorFlags flags = (DescriptorFlags)BinaryPrimitives.ReadUInt16LittleEndian(descriptor[FlagsOffset..]) & ~(PackedVirtqueue.Available | PackedVirtqueue.Used);
            if ((2 * i) + 2 <= heads.Length)
            {
                heads.Slice(2 * i, 2).CopyTo(descriptor[IdOffset..]);
            }

            BinaryPrimitives.WriteUInt16LittleEndian(descriptor[FlagsOffset..], (ushort)(flags | PackedVirtqueue.AvailableFlags(_position.Wrap)));
            _position = _position.Advance(1, Size);
            _available++;
        }
    }
}
