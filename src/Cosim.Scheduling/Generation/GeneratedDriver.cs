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

    // All that is being copied for the queue comes to its end first.
    private const int QueueResetLooks = 2000;
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
    private int _resetQueues;

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
            await SetQueue(plan, _queues.Count);
        }

        Coverage.Hit(CoveragePoint.UsedAfterReset, _hasLived);
        Coverage.Hit(CoveragePoint.ManyQueues, _queues.Count >= 4);
        await WriteCommon(0x14, 1, (uint)Live);
    }

    private async Task Negotiate()
    {
        await WriteCommon(0x14, 1, (uint)(VirtioStatus.Acknowledge | VirtioStatus.Driver));
        ulong offered = 0;
        ulong accepted = VirtioFeatures.Version1 | _life.Features;
        for (int half = 0; half < 2; half++)
        {
            await WriteCommon(0x00, 4, (uint)half);
            offered |= (ulong)await ReadCommon(0x04, 4) << (32 * half);
            await WriteCommon(0x08, 4, (uint)half);
            await WriteCommon(0x0C, 4, (uint)(accepted >> (32 * half)));
        }

        ulong expected = VirtioFeatures.Version1 | _run.Plan.RingFeatures;
        GeneratedRun.Require(
            (offered & (VirtioFeatures.Version1 | VirtioFeatures.AllRing)) == expected, $"{Name}: features 0x{offered:x} are offered; 0x{expected:x} are expected of the rings");
        await WriteCommon(0x14, 1, (uint)(VirtioStatus.Acknowledge | VirtioStatus.Driver | VirtioStatus.FeaturesOk));
        VirtioStatus status = await ReadStatus();
        GeneratedRun.Require((status & VirtioStatus.FeaturesOk) != 0, $"{Name}: FEATURES_OK does not stay set");
        bool eventIdx = Has(VirtioFeatures.RingEventIdx);
        Coverage.Hit(CoveragePoint.DriverEventIdx, eventIdx);
        Coverage.Hit(CoveragePoint.BackEndEventIdxOnly, !eventIdx && _run.Plan.BackEnd.EventIdx);
        Coverage.Hit(CoveragePoint.NoEventIdx, !eventIdx && !_run.Plan.BackEnd.EventIdx);
    }

    private async Task SetQueue(QueuePlan plan, int position)
    {
        (int vector, uint written) = _life.Notice switch
        {
            Notice.VectorPerQueue => (plan.Index + 1, plan.Index + 1u),
            Notice.SharedVector => (1, 1u),
            _ => (-1, MsixNone),
        };
        QueueState queue = new(plan, DriverRing.Make(_memory, plan, _life.Features, Coverage), Has(VirtioFeatures.InOrder), vector);
        queue.Ring.Begin();
        if (plan.SuppressesInterrupts)
        {
            queue.Ring.Refuse();
        }

        ulong[] addresses = [.. queue.Ring.Areas];
        if (_life.Illegal == Illegal.RingOutsideMemory && position == 0)
        {
            addresses[queue.Ring.FirstLook] = _memory.End + 0x1000;
            Fail();
        }

        if (position == _queues.Count)
        {
            queue.IsServed = true;
            _queues.Add(queue);
        }
        else
        {
            _queues[position] = queue;
        }

        _ledger.Queues.Add(queue);
        await WriteCommon(0x16, 2, plan.Index);
        await WriteCommon(0x18, 2, plan.Size);
        await WriteCommon(0x1A, 2, written);
        for (int i = 0; i < addresses.Length; i++)
        {
            await WriteCommon(0x20 + (8u * (uint)i), 4, (uint)addresses[i]);
            await WriteCommon(0x24 + (8u * (uint)i), 4, (uint)(addresses[i] >> 32));
        }

        await WriteCommon(0x1C, 2, 1);
        uint size = await ReadCommon(0x18, 2);
        GeneratedRun.Require(size == plan.Size, $"{Name}: queue_size reads {size}; {plan.Size} was written");
    }

    private bool Has(ulong feature) => (_life.Features & feature) != 0;

    // ---- Resets --------------------------------------------------------------------------------------------------------------------

    private async Task Leave()
    {
        bool inFlight = _queues.Exists(queue => queue.IsBusy);
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

    // While one queue is reset and set up anew, the others go on (2.6.1).
    private async Task ResetQueue(QueueResetOperation reset)
    {
        QueueState queue = _queues[reset.Queue];
        await WriteCommon(0x16, 2, queue.Plan.Index);
        await WriteCommon(0x3A, 2, 1);
        for (int looks = 0; await ReadCommon(0x3A, 2) != 0; looks++)
        {
            GeneratedRun.Require(looks < QueueResetLooks, $"{Name}, queue {queue.Plan.Index}: queue_reset stays 1");
            _run.CheckTime("the end of a queue's reset");
        }

        _ledger.Drop(queue);
        Withdraw(queue);
        uint enabled = await ReadCommon(0x1C, 2);
        GeneratedRun.Require(enabled == 0, $"{Name}, queue {queue.Plan.Index}: queue_enable reads {enabled} after the queue's reset");
        await Pause(reset.Pause);
        await SetQueue(reset.Anew, reset.Queue);
        Coverage.Hit(queue.IsBusy ? CoveragePoint.QueueResetInFlight : CoveragePoint.QueueReset);
        Coverage.Hit(CoveragePoint.QueueResetBesideTraffic, _queues.Exists(other => other.IsBusy));
        Coverage.Hit(CoveragePoint.QueueSizeChanged, reset.Anew.Size != queue.Plan.Size);
        _resetQueues++;
    }

    // Its ring and its buffers are the driver's again.
    private void Withdraw(QueueState queue)
    {
        uint[] areas = [queue.Plan.Descriptors, queue.Plan.Driver, queue.Plan.Device];
        for (int i = 0; i < areas.Length; i++)
        {
            _memory.Withdraw(areas[i], (uint)queue.Ring.Lengths[i]);
        }

        foreach (ChainPlan plan in queue.Available.Select(chain => chain.Plan))
        {
            foreach (Segment segment in plan.Segments)
            {
                _memory.Withdraw(segment.Offset, segment.Length);
            }

            _memory.Withdraw(plan.Table, (uint)((plan.Segments.Count - plan.Direct) * Descriptor.Size));
        }
    }

    private async Task Pause(uint cycles)
    {
        if (cycles != 0)
        {
            await _run.Stepped.AtCycle(_run.Stepped.Cycle + cycles);
            CheckAlive();
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
        _resetQueues = 0;
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
            case QueueResetOperation reset:
                await ResetQueue(reset);
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

    private Task Notify(QueueState queue)
    {
        queue.IsServed = true;
        if (!Has(VirtioFeatures.NotificationData))
        {
            return Write(RegisterMap.Bar.VirtioNotify + (4u * queue.Plan.Index), 2, queue.Plan.Index);
        }

        Coverage.Hit(queue.Plan.Packed ? CoveragePoint.PackedNotificationData : CoveragePoint.NotificationData);
        return Write(RegisterMap.Bar.VirtioNotify + (4u * queue.Plan.Index), 4, queue.Plan.Index | ((uint)queue.Ring.Next << 16));
    }

    private async Task Publish(BatchOperation batch)
    {
        QueueState queue = _queues[batch.Queue];
        List<ChainState> chains = [.. batch.Chains.Select(queue.Ring.Put)];
        await Pause(batch.Pause);
        Coverage.Hit(CoveragePoint.WrittenBefore, batch.Pause != 0);
        Coverage.Hit(CoveragePoint.LargeBatch, chains.Count > 16);
        Coverage.Hit(CoveragePoint.RingFull, queue.Ring.Free == 0);
        List<ChainState> order = [.. batch.UsedOrder.Select(i => chains[i]).Where(chain => !chain.Plan.Kept)];
        Coverage.Hit(CoveragePoint.UsedOutOfOrder, !order.SequenceEqual(chains.Where(chain => !chain.Plan.Kept)));
        queue.Add(chains, order);
        bool wanted = queue.Ring.Show(chains);
        if (wanted || batch.NotifiesAlways)
        {
            await Notify(queue);
        }
    }

    // ---- Used buffers --------------------------------------------------------------------------------------------------------------

    private async Task Drain(QueueState queue)
    {
        int wish = queue.Drains++ % 3;
        while (true)
        {
            TakeUsed(queue);
            if (queue.Outstanding == 0)
            {
                break;
            }

            if (queue.Plan.SuppressesInterrupts || _life.Notice == Notice.NoVector)
            {
                await Until(() => queue.Ring.HasUsed, $"queue {queue.Plan.Index}: a used buffer", MostLooks);
                continue;
            }

            // With the next one, with the last one, or with all of them.
            if (wish == 2)
            {
                queue.Ring.AskAlways();
            }
            else
            {
                queue.AskBehind(wish == 1 ? queue.Outstanding - 1 : 0);
            }

            if (!queue.Ring.HasUsed)
            {
                await queue.Used.Wait();
                CheckAlive();
            }
        }

        if (!queue.Plan.SuppressesInterrupts)
        {
            queue.AskBehind(0);
        }
    }

    private void TakeUsed(QueueState queue)
    {
        while (queue.Ring.HasUsed)
        {
            string where = $"{Name}, queue {queue.Plan.Index}, used element {queue.Consumed}";
            GeneratedRun.Require(queue.Outstanding != 0, $"{where}: no chain is left that host 2 was to use");
            ChainState chain = queue.Returns[queue.Consumed];
            (uint id, uint length) = queue.Ring.Look(where);
            GeneratedRun.Require(id == chain.Id, $"{where}: id is {id}; expected {chain.Id}");
            GeneratedRun.Require(length == chain.Answer.Length, $"{where}: len is {length}; host 2 used {chain.Answer.Length}");
            CheckBuffers(chain, where);
            queue.Ring.Take(chain, where);
            queue.Consumed++;
            Coverage.Hit(CoveragePoint.QueueUsedAfterReset, _resetQueues != 0 && _life.Queues.All(plan => plan != queue.Plan));
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
        if (masked.WholeFunction && _queues.Exists(other => other != queue && other.IsBusy))
        {
            return;
        }

        await Until(() => _ledger.IsEven, $"an interrupt that is owed ({_ledger.Owed})", SettlingLooks);
        queue.AskBehind(0);
        await Mask(queue, masked.WholeFunction, true);
        await Publish(masked.Batch);
        while (queue.Outstanding != 0)
        {
            await Until(() => queue.Ring.HasUsed, $"queue {queue.Plan.Index}: a used buffer", MostLooks);
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
            string? wrong = queue.Outstanding == 0 && !queue.Ring.HasUsed ? null : "there is a used element too many";
            GeneratedRun.Require(wrong is null, $"{Name}, queue {queue.Plan.Index}: {wrong}");
            if (queue.IsServed)
            {
                await Until(() => queue.Ring.AsksForNext, $"queue {queue.Plan.Index}: the device's wish to be told of the next chain", MostLooks);
            }

            queue.Ring.AcceptEvent();
        }
    }

    // ---- Illegal -------------------------------------------------------------------------------------------------------------------

    private async Task Break()
    {
        QueueState queue = _queues[0];
        Illegal kind = _life.Illegal;
        if (!queue.IsServed)
        {
            await Notify(queue);
        }

        await Until(() => _run.BackEnd.Serves(_function, queue.Plan.Index), "host 2's ring", MostLooks);
        Fail();
        DriverRing ring = queue.Ring;
        ulong buffer = ring.OfferAddress;
        switch (kind)
        {
            case Illegal.AvailableIndexJumps when queue.Plan.Packed:
                await OfferToHostTwo(queue);
                ring.Break(kind);
                break;
            case Illegal.HeadOutOfRange or Illegal.AvailableIndexJumps or Illegal.HeadInUse or Illegal.Loop or Illegal.NextOutOfRange:
                ring.Break(kind);
                break;
            case Illegal.ReadableAfterWritable:
                ring.Offer(new Descriptor(buffer, 1, DescriptorFlags.Next | DescriptorFlags.Write, 0), new Descriptor(buffer, 1, DescriptorFlags.None, 0));
                break;
            case Illegal.IndirectNotNegotiated or Illegal.IndirectInIndirect:
                ring.Offer(new Descriptor(buffer, Descriptor.Size, DescriptorFlags.Indirect, 0));
                break;
            case Illegal.IndirectBadSize:
                ring.Offer(new Descriptor(buffer, 24, DescriptorFlags.Indirect, 0));
                break;
            case Illegal.IndirectWithNext:
                ring.Offer(new Descriptor(buffer, Descriptor.Size, DescriptorFlags.Indirect | DescriptorFlags.Next, 0), new Descriptor(buffer, 1, DescriptorFlags.None, 0));
                break;
            case Illegal.BufferOutsideMemory:
                ring.Offer(new Descriptor(_memory.End + 0x1000, 64, DescriptorFlags.None, 0));
                break;
            case Illegal.NoByte:
                ring.Offer(new Descriptor(buffer, 0, DescriptorFlags.None, 0));
                break;
            case Illegal.AddressWraps:
                ring.Offer(new Descriptor(ulong.MaxValue - 0xFFF, 0x2000, DescriptorFlags.None, 0));
                break;
            default:
                await BreakHostTwo(queue, kind);
                return;
        }

        await Notify(queue);
        await ExpectNeedsReset((queue.Plan.Packed, kind <= Illegal.HeadInUse) switch
        {
            (false, true) => CoveragePoint.DriverNeedsReset,
            (false, false) => CoveragePoint.ChainNeedsReset,
            (true, true) => CoveragePoint.PackedRingNeedsReset,
            (true, false) => CoveragePoint.PackedChainNeedsReset,
        });
    }

    private async Task BreakHostTwo(QueueState queue, Illegal kind)
    {
        // Wrong only once the scheduler looks at the ring: with a chain that it has offered.
        await OfferToHostTwo(queue);
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

    // A chain of 4 readable bytes, which host 2 has once this ends.
    private async Task OfferToHostTwo(QueueState queue)
    {
        ushort before = _run.BackEnd.Taken(_function, queue.Plan.Index);
        queue.Ring.Offer(new Descriptor(queue.Ring.OfferAddress, 4, DescriptorFlags.None, 0));
        await Notify(queue);
        await Until(() => _run.BackEnd.Taken(_function, queue.Plan.Index) != before, "a chain at host 2", MostLooks);
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
