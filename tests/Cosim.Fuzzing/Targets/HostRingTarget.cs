// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Scheduling;
using Cosim.Scheduling.Rings;
using Cosim.Virtio;

namespace Cosim.Fuzzing.Targets;

/// <summary>
/// A queue of host 1 as the scheduler walks it, split or packed, with its shadow in host 2's pool; both hosts may be hostile. What goes across is
/// what the specification makes of the ring, what it makes nothing of is refused, and no byte is touched that nobody lent.
/// </summary>
/// <remarks>
/// Bytes 0 to 2: negotiated features of the rings, size, and bit 0 EVENT_IDX towards host 2; then the steps of <see cref="Step"/>. A driver that
/// changes its ring while it is read (<see cref="Step.Part"/>) has no chain that could be foretold: from there on only the bounds are checked.
/// </remarks>
public sealed class HostRingTarget : FuzzTarget, IShadowQueueOwner
{
    private const int Head = 3;
    private const int MostSteps = 64;
    private const int MostCopies = 20_000;
    private const int MostEntries = 512;
    private const ulong Driver = 0x2000;
    private const ulong Device = 0x3000;
    private const ulong Tables = 0x5000;
    private const ulong Buffers = 0x8000;
    private const ulong ShadowBytes = 0x8000;
    private const ulong PoolBytes = 0x8000;

    private static readonly ulong[] s_features =
    [
        VirtioFeatures.RingEventIdx, VirtioFeatures.RingIndirectDesc, VirtioFeatures.RingPacked, VirtioFeatures.InOrder, VirtioFeatures.NotificationData,
    ];

    private PlayedDma _dma = null!;
    private ShadowQueue _queue = null!;
    private readonly DriverRing _ring = new(0, Driver, Device);
    private readonly List<Outstanding> _outstanding = [];
    private readonly Queue<Outstanding> _used = new();
    private HostQueue _host;
    private SplitVirtqueue _shadow;
    private BufferPool _pool = null!;
    private byte _head;
    private ushort _shadowAvailable;
    private ushort _shadowUsed;
    private ushort _taken;
    private PackedPosition _position;
    private string? _failure;
    private bool _frozen;
    private bool _isExact;
    private bool _isHonest;

    // A descriptor was made available that no notification tells of, or looks used though it is not.
    private bool _isStray;
    private bool _isDisturbed;

    public HostRingTarget() => Begin();

    private enum Step
    {
        Descriptor,
        Publish,
        GoodChain,
        Use,
        PushUsed,
        Notify,
        Part,
        Suppress,
        Fault,
        BackEnd,
        Restart,
        ShadowEvents,
        Lose,
        Table,
        Retry,
        Indirect,
        Count,
    }

    public override string Name => "host-ring";

    public override string What => "rings in host 1's memory and their shadows";

    public override IReadOnlyList<string> Classes { get; } =
    [
        "Cosim.Scheduling.ShadowQueue", "Cosim.Scheduling.Rings.Chain", "Cosim.Scheduling.Rings.HostQueue", "Cosim.Scheduling.Rings.HostRing", "Cosim.Scheduling.Rings.PackedHostRing",
        "Cosim.Scheduling.Rings.QueueDma", "Cosim.Scheduling.Rings.ShadowRing", "Cosim.Scheduling.Rings.SplitHostRing", "Cosim.Virtio.PackedPosition", "Cosim.Virtio.PackedVirtqueue",
    ];

    // Chains and their segments, which are kept; a pool, and sentences about what is wrong.
    public override long MostAllocated(int length) => 4 << 20;

    bool IShadowQueueOwner.MayOffer => true;

    void IShadowQueueOwner.QueueFailed(ShadowQueue queue, string reason)
    {
        Require(_failure is null && reason.Length is > 0 and < 300, "a queue fails twice, or without a reason");
        _failure = reason;
    }

    void IShadowQueueOwner.PoolLost(string reason)
    {
        Require(_isDisturbed, $"the pool is lost: {reason}");
        _isExact = false;
        Freeze();
    }

    void IShadowQueueOwner.QueueQuiet(ShadowQueue queue) => Require(!_queue.Busy, "a queue that copies is quiet");

    void IShadowQueueOwner.BusMasterDisabled()
    {
        Require(_isDisturbed, "Bus Master Enable is 0, and was not cleared");
        _frozen = true;
        _isExact = false;
    }

    void IShadowQueueOwner.PoolFreed() => _queue.RetryPool();

    public override void Generate(FuzzInput input, FuzzRandom random)
    {
        _ = input.Number((ulong)random.Below(32), 1).Number((ulong)(random.Below(10) | (random.OneIn(4) ? 16 : 0)), 1).Number((ulong)random.Below(2), 1);
        if (random.OneIn(4))
        {
            Story(input, random);
        }

        for (int steps = random.Between(2, 16); steps > 0; steps--)
        {
            Step step = random.OneIn(2) ? random.Pick(Step.GoodChain, Step.GoodChain, Step.Use, Step.Table, Step.Publish, Step.Indirect) : (Step)random.Below((int)Step.Count);
            int start = Records.Begin(input, (byte)step);
            switch (step)
            {
                case Step.Descriptor or Step.Table:
                    _ = input.Number((ulong)random.Below(8), 1).Number((ulong)random.Below(6), 1).Number((ulong)(random.OneIn(8) ? random.Next() : (uint)random.Below(600)), 4, FieldKind.Length)
                        .Number((ulong)random.Below(8), 2).Number((ulong)random.Below(8), 2);
                    break;
                case Step.Publish:
                    _ = input.Number((ulong)(random.OneIn(8) ? random.Below(65536) : random.Between(1, 4)), 2, FieldKind.Length).Number((ulong)random.Below(4), 1).Number((ulong)random.Below(8), 2).Number((ulong)random.Below(8), 2);
                    break;
                case Step.GoodChain:
                    _ = input.Number((ulong)random.Below(4000), 2, FieldKind.Length).Number((ulong)random.Below(4000), 2, FieldKind.Length).Number((ulong)(random.OneIn(4) ? random.Below(40) : 1), 1, FieldKind.Length);
                    break;
                case Step.Use:
                    _ = input.Number((ulong)random.Below(4), 1).Number((ulong)random.Below(4000), 2, FieldKind.Length).Number((ulong)random.Between(1, 5), 1, FieldKind.Length);
                    break;
                case Step.Indirect:
                    _ = input.Number((ulong)(random.OneIn(4) ? random.Below(MostEntries) : random.Below(8)), 2, FieldKind.Length).Number((ulong)random.Below(8), 2).Number((ulong)(random.OneIn(8) ? random.Below(8) : 0), 2).Number((ulong)random.Below(32), 1);
                    break;
                case Step.PushUsed:
                    _ = input.Number((ulong)random.Below(12), 4).Number((ulong)random.Below(5000), 4, FieldKind.Length).Number((ulong)random.Between(0, 3), 2);
                    break;
                default:
                    _ = input.Number((ulong)random.Below(16), 2).Number((ulong)random.Below(4) << 15, 2);
                    break;
            }

            Records.End(input, start);
        }

        input.IsMarked = true;
    }

    public override void Mark(FuzzInput input) => Records.Mark(input, Head);

    // Something happens while so many copies of a fetch or of a return have been made.
    private static void Story(FuzzInput input, FuzzRandom random)
    {
        static void Put(FuzzInput input, Step step, params ReadOnlySpan<ushort> arguments)
        {
            int start = Records.Begin(input, (byte)step);
            foreach (ushort argument in arguments)
            {
                _ = input.Number(argument, 2);
            }

            Records.End(input, start);
        }

        bool isReturn = random.OneIn(2);
        ushort chains = (ushort)random.Pick(1, 3, 20, 90);
        // Of the last argument the lower byte is how many, the upper one whether copies are left under way.
        Put(input, Step.GoodChain, (ushort)random.Below(100), (ushort)random.Below(100), (ushort)(chains | (isReturn ? 0 : 0x100)));
        if (isReturn)
        {
            int start = Records.Begin(input, (byte)Step.Use);
            _ = input.Number((ulong)random.Below(2), 1).Number((ulong)random.Below(100), 2).Number(chains, 1).Number(1, 1);
            Records.End(input, start);
        }

        Put(input, Step.Part, (ushort)random.Below(32));
        if (random.OneIn(3))
        {
            Put(input, Step.Fault, (ushort)random.Below(5));
        }

        Put(input, random.Pick(Step.BackEnd, Step.Lose, Step.Restart, Step.Retry, Step.Notify, Step.Use), (ushort)random.Below(2), 0x8001);
    }

    public override void Execute(ReadOnlySpan<byte> input)
    {
        try
        {
            Run(input);
        }
        catch
        {
            // Nothing of it may be left for the next one.
            Begin();
            throw;
        }
    }

    private void Begin()
    {
        _dma = new PlayedDma { Touched = Touched };
        _queue = new ShadowQueue(_dma.Port, this, 0, 0, 1);
    }

    private void Run(ReadOnlySpan<byte> input)
    {
        Span<byte> head = stackalloc byte[Head];
        head.Clear();
        input[..Math.Min(input.Length, Head)].CopyTo(head);
        Drain();
        _dma.Host1.AsSpan().Clear();
        _head = head[2];
        ulong features = VirtioFeatures.Version1;
        for (int i = 0; i < s_features.Length; i++)
        {
            features |= (head[0] & (1 << i)) != 0 ? s_features[i] : 0;
        }

        bool packed = (features & VirtioFeatures.RingPacked) != 0;
        int size = (1 << (head[1] & 15)) - (packed && (head[1] & 16) != 0 ? 1 : 0);
        _host = new HostQueue((ushort)Math.Clamp(size, 1, MostEntries), 0, Driver, Device, features);
        Restart();
        Records steps = new(input.Length > Head ? input[Head..] : default);
        for (int done = 0; done < MostSteps && steps.Next(); done++)
        {
            Do((Step)(steps.Kind % (int)Step.Count), new StepArguments(steps.Payload));
        }

        Settle();
    }

    private void Do(Step step, StepArguments arguments)
    {
        switch (step)
        {
            case Step.Descriptor:
                PutDescriptor(_ring.DescriptorAddress(arguments.U8()), arguments);
                return;
            case Step.Table:
                PutDescriptor(Tables + (arguments.U8() * (ulong)Descriptor.Size), arguments);
                return;
            case Step.Publish:
                ushort count = arguments.U16();
                byte notify = arguments.U8();
                Changes();
                _ring.Publish(_dma.Host1, count, arguments.Rest());
                Notify((notify & 3) != 3, honest: true, 0);
                if ((notify & 4) == 0)
                {
                    break;
                }

                return;
            case Step.GoodChain:
                GoodChains(arguments.U16() & 0xFFF, arguments.U16() & 0xFFF, arguments.U8());
                if ((arguments.U8() & 1) == 0)
                {
                    break;
                }

                return;
            case Step.Use:
                Use(arguments.U8(), arguments.U16(), arguments.U8());
                if ((arguments.U8() & 1) == 0)
                {
                    break;
                }

                return;
            case Step.Indirect:
                Indirect(arguments.U16() % (MostEntries + 1), arguments.U16(), (DescriptorFlags)arguments.U16(), arguments.U8());
                break;
            case Step.PushUsed:
                _isDisturbed = true;
                PutUsed(arguments.U32(), arguments.U32(), arguments.U16());
                _queue.Call();
                break;
            case Step.Notify:
                Notify(notify: true, honest: false, arguments.U32());
                break;
            case Step.Part:
                // The hosts go on while copies are under way.
                for (int copies = arguments.U8() & 31; copies > 0 && !_dma.IsIdle; copies--)
                {
                    _dma.Step();
                }

                _isExact &= _dma.IsIdle;
                return;
            case Step.Suppress:
                _ring.Suppress(_dma.Host1, arguments.U16(), arguments.U16());
                return;
            case Step.Fault:
                _dma.Fault = (CopyStatus)(arguments.U8() % 5);
                _isDisturbed = true;
                return;
            case Step.BackEnd:
                _isExact = false;
                Freeze();
                if ((arguments.U8() & 1) != 0)
                {
                    Drain();
                }

                NewBackEnd();
                break;
            case Step.Restart:
                _queue.Stop();
                Drain();
                _queue.ReleaseBuffers();
                Require(_pool.Free == PoolBytes, "a queue that was stopped keeps a part of the pool");
                Restart();
                break;
            case Step.ShadowEvents:
                BinaryPrimitives.WriteUInt16LittleEndian(Shadow(_shadow.Used), arguments.U16());
                BinaryPrimitives.WriteUInt16LittleEndian(Shadow(_shadow.AvailableEvent), arguments.U16());
                return;
            case Step.Lose:
                // After its reset or loss everything about an FPGA is made anew.
                _dma.Lose();
                _queue = new ShadowQueue(_dma.Port, this, 0, 0, 1);
                Restart();
                break;
            default:
                _queue.RetryPool();
                break;
        }

        Settle();
    }

    // A new start of the driver, with a new pool.
    private void Restart()
    {
        if (_queue.Running)
        {
            _queue.Stop();
        }

        Drain();
        _dma.Fault = CopyStatus.Ok;
        _ring.Start(_host.Size, _host.Packed);
        _dma.Host1.AsSpan(0, (int)Buffers).Clear();
        _outstanding.Clear();
        _used.Clear();
        _taken = 0;
        _position = PackedPosition.Start;
        _failure = null;
        _isExact = _isHonest = true;
        _isDisturbed = _isStray = false;
        _queue.ForgetBuffers();
        _queue.Start(_host);
        NewBackEnd();
    }

    private void Freeze()
    {
        _frozen = true;
        _queue.Freeze();
    }

    private void NewBackEnd()
    {
        Drain();
        if (!_queue.Running)
        {
            return;
        }

        _queue.ForgetBuffers();
        _dma.Host2.AsSpan(0, (int)ShadowBytes).Clear();
        ushort size = ShadowRing.SizeFor(_host.Size);
        _shadow = new SplitVirtqueue(size, PlayedDma.Host2Base, PlayedDma.Host2Base + 0x4000, PlayedDma.Host2Base + 0x5000);
        _pool = new BufferPool(PlayedDma.Host2Base + ShadowBytes, PoolBytes);
        _shadowAvailable = _shadowUsed = 0;
        _frozen = false;
        _queue.Attach(_shadow, new QueueShare(new PoolShare(_pool, PoolBytes)), (_head & 1) != 0);
    }

    private void PutDescriptor(ulong at, StepArguments arguments)
    {
        byte where = arguments.U8();
        uint length = arguments.U32();
        ulong address = (where % 6) switch
        {
            <= 2 => Buffers + ((ulong)where * 0x100),
            3 => Tables + ((ulong)(where >> 3) * Descriptor.Size),
            4 => PlayedDma.Host1Bytes - 64,
            _ => ulong.MaxValue - 0xFF,
        };
        DescriptorFlags flags = (DescriptorFlags)arguments.U16();
        Changes();
        // From the second lap on a descriptor of a packed ring without its two bits looks used.
        _isExact &= !_host.Packed || at >= Tables || 2 * _ring.Available < _host.Size;
        _ring.PutDescriptor(_dma.Host1, at, address, length, flags, arguments.U16());
        _isStray |= _host.Packed && (flags & (PackedVirtqueue.Available | PackedVirtqueue.Used)) != 0;
    }

    // A chain that was made available and waits for room of the pool was read: what the driver makes of it meanwhile nobody looks at. What is used
    // and was not taken may be written over.
    private void Changes() => _isExact &= _dma.IsIdle && _used.Count == 0 && Next() is null;

    private void GoodChains(int readable, int writable, int count)
    {
        Changes();
        for (int i = 0; i < count; i++)
        {
            _dma.Host1.AsSpan((int)Buffers, readable).Fill((byte)(count + i));
            // A split ring of one entry has no room for two descriptors.
            _ = _ring.PutChain(_dma.Host1, Buffers, (uint)Math.Max(1, readable), Buffers + 0x4000, _host.Size == 1 ? 0u : (uint)writable);
        }

        Notify(notify: true, honest: true, 0);
    }

    // A table in order, but for the flags that its last entry has too many.
    private void Indirect(int entries, int readable, DescriptorFlags flags, int length)
    {
        Changes();
        for (int i = 0; i < entries; i++)
        {
            bool isLast = i + 1 == entries;
            DescriptorFlags own = (i >= readable ? DescriptorFlags.Write : DescriptorFlags.None) | (isLast ? flags : _host.Packed ? DescriptorFlags.None : DescriptorFlags.Next);
            _ring.PutDescriptor(_dma.Host1, Tables + ((ulong)i * Descriptor.Size), Buffers + ((ulong)i * 32), (uint)length, own, (ushort)(i + 1));
        }

        _ring.PutIndirect(_dma.Host1, Tables, (uint)entries * Descriptor.Size);
        Notify(notify: true, honest: true, 0);
    }

    private void Notify(bool notify, bool honest, uint value)
    {
        // Notification data is believed.
        _isExact &= _dma.IsIdle && (honest || !_host.NotificationData);
        _isHonest = notify && honest;
        if (notify)
        {
            _queue.Notify(honest ? (uint)_ring.NextOffset << 16 : value);
        }
    }

    // Host 2 uses chains that were offered to it.
    private void Use(int which, int length, int count)
    {
        bool any = false;
        for (; count > 0; count--)
        {
            List<Outstanding> offered = _outstanding.FindAll(o => !o.IsUsed);
            if (offered.Count == 0)
            {
                break;
            }

            Outstanding chain = offered[which % offered.Count];
            chain.IsUsed = true;
            _used.Enqueue(chain);
            chain.Length = (uint)((ulong)length % (chain.Writable + 1));
            PutUsed(chain.Head, chain.Length, 1);
            any = true;
        }

        if (any)
        {
            _queue.Call();
        }
    }

    private Span<byte> Shadow(ulong address) => _dma.Host2.AsSpan((int)(address - PlayedDma.Host2Base));

    private void PutUsed(uint id, uint length, ushort count)
    {
        Span<byte> element = Shadow(_shadow.UsedElement(_shadowUsed));
        BinaryPrimitives.WriteUInt32LittleEndian(element, id);
        BinaryPrimitives.WriteUInt32LittleEndian(element[4..], length);
        _shadowUsed += count;
        BinaryPrimitives.WriteUInt16LittleEndian(Shadow(_shadow.UsedIndex), _shadowUsed);
    }

    private void Drain()
    {
        for (int copies = 0; !_dma.IsIdle; copies++)
        {
            Require(copies < MostCopies, "the queue does not come to rest");
            _dma.Step();
        }
    }

    private void Settle()
    {
        Drain();
        if (!_frozen)
        {
            TakeOffers();
        }

        if (_failure is not null)
        {
            Require(!_queue.Running, "a queue that has failed goes on");
            Require(!_isExact || _isDisturbed || NextIsWrong(), $"a ring in order is refused: {_failure}");
            // The ring is the driver's again.
            _isExact = false;
            return;
        }

        if (_isExact && !_isDisturbed && _isHonest && !_isStray && _outstanding.TrueForAll(o => o.IsUsed) && _queue.Running && !_frozen)
        {
            Require(Next() is null, "what is available is not taken, though host 2 has nothing");
        }

        TakeReturned();
        ForgetUsed();
    }

    // What host 2 has used has come back to the driver: each once, in its order, as long as it was said to be.
    private void TakeReturned()
    {
        if (!_isExact || _isStray || _isDisturbed || _frozen || !_queue.Running)
        {
            return;
        }

        if (_host.InOrder)
        {
            _used.Clear();
            foreach (Outstanding chain in _outstanding.TakeWhile(o => o.IsUsed))
            {
                _used.Enqueue(chain);
            }
        }

        while (_used.TryDequeue(out Outstanding? chain))
        {
            ChainOracle own = chain.Chain!;
            Require(_ring.TryTakeUsed(_dma.Host1, own.RingDescriptors, out uint id, out uint length), $"chain {own.Id} was used and does not come back");
            Require(id == own.Id && length == chain.Length, $"chain {own.Id} with {chain.Length} bytes comes back as {id} with {length}");
        }

        Require(!_ring.HasUsed(_dma.Host1), "the driver gets back more than was used");
    }

    // Until a look has found nothing wrong, a chain that host 2 has used may still have been in use.
    private void ForgetUsed()
    {
        if (!_host.InOrder)
        {
            _ = _outstanding.RemoveAll(o => o.IsUsed);
        }

        while (_outstanding.Count != 0 && _outstanding[0].IsUsed)
        {
            _outstanding.RemoveAt(0);
        }
    }

    // What has been offered to host 2 since the last look, held against what the driver made available.
    private void TakeOffers()
    {
        ushort index = BinaryPrimitives.ReadUInt16LittleEndian(Shadow(_shadow.AvailableIndex));
        Require((ushort)(index - _shadowAvailable) <= _shadow.Size, "more is offered than the shadow ring has entries");
        for (; _shadowAvailable != index; _shadowAvailable++)
        {
            ushort head = BinaryPrimitives.ReadUInt16LittleEndian(Shadow(_shadow.AvailableEntry(_shadowAvailable)));
            Require(head < _shadow.Size, "a descriptor is offered that the shadow ring has not");
            Descriptor first = Descriptor.Read(Shadow(_shadow.DescriptorAddress(head)));
            bool more = (first.Flags & DescriptorFlags.Next) != 0;
            Require(!more || first.Next < _shadow.Size, "a descriptor of the shadow ring goes on behind its end");
            Descriptor second = more ? Descriptor.Read(Shadow(_shadow.DescriptorAddress(first.Next))) : default;
            (Descriptor read, Descriptor written) = (first.Flags & DescriptorFlags.Write) != 0 ? (default, first) : (first, second);
            InPool(read);
            InPool(written);
            Outstanding offer = new(head, written.Length);
            if (_isExact)
            {
                ChainOracle? chain = Next();
                Require(chain is { Error: null }, $"a chain is offered that {(chain is null ? "is not available" : $"is wrong: {chain.Error}")}");
                Compare(chain!, read, written);
                Advance(chain!);
                offer.Chain = chain;
            }

            _outstanding.Add(offer);
        }
    }

    private static void InPool(in Descriptor descriptor) => Require(
        descriptor.Length == 0 || (descriptor.Address >= PlayedDma.Host2Base + ShadowBytes && descriptor.Address + descriptor.Length <= PlayedDma.Host2Base + ShadowBytes + PoolBytes),
        "a buffer of the shadow ring lies outside of the pool");

    private void Compare(ChainOracle chain, in Descriptor read, in Descriptor written)
    {
        Require(read.Length == chain.ReadableBytes && written.Length == chain.WritableBytes, $"a chain of {chain.ReadableBytes} and {chain.WritableBytes} bytes is offered with {read.Length} and {written.Length}");
        ulong at = read.Address;
        foreach ((ulong address, uint length) in chain.Readable)
        {
            // What host 2 wrote since may have changed what was read.
            Require(
                Array.Exists([.. _outstanding], o => o.IsUsed) || Shadow(at)[..(int)length].SequenceEqual(_dma.Host1.AsSpan((int)address, (int)length)),
                "a chain's bytes are others in the pool than in host 1's memory");
            at += length;
        }
    }

    private ulong Greatest => _pool.GreatestBuffer;

    private bool IsInUse(ushort id) => _outstanding.Exists(o => o.Chain?.Id == id);

    private ChainOracle? Next() => _host.Packed
        ? ChainOracle.Packed(_dma.Host1, _host, _position, Greatest)
        : _taken == _ring.Available ? null : ChainOracle.Split(_dma.Host1, _host, _taken, Greatest);

    // One of those that may have been read together is wrong, or more are available than there can be.
    private bool NextIsWrong()
    {
        (ushort taken, PackedPosition position) = (_taken, _position);
        bool isWrong = !_host.Packed && (ushort)(_ring.Available - _taken) > _host.Size;
        HashSet<ushort> ids = [];
        int descriptors = _outstanding.Sum(o => o.Chain?.RingDescriptors ?? 0);
        for (int i = 0; !isWrong && i < HostRing.BatchSize && Next() is { } chain; i++)
        {
            descriptors += chain.RingDescriptors;
            isWrong = chain.Error is not null || IsInUse(chain.Id) || !ids.Add(chain.Id) || (_host.Packed && descriptors > _host.Size);
            _taken++;
            _position = Advanced(chain);
        }

        (_taken, _position) = (taken, position);
        return isWrong;
    }

    private PackedPosition Advanced(ChainOracle chain) => _host.Packed ? _position.Advance(Math.Min(chain.RingDescriptors, _host.Size), _host.Size) : _position;

    private void Advance(ChainOracle chain)
    {
        _taken++;
        _position = Advanced(chain);
    }

    // No read outside of what the ring says, no write outside of what it lends.
    private void Touched(ulong address, int length, bool isWritten, bool isRing)
    {
        ulong end = address + (ulong)length;
        bool Inside(ulong from, int bytes) => address >= from && end <= from + (ulong)bytes;
        int table = _host.Size * Descriptor.Size;
        if (isRing)
        {
            bool holds = _host.Packed
                ? Inside(0, table) || Inside(isWritten ? Device : Driver, PackedVirtqueue.EventBytes)
                : isWritten ? Inside(Device, SplitVirtqueue.UsedBytes(_host.Size)) : Inside(0, table) || Inside(Driver, SplitVirtqueue.AvailableBytes(_host.Size));
            Require(holds || (!isWritten && (InTable(address, end) || !_isExact)), $"{length} bytes at {address:x} are {(isWritten ? "written" : "read")}, which are of no ring and no table");
        }
        else if (_isExact && isWritten)
        {
            Require(_outstanding.Exists(o => o.Chain is { } chain && Covers(chain.Writable, address, end)), $"{length} bytes at {address:x} are written, which no chain lends");
        }
    }

    private static bool Covers(IReadOnlyList<(ulong Address, uint Length)> segments, ulong address, ulong end)
    {
        foreach ((ulong from, uint length) in segments)
        {
            if (address >= from && end <= from + length)
            {
                return true;
            }
        }

        return false;
    }

    private bool InTable(ulong address, ulong end)
    {
        for (int i = 0; i < _host.Size; i++)
        {
            Span<byte> bytes = _dma.Host1.AsSpan(i * Descriptor.Size);
            ushort flags = BinaryPrimitives.ReadUInt16LittleEndian(bytes[(_host.Packed ? 14 : 12)..]);
            ulong from = BinaryPrimitives.ReadUInt64LittleEndian(bytes);
            if ((flags & (ushort)DescriptorFlags.Indirect) != 0 && address >= from && end <= from + BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>A chain that host 2 has been offered.</summary>
    private sealed class Outstanding(ushort head, uint writable)
    {
        public ushort Head => head;

        public ulong Writable => writable;

        public ChainOracle? Chain { get; set; }

        public bool IsUsed { get; set; }

        public uint Length { get; set; }
    }
}
