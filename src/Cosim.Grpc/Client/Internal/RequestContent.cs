// SPDX-License-Identifier: Apache-2.0
using System.Net;
using Grpc.Core;
using Grpc.Shared;

namespace Grpc.Net.Client.Internal;

/// <summary>The body of a call with one request.</summary>
internal sealed class SingleRequestContent<TRequest, TResponse>(HttpCall<TRequest, TResponse> call, TRequest request) : HttpContent
    where TRequest : class
    where TResponse : class
{
    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
        SerializeToStreamAsync(stream, context, CancellationToken.None);

    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        using MessageBuffer buffer = new();
        ReadOnlyMemory<byte> frame;
        try
        {
            frame = call.Frame(buffer, request, call.WriteOptions?.Flags ?? WriteFlags.None);
        }
        catch (RpcException e)
        {
            call.End(e.Status, e.Trailers);
            throw;
        }

        await stream.WriteAsync(frame, cancellationToken).ConfigureAwait(false);
    }

    protected override bool TryComputeLength(out long length)
    {
        length = -1;
        return false;
    }
}

/// <summary>The body of a call whose requests are a stream: open until the caller completes it or the call ends.</summary>
internal sealed class StreamRequestContent<TRequest, TResponse> : HttpContent
    where TRequest : class
    where TResponse : class
{
    private readonly HttpCall<TRequest, TResponse> _call;
    private readonly TaskCompletionSource<Stream> _opened = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _completed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal StreamRequestContent(HttpCall<TRequest, TResponse> call)
    {
        _call = call;
        Writer = new RequestWriter(this);
    }

    internal IClientStreamWriter<TRequest> Writer { get; }

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
        SerializeToStreamAsync(stream, context, CancellationToken.None);

    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        // The request headers must not wait for the first message: a server may speak first.
        await stream.FlushAsync(cancellationToken).ConfigureAwait(false);
        _opened.TrySetResult(stream);
        await Task.WhenAny(_completed.Task, _call.Ended).ConfigureAwait(false);
    }

    protected override bool TryComputeLength(out long length)
    {
        length = -1;
        return false;
    }

    private sealed class RequestWriter(StreamRequestContent<TRequest, TResponse> content) : IClientStreamWriter<TRequest>
    {
        private int _writing;

        public WriteOptions? WriteOptions { get; set; }

        public Task WriteAsync(TRequest message) => WriteAsync(message, CancellationToken.None);

        public async Task WriteAsync(TRequest message, CancellationToken cancellationToken)
        {
            if (content._completed.Task.IsCompleted)
            {
                throw new InvalidOperationException("The request stream is complete; nothing can be written to it.");
            }

            if (Interlocked.Exchange(ref _writing, 1) != 0)
            {
                throw new InvalidOperationException("The last request is still being written: await each write before the next.");
            }

            HttpCall<TRequest, TResponse> call = content._call;
            using CancellationTokenRegistration registration =
                cancellationToken.Register(() => call.End(new Status(StatusCode.Cancelled, "Call canceled by the client."), []));
            try
            {
                if (await Task.WhenAny(content._opened.Task, call.Ended).ConfigureAwait(false) == call.Ended)
                {
                    throw call.ToException(await call.Ended.ConfigureAwait(false));
                }

                Stream stream = await content._opened.Task.ConfigureAwait(false);
                WriteFlags flags = (WriteOptions ?? call.WriteOptions ?? WriteOptions.Default).Flags;
                using MessageBuffer buffer = new();
                await stream.WriteAsync(call.Frame(buffer, message, flags), call.Cancellation).ConfigureAwait(false);
                if (!flags.HasFlag(WriteFlags.BufferHint))
                {
                    await stream.FlushAsync(call.Cancellation).ConfigureAwait(false);
                }
            }
            catch (Exception e) when (e is not RpcException)
            {
                // Why a write fails is told by the call's end where that is known.
                throw call.Ended.IsCompleted ? call.ToException(await call.Ended.ConfigureAwait(false)) : new RpcException(TransportErrors.ToStatus(e));
            }
            finally
            {
                Volatile.Write(ref _writing, 0);
            }
        }

        public Task CompleteAsync()
        {
            content._completed.TrySetResult();
            return Task.CompletedTask;
        }
    }
}
