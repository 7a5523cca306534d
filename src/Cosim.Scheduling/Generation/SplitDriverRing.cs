// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Pcie;
using Cosim.Virtio;

namespace Cosim.Scheduling.Generation;

/// <summary>The driver's side of a split virtqueue (virtio 1.3, 2.7).</summary>
internal sealed class SplitDriverRing : DriverRing
{
    private readonly SplitVirtqueue _layout;
    private readonly Queue<ushort> _free;
    private ushort _available;
    private ushort _used;

    public SplitDriverRing(HostImage memory, QueuePlan plan, bool eventIdx, Coverage coverage)
        : base(memory, plan, eventIdx, coverage)
    {
        _layout = new SplitVirtqueue(plan.Size, Areas[0], Areas[1], Areas[2]);
        _free = new Queue<ushort>(Enumerable.Range(0, plan.Size).Select(i => (ushort)i));
    }

    /// <inheritdoc/>
    public override int FirstLook => 1;

    /// <inheritdoc/>
    public override int Free => _free.Count;

    /// <inheritdoc/>
    public override ushort Next => _available;

    /// <inheritdoc/>
    public override bool HasUsed => Memory.Get16(_layout.UsedIndex) != _used;

    /// <inheritdoc/>
    public override bool AsksForNext => EventIdx ? Memory.Get16(_layout.AvailableEvent) == _available : Memory.Get16(_layout.Used) == 0;

    /// <inheritdoc/>
    public override CoveragePoint Suppression => EventIdx ? CoveragePoint.InterruptSuppressedByEvent : CoveragePoint.InterruptSuppressedByFlag;

    /// <inheritdoc/>
    public override ulong OfferAddress => _layout.DescriptorTable;

    /// <inheritdoc/>
    public override bool Show(IReadOnlyList<ChainState> chains)
    {
        ushort old = _available;
        foreach (ChainState chain in chains)
        {
            Memory.Put(_layout.AvailableEntry(_available++), chain.Id);
            Coverage.Hit(CoveragePoint.RingWraps, _available % Size == 0);
        }

        Memory.Put(_layout.AvailableIndex, _available);
        bool wanted = EventIdx
            ? SplitVirtqueue.PassesEvent(Memory.Get16(_layout.AvailableEvent), _available, old)
            : (Memory.Get16(_layout.Used) & SplitVirtqueue.UsedNoNotify) == 0;
        Coverage.Hit(CoveragePoint.NotifyLeftOut, !wanted);
        return wanted;
    }

    /// <inheritdoc/>
    public override (uint Id, uint Length) Look(string where)
    {
        ulong element = _layout.UsedElement(_used);
        return (Memory.Get32(element), Memory.Get32(element + 4));
    }

    /// <inheritdoc/>
    public override void Take(ChainState chain, string where)
    {
        ulong element = _layout.UsedElement(_used);
        string? wrong = Memory.CheckWrites(element, 8, 1);
        GeneratedRun.Require(wrong is null, $"{where}: {wrong}");
        Memory.Accept(element, 8);
        Memory.Allow(element, 8, Access.Any);
        Memory.Put(_layout.UsedIndex, Memory.Get16(_layout.UsedIndex));
        _used++;
        foreach (ushort descriptor in chain.Descriptors)
        {
            _free.Enqueue(descriptor);
        }
    }

    /// <inheritdoc/>
    public override void AskBehind(int chains, int descriptors)
    {
        if (EventIdx)
        {
            Memory.Put(_layout.UsedEvent, (ushort)(_used + chains));
        }
    }

    /// <inheritdoc/>
    public override void AskAlways() => AskBehind(0, 0);

    /// <inheritdoc/>
    public override void Refuse()
    {
        if (EventIdx)
        {
            Memory.Put(_layout.UsedEvent, ushort.MaxValue);
        }
        else
        {
            Memory.Put(_layout.Available, SplitVirtqueue.AvailableNoInterrupt);
        }
    }

    /// <inheritdoc/>
    public override void AcceptEvent()
    {
        if (EventIdx)
        {
            Memory.Accept(_layout.AvailableEvent, 2);
        }
    }

    /// <inheritdoc/>
    public override int? Shown(in Tlp write, QueueState queue) => write.ByteAddress != _layout.UsedIndex
        ? null
        : (ushort)(BinaryPrimitives.ReadUInt16LittleEndian(write.Payload[(int)(_layout.UsedIndex - write.Address)..]) - queue.Published);

    /// <inheritdoc/>
    public override bool IsLook(in Tlp read) => read.ByteAddress == (EventIdx ? _layout.UsedEvent : _layout.Available) && read.RequestBytes == 2;

    /// <inheritdoc/>
    public override bool WantsInterrupt(QueueState queue) => EventIdx
        ? SplitVirtqueue.PassesEvent(Memory.Get16(_layout.UsedEvent), (ushort)queue.Published, (ushort)(queue.Published - queue.PublishedLast))
        : (Memory.Get16(_layout.Available) & SplitVirtqueue.AvailableNoInterrupt) == 0;

    /// <inheritdoc/>
    public override void Offer(params ReadOnlySpan<Descriptor> descriptors)
    {
        for (int i = 0; i < descriptors.Length; i++)
        {
            Write((ushort)i, descriptors[i] with { Next = (ushort)(i + 1 < descriptors.Length ? i + 1 : 0) });
        }

        OfferHeads(0);
    }

    /// <inheritdoc/>
    public override void Break(Illegal kind)
    {
        ulong buffer = OfferAddress;
        switch (kind)
        {
            case Illegal.HeadOutOfRange:
                OfferHeads((ushort)Size);
                break;
            case Illegal.AvailableIndexJumps:
                Memory.Put(_layout.AvailableIndex, (ushort)(_available + Size + 1));
                break;
            case Illegal.HeadInUse:
                Write(0, new Descriptor(buffer, 1, DescriptorFlags.None, 0));
                OfferHeads(0, 0);
                break;
            case Illegal.Loop:
                Write(0, new Descriptor(buffer, 1, DescriptorFlags.Next, 1));
                Write(1, new Descriptor(buffer, 1, DescriptorFlags.Next, 0));
                OfferHeads(0);
                break;
            case Illegal.NextOutOfRange:
                Write(0, new Descriptor(buffer, 1, DescriptorFlags.Next, (ushort)Size));
                OfferHeads(0);
                break;
            default:
                throw new NotSupportedException($"{kind} of a split ring");
        }
    }

    /// <inheritdoc/>
    protected override ChainState Claim(ChainPlan chainPlan, int descriptors)
    {
        ushort[] claimed = [.. Enumerable.Range(0, descriptors).Select(_ => _free.Dequeue())];
        return new ChainState(chainPlan, claimed[0], claimed);
    }

    /// <inheritdoc/>
    protected override void PutDescriptor(ChainState chain, int index, ulong address, uint length, DescriptorFlags flags)
    {
        bool more = index + 1 < chain.Descriptors.Length;
        Write(chain.Descriptors[index], new Descriptor(
            address, length, flags | (more ? DescriptorFlags.Next : DescriptorFlags.None), more ? chain.Descriptors[index + 1] : (ushort)0));
    }

    /// <inheritdoc/>
    protected override void WriteEntry(Span<byte> bytes, in Segment segment, int index, bool more) => new Descriptor(
        Memory.Address(segment.Offset),
        segment.Length,
        Direction(segment) | (more ? DescriptorFlags.Next : DescriptorFlags.None),
        (ushort)(more ? index + 1 : 0)).Write(bytes);

    /// <inheritdoc/>
    protected override void Cover(ChainState chain)
    {
        base.Cover(chain);
        Coverage.Hit(CoveragePoint.ScatteredDescriptors, chain.Descriptors.Zip(chain.Descriptors.Skip(1)).Any(pair => pair.First > pair.Second));
    }

    private void Write(ushort index, in Descriptor descriptor)
    {
        Span<byte> bytes = stackalloc byte[Descriptor.Size];
        descriptor.Write(bytes);
        Memory.Put(_layout.DescriptorAddress(index), bytes);
    }

    private void OfferHeads(params ReadOnlySpan<ushort> heads)
    {
        foreach (ushort head in heads)
        {
            Memory.Put(_layout.AvailableEntry(_available++), head);
        }

        Memory.Put(_layout.AvailableIndex, _available);
    }
}
