// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Scheduling.Generation;

/// <summary>A queue of host 1 as its driver left it: the truth that both sides are held against.</summary>
internal sealed class QueueState(QueuePlan plan, DriverRing ring, bool inOrder, int vector)
{
    private readonly List<ChainState> _available = [];
    private readonly List<ChainState> _usedOrder = [];
    private readonly List<ChainState> _returns = [];

    public QueuePlan Plan => plan;

    public DriverRing Ring => ring;

    /// <summary>VIRTIO_F_IN_ORDER is negotiated.</summary>
    public bool InOrder => inOrder;

    /// <summary>MSI-X vector, or -1.</summary>
    public int Vector => vector;

    /// <summary>Chains in the order in which they were made available.</summary>
    public IReadOnlyList<ChainState> Available => _available;

    /// <summary>Chains in the order in which host 2 uses them.</summary>
    public IReadOnlyList<ChainState> UsedOrder => _usedOrder;

    /// <summary>Chains in the order in which the driver gets them back.</summary>
    public IReadOnlyList<ChainState> Returns => _returns;

    /// <summary>Chains that the driver has taken back.</summary>
    public int Consumed { get; set; }

    /// <summary>Chains that are in flight and will come back.</summary>
    public int Outstanding => _returns.Count - Consumed;

    /// <summary>Whether a chain is in flight, even one that is never used.</summary>
    public bool IsBusy => _available.Count != Consumed;

    /// <summary>Set by an interrupt that may be this queue's.</summary>
    public Signal Used { get; } = new();

    public int Drains { get; set; }

    /// <summary>The device serves it: it was there at DRIVER_OK, or was notified.</summary>
    public bool IsServed { get; set; }

    // What the watch on the link knows.

    /// <summary>Chains that the FPGA has shown to the driver as used.</summary>
    public int Published { get; private set; }

    /// <summary>How many of them with the last write.</summary>
    public int PublishedLast { get; private set; }

    /// <summary>The FPGA has yet to look whether an interrupt is wanted.</summary>
    public bool Undecided { get; set; }

    /// <summary>Interrupts of this queue that may not have come yet.</summary>
    public int Owed { get; set; }

    /// <summary>Chains are made available.</summary>
    /// <param name="chains">In this order.</param>
    /// <param name="usedOrder">As host 2 uses them.</param>
    public void Add(IReadOnlyList<ChainState> chains, IReadOnlyList<ChainState> usedOrder)
    {
        bool all = _returns.Count == _available.Count;
        _available.AddRange(chains);
        _usedOrder.AddRange(usedOrder);

        // In order, nothing comes back behind a chain that host 2 keeps.
        _returns.AddRange(!inOrder ? usedOrder : all ? chains.TakeWhile(chain => !chain.Plan.Kept) : []);
    }

    /// <summary>Asks for an interrupt with the chain that comes back so many behind the next.</summary>
    public void AskBehind(int chains) => ring.AskBehind(chains, _returns.Skip(Consumed).Take(chains).Sum(chain => chain.Descriptors.Length));

    /// <summary>The FPGA shows used chains to the driver.</summary>
    public void Publish(int chains)
    {
        Published += chains;
        PublishedLast = chains;
        Undecided = true;
    }
}
