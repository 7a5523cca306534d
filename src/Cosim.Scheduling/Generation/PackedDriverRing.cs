// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Pcie;
using Cosim.Virtio;

namespace Cosim.Scheduling.Generation;

/// <summary>The driver's side of a packed virtqueue (virtio 1.3, 2.8).</summary>
internal sealed class PackedDriverRing : DriverRing
{
    private const int ManyLaps = 4;

    private readonly PackedVirtqueue _layout;
    private readonly List<ushort> _ids;
    private PackedPosition _put = PackedPosition.Start;
    private PackedPosition _available = PackedPosition.Start;
    private PackedPosition _used = PackedPosition.Start;
    private int _free;
    private int _laps;

    // What the watch on the link knows: where the FPGA goes on, and where it began with what it showed last.
    private PackedPosition _shown = PackedPosition.Start;
    private PackedPosition _shownBefore = PackedPosition.Start;
    private int _shownDescriptors;

    public PackedDriverRing(HostImage memory, QueuePlan plan, bool eventIdx, Coverage coverage)
        : base(memory, plan, eventIdx, coverage)
    {
        _layout = new PackedVirtqueue(plan.Size, Areas[0], Areas[1], Areas[2]);
        _free = plan.Size;

        // A buffer id means something to the driver alone: an odd stride makes all of them different.
        _ids = [.. Enumerable.Range(0, plan.Size).Select(i => (ushort)((i * ((2 * plan.IdStride) + 1)) + plan.IdStride))];
    }

    /// <inheritdoc/>
    public override int FirstLook => 0;

    /// <inheritdoc/>
    public override int Free => _free;

    /// <inheritdoc/>
    public override ushort Next => _available.Raw;

    /// <inheritdoc/>
    public override bool HasUsed => PackedVirtqueue.IsUsed(Flags(_used), _used.Wrap);

    /// <inheritdoc/>
    public override bool AsksForNext => Memory.Get32(_layout.DeviceEvent) == (EventIdx ? _available.Raw | ((uint)PackedVirtqueue.EventDescriptor << 16) : PackedVirtqueue.EventEnable);

    /// <inheritdoc/>
    public override CoveragePoint Suppression => Memory.Get16(_layout.DriverEvent + 2) == PackedVirtqueue.EventDisable
        ? CoveragePoint.PackedInterruptDisabled
        : CoveragePoint.PackedInterruptSuppressed;

    /// <inheritdoc/>
    public override ulong OfferAddress => _layout.DescriptorAddress(_available.Index);

    /// <inheritdoc/>
    public override void Begin()
    {
        base.Begin();
        Coverage.Hit(CoveragePoint.PackedRing);
        Coverage.Hit(CoveragePoint.PackedEventIdx, EventIdx);
        Coverage.Hit(CoveragePoint.PackedOddSize, (Size & (Size - 1)) != 0);
        Coverage.Hit(CoveragePoint.PackedOneDescriptor, Size == 1);
    }

    /// <inheritdoc/>
    public override bool Show(IReadOnlyList<ChainState> chains)
    {
        // The flags of the first descriptor are written last (2.8.21.1).
        PackedPosition old = _available;
        int added = 0;
        foreach (ChainState chain in chains)
        {
            added += chain.Descriptors.Length;
            foreach (ushort descriptor in chain.Descriptors)
            {
                Memory.Allow(_layout.DescriptorAddress(descriptor), PackedDescriptor.Size, Access.Any);
            }
        }

        for (int i = chains.Count - 1; i >= 0; i--)
        {
            ulong flags = _layout.DescriptorAddress(chains[i].Descriptors[0]) + PackedDescriptor.Size - 2;
            DescriptorFlags kept = (DescriptorFlags)Memory.Get16(flags) & ~(PackedVirtqueue.Available | PackedVirtqueue.Used);
            Memory.Put(flags, (ushort)(kept | PackedVirtqueue.AvailableFlags(WrapOf(chains[i].Descriptors[0]))));
        }

        _available = old.Advance(added, Size);
        if (_available.Wrap != old.Wrap)
        {
            Coverage.Hit(CoveragePoint.PackedWrap);
            Coverage.Hit(CoveragePoint.PackedManyWraps, ++_laps >= ManyLaps);
        }

        bool wanted = WantsNotification(old, added);
        Coverage.Hit(CoveragePoint.PackedNotifyLeftOut, !wanted);
        return wanted;
    }

    /// <inheritdoc/>
    public override (uint Id, uint Length) Look(string where)
    {
        PackedDescriptor used = PackedDescriptor.Read(Memory.At(_layout.DescriptorAddress(_used.Index), PackedDescriptor.Size));
        DescriptorFlags expected = PackedVirtqueue.UsedFlags(_used.Wrap) | (used.Length != 0 ? DescriptorFlags.Write : DescriptorFlags.None);
        GeneratedRun.Require(used.Flags == expected, $"{where}: flags are 0x{(ushort)used.Flags:x4}; expected 0x{(ushort)expected:x4} with len {used.Length}");
        return (used.Id, used.Length);
    }

    /// <inheritdoc/>
    public override void Take(ChainState chain, string where)
    {
        // As many descriptors as the chain has are free again from the used one on, whichever they were (2.8.5); only the first of them was written.
        Span<byte> none = stackalloc byte[PackedDescriptor.UsedOffset];
        none.Clear();
        for (int i = 0; i < chain.Descriptors.Length; i++)
        {
            ulong descriptor = _layout.DescriptorAddress(_used.Advance(i, Size).Index);
            string? wrong = i == 0
                ? Memory.CheckWrites(descriptor + PackedDescriptor.UsedOffset, PackedDescriptor.Size - PackedDescriptor.UsedOffset, 1)
                : Memory.CheckWrites(descriptor, PackedDescriptor.Size, 0);
            GeneratedRun.Require(wrong is null, $"{where}: {wrong}");
            if (i == 0)
            {
                // The address is of no meaning any more: what stands there depends on how many were used at once.
                Memory.Accept(descriptor, PackedDescriptor.Size);
                Memory.Put(descriptor, none);
            }

            Memory.Allow(descriptor, PackedDescriptor.Size, Access.Read);
        }

        _used = _used.Advance(chain.Descriptors.Length, Size);
        _free += chain.Descriptors.Length;
        _ids.Add(chain.Id);
    }

    /// <inheritdoc/>
    public override void AskBehind(int chains, int descriptors)
    {
        if (EventIdx)
        {
            SetEvent(_used.Advance(descriptors, Size).Raw, PackedVirtqueue.EventDescriptor);
        }
    }

    /// <inheritdoc/>
    public override void AskAlways() => SetEvent(0, PackedVirtqueue.EventEnable);

    /// <inheritdoc/>
    public override void Refuse() => SetEvent(0, PackedVirtqueue.EventDisable);

    /// <inheritdoc/>
    public override void AcceptEvent() => Memory.Accept(_layout.DeviceEvent, PackedVirtqueue.EventBytes);

    /// <inheritdoc/>
    public override int? Shown(in Tlp write, QueueState queue)
    {
        ulong element = _layout.DescriptorAddress(_shown.Index) + PackedDescriptor.UsedOffset;
        ulong flagsAt = element + 6;
        if (write.ByteAddress > flagsAt || write.ByteAddress + (uint)write.RequestBytes <= flagsAt)
        {
            return null;
        }

        DescriptorFlags flags = (DescriptorFlags)BinaryPrimitives.ReadUInt16LittleEndian(write.Payload[(int)(flagsAt - write.Address)..]);
        GeneratedRun.Require(write.ByteAddress == element && write.RequestBytes == 8, $"a used descriptor is written with {write.RequestBytes} bytes from 0x{write.ByteAddress:x}; expected 8 from 0x{element:x}");
        GeneratedRun.Require(
            PackedVirtqueue.IsUsed(flags, _shown.Wrap), $"descriptor {_shown.Index} is written with the flags 0x{(ushort)flags:x4}: not used in the lap of wrap counter {(_shown.Wrap ? 1 : 0)}");

        // What was used together with it was written before, and is seen now.
        int chains = 0;
        _shownBefore = _shown;
        _shownDescriptors = 0;
        do
        {
            GeneratedRun.Require(queue.Published + chains < queue.Returns.Count, $"descriptor {_shown.Index} is used; no chain is left that host 2 was to use");
            int descriptors = queue.Returns[queue.Published + chains++].Descriptors.Length;
            _shown = _shown.Advance(descriptors, Size);
            _shownDescriptors += descriptors;
        }
        while (queue.Published + chains < queue.Returns.Count && PackedVirtqueue.IsUsed(Flags(_shown), _shown.Wrap));
        return chains;
    }

    /// <inheritdoc/>
    public override bool IsLook(in Tlp read) => read.ByteAddress == _layout.DriverEvent && read.RequestBytes == PackedVirtqueue.EventBytes;

    /// <inheritdoc/>
    public override bool WantsInterrupt(QueueState queue) => Memory.Get16(_layout.DriverEvent + 2) switch
    {
        PackedVirtqueue.EventDisable => false,
        PackedVirtqueue.EventDescriptor => Passes(_shownBefore, _shownDescriptors, Memory.Get16(_layout.DriverEvent)),
        _ => true,
    };

    /// <inheritdoc/>
    public override void Offer(params ReadOnlySpan<Descriptor> descriptors)
    {
        ushort id = _ids[0];
        for (int i = 0; i < descriptors.Length; i++)
        {
            OfferOne(new PackedDescriptor(descriptors[i].Address, descriptors[i].Length, id, descriptors[i].Flags));
        }
    }

    /// <inheritdoc/>
    public override void Break(Illegal kind)
    {
        ulong buffer = OfferAddress;
        switch (kind)
        {
            case Illegal.HeadInUse:
                OfferOne(new PackedDescriptor(buffer, 1, _ids[0], DescriptorFlags.None));
                OfferOne(new PackedDescriptor(buffer, 1, _ids[0], DescriptorFlags.None));
                break;
            case Illegal.Loop:
                for (int i = 0; i < Size; i++)
                {
                    OfferOne(new PackedDescriptor(buffer, 1, _ids[0], DescriptorFlags.Next));
                }

                break;
            case Illegal.AvailableIndexJumps:
                // One is at host 2: this goes on over it.
                for (int i = 0; i < Size; i++)
                {
                    OfferOne(new PackedDescriptor(buffer, 1, (ushort)(_ids[0] + i + 1), DescriptorFlags.None));
                }

                break;
            default:
                throw new NotSupportedException($"{kind} of a packed ring");
        }
    }

    /// <inheritdoc/>
    protected override ChainState Claim(ChainPlan chainPlan, int descriptors)
    {
        int chosen = (int)(Mix.Of(chainPlan.Data) % (ulong)_ids.Count);
        ushort id = _ids[chosen];
        _ids.RemoveAt(chosen);
        Coverage.Hit(CoveragePoint.PackedIdsInAnyOrder, chosen != 0);
        ushort[] claimed = [.. Enumerable.Range(0, descriptors).Select(i => _put.Advance(i, Size).Index)];
        _put = _put.Advance(descriptors, Size);
        _free -= descriptors;
        return new ChainState(chainPlan, id, claimed);
    }

    /// <inheritdoc/>
    protected override void PutDescriptor(ChainState chain, int index, ulong address, uint length, DescriptorFlags flags)
    {
        bool wrap = WrapOf(chain.Descriptors[index]);
        flags |= index + 1 < chain.Descriptors.Length ? DescriptorFlags.Next : DescriptorFlags.None;

        // The first one is not available until it is shown.
        flags |= index == 0 ? PackedVirtqueue.UsedFlags(!wrap) : PackedVirtqueue.AvailableFlags(wrap);
        Write(chain.Descriptors[index], new PackedDescriptor(address, length, chain.Id, flags));
    }

    /// <inheritdoc/>
    protected override void WriteEntry(Span<byte> bytes, in Segment segment, int index, bool more) =>
        new PackedDescriptor(Memory.Address(segment.Offset), segment.Length, 0, Direction(segment)).Write(bytes);

    /// <inheritdoc/>
    protected override void Cover(ChainState chain)
    {
        base.Cover(chain);
        Coverage.Hit(CoveragePoint.PackedIndirect, chain.Plan.Direct < chain.Plan.Segments.Count);
        Coverage.Hit(CoveragePoint.PackedChainOverEnd, chain.Descriptors[0] > chain.Descriptors[^1]);
    }

    private DescriptorFlags Flags(PackedPosition position) => (DescriptorFlags)Memory.Get16(_layout.DescriptorAddress(position.Index) + PackedDescriptor.Size - 2);

    // Of a descriptor from the next available one on, less than a lap away.
    private bool WrapOf(ushort descriptor) => descriptor >= _available.Index ? _available.Wrap : !_available.Wrap;

    private bool WantsNotification(PackedPosition from, int added)
    {
        ushort flags = Memory.Get16(_layout.DeviceEvent + 2);
        GeneratedRun.Require(
            flags <= (EventIdx ? PackedVirtqueue.EventDescriptor : PackedVirtqueue.EventDisable), $"the device event suppression structure at 0x{_layout.DeviceEvent:x} has the flags 0x{flags:x4}");
        return flags switch
        {
            PackedVirtqueue.EventDisable => false,
            PackedVirtqueue.EventDescriptor => Passes(from, added, Memory.Get16(_layout.DeviceEvent)),
            _ => true,
        };
    }

    // Whether one of so many descriptors is the one at which somebody asked to be told.
    private bool Passes(PackedPosition from, int descriptors, ushort asked) =>
        Enumerable.Range(0, descriptors).Any(i => from.Advance(i, Size).Raw == asked);

    private void SetEvent(ushort position, ushort flags)
    {
        Memory.Put(_layout.DriverEvent, position);
        Memory.Put(_layout.DriverEvent + 2, flags);
    }

    private void OfferOne(PackedDescriptor descriptor)
    {
        Memory.Allow(_layout.DescriptorAddress(_available.Index), PackedDescriptor.Size, Access.Any);
        Write(_available.Index, descriptor with { Flags = descriptor.Flags | PackedVirtqueue.AvailableFlags(_available.Wrap) });
        _available = _put = _available.Advance(1, Size);
    }

    private void Write(ushort index, in PackedDescriptor descriptor)
    {
        Span<byte> bytes = stackalloc byte[PackedDescriptor.Size];
        descriptor.Write(bytes);
        Memory.Put(_layout.DescriptorAddress(index), bytes);
    }
}
