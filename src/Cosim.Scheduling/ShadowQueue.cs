// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Virtio;

namespace Cosim.Scheduling;

/// <summary>Who a queue tells what it cannot settle itself.</summary>
internal interface IShadowQueueOwner
{
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
/// with their device-readable bytes, what host 2 has used goes back with the device-writable bytes (virtio 1.3, 2.7).
/// </summary>
/// <remarks>
/// Two sequences run side by side, each with at most one step under way: the fetch (available, left to right) and the drain (used, right
/// to left). Every step is a copy of the DMA engine whose end starts the next step. Indices run freely over 16 bits.
/// Chain h of host 1 always uses the descriptors 2h and 2h+1 of the shadow, which is twice as long: there is always room.
/// </remarks>
internal sealed class ShadowQueue : IDmaClient
{
    private const int FetchBatch = 16;
    private const int DrainBatch = 64;
    private const int DirectWindow = 4;
    private const int IndirectWindow = DmaPort.MaxInline / Descriptor.Size;
    private const uint WritableAlignment = 64;

    private readonly ManagementPort _port;
    private readonly DmaPort _dma;
    private readonly IShadowQueueOwner _owner;
    private readonly int _function;
    private readonly ushort _kickVector;
    private readonly ushort[] _batch = new ushort[FetchBatch];

    private QueueShare? _pool;
    private SplitVirtqueue _host;
    private SplitVirtqueue _shadow;
    private Chain[] _chains = [];
    private bool _hostEventIdx;
    private bool _hostIndirect;
    private bool _shadowEventIdx;
    private bool _running;
    private bool _stopping;
    private bool _frozen;
    private int _outstanding;

    // Fetch
    private bool _fetching;
    private bool _waitingForPool;
    private bool _notified;
    private bool _availableArmed;
    private ushort _lastAvailable;
    private ushort _availableSeen;
    private ushort _shadowAvailable;
    private int _batchFrom;
    private int _batchTo;
    private int _batchCount;
    private bool _batchIsOffered;
    private int _walks;
    private string? _walkError;
    private int _copiesIn;
    private CopyStatus _copyInStatus;
    private ushort[] _offerAgain = [];
    private int _offerAgainCount;
    private int _offerAgainNext;
    private ulong _sequence;

    // Drain
    private bool _draining;
    private bool _called;
    private bool _usedArmed;
    private ushort _lastUsed;
    private ushort _hostUsed;
    private int _offered;
    private ushort[] _drained = [];
    private int _drainCount;
    private ushort _drainTarget;
    private int _copiesOut;
    private CopyStatus _copyOutStatus;

    public ShadowQueue(ManagementPort port, IShadowQueueOwner owner, int function, ushort index, ushort kickVector)
    {
        _port = port;
        _dma = port.Dma;
        _owner = owner;
        _function = function;
        Index = index;
        _kickVector = kickVector;
    }

    private enum Step : byte
    {
        NoStep,
        AvailableIndex,
        AvailableEntries,
        Walk,
        CopyIn,
        PublishAvailable,
        KickCheck,
        ArmAvailable,
        UsedIndex,
        UsedElements,
        CopyOut,
        PublishUsed,
        InterruptCheck,
        ArmUsed,
    }

    private enum ChainState : byte
    {
        Free,
        Fetched,
        Offered,
        OfferAgain,
        Used,
    }

    /// <summary>Queue index.</summary>
    public ushort Index { get; }

    /// <summary>Entries of the driver's queue.</summary>
    public ushort HostSize => _host.Size;

    /// <summary>Whether the driver's queue is served or frozen; false after <see cref="Stop"/>.</summary>
    public bool Running => _running;

    /// <summary>Whether a copy of this queue has not ended.</summary>
    public bool Busy => _outstanding != 0;

    /// <summary>Entries of the shadow of a queue with <paramref name="size"/> entries.</summary>
    public static ushort ShadowSize(ushort size) => (ushort)(size * 2);

    /// <summary>Takes the driver's queue; nothing moves before <see cref="Attach"/>.</summary>
    public void Start(in SplitVirtqueue host, bool eventIdx, bool indirect)
    {
        _host = host;
        _hostEventIdx = eventIdx;
        _hostIndirect = indirect;
        if (_chains.Length != host.Size)
        {
            _chains = new Chain[host.Size];
            for (int i = 0; i < _chains.Length; i++)
            {
                _chains[i] = new Chain { Head = (ushort)i };
            }

            _offerAgain = new ushort[host.Size];
            _drained = new ushort[host.Size];
        }

        foreach (Chain chain in _chains)
        {
            chain.State = ChainState.Free;
        }

        _lastAvailable = _availableSeen = _hostUsed = 0;
        _offered = 0;
        _offerAgainCount = _offerAgainNext = 0;
        _batchFrom = _batchCount = 0;
        _drainCount = 0;
        _notified = true;
        _running = true;
        _stopping = false;
        _frozen = true;
    }

    /// <summary>Connects an empty shadow ring, for a new start or for a new back end; chains in flight are offered again, in their order.</summary>
    public void Attach(in SplitVirtqueue shadow, QueueShare pool, bool eventIdx)
    {
        _shadow = shadow;
        _pool = pool;
        _shadowEventIdx = eventIdx;
        _shadowAvailable = _lastUsed = 0;
        _usedArmed = _availableArmed = false;
        _fetching = _draining = _waitingForPool = _called = false;
        _notified = true;

        int count = 0;
        foreach (Chain chain in _chains)
        {
            if (chain.State is ChainState.Offered or ChainState.OfferAgain)
            {
                chain.State = ChainState.OfferAgain;
                chain.HasBuffer = false;
                _offerAgain[count++] = chain.Head;
            }
        }

        Array.Sort(_offerAgain, 0, count, Comparer<ushort>.Create((a, b) => _chains[a].Sequence.CompareTo(_chains[b].Sequence)));
        _offered = 0;
        _offerAgainCount = count;
        _offerAgainNext = 0;
        _frozen = false;
        Pump();
    }

    /// <summary>The back end is gone: no new step begins. <see cref="IShadowQueueOwner.QueueQuiet"/> follows once nothing is under way, at once if nothing is.</summary>
    public void Freeze()
    {
        _frozen = true;
        if (_waitingForPool)
        {
            _waitingForPool = false;
            EndFetch();
        }

        if (_outstanding == 0)
        {
            _owner.QueueQuiet(this);
        }
    }

    /// <summary>The driver has reset the queue: host 1's memory is left alone as soon as <see cref="Busy"/> is false; <see cref="IShadowQueueOwner.QueueQuiet"/> tells.</summary>
    public void Stop()
    {
        _running = false;
        _stopping = true;
        _waitingForPool = false;
        if (_outstanding == 0)
        {
            _owner.QueueQuiet(this);
        }
    }

    /// <summary>After <see cref="Stop"/> and once host 2 has left the ring: gives the buffers back to the pool.</summary>
    public void ReleaseBuffers()
    {
        foreach (Chain chain in _chains)
        {
            if (chain.HasBuffer)
            {
                ReleaseBuffer(chain);
            }

            chain.State = ChainState.Free;
        }

        _offered = 0;
    }

    /// <summary>The pool is gone, and the buffers in it.</summary>
    public void ForgetBuffers()
    {
        foreach (Chain chain in _chains)
        {
            chain.HasBuffer = false;
        }
    }

    /// <summary>The driver notified the queue.</summary>
    public void Notify()
    {
        _notified = true;
        Pump();
    }

    /// <summary>The back end rang the queue's doorbell.</summary>
    public void Call()
    {
        _called = true;
        Pump();
    }

    /// <summary>Tries again what waited for memory of the pool.</summary>
    public void RetryPool()
    {
        if (_waitingForPool)
        {
            _waitingForPool = false;
            Allocate();
        }
    }

    /// <inheritdoc/>
    public void CopyDone(uint context, CopyStatus status, ReadOnlySpan<byte> data)
    {
        _outstanding--;
        if (!_stopping)
        {
            Continue((Step)(byte)context, (int)(context >> 8), status, data);
        }

        if (_outstanding == 0 && (_stopping || _frozen))
        {
            _owner.QueueQuiet(this);
        }
    }

    private void Continue(Step step, int index, CopyStatus status, ReadOnlySpan<byte> data)
    {
        switch (step)
        {
            case Step.CopyIn:
                Worst(ref _copyInStatus, status);
                if (--_copiesIn == 0)
                {
                    CopyInDone();
                }

                return;
            case Step.CopyOut:
                Worst(ref _copyOutStatus, status);
                if (--_copiesOut == 0)
                {
                    CopyOutDone();
                }

                return;
            default:
                break;
        }

        if (status != CopyStatus.Ok)
        {
            StepFailed(step, status);
            return;
        }

        switch (step)
        {
            case Step.AvailableIndex:
                AvailableIndexRead(BinaryPrimitives.ReadUInt16LittleEndian(data));
                break;
            case Step.AvailableEntries:
                AvailableEntriesRead(data);
                break;
            case Step.Walk:
                Walk(_chains[_batch[index]], data);
                WalkEnded();
                break;
            case Step.PublishAvailable:
                AvailablePublished();
                break;
            case Step.KickCheck:
                KickChecked(BinaryPrimitives.ReadUInt16LittleEndian(data));
                break;
            case Step.ArmAvailable:
                ReadAvailableIndex();
                break;
            case Step.UsedIndex:
                UsedIndexRead(BinaryPrimitives.ReadUInt16LittleEndian(data));
                break;
            case Step.UsedElements:
                UsedElementsRead(data);
                break;
            case Step.PublishUsed:
                UsedPublished();
                break;
            case Step.InterruptCheck:
                InterruptChecked(BinaryPrimitives.ReadUInt16LittleEndian(data));
                break;
            case Step.ArmUsed:
                ReadUsedIndex();
                break;
            default:
                break;
        }
    }

    private static void Worst(ref CopyStatus worst, CopyStatus status)
    {
        if (worst == CopyStatus.Ok)
        {
            worst = status;
        }
    }

    private static bool TouchesPool(Step step) =>
        step is Step.PublishAvailable or Step.KickCheck or Step.UsedIndex or Step.UsedElements or Step.ArmUsed;

    private void StepFailed(Step step, CopyStatus status)
    {
        if (status == CopyStatus.Lost)
        {
            return;
        }

        if (TouchesPool(step))
        {
            if (step is Step.PublishAvailable or Step.KickCheck)
            {
                _batchFrom = _batchTo;
                EndFetch();
            }
            else
            {
                EndDrain();
            }

            _owner.PoolLost($"queue {Index}: {step} of the shadow ring: {status}");
            return;
        }

        if (step == Step.NoStep)
        {
            return;
        }

        Fail($"{step}: the ring or a descriptor table cannot be reached ({status})");
    }

    private void Fail(string reason)
    {
        if (_stopping)
        {
            return;
        }

        _running = false;
        _stopping = true;
        _owner.QueueFailed(this, reason);
    }

    private void Pump()
    {
        if (!_running || _frozen)
        {
            return;
        }

        if (!_fetching && (_notified || _offerAgainNext < _offerAgainCount))
        {
            _fetching = true;
            NextFetch();
        }

        if (!_draining && _called)
        {
            _draining = true;
            _called = false;
            ReadUsedIndex();
        }
    }

    private static uint Context(Step step, int index = 0) => (uint)step | ((uint)index << 8);

    private void Read(DmaSpace space, ulong address, int length, Step step, int index = 0)
    {
        _outstanding++;
        _dma.Read(space, space == DmaSpace.Host1 ? _function : 0, address, length, this, Context(step, index));
    }

    private void Write(DmaSpace space, ulong address, ReadOnlySpan<byte> data, Step step)
    {
        _outstanding++;
        _dma.Write(space, space == DmaSpace.Host1 ? _function : 0, address, data, this, Context(step));
    }

    private void Write(DmaSpace space, ulong address, ushort value, Step step)
    {
        Span<byte> data = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(data, value);
        Write(space, address, data, step);
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
        else if (_offerAgainNext < _offerAgainCount)
        {
            _batchFrom = 0;
            _batchCount = Math.Min(FetchBatch, _offerAgainCount - _offerAgainNext);
            _offerAgain.AsSpan(_offerAgainNext, _batchCount).CopyTo(_batch);
            _batchIsOffered = true;
            Allocate();
        }
        else if (_availableSeen != _lastAvailable)
        {
            ReadAvailableEntries();
        }
        else
        {
            _notified = false;
            ReadAvailableIndex();
        }
    }

    private void EndFetch()
    {
        for (int i = _batchFrom; i < _batchCount; i++)
        {
            Chain chain = _chains[_batch[i]];
            if (chain.HasBuffer)
            {
                ReleaseBuffer(chain);
            }

            if (!_batchIsOffered)
            {
                chain.State = ChainState.Free;
            }
        }

        _batchFrom = _batchCount = 0;
        _fetching = false;
        if (_frozen)
        {
            _availableSeen = _lastAvailable;
            _notified = true;
        }
        else
        {
            Pump();
        }
    }

    private void ReadAvailableIndex() => Read(DmaSpace.Host1, _host.AvailableIndex, 2, Step.AvailableIndex);

    private void AvailableIndexRead(ushort index)
    {
        int count = (ushort)(index - _lastAvailable);
        if (count > _host.Size)
        {
            Fail($"the available index went from {_lastAvailable} to {index}; the queue has {_host.Size} entries");
            return;
        }

        _availableSeen = index;
        if (_frozen)
        {
            EndFetch();
        }
        else if (count != 0)
        {
            ReadAvailableEntries();
        }
        else if (_hostEventIdx && !_availableArmed)
        {
            // Ask to be told of the next buffer, then look once more: it may have come in between (2.7.10.1).
            _availableArmed = true;
            Write(DmaSpace.Host1, _host.AvailableEvent, _lastAvailable, Step.ArmAvailable);
        }
        else
        {
            EndFetch();
        }
    }

    private void ReadAvailableEntries()
    {
        int count = Math.Min((int)(ushort)(_availableSeen - _lastAvailable), FetchBatch);
        count = Math.Min(count, _host.Size - (_lastAvailable & (_host.Size - 1)));
        _batchFrom = 0;
        _batchCount = 0;
        Read(DmaSpace.Host1, _host.AvailableEntry(_lastAvailable), 2 * count, Step.AvailableEntries);
    }

    private void AvailableEntriesRead(ReadOnlySpan<byte> data)
    {
        if (_frozen)
        {
            EndFetch();
            return;
        }

        int count = data.Length / 2;
        for (int i = 0; i < count; i++)
        {
            ushort head = BinaryPrimitives.ReadUInt16LittleEndian(data[(2 * i)..]);
            if (head >= _host.Size)
            {
                Fail($"available entry {(ushort)(_lastAvailable + i)} names descriptor {head}; the queue has {_host.Size}");
                return;
            }

            Chain chain = _chains[head];
            if (chain.State != ChainState.Free)
            {
                Fail($"available entry {(ushort)(_lastAvailable + i)} names descriptor {head}, which is still in use");
                return;
            }

            chain.Begin(i, _host.DescriptorTable, _host.Size);
            _batch[i] = head;
        }

        _batchIsOffered = false;
        _batchCount = count;
        _walks = count;
        _walkError = null;
        for (int i = 0; i < count; i++)
        {
            ReadWindow(_chains[_batch[i]], _batch[i]);
        }
    }

    private void ReadWindow(Chain chain, ushort index)
    {
        int count = Math.Min(chain.InIndirectTable ? IndirectWindow : DirectWindow, chain.TableSize - index);
        chain.WindowStart = index;
        Read(DmaSpace.Host1, chain.Table + ((ulong)index * Descriptor.Size), count * Descriptor.Size, Step.Walk, chain.BatchIndex);
    }

    // Follows the chain as far as the window goes; ends with the chain complete, another window asked for, or an error.
    private void Walk(Chain chain, ReadOnlySpan<byte> window)
    {
        ushort index = chain.WindowStart;
        while (true)
        {
            Descriptor descriptor = Descriptor.Read(window[((index - chain.WindowStart) * Descriptor.Size)..]);
            bool more = (descriptor.Flags & DescriptorFlags.Next) != 0;
            string? error = (descriptor.Flags & DescriptorFlags.Indirect) != 0
                ? EnterIndirectTable(chain, descriptor, more)
                : chain.Add(descriptor, _host.Size, _pool!.GreatestBuffer);
            if (error is not null)
            {
                _walkError ??= $"descriptor {index} of chain {chain.Head}: {error}";
                _walks--;
                return;
            }

            if ((descriptor.Flags & DescriptorFlags.Indirect) != 0)
            {
                ReadWindow(chain, 0);
                return;
            }

            if (!more)
            {
                if (chain.ReadableBytes + chain.WritableBytes == 0)
                {
                    _walkError ??= $"chain {chain.Head} has no byte";
                }

                _walks--;
                return;
            }

            if (descriptor.Next >= chain.TableSize)
            {
                _walkError ??= $"descriptor {index} of chain {chain.Head}: next is {descriptor.Next}; the table has {chain.TableSize} entries";
                _walks--;
                return;
            }

            index = descriptor.Next;
            if (index < chain.WindowStart || (index - chain.WindowStart) * Descriptor.Size >= window.Length)
            {
                ReadWindow(chain, index);
                return;
            }
        }
    }

    private string? EnterIndirectTable(Chain chain, in Descriptor descriptor, bool more)
    {
        if (!_hostIndirect)
        {
            return "INDIRECT was not negotiated";
        }

        if (chain.InIndirectTable)
        {
            return "INDIRECT inside an indirect table";
        }

        if (more)
        {
            return "INDIRECT together with NEXT";
        }

        if (descriptor.Length == 0 || descriptor.Length % Descriptor.Size != 0 || descriptor.Length / Descriptor.Size > _host.Size)
        {
            return $"indirect table of {descriptor.Length} bytes; expected a multiple of {Descriptor.Size} with at most {_host.Size} entries";
        }

        chain.EnterTable(descriptor.Address, (int)(descriptor.Length / Descriptor.Size));
        return null;
    }

    private void WalkEnded()
    {
        if (_walks != 0)
        {
            return;
        }

        if (_walkError is not null)
        {
            Fail(_walkError);
        }
        else
        {
            NextFetch();
        }
    }

    private void Allocate()
    {
        if (_frozen)
        {
            EndFetch();
            return;
        }

        int i = _batchFrom;
        for (; i < _batchCount; i++)
        {
            Chain chain = _chains[_batch[i]];
            if (!_pool!.TryAllocate(chain.BufferBytes, out ulong address))
            {
                break;
            }

            chain.Buffer = address;
            chain.HasBuffer = true;
        }

        _batchTo = i;
        if (_batchTo == _batchFrom)
        {
            // A new back end may have lent a smaller pool than the chain was checked against.
            ulong bytes = _chains[_batch[_batchFrom]].BufferBytes;
            if (bytes > _pool!.GreatestBuffer)
            {
                Fail($"a chain has {bytes} bytes; the pool can hold {_pool.GreatestBuffer} at most");
                return;
            }

            _waitingForPool = true;
            return;
        }

        // One more than the copies: the count cannot reach zero while they are still being asked for.
        _copiesIn = 1;
        _copyInStatus = CopyStatus.Ok;
        for (i = _batchFrom; i < _batchTo; i++)
        {
            CopyIn(_chains[_batch[i]]);
        }

        if (--_copiesIn == 0)
        {
            CopyInDone();
        }
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
                _outstanding++;
                _copiesIn++;
                _dma.Copy(DmaSpace.Host1, _function, from, DmaSpace.Host2, 0, to, part, this, Context(Step.CopyIn));
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

        PublishAvailable();
    }

    private void PublishAvailable()
    {
        Span<byte> descriptors = stackalloc byte[2 * Descriptor.Size];
        Span<byte> entries = stackalloc byte[2 * FetchBatch];
        int run = 0;
        ushort runStart = _shadowAvailable;
        for (int i = _batchFrom; i < _batchTo; i++)
        {
            Chain chain = _chains[_batch[i]];
            ushort shadowHead = (ushort)(2 * chain.Head);
            int count = 0;
            if (chain.ReadableBytes != 0)
            {
                bool more = chain.WritableBytes != 0;
                new Descriptor(chain.Buffer, (uint)chain.ReadableBytes, more ? DescriptorFlags.Next : DescriptorFlags.None, (ushort)(shadowHead + 1)).Write(descriptors);
                count++;
            }

            if (chain.WritableBytes != 0)
            {
                new Descriptor(chain.WritableBuffer, (uint)chain.WritableBytes, DescriptorFlags.Write, 0).Write(descriptors[(count * Descriptor.Size)..]);
                count++;
            }

            Write(DmaSpace.Host2, _shadow.DescriptorAddress(shadowHead), descriptors[..(count * Descriptor.Size)], Step.NoStep);
            BinaryPrimitives.WriteUInt16LittleEndian(entries[(2 * run)..], shadowHead);
            run++;
            _shadowAvailable++;
            if (i + 1 == _batchTo || (_shadowAvailable & (_shadow.Size - 1)) == 0)
            {
                Write(DmaSpace.Host2, _shadow.AvailableEntry(runStart), entries[..(2 * run)], Step.NoStep);
                runStart = _shadowAvailable;
                run = 0;
            }

            chain.State = ChainState.Offered;
            chain.Sequence = _sequence++;
        }

        // From here on host 2 may see the chains: they count as offered before the index is written.
        int published = _batchTo - _batchFrom;
        _offered += published;
        if (_batchIsOffered)
        {
            _offerAgainNext += published;
        }
        else
        {
            _lastAvailable += (ushort)published;
            _availableArmed = false;
        }

        Write(DmaSpace.Host2, _shadow.AvailableIndex, _shadowAvailable, Step.PublishAvailable);
    }

    private void AvailablePublished()
    {
        if (_frozen)
        {
            _batchFrom = _batchTo;
            EndFetch();
            return;
        }

        Read(DmaSpace.Host2, _shadowEventIdx ? _shadow.AvailableEvent : _shadow.Used, 2, Step.KickCheck);
    }

    private void KickChecked(ushort value)
    {
        ushort old = (ushort)(_shadowAvailable - (_batchTo - _batchFrom));
        _batchFrom = _batchTo;
        bool kick = _shadowEventIdx
            ? SplitVirtqueue.PassesEvent(value, _shadowAvailable, old)
            : (value & SplitVirtqueue.UsedNoNotify) == 0;
        if (kick && !_frozen)
        {
            _port.Interrupt(1, 0, _kickVector);
        }

        NextFetch();
    }

    // ---- Drain: what the back end has used -------------------------------------------------------------------------

    private void ReadUsedIndex() => Read(DmaSpace.Host2, _shadow.UsedIndex, 2, Step.UsedIndex);

    private void EndDrain()
    {
        // What the driver was not told of is still host 2's, or a new back end's.
        for (int i = 0; i < _drainCount; i++)
        {
            _chains[_drained[i]].State = ChainState.Offered;
        }

        _drainCount = 0;
        _draining = false;
        Pump();
    }

    private void UsedIndexRead(ushort index)
    {
        int count = (ushort)(index - _lastUsed);
        if (_frozen)
        {
            EndDrain();
        }
        else if (count > _offered)
        {
            Fail($"the back end's used index went from {_lastUsed} to {index}; {_offered} chains are offered");
        }
        else if (count != 0)
        {
            // Buffers that the back end used together are used together at the driver's ring, too: a network packet may be spread over
            // several (5.1.6.4.1). So the driver's index moves once, by all that this index covers.
            _drainTarget = index;
            ReadUsedElements();
        }
        else if (_shadowEventIdx && !_usedArmed)
        {
            _usedArmed = true;
            Write(DmaSpace.Host2, _shadow.UsedEvent, _lastUsed, Step.ArmUsed);
        }
        else
        {
            EndDrain();
        }
    }

    private void ReadUsedElements()
    {
        ushort next = (ushort)(_lastUsed + _drainCount);
        int count = Math.Min((ushort)(_drainTarget - next), Math.Min(DrainBatch, _shadow.Size - (next & (_shadow.Size - 1))));
        Read(DmaSpace.Host2, _shadow.UsedElement(next), 8 * count, Step.UsedElements);
    }

    private void UsedElementsRead(ReadOnlySpan<byte> data)
    {
        if (_frozen)
        {
            EndDrain();
            return;
        }

        int from = _drainCount;
        for (int i = 0; i < data.Length / 8; i++)
        {
            uint id = BinaryPrimitives.ReadUInt32LittleEndian(data[(8 * i)..]);
            uint length = BinaryPrimitives.ReadUInt32LittleEndian(data[((8 * i) + 4)..]);
            if ((id & 1) != 0 || id / 2 >= (uint)_chains.Length || _chains[id / 2].State != ChainState.Offered)
            {
                Fail($"the back end used descriptor {id}, which is not offered");
                return;
            }

            Chain chain = _chains[id / 2];
            if (length > chain.WritableBytes)
            {
                Fail($"the back end used {length} bytes of descriptor {id}; {chain.WritableBytes} are writable");
                return;
            }

            chain.State = ChainState.Used;
            chain.UsedLength = length;
            _drained[_drainCount++] = chain.Head;
        }

        _copiesOut = 1;
        _copyOutStatus = CopyStatus.Ok;
        for (int i = from; i < _drainCount; i++)
        {
            CopyOut(_chains[_drained[i]]);
        }

        if (--_copiesOut == 0)
        {
            CopyOutDone();
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
                _outstanding++;
                _copiesOut++;
                _dma.Copy(DmaSpace.Host2, 0, from, DmaSpace.Host1, _function, to, part, this, Context(Step.CopyOut));
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
            if (_copyOutStatus != CopyStatus.Lost)
            {
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

            return;
        }

        if ((ushort)(_lastUsed + _drainCount) == _drainTarget)
        {
            PublishUsed();
        }
        else if (_frozen)
        {
            EndDrain();
        }
        else
        {
            ReadUsedElements();
        }
    }

    private void PublishUsed()
    {
        Span<byte> elements = stackalloc byte[8 * DrainBatch];
        int run = 0;
        ushort runStart = _hostUsed;
        for (int i = 0; i < _drainCount; i++)
        {
            Chain chain = _chains[_drained[i]];
            BinaryPrimitives.WriteUInt32LittleEndian(elements[(8 * run)..], chain.Head);
            BinaryPrimitives.WriteUInt32LittleEndian(elements[((8 * run) + 4)..], chain.UsedLength);
            run++;
            _hostUsed++;
            if (i + 1 == _drainCount || run == DrainBatch || (_hostUsed & (_host.Size - 1)) == 0)
            {
                Write(DmaSpace.Host1, _host.UsedElement(runStart), elements[..(8 * run)], Step.NoStep);
                runStart = _hostUsed;
                run = 0;
            }

            ReleaseBuffer(chain);
            chain.State = ChainState.Free;
        }

        _offered -= _drainCount;
        _lastUsed += (ushort)_drainCount;
        _usedArmed = false;
        Write(DmaSpace.Host1, _host.UsedIndex, _hostUsed, Step.PublishUsed);
        _owner.PoolFreed();
    }

    private void UsedPublished() =>
        Read(DmaSpace.Host1, _hostEventIdx ? _host.UsedEvent : _host.Available, 2, Step.InterruptCheck);

    private void InterruptChecked(ushort value)
    {
        ushort old = (ushort)(_hostUsed - _drainCount);
        _drainCount = 0;
        bool interrupt = _hostEventIdx
            ? SplitVirtqueue.PassesEvent(value, _hostUsed, old)
            : (value & SplitVirtqueue.AvailableNoInterrupt) == 0;
        if (interrupt)
        {
            _port.Interrupt(0, _function, Index);
        }

        if (_frozen)
        {
            EndDrain();
        }
        else
        {
            ReadUsedIndex();
        }
    }

    private void ReleaseBuffer(Chain chain)
    {
        chain.HasBuffer = false;
        _pool!.Release(chain.Buffer, chain.BufferBytes);
    }

    private sealed class Chain
    {
        // A guest that makes every chain as long as it may shall not have us keep it all.
        private const int MostKeptSegments = 256;

        private int _descriptors;

        public ushort Head { get; init; }

        public ChainState State { get; set; }

        public int BatchIndex { get; private set; }

        public ulong Table { get; private set; }

        public int TableSize { get; private set; }

        public bool InIndirectTable { get; private set; }

        public ushort WindowStart { get; set; }

        public (ulong Address, uint Length)[] Segments { get; private set; } = new (ulong, uint)[4];

        public int SegmentCount { get; private set; }

        public int ReadableSegments { get; private set; }

        public ulong ReadableBytes { get; private set; }

        public ulong WritableBytes { get; private set; }

        public ulong Buffer { get; set; }

        public bool HasBuffer { get; set; }

        public uint UsedLength { get; set; }

        public ulong Sequence { get; set; }

        public ulong BufferBytes => WritableOffset + WritableBytes;

        public ulong WritableBuffer => Buffer + WritableOffset;

        private ulong WritableOffset => (ReadableBytes + WritableAlignment - 1) & ~(ulong)(WritableAlignment - 1);

        public void Begin(int batchIndex, ulong table, int tableSize)
        {
            State = ChainState.Fetched;
            BatchIndex = batchIndex;
            Table = table;
            TableSize = tableSize;
            InIndirectTable = false;
            SegmentCount = ReadableSegments = 0;
            if (Segments.Length > MostKeptSegments)
            {
                Segments = new (ulong, uint)[4];
            }

            ReadableBytes = WritableBytes = 0;
            _descriptors = 0;
        }

        public void EnterTable(ulong table, int tableSize)
        {
            Table = table;
            TableSize = tableSize;
            InIndirectTable = true;
        }

        public string? Add(in Descriptor descriptor, int queueSize, ulong greatestBuffer)
        {
            if (++_descriptors > queueSize)
            {
                return $"the chain is longer than the queue ({queueSize}): a loop";
            }

            if (descriptor.Address + descriptor.Length < descriptor.Address)
            {
                return $"buffer 0x{descriptor.Address:X}+0x{descriptor.Length:X} wraps around";
            }

            bool writable = (descriptor.Flags & DescriptorFlags.Write) != 0;
            if (!writable && WritableBytes != 0)
            {
                return "a device-readable buffer follows a device-writable one";
            }

            if (descriptor.Length == 0)
            {
                return null;
            }

            if (SegmentCount == Segments.Length)
            {
                (ulong, uint)[] larger = new (ulong, uint)[2 * Segments.Length];
                Segments.CopyTo(larger, 0);
                Segments = larger;
            }

            Segments[SegmentCount++] = (descriptor.Address, descriptor.Length);
            if (writable)
            {
                WritableBytes += descriptor.Length;
            }
            else
            {
                ReadableSegments = SegmentCount;
                ReadableBytes += descriptor.Length;
            }

            return BufferBytes > greatestBuffer ? $"the chain has {BufferBytes} bytes; the pool can hold {greatestBuffer} at most" : null;
        }
    }
}
