// SPDX-License-Identifier: Apache-2.0
using Cosim.Pcie;
using Cosim.Virtio;

namespace Cosim.Scheduling.Generation;

/// <summary>A ring in host 1's memory: what its driver writes and reads there, and what the FPGA's accesses to it mean.</summary>
/// <param name="memory">Host 1's memory.</param>
/// <param name="plan">Where it is.</param>
/// <param name="eventIdx">VIRTIO_F_EVENT_IDX is negotiated.</param>
/// <param name="coverage">Counts.</param>
internal abstract class DriverRing(HostImage memory, QueuePlan plan, bool eventIdx, Coverage coverage)
{
    /// <summary>queue_desc, queue_driver and queue_device.</summary>
    public IReadOnlyList<ulong> Areas { get; } = [memory.Address(plan.Descriptors), memory.Address(plan.Driver), memory.Address(plan.Device)];

    /// <summary>Lengths of the areas.</summary>
    public IReadOnlyList<int> Lengths { get; } = AreaBytes(plan.Packed, plan.Size);

    /// <summary>Which of the areas the device looks at first.</summary>
    public abstract int FirstLook { get; }

    /// <summary>Descriptors that no chain has.</summary>
    public abstract int Free { get; }

    /// <summary>Where the next chain will be made available, as notification data says it (virtio 1.3, 2.9).</summary>
    public abstract ushort Next { get; }

    /// <summary>Whether the device has used the chain that is next.</summary>
    public abstract bool HasUsed { get; }

    /// <summary>Whether the device asks to be told of the next chain.</summary>
    public abstract bool AsksForNext { get; }

    /// <summary>Why an interrupt is not wanted, if it is not.</summary>
    public abstract CoveragePoint Suppression { get; }

    /// <summary>Address of the first descriptor of <see cref="Offer"/>.</summary>
    public abstract ulong OfferAddress { get; }

    protected HostImage Memory => memory;

    protected int Size => plan.Size;

    protected bool EventIdx => eventIdx;

    protected Coverage Coverage => coverage;

    /// <summary>Makes the ring of a plan.</summary>
    public static DriverRing Make(HostImage memory, QueuePlan plan, ulong features, Coverage coverage)
    {
        bool eventIdx = (features & VirtioFeatures.RingEventIdx) != 0;
        return plan.Packed ? new PackedDriverRing(memory, plan, eventIdx, coverage) : new SplitDriverRing(memory, plan, eventIdx, coverage);
    }

    /// <summary>Bytes of the descriptor, driver and device areas.</summary>
    public static int[] AreaBytes(bool packed, int size) => packed
        ? [PackedDescriptor.Size * size, PackedVirtqueue.EventBytes, PackedVirtqueue.EventBytes]
        : [SplitVirtqueue.DescriptorTableBytes(size), SplitVirtqueue.AvailableBytes(size), SplitVirtqueue.UsedBytes(size)];

    /// <summary>Whether a range lies across a page.</summary>
    public static bool IsAcrossPage(ulong address, int length) => address >> 12 != (address + (uint)length - 1) >> 12;

    /// <summary>Lets the FPGA at the ring, which is empty.</summary>
    public virtual void Begin()
    {
        for (int i = 0; i < Areas.Count; i++)
        {
            memory.Put(Areas[i], new byte[Lengths[i]]);
            memory.Allow(Areas[i], (uint)Lengths[i], i == 2 ? Access.Any : Access.Read);
        }

        coverage.Hit(CoveragePoint.SmallestQueue, plan.Size == 2);
        coverage.Hit(CoveragePoint.LargeQueue, plan.Size >= 128);
        coverage.Hit(CoveragePoint.RingAcrossPage, Enumerable.Range(0, Areas.Count).Any(i => IsAcrossPage(Areas[i], Lengths[i])));
    }

    /// <summary>Writes a chain with its buffers; <see cref="Show"/> makes it available.</summary>
    public ChainState Put(ChainPlan chainPlan)
    {
        int entries = chainPlan.Segments.Count - chainPlan.Direct;
        ChainState chain = Claim(chainPlan, chainPlan.Direct + (entries == 0 ? 0 : 1));
        PutBuffers(chain);
        for (int i = 0; i < chainPlan.Direct; i++)
        {
            Segment segment = chainPlan.Segments[i];
            PutDescriptor(chain, i, memory.Address(segment.Offset), segment.Length, Direction(segment));
        }

        if (entries != 0)
        {
            PutTable(chain, memory.Address(chainPlan.Table), entries);
        }

        Cover(chain);
        return chain;
    }

    /// <summary>Makes chains available that were put, in the order of their putting.</summary>
    /// <returns>Whether the device wants to be notified.</returns>
    public abstract bool Show(IReadOnlyList<ChainState> chains);

    /// <summary>The used element that is next.</summary>
    /// <param name="where">For people.</param>
    public abstract (uint Id, uint Length) Look(string where);

    /// <summary>Takes a chain back, whose used element is the next one.</summary>
    /// <param name="chain">The chain.</param>
    /// <param name="where">For people.</param>
    public abstract void Take(ChainState chain, string where);

    /// <summary>Asks for an interrupt with the used element so many chains, that is descriptors, behind the next; without EVENT_IDX one comes at any rate.</summary>
    public abstract void AskBehind(int chains, int descriptors);

    /// <summary>Asks for an interrupt whatever is used.</summary>
    public abstract void AskAlways();

    /// <summary>Asks for no interrupts.</summary>
    public abstract void Refuse();

    /// <summary>What the device last wrote about notifications is right.</summary>
    public abstract void AcceptEvent();

    /// <summary>How many chains a write of the FPGA shows to the driver as used; null: it is another write.</summary>
    public abstract int? Shown(in Tlp write, QueueState queue);

    /// <summary>Whether a read of the FPGA is its look whether an interrupt is wanted.</summary>
    public abstract bool IsLook(in Tlp read);

    /// <summary>Whether an interrupt is wanted for what was shown last.</summary>
    public abstract bool WantsInterrupt(QueueState queue);

    /// <summary>Makes a chain available as it is, right or wrong.</summary>
    public abstract void Offer(params ReadOnlySpan<Descriptor> descriptors);

    /// <summary>Breaks the ring itself in a way that has no meaning for the other format.</summary>
    /// <param name="kind">How.</param>
    public abstract void Break(Illegal kind);

    protected static DescriptorFlags Direction(in Segment segment) => segment.Writable ? DescriptorFlags.Write : DescriptorFlags.None;

    /// <summary>Takes free descriptors for a chain.</summary>
    protected abstract ChainState Claim(ChainPlan chainPlan, int descriptors);

    /// <summary>Writes descriptor <paramref name="index"/> of a chain.</summary>
    protected abstract void PutDescriptor(ChainState chain, int index, ulong address, uint length, DescriptorFlags flags);

    /// <summary>Writes an entry of an indirect table.</summary>
    protected abstract void WriteEntry(Span<byte> bytes, in Segment segment, int index, bool more);

    protected virtual void Cover(ChainState chain)
    {
        ChainPlan chainPlan = chain.Plan;
        bool readable = chain.Readable.Length != 0;
        coverage.Hit(CoveragePoint.ReadableOnly, readable && chain.WritableLength == 0);
        coverage.Hit(CoveragePoint.WritableOnly, !readable);
        coverage.Hit(CoveragePoint.ReadableAndWritable, readable && chain.WritableLength != 0);
        coverage.Hit(CoveragePoint.OneDescriptor, chainPlan.Segments.Count == 1);
        coverage.Hit(CoveragePoint.LongChain, chainPlan.Direct > 4);
        coverage.Hit(CoveragePoint.VeryLongChain, chainPlan.Direct >= 16);
    }

    private void PutBuffers(ChainState chain)
    {
        int put = 0;
        foreach (Segment segment in chain.Plan.Segments)
        {
            ulong address = memory.Address(segment.Offset);
            if (!segment.Writable)
            {
                memory.Put(address, chain.Readable.AsSpan(put, (int)segment.Length));
                put += (int)segment.Length;
            }

            memory.Allow(address, segment.Length, segment.Writable ? Access.WriteOnce : Access.Read);
            coverage.Hit(CoveragePoint.EmptyDescriptor, segment.Length == 0);
            coverage.Hit(CoveragePoint.OneByteSegment, segment.Length == 1);
            coverage.Hit(CoveragePoint.LongSegment, segment.Length > 4096);
            coverage.Hit(CoveragePoint.StartsAtLastByte, address % 4096 == 4095 && segment.Length > 1);
            coverage.Hit(CoveragePoint.EndsAtLastByte, (address + segment.Length) % 4096 == 0 && segment.Length != 0);
        }
    }

    private void PutTable(ChainState chain, ulong table, int entries)
    {
        byte[] bytes = new byte[entries * Descriptor.Size];
        for (int i = 0; i < entries; i++)
        {
            WriteEntry(bytes.AsSpan(i * Descriptor.Size), chain.Plan.Segments[chain.Plan.Direct + i], i, i + 1 < entries);
        }

        memory.Put(table, bytes);
        memory.Allow(table, (uint)bytes.Length, Access.Read);
        PutDescriptor(chain, chain.Plan.Direct, table, (uint)bytes.Length, DescriptorFlags.Indirect);
        coverage.Hit(CoveragePoint.IndirectTable);
        coverage.Hit(CoveragePoint.LongIndirectTable, entries >= 32);
        coverage.Hit(CoveragePoint.TableAcrossPage, IsAcrossPage(table, bytes.Length));
        coverage.Hit(CoveragePoint.DirectThenIndirect, chain.Plan.Direct != 0);
    }
}
