// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Generation;

/// <summary>Host 2's software (<c>hdl/BACKEND.md</c>), which uses each chain as its plan says and holds what it gets against what the drivers sent.</summary>
internal sealed class GeneratedBackEnd
{
    private const int Vectors = 1 + (PlanMaker.Functions * PlanMaker.Queues);
    private const uint DeviceFeature = 0x20;
    private const uint QueueSizeLimit = 256;

    private readonly GeneratedRun _run;
    private readonly BackEndPlan _plan;
    private readonly HostImage _memory;
    private readonly Dictionary<(int Device, int Queue), Ring> _rings = [];
    private Task _posts = Task.CompletedTask;
    private int _session;
    private bool _isOpen;
    private bool _isAway;
    private bool _isReading;
    private bool _readAgain;

    public GeneratedBackEnd(GeneratedRun run)
    {
        _run = run;
        _plan = run.Plan.BackEnd;
        _memory = run.Memories[1];
        _memory.Allow(PoolAddress, PlanMaker.PoolBytes, Access.Any);
        Configurations = [.. Enumerable.Range(0, PlanMaker.Functions).Select(f => Mix.Bytes(PlanMaker.ConfigurationBytes, run.Plan.Seed + (ulong)f))];
    }

    /// <summary>Device configuration spaces.</summary>
    public byte[][] Configurations { get; }

    private ulong PoolAddress => _memory.Address(_plan.PoolOffset);

    private Bridge Bridge => _run.Stepped.Bridge;

    /// <summary>Starts the session and waits until the link is up.</summary>
    public async Task Start()
    {
        _ = await Bridge.WriteConfig(1, 0, 0x10, BitConverter.GetBytes(Strays.Bar0(1, 0)));
        _ = await Bridge.WriteConfig(1, 0, 0x14, BitConverter.GetBytes(Strays.Bar0(1, 0) + 0x1_0000));
        _ = await Bridge.WriteConfig(1, 0, 0x48, BitConverter.GetBytes(_run.Plan.DeviceControls[PlanMaker.Functions]));
        _ = await Bridge.WriteConfig(1, 0, 0x04, [0x06, 0x00]);
        if (!_plan.Intx)
        {
            await Bridge.ArmVectors(1, 0, 0, Vectors);
        }

        _run.Spawn(Interrupts);
        await Announce();
        await LinkUp();
    }

    /// <summary>Waits until host 1's link is up.</summary>
    public async Task LinkUp()
    {
        while (Bridge.State != BridgeState.LinkUp)
        {
            _ = await Read(RegisterMap.BackEnd.Status);
            _run.CheckTime("the link comes up");
        }
    }

    /// <summary>Waits until a session is open and no other one follows: the scheduler may have called more than once.</summary>
    public async Task Settled()
    {
        int session;
        do
        {
            session = _session;
            while (!_isOpen)
            {
                _ = await Read(RegisterMap.BackEnd.Status);
                _run.CheckTime("the session opens");
            }

            await _run.Stepped.AtCycle(_run.Stepped.Cycle + 3000);
            await LinkUp();
        }
        while (session != _session || !_isOpen);
    }

    /// <summary>Begins a session; the one before is over.</summary>
    public async Task Announce()
    {
        EndSession();
        _ = await Write(RegisterMap.BackEnd.Control, 1);
    }

    /// <summary>
    /// Ends the session and begins another one. Not at once: a message of the old session that is read after CONTROL = 1 cannot be told from
    /// one of the new session, which would be acknowledged in its place.
    /// </summary>
    public async Task NewSession()
    {
        EndSession();
        _isAway = true;
        _ = await Write(RegisterMap.BackEnd.Control, 0);
        await _run.Stepped.AtCycle(_run.Stepped.Cycle + 1500);
        _isAway = false;
        await Announce();
        await LinkUp();
    }

    /// <summary>Tells that a byte of a device configuration space has changed.</summary>
    public Task ChangeConfiguration(int device, int offset, byte value)
    {
        Configurations[device][offset] = value;
        byte[] message = new byte[MailboxHeader.Bytes];
        new MailboxHeader((MailboxRequest)MailboxHeader.ConfigChange, MailboxHeader.Version, 0, (uint)device).Write(message);
        return Post(message, _session);
    }

    /// <summary>Whether a queue is served as its driver has set it up last: the ring of what it was before its reset may still be there.</summary>
    public bool Serves(int device, int queue) => _rings.TryGetValue((device, queue), out Ring? ring) && ring.Enabled && ring.State == _run.Queue(device, queue);

    /// <summary>How many chains were taken from a ring, modulo 65536.</summary>
    public ushort Taken(int device, int queue) => _rings.TryGetValue((device, queue), out Ring? ring) ? ring.Available : (ushort)0;

    /// <summary>Descriptor of host 2's ring at which the chain begins that was taken last.</summary>
    public ushort LastPlace(int device, int queue)
    {
        Ring ring = _rings[(device, queue)];
        return _memory.Get16(ring.Layout.AvailableEntry((ushort)(ring.Available - 1)));
    }

    /// <summary>Writes a used element, right or wrong, and rings the doorbell.</summary>
    public Task PushUsed(int device, int queue, uint id, uint length, int count)
    {
        Ring ring = _rings[(device, queue)];
        PutUsed(ring, id, length);
        ring.Used += (ushort)(count - 1);
        _memory.Put(ring.Layout.UsedIndex, ring.Used);
        return Call(device, queue);
    }

    // Both sides forget everything; whatever script is at a ring leaves it alone from here on.
    private void EndSession()
    {
        _session++;
        _isOpen = false;
        foreach (Ring ring in _rings.Values)
        {
            ring.Enabled = false;
        }

        _rings.Clear();
    }

    private Task<TransactionResult> Call(int device, int queue) => Write(RegisterMap.BackEnd.Doorbell + ((uint)device * 0x400) + ((uint)queue * 4), 0);

    private Task<TransactionResult> Write(uint offset, uint value) => Bridge.WriteMemory(1, 0, 0, offset, BitConverter.GetBytes(value));

    private async Task<uint> Read(uint offset) => BitConverter.ToUInt32((await Bridge.ReadMemory(1, 0, 0, offset, 4)).Data);

    private async Task Interrupts()
    {
        while (true)
        {
            HostInterrupt interrupt = await Bridge.WaitInterrupt(1, 0, _run.Stopping);
            if (interrupt.Vector >= 0)
            {
                Dispatch(interrupt.Vector);
                continue;
            }

            TransactionResult raised = await Bridge.ReadMemory(1, 0, 0, RegisterMap.BackEnd.IntxStatus, 4);
            await Bridge.UnmaskIntx(1, 0);
            uint vectors = raised.Status == Pcie.HostStatus.Ok ? BitConverter.ToUInt32(raised.Data) : 0;
            for (int vector = 0; vector < Vectors; vector++)
            {
                if ((vectors & (1u << vector)) != 0)
                {
                    Dispatch(vector);
                }
            }
        }
    }

    private void Dispatch(int vector)
    {
        if (vector == 0)
        {
            _run.Spawn(Mailbox);
        }
        else if (_rings.TryGetValue(((vector - 1) / PlanMaker.Queues, (vector - 1) % PlanMaker.Queues), out Ring? ring))
        {
            _run.Spawn(() => Serve(ring));
        }
    }

    // ---- Rings ---------------------------------------------------------------------------------------------------------------------

    private async Task Serve(Ring ring)
    {
        if (ring.Serving)
        {
            ring.ServeAgain = true;
            return;
        }

        ring.Serving = true;
        do
        {
            ring.ServeAgain = false;
            Take(ring);
            await UseWhatIsDue(ring);
        }
        while (ring.ServeAgain);
        ring.Serving = false;
    }

    private void Take(Ring ring)
    {
        if (!ring.Enabled)
        {
            return;
        }

        if (_plan.SuppressesKicks && !_plan.EventIdx)
        {
            _memory.Put(ring.Layout.Used, SplitVirtqueue.UsedNoNotify);
        }

        while (true)
        {
            ushort index = _memory.Get16(ring.Layout.AvailableIndex);
            if (index == ring.Available)
            {
                break;
            }

            while (ring.Available != index)
            {
                Arrive(ring, _memory.Get16(ring.Layout.AvailableEntry(ring.Available)));
                ring.Available++;
            }
        }

        // The scheduler writes the ring between two of these calls only: nothing can come between the last look and this.
        _memory.Put(ring.Layout.Used, 0);
        if (_plan.EventIdx)
        {
            _memory.Put(ring.Layout.AvailableEvent, ring.Available);
        }
    }

    private void Arrive(Ring ring, ushort head)
    {
        QueueState? queue = ring.State;
        string where = $"device {ring.Device} queue {ring.Queue}";
        if (queue is null || _run.IsFailing(ring.Device))
        {
            return;
        }

        while (ring.NextArrival < queue.Available.Count && ring.Done.Contains(queue.Available[ring.NextArrival]))
        {
            ring.NextArrival++;
        }

        GeneratedRun.Require(ring.NextArrival < queue.Available.Count, $"{where}: descriptor {head} is offered to host 2; no chain was made available");
        ChainState chain = queue.Available[ring.NextArrival++];
        chain.Place = head;
        byte[] readable = [];
        uint writable = 0;
        ushort at = head;
        while (true)
        {
            Descriptor descriptor = Descriptor.Read(_memory.At(ring.Layout.DescriptorAddress(at), Descriptor.Size));
            GeneratedRun.Require(
                descriptor.Length != 0 && descriptor.Address >= PoolAddress && descriptor.Address + descriptor.Length <= PoolAddress + PlanMaker.PoolBytes,
                $"{where}: buffer 0x{descriptor.Address:x}+{descriptor.Length} is not in the pool");
            Reserve(ring, chain, descriptor);
            if ((descriptor.Flags & DescriptorFlags.Write) != 0)
            {
                (chain.Writable, writable) = (descriptor.Address, descriptor.Length);
            }
            else
            {
                readable = _memory.At(descriptor.Address, (int)descriptor.Length).ToArray();
            }

            if ((descriptor.Flags & DescriptorFlags.Next) == 0)
            {
                break;
            }

            at = descriptor.Next;
        }

        GeneratedRun.Require(writable == chain.WritableLength, $"{where}, chain {chain.Id}: {writable} writable bytes; expected {chain.WritableLength}");
        GeneratedRun.Require(readable.Length == chain.Readable.Length, $"{where}, chain {chain.Id}: {readable.Length} readable bytes; expected {chain.Readable.Length}");
        int same = readable.AsSpan().CommonPrefixLength(chain.Readable);
        GeneratedRun.Require(
            same == readable.Length,
            $"{where}, chain {chain.Id}: readable byte {same} is 0x{(same < readable.Length ? readable[same] : 0):x2}; expected 0x{(same < readable.Length ? chain.Readable[same] : 0):x2}");
        _run.Coverage.Hit(CoveragePoint.OfferedAgain, chain.Arrived);
        chain.Arrived = true;
        _ = ring.Here.Add(chain);
    }

    // No byte of the pool belongs to two chains.
    private void Reserve(Ring ring, ChainState chain, in Descriptor descriptor)
    {
        foreach (Ring other in _rings.Values)
        {
            foreach ((ulong address, uint length, ChainState holder) in other.Buffers)
            {
                bool overlap = descriptor.Address < address + length && address < descriptor.Address + descriptor.Length;
                GeneratedRun.Require(!overlap, $"chains {chain.Id} and {holder.Id} have the buffers 0x{descriptor.Address:x}+{descriptor.Length} and 0x{address:x}+{length}");
            }
        }

        ring.Buffers.Add((descriptor.Address, descriptor.Length, chain));
    }

    private async Task UseWhatIsDue(Ring ring)
    {
        int session = _session;
        bool called = true;
        while (ring.Enabled && session == _session && ring.State is { } queue)
        {
            if (ring.NextUse >= queue.UsedOrder.Count || !ring.Here.Contains(queue.UsedOrder[ring.NextUse]))
            {
                break;
            }

            ChainState chain = queue.UsedOrder[ring.NextUse];
            if (chain.Plan.Delay != 0)
            {
                await _run.Stepped.AtCycle(_run.Stepped.Cycle + chain.Plan.Delay);
                if (!ring.Enabled || session != _session)
                {
                    return;
                }
            }

            if (chain.Answer.Length != 0)
            {
                _memory.Put(chain.Writable, chain.Answer);
            }

            _run.Coverage.Hit(CoveragePoint.InOrderHeldBack, queue.InOrder && chain != queue.Available[ring.NextUse]);
            PutUsed(ring, chain.Place, (uint)chain.Answer.Length);
            ring.NextUse++;
            _ = ring.Here.Remove(chain);
            _ = ring.Done.Add(chain);
            ring.Buffers.RemoveAll(buffer => buffer.Chain == chain);
            called = chain.Plan.Calls;
            if (called)
            {
                await CallIfWanted(ring);
            }
        }

        if (!called && ring.Enabled && session == _session)
        {
            await CallIfWanted(ring);
        }
    }

    private void PutUsed(Ring ring, uint id, uint length)
    {
        Span<byte> element = stackalloc byte[8];
        BinaryPrimitives.WriteUInt32LittleEndian(element, id);
        BinaryPrimitives.WriteUInt32LittleEndian(element[4..], length);
        _memory.Put(ring.Layout.UsedElement(ring.Used), element);
        ring.Used++;
        _memory.Put(ring.Layout.UsedIndex, ring.Used);
    }

    private async Task CallIfWanted(Ring ring)
    {
        ushort old = ring.CalledAt;
        ring.CalledAt = ring.Used;
        bool wanted = _plan.EventIdx
            ? SplitVirtqueue.PassesEvent(_memory.Get16(ring.Layout.UsedEvent), ring.Used, old)
            : (_memory.Get16(ring.Layout.Available) & SplitVirtqueue.AvailableNoInterrupt) == 0;
        if (wanted || _plan.AlwaysCalls)
        {
            _ = await Call(ring.Device, ring.Queue);
        }
        else
        {
            _run.Coverage.Hit(CoveragePoint.CallLeftOut);
        }
    }

    // ---- Mailboxes -----------------------------------------------------------------------------------------------------------------

    // One message at a time: a second interrupt must not acknowledge what it has not read.
    private async Task Mailbox()
    {
        _readAgain = true;
        if (_isReading)
        {
            return;
        }

        _isReading = true;
        while (_readAgain)
        {
            _readAgain = false;
            await ReadMailbox();
        }

        _isReading = false;
    }

    private async Task ReadMailbox()
    {
        int session = _session;
        uint length = await Read(RegisterMap.BackEnd.F2hStatus);
        if (length == 0)
        {
            bool ended = await Read(RegisterMap.BackEnd.Control) == 0 || (await Read(RegisterMap.BackEnd.Status) & 1) == 0;
            if (ended && session == _session && !_isAway)
            {
                await Announce();
            }

            return;
        }

        if (length > 1024)
        {
            return; // the FPGA was reset under the read
        }

        byte[] message = (await Bridge.ReadMemory(1, 0, 0, RegisterMap.BackEnd.F2hData, (int)length)).Data;
        if (session != _session || !MailboxHeader.TryRead(message, out MailboxHeader header))
        {
            return;
        }

        _ = await Write(RegisterMap.BackEnd.F2hAck, 1);
        if (_plan.MailboxDelay != 0)
        {
            await _run.Stepped.AtCycle(_run.Stepped.Cycle + _plan.MailboxDelay);
        }

        if (session != _session)
        {
            return;
        }

        byte[] payload = Answer(header, message[MailboxHeader.Bytes..]);
        byte[] reply = new byte[MailboxHeader.Bytes + payload.Length];
        (header with { Flags = MailboxHeader.Version | MailboxHeader.Reply, Size = (uint)payload.Length }).Write(reply);
        payload.CopyTo(reply, MailboxHeader.Bytes);
        await Post(reply, session);
    }

    private Task Post(byte[] message, int session)
    {
        return _posts = PostAfter(_posts);

        async Task PostAfter(Task before)
        {
            await before;
            while (session == _session && await Read(RegisterMap.BackEnd.H2fStatus) != 0)
            {
                _run.CheckTime("the mailbox is emptied");
            }

            if (session == _session)
            {
                _ = await Bridge.WriteMemory(1, 0, 0, RegisterMap.BackEnd.H2fData, message);
                _ = await Write(RegisterMap.BackEnd.H2fPost, (uint)message.Length);
            }
        }
    }

    private byte[] Answer(in MailboxHeader header, byte[] payload)
    {
        int device = (int)header.Device;
        uint index = payload.Length >= 4 ? BinaryPrimitives.ReadUInt32LittleEndian(payload) : 0;
        uint value = payload.Length >= 8 ? BinaryPrimitives.ReadUInt32LittleEndian(payload.AsSpan(4)) : 0;
        switch (header.Request)
        {
            case MailboxRequest.GetBackend:
                byte[] backEnd = new byte[24];
                BinaryPrimitives.WriteUInt32LittleEndian(backEnd, 1);
                BinaryPrimitives.WriteUInt32LittleEndian(backEnd.AsSpan(4), PlanMaker.Functions);
                BinaryPrimitives.WriteUInt64LittleEndian(backEnd.AsSpan(8), PoolAddress);
                BinaryPrimitives.WriteUInt64LittleEndian(backEnd.AsSpan(16), PlanMaker.PoolBytes);
                return backEnd;
            case MailboxRequest.GetDevice:
                byte[] about = new byte[20];
                BinaryPrimitives.WriteUInt16LittleEndian(about, (ushort)(device == 0 ? VirtioDeviceId.Block : VirtioDeviceId.Net));
                BinaryPrimitives.WriteUInt16LittleEndian(about.AsSpan(2), PlanMaker.Queues);
                BinaryPrimitives.WriteUInt32LittleEndian(about.AsSpan(4), 0x01800001);
                BinaryPrimitives.WriteUInt32LittleEndian(about.AsSpan(8), 0x11001AF4);
                BinaryPrimitives.WriteUInt32LittleEndian(about.AsSpan(12), QueueSizeLimit);
                BinaryPrimitives.WriteUInt32LittleEndian(about.AsSpan(16), PlanMaker.ConfigurationBytes);
                return about;
            case MailboxRequest.GetFeatures:
                return BitConverter.GetBytes(
                    DeviceFeature | VirtioFeatures.Version1 | VirtioFeatures.VhostUserProtocolFeatures | (_plan.EventIdx ? VirtioFeatures.RingEventIdx : 0));
            case MailboxRequest.GetProtocolFeatures:
                return BitConverter.GetBytes(VhostUserProtocolFeatures.Required);
            case MailboxRequest.GetConfig:
                return [.. payload[..12], .. Configurations[device].AsSpan((int)index, (int)value)];
            case MailboxRequest.SetConfig:
                payload.AsSpan(12, (int)value).CopyTo(Configurations[device].AsSpan((int)index));
                break;
            case MailboxRequest.SetMemTable:
                _isOpen = device == PlanMaker.Functions - 1;
                break;
            case MailboxRequest.SetVringNum:
                _rings[(device, (int)index)] = new Ring(device, (int)index) { Size = (ushort)value };
                break;
            case MailboxRequest.SetVringAddr when _rings.TryGetValue((device, (int)index), out Ring? ring):
                ring.Layout = new SplitVirtqueue(
                    ring.Size,
                    BinaryPrimitives.ReadUInt64LittleEndian(payload.AsSpan(8)),
                    BinaryPrimitives.ReadUInt64LittleEndian(payload.AsSpan(24)),
                    BinaryPrimitives.ReadUInt64LittleEndian(payload.AsSpan(16)));
                break;
            case MailboxRequest.SetVringEnable when _rings.TryGetValue((device, (int)index), out Ring? ring):
                Enable(ring, value != 0);
                break;
            case MailboxRequest.GetVringBase:
                ushort next = 0;
                if (_rings.TryGetValue((device, (int)index), out Ring? stopped))
                {
                    stopped.Enabled = false;
                    next = stopped.Available;
                    _ = _rings.Remove((device, (int)index));
                }

                BinaryPrimitives.WriteUInt32LittleEndian(payload.AsSpan(4), next);
                return payload[..8];
            case MailboxRequest.ResetDevice:
                foreach ((int Device, int Queue) key in _rings.Keys.Where(key => key.Device == device).ToArray())
                {
                    _ = _rings.Remove(key);
                }

                break;
            default:
                break;
        }

        return new byte[8];
    }

    private void Enable(Ring ring, bool enabled)
    {
        ring.Enabled = enabled;
        ring.State = enabled ? _run.Queue(ring.Device, ring.Queue) : null;
        if (ring.State is not { } queue)
        {
            return;
        }

        // What host 1 has back already is not offered again.
        int done = queue.Published;
        foreach (ChainState chain in queue.Returns.Take(done))
        {
            _ = ring.Done.Add(chain);
        }

        ring.NextUse = done;
        _run.Spawn(() => Serve(ring));
    }

    private sealed class Ring(int device, int queue)
    {
        public int Device => device;

        public int Queue => queue;

        public ushort Size { get; init; }

        public SplitVirtqueue Layout { get; set; }

        public bool Enabled { get; set; }

        /// <summary>The driver's queue that it stands for.</summary>
        public QueueState? State { get; set; }

        public bool Serving { get; set; }

        public bool ServeAgain { get; set; }

        public ushort Available { get; set; }

        public ushort Used { get; set; }

        public ushort CalledAt { get; set; }

        /// <summary>Position in the order of availability.</summary>
        public int NextArrival { get; set; }

        /// <summary>Position in the order of use.</summary>
        public int NextUse { get; set; }

        public HashSet<ChainState> Here { get; } = [];

        public HashSet<ChainState> Done { get; } = [];

        public List<(ulong Address, uint Length, ChainState Chain)> Buffers { get; } = [];
    }
}
