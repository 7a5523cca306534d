// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using System.Text;
using Cosim.Tests.Echoes;
using Google.Protobuf;
using Grpc.Core;

namespace Cosim.Grpc.Tests;

/// <summary>What tests want to know of the calls that reached the server, by the request's text.</summary>
public sealed class EchoLog
{
    private readonly ConcurrentDictionary<string, TaskCompletionSource<ServerCallContext>> _started = new();
    private readonly ConcurrentDictionary<string, TaskCompletionSource> _cancelled = new();

    public Task<ServerCallContext> Started(string text) => Source(text).Task;

    public Task Cancelled(string text) => _cancelled.GetOrAdd(text, _ => Make()).Task;

    internal void OnStarted(string text, ServerCallContext context) => Source(text).TrySetResult(context);

    internal void OnCancelled(string text) => _cancelled.GetOrAdd(text, _ => Make()).TrySetResult();

    private TaskCompletionSource<ServerCallContext> Source(string text) =>
        _started.GetOrAdd(text, _ => new TaskCompletionSource<ServerCallContext>(TaskCreationOptions.RunContinuationsAsynchronously));

    private static TaskCompletionSource Make() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}

/// <summary>Answers with what it was sent, or fails as it is told.</summary>
public sealed class EchoService(EchoLog log) : Echo.EchoBase
{
    public override async Task<EchoResponse> Unary(EchoRequest request, ServerCallContext context)
    {
        foreach (Metadata.Entry entry in context.RequestHeaders)
        {
            if (entry.Key == "echo-bin")
            {
                context.ResponseTrailers.Add(entry.Key, entry.ValueBytes);
            }
            else if (entry.Key == "echo-back-as-umlaut")
            {
                context.ResponseTrailers.Add(entry.Key, "ü");
            }
            else if (entry.Key.StartsWith("echo-", StringComparison.Ordinal))
            {
                context.ResponseTrailers.Add(entry);
            }
        }

        await ActAsync(request, context);
        return new EchoResponse { Text = request.Text, Payload = request.Payload };
    }

    public override async Task<EchoResponse> Collect(IAsyncStreamReader<EchoRequest> requestStream, ServerCallContext context)
    {
        StringBuilder text = new();
        int count = 0;
        await foreach (EchoRequest request in requestStream.ReadAllAsync())
        {
            await ActAsync(request, context);
            text.Append(request.Text);
            count++;
        }

        return new EchoResponse { Text = text.ToString(), Index = count };
    }

    public override async Task Expand(EchoRequest request, IServerStreamWriter<EchoResponse> responseStream, ServerCallContext context)
    {
        log.OnStarted("begin " + request.Text, context);
        for (int i = 0; i < request.Count; i++)
        {
            await responseStream.WriteAsync(new EchoResponse { Text = request.Text, Index = i, Payload = request.Payload });
        }

        await ActAsync(request, context);
    }

    public override async Task Converse(IAsyncStreamReader<EchoRequest> requestStream, IServerStreamWriter<EchoResponse> responseStream, ServerCallContext context)
    {
        await context.WriteResponseHeadersAsync(new Metadata { { "greeting", "hello" } });
        int index = 0;
        await foreach (EchoRequest request in requestStream.ReadAllAsync())
        {
            await ActAsync(request, context);
            await responseStream.WriteAsync(new EchoResponse { Text = request.Text, Index = index++, Payload = request.Payload });
        }
    }

    private async Task ActAsync(EchoRequest request, ServerCallContext context)
    {
        log.OnStarted(request.Text, context);
        switch (request.Action)
        {
            case EchoRequest.Types.Action.Fail:
                Metadata trailers = new() { { "reason", $"{request.Text.Length} characters" }, { "grpc-status-details-bin", request.ToByteArray() } };
                throw new RpcException(new Status(StatusCode.FailedPrecondition, "100 % wrong: " + request.Text), trailers);
            case EchoRequest.Types.Action.Break:
                throw new InvalidOperationException("a secret of the server");
            case EchoRequest.Types.Action.HangAfterHeaders:
                await context.WriteResponseHeadersAsync([]);
                goto case EchoRequest.Types.Action.Hang;
            case EchoRequest.Types.Action.Hang:
                try
                {
                    await Task.Delay(Timeout.Infinite, context.CancellationToken);
                }
                finally
                {
                    log.OnCancelled(request.Text);
                }

                break;
            default:
                break;
        }
    }
}
