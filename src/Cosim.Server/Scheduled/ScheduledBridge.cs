// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics.CodeAnalysis;
using Cosim.Guests;
using Cosim.Pcie;
using Cosim.Scheduling;
using Cosim.V1;
using HostStatus = Cosim.V1.HostStatus;

namespace Cosim.Server.Scheduled;

/// <summary>A bridge of the scheduler together with the hosts that were started for it.</summary>
internal sealed class ScheduledBridge : IBridge
{
    private static readonly TimeSpan s_hostBoot = TimeSpan.FromSeconds(120);

    private readonly Scenario _scenario;
    private readonly Bridge _bridge;
    private readonly HostStarter _starter;
    private readonly string _recordings;
    private readonly CancellationTokenSource _stopping = new();
    private readonly TaskCompletionSource _linkUp = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _lock = new();
    private readonly List<StartedHost> _hosts = [];
    private readonly Dictionary<int, HostStatus.Types.State> _hostStates = [];
    private string? _hostFailure;
    private Task _starting = Task.CompletedTask;

    internal ScheduledBridge(Scenario scenario, Bridge bridge, HostStarter starter, string recordings)
    {
        _scenario = scenario;
        _bridge = bridge;
        _starter = starter;
        _recordings = recordings;
        bridge.StateChanged += OnStateChanged;
        bridge.RecordingChanged += OnRecordingChanged;
    }

    public event Action? Changed;

    public int Ports => _bridge.Options.Hosts.Count;

    /// <summary>Starts host 2, then, once the link is up, host 1. Ends when host 2's QEMU or process runs; the rest goes on beside.</summary>
    internal async Task StartHostsAsync(CancellationToken cancellation)
    {
        for (int port = 0; port < Ports; port++)
        {
            if (HostStarter.IsStarted(ScenarioOptions.Host(_scenario, port)))
            {
                _hostStates[port] = HostStatus.Types.State.Starting;
            }
        }

        StartedHost? host2 = Ports > 1 ? await StartHostAsync(1, cancellation) : null;
        _starting = FinishAsync(host2);
    }

    public async Task<V1.BridgeStatus> GetStatusAsync()
    {
        Scheduling.BridgeStatus status = await _bridge.GetStatus();
        V1.BridgeStatus told = new()
        {
            State = status.State switch
            {
                BridgeState.Starting => V1.BridgeStatus.Types.State.Starting,
                BridgeState.LinkDown => V1.BridgeStatus.Types.State.LinkDown,
                BridgeState.LinkUp => V1.BridgeStatus.Types.State.LinkUp,
                BridgeState.Failed => V1.BridgeStatus.Types.State.Failed,
                _ => V1.BridgeStatus.Types.State.Stopping,
            },
            Error = status.Failure,
            Counters = new Counters
            {
                Cycles = status.Cycles,
                SimulatedNs = (ulong)status.SimulatedTime.TotalNanoseconds,
                BusyNs = (ulong)status.BusyTime.TotalNanoseconds,
                Ports = { status.Ports.Select(ToCounters) },
            },
            Functions =
            {
                status.Functions.Select(f => new V1.FunctionStatus { Port = (uint)f.Port, Function = (uint)f.Function, Socket = f.Socket, Attached = f.Attached }),
            },
        };
        if (status.Recording is { } recording)
        {
            told.Recording = ToStatus(recording);
        }

        lock (_lock)
        {
            if (_hostFailure is not null)
            {
                told.State = V1.BridgeStatus.Types.State.Failed;
                told.Error = _hostFailure;
            }

            told.Hosts.Add(_hostStates.OrderBy(s => s.Key).Select(s => new HostStatus
            {
                Port = (uint)s.Key,
                State = s.Value,
                Console = _hosts.FirstOrDefault(h => h.Port == s.Key)?.Console ?? string.Empty,
            }));
        }

        return told;
    }

    public Task ResetAsync() => _bridge.Reset();

    public async Task<V1.RecordingStatus> StartRecordingAsync(string? file, bool reset)
    {
        try
        {
            Directory.CreateDirectory(_recordings);
            string path = Path.Combine(_recordings, file ?? NewRecording());
            if (new FileInfo(path).LinkTarget is { } target)
            {
                throw new BridgeException($"The recording cannot be made: {path} is a link to {target}.");
            }

            return await TranslateAsync(async () =>
            {
                await _bridge.StartRecording(path, reset);
                return ToStatus((await _bridge.GetStatus()).Recording!);
            });
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BridgeException($"The recording cannot be made: {e.Message}", e);
        }
    }

    public Task<V1.RecordingStatus> StopRecordingAsync() => TranslateAsync(async () => ToStatus(await _bridge.StopRecording()));

    public async Task<Stream> OpenRecordingAsync()
    {
        Scheduling.Stimuli.RecordingStatus recording = (await _bridge.GetStatus()).Recording
            ?? throw new BridgeException($"The bridge {_scenario.Name} has no recording.");
        try
        {
            return new FileStream(recording.File, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BridgeException($"The recording cannot be read: {e.Message}", e);
        }
    }

    public Task<AccessResult> ReadConfigAsync(int port, int function, int offset, int length) =>
        AccessAsync(() => _bridge.ReadConfig(port, function, offset, length));

    public Task<AccessResult> WriteConfigAsync(int port, int function, int offset, ReadOnlyMemory<byte> data) =>
        AccessAsync(() => _bridge.WriteConfig(port, function, offset, data.ToArray()));

    public Task<AccessResult> ReadMemoryAsync(int port, int function, int bar, ulong offset, int length) =>
        AccessAsync(() => _bridge.ReadMemory(port, function, bar, offset, length));

    public Task<AccessResult> WriteMemoryAsync(int port, int function, int bar, ulong offset, ReadOnlyMemory<byte> data) =>
        AccessAsync(() => _bridge.WriteMemory(port, function, bar, offset, data.ToArray()));

    public Task<ReadOnlyMemory<byte>> ReadHostMemoryAsync(int port, ulong address, int length) =>
        TranslateAsync<ReadOnlyMemory<byte>>(async () => await _bridge.ReadHostMemory(port, address, length));

    public Task WriteHostMemoryAsync(int port, ulong address, ReadOnlyMemory<byte> data) => TranslateAsync(async () =>
    {
        await _bridge.WriteHostMemory(port, address, data);
        return true;
    });

    public Task ArmVectorsAsync(int port, int function, int start, int count) => TranslateAsync(async () =>
    {
        await _bridge.ArmVectors(port, function, start, count);
        return true;
    });

    public Task<RaisedInterrupt> WaitInterruptAsync(int port, int function, CancellationToken cancellation) => TranslateAsync(async () =>
    {
        HostInterrupt interrupt = await _bridge.WaitInterrupt(port, function, cancellation);
        return new RaisedInterrupt(interrupt.Vector < 0 ? null : interrupt.Vector, interrupt.Cycle);
    });

    public async Task<IDisposable> ObserveAsync(int port, ITlpObserver observer)
    {
        await _bridge.Observe(port, observer);
        return new Observation(_bridge, port, observer);
    }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        _bridge.StateChanged -= OnStateChanged;
        _bridge.RecordingChanged -= OnRecordingChanged;
        try
        {
            await _starting;
        }
        catch (OperationCanceledException)
        {
            // A host was about to start; what there was of it is gone.
        }

        // Hosts first: a guest that sees its device vanish would only complain.
        foreach (StartedHost host in Enumerable.Reverse(_hosts))
        {
            await host.DisposeAsync();
        }

        await Task.Run(_bridge.Dispose);
        _starter.Dispose();
        _stopping.Dispose();
    }

    private static PortCounters ToCounters(RootPortCounters counters) => new()
    {
        TlpsToFpga = counters.TlpsSent,
        TlpsToHost = counters.TlpsReceived,
        BytesToFpga = counters.BytesSent,
        BytesToHost = counters.BytesReceived,
        Interrupts = counters.MsixInterrupts + counters.IntxInterrupts,
        Errors = counters.Malformed + counters.UnexpectedCompletions + counters.Unsupported + counters.DmaErrors + counters.Timeouts
            + counters.RequestErrors,
    };

    private static V1.RecordingStatus ToStatus(Scheduling.Stimuli.RecordingStatus recording) => new()
    {
        File = recording.File,
        Running = recording.IsRunning,
        Inputs = recording.Inputs,
        Outputs = recording.Outputs,
        Bytes = recording.Bytes,
        Failure = recording.Failure,
    };

    // The first that is not there yet.
    private string NewRecording() => Enumerable.Range(1, int.MaxValue).Select(number => $"{_scenario.Name}-{number}.stim").First(file => !File.Exists(Path.Combine(_recordings, file)));

    private static AccessStatus ToStatus(Pcie.HostStatus status) => status switch
    {
        Pcie.HostStatus.Ok => AccessStatus.Ok,
        Pcie.HostStatus.UnsupportedRequest => AccessStatus.UnsupportedRequest,
        Pcie.HostStatus.CompleterAbort => AccessStatus.CompleterAbort,
        Pcie.HostStatus.Timeout => AccessStatus.CompletionTimeout,
        Pcie.HostStatus.BadCompletion => AccessStatus.BadCompletion,
        _ => AccessStatus.LinkDown,
    };

    private static Task<AccessResult> AccessAsync(Func<Task<TransactionResult>> access) => TranslateAsync(async () =>
    {
        TransactionResult result = await access();
        return new AccessResult(ToStatus(result.Status), result.Data);
    });

    private static async Task<T> TranslateAsync<T>(Func<Task<T>> action)
    {
        try
        {
            return await action();
        }
        catch (InvalidOperationException e) when (e is not ObjectDisposedException)
        {
            throw new BridgeException(e.Message, e);
        }
    }

    private void OnStateChanged(object? sender, BridgeState state)
    {
        if (state == BridgeState.LinkUp)
        {
            _linkUp.TrySetResult();
        }

        Changed?.Invoke();
    }

    private void OnRecordingChanged(object? sender, EventArgs e) => Changed?.Invoke();

    private async Task FinishAsync(StartedHost? host2)
    {
        try
        {
            if (host2 is not null)
            {
                await WaitUntilReadyAsync(host2);
                await WaitForLinkAsync(host2);
            }
            else if (HostStarter.IsStarted(_scenario.Host1))
            {
                await ReachedLinkAsync().WaitAsync(_stopping.Token);
            }

            if (await StartHostAsync(0, _stopping.Token) is { } host1)
            {
                await WaitUntilReadyAsync(host1);
            }
        }
        catch (Exception e) when (e is GuestException or BridgeException)
        {
            lock (_lock)
            {
                _hostFailure = e.Message;
            }

            Changed?.Invoke();
        }
    }

    [SuppressMessage("Reliability", "CA2000", Justification = "The bridge disposes its hosts.")]
    private async Task<StartedHost?> StartHostAsync(int port, CancellationToken cancellation)
    {
        StartedHost? host = await _starter.StartAsync(port, cancellation);
        if (host is null)
        {
            return null;
        }

        lock (_lock)
        {
            _hosts.Add(host);
        }

        _ = host.Ended.ContinueWith(
            _ => SetHostState(port, HostStatus.Types.State.Ended), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        return host;
    }

    private TimeSpan HostBoot => ScenarioOptions.OrDefault(_scenario.Timeouts?.HostBoot, s_hostBoot);

    private async Task WaitUntilReadyAsync(StartedHost host)
    {
        await host.WaitUntilReadyAsync(HostBoot, _stopping.Token);
        if (!host.Ended.IsCompleted)
        {
            SetHostState(host.Port, HostStatus.Types.State.Running);
        }
    }

    private async Task WaitForLinkAsync(StartedHost host2)
    {
        Task link = ReachedLinkAsync();
        using CancellationTokenSource waited = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token);
        Task<string> ended = host2.WaitUntilServiceEndsAsync(waited.Token);
        try
        {
            if (await Task.WhenAny(link, ended).WaitAsync(HostBoot, _stopping.Token) != link)
            {
                throw new BridgeException(await ended);
            }
        }
        catch (TimeoutException e)
        {
            throw new BridgeException(
                $"Host 2's back end did not answer its mailbox within {HostBoot.TotalSeconds:0.#} s: the devices are not configured. {host2.Said}", e);
        }
        finally
        {
            await waited.CancelAsync();
        }
    }

    private Task ReachedLinkAsync()
    {
        // The link may have come up before anybody listened for it.
        if (_bridge.State == BridgeState.LinkUp)
        {
            _linkUp.TrySetResult();
        }

        return _linkUp.Task;
    }

    private void SetHostState(int port, HostStatus.Types.State state)
    {
        lock (_lock)
        {
            if (_hostStates[port] == HostStatus.Types.State.Ended)
            {
                return;
            }

            _hostStates[port] = state;
        }

        Changed?.Invoke();
    }

    private sealed class Observation(Bridge bridge, int port, ITlpObserver observer) : IDisposable
    {
        // The bridge may have ended meanwhile, and with it the observation.
        public void Dispose() => _ = bridge.EndObservation(port, observer).ContinueWith(
            static t => t.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
    }
}
