// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Pcie;
using Cosim.Virtio;

namespace Cosim.Scheduling.Generation;

/// <summary>Host 1's driver of one function (virtio 1.3, 2.7, 3.1 and 4.1), which does what a life's plan says and checks what it gets.</summary>
internal sealed class GeneratedDriver
{
    private const int Vectors = PlanMaker.Queues + 1;
    private const int MostLooks = 40_000;
    private const int SettlingLooks = 300;
    private const ushort MsixNone = 0xFFFF;
    private const VirtioStatus Live = VirtioStatus.Acknowledge | VirtioStatus.Driver | VirtioStatus.FeaturesOk | VirtioStatus.DriverOk;

    private readonly GeneratedRun _run;
    private readonly int _function;
    private readonly HostImage _memory;
    private readonly InterruptLedger _ledger;
    private Signal _configurationChanged = new();
    private readonly List<QueueState> _queues = [];
    private Life _life = null!;
    private bool _aborted;
    private bool _hasLived;

    public GeneratedDriver(GeneratedRun run, int function, InterruptLedger ledger)
    {
        _run = run;
        _function = function;
        _memory = run.Memories[0];
        _ledger = ledger;
    }

    /// <summary>The device is made to fail.</summary>
    public bool Failing { get; private set; }

    /// <summary>What the driver is doing, for people.</summary>
    public string Doing { get; private set; } = "has not begun";

    private Bridge Bridge => _run.Stepped.Bridge;

    private Coverage Coverage => _run.Coverage;

    private string Name => $"function {_function}";

    /// <summary>A queue of the life under way.</summary>
    public QueueState? Queue(int index) => _queues.Find(queue => queue.Plan.Index == index);

    /// <summary>Takes the function's interrupts for as long as the run lasts.</summary>
    public async Task Interrupts()
    {
        while (true)
        {
            HostInterrupt interrupt = await Bridge.WaitInterrupt(0, _function, _run.Stopping);
            if (interrupt.Vector >= 0)
            {
                Coverage.Hit(CoveragePoint.ConfigurationInterrupt, interrupt.Vector == 0);
                if (interrupt.Vector == 0)
                {
                    _configurationChanged.Set();
                }

                foreach (QueueState queue in _queues.Where(queue => queue.Vector == interrupt.Vector).ToArray())
                {
                    Coverage.Hit(_life.Notice == Notice.SharedVector ? CoveragePoint.SharedVector : CoveragePoint.VectorPerQueue);
                    queue.Used.Set();
                }

                continue;
            }

            TransactionResult isr = await Bridge.ReadMemory(0, _function, 0, RegisterMap.Bar.VirtioIsr, 1);
            await Bridge.UnmaskIntx(0, _function);
            if (isr.Status != HostStatus.Ok)
            {
                continue;
            }

            if ((isr.Data[0] & 2) != 0)
            {
                Coverage.Hit(CoveragePoint.ConfigurationInterrupt);
                _configurationChanged.Set();
            }

            foreach (QueueState queue in _queues.ToArray())
            {
                queue.Used.Set();
            }
        }
    }

    /// <summary>The FPGA is being reset: what the driver does ends.</summary>
    public void Abort()
    {
        _aborted = true;
        _ledger.Closed = true;
        Forget();
        _configurationChanged.Set();
    }

    /// <summary>Drives the function through one life.</summary>
    public async Task Run(Life life)
    {
        _aborted = false;
        _configurationChanged = new Signal();
        _life = life;
        try
        {
            await Set();
            if (life.Illegal == Illegal.RingOutsideMemory)
            {
                await ExpectNeedsReset(CoveragePoint.DriverNeedsReset);
            }
            else
            {
                foreach (Operation operation in life.Operations)
                {
                    Doing = $"{operation}";
                    await Do(operation);
                }

                await Settle();
                if (life.Illegal != Illegal.Nothing)
                {
                    Doing = $"{life.Illegal}";
                    await Break();
                }
            }

            await Leave();
            Doing = "has ended its life";
        }
        catch (OperationCanceledException) when (_aborted)
        {
            Doing = "was ended by a reset of the FPGA";
        }

        _hasLived = true;
    }

    // ---- Registers -----------------------------------------------------------------------------------------------------------------

    private async Task<byte[]> Read(uint offset, int length)
    {
        TransactionResult result = await Bridge.ReadMemory(0, _function, 0, offset, length);
        CheckAlive();
        GeneratedRun.Require(result.Status == HostStatus.Ok, $"{Name}: a read of {length} bytes at 0x{offset:x} ends with {result.Status}");
        return result.Data;
    }

    private async Task<uint> ReadCommon(uint offset, int size)
    {
        byte[] data = await Read(RegisterMap.Bar.VirtioCommon + offset, size);
        Array.Resize(ref data, 4);
        return BinaryPrimitives.ReadUInt32LittleEndian(data);
    }

    private async Task Write(uint offset, int size, uint value)
    {
        TransactionResult result = await Bridge.WriteMemory(0, _function, 0, offset, BitConverter.GetBytes(value)[..size]);
        CheckAlive();
        GeneratedRun.Require(result.Status == HostStatus.Ok, $"{Name}: a write at 0x{offset:x} ends with {result.Status}");
    }

    private Task WriteCommon(uint offset, int size, uint value) => Write(RegisterMap.Bar.VirtioCommon + offset, size, value);

    private async Task WriteConfig(int offset, params byte[] data)
    {
        TransactionResult result = await Bridge.WriteConfig(0, _function, offset, data);
        CheckAlive();
        GeneratedRun.Require(result.Status == HostStatus.Ok, $"{Name}: a configuration write at 0x{offset:x} ends with {result.Status}");
    }

    private async Task<VirtioStatus> ReadStatus() => (VirtioStatus)await ReadCommon(0x14, 1);

    // A look costs a round trip, so that time goes on.
    private async Task Until(Func<bool> condition, string what, int looks)
    {
        for (int i = 0; !condition(); i++)
        {
            GeneratedRun.Require(i < looks, $"{Name}: {what} does not come");
            _ = await ReadStatus();
            _run.CheckTime(what);
        }
    }

    private void CheckAlive()
    {
        if (_aborted)
        {
            throw new OperationCanceledException("the FPGA was reset under the driver");
        }
    }

    // ---- From reset to DRIVER_OK ---------------------------------------------------------------------------------------------------

    private async Task Set()
    {
        Doing = "sets the function up";
        uint bar = Strays.Bar0(0, _function);
        ushort control = _run.Plan.DeviceControls[_function];
        await WriteConfig(0x10, BitConverter.GetBytes(bar));
        await WriteConfig(0x14, BitConverter.GetBytes(bar + 0x8000));
        await WriteConfig(0x48, BitConverter.GetBytes(control));
        await WriteConfig(0x04, 0x06, 0x00);
        if (_life.Notice == Notice.Intx)
        {
            await Bridge.DisarmVectors(0, _function, 0, Vectors);
            await Bridge.UnmaskIntx(0, _function);
        }
        else
        {
            await Bridge.ArmVectors(0, _function, 0, Vectors);
        }

        await Reset();
        await Negotiate();
        await WriteCommon(0x10, 2, _life.Notice == Notice.Intx ? MsixNone : 0u);
        foreach (QueuePlan plan in _life.Queues)
        {
            await SetQueue(plan);
        }

        Coverage.Hit(CoveragePoint.UsedAfterReset, _hasLived);
        Coverage.Hit(CoveragePoint.ManyQueues, _queues.Count >= 4);
        await WriteCommon(0x14, 1, (uint)Live);
    }

    private async Task Negotiate()
    {
        await WriteCommon(0x14, 1, (uint)(VirtioStatus.Acknowledge | VirtioStatus.Driver));
        ulong offered = 0;
        ulong accepted = VirtioFeatures.Version1 | (_life.EventIdx ? VirtioFeatures.RingEventIdx : 0) | (_life.Indirect ? VirtioFeatures.RingIndirectDesc : 0);
        for (int half = 0; half < 2; half++)
        {
            await WriteCommon(0x00, 4, (uint)half);
            offered |= (ulong)await ReadCommon(0x04, 4) << (32 * half);
            await WriteCommon(0x08, 4, (uint)half);
            await WriteCommon(0x0C, 4, (uint)(accepted >> (32 * half)));
        }

        GeneratedRun.Require((accepted & ~offered) == 0, $"{Name}: features 0x{offered:x} are offered; 0x{accepted:x} are expected among them");
        await WriteCommon(0x14, 1, (uint)(VirtioStatus.Acknowledge | VirtioStatus.Driver | VirtioStatus.FeaturesOk));
        VirtioStatus status = await ReadStatus();
        GeneratedRun.Require((status & VirtioStatus.FeaturesOk) != 0, $"{Name}: FEATURES_OK does not stay set");
        Coverage.Hit(CoveragePoint.DriverEventIdx, _life.EventIdx);
        Coverage.Hit(CoveragePoint.BackEndEventIdxOnly, !_life.EventIdx && _run.Plan.BackEnd.EventIdx);
        Coverage.Hit(CoveragePoint.NoEventIdx, !_life.EventIdx && !_run.Plan.BackEnd.EventIdx);
    }

    private async Task SetQueue(QueuePlan plan)
    {
        SplitVirtqueue layout = new(plan.Size, _memory.Address(plan.Descriptors), _memory.Address(plan.Available), _memory.Address(plan.Used));
        (int vector, uint written) = _life.Notice switch
        {
            Notice.VectorPerQueue => (plan.Index + 1, plan.Index + 1u),
            Notice.SharedVector => (1, 1u),
            _ => (-1, MsixNone),
        };
        ulong available = layout.Available;
        if (_life.Illegal == Illegal.RingOutsideMemory && _queues.Count == 0)
        {
            available = _memory.End + 0x1000;
            Fail();
        }

        Clear(layout.Available, SplitVirtqueue.AvailableBytes(plan.Size), Access.Read);
        Clear(layout.Used, SplitVirtqueue.UsedBytes(plan.Size), Access.Any);
        _memory.Allow(layout.DescriptorTable, (uint)SplitVirtqueue.DescriptorTableBytes(plan.Size), Access.Read);
        QueueState queue = new(plan, layout, _life.EventIdx, vector);
        if (plan.SuppressesInterrupts)
        {
            if (_life.EventIdx)
            {
                _memory.Put(layout.UsedEvent, ushort.MaxValue);
            }
            else
            {
                _memory.Put(layout.Available, SplitVirtqueue.AvailableNoInterrupt);
            }
        }

        _queues.Add(queue);
        _ledger.Queues.Add(queue);
        Coverage.Hit(CoveragePoint.SmallestQueue, plan.Size == 2);
        Coverage.Hit(CoveragePoint.LargeQueue, plan.Size >= 128);
        Coverage.Hit(CoveragePoint.RingAcrossPage, IsAcrossPage(layout.Used, SplitVirtqueue.UsedBytes(plan.Size)) || IsAcrossPage(layout.Available, SplitVirtqueue.AvailableBytes(plan.Size)));
        await WriteCommon(0x16, 2, plan.Index);
        await WriteCommon(0x18, 2, plan.Size);
        await WriteCommon(0x1A, 2, written);
        ulong[] addresses = [layout.DescriptorTable, available, layout.Used];
        for (int i = 0; i < addresses.Length; i++)
        {
            await WriteCommon(0x20 + (8u * (uint)i), 4, (uint)addresses[i]);
            await WriteCommon(0x24 + (8u * (uint)i), 4, (uint)(addresses[i] >> 32));
        }

        await WriteCommon(0x1C, 2, 1);
        uint size = await ReadCommon(0x18, 2);
        GeneratedRun.Require(size == plan.Size, $"{Name}: queue_size reads {size}; {plan.Size} was written");
    }

    private void Clear(ulong address, int length, Access access)
    {
        _memory.Put(address, new byte[length]);
        _memory.Allow(address, (uint)length, access);
    }

    private static bool IsAcrossPage(ulong address, int length) => address >> 12 != (address + (uint)length - 1) >> 12;

    // ---- Resets --------------------------------------------------------------------------------------------------------------------

    private async Task Leave()
    {
        bool inFlight = _queues.Exists(queue => queue.Available.Count != queue.Consumed);
        switch (_life.Ending)
        {
            case Ending.StatusReset:
                Doing = "resets the device";
                await Reset();
                Coverage.Hit(inFlight ? CoveragePoint.ResetInFlight : CoveragePoint.ResetAtRest);
                break;
            case Ending.FunctionLevelReset:
                Doing = "resets the function";
                _ledger.Closed = true;
                ushort control = _run.Plan.DeviceControls[_function];
                await WriteConfig(0x48, (byte)control, (byte)((control >> 8) | 0x80));
                await AfterReset();
                Coverage.Hit(inFlight ? CoveragePoint.FlrInFlight : CoveragePoint.FlrAtRest);
                break;
            default:
                break;
        }
    }

    private async Task Reset()
    {
        _ledger.Closed = true;
        await WriteCommon(0x14, 1, 0);
        await AfterReset();
    }

    private async Task AfterReset()
    {
        VirtioStatus status;
        int looks = 0;
        while ((status = await ReadStatus()) != VirtioStatus.None)
        {
            GeneratedRun.Require(looks++ < MostLooks, $"{Name}: device_status stays {status} after a reset");
            _run.CheckTime("the end of a reset");
        }

        Forget();
        _ledger.Clear();
        _ledger.Intx = _life.Notice == Notice.Intx;
    }

    // From here on the FPGA has no business in the driver's memory.
    private void Forget()
    {
        _memory.Withdraw((uint)(_function * (PlanMaker.HostOneBytes / PlanMaker.Functions)), PlanMaker.HostOneBytes / PlanMaker.Functions);
        foreach (QueueState queue in _queues)
        {
            queue.Used.Set();
        }

        _queues.Clear();
        Failing = false;
        _run.MayLeaveMemory(_function, false);
    }

    private void Fail()
    {
        Failing = true;
        _ledger.Failing = true;
        _run.MayLeaveMemory(_function, true);
    }

    // ---- Operations ----------------------------------------------------------------------------------------------------------------

    private async Task Do(Operation operation)
    {
        switch (operation)
        {
            case BatchOperation batch:
                await Publish(batch);
                break;
            case DrainOperation drain:
                await Drain(_queues[drain.Queue]);
                break;
            case IdleOperation idle:
                await _run.Stepped.AtCycle(_run.Stepped.Cycle + idle.Cycles);
                CheckAlive();
                break;
            case MaskedOperation masked:
                await PublishMasked(masked);
                break;
            case ConfigWriteOperation write:
                byte[] expected = BitConverter.GetBytes(write.Value)[..write.Size];
                await Write(RegisterMap.Bar.VirtioDevice + (uint)write.Offset, write.Size, write.Value);
                await Until(
                    () => _run.BackEnd.Configurations[_function].AsSpan(write.Offset, write.Size).SequenceEqual(expected), "a configuration write at host 2", MostLooks);
                Coverage.Hit(CoveragePoint.ConfigurationWritten);
                break;
            case ConfigChangeOperation change:
                await ChangeConfiguration(change);
                break;
            case ConfigReadOperation read:
                byte[] data = await Read(RegisterMap.Bar.VirtioDevice + (uint)read.Offset, read.Length);
                GeneratedRun.Require(
                    data.AsSpan().SequenceEqual(_run.BackEnd.Configurations[_function].AsSpan(read.Offset, read.Length)),
                    $"{Name}: the device configuration at {read.Offset} reads {Convert.ToHexString(data)}");
                break;
            case StormOperation storm:
                for (int i = 0; i < storm.Notifications; i++)
                {
                    await Notify(_queues[storm.Queue]);
                }

                Coverage.Hit(CoveragePoint.NotifyStorm);
                break;
            case StrayOperation stray:
                VirtioStatus before = await ReadStatus();
                _run.Strays.Send(stray.Port, _function, stray.Kind);
                await Until(() => _run.StraysAnswered, $"an answer to {stray.Kind}", MostLooks);
                VirtioStatus after = await ReadStatus();
                GeneratedRun.Require(before == after, $"{Name}: device_status goes from {before} to {after} with {stray.Kind}");
                break;
            default:
                throw new NotSupportedException($"{operation}");
        }
    }

    private async Task ChangeConfiguration(ConfigChangeOperation change)
    {
        _ = await Read(RegisterMap.Bar.VirtioDevice + (uint)change.Offset, 1);
        uint generation = await ReadCommon(0x15, 1);
        _ledger.Owe(0);
        await _run.BackEnd.ChangeConfiguration(_function, change.Offset, change.Value);
        await _configurationChanged.Wait();
        CheckAlive();
        byte[] data = await Read(RegisterMap.Bar.VirtioDevice + (uint)change.Offset, 1);
        GeneratedRun.Require(data[0] == change.Value, $"{Name}: byte {change.Offset} of the device configuration reads 0x{data[0]:x2}; host 2 changed it to 0x{change.Value:x2}");
        uint next = await ReadCommon(0x15, 1);
        GeneratedRun.Require(next != generation, $"{Name}: config_generation stays {next}, but the configuration has changed since it was read");
        Coverage.Hit(CoveragePoint.ConfigurationChanged);
    }

    private Task Notify(QueueState queue) => Write(RegisterMap.Bar.VirtioNotify + (4u * queue.Plan.Index), 2, queue.Plan.Index);

    private async Task Publish(BatchOperation batch)
    {
        QueueState queue = _queues[batch.Queue];
        ushort old = _memory.Get16(queue.Layout.AvailableIndex);
        ushort index = old;
        List<ChainState> chains = [];
        foreach (ChainPlan plan in batch.Chains)
        {
            ChainState chain = Put(queue, plan);
            _memory.Put(queue.Layout.AvailableEntry(index++), chain.Head);
            chains.Add(chain);
            Coverage.Hit(CoveragePoint.RingWraps, index % queue.Plan.Size == 0);
        }

        Coverage.Hit(CoveragePoint.LargeBatch, chains.Count > 16);
        Coverage.Hit(CoveragePoint.RingFull, queue.Free.Count == 0);
        queue.Available.AddRange(chains);
        List<ChainState> order = [.. batch.UsedOrder.Select(i => chains[i]).Where(chain => !chain.Plan.Kept)];
        queue.UsedOrder.AddRange(order);
        Coverage.Hit(CoveragePoint.UsedOutOfOrder, !order.SequenceEqual(chains.Where(chain => !chain.Plan.Kept)));
        _memory.Put(queue.Layout.AvailableIndex, index);
        bool wanted = queue.EventIdx
            ? SplitVirtqueue.PassesEvent(_memory.Get16(queue.Layout.AvailableEvent), index, old)
            : (_memory.Get16(queue.Layout.Used) & SplitVirtqueue.UsedNoNotify) == 0;
        Coverage.Hit(CoveragePoint.NotifyLeftOut, !wanted);
        if (wanted || batch.NotifiesAlways)
        {
            await Notify(queue);
        }
    }

    private ChainState Put(QueueState queue, ChainPlan plan)
    {
        bool inTable = plan.Direct < plan.Segments.Count;
        ushort[] descriptors = new ushort[plan.Direct + (inTable ? 1 : 0)];
        for (int i = 0; i < descriptors.Length; i++)
        {
            descriptors[i] = queue.Free.Dequeue();
        }

        ChainState chain = new(plan, descriptors[0], descriptors);
        int put = 0;
        for (int i = 0; i < plan.Segments.Count; i++)
        {
            Segment segment = plan.Segments[i];
            ulong address = _memory.Address(segment.Offset);
            if (!segment.Writable)
            {
                _memory.Put(address, chain.Readable.AsSpan(put, (int)segment.Length));
                put += (int)segment.Length;
            }

            _memory.Allow(address, segment.Length, segment.Writable ? Access.WriteOnce : Access.Read);
            Cover(segment);
        }

        Span<byte> bytes = stackalloc byte[Descriptor.Size];
        for (int i = 0; i < plan.Direct; i++)
        {
            bool more = i + 1 < descriptors.Length;
            Entry(plan.Segments[i], more, more ? descriptors[i + 1] : (ushort)0).Write(bytes);
            _memory.Put(queue.Layout.DescriptorAddress(descriptors[i]), bytes);
        }

        if (inTable)
        {
            PutTable(queue, plan, descriptors[^1]);
        }

        Cover(plan, chain);
        return chain;
    }

    private void PutTable(QueueState queue, ChainPlan plan, ushort descriptor)
    {
        Span<byte> bytes = stackalloc byte[Descriptor.Size];
        int entries = plan.Segments.Count - plan.Direct;
        ulong table = _memory.Address(plan.Table);
        for (int i = 0; i < entries; i++)
        {
            bool more = i + 1 < entries;
            Entry(plan.Segments[plan.Direct + i], more, (ushort)(more ? i + 1 : 0)).Write(bytes);
            _memory.Put(table + (ulong)(i * Descriptor.Size), bytes);
        }

        _memory.Allow(table, (uint)(entries * Descriptor.Size), Access.Read);
        new Descriptor(table, (uint)(entries * Descriptor.Size), DescriptorFlags.Indirect, 0).Write(bytes);
        _memory.Put(queue.Layout.DescriptorAddress(descriptor), bytes);
        Coverage.Hit(CoveragePoint.IndirectTable);
        Coverage.Hit(CoveragePoint.LongIndirectTable, entries >= 32);
        Coverage.Hit(CoveragePoint.TableAcrossPage, IsAcrossPage(table, entries * Descriptor.Size));
        Coverage.Hit(CoveragePoint.DirectThenIndirect, plan.Direct != 0);
    }

    private Descriptor Entry(in Segment segment, bool more, ushort next) => new(
        _memory.Address(segment.Offset),
        segment.Length,
        (segment.Writable ? DescriptorFlags.Write : DescriptorFlags.None) | (more ? DescriptorFlags.Next : DescriptorFlags.None),
        next);

    private void Cover(in Segment segment)
    {
        ulong address = _memory.Address(segment.Offset);
        Coverage.Hit(CoveragePoint.EmptyDescriptor, segment.Length == 0);
        Coverage.Hit(CoveragePoint.OneByteSegment, segment.Length == 1);
        Coverage.Hit(CoveragePoint.LongSegment, segment.Length > 4096);
        Coverage.Hit(CoveragePoint.StartsAtLastByte, address % 4096 == 4095 && segment.Length > 1);
        Coverage.Hit(CoveragePoint.EndsAtLastByte, (address + segment.Length) % 4096 == 0 && segment.Length != 0);
    }

    private void Cover(ChainPlan plan, ChainState chain)
    {
        bool readable = chain.Readable.Length != 0;
        Coverage.Hit(CoveragePoint.ReadableOnly, readable && chain.WritableLength == 0);
        Coverage.Hit(CoveragePoint.WritableOnly, !readable);
        Coverage.Hit(CoveragePoint.ReadableAndWritable, readable && chain.WritableLength != 0);
        Coverage.Hit(CoveragePoint.OneDescriptor, plan.Segments.Count == 1);
        Coverage.Hit(CoveragePoint.LongChain, plan.Direct > 4);
        Coverage.Hit(CoveragePoint.VeryLongChain, plan.Direct >= 16);
        Coverage.Hit(CoveragePoint.ScatteredDescriptors, chain.Descriptors.Zip(chain.Descriptors.Skip(1)).Any(pair => pair.First > pair.Second));
    }

    // ---- Used buffers --------------------------------------------------------------------------------------------------------------

    private async Task Drain(QueueState queue)
    {
        bool together = queue.Drains++ % 2 != 0;
        while (true)
        {
            TakeUsed(queue);
            if (queue.Outstanding == 0)
            {
                break;
            }

            if (queue.Plan.SuppressesInterrupts || _life.Notice == Notice.NoVector)
            {
                await Until(() => HasUsed(queue), $"queue {queue.Plan.Index}: a used buffer", MostLooks);
                continue;
            }

            if (queue.EventIdx)
            {
                _memory.Put(queue.Layout.UsedEvent, (ushort)(queue.Consumed + (together ? queue.Outstanding - 1 : 0)));
            }

            if (!HasUsed(queue))
            {
                await queue.Used.Wait();
                CheckAlive();
            }
        }

        if (queue.EventIdx && !queue.Plan.SuppressesInterrupts)
        {
            _memory.Put(queue.Layout.UsedEvent, (ushort)queue.Consumed);
        }
    }

    private bool HasUsed(QueueState queue) => _memory.Get16(queue.Layout.UsedIndex) != (ushort)queue.Consumed;

    private void TakeUsed(QueueState queue)
    {
        while (HasUsed(queue))
        {
            string where = $"{Name}, queue {queue.Plan.Index}, used element {queue.Consumed}";
            GeneratedRun.Require(queue.Outstanding != 0, $"{where}: no chain is left that host 2 was to use");
            ChainState chain = queue.UsedOrder[queue.Consumed];
            ulong element = queue.Layout.UsedElement((ushort)queue.Consumed);
            uint id = _memory.Get32(element);
            uint length = _memory.Get32(element + 4);
            GeneratedRun.Require(id == chain.Head, $"{where}: id is {id}; expected {chain.Head}");
            GeneratedRun.Require(length == chain.Answer.Length, $"{where}: len is {length}; host 2 used {chain.Answer.Length}");
            CheckBuffers(chain, where);
            _memory.Accept(element, 8);
            _memory.Put(queue.Layout.UsedIndex, _memory.Get16(queue.Layout.UsedIndex));
            queue.Consumed++;
            foreach (ushort descriptor in chain.Descriptors)
            {
                queue.Free.Enqueue(descriptor);
            }

            Coverage.Hit(CoveragePoint.NothingUsed, chain.WritableLength != 0 && length == 0);
            Coverage.Hit(CoveragePoint.PartUsed, length != 0 && length < chain.WritableLength);
            Coverage.Hit(CoveragePoint.AllUsed, length != 0 && length == chain.WritableLength);
        }
    }

    private void CheckBuffers(ChainState chain, string where)
    {
        int got = 0;
        foreach (Segment segment in chain.Plan.Segments)
        {
            ulong address = _memory.Address(segment.Offset);
            if (segment.Writable)
            {
                uint used = Math.Min(segment.Length, (uint)(chain.Answer.Length - got));
                string? wrong = _memory.CheckWrites(address, used, 1) ?? _memory.CheckWrites(address + used, segment.Length - used, 0);
                GeneratedRun.Require(wrong is null, $"{where}: {wrong}");
                int same = _memory.At(address, (int)used).CommonPrefixLength(chain.Answer.AsSpan(got, (int)used));
                GeneratedRun.Require(same == used, $"{where}: byte 0x{address + (uint)same:x} is not what host 2 wrote");
                _memory.Accept(address, used);
                got += (int)used;
            }

            _memory.Allow(address, segment.Length, Access.Nothing);
        }

        if (chain.Plan.Direct < chain.Plan.Segments.Count)
        {
            _memory.Allow(_memory.Address(chain.Plan.Table), (uint)((chain.Plan.Segments.Count - chain.Plan.Direct) * Descriptor.Size), Access.Nothing);
        }
    }

    private async Task PublishMasked(MaskedOperation masked)
    {
        QueueState queue = _queues[masked.Batch.Queue];
        if (masked.Batch.Chains.Count == 0)
        {
            return;
        }

        // Other queues' interrupts may be under way where the whole function is masked.
        if (masked.WholeFunction && _queues.Exists(other => other != queue && other.Available.Count != other.Consumed))
        {
            return;
        }

        await Until(() => _ledger.IsEven, $"an interrupt that is owed ({_ledger.Owed})", SettlingLooks);
        if (queue.EventIdx)
        {
            _memory.Put(queue.Layout.UsedEvent, (ushort)queue.Consumed);
        }

        await Mask(queue, masked.WholeFunction, true);
        await Publish(masked.Batch);
        while (queue.Outstanding != 0)
        {
            await Until(() => HasUsed(queue), $"queue {queue.Plan.Index}: a used buffer", MostLooks);
            TakeUsed(queue);
        }

        await Until(() => !queue.Undecided, "the FPGA's look at the suppression of interrupts", SettlingLooks);

        // From that look to the interrupt's command: two latencies, and what the streams' pauses make of them.
        await _run.Stepped.AtCycle(_run.Stepped.Cycle + (4 * _run.Plan.Latency) + (uint)_run.Plan.MostDelay + 600);
        CheckAlive();
        bool owed = _ledger.Owes(queue.Vector);
        GeneratedRun.Require(owed, $"{Name}, queue {queue.Plan.Index}: no interrupt is owed with a vector masked");
        uint pending = 0;
        for (int i = 0; i < SettlingLooks && pending == 0; i++)
        {
            TransactionResult result = await Bridge.ReadMemory(0, _function, 1, RegisterMap.Bar.MsixPba, 4);
            CheckAlive();
            pending = BitConverter.ToUInt32(result.Data) & (1u << queue.Vector);
        }

        GeneratedRun.Require(pending != 0, $"{Name}, queue {queue.Plan.Index}: the masked vector {queue.Vector} does not become pending");
        await Mask(queue, masked.WholeFunction, false);
        await Until(() => _ledger.IsEven, "the interrupt that was pending", SettlingLooks);
        Coverage.Hit(masked.WholeFunction ? CoveragePoint.FunctionMasked : CoveragePoint.VectorMasked);
    }

    private async Task Mask(QueueState queue, bool wholeFunction, bool masked)
    {
        if (!masked)
        {
            _ledger.Mask(queue.Vector, false);
        }

        if (wholeFunction)
        {
            _run.Strays.MaskFunction(_function, masked);
            await Until(() => _run.StraysAnswered, "the end of a configuration write", MostLooks);
        }
        else
        {
            _ = await Bridge.WriteMemory(0, _function, 1, RegisterMap.Bar.MsixTable + (16u * (uint)queue.Vector) + 12, [(byte)(masked ? 1 : 0), 0, 0, 0]);
            CheckAlive();
            _ = await ReadStatus();
        }

        if (masked)
        {
            _ledger.Mask(queue.Vector, true);
        }
    }

    // What is owed comes by itself.
    private async Task Settle()
    {
        if (_life.LeavesInFlight)
        {
            return;
        }

        Doing = "waits for what is owed";
        await Until(() => _ledger.IsEven, $"an interrupt ({_ledger.Owed})", SettlingLooks);
        foreach (QueueState queue in _queues)
        {
            string? wrong = queue.Outstanding == 0 && !HasUsed(queue) ? null : "there is a used element too many";
            GeneratedRun.Require(wrong is null, $"{Name}, queue {queue.Plan.Index}: {wrong}");
            if (queue.EventIdx)
            {
                _memory.Accept(queue.Layout.AvailableEvent, 2);
            }
        }
    }

    // ---- Illegal -------------------------------------------------------------------------------------------------------------------

    private async Task Break()
    {
        QueueState queue = _queues[0];
        Illegal kind = _life.Illegal;
        await Until(() => _run.BackEnd.Serves(_function, queue.Plan.Index), "host 2's ring", MostLooks);
        Fail();
        ulong buffer = queue.Layout.DescriptorTable;
        switch (kind)
        {
            case Illegal.HeadOutOfRange:
                await Offer(queue, queue.Plan.Size);
                break;
            case Illegal.AvailableIndexJumps:
                _memory.Put(queue.Layout.AvailableIndex, (ushort)(_memory.Get16(queue.Layout.AvailableIndex) + queue.Plan.Size + 1));
                await Notify(queue);
                break;
            case Illegal.HeadInUse:
                PutDescriptor(queue, 0, new Descriptor(buffer, 1, DescriptorFlags.None, 0));
                await Offer(queue, 0, 0);
                break;
            case Illegal.Loop:
                PutDescriptor(queue, 0, new Descriptor(buffer, 1, DescriptorFlags.Next, 1));
                PutDescriptor(queue, 1, new Descriptor(buffer, 1, DescriptorFlags.Next, 0));
                await Offer(queue, 0);
                break;
            case Illegal.NextOutOfRange:
                PutDescriptor(queue, 0, new Descriptor(buffer, 1, DescriptorFlags.Next, queue.Plan.Size));
                await Offer(queue, 0);
                break;
            case Illegal.ReadableAfterWritable:
                PutDescriptor(queue, 0, new Descriptor(buffer, 1, DescriptorFlags.Next | DescriptorFlags.Write, 1));
                PutDescriptor(queue, 1, new Descriptor(buffer, 1, DescriptorFlags.None, 0));
                await Offer(queue, 0);
                break;
            case Illegal.IndirectNotNegotiated:
                PutDescriptor(queue, 0, new Descriptor(buffer, Descriptor.Size, DescriptorFlags.Indirect, 0));
                await Offer(queue, 0);
                break;
            case Illegal.IndirectBadSize:
                PutDescriptor(queue, 0, new Descriptor(buffer, 24, DescriptorFlags.Indirect, 0));
                await Offer(queue, 0);
                break;
            case Illegal.IndirectInIndirect:
                PutDescriptor(queue, 0, new Descriptor(buffer, Descriptor.Size, DescriptorFlags.Indirect, 0));
                await Offer(queue, 0);
                break;
            case Illegal.IndirectWithNext:
                PutDescriptor(queue, 0, new Descriptor(buffer, Descriptor.Size, DescriptorFlags.Indirect | DescriptorFlags.Next, 1));
                await Offer(queue, 0);
                break;
            case Illegal.BufferOutsideMemory:
                PutDescriptor(queue, 0, new Descriptor(_memory.End + 0x1000, 64, DescriptorFlags.None, 0));
                await Offer(queue, 0);
                break;
            case Illegal.NoByte:
                PutDescriptor(queue, 0, new Descriptor(buffer, 0, DescriptorFlags.None, 0));
                await Offer(queue, 0);
                break;
            case Illegal.AddressWraps:
                PutDescriptor(queue, 0, new Descriptor(ulong.MaxValue - 0xFFF, 0x2000, DescriptorFlags.None, 0));
                await Offer(queue, 0);
                break;
            default:
                await BreakHostTwo(queue, kind);
                return;
        }

        await ExpectNeedsReset(kind <= Illegal.HeadInUse ? CoveragePoint.DriverNeedsReset : CoveragePoint.ChainNeedsReset);
    }

    private async Task BreakHostTwo(QueueState queue, Illegal kind)
    {
        // Wrong only once the scheduler looks at the ring: with a chain that it has offered.
        ushort before = _run.BackEnd.Taken(_function, queue.Plan.Index);
        PutDescriptor(queue, 0, new Descriptor(queue.Layout.DescriptorTable, 4, DescriptorFlags.None, 0));
        await Offer(queue, 0);
        await Until(() => _run.BackEnd.Taken(_function, queue.Plan.Index) != before, "a chain at host 2", MostLooks);
        uint place = _run.BackEnd.LastPlace(_function, queue.Plan.Index);
        (uint id, uint length, int count) = kind switch
        {
            Illegal.UsedNotOffered => ((place + 2) % (2u * queue.Plan.Size), 0u, 1),
            Illegal.UsedTooLong => (place, 1u, 1),
            _ => (place, 0u, 2),
        };
        await _run.BackEnd.PushUsed(_function, queue.Plan.Index, id, length, count);
        await ExpectNeedsReset(CoveragePoint.BackEndNeedsReset);
    }

    private void PutDescriptor(QueueState queue, ushort index, Descriptor descriptor)
    {
        Span<byte> bytes = stackalloc byte[Descriptor.Size];
        descriptor.Write(bytes);
        _memory.Put(queue.Layout.DescriptorAddress(index), bytes);
    }

    private async Task Offer(QueueState queue, params ushort[] heads)
    {
        ushort index = _memory.Get16(queue.Layout.AvailableIndex);
        foreach (ushort head in heads)
        {
            _memory.Put(queue.Layout.AvailableEntry(index++), head);
        }

        _memory.Put(queue.Layout.AvailableIndex, index);
        await Notify(queue);
    }

    private async Task ExpectNeedsReset(CoveragePoint point)
    {
        int looks = 0;
        while ((await ReadStatus() & VirtioStatus.DeviceNeedsReset) == 0)
        {
            GeneratedRun.Require(looks++ < MostLooks, $"{Name}: no DEVICE_NEEDS_RESET after {_life.Illegal}");
            _run.CheckTime("DEVICE_NEEDS_RESET");
        }

        Coverage.Hit(point);
    }
}
