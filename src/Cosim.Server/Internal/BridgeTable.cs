// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using Cosim.Server.Scenarios;
using Cosim.V1;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;

namespace Cosim.Server.Internal;

/// <summary>The bridges of a service by name. Disposing it ends them all.</summary>
internal sealed class BridgeTable(IBridgeFactory factory, TimeProvider time, CallerLimits limits, BridgeLedger? ledger) : IAsyncDisposable
{
    /// <summary>Streams that may watch one bridge: each costs its thread something at every look or TLP.</summary>
    internal const int MostWatchers = 64;

    private readonly Lock _admission = new();
    private readonly ConcurrentDictionary<string, Entry> _entries = new(StringComparer.Ordinal);
    private readonly CancellationTokenSource _closing = new();
    private int _closed;

    /// <summary>Raised after a bridge has gone, with the number of those that are left.</summary>
    internal event Action<int>? Removed;

    internal IEnumerable<Entry> All => _entries.Values.Where(e => e.IsReady).OrderBy(e => e.Scenario.Name, StringComparer.Ordinal);

    internal async Task<Entry> CreateAsync(Scenario scenario, CancellationToken cancellation)
    {
        IReadOnlyList<ScenarioViolation> violations = ScenarioRules.Check(scenario);
        if (violations.Count == 0 && !limits.Trusted)
        {
            violations = ScenarioPlaces.Check(scenario, limits.WorkFolder);
        }

        if (violations.Count > 0)
        {
            throw Errors.BadRequest("the scenario", violations);
        }

        Entry entry = new(scenario.Clone(), time.GetUtcNow().UtcDateTime);
        Admit(entry);

        try
        {
            using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(cancellation, _closing.Token);
            IBridge bridge = await factory.CreateAsync(entry.Scenario, either.Token);
            entry.Start(bridge);
            if (either.IsCancellationRequested)
            {
                // The service is stopping, or the caller has gone and will never hear of the bridge.
                await EndAsync(entry);
                throw new OperationCanceledException("The call was given up while the bridge was built.");
            }

            try
            {
                ledger?.Add(entry.Scenario);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                await EndAsync(entry);
                throw new BridgeException($"The service cannot keep the bridge's scenario: {e.Message}", e);
            }

            return entry;
        }
        catch
        {
            if (!entry.IsReady)
            {
                _entries.TryRemove(scenario.Name, out _);
                Removed?.Invoke(_entries.Count);
            }

            throw;
        }
        finally
        {
            entry.Built.TrySetResult();
        }
    }

    /// <summary>The bridge of that name; NOT_FOUND where there is none.</summary>
    internal Entry Find(string name) => _entries.TryGetValue(name, out Entry? entry) && entry.IsReady
        ? entry
        : throw new RpcException(new Grpc.Core.Status(StatusCode.NotFound, $"There is no bridge \"{Errors.Shorten(name)}\"."));

    /// <summary>Ends a bridge for good.</summary>
    internal async Task RemoveAsync(Entry entry)
    {
        ledger?.Remove(entry.Scenario.Name);
        await EndAsync(entry);
    }

    private async Task EndAsync(Entry entry)
    {
        try
        {
            await entry.EndAsync();
        }
        finally
        {
            if (_entries.TryRemove(KeyValuePair.Create(entry.Scenario.Name, entry)))
            {
                Removed?.Invoke(_entries.Count);
            }
        }
    }

    private void Admit(Entry entry)
    {
        string name = entry.Scenario.Name;
        lock (_admission)
        {
            if (_entries.ContainsKey(name))
            {
                throw new RpcException(new Grpc.Core.Status(StatusCode.AlreadyExists, $"There is a bridge \"{name}\" already: end it first, or choose another name."));
            }

            if (_entries.Count >= limits.MostBridges)
            {
                throw new RpcException(new Grpc.Core.Status(
                    StatusCode.ResourceExhausted, $"The service has {_entries.Count} bridges, as many as it may: end one first, or start the service with a higher --most-bridges."));
            }

            _entries[name] = entry;
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _closed, 1) != 0)
        {
            return;
        }

        await _closing.CancelAsync();
        await Task.WhenAll(_entries.Values.Select(async entry =>
        {
            await entry.Built.Task;
            if (entry.IsReady)
            {
                await EndAsync(entry);
            }
        }));
        _closing.Dispose();
    }

    /// <summary>One bridge; its name is taken before it is built.</summary>
    [SuppressMessage("Design", "CA1001", Justification = "The token outlives the bridge: watchers look at it after the end. It holds nothing but memory.")]
    internal sealed class Entry(Scenario scenario, DateTime created)
    {
        private readonly CancellationTokenSource _ended = new();
        private readonly Lock _lock = new();
        private IBridge? _bridge;
        private Task? _end;
        private int _watchers;

        internal Scenario Scenario { get; } = scenario;

        /// <summary>Ends when the bridge is there, or is known not to come.</summary>
        internal TaskCompletionSource Built { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        internal bool IsReady => Volatile.Read(ref _bridge) is not null;

        internal IBridge Bridge => _bridge ?? throw new InvalidOperationException($"The bridge {Scenario.Name} is still being built.");

        /// <summary>Cancelled when the bridge is about to end.</summary>
        internal CancellationToken Ended => _ended.Token;

        internal void Start(IBridge bridge) => Volatile.Write(ref _bridge, bridge);

        internal async Task<BridgeStatus> GetStatusAsync()
        {
            BridgeStatus status = _ended.IsCancellationRequested
                ? new BridgeStatus { State = BridgeStatus.Types.State.Stopping }
                : await Bridge.GetStatusAsync();
            status.Name = Scenario.Name;
            status.Scenario = Scenario;
            status.Created = Timestamp.FromDateTime(created);
            return status;
        }

        /// <summary>Counts a stream that watches; RESOURCE_EXHAUSTED where there are too many. <see cref="EndWatch"/> follows.</summary>
        internal void BeginWatch()
        {
            if (Interlocked.Increment(ref _watchers) > MostWatchers)
            {
                EndWatch();
                throw new RpcException(new Grpc.Core.Status(
                    StatusCode.ResourceExhausted, $"{MostWatchers} streams watch the bridge {Scenario.Name}, as many as may."));
            }
        }

        internal void EndWatch() => Interlocked.Decrement(ref _watchers);

        /// <summary>Ends the bridge once, however many ask for it; all wait for the same end.</summary>
        internal Task EndAsync()
        {
            lock (_lock)
            {
                return _end ??= DisposeBridgeAsync();
            }
        }

        private async Task DisposeBridgeAsync()
        {
            await _ended.CancelAsync();
            await Bridge.DisposeAsync();
        }
    }
}
