// SPDX-License-Identifier: Apache-2.0
using System.Threading.Channels;
using Cosim.V1;
using Grpc.Core;

namespace Cosim.Server.Internal;

/// <summary>cosim.v1.Bridges.</summary>
internal sealed class BridgesService(BridgeTable table, TimeProvider time) : Bridges.BridgesBase
{
    private static readonly TimeSpan s_defaultInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_shortestInterval = TimeSpan.FromMilliseconds(10);

    public override Task<BridgeStatus> Create(Scenario request, ServerCallContext context) => Errors.TranslateAsync(async () =>
    {
        BridgeTable.Entry entry = await table.CreateAsync(request, context.CancellationToken);
        return await entry.GetStatusAsync();
    });

    public override Task<BridgeStatus> Get(GetBridgeRequest request, ServerCallContext context) =>
        Errors.TranslateAsync(table.Find(request.Name).GetStatusAsync);

    public override Task<ListBridgesResponse> List(ListBridgesRequest request, ServerCallContext context) => Errors.TranslateAsync(async () =>
    {
        ListBridgesResponse response = new();
        foreach (BridgeTable.Entry entry in table.All)
        {
            response.Bridges.Add(await entry.GetStatusAsync());
        }

        return response;
    });

    public override Task<DeleteBridgeResponse> Delete(DeleteBridgeRequest request, ServerCallContext context) => Errors.TranslateAsync(async () =>
    {
        await table.RemoveAsync(table.Find(request.Name));
        return new DeleteBridgeResponse();
    });

    public override Task<BridgeStatus> Reset(ResetBridgeRequest request, ServerCallContext context) => Errors.TranslateAsync(async () =>
    {
        BridgeTable.Entry entry = table.Find(request.Name);
        await entry.Bridge.ResetAsync();
        return await entry.GetStatusAsync();
    });

    public override async Task Watch(WatchBridgeRequest request, IServerStreamWriter<BridgeStatus> responseStream, ServerCallContext context)
    {
        BridgeTable.Entry entry = table.Find(request.Name);
        TimeSpan interval = request.Interval?.ToTimeSpan() ?? s_defaultInterval;
        if (interval < s_shortestInterval)
        {
            throw Errors.BadRequest("interval", $"is {interval.TotalMilliseconds} ms; expected at least {s_shortestInterval.TotalMilliseconds} ms");
        }

        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken, entry.Ended);
        Channel<bool> changes = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
        void OnChanged() => changes.Writer.TryWrite(true);

        entry.Bridge.Changed += OnChanged;
        try
        {
            BridgeStatus? last = null;
            while (!stop.IsCancellationRequested)
            {
                BridgeStatus status = await Errors.TranslateAsync(entry.GetStatusAsync);
                if (last is null || !IsSame(status, last))
                {
                    last = status;
                    await responseStream.WriteAsync(status, context.CancellationToken);
                }

                await WaitAsync(changes.Reader, interval, stop.Token);
            }

            context.CancellationToken.ThrowIfCancellationRequested();
            await responseStream.WriteAsync(await entry.GetStatusAsync(), context.CancellationToken);
        }
        finally
        {
            entry.Bridge.Changed -= OnChanged;
        }
    }

    // Asking a bridge keeps its thread busy for a moment: that alone is no news.
    private static bool IsSame(BridgeStatus status, BridgeStatus last)
    {
        if (status.Counters is null || last.Counters is null)
        {
            return status.Equals(last);
        }

        BridgeStatus compared = status.Clone();
        compared.Counters.BusyNs = last.Counters.BusyNs;
        return compared.Equals(last);
    }

    // Returns at a change, after the interval, or when there is nothing more to wait for.
    private async Task WaitAsync(ChannelReader<bool> changes, TimeSpan interval, CancellationToken stop)
    {
        using CancellationTokenSource tick = new(interval, time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(tick.Token, stop);
        try
        {
            await changes.ReadAsync(either.Token);
        }
        catch (OperationCanceledException)
        {
            // The interval is over or the watch ends; the caller looks which.
        }
    }
}
