// SPDX-License-Identifier: Apache-2.0
using System.Text.RegularExpressions;
using System.Threading.Channels;
using Cosim.V1;
using Google.Protobuf;
using Grpc.Core;

namespace Cosim.Server.Internal;

/// <summary>cosim.v1.Bridges.</summary>
internal sealed partial class BridgesService(BridgeTable table, TimeProvider time) : Bridges.BridgesBase
{
    private const int ChunkBytes = 64 << 10;

    private static readonly TimeSpan s_defaultInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_shortestInterval = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan s_longestInterval = TimeSpan.FromDays(1);

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
            try
            {
                response.Bridges.Add(await entry.GetStatusAsync());
            }
            catch (ObjectDisposedException)
            {
                // It has ended meanwhile, and is no longer one of them.
            }
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
        TimeSpan interval = Interval(request);
        entry.BeginWatch();
        try
        {
            await FollowAsync(entry, interval, responseStream, context);
        }
        finally
        {
            entry.EndWatch();
        }
    }

    private async Task FollowAsync(BridgeTable.Entry entry, TimeSpan interval, IServerStreamWriter<BridgeStatus> responseStream, ServerCallContext context)
    {
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

    public override Task<RecordingStatus> StartRecording(StartRecordingRequest request, ServerCallContext context)
    {
        IBridge bridge = table.Find(request.Name).Bridge;
        return request.File.Length == 0 || RecordingName().IsMatch(request.File)
            ? Errors.TranslateAsync(() => bridge.StartRecordingAsync(request.File.Length == 0 ? null : request.File, request.Reset))
            : throw Errors.BadRequest(
                "file", $"is \"{request.File}\"; expected the name of a file without folders, of letters, digits, '.', '-' and '_', that ends in .stim or .stim.gz");
    }

    public override Task<RecordingStatus> StopRecording(StopRecordingRequest request, ServerCallContext context) =>
        Errors.TranslateAsync(table.Find(request.Name).Bridge.StopRecordingAsync);

    public override async Task DownloadRecording(DownloadRecordingRequest request, IServerStreamWriter<RecordingChunk> responseStream, ServerCallContext context)
    {
        await using Stream file = await Errors.TranslateAsync(table.Find(request.Name).Bridge.OpenRecordingAsync);

        // What is written meanwhile is left out, so that the download of a recording that goes on ends.
        long left = file.Length;
        byte[] buffer = new byte[ChunkBytes];
        while (left > 0)
        {
            int read = await file.ReadAsync(buffer.AsMemory(0, (int)Math.Min(left, ChunkBytes)), context.CancellationToken);
            if (read == 0)
            {
                break;
            }

            left -= read;
            await responseStream.WriteAsync(new RecordingChunk { Data = ByteString.CopyFrom(buffer, 0, read) }, context.CancellationToken);
        }
    }

    private static TimeSpan Interval(WatchBridgeRequest request)
    {
        if (request.Interval is not { } asked)
        {
            return s_defaultInterval;
        }

        // Seconds first: what is beyond them is no TimeSpan at all.
        TimeSpan interval = asked.Seconds >= 0 && asked.Seconds <= (long)s_longestInterval.TotalSeconds && asked.Nanos is >= 0 and < 1_000_000_000
            ? asked.ToTimeSpan()
            : TimeSpan.Zero;
        return interval >= s_shortestInterval && interval <= s_longestInterval
            ? interval
            : throw Errors.BadRequest("interval", $"is {asked}; expected {s_shortestInterval.TotalMilliseconds} ms to one day");
    }

    [GeneratedRegex("^(?=.{1,100}$)[A-Za-z0-9][A-Za-z0-9._-]*\\.stim(\\.gz)?\\z")]
    private static partial Regex RecordingName();

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
