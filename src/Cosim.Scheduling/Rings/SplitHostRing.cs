// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Virtio;

namespace Cosim.Scheduling.Rings;

/// <summary>A split virtqueue of host 1 (virtio 1.3, 2.7). Indices run freely over 16 bits.</summary>
internal sealed class SplitHostRing(QueueDma dma, IHostRingOwner owner) : HostRing(dma, owner)
{
    private const int DirectWindow = 4;

    private SplitVirtqueue _ring;
    private ushort _available;
    private ushort _seen;
    private ushort _used;
    private ushort _usedBefore;
    private bool _armed;
    private bool _settled;

    private enum Step : byte
    {
        NoStep,
        AvailableIndex,
        AvailableEntries,
        Walk,
        ArmAvailable,
        PublishUsed,
        InterruptCheck,
    }

    /// <inheritdoc/>
    public override void Start(in HostQueue queue)
    {
        base.Start(queue);
        _ring = new SplitVirtqueue(queue.Size, queue.Descriptors, queue.Driver, queue.Device);
        _available = _seen = _used = _usedBefore = 0;
        _armed = _settled = false;
    }

    /// <inheritdoc/>
    public override void Look()
    {
        if (_seen != _available)
        {
            ReadEntries();
            return;
        }

        if (Hint is { } hint)
        {
            // VIRTIO_F_NOTIFICATION_DATA: the index that the driver has just written. One that cannot be is looked up, as without.
            Hint = null;
            ushort count = (ushort)((hint >> 16) - _available);
            if (count != 0 && count <= Size && count <= short.MaxValue)
            {
                _seen = (ushort)(hint >> 16);
                _settled = !Queue.EventIdx;
                ReadEntries();
                return;
            }
        }
        else if (_settled)
        {
            // Without EVENT_IDX a notification with its data follows each buffer.
            Owner.Fetched(0);
            return;
        }

        _settled = false;
        ReadIndex();
    }

    /// <inheritdoc/>
    public override void Take(Chain chain)
    {
        _available++;
        _armed = false;
    }

    /// <inheritdoc/>
    public override void Rewind(ReadOnlySpan<Chain> chains)
    {
        base.Rewind(chains);
        _seen = _available;
        _settled = false;
    }

    /// <inheritdoc/>
    public override void PutUsed(ReadOnlySpan<Chain> chains)
    {
        Span<byte> elements = stackalloc byte[8 * WriteSize];
        int run = 0;
        ushort runStart = _used;
        _usedBefore = _used;
        for (int i = 0; i < chains.Length; i++)
        {
            Chain chain = chains[i];
            BinaryPrimitives.WriteUInt32LittleEndian(elements[(8 * run)..], chain.Id);
            BinaryPrimitives.WriteUInt32LittleEndian(elements[((8 * run) + 4)..], chain.UsedLength);
            run++;
            _used++;
            if (i + 1 == chains.Length || run == WriteSize || (_used & (Size - 1)) == 0)
            {
                Dma.Write(DmaSpace.Host1, _ring.UsedElement(runStart), elements[..(8 * run)], Context((byte)Step.NoStep));
                runStart = _used;
                run = 0;
            }

            SetInUse(chain.Id, false);
            Keep(chain);
        }

        Write(_ring.UsedIndex, _used, Step.PublishUsed);
    }

    /// <inheritdoc/>
    protected override void Continue(byte step, int index, ReadOnlySpan<byte> data)
    {
        switch ((Step)step)
        {
            case Step.AvailableIndex:
                IndexRead(BinaryPrimitives.ReadUInt16LittleEndian(data));
                break;
            case Step.AvailableEntries:
                EntriesRead(data);
                break;
            case Step.Walk:
                Walk(Batch[index], data);
                break;
            case Step.ArmAvailable:
                ReadIndex();
                break;
            case Step.PublishUsed:
                Dma.Read(DmaSpace.Host1, Queue.EventIdx ? _ring.UsedEvent : _ring.Available, 2, Context((byte)Step.InterruptCheck));
                break;
            case Step.InterruptCheck:
                ushort value = BinaryPrimitives.ReadUInt16LittleEndian(data);
                Owner.UsedPublished(Queue.EventIdx
                    ? SplitVirtqueue.PassesEvent(value, _used, _usedBefore)
                    : (value & SplitVirtqueue.AvailableNoInterrupt) == 0);
                break;
            default:
                break;
        }
    }

    /// <inheritdoc/>
    protected override string StepName(byte step) => $"{(Step)step}";

    // Follows the chain as far as the window goes; ends with the chain complete, another window asked for, or an error.
    private void Walk(Chain chain, ReadOnlySpan<byte> window)
    {
        ushort index = chain.WindowStart;
        while (true)
        {
            Descriptor descriptor = Descriptor.Read(window[((index - chain.WindowStart) * Descriptor.Size)..]);
            bool more = (descriptor.Flags & DescriptorFlags.Next) != 0;
            bool indirect = (descriptor.Flags & DescriptorFlags.Indirect) != 0;
            string? error = indirect
                ? EnterIndirectTable(chain, descriptor, more)
                : chain.Add(descriptor.Address, descriptor.Length, (descriptor.Flags & DescriptorFlags.Write) != 0, Size, GreatestBuffer);
            if (error is not null)
            {
                WalkEnded($"descriptor {index} of chain {chain.Id}: {error}");
                return;
            }

            if (indirect)
            {
                ReadWindow(chain, 0, TableWindow, (byte)Step.Walk);
                return;
            }

            if (!more)
            {
                WalkEnded(CheckBytes(chain));
                return;
            }

            if (descriptor.Next >= chain.TableSize)
            {
                WalkEnded($"descriptor {index} of chain {chain.Id}: next is {descriptor.Next}; the table has {chain.TableSize} entries");
                return;
            }

            index = descriptor.Next;
            if (index < chain.WindowStart || (index - chain.WindowStart) * Descriptor.Size >= window.Length)
            {
                ReadWindow(chain, index, chain.InIndirectTable ? TableWindow : DirectWindow, (byte)Step.Walk);
                return;
            }
        }
    }

    private string? EnterIndirectTable(Chain chain, in Descriptor descriptor, bool more) =>
        !Queue.Indirect ? "INDIRECT was not negotiated"
        : more && !chain.InIndirectTable ? "INDIRECT together with NEXT"
        : chain.EnterTable(descriptor.Address, descriptor.Length, Size);

    private void ReadIndex() => Dma.Read(DmaSpace.Host1, _ring.AvailableIndex, 2, Context((byte)Step.AvailableIndex));

    private void IndexRead(ushort index)
    {
        int count = (ushort)(index - _available);
        if (count > Size)
        {
            Owner.RingFailed($"the available index went from {_available} to {index}; the queue has {Size} entries");
            return;
        }

        _seen = index;
        if (count != 0)
        {
            ReadEntries();
        }
        else if (Queue.EventIdx && !_armed)
        {
            // Ask to be told of the next buffer, then look once more: it may have come in between (2.7.10.1).
            _armed = true;
            Write(_ring.AvailableEvent, _available, Step.ArmAvailable);
        }
        else
        {
            Owner.Fetched(0);
        }
    }

    private void ReadEntries()
    {
        int count = Math.Min((int)(ushort)(_seen - _available), BatchSize);
        count = Math.Min(count, Size - (_available & (Size - 1)));
        Dma.Read(DmaSpace.Host1, _ring.AvailableEntry(_available), 2 * count, Context((byte)Step.AvailableEntries));
    }

    private void EntriesRead(ReadOnlySpan<byte> data)
    {
        BatchCount = data.Length / 2;
        for (int i = 0; i < BatchCount; i++)
        {
            ushort head = BinaryPrimitives.ReadUInt16LittleEndian(data[(2 * i)..]);
            if (head >= Size)
            {
                Owner.RingFailed($"available entry {(ushort)(_available + i)} names descriptor {head}; the queue has {Size}");
                return;
            }

            if (IsInUse(head))
            {
                Owner.RingFailed($"available entry {(ushort)(_available + i)} names descriptor {head}, which is still in use");
                return;
            }

            SetInUse(head, true);
            Chain chain = NewChain();
            chain.Begin(head, i, _ring.DescriptorTable, Size);
            Batch[i] = chain;
        }

        BeginWalks(BatchCount);
        for (int i = 0; i < BatchCount; i++)
        {
            ReadWindow(Batch[i], Batch[i].Id, DirectWindow, (byte)Step.Walk);
        }

        WalkEnded(null);
    }

    private void Write(ulong address, ushort value, Step step)
    {
        Span<byte> data = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(data, value);
        Dma.Write(DmaSpace.Host1, address, data, Context((byte)step));
    }
}
