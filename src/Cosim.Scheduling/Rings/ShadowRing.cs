// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Numerics;
using Cosim.Virtio;

namespace Cosim.Scheduling.Rings;

/// <summary>Who works with a <see cref="ShadowRing"/>.</summary>
internal interface IShadowRingOwner
{
    /// <summary>Host 2 is gone: nothing new begins.</summary>
    bool IsFrozen { get; }

    /// <summary>What was given to <see cref="ShadowRing.Offer"/> is visible to the back end, which wants a kick or not.</summary>
    void Offered(bool kick);

    /// <summary>
    /// So many chains stand in <see cref="ShadowRing.Used"/>, more of those used together follow by <see cref="ShadowRing.LookOn"/> if
    /// <see cref="ShadowRing.HasMore"/>; 0: the back end has used none, and calls with the next one.
    /// </summary>
    void UsedFound(int count);

    /// <summary>The back end broke the rules.</summary>
    void RingFailed(string reason);

    /// <summary>The ring in the pool cannot be reached.</summary>
    /// <param name="offering">While chains were being offered; else while used ones were looked for.</param>
    /// <param name="what">Step and status.</param>
    void RingLost(bool offering, string what);
}

/// <summary>
/// The shadow of a queue in host 2's pool: a split virtqueue (virtio 1.3, 2.7) whose driver the bridge is. A chain takes the two descriptors of
/// a slot, 2s and 2s + 1; one without a slot has to wait.
/// </summary>
internal sealed class ShadowRing : IDmaClient
{
    private const int LookSize = 64;

    private readonly QueueDma.Part _dma;
    private readonly IShadowRingOwner _owner;
    private readonly Stack<int> _free = new();
    private SplitVirtqueue _ring;
    private Chain?[] _slots = [];
    private bool _eventIdx;
    private bool _armed;
    private ushort _available;
    private ushort _availableBefore;
    private ushort _used;
    private ushort _next;
    private ushort _target;
    private int _offered;

    public ShadowRing(QueueDma dma, IShadowRingOwner owner)
    {
        _dma = dma.For(this);
        _owner = owner;
    }

    private enum Step : byte
    {
        NoStep,
        PublishAvailable,
        KickCheck,
        UsedIndex,
        UsedElements,
        ArmUsed,
    }

    /// <summary>Chains of the last look, which host 2 has used.</summary>
    public Chain[] Used { get; } = new Chain[LookSize];

    /// <summary>Whether the used index that was seen covers more than was read.</summary>
    public bool HasMore => _next != _target;

    /// <summary>Whether a slot is free.</summary>
    public bool HasRoom => _free.Count != 0;

    /// <summary>Entries of the shadow of a queue with <paramref name="size"/> entries: two for each where that is possible.</summary>
    public static ushort SizeFor(ushort size) => (ushort)Math.Min(BitOperations.RoundUpToPowerOf2(2u * size), 32768u);

    /// <summary>Takes an empty ring.</summary>
    public void Start(in SplitVirtqueue ring, bool eventIdx)
    {
        _ring = ring;
        _eventIdx = eventIdx;
        _available = _used = _next = _target = 0;
        _offered = 0;
        _armed = false;
        if (_slots.Length != ring.Size / 2)
        {
            _slots = new Chain?[ring.Size / 2];
        }

        ForgetChains();
    }

    /// <summary>Adds the chains in the ring to <paramref name="chains"/>.</summary>
    public void CopyChainsTo(List<Chain> chains)
    {
        foreach (Chain? chain in _slots)
        {
            if (chain is not null)
            {
                chains.Add(chain);
            }
        }
    }

    /// <summary>Empties the slots, whatever is in them.</summary>
    public void ForgetChains()
    {
        Array.Clear(_slots);
        _free.Clear();
        for (int slot = _slots.Length - 1; slot >= 0; slot--)
        {
            _free.Push(slot);
        }
    }

    /// <summary>Gives a chain a slot; there has to be one.</summary>
    public void Place(Chain chain)
    {
        chain.Slot = _free.Pop();
        _slots[chain.Slot] = chain;
    }

    /// <summary>Takes a chain's slot from it.</summary>
    public void Remove(Chain chain)
    {
        _slots[chain.Slot] = null;
        _free.Push(chain.Slot);
    }

    /// <summary>Offers chains to host 2: <see cref="IShadowRingOwner.Offered"/> follows.</summary>
    /// <param name="chains">Chains with slots and filled buffers, at most <see cref="HostRing.BatchSize"/>.</param>
    public void Offer(ReadOnlySpan<Chain> chains)
    {
        Span<byte> descriptors = stackalloc byte[2 * Descriptor.Size];
        Span<byte> entries = stackalloc byte[2 * HostRing.BatchSize];
        int run = 0;
        ushort runStart = _available;
        _availableBefore = _available;
        for (int i = 0; i < chains.Length; i++)
        {
            Chain chain = chains[i];
            ushort head = (ushort)(2 * chain.Slot);
            int count = 0;
            if (chain.ReadableBytes != 0)
            {
                bool more = chain.WritableBytes != 0;
                new Descriptor(chain.Buffer, (uint)chain.ReadableBytes, more ? DescriptorFlags.Next : DescriptorFlags.None, (ushort)(head + 1)).Write(descriptors);
                count++;
            }

            if (chain.WritableBytes != 0)
            {
                new Descriptor(chain.WritableBuffer, (uint)chain.WritableBytes, DescriptorFlags.Write, 0).Write(descriptors[(count * Descriptor.Size)..]);
                count++;
            }

            Write(_ring.DescriptorAddress(head), descriptors[..(count * Descriptor.Size)], Step.NoStep);
            BinaryPrimitives.WriteUInt16LittleEndian(entries[(2 * run)..], head);
            run++;
            _available++;
            if (i + 1 == chains.Length || (_available & (_ring.Size - 1)) == 0)
            {
                Write(_ring.AvailableEntry(runStart), entries[..(2 * run)], Step.NoStep);
                runStart = _available;
                run = 0;
            }
        }

        // From here on host 2 may see the chains: they count as offered before the index is written.
        _offered += chains.Length;
        Write(_ring.AvailableIndex, _available, Step.PublishAvailable);
    }

    /// <summary>Looks for what host 2 has used: <see cref="IShadowRingOwner.UsedFound"/> follows.</summary>
    public void Look() => _dma.Read(DmaSpace.Host2, _ring.UsedIndex, 2, (uint)Step.UsedIndex);

    /// <summary>Reads on in what the last look found: <see cref="IShadowRingOwner.UsedFound"/> follows.</summary>
    public void LookOn()
    {
        int count = Math.Min((ushort)(_target - _next), Math.Min(LookSize, _ring.Size - (_next & (_ring.Size - 1))));
        _dma.Read(DmaSpace.Host2, _ring.UsedElement(_next), 8 * count, (uint)Step.UsedElements);
    }

    /// <summary>All that the last look found is done with: the next one finds what comes behind it.</summary>
    public void Accept()
    {
        _offered -= (ushort)(_target - _used);
        _used = _target;
        _armed = false;
    }

    /// <inheritdoc/>
    public void CopyDone(uint context, CopyStatus status, ReadOnlySpan<byte> data)
    {
        Step step = (Step)context;
        if (status == CopyStatus.Lost)
        {
            return;
        }

        if (status != CopyStatus.Ok)
        {
            if (step != Step.NoStep)
            {
                _owner.RingLost(step is Step.PublishAvailable or Step.KickCheck, $"{step} of the shadow ring: {status}");
            }

            return;
        }

        switch (step)
        {
            case Step.PublishAvailable when _owner.IsFrozen:
                _owner.Offered(kick: false);
                break;
            case Step.PublishAvailable:
                _dma.Read(DmaSpace.Host2, _eventIdx ? _ring.AvailableEvent : _ring.Used, 2, (uint)Step.KickCheck);
                break;
            case Step.KickCheck:
                ushort value = BinaryPrimitives.ReadUInt16LittleEndian(data);
                _owner.Offered(_eventIdx ? SplitVirtqueue.PassesEvent(value, _available, _availableBefore) : (value & SplitVirtqueue.UsedNoNotify) == 0);
                break;
            case Step.UsedIndex:
                IndexRead(BinaryPrimitives.ReadUInt16LittleEndian(data));
                break;
            case Step.UsedElements:
                ElementsRead(data);
                break;
            case Step.ArmUsed:
                Look();
                break;
            default:
                break;
        }
    }

    private void IndexRead(ushort index)
    {
        int count = (ushort)(index - _used);
        if (_owner.IsFrozen)
        {
            _owner.UsedFound(0);
        }
        else if (count > _offered)
        {
            _owner.RingFailed($"the back end's used index went from {_used} to {index}; {_offered} chains are offered");
        }
        else if (count != 0)
        {
            _next = _used;
            _target = index;
            LookOn();
        }
        else if (_eventIdx && !_armed)
        {
            _armed = true;
            Write(_ring.UsedEvent, _used, Step.ArmUsed);
        }
        else
        {
            _owner.UsedFound(0);
        }
    }

    private void ElementsRead(ReadOnlySpan<byte> data)
    {
        if (_owner.IsFrozen)
        {
            _owner.UsedFound(0);
            return;
        }

        int count = data.Length / 8;
        for (int i = 0; i < count; i++)
        {
            uint id = BinaryPrimitives.ReadUInt32LittleEndian(data[(8 * i)..]);
            uint length = BinaryPrimitives.ReadUInt32LittleEndian(data[((8 * i) + 4)..]);
            if ((id & 1) != 0 || id / 2 >= (uint)_slots.Length || _slots[id / 2] is not { State: ChainState.Offered } chain)
            {
                _owner.RingFailed($"the back end used descriptor {id}, which is not offered");
                return;
            }

            if (length > chain.WritableBytes)
            {
                _owner.RingFailed($"the back end used {length} bytes of descriptor {id}; {chain.WritableBytes} are writable");
                return;
            }

            chain.State = ChainState.Used;
            chain.UsedLength = length;
            Used[i] = chain;
        }

        _next += (ushort)count;
        _owner.UsedFound(count);
    }

    private void Write(ulong address, ReadOnlySpan<byte> data, Step step) => _dma.Write(DmaSpace.Host2, address, data, (uint)step);

    private void Write(ulong address, ushort value, Step step)
    {
        Span<byte> data = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(data, value);
        Write(address, data, step);
    }
}
