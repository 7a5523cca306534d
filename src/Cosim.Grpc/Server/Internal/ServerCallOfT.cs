// SPDX-License-Identifier: Apache-2.0
using Grpc.Core;
using Grpc.Shared;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Grpc.AspNetCore.Server.Internal;

/// <summary>A call with its messages.</summary>
internal sealed class ServerCall<TRequest, TResponse> : ServerCall
    where TRequest : class
    where TResponse : class
{
    private readonly Method<TRequest, TResponse> _method;
    private readonly MessageReader _reader;
    private readonly MessageBuffer _buffer = new();

    internal ServerCall(HttpContext context, Method<TRequest, TResponse> method, GrpcServiceOptions options, ILogger logger)
        : base(context, method, options, logger)
    {
        _method = method;
        string encoding = context.Request.Headers[ProtocolHeaders.Encoding].ToString();
        _reader = new MessageReader(
            context.Request.BodyReader, options.MaxReceiveMessageSize, encoding.Length == 0 ? null : encoding, [.. options.CompressionProviders]);
        Requests = new RequestStream(this);
        Responses = new ResponseStream(this);
    }

    internal IAsyncStreamReader<TRequest> Requests { get; }

    internal IServerStreamWriter<TResponse> Responses { get; }

    /// <summary>The one request of a call whose client does not stream.</summary>
    internal async Task<TRequest> ReadSingleAsync()
    {
        NextMessage<TRequest> request = await ReadAsync(CancellationToken);
        if (request.IsEnd)
        {
            throw new RpcException(new Status(StatusCode.Internal, "The call ended before its request."));
        }

        NextMessage<TRequest> more = await ReadAsync(CancellationToken);
        return more.IsEnd
            ? request.Value
            : throw new RpcException(new Status(StatusCode.Internal, "The call brought a second request; its method takes one."));
    }

    /// <summary>The one response of a call whose server does not stream. It leaves together with the status.</summary>
    internal Task WriteSingleAsync(TResponse? response) => response is null
        ? throw new RpcException(new Status(StatusCode.Cancelled, "No message returned from method."))
        : WriteAsync(response, Responses.WriteOptions, isLast: true, CancellationToken);

    private protected override void DisposeBuffers() => _buffer.Dispose();

    private ValueTask<NextMessage<TRequest>> ReadAsync(CancellationToken cancellationToken) =>
        _reader.ReadAsync(_method.RequestMarshaller.ContextualDeserializer, cancellationToken);

    private Task WriteAsync(TResponse response, WriteOptions? writeOptions, bool isLast, CancellationToken cancellationToken)
    {
        WriteFlags flags = (writeOptions ?? WriteOptions ?? WriteOptions.Default).Flags;
        return WriteFrameAsync(
            () => _buffer.Frame(
                response,
                _method.ResponseMarshaller.ContextualSerializer,
                Options.MaxSendMessageSize,
                flags.HasFlag(WriteFlags.NoCompress) ? null : Compression,
                Options.ResponseCompressionLevel),
            flush: !isLast && !flags.HasFlag(WriteFlags.BufferHint),
            cancellationToken);
    }

    private sealed class RequestStream(ServerCall<TRequest, TResponse> call) : IAsyncStreamReader<TRequest>
    {
        private TRequest? _current;

        public TRequest Current => _current ?? throw new InvalidOperationException("There is no current request: MoveNext was not called or brought none.");

        public async Task<bool> MoveNext(CancellationToken cancellationToken)
        {
            using CancellationTokenSource? linked = cancellationToken.CanBeCanceled
                ? CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, call.CancellationToken)
                : null;
            NextMessage<TRequest> next = await call.ReadAsync(linked?.Token ?? call.CancellationToken);
            _current = next.Value;
            return !next.IsEnd;
        }
    }

    private sealed class ResponseStream(ServerCall<TRequest, TResponse> call) : IServerStreamWriter<TResponse>
    {
        public WriteOptions? WriteOptions { get; set; }

        public Task WriteAsync(TResponse message) => WriteAsync(message, CancellationToken.None);

        public async Task WriteAsync(TResponse message, CancellationToken cancellationToken)
        {
            using CancellationTokenSource? linked = cancellationToken.CanBeCanceled
                ? CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, call.CancellationToken)
                : null;
            await call.WriteAsync(message, WriteOptions, isLast: false, linked?.Token ?? call.CancellationToken);
        }
    }
}
