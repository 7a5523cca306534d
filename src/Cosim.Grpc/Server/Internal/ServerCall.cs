// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Grpc.Core;
using Grpc.Net.Compression;
using Grpc.Shared;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Logging;

namespace Grpc.AspNetCore.Server.Internal;

/// <summary>One call on the server: its context, deadline and end. The end is sent once, by the method's return or by the deadline.</summary>
internal abstract partial class ServerCall : ServerCallContext, IAsyncDisposable
{
    // Writes and the end exclude each other: the response body takes one writer at a time, and the deadline may fall within a write.
    private readonly SemaphoreSlim _responseTurn = new(1);
    private readonly CancellationTokenSource _cancellation;
    private readonly IMethod _method;
    private readonly ILogger _logger;
    private Metadata? _requestHeaders;
    private Metadata? _responseTrailers;
    private Timer? _deadlineTimer;
    private Task _deadlineEnd = Task.CompletedTask;
    private DateTime _deadline = DateTime.MaxValue;
    private int _ended;
    private bool _hasBody;

    private protected ServerCall(HttpContext context, IMethod method, GrpcServiceOptions options, ILogger logger)
    {
        HttpContext = context;
        Options = options;
        _method = method;
        _logger = logger;
        _cancellation = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
    }

    internal HttpContext HttpContext { get; }

    private protected GrpcServiceOptions Options { get; }

    /// <summary>Encoding of the responses; null for none.</summary>
    private protected ICompressionProvider? Compression { get; private set; }

    private protected bool IsEnded => Volatile.Read(ref _ended) != 0;

    protected override string MethodCore => _method.FullName;

    protected override string HostCore => HttpContext.Request.Host.Value ?? string.Empty;

    protected override string PeerCore => HttpContext.Connection.RemoteIpAddress switch
    {
        { AddressFamily: AddressFamily.InterNetwork } a => $"ipv4:{new IPEndPoint(a, HttpContext.Connection.RemotePort)}",
        { } a => $"ipv6:{new IPEndPoint(a, HttpContext.Connection.RemotePort)}",
        _ => $"unix:{HttpContext.Features.Get<IConnectionEndPointFeature>()?.LocalEndPoint}",
    };

    protected override DateTime DeadlineCore => _deadline;

    protected override CancellationToken CancellationTokenCore => _cancellation.Token;

    protected override Metadata ResponseTrailersCore => _responseTrailers ??= [];

    protected override Status StatusCore { get; set; }

    protected override WriteOptions? WriteOptionsCore { get; set; }

    protected override Metadata RequestHeadersCore
    {
        get
        {
            if (_requestHeaders is null)
            {
                Metadata headers = [];
                foreach ((string name, Microsoft.Extensions.Primitives.StringValues values) in HttpContext.Request.Headers)
                {
                    foreach (string? value in values)
                    {
                        if (ProtocolHeaders.IsMetadata(name))
                        {
                            ProtocolHeaders.AddReceived(headers, name, value ?? string.Empty);
                        }
                    }
                }

                _requestHeaders = headers;
            }

            return _requestHeaders;
        }
    }

    /// <summary>Chooses the encoding and starts the deadline.</summary>
    internal void Start()
    {
        string accepted = HttpContext.Request.Headers[ProtocolHeaders.AcceptEncoding].ToString();
        Compression = Options.ResponseCompressionAlgorithm is { } wanted && accepted.Split(',', StringSplitOptions.TrimEntries).Contains(wanted)
            ? Options.CompressionProviders.FirstOrDefault(c => c.EncodingName == wanted)
            : null;
        HttpContext.Response.Headers[ProtocolHeaders.AcceptEncoding] =
            string.Join(',', Options.CompressionProviders.Select(c => c.EncodingName).Prepend(ProtocolHeaders.Identity));
        if (Compression is not null)
        {
            HttpContext.Response.Headers[ProtocolHeaders.Encoding] = Compression.EncodingName;
        }

        if (HttpContext.Request.Headers.TryGetValue(ProtocolHeaders.Timeout, out Microsoft.Extensions.Primitives.StringValues text))
        {
            StartDeadline(text);
        }
    }

    /// <summary>Ends the call as its method returned.</summary>
    internal Task EndAsync() => EndAsync(StatusCore, _responseTrailers);

    /// <summary>Ends the call as its method failed.</summary>
    internal Task EndAsync(Exception exception)
    {
        switch (exception)
        {
            case RpcException rpc:
                Metadata trailers = [.. _responseTrailers ?? [], .. rpc.Trailers];
                return EndAsync(rpc.Status, trailers);
            case OperationCanceledException or IOException when CancellationToken.IsCancellationRequested:
                return EndAsync(Core.Status.DefaultCancelled, _responseTrailers);
            default:
                LogMethodFailed(_logger, exception, MethodCore);
                string detail = Options.EnableDetailedErrors == true
                    ? $"Exception was thrown by handler. {exception.GetType().Name}: {exception.Message}"
                    : "Exception was thrown by handler.";
                return EndAsync(new Status(StatusCode.Unknown, detail), _responseTrailers);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_deadlineTimer is not null)
        {
            await _deadlineTimer.DisposeAsync();
            await _deadlineEnd;
        }

        DisposeBuffers();
        _cancellation.Dispose();
        _responseTurn.Dispose();
    }

    private protected abstract void DisposeBuffers();

    protected override async Task WriteResponseHeadersAsyncCore(Metadata responseHeaders)
    {
        await _responseTurn.WaitAsync(CancellationToken);
        try
        {
            ThrowIfEnded();
            if (_hasBody)
            {
                throw new InvalidOperationException("The response headers were sent before; they can be sent once, before any message.");
            }

            foreach ((string name, string value) in ToWire(responseHeaders))
            {
                HttpContext.Response.Headers.Append(name, value);
            }

            _hasBody = true;

            // Starting the response alone would leave the headers with the server until the first message.
            await HttpContext.Response.BodyWriter.FlushAsync(CancellationToken);
        }
        finally
        {
            _responseTurn.Release();
        }
    }

    /// <summary>Sends one framed message.</summary>
    private protected async Task WriteFrameAsync(Func<ReadOnlyMemory<byte>> frame, bool flush, CancellationToken cancellationToken)
    {
        if (!await _responseTurn.WaitAsync(0, CancellationToken.None))
        {
            ThrowIfEnded();
            throw new InvalidOperationException("The last message is still being written: await each write before the next.");
        }

        try
        {
            ThrowIfEnded();
            ReadOnlyMemory<byte> bytes = frame();
            _hasBody = true;
            HttpContext.Response.BodyWriter.Write(bytes.Span);
            if (flush)
            {
                await HttpContext.Response.BodyWriter.FlushAsync(cancellationToken);
            }
        }
        finally
        {
            _responseTurn.Release();
        }

        // The server swallows writes to a stream that the client has reset.
        CancellationToken.ThrowIfCancellationRequested();
    }

    private void StartDeadline(string? text)
    {
        if (!ProtocolHeaders.TryParseTimeout(text, out TimeSpan timeout))
        {
            throw new RpcException(new Status(StatusCode.Internal, $"The header grpc-timeout is \"{text}\"; expected 1 to 8 digits and one of H, M, S, m, u, n."));
        }

        DateTime now = DateTime.UtcNow;
        _deadline = timeout < DateTime.MaxValue - now ? now + timeout : DateTime.MaxValue;
        if (timeout.TotalMilliseconds < int.MaxValue)
        {
            _deadlineTimer = new Timer(static call => ((ServerCall)call!).OnDeadline(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            _deadlineTimer.Change(timeout, Timeout.InfiniteTimeSpan);
        }
    }

    private void OnDeadline()
    {
        if (!IsEnded)
        {
            _deadlineEnd = EndAtDeadlineAsync();
        }
    }

    private async Task EndAtDeadlineAsync()
    {
        // Cancelling comes first, since a write that waits for the client holds the turn.
        if (Interlocked.CompareExchange(ref _ended, 1, 0) != 0)
        {
            return;
        }

        Task cancelling = _cancellation.CancelAsync();
        try
        {
            await SendEndAsync(new Status(StatusCode.DeadlineExceeded, "Deadline Exceeded"), _responseTrailers);

            // A client that is still sending is told to stop.
            HttpContext.Features.Get<IHttpResetFeature>()?.Reset(errorCode: 0);
        }
        catch (Exception e)
        {
            LogEndFailed(_logger, e, MethodCore);
        }

        await cancelling;
    }

    private Task EndAsync(Status status, Metadata? trailers) =>
        Interlocked.CompareExchange(ref _ended, 1, 0) == 0 ? SendEndAsync(status, trailers) : Task.CompletedTask;

    private async Task SendEndAsync(Status status, Metadata? trailers)
    {
        await _responseTurn.WaitAsync();
        try
        {
            if (HttpContext.RequestAborted.IsCancellationRequested)
            {
                return;
            }

            List<KeyValuePair<string, string>> entries = [];
            try
            {
                entries = ToWire(trailers ?? Metadata.Empty);
            }
            catch (RpcException e)
            {
                LogMethodFailed(_logger, e, MethodCore);
                status = e.Status;
            }

            // Without a message or headers before them the trailers are the headers: one frame ends the call.
            bool isTrailersOnly = !_hasBody && !HttpContext.Response.HasStarted;
            IHeaderDictionary destination = isTrailersOnly
                ? HttpContext.Response.Headers
                : HttpContext.Features.GetRequiredFeature<IHttpResponseTrailersFeature>().Trailers;
            destination[ProtocolHeaders.Status] = ((int)status.StatusCode).ToString(CultureInfo.InvariantCulture);
            if (!string.IsNullOrEmpty(status.Detail))
            {
                destination[ProtocolHeaders.Message] = ProtocolHeaders.EncodeMessage(status.Detail);
            }

            foreach ((string name, string value) in entries)
            {
                destination.Append(name, value);
            }

            await HttpContext.Response.CompleteAsync();
        }
        finally
        {
            _responseTurn.Release();
        }
    }

    private void ThrowIfEnded()
    {
        if (IsEnded)
        {
            CancellationToken.ThrowIfCancellationRequested();
            throw new InvalidOperationException("The call has ended; nothing can be written to it.");
        }
    }

    private static List<KeyValuePair<string, string>> ToWire(Metadata metadata) =>
        [.. metadata.Where(e => ProtocolHeaders.IsMetadata(e.Key)).Select(e => KeyValuePair.Create(e.Key, ProtocolHeaders.ToWire(e)))];

    [LoggerMessage(1, LogLevel.Error, "The method {Method} failed.")]
    private static partial void LogMethodFailed(ILogger logger, Exception exception, string method);

    [LoggerMessage(2, LogLevel.Debug, "The end of {Method} could not be sent at its deadline.")]
    private static partial void LogEndFailed(ILogger logger, Exception exception, string method);
}
