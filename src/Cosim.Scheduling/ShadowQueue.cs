// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;
using Cosim.Scheduling.Rings;
using Cosim.Virtio;

namespace Cosim.Scheduling;

/// <summary>Who a queue tells what it cannot settle itself.</summary>
internal interface IShadowQueueOwner
{
    /// <summary>
    /// Whether host 2 may be offered chains now. It may not while it has to hear first of what the driver did before it made them available;
    /// <see cref="ShadowQueue.OfferHeld"/> ends that.
    /// </summary>
    bool MayOffer { get; }

    /// <summary>The driver of host 1 or the back end broke the rules; the queue has stopped working.</summary>
    void QueueFailed(ShadowQueue queue, string reason);

    /// <summary>Memory of the pool was refused: host 2 is gone or has withdrawn it.</summary>
    void PoolLost(string reason);

    /// <summary>The last copy of a queue that was told to stop or to freeze has ended.</summary>
    void QueueQuiet(ShadowQueue queue);

    /// <summary>A copy between the hosts was refused because Bus Master Enable of one of them is 0; the queue is frozen.</summary>
    void BusMasterDisabled();

    /// <summary>A block went back to the pool.</summary>
    void PoolFreed();
}

/// <summary>
/// One virtqueue of host 1 and its shadow in host 2's pool, kept in step: chains that the driver makes available are offered to host 2
/// with their device-readable bytes, what host 2 has used goes back with the device-writable bytes (virtio 1.3, 2.7 and 2.8).
/// </summary>
/// <remarks>
/// Two sequences run side by side, each with at most one step under way: the fetch (available, left to right) and the drain (used, right
/// to left). Every step is a copy of the DMA engine whose end starts the next step. How host 1's ring is read and written is
/// <see cref="HostRing"/>'s business, host 2's <see cref="ShadowRing"/>'s.
/// </remarks>
internal sealed class ShadowQueue : IDmaClient, IHostRingOwner, IShadowRingOwner
{
    private const uint CopyInStep = 1;
    private const uint CopyOutStep = 2;

    private readonly ManagementPort _port;
    private readonly IShadowQueueOwner _owner;
    private readonly int _function;
    private readonly ushort _kickVector;
    private readonly QueueDma _dma;
    private readonly QueueDma.Part _copies;
    private readonly ShadowRing _shadow;
    private readonly Chain[] _batch = new Chain[HostRing.BatchSize];
    private readonly List<Chain> _drained = [];
    private readonly List<Chain> _returning = [];
    private readonly Queue<Chain> _order = new();
    private readonly List<Chain> _offerAgain = [];

    private SplitHostRing? _split;
    private PackedHostRing? _packed;
    private HostRing? _host;
    private QueueShare? _pool;
    private bool _inOrder;
    private bool _frozen;

    // Fetch
    private bool _fetching;
    private bool _waitingForRoom;
    private bool _held;
    private bool _notified;
    private int _batchFrom;
    private int _batchTo;
    private int _batchCount;
    private bool _batchIsOffered;
    private int _copiesIn;
    private CopyStatus _copyInStatus;
    private int _offerAgainNext;
    private ulong _sequence;

    // Drain
    private bool _draining;
    private bool _called;
    private int _copiesOut;
    private CopyStatus _copyOutStatus;

    public ShadowQueue(ManagementPort port, IShadowQueueOwner owner, int function, ushort index, ushort kickVector)
    {
        _port = port;
        _owner = owner;
        _function = function;
        Index = index;
        _kickVector = kickVector;
        _dma = new QueueDma(port.Dma, function, CopyEnded);
        _copies = _dma.For(this);
        _shadow = new ShadowRing(_dma, this);
    }

    /// <summary>Queue index.</summary>
    public ushort Index { get; }

    /// <summary>Entries of the driver's queue.</summary>
    public ushort HostSize => _host?.Size ?? 0;

    /// <summary>Whether the driver's queue is served or frozen; false after <see cref="Stop"/>.</summary>
    public bool Running { get; private set; }

    /// <summary>Whether a copy of this queue has not ended.</summary>
    public bool Busy => _dma.Outstanding != 0;

    bool IShadowRingOwner.IsFrozen => _frozen;

    /// <summary>Takes the driver's queue; nothing moves before <see cref="Attach"/>.</summary>
    public void Start(in HostQueue queue)
    {
        _host = queue.Packed ? _packed ??= new PackedHostRing(_dma, this) : _split ??= new SplitHostRing(_dma, this);
        _host.Start(queue);
        _inOrder = queue.InOrder;
        _shadow.ForgetChains();
        _order.Clear();
        _drained.Clear();
        _offerAgain.Clear();
        _offerAgainNext = 0;
        _batchFrom = _batchCount = 0;
        _notified = true;
        Running = true;
        _dma.Stopped = false;
        _frozen = true;
    }

    /// <summary>Connects an empty shadow ring, for a new start or for a new back end; chains in flight are offered again, in their order.</summary>
    public void Attach(in SplitVirtqueue shadow, QueueShare pool, bool eventIdx)
    {
        _offerAgain.RemoveRange(0, _offerAgainNext);
        _shadow.CopyChainsTo(_offerAgain);
        foreach (Chain chain in _offerAgain)
        {
            chain.State = ChainState.OfferAgain;
            chain.HasBuffer = false;
        }

        _offerAgain.Sort((a, b) => a.Sequence.CompareTo(b.Sequence));
        _offerAgainNext = 0;
        _shadow.Start(shadow, eventIdx);
        _pool = pool;
        _host!.GreatestBuffer = pool.GreatestBuffer;
        _fetching = _draining = _waitingForRoom = _held = _called = false;
        _notified = true;
        _frozen = false;
        Pump();
    }

    /// <summary>The back end is gone: no new step begins. <see cref="IShadowQueueOwner.QueueQuiet"/> follows once nothing is under way, at once if nothing is.</summary>
    public void Freeze()
    {
        _frozen = true;
        if (_waitingForRoom || _held)
        {
            _waitingForRoom = _held = false;
            EndFetch();
        }

        if (!Busy)
        {
            _owner.QueueQuiet(this);
        }
    }

    /// <summary>The driver has reset the queue: host 1's memory is left alone as soon as <see cref="Busy"/> is false; <see cref="IShadowQueueOwner.QueueQuiet"/> tells.</summary>
    public void Stop()
    {
        Running = false;
        _dma.Stopped = true;
        _waitingForRoom = _held = false;
        if (!Busy)
        {
            _owner.QueueQuiet(this);
        }
    }

    /// <summary>After <see cref="Stop"/> and once host 2 has left the ring: gives the buffers back to the pool.</summary>
    public void ReleaseBuffers()
    {
        _offerAgain.Clear();
        _shadow.CopyChainsTo(_offerAgain);
        foreach (Chain chain in _offerAgain)
        {
            ReleaseBuffer(chain);
        }

        _offerAgain.Clear();
        _offerAgainNext = 0;
    }

    /// <summary>The pool is gone, and the buffers in it.</summary>
    public void ForgetBuffers()
    {
        _offerAgain.RemoveRange(0, _offerAgainNext);
        _offerAgainNext = 0;
        _shadow.CopyChainsTo(_offerAgain);
        _shadow.ForgetChains();
        foreach (Chain chain in _offerAgain)
        {
            chain.HasBuffer = false;
        }
    }

    /// <summary>The driver notified the queue.</summary>
    /// <param name="value">What it wrote.</param>
    public void Notify(uint value)
    {
        _host?.Notified(value);
        _notified = true;
        Pump();
    }

    /// <summary>The back end rang the queue's doorbell.</summary>
    public void Call()
    {
        _called = true;
        Pump();
    }

    /// <summary>Tries again what waited for memory of the pool, or for a place in the shadow ring.</summary>
    public void RetryPool()
    {
        if (_waitingForRoom)
        {
            _waitingForRoom = false;
            Allocate();
        }
    }

    /// <summary>Offers what had to wait until <see cref="IShadowQueueOwner.MayOffer"/>.</summary>
    public void OfferHeld()
    {
        if (_held)
        {
            _held = false;
            CopyInDone();
        }
    }

    void IHostRingOwner.Fetched(int count)
    {
        if (count == 0)
        {
            EndFetch();
            return;
        }

        _host!.Batch.AsSpan(0, count).CopyTo(_batch);
        _batchIsOffered = false;
        _batchFrom = 0;
        _batchCount = count;
        NextFetch();
    }

    void IHostRingOwner.UsedPublished(bool interrupt)
    {
        if (interrupt)
        {
            _port.Interrupt(0, _function, Index);
        }

        LookAgain();
    }

    void IHostRingOwner.RingFailed(string reason) => Fail(reason);

    void IShadowRingOwner.Offered(bool kick)
    {
        _batchFrom = _batchTo;
        if (kick && !_frozen)
        {
            _port.Interrupt(1, 0, _kickVector);
        }

        NextFetch();
    }

    void IShadowRingOwner.UsedFound(int count)
    {
        if (count == 0)
        {
            EndDrain();
            return;
        }

        // One more than the copies: the count cannot reach zero while they are still being asked for.
        _copiesOut = 1;
        _copyOutStatus = CopyStatus.Ok;
        for (int i = 0; i < count; i++)
        {
            _drained.Add(_shadow.Used[i]);
            CopyOut(_shadow.Used[i]);
        }

        if (--_copiesOut == 0)
        {
            CopyOutDone();
        }
    }

    void IShadowRingOwner.RingFailed(string reason) => Fail(reason);

    void IShadowRingOwner.RingLost(bool offering, string what)
    {
        if (offering)
        {
            _batchFrom = _batchTo;
            EndFetch();
        }
        else
        {
            EndDrain();
        }

        _owner.PoolLost($"queue {Index}: {what}");
    }

    /// <inheritdoc/>
    public void CopyDone(uint context, CopyStatus status, ReadOnlySpan<byte> data)
    {
        if (context == CopyInStep)
        {
            Worst(ref _copyInStatus, status);
            if (--_copiesIn == 0)
            {
                CopyInDone();
            }
        }
        else
        {
            Worst(ref _copyOutStatus, status);
            if (--_copiesOut == 0)
            {
                CopyOutDone();
            }
        }
    }

    private static void Worst(ref CopyStatus worst, CopyStatus status)
    {
        if (worst == CopyStatus.Ok)
        {
            worst = status;
        }
    }

    private void CopyEnded()
    {
        if (!Busy && (_dma.Stopped || _frozen))
        {
            _owner.QueueQuiet(this);
        }
    }

    private void Fail(string reason)
    {
        if (_dma.Stopped)
        {
            return;
        }

        Running = false;
        _dma.Stopped = true;
        _owner.QueueFailed(this, reason);
    }

    private void Pump()
    {
        if (!Running || _frozen)
        {
            return;
        }

        if (!_fetching && (_notified || _offerAgainNext < _offerAgain.Count))
        {
            _fetching = true;
            NextFetch();
        }

        if (!_draining && _called)
        {
            _draining = true;
            _called = false;
            _shadow.Look();
        }
    }

    // ---- Fetch: what the driver made available ---------------------------------------------------------------------

    private void NextFetch()
    {
        if (_frozen)
        {
            EndFetch();
        }
        else if (_batchFrom < _batchCount)
        {
            Allocate();
        }
        else if (_offerAgainNext < _offerAgain.Count)
        {
            _batchFrom = 0;
            _batchCount = Math.Min(_batch.Length, _offerAgain.Count - _offerAgainNext);
            _offerAgain.CopyTo(_offerAgainNext, _batch, 0, _batchCount);
            _batchIsOffered = true;
            Allocate();
        }
        else
        {
            _notified = false;
            _host!.Look();
        }
    }

    private void EndFetch()
    {
        for (int i = _batchFrom; i < _batchCount; i++)
        {
            if (_batch[i].HasBuffer)
            {
                ReleaseBuffer(_batch[i]);
            }
        }

        if (_frozen || _batchFrom < _batchCount)
        {
            _host!.Rewind(_batchIsOffered ? default : _batch.AsSpan(_batchFrom, _batchCount - _batchFrom));
            _notified = true;
        }

        _batchFrom = _batchCount = 0;
        _fetching = false;
        Pump();
    }

    private void Allocate()
    {
        if (_frozen)
        {
            EndFetch();
            return;
        }

        int i = _batchFrom;
        while (i < _batchCount && TryPlace(_batch[i]))
        {
            i++;
        }

        _batchTo = i;
        if (_batchTo == _batchFrom)
        {
            // A new back end may have lent a smaller pool than the chain was checked against.
            ulong bytes = _batch[_batchFrom].BufferBytes;
            if (bytes > _pool!.GreatestBuffer)
            {
                Fail($"a chain has {bytes} bytes; the pool can hold {_pool.GreatestBuffer} at most");
                return;
            }

            _waitingForRoom = true;
            return;
        }

        // One more than the copies: the count cannot reach zero while they are still being asked for.
        _copiesIn = 1;
        _copyInStatus = CopyStatus.Ok;
        for (i = _batchFrom; i < _batchTo; i++)
        {
            CopyIn(_batch[i]);
        }

        if (--_copiesIn == 0)
        {
            CopyInDone();
        }
    }

    private bool TryPlace(Chain chain)
    {
        if (!_shadow.HasRoom || !_pool!.TryAllocate(chain.BufferBytes, out ulong address))
        {
            return false;
        }

        chain.Buffer = address;
        chain.HasBuffer = true;
        _shadow.Place(chain);
        return true;
    }

    private void CopyIn(Chain chain)
    {
        ulong to = chain.Buffer;
        for (int i = 0; i < chain.ReadableSegments; i++)
        {
            (ulong from, uint left) = chain.Segments[i];
            while (left != 0)
            {
                uint part = Math.Min(left, DmaPort.MaxCopy);
                _copiesIn++;
                _copies.Copy(DmaSpace.Host1, from, DmaSpace.Host2, to, part, CopyInStep);
                from += part;
                to += part;
                left -= part;
            }
        }
    }

    private void CopyInDone()
    {
        if (_copyInStatus == CopyStatus.Lost)
        {
            return;
        }

        if (_frozen)
        {
            EndFetch();
            return;
        }

        if (_copyInStatus == CopyStatus.BusMasterDisabled)
        {
            _frozen = true;
            EndFetch();
            _owner.BusMasterDisabled();
            return;
        }

        if (_copyInStatus != CopyStatus.Ok)
        {
            Fail($"the device-readable part of a chain cannot be read ({_copyInStatus})");
            return;
        }

        // Not earlier: what the driver did before it made a chain available is known here only after the copies that found the chain.
        if (!_owner.MayOffer)
        {
            _held = true;
            return;
        }

        ReadOnlySpan<Chain> chains = _batch.AsSpan(_batchFrom, _batchTo - _batchFrom);
        foreach (Chain chain in chains)
        {
            chain.State = ChainState.Offered;
            chain.Sequence = _sequence++;
            if (_batchIsOffered)
            {
                _offerAgainNext++;
                continue;
            }

            _host!.Take(chain);
            if (_inOrder)
            {
                _order.Enqueue(chain);
            }
        }

        _shadow.Offer(chains);
    }

    // ---- Drain: what the back end has used -------------------------------------------------------------------------

    private void EndDrain()
    {
        // What the driver was not told of is still host 2's, or a new back end's.
        foreach (Chain chain in _drained)
        {
            chain.State = ChainState.Offered;
        }

        _drained.Clear();
        _draining = false;
        Pump();
    }

    private void LookAgain()
    {
        if (_frozen)
        {
            EndDrain();
        }
        else
        {
            _shadow.Look();
        }
    }

    private void CopyOut(Chain chain)
    {
        ulong from = chain.WritableBuffer;
        uint length = chain.UsedLength;
        for (int i = chain.ReadableSegments; length != 0; i++)
        {
            (ulong to, uint left) = chain.Segments[i];
            left = Math.Min(left, length);
            length -= left;
            while (left != 0)
            {
                uint part = Math.Min(left, DmaPort.MaxCopy);
                _copiesOut++;
                _copies.Copy(DmaSpace.Host2, from, DmaSpace.Host1, to, part, CopyOutStep);
                from += part;
                to += part;
                left -= part;
            }
        }
    }

    private void CopyOutDone()
    {
        if (_copyOutStatus != CopyStatus.Ok)
        {
            CopyOutFailed();
        }
        else if (!_shadow.HasMore)
        {
            Return();
        }
        else if (_frozen)
        {
            EndDrain();
        }
        else
        {
            _shadow.LookOn();
        }
    }

    // All that host 2 used together goes back together.
    private void Return()
    {
        _shadow.Accept();
        foreach (Chain chain in _drained)
        {
            ReleaseBuffer(chain);
            chain.State = ChainState.Held;
        }

        List<Chain> returned = _inOrder ? NextInOrder() : _drained;
        if (returned.Count != 0)
        {
            _host!.PutUsed(CollectionsMarshal.AsSpan(returned));
        }

        bool none = returned.Count == 0;
        _drained.Clear();
        _returning.Clear();
        if (none)
        {
            LookAgain();
        }

        _owner.PoolFreed();
    }

    private void CopyOutFailed()
    {
        if (_copyOutStatus == CopyStatus.Lost)
        {
            return;
        }

        bool frozen = _frozen;
        _frozen |= _copyOutStatus == CopyStatus.BusMasterDisabled;
        EndDrain();
        if (frozen)
        {
            return;
        }

        if (_copyOutStatus == CopyStatus.BusMasterDisabled)
        {
            _owner.BusMasterDisabled();
        }
        else
        {
            _owner.PoolLost($"queue {Index}: device-writable data cannot be read ({_copyOutStatus})");
        }
    }

    // VIRTIO_F_IN_ORDER: what is done goes back as far as nothing before it is missing.
    private List<Chain> NextInOrder()
    {
        while (_order.TryPeek(out Chain? chain) && chain.State == ChainState.Held)
        {
            _returning.Add(_order.Dequeue());
        }

        return _returning;
    }

    private void ReleaseBuffer(Chain chain)
    {
        chain.HasBuffer = false;
        _pool!.Release(chain.Buffer, chain.BufferBytes);
        _shadow.Remove(chain);
    }
}
