// SPDX-License-Identifier: Apache-2.0
using Cosim.Virtio;

namespace Cosim.Scheduling.Generation;

/// <summary>A chain that a driver has made available.</summary>
internal sealed class ChainState(ChainPlan plan, ushort head, ushort[] descriptors)
{
    public ChainPlan Plan => plan;

    public ushort Head => head;

    /// <summary>Descriptors of the queue that it takes.</summary>
    public ushort[] Descriptors => descriptors;

    /// <summary>The device-readable bytes.</summary>
    public byte[] Readable { get; } = Mix.Bytes((int)plan.Segments.Where(s => !s.Writable).Sum(s => s.Length), plan.Data);

    /// <summary>The bytes that the back end writes.</summary>
    public byte[] Answer { get; } = Mix.Bytes((int)plan.UsedLength, ~plan.Data);

    public uint WritableLength { get; } = (uint)plan.Segments.Where(s => s.Writable).Sum(s => s.Length);

    /// <summary>Host 2 has it.</summary>
    public bool Arrived { get; set; }

    /// <summary>Its first descriptor in host 2's ring.</summary>
    public ushort Place { get; set; }

    /// <summary>Host 2's buffer for the writable bytes.</summary>
    public ulong Writable { get; set; }
}

/// <summary>A queue of host 1 as its driver left it: the truth that both sides are held against.</summary>
internal sealed class QueueState(QueuePlan plan, SplitVirtqueue layout, bool eventIdx, int vector)
{
    public QueuePlan Plan => plan;

    public SplitVirtqueue Layout => layout;

    public bool EventIdx => eventIdx;

    /// <summary>MSI-X vector, or -1.</summary>
    public int Vector => vector;

    public Queue<ushort> Free { get; } = new(Enumerable.Range(0, plan.Size).Select(i => (ushort)i));

    /// <summary>Chains in the order in which they were made available.</summary>
    public List<ChainState> Available { get; } = [];

    /// <summary>Chains in the order in which they are used.</summary>
    public List<ChainState> UsedOrder { get; } = [];

    /// <summary>Chains that the driver has taken back.</summary>
    public int Consumed { get; set; }

    /// <summary>Chains that are in flight and will be used.</summary>
    public int Outstanding => UsedOrder.Count - Consumed;

    /// <summary>Set by an interrupt that may be this queue's.</summary>
    public Signal Used { get; } = new();

    public int Drains { get; set; }

    // What the watch on the link knows.

    /// <summary>The used index as the FPGA wrote it last.</summary>
    public ushort Published { get; set; }

    public ushort PublishedBefore { get; set; }

    /// <summary>The FPGA has yet to look whether an interrupt is wanted.</summary>
    public bool Undecided { get; set; }
}
