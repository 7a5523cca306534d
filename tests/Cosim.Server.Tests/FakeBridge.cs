// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using System.Threading.Channels;
using Cosim.Pcie;
using Cosim.V1;

namespace Cosim.Server.Tests;

/// <summary>Makes fake bridges, and fails or waits as it is told.</summary>
internal sealed class FakeFactory : IBridgeFactory
{
    internal ConcurrentDictionary<string, FakeBridge> Bridges { get; } = new();

    internal string? Failure { get; set; }

    internal bool IgnoresCancellation { get; set; }

    internal TaskCompletionSource? Gate { get; set; }

    internal TaskCompletionSource Entered { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public void ClearLeftovers()
    {
    }

    public async Task<IBridge> CreateAsync(Scenario scenario, CancellationToken cancellation)
    {
        Entered.TrySetResult();
        if (Gate is { } gate)
        {
            await gate.Task.WaitAsync(IgnoresCancellation ? CancellationToken.None : cancellation);
        }

        return Failure is { } failure ? throw new BridgeException(failure) : Bridges[scenario.Name] = new FakeBridge();
    }
}

/// <summary>A bridge of one port with one function: 4 KiB of configuration space, BAR 0 of 4 KiB, 64 KiB of host memory.</summary>
internal sealed class FakeBridge : IBridge
{
    private readonly byte[] _config = new byte[4096];
    private readonly byte[] _bar = new byte[4096];
    private readonly byte[] _memory = new byte[65536];
    private readonly Channel<RaisedInterrupt> _interrupts = Channel.CreateUnbounded<RaisedInterrupt>();
    private readonly ConcurrentDictionary<ITlpObserver, bool> _observers = new();
    private readonly TaskCompletionSource _disposed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public event Action? Changed;

    internal BridgeStatus.Types.State State { get; private set; } = BridgeStatus.Types.State.LinkUp;

    internal ulong Cycles { get; set; }

    /// <summary>What was asked for by the last start of a recording.</summary>
    internal (string? File, bool Reset)? Recorded { get; private set; }

    internal byte[] Recording { get; set; } = [];

    /// <summary>Grows with each look at the status, as a bridge's own does.</summary>
    internal ulong BusyNs { get; private set; }

    internal int Resets { get; private set; }

    /// <summary>Thrown where its status is asked for.</summary>
    internal Exception? StatusFailure { get; set; }

    /// <summary>Thrown at its end.</summary>
    internal Exception? EndFailure { get; set; }

    internal int Observers => _observers.Count;

    internal Task Disposed => _disposed.Task;

    internal (int First, int Count)? Armed { get; private set; }

    public int Ports => 1;

    internal void SetState(BridgeStatus.Types.State state)
    {
        State = state;
        Changed?.Invoke();
    }

    internal void Raise(RaisedInterrupt interrupt) => _interrupts.Writer.TryWrite(interrupt);

    internal void Show(TlpDirection direction, ReadOnlySpan<byte> tlp, ulong cycle)
    {
        foreach (ITlpObserver observer in _observers.Keys)
        {
            observer.Observed(direction, tlp, cycle);
        }
    }

    public Task<BridgeStatus> GetStatusAsync() => StatusFailure is { } failure ? throw failure : Task.FromResult(new BridgeStatus { State = State, Counters = new Counters { Cycles = Cycles, BusyNs = ++BusyNs } });

    public Task ResetAsync()
    {
        Resets++;
        SetState(BridgeStatus.Types.State.LinkDown);
        return Task.CompletedTask;
    }

    public Task<RecordingStatus> StartRecordingAsync(string? file, bool reset)
    {
        Recorded = (file, reset);
        return Task.FromResult(new RecordingStatus { File = file ?? "new", Running = true });
    }

    public Task<RecordingStatus> StopRecordingAsync() => throw new BridgeException("nothing is recorded");

    public Task<Stream> OpenRecordingAsync() => Task.FromResult<Stream>(new MemoryStream(Recording));

    public Task<AccessResult> ReadConfigAsync(int port, int function, int offset, int length) => Read(port, function, _config, (ulong)offset, length);

    public Task<AccessResult> WriteConfigAsync(int port, int function, int offset, ReadOnlyMemory<byte> data) => Write(port, function, _config, (ulong)offset, data);

    public Task<AccessResult> ReadMemoryAsync(int port, int function, int bar, ulong offset, int length) => bar == 0
        ? Read(port, function, _bar, offset, length)
        : Task.FromResult(new AccessResult(AccessStatus.UnsupportedRequest, Enumerable.Repeat((byte)0xff, length).ToArray()));

    public Task<AccessResult> WriteMemoryAsync(int port, int function, int bar, ulong offset, ReadOnlyMemory<byte> data) => Write(port, function, _bar, offset, data);

    public Task<ReadOnlyMemory<byte>> ReadHostMemoryAsync(int port, ulong address, int length)
    {
        CheckMemory(address, length);
        return Task.FromResult<ReadOnlyMemory<byte>>(_memory.AsMemory((int)address, length));
    }

    public Task WriteHostMemoryAsync(int port, ulong address, ReadOnlyMemory<byte> data)
    {
        CheckMemory(address, data.Length);
        data.CopyTo(_memory.AsMemory((int)address));
        return Task.CompletedTask;
    }

    public Task ArmVectorsAsync(int port, int function, int start, int count)
    {
        Armed = (start, count);
        return Task.CompletedTask;
    }

    public Task<RaisedInterrupt> WaitInterruptAsync(int port, int function, CancellationToken cancellation) =>
        _interrupts.Reader.ReadAsync(cancellation).AsTask();

    public Task<IDisposable> ObserveAsync(int port, ITlpObserver observer)
    {
        _observers[observer] = true;
        return Task.FromResult<IDisposable>(new Observation(() => _observers.TryRemove(observer, out _)));
    }

    public ValueTask DisposeAsync()
    {
        _disposed.TrySetResult();
        return EndFailure is { } failure ? throw failure : ValueTask.CompletedTask;
    }

    private static Task<AccessResult> Read(int port, int function, byte[] space, ulong offset, int length)
    {
        Check(port, function);
        return Task.FromResult(new AccessResult(AccessStatus.Ok, space.AsMemory((int)offset, length)));
    }

    private static Task<AccessResult> Write(int port, int function, byte[] space, ulong offset, ReadOnlyMemory<byte> data)
    {
        Check(port, function);
        data.CopyTo(space.AsMemory((int)offset));
        return Task.FromResult(new AccessResult(AccessStatus.Ok, default));
    }

    private static void Check(int port, int function)
    {
        if (port != 0 || function != 0)
        {
            throw new BridgeException($"there is no function {function} on port {port}");
        }
    }

    private void CheckMemory(ulong address, int length)
    {
        if (address > (ulong)_memory.Length || (ulong)length > (ulong)_memory.Length - address)
        {
            throw new ArgumentOutOfRangeException(nameof(address), $"0x{address:X}+{length} is beyond the host's memory");
        }
    }

    private sealed class Observation(Action end) : IDisposable
    {
        public void Dispose() => end();
    }
}
