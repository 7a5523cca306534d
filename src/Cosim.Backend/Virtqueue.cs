// SPDX-License-Identifier: Apache-2.0
using Cosim.Virtio;

namespace Cosim.Backend;

/// <summary>
/// The device's side of a split virtqueue in the pool (virtio 1.3, 2.7). A ring that breaks the rules stops being
/// served; <see cref="Error"/> then says why. Serving allocates nothing.
/// </summary>
public sealed unsafe class Virtqueue
{
    private const int MaxSize = 32768;

    private readonly Pool _pool;
    private readonly Action _call;
    private byte* _descriptors;
    private byte* _available;
    private byte* _used;
    private uint _size;
    private ushort _nextAvailable;
    private ushort _nextUsed;
    private ushort _calledUsed;
    private bool _eventIdx;
    private bool _indirect;

    /// <summary>Creates a queue that is not set up.</summary>
    /// <param name="pool">Where rings and buffers lie.</param>
    /// <param name="index">Its number in its device.</param>
    /// <param name="call">Tells the driver that buffers were used.</param>
    internal Virtqueue(Pool pool, int index, Action call)
    {
        _pool = pool;
        _call = call;
        Index = index;
    }

    /// <summary>Its number in its device.</summary>
    public int Index { get; }

    /// <summary>Set up, enabled and without error: it may be served.</summary>
    public bool IsReady => Enabled && Error is null && IsSetUp;

    /// <summary>Why the ring is no longer served; null while it is in order.</summary>
    public string? Error { get; private set; }

    /// <summary>The buffer taken last.</summary>
    public DescriptorChain Chain { get; } = new();

    internal bool Enabled { get; set; }

    internal bool IsSetUp => _descriptors != null;

    /// <summary>SET_VRING_BASE and GET_VRING_BASE.</summary>
    internal ushort NextAvailable
    {
        get => _nextAvailable;
        set => _nextAvailable = value;
    }

    /// <summary>Takes the next buffer into <see cref="Chain"/>.</summary>
    /// <returns>False when there is none, or the ring is broken.</returns>
    public bool TryTake()
    {
        if (!IsReady)
        {
            return false;
        }

        ushort available = (ushort)(Volatile.Read(ref *(ushort*)(_available + 2)) - _nextAvailable);
        if (available == 0)
        {
            return false;
        }

        if (available > _size)
        {
            return Break($"available.idx is {available} ahead, expected at most {_size}");
        }

        ushort head = *(ushort*)(_available + 4 + (2 * (_nextAvailable & (_size - 1))));
        _nextAvailable++;
        Chain.Begin(head);
        return Walk(head);
    }

    /// <summary>Puts the buffers taken last back in their places, as if they had not been taken.</summary>
    /// <param name="count">How many.</param>
    public void Untake(int count = 1) => _nextAvailable -= (ushort)count;

    /// <summary>Gives a buffer back.</summary>
    /// <param name="head">Its <see cref="DescriptorChain.Head"/>.</param>
    /// <param name="written">Bytes written, from the start of its device-writable part.</param>
    public void Complete(ushort head, uint written)
    {
        Prepare(head, written);
        Publish();
    }

    /// <summary>Gives a buffer back that the driver is to see together with others, at the next <see cref="Publish"/>.</summary>
    /// <param name="head">Its <see cref="DescriptorChain.Head"/>.</param>
    /// <param name="written">Bytes written, from the start of its device-writable part.</param>
    public void Prepare(ushort head, uint written)
    {
        byte* element = _used + 4 + (8 * (_nextUsed & (_size - 1)));
        *(uint*)element = head;
        *(uint*)(element + 4) = written;
        _nextUsed++;
    }

    /// <summary>Shows the driver what was prepared.</summary>
    /// <remarks>Element before index: what the index makes visible is complete.</remarks>
    public void Publish() => Volatile.Write(ref *(ushort*)(_used + 2), _nextUsed);

    /// <summary>Tells the driver of what was given back since the last call, if it wants to know.</summary>
    public void Call()
    {
        if (_nextUsed == _calledUsed || !IsReady)
        {
            return;
        }

        // The index must be out before the driver's wish is read, lest both sides wait (2.7.10).
        Interlocked.MemoryBarrier();
        bool wanted = _eventIdx
            ? SplitVirtqueue.PassesEvent(*(ushort*)(_available + 4 + (2 * _size)), _nextUsed, _calledUsed)
            : (*(ushort*)_available & SplitVirtqueue.AvailableNoInterrupt) == 0;
        _calledUsed = _nextUsed;
        if (wanted)
        {
            _call();
        }
    }

    /// <summary>Asks to be kicked for the next buffer.</summary>
    /// <param name="seen">Buffers that are there, were put back and are not enough: the next one is the one behind them.</param>
    /// <returns>True when there is one already, so that serving has to go on.</returns>
    public bool Rearm(int seen = 0)
    {
        if (!IsReady)
        {
            return false;
        }

        ushort next = (ushort)(_nextAvailable + seen);
        if (_eventIdx)
        {
            Volatile.Write(ref *(ushort*)(_used + 4 + (8 * _size)), next);
        }
        else
        {
            Volatile.Write(ref *(ushort*)_used, 0);
        }

        Interlocked.MemoryBarrier();
        return Volatile.Read(ref *(ushort*)(_available + 2)) != next;
    }

    /// <summary>Says that kicks are not needed for now; a hint. <see cref="Rearm"/> ends it.</summary>
    public void SuppressKicks()
    {
        if (IsReady && !_eventIdx)
        {
            Volatile.Write(ref *(ushort*)_used, SplitVirtqueue.UsedNoNotify);
        }
    }

    /// <summary>SET_VRING_NUM.</summary>
    internal bool TrySetSize(uint size)
    {
        if (size is 0 or > MaxSize || !uint.IsPow2(size) || Enabled)
        {
            return false;
        }

        // Addresses are checked for a size: they have to be told again.
        _size = size;
        _descriptors = null;
        return true;
    }

    /// <summary>SET_VRING_ADDR: the three parts as the FPGA sees them.</summary>
    internal bool TrySetAddresses(ulong descriptors, ulong used, ulong available)
    {
        if (_size == 0
            || Enabled
            || descriptors % 16 != 0
            || available % 2 != 0
            || used % 4 != 0
            || !_pool.TryTranslate(descriptors, (ulong)SplitVirtqueue.DescriptorTableBytes((int)_size), out byte* table)
            || !_pool.TryTranslate(available, (ulong)SplitVirtqueue.AvailableBytes((int)_size), out byte* driver)
            || !_pool.TryTranslate(used, (ulong)SplitVirtqueue.UsedBytes((int)_size), out byte* device))
        {
            return false;
        }

        _descriptors = table;
        _available = driver;
        _used = device;
        _nextUsed = Volatile.Read(ref *(ushort*)(_used + 2));
        _calledUsed = _nextUsed;
        Error = null;
        return true;
    }

    /// <summary>SET_FEATURES, as far as it concerns rings.</summary>
    internal void SetFeatures(ulong features)
    {
        _eventIdx = (features & VirtioFeatures.RingEventIdx) != 0;
        _indirect = (features & VirtioFeatures.RingIndirectDesc) != 0;
    }

    internal void Reset()
    {
        Enabled = false;
        Error = null;
        _descriptors = null;
        _available = null;
        _used = null;
        _size = 0;
        _nextAvailable = 0;
    }

    private bool Walk(ushort head)
    {
        byte* table = _descriptors;
        uint tableSize = _size;
        uint index = head;
        bool inTable = false;
        for (uint steps = 0; ; steps++)
        {
            if (index >= tableSize)
            {
                return Break($"descriptor {index} of buffer {head} does not exist, the table has {tableSize}");
            }

            if (steps >= MaxSize || (!inTable && steps >= _size))
            {
                return Break($"buffer {head} has more descriptors than the queue: a loop");
            }

            // Read once: the front end could change it under us.
            Descriptor descriptor = Descriptor.Read(new ReadOnlySpan<byte>(table + (index * Descriptor.Size), Descriptor.Size));
            if (!_pool.TryTranslate(descriptor.Address, descriptor.Length, out byte* address))
            {
                return Break($"descriptor {index} of buffer {head} lies outside the pool: 0x{descriptor.Address:x}, {descriptor.Length} bytes");
            }

            if ((descriptor.Flags & DescriptorFlags.Indirect) != 0)
            {
                if (!_indirect
                    || inTable
                    || (descriptor.Flags & DescriptorFlags.Next) != 0
                    || descriptor.Length == 0
                    || descriptor.Length % Descriptor.Size != 0)
                {
                    return Break($"descriptor {index} of buffer {head} may not be indirect, or its table has {descriptor.Length} bytes");
                }

                table = address;
                tableSize = descriptor.Length / Descriptor.Size;
                index = 0;
                inTable = true;
                continue;
            }

            bool writable = (descriptor.Flags & DescriptorFlags.Write) != 0;
            if (!writable && Chain.WritableLength > 0)
            {
                return Break($"buffer {head} has a device-readable part after a device-writable one");
            }

            if (descriptor.Length > 0)
            {
                Chain.Add(address, descriptor.Length, writable);
            }

            if ((descriptor.Flags & DescriptorFlags.Next) == 0)
            {
                return true;
            }

            index = descriptor.Next;
        }
    }

    private bool Break(string why)
    {
        Error = why;
        return false;
    }
}
