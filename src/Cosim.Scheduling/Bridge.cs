// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Cosim.Fpga;
using Cosim.VfioUser;

namespace Cosim.Scheduling;

/// <summary>Where a bridge stands.</summary>
public enum BridgeState
{
    /// <summary>The FPGA is being looked at; sockets do not exist yet.</summary>
    Starting,

    /// <summary>Sockets exist; no back end has described the devices yet.</summary>
    LinkDown,

    /// <summary>The devices are described (or the design is the user's own): host 1 is served.</summary>
    LinkUp,

    /// <summary>The FPGA is lost; <see cref="Bridge.Reset"/> brings it back.</summary>
    Failed,

    /// <summary>Ended.</summary>
    Stopped,
}

/// <summary>
/// The transaction scheduler: one bridge, one loop, one thread. It takes the hosts' transactions in the order they come, runs the
/// FPGA, serves its DMA and interrupts, keeps the shadow vrings in step, and sleeps when there is nothing to do.
/// </summary>
/// <remarks>Public members may be called from any thread; tasks end off the bridge's thread.</remarks>
public sealed partial class Bridge : IDisposable
{
    private static readonly long s_slice = Stopwatch.Frequency / 2000;

    private readonly BridgeOptions _options;
    private readonly EventLoop _loop = new();
    private readonly LoggedFpga _fpga;
    private readonly Port[] _ports;
    private readonly Action<string> _report;
    private readonly TimeProvider _time;
    private readonly TaskEnds _ends;
    private readonly Thread? _thread;
    private readonly Lock _postLock = new();
    private readonly TaskCompletionSource _started = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private List<Action> _posted = [];
    private List<Action> _posting = [];
    private readonly List<(byte[] Packet, ulong Cycle)> _early = [];
    private VirtioFpga? _virtio;
    private int _disposed;
    private bool _ended;
    private volatile bool _stop;
    private volatile BridgeState _state = BridgeState.Starting;
    private volatile string? _failure;
    private ulong _runLimit = 256;
    private long _busyTicks;

    /// <summary>Makes the FPGA and starts the bridge's thread.</summary>
    /// <exception cref="ArgumentException">Options that contradict each other or the FPGA.</exception>
    public Bridge(BridgeOptions options)
        : this(options, stepped: false)
    {
        _thread = new Thread(Run) { Name = $"bridge {options.Name}", IsBackground = true };
        _thread.Start();
    }

    /// <summary>A bridge without a thread, or one whose thread is yet to be started.</summary>
    internal Bridge(BridgeOptions options, bool stepped)
    {
        _options = options;
        ArgumentOutOfRangeException.ThrowIfZero(options.CompletionLatencyCycles, nameof(options));
        FpgaOptions fpga = options.Fpga with
        {
            SimulatorEnded = () => Post(static () => { }), // wakes the loop, which then sees it
            Report = TellOfSimulator,
        };
        _fpga = new LoggedFpga(options.MakeFpga(fpga), options.Stimuli);
        int links = Math.Min(_fpga.PortCount, 2);
        if (options.Hosts.Count > links)
        {
            _fpga.Dispose();
            throw new ArgumentException($"bridge {options.Name}: {options.Hosts.Count} hosts are given; the FPGA has {links} PCIe ports", nameof(options));
        }

        _ends = new TaskEnds(stepped);
        _time = stepped ? new SimulatedTime(_fpga, options.ClockHz) : TimeProvider.System;
        _report = stepped ? options.Log ?? (_ => { }) : new ReportLimiter(options.Log, TimeProvider.System).Report;
        if (options.RecordingFile is { } file)
        {
            RecordFromTheStart(file);
        }

        _ports = new Port[options.Hosts.Count];
        for (int i = 0; i < _ports.Length; i++)
        {
            _ports[i] = new Port(_fpga, _loop, i, options.Hosts[i], options, _ends, _report);
        }
    }

    /// <summary>Ends when the sockets exist; fails if they cannot be made or the FPGA is lost at once.</summary>
    public Task Started => _started.Task;

    /// <summary>Where the bridge stands.</summary>
    public BridgeState State => _state;

    /// <summary>Why the FPGA is lost, while <see cref="State"/> is <see cref="BridgeState.Failed"/>.</summary>
    public string? Failure => _failure;

    /// <summary>Told at each change of <see cref="State"/>, on the bridge's thread.</summary>
    public event EventHandler<BridgeState>? StateChanged;

    /// <summary>The options it was made with.</summary>
    public BridgeOptions Options => _options;

    /// <summary>What the bridge has done.</summary>
    /// <exception cref="ObjectDisposedException">The bridge has stopped.</exception>
    public Task<BridgeStatus> GetStatus() => Invoke(() => new BridgeStatus
    {
        State = _state,
        Failure = _failure ?? "",
        Cycles = _fpga.Cycle,
        SimulatedTime = TimeSpan.FromSeconds((double)_fpga.Cycle / _options.ClockHz),
        BusyTime = Stopwatch.GetElapsedTime(0, _busyTicks),
        Ports = [.. _ports.Select(port => port.Counters)],
        Functions = [.. _ports.SelectMany((port, number) => Enumerable.Range(0, port.Functions)
            .Select(f => new FunctionStatus(number, f, port.Socket(f), port.Attached(f))))],
        Recording = Volatile.Read(ref _recording)?.Status,
    });

    /// <summary>Runs an action on the bridge's thread, after those posted before.</summary>
    /// <returns>False if the bridge has stopped; the action is dropped.</returns>
    public bool Post(Action action)
    {
        lock (_postLock)
        {
            if (_ended)
            {
                return false;
            }

            _posted.Add(action);
            _loop.Wake();
            return true;
        }
    }

    /// <summary>Runs a function on the bridge's thread and gives its result.</summary>
    /// <exception cref="ObjectDisposedException">The bridge has stopped.</exception>
    public Task<T> Invoke<T>(Func<T> function)
    {
        TaskCompletionSource<T> done = _ends.Begin<T>();
        bool posted = Post(() =>
        {
            try
            {
                _ = _ends.End(done, function());
            }
            catch (Exception e)
            {
                done.SetException(e);
            }
        });
        if (!posted)
        {
            done.SetException(new ObjectDisposedException($"bridge {_options.Name}"));
        }

        return done.Task;
    }

    /// <summary>
    /// Brings the FPGA back to its state after power-on, also after its simulator was lost. Hosts see a device that was reset under them;
    /// the back end begins a new session.
    /// </summary>
    public Task Reset() => Invoke(ResetFpga);

    /// <summary>Ends the thread, the sockets and the simulator, and a recording. Not to be called on the bridge's thread.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }

        _stop = true;
        _loop.Wake();
        if (_thread is null)
        {
            End();
        }
        else
        {
            _thread.Join();
        }

        _fpga.Dispose();
        _recording?.Dispose();
        _loop.Dispose();
    }

    private bool ResetFpga()
    {
        VirtioFpga? former = _virtio;
        _virtio = null;
        former?.Abandon();
        _early.Clear();
        _fpga.Reset();
        _failure = null;
        foreach (Port port in _ports)
        {
            port.FpgaReset();
        }

        // The hosts' interrupts are set up again before the first one is raised.
        while (!Array.TrueForAll(_ports, port => port.IsIdle) && _failure is null)
        {
            _ = RunFpga();
        }

        if (_failure is { } failure)
        {
            throw new InvalidOperationException($"the FPGA is lost again: {failure}");
        }

        StartVirtio();
        _virtio?.CallBackEnd();
        SetState(_virtio is null ? BridgeState.LinkUp : BridgeState.LinkDown);
        return true;
    }

    private void Run()
    {
        try
        {
            Begin();
            _started.SetResult();
            while (!_stop)
            {
                RunPosted();
                _virtio?.CheckDeadline();
                bool idle = RunFpga();
                _ = _loop.RunOnce(idle ? Timeout() : 0);
            }
        }
        catch (Exception e)
        {
            _failure = e.Message;
            if (!_started.TrySetException(e))
            {
                _report($"bridge {_options.Name} ended: {e}");
            }
        }
        finally
        {
            End();
        }
    }

    /// <summary>Looks at the FPGA and creates the sockets.</summary>
    internal void Begin()
    {
        Discover();
        foreach (Port port in _ports)
        {
            // Host 1 waits until its devices are described; host 2 describes them, and a user's own design needs nobody.
            port.Listen(linkUp: _fpga.PortCount != 3 || port != _ports[0]);
        }

        StartVirtio();
        SetState(_virtio is null ? BridgeState.LinkUp : BridgeState.LinkDown);
    }

    private void End()
    {
        foreach (Port port in _ports)
        {
            port.Dispose();
        }

        SetState(BridgeState.Stopped);
        lock (_postLock)
        {
            _ended = true;
        }

        RunPosted();
        _ends.Run();
    }

    private void Discover()
    {
        foreach (Port port in _ports)
        {
            Task task = port.Discover();
            while (!task.IsCompleted)
            {
                _ = RunFpga();
                if (_stop || _fpga.Failure is not null)
                {
                    throw new InvalidOperationException(_fpga.Failure ?? "stopped");
                }
            }

            task.GetAwaiter().GetResult();
        }
    }

    private void StartVirtio()
    {
        if (_fpga.PortCount != 3)
        {
            return;
        }

        _virtio = new VirtioFpga(_fpga, _options, _time, _report, () =>
        {
            _ports[0].LinkUp = true;
            SetState(BridgeState.LinkUp);
        });

        // What a host did in the meantime: a reset of its device that nobody acknowledges would last for ever.
        foreach ((byte[] packet, ulong cycle) in _early)
        {
            _virtio.Receive(new FpgaPacket(_fpga.PortCount - 1, cycle, packet));
        }

        _early.Clear();
    }

    private void RunPosted()
    {
        lock (_postLock)
        {
            (_posted, _posting) = (_posting, _posted);
        }

        foreach (Action action in _posting)
        {
            action();
        }

        _posting.Clear();
    }

    private void TellOfSimulator(string line) => Post(() => _report($"bridge {_options.Name}: {line}"));

    // Runs the clock until there is nothing to do or the slice is over; true: nothing to do.
    private bool RunFpga()
    {
        if (_thread is null)
        {
            return RunOnce(_runLimit) is RunResult.Idle or RunResult.Failed; // how far must not hang on a clock
        }

        long start = Stopwatch.GetTimestamp();
        long now = start;
        try
        {
            while (true)
            {
                if (WaitsForHost())
                {
                    return true;
                }

                RunResult result = RunOnce(_runLimit);
                long before = now;
                now = Stopwatch.GetTimestamp();
                if (result is RunResult.Idle or RunResult.Failed)
                {
                    return true;
                }

                if (result == RunResult.Limit)
                {
                    _runLimit = now - before > s_slice ? Math.Max(_runLimit / 2, 64) : Math.Min(_runLimit * 2, 1 << 20);
                }

                if (now - start > s_slice)
                {
                    return false;
                }
            }
        }
        finally
        {
            _busyTicks += Stopwatch.GetTimestamp() - start;
        }
    }

    // A host was asked for memory: simulated time stands still until it answers, unless a host waits for the FPGA (see RootPort.WaitsForHost).
    private bool WaitsForHost()
    {
        bool waits = false;
        foreach (Port port in _ports)
        {
            waits |= port.WaitsForHost;
        }

        return waits && Array.TrueForAll(_ports, static port => port.IsIdle);
    }

    // Runs the clock up to an output or for so many cycles, and deals with what came out.
    private RunResult RunOnce(ulong limit)
    {
        foreach (Port port in _ports)
        {
            limit = Math.Min(limit, port.CyclesToTimeout());
        }

        RunResult result = _fpga.Run(limit, _options.CompletionLatencyCycles - 1);
        while (_fpga.TryReceive(out FpgaPacket packet))
        {
            Dispatch(packet);
        }

        if (result == RunResult.Failed)
        {
            Fail();
        }
        else
        {
            foreach (Port port in _ports)
            {
                port.Tick(_fpga.Cycle, result == RunResult.Idle);
            }
        }

        _ends.Run();
        return result;
    }

    private void Dispatch(in FpgaPacket packet)
    {
        if (packet.Port < _ports.Length)
        {
            _ports[packet.Port].Receive(packet.Bytes, packet.Cycle);
        }
        else if (_virtio is { } virtio)
        {
            virtio.Receive(packet);
        }
        else if (_fpga.PortCount == 3 && _failure is null)
        {
            _early.Add((packet.Bytes.ToArray(), packet.Cycle));
        }
    }

    private int Timeout()
    {
        long? deadline = _virtio?.Deadline;
        if (deadline is null)
        {
            return -1;
        }

        double left = (deadline.Value - Stopwatch.GetTimestamp()) * 1000.0 / Stopwatch.Frequency;
        return (int)Math.Clamp(left + 1, 0, 1_000_000);
    }

    private void Fail()
    {
        if (_failure is not null)
        {
            return;
        }

        _failure = _fpga.Failure ?? "the FPGA is lost";
        _report($"bridge {_options.Name}: {_failure}");
        _virtio?.Abandon();
        foreach (Port port in _ports)
        {
            port.FpgaLost();
        }

        SetState(BridgeState.Failed);
    }

    private void SetState(BridgeState state)
    {
        if (_state != state)
        {
            _state = state;
            StateChanged?.Invoke(this, state);
        }
    }
}
