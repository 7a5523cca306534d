// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Scheduling.Rings;
using Cosim.Virtio;

namespace Cosim.Scheduling;

/// <summary>
/// One virtio function of port 0: gives it what the back end offers, starts and stops its queues as the driver's status says, and keeps
/// them through the loss of a back end.
/// </summary>
/// <remarks>
/// What concerns host 1 alone (stopping, the end of a reset) happens at once; what needs host 2's answers is done in order, one after the
/// other, in <see cref="InOrder"/>. Each reset begins a new generation; work of an older one stops at its next step.
/// </remarks>
internal sealed partial class VirtioFunction : IShadowQueueOwner
{
    private const uint NeedsReset = 1;
    private const uint ResetAck = 2;
    private const uint ConfigChanged = 4;
    private const uint GreatestQueueSize = 32768;
    private const int SmallestShadow = 2;

    private static readonly uint[] s_queueRegisters =
    [
        RegisterMap.Queue.Enable, RegisterMap.Queue.Size, RegisterMap.Queue.DescLo, RegisterMap.Queue.DescHi,
        RegisterMap.Queue.DriverLo, RegisterMap.Queue.DriverHi, RegisterMap.Queue.DeviceLo, RegisterMap.Queue.DeviceHi,
    ];

    private readonly ManagementPort _port;
    private readonly int _index;
    private readonly uint _registers;
    private readonly ShadowQueue[] _queues;
    private readonly Ring[] _rings;
    private readonly ulong _ringFeatures;
    private readonly Action<string> _report;
    private readonly Action<string> _backEndLost;
    private readonly Action _poolFreed;

    private BackEnd? _backEnd;
    private BackEndDevice? _device;
    private ulong _driverFeatures;
    private BackEnd? _connecting;
    private int _generation;
    private bool _driverOk;
    private bool _resetting;
    private bool _failed;
    private bool _attached;
    private int _attachedGeneration;
    private bool _toRelease;
    private bool _toStart;
    private bool _starting;
    private Task _work = Task.CompletedTask;
    private TaskCompletionSource? _quiet;
    private TaskCompletionSource? _queueQuiet;

    public VirtioFunction(
        ManagementPort port, int index, int queues, ulong ringFeatures, Action<string> report, Action<string> backEndLost, Action poolFreed)
    {
        _ringFeatures = ringFeatures;
        _port = port;
        _index = index;
        _registers = RegisterMap.Management.Function + ((uint)index * RegisterMap.Management.Function);
        _report = report;
        _backEndLost = backEndLost;
        _poolFreed = poolFreed;
        _queues = new ShadowQueue[queues];
        _rings = new Ring[queues];
        for (int q = 0; q < queues; q++)
        {
            _queues[q] = new ShadowQueue(port, this, index, (ushort)q, (ushort)(1 + (index * queues) + q));
        }
    }

    private struct Ring
    {
        public bool Allocated;
        public ulong Address;
        public ulong Length;
        public SplitVirtqueue Layout;

        // Grows with each reset of the queue: what was read of its registers before is of no use.
        public int Resets;

        // The FPGA waits for the end of the queue's reset.
        public bool Resetting;

        // The queue was notified without being served, and will be looked at.
        public bool Starting;

        // Host 2 will be asked to leave the ring.
        public bool Releasing;
    }

    /// <summary>Whether the function has been described to host 1.</summary>
    public bool Described => _device is not null;

    /// <summary>Takes what a back end offers. The first one describes the function; a later one has to fit that.</summary>
    public void Connect(BackEnd backEnd)
    {
        _connecting = backEnd;
        if (_device is null)
        {
            _device = backEnd.Devices[_index];
            _backEnd = backEnd;
            Describe(_device);
        }
        else
        {
            InOrder(async generation =>
            {
                await Quiet();
                if (_connecting != backEnd)
                {
                    return;
                }

                ForgetPool();
                _backEnd = backEnd;
                await Attach(generation, again: true);
            });
        }
    }

    /// <summary>The back end is gone: queues freeze, everything else stays.</summary>
    public void Disconnect()
    {
        _connecting = null;
        _backEnd = null;
        _attached = false;
        _stateParts.Clear();
        foreach (ShadowQueue queue in _queues)
        {
            queue.Freeze();
        }
    }

    /// <summary>The driver wrote device_status (0: a reset, also after a function level reset).</summary>
    public void StatusWritten(VirtioStatus status)
    {
        if (status == VirtioStatus.None)
        {
            Reset();
        }
        else if ((status & VirtioStatus.DriverOk) != 0 && !_driverOk && !_resetting)
        {
            _driverOk = true;
            if ((status & VirtioStatus.FeaturesOk) == 0)
            {
                Fail("the driver set DRIVER_OK without FEATURES_OK");
                return;
            }

            _toStart = true;
            StartInOrder();
        }
    }

    /// <summary>The driver notified a queue. One that is not served may have been enabled since DRIVER_OK (after its reset, virtio 1.3, 2.6.1).</summary>
    /// <param name="queue">Queue index.</param>
    /// <param name="value">What the driver wrote.</param>
    public void Notified(uint queue, uint value)
    {
        if (queue >= (uint)_queues.Length)
        {
            return;
        }

        if (_queues[queue].Running)
        {
            _queues[queue].Notify(value);
        }
        else if (_driverOk && !_failed && !_rings[queue].Starting)
        {
            StartLater(_queues[queue]);
        }
    }

    /// <summary>
    /// The driver resets a queue (VIRTIO_F_RING_RESET, virtio 1.3, 2.6.1): done as soon as none of its copies is under way; host 2 leaves
    /// the shadow ring later.
    /// </summary>
    public void QueueReset(uint queue)
    {
        if (queue >= (uint)_queues.Length || _resetting)
        {
            return;
        }

        ref Ring ring = ref _rings[queue];
        ring.Resetting = true;
        ring.Resets++;
        _queues[queue].Stop();
        if (!ring.Releasing)
        {
            ring.Releasing = true;
            InOrder(_ => ReleaseQueue(_queues[queue]));
        }
    }

    /// <summary>The back end used buffers of a queue.</summary>
    public void Called(uint queue)
    {
        if (queue < (uint)_queues.Length)
        {
            _queues[queue].Call();
        }
    }

    /// <summary>Memory went back to the pool: what waits for some tries again.</summary>
    public void RetryPool()
    {
        foreach (ShadowQueue queue in _queues)
        {
            queue.RetryPool();
        }
    }

    bool IShadowQueueOwner.MayOffer => _untoldWrites == 0;

    void IShadowQueueOwner.QueueFailed(ShadowQueue queue, string reason) => Fail($"queue {queue.Index}: {reason}");

    void IShadowQueueOwner.PoolLost(string reason) => _backEndLost(reason);

    void IShadowQueueOwner.PoolFreed() => _poolFreed();

    void IShadowQueueOwner.BusMasterDisabled()
    {
        InOrder(FindDisabledBusMaster);

        // DMA_DONE does not say whose it is. A function level reset clears it too, and is told by events of its own.
        async Task FindDisabledBusMaster(int generation)
        {
            const uint resetPending = 1 << 8;
            BackEnd? backEnd = _backEnd;
            uint status = await ReadRegister(RegisterMap.Function.Status);
            if (generation != _generation || (status & resetPending) != 0 || backEnd is null || backEnd != _backEnd)
            {
                return;
            }

            CopyStatus hostTwo = await Probe(backEnd.Pool.Start);
            if (hostTwo == CopyStatus.BusMasterDisabled && backEnd == _backEnd)
            {
                _backEndLost("Bus Master Enable of host 2's endpoint is 0");
            }
            else if (generation == _generation)
            {
                Fail("Bus Master Enable was cleared while buffers are in use");
            }
        }
    }

    void IShadowQueueOwner.QueueQuiet(ShadowQueue queue)
    {
        ref Ring ring = ref _rings[queue.Index];
        if (ring.Resetting)
        {
            ring.Resetting = false;
            WriteRegister(QueueRegisters(queue) + RegisterMap.Queue.Reset, 1);
        }

        TaskCompletionSource? queueQuiet = _queueQuiet;
        _queueQuiet = null;
        queueQuiet?.SetResult();
        if (Array.Exists(_queues, q => q.Busy))
        {
            return;
        }

        if (_resetting)
        {
            _resetting = false;
            WriteRegister(RegisterMap.Function.Control, ResetAck);
        }

        TaskCompletionSource? quiet = _quiet;
        _quiet = null;
        quiet?.SetResult();
    }

    private void Fail(string reason)
    {
        if (_failed)
        {
            return;
        }

        _failed = true;
        _report($"function {_index}: {reason}; DEVICE_NEEDS_RESET");
        WriteRegister(RegisterMap.Function.Control, NeedsReset);
        foreach (ShadowQueue queue in _queues)
        {
            queue.Stop();
        }
    }

    private void Reset()
    {
        _generation++;
        _driverOk = false;
        _failed = false;
        _resetting = true;
        _configuration.ForgetWritten();
        _state = null;
        foreach (ShadowQueue queue in _queues)
        {
            _rings[queue.Index].Resetting = false;
            queue.Stop();
        }

        // However often a driver resets while host 2 makes it wait, one release and one start are to be done.
        _toStart = false;
        if (!_toRelease)
        {
            _toRelease = true;
            InOrder(Release);
        }
    }

    private void StartInOrder()
    {
        if (!_starting)
        {
            _starting = true;
            InOrder(_ => Start());
        }
    }

    private async Task Start()
    {
        _starting = false;
        if (!_toStart)
        {
            return;
        }

        if (_toRelease)
        {
            StartInOrder(); // behind the release of the session before
            return;
        }

        _toStart = false;
        int generation = _generation;
        Task<uint> low = ReadRegister(RegisterMap.Function.DriverFeaturesLo);
        Task<uint> high = ReadRegister(RegisterMap.Function.DriverFeaturesHi);
        int[] resets = [.. _rings.Select(ring => ring.Resets)];
        Task<uint[]>[] registers = [.. _queues.Select(ReadQueue)];
        uint[][] values = await Task.WhenAll(registers);
        _driverFeatures = await low | ((ulong)await high << 32);
        if (generation != _generation)
        {
            return;
        }

        foreach (ShadowQueue queue in _queues)
        {
            if (resets[queue.Index] == _rings[queue.Index].Resets)
            {
                StartQueue(queue, values[queue.Index]);
            }
        }

        await Attach(generation, again: false);
    }

    private void StartLater(ShadowQueue queue)
    {
        _rings[queue.Index].Starting = true;
        InOrder(generation => StartLate(generation, queue));
    }

    private async Task StartLate(int generation, ShadowQueue queue)
    {
        _rings[queue.Index].Starting = false;
        if (generation != _generation || queue.Running || _failed)
        {
            return;
        }

        if (_rings[queue.Index].Releasing)
        {
            StartLater(queue); // behind the release of what the queue was before
            return;
        }

        int resets = _rings[queue.Index].Resets;
        uint[] registers = await ReadQueue(queue);
        if (generation != _generation || resets != _rings[queue.Index].Resets || _failed)
        {
            return;
        }

        StartQueue(queue, registers);
        if (_backEnd is { } backEnd && _attached && queue.Running && await SetUp(backEnd, queue))
        {
            await Enable(generation, backEnd, queue);
        }
    }

    private Task<uint[]> ReadQueue(ShadowQueue queue) => Task.WhenAll(s_queueRegisters.Select(register => ReadRegister(QueueRegisters(queue) + register)));

    private void StartQueue(ShadowQueue queue, uint[] value)
    {
        if ((value[0] & 1) != 0)
        {
            queue.Start(new HostQueue(
                (ushort)value[1],
                value[2] | ((ulong)value[3] << 32),
                value[4] | ((ulong)value[5] << 32),
                value[6] | ((ulong)value[7] << 32),
                _driverFeatures));
        }
    }

    // Step 3 of a back end's life; again: for a back end that has taken the place of another one.
    private async Task Attach(int generation, bool again)
    {
        if (_backEnd is not { } backEnd)
        {
            return;
        }

        bool inUse = _driverOk && !_toStart && generation == _generation && !_failed;
        if (backEnd.Mismatch(_index, _device!, inUse ? _driverFeatures : 0) is { } mismatch)
        {
            if (inUse)
            {
                Fail(mismatch);
            }

            return;
        }

        if (inUse)
        {
            ulong features = VirtioFeatures.DeviceType(_driverFeatures) | VirtioFeatures.Version1 | VirtioFeatures.VhostUserProtocolFeatures
                | (HasEventIdx(backEnd) ? VirtioFeatures.RingEventIdx : 0);
            await backEnd.Link.Command(_index, MailboxRequest.SetFeatures, BackEnd.U64(features));
        }

        if (again)
        {
            if (inUse && _state is { } state)
            {
                await RestoreState(backEnd, state);
            }

            await TellAgain(backEnd);
        }

        if (!inUse || generation != _generation || _failed)
        {
            return;
        }

        foreach (ShadowQueue queue in _queues)
        {
            if (queue.Running && !await SetUp(backEnd, queue))
            {
                return;
            }
        }

        _attached = true;
        _attachedGeneration = generation;
        _stateParts.Clear();
        foreach (ShadowQueue queue in _queues)
        {
            if (_rings[queue.Index].Allocated)
            {
                await Enable(generation, backEnd, queue);
            }
        }

        await backEnd.Link.Command(_index, MailboxRequest.SetStatus, BackEnd.U64((ulong)(VirtioStatus.Acknowledge | VirtioStatus.Driver | VirtioStatus.FeaturesOk | VirtioStatus.DriverOk)));
    }

    private bool HasEventIdx(BackEnd backEnd) => (backEnd.Devices[_index].Features & VirtioFeatures.RingEventIdx) != 0;

    // Gives a queue a shadow ring and tells host 2 of it; false: there is no going on.
    private async Task<bool> SetUp(BackEnd backEnd, ShadowQueue queue)
    {
        if (!Allocate(ref _rings[queue.Index], queue, backEnd.Pool))
        {
            Fail($"queue {queue.Index}: the pool has no room for its ring");
            return false;
        }

        SplitVirtqueue layout = _rings[queue.Index].Layout;
        await Clear(layout);
        if (_backEnd != backEnd)
        {
            return false;
        }

        await backEnd.Link.Command(_index, MailboxRequest.SetVringNum, VringState(queue.Index, layout.Size));
        await backEnd.Link.Command(_index, MailboxRequest.SetVringBase, VringState(queue.Index, 0));
        await backEnd.Link.Command(_index, MailboxRequest.SetVringAddr, VringAddress(queue.Index, layout));
        return true;
    }

    private async Task Enable(int generation, BackEnd backEnd, ShadowQueue queue)
    {
        await backEnd.Link.Command(_index, MailboxRequest.SetVringEnable, VringState(queue.Index, 1));
        if (generation == _generation && _backEnd == backEnd && queue.Running)
        {
            queue.Attach(_rings[queue.Index].Layout, backEnd.Share(_index), HasEventIdx(backEnd));
        }
    }

    // Step 4 of a back end's life. Nobody waits for it but the next start.
    private async Task Release(int generation)
    {
        _toRelease = false;
        await Quiet();
        if (_backEnd is { } backEnd && Array.Exists(_rings, ring => ring.Allocated))
        {
            foreach (ShadowQueue queue in _queues)
            {
                if (_rings[queue.Index].Allocated && _attached)
                {
                    await backEnd.Link.Command(_index, MailboxRequest.SetVringEnable, VringState(queue.Index, 0));
                    _ = await backEnd.Link.Request(_index, MailboxRequest.GetVringBase, VringState(queue.Index, 0), 8);
                }
            }

            await backEnd.Link.Command(_index, MailboxRequest.ResetDevice, []);
            if (_backEnd == backEnd)
            {
                foreach (ShadowQueue queue in _queues)
                {
                    ReleaseRing(backEnd, queue);
                }

                _poolFreed();
            }
        }

        _attached = false;
    }

    // The same for one queue, while the others go on.
    private async Task ReleaseQueue(ShadowQueue queue)
    {
        _rings[queue.Index].Releasing = false;
        if (queue.Running)
        {
            return; // begun after its reset, and had no ring before
        }

        while (queue.Busy)
        {
            _queueQuiet ??= new TaskCompletionSource();
            await _queueQuiet.Task;
        }

        if (_backEnd is not { } backEnd || !_rings[queue.Index].Allocated)
        {
            return;
        }

        if (_attached)
        {
            await backEnd.Link.Command(_index, MailboxRequest.SetVringEnable, VringState(queue.Index, 0));
            _ = await backEnd.Link.Request(_index, MailboxRequest.GetVringBase, VringState(queue.Index, 0), 8);
        }

        if (_backEnd == backEnd)
        {
            ReleaseRing(backEnd, queue);
            _poolFreed();
        }
    }

    private void ReleaseRing(BackEnd backEnd, ShadowQueue queue)
    {
        queue.ReleaseBuffers();
        ref Ring ring = ref _rings[queue.Index];
        if (ring.Allocated)
        {
            backEnd.Pool.Release(ring.Address, ring.Length);
            ring.Allocated = false;
        }
    }

    private void ForgetPool()
    {
        foreach (ShadowQueue queue in _queues)
        {
            queue.ForgetBuffers();
            _rings[queue.Index].Allocated = false;
        }
    }

    private Task Quiet()
    {
        if (!Array.Exists(_queues, q => q.Busy))
        {
            return Task.CompletedTask;
        }

        _quiet ??= new TaskCompletionSource();
        return _quiet.Task;
    }

    private void InOrder(Func<int, Task> action)
    {
        int generation = _generation;
        _work = Run(_work);

        async Task Run(Task before)
        {
            await before;
            try
            {
                await action(generation);
            }
            catch (BackEndException e)
            {
                if (_backEnd is not null)
                {
                    _backEndLost(e.Message);
                }
            }
            catch (Exception e)
            {
                // Whatever it is, it ends this function's work and nothing else.
                _report($"function {_index}: {e}");
                Fail(e.Message);
            }
        }
    }

    private void Describe(BackEndDevice device)
    {
        WriteRegister(RegisterMap.Function.PciId, 0x1AF4 | ((0x1040u + (uint)device.DeviceId) << 16));
        WriteRegister(RegisterMap.Function.ClassRevision, device.ClassRevision);
        WriteRegister(RegisterMap.Function.Subsystem, device.Subsystem);
        ulong features = VirtioFeatures.DeviceType(device.Features) | VirtioFeatures.Version1 | _ringFeatures;
        WriteRegister(RegisterMap.Function.DeviceFeaturesLo, (uint)features);
        WriteRegister(RegisterMap.Function.DeviceFeaturesHi, (uint)(features >> 32));
        WriteRegister(RegisterMap.Function.NumQueues, (uint)device.Queues);
        for (int q = 0; q < _queues.Length; q++)
        {
            uint limit = q < device.Queues ? Math.Min(device.QueueSizeLimit, GreatestQueueSize) : 0;
            WriteRegister(RegisterMap.Function.Queue + ((uint)q * 0x40) + RegisterMap.Queue.SizeLimit, limit);
        }

        _configuration.Describe(device.Configuration);
        WriteConfiguration(0, device.Configuration.Length);
    }

    // A shorter ring serves too: chains wait for their places in it.
    private static bool Allocate(ref Ring ring, ShadowQueue queue, BufferPool pool)
    {
        for (int size = ShadowRing.SizeFor(queue.HostSize); size >= SmallestShadow; size /= 2)
        {
            ulong available = (ulong)SplitVirtqueue.DescriptorTableBytes(size);
            ulong used = (available + (ulong)SplitVirtqueue.AvailableBytes(size) + 63) & ~63UL;
            ring.Length = used + (ulong)SplitVirtqueue.UsedBytes(size);
            if (pool.BlockSize(ring.Length) <= pool.MaxAllocation / 4 && pool.TryAllocate(ring.Length, out ring.Address))
            {
                ring.Allocated = true;
                ring.Layout = new SplitVirtqueue((ushort)size, ring.Address, ring.Address + available, ring.Address + used);
                return true;
            }
        }

        return false;
    }

    private async Task Clear(SplitVirtqueue ring)
    {
        await Zero(ring.Available, 4);
        await Zero(ring.UsedEvent, 2);
        await Zero(ring.Used, 4);
        await Zero(ring.AvailableEvent, 2);
    }

    private Task Zero(ulong address, int length)
    {
        CopyWaiter waiter = new();
        Span<byte> zeros = stackalloc byte[length];
        zeros.Clear();
        _port.Dma.Write(DmaSpace.Host2, 0, address, zeros, waiter, 0);
        return waiter.Done.Task;
    }

    private Task<CopyStatus> Probe(ulong address)
    {
        StatusWaiter waiter = new();
        _port.Dma.Read(DmaSpace.Host2, 0, address, 4, waiter, 0);
        return waiter.Done.Task;
    }

    private static byte[] VringState(ushort queue, uint value)
    {
        byte[] payload = new byte[8];
        BinaryPrimitives.WriteUInt32LittleEndian(payload, queue);
        BinaryPrimitives.WriteUInt32LittleEndian(payload.AsSpan(4), value);
        return payload;
    }

    private static byte[] VringAddress(ushort queue, in SplitVirtqueue ring)
    {
        byte[] payload = new byte[40];
        BinaryPrimitives.WriteUInt32LittleEndian(payload, queue);
        BinaryPrimitives.WriteUInt64LittleEndian(payload.AsSpan(8), ring.DescriptorTable);
        BinaryPrimitives.WriteUInt64LittleEndian(payload.AsSpan(16), ring.Used);
        BinaryPrimitives.WriteUInt64LittleEndian(payload.AsSpan(24), ring.Available);
        return payload;
    }

    private static uint QueueRegisters(ShadowQueue queue) => RegisterMap.Function.Queue + (queue.Index * 0x40u);

    private void WriteRegister(uint offset, uint value) => _port.WriteRegister(_registers + offset, value);

    private Task<uint> ReadRegister(uint offset) => _port.ReadRegister(_registers + offset);

    private sealed class StatusWaiter : IDmaClient
    {
        public TaskCompletionSource<CopyStatus> Done { get; } = new();

        public void CopyDone(uint context, CopyStatus status, ReadOnlySpan<byte> data) => Done.SetResult(status);
    }

    private sealed class CopyWaiter : IDmaClient
    {
        public TaskCompletionSource Done { get; } = new();

        public void CopyDone(uint context, CopyStatus status, ReadOnlySpan<byte> data)
        {
            if (status == CopyStatus.Ok)
            {
                Done.SetResult();
            }
            else
            {
                Done.SetException(new BackEndException($"host 2's pool cannot be written ({status})"));
            }
        }
    }
}
