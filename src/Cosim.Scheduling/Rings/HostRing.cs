// SPDX-License-Identifier: Apache-2.0
using Cosim.Virtio;

namespace Cosim.Scheduling.Rings;

/// <summary>A queue as the driver of host 1 has set it up.</summary>
/// <param name="Size">Queue size.</param>
/// <param name="Descriptors">queue_desc: descriptor area.</param>
/// <param name="Driver">queue_driver: driver area.</param>
/// <param name="Device">queue_device: device area.</param>
/// <param name="Features">Negotiated features.</param>
internal readonly record struct HostQueue(ushort Size, ulong Descriptors, ulong Driver, ulong Device, ulong Features)
{
    public bool EventIdx => (Features & VirtioFeatures.RingEventIdx) != 0;

    public bool Indirect => (Features & VirtioFeatures.RingIndirectDesc) != 0;

    public bool Packed => (Features & VirtioFeatures.RingPacked) != 0;

    public bool InOrder => (Features & VirtioFeatures.InOrder) != 0;

    public bool NotificationData => (Features & VirtioFeatures.NotificationData) != 0;
}

/// <summary>Who works with a <see cref="HostRing"/>.</summary>
internal interface IHostRingOwner
{
    /// <summary>So many chains stand in <see cref="HostRing.Batch"/>; 0: none is available, and the driver tells of the next one.</summary>
    void Fetched(int count);

    /// <summary>What was given to <see cref="HostRing.PutUsed"/> is visible to the driver, which wants an interrupt or not.</summary>
    void UsedPublished(bool interrupt);

    /// <summary>The driver broke the rules, or its ring cannot be reached.</summary>
    void RingFailed(string reason);
}

/// <summary>
/// The driver's ring in host 1's memory as the device sees it: takes chains that were made available and gives used ones back. One fetch and one
/// return are under way at most.
/// </summary>
internal abstract class HostRing : IDmaClient
{
    /// <summary>Most chains of one fetch.</summary>
    public const int BatchSize = 16;

    /// <summary>Most used elements of one write.</summary>
    protected const int WriteSize = 64;

    /// <summary>Most descriptors of an indirect table that are read at once.</summary>
    protected const int TableWindow = DmaPort.MaxInline / Descriptor.Size;

    private const int MostKeptChains = 1024;

    private readonly Stack<Chain> _chains = new();
    private readonly ulong[] _inUse = new ulong[(ushort.MaxValue + 1) / 64];
    private int _walks;
    private string? _walkError;

    protected HostRing(QueueDma dma, IHostRingOwner owner)
    {
        Dma = dma.For(this);
        Owner = owner;
    }

    /// <summary>Chains of the last fetch.</summary>
    public Chain[] Batch { get; } = new Chain[BatchSize];

    /// <summary>Queue size.</summary>
    public ushort Size => Queue.Size;

    /// <summary>Greatest buffer that the pool can give.</summary>
    public ulong GreatestBuffer { get; set; } = ulong.MaxValue;

    /// <summary>Chains of the fetch under way.</summary>
    protected int BatchCount { get; set; }

    protected HostQueue Queue { get; private set; }

    protected QueueDma.Part Dma { get; }

    protected IHostRingOwner Owner { get; }

    /// <summary>The driver's notification carries where it will put the next chain (2.9): it can be used for one look.</summary>
    protected uint? Hint { get; set; }

    /// <summary>Takes a queue that has just been enabled.</summary>
    public virtual void Start(in HostQueue queue)
    {
        Queue = queue;
        Hint = null;
        BatchCount = 0;
        Array.Clear(_inUse);
    }

    /// <summary>The driver notified the queue.</summary>
    /// <param name="value">What it wrote.</param>
    public void Notified(uint value)
    {
        if (Queue.NotificationData)
        {
            Hint = value;
        }
    }

    /// <summary>Reads the next chains: <see cref="IHostRingOwner.Fetched"/> follows.</summary>
    public abstract void Look();

    /// <summary>A chain of the batch goes to host 2: the ring moves on behind it. In the order of the batch.</summary>
    public abstract void Take(Chain chain);

    /// <summary>What was fetched and not taken is given back: the next look finds it again.</summary>
    public virtual void Rewind(ReadOnlySpan<Chain> chains)
    {
        foreach (Chain chain in chains)
        {
            SetInUse(chain.Id, false);
            Keep(chain);
        }
    }

    /// <summary>
    /// Gives used chains back to the driver, which sees all of them or none: a network packet may be spread over several (5.1.6.4.1).
    /// <see cref="IHostRingOwner.UsedPublished"/> follows. They are not the caller's any more.
    /// </summary>
    /// <param name="chains">1 chain or more.</param>
    public abstract void PutUsed(ReadOnlySpan<Chain> chains);

    /// <inheritdoc/>
    public void CopyDone(uint context, CopyStatus status, ReadOnlySpan<byte> data)
    {
        if (status == CopyStatus.Ok)
        {
            Continue((byte)context, (int)(context >> 8), data);
        }
        else if (status != CopyStatus.Lost && (byte)context != 0)
        {
            Owner.RingFailed($"{StepName((byte)context)}: the ring or a descriptor table cannot be reached ({status})");
        }
    }

    /// <summary>Goes on after a copy.</summary>
    protected abstract void Continue(byte step, int index, ReadOnlySpan<byte> data);

    /// <summary>Name of a step, for people.</summary>
    protected abstract string StepName(byte step);

    protected static uint Context(byte step, int index = 0) => step | ((uint)index << 8);

    protected Chain NewChain() => _chains.TryPop(out Chain? chain) ? chain : new Chain();

    protected void Keep(Chain chain)
    {
        if (_chains.Count < MostKeptChains)
        {
            _chains.Push(chain);
        }
    }

    protected bool IsInUse(ushort id) => (_inUse[id / 64] & (1ul << (id % 64))) != 0;

    protected void SetInUse(ushort id, bool inUse)
    {
        if (inUse)
        {
            _inUse[id / 64] |= 1ul << (id % 64);
        }
        else
        {
            _inUse[id / 64] &= ~(1ul << (id % 64));
        }
    }

    /// <summary>So many walks begin, and one more that the caller ends once it has begun them all: until then the batch is not complete.</summary>
    protected void BeginWalks(int count)
    {
        _walks = count + 1;
        _walkError = null;
    }

    /// <summary>A chain is complete, or wrong; with the last one <see cref="IHostRingOwner.Fetched"/> follows.</summary>
    protected void WalkEnded(string? error)
    {
        _walkError ??= error;
        if (--_walks != 0)
        {
            return;
        }

        if (_walkError is not null)
        {
            Owner.RingFailed(_walkError);
        }
        else
        {
            Owner.Fetched(BatchCount);
        }
    }

    protected static string? CheckBytes(Chain chain) => chain.ReadableBytes + chain.WritableBytes == 0 ? $"chain {chain.Id} has no byte" : null;

    protected void ReadWindow(Chain chain, ushort index, int most, byte step)
    {
        int count = Math.Min(most, chain.TableSize - index);
        chain.WindowStart = index;
        Dma.Read(DmaSpace.Host1, chain.Table + ((ulong)index * Descriptor.Size), count * Descriptor.Size, Context(step, chain.BatchIndex));
    }
}
