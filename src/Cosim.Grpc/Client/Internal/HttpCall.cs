// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using System.Net.Http.Headers;
using Grpc.Core;
using Grpc.Net.Compression;
using Grpc.Shared;

namespace Grpc.Net.Client.Internal;

/// <summary>One call on the client. It ends once: by the server's status, by its deadline, by its caller, or by the loss of the connection.</summary>
internal sealed class HttpCall<TRequest, TResponse> : IAsyncStreamReader<TResponse>, IDisposable
    where TRequest : class
    where TResponse : class
{
    private readonly GrpcChannel _channel;
    private readonly Method<TRequest, TResponse> _method;
    private readonly string? _host;
    private readonly CallOptions _options;
    [SuppressMessage("Usage", "CA2213", Justification = "What is being sent or received still looks at it after the end, and it holds nothing but memory.")]
    private readonly CancellationTokenSource _cancellation = new();
    private readonly TaskCompletionSource<Metadata> _headers = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<CallEnd> _end = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly List<IDisposable> _watches = [];
    private HttpResponseMessage? _response;
    private MessageReader? _reader;
    private Task _sending = Task.CompletedTask;
    private TResponse? _current;
    private int _reading;

    internal HttpCall(GrpcChannel channel, Method<TRequest, TResponse> method, string? host, CallOptions options)
    {
        if (options.Deadline is { Kind: not DateTimeKind.Utc } deadline && deadline != DateTime.MaxValue && deadline != DateTime.MinValue)
        {
            throw new InvalidOperationException($"The deadline of a call must be in UTC; this one is {deadline.Kind}.");
        }

        ObjectDisposedException.ThrowIf(channel.Disposed.IsCancellationRequested, channel);
        _channel = channel;
        _method = method;
        _host = host;
        _options = options;

        // Nobody has to look at the headers, nor at an end that is told by another exception.
        _ = _headers.Task.ContinueWith(static t => t.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
    }

    public TResponse Current => _current ?? throw new InvalidOperationException("There is no current response: MoveNext was not called or brought none.");

    internal Task<Metadata> ResponseHeaders => _headers.Task;

    internal Task<CallEnd> Ended => _end.Task;

    internal CancellationToken Cancellation => _cancellation.Token;

    internal WriteOptions? WriteOptions => _options.WriteOptions;

    /// <summary>Starts a call with one request.</summary>
    [SuppressMessage("Reliability", "CA2000", Justification = "The request disposes its content.")]
    internal void Start(TRequest request) => Send(new SingleRequestContent<TRequest, TResponse>(this, request));

    /// <summary>Starts a call with a stream of requests.</summary>
    [SuppressMessage("Reliability", "CA2000", Justification = "The request disposes its content.")]
    internal IClientStreamWriter<TRequest> Start()
    {
        StreamRequestContent<TRequest, TResponse> content = new(this);
        Send(content);
        return content.Writer;
    }

    public async Task<bool> MoveNext(CancellationToken cancellationToken)
    {
        if (Interlocked.Exchange(ref _reading, 1) != 0)
        {
            throw new InvalidOperationException("The last read has not ended: await each MoveNext before the next.");
        }

        using CancellationTokenRegistration registration =
            cancellationToken.Register(() => End(new Status(StatusCode.Cancelled, "Call canceled by the client."), []));
        try
        {
            await _sending.ConfigureAwait(false);
            if (!_end.Task.IsCompleted)
            {
                NextMessage<TResponse> next =
                    await _reader!.ReadAsync(_method.ResponseMarshaller.ContextualDeserializer, Cancellation).ConfigureAwait(false);
                if (!next.IsEnd)
                {
                    _current = next.Value;
                    return true;
                }

                EndByTrailers();
            }
        }
        catch (Exception e)
        {
            End(TransportErrors.ToStatus(e), []);
        }
        finally
        {
            Volatile.Write(ref _reading, 0);
        }

        _current = null;
        CallEnd end = await _end.Task.ConfigureAwait(false);
        return end.Status.StatusCode == StatusCode.OK ? false : throw ToException(end);
    }

    /// <summary>The one response of a call whose server does not stream.</summary>
    internal async Task<TResponse> ReadSingleAsync()
    {
        if (!await MoveNext(CancellationToken.None).ConfigureAwait(false))
        {
            throw Failed("The call ended with status OK, but without its response.");
        }

        TResponse response = Current;
        if (await MoveNext(CancellationToken.None).ConfigureAwait(false))
        {
            throw Failed("The call brought a second response; its method has one.");
        }

        return response;

        RpcException Failed(string detail)
        {
            Status status = new(StatusCode.Internal, detail);
            End(status, []);
            return new RpcException(status);
        }
    }

    internal Status GetStatus() => EndOrThrow().Status;

    internal Metadata GetTrailers() => EndOrThrow().Trailers;

    public void Dispose() => End(new Status(StatusCode.Cancelled, "gRPC call disposed."), []);

    /// <summary>The exception for a call that ended so.</summary>
    internal Exception ToException(CallEnd end) =>
        _channel.ThrowOperationCanceledOnCancellation && end.IsLocal && end.Status.StatusCode is StatusCode.Cancelled or StatusCode.DeadlineExceeded
            ? new OperationCanceledException(end.Status.Detail, new RpcException(end.Status, end.Trailers), _options.CancellationToken)
            : new RpcException(end.Status, end.Trailers);

    /// <summary>One request in its frame.</summary>
    internal ReadOnlyMemory<byte> Frame(MessageBuffer buffer, TRequest request, WriteFlags flags) => buffer.Frame(
        request,
        _method.RequestMarshaller.ContextualSerializer,
        _channel.MaxSendMessageSize,
        flags.HasFlag(WriteFlags.NoCompress) ? null : RequestCompression(),
        level: null);

    /// <summary>Ends the call on this side; false when it had ended.</summary>
    internal bool End(Status status, Metadata trailers) => End(new CallEnd(status, trailers, IsLocal: true));

    private bool End(CallEnd end)
    {
        if (!_end.TrySetResult(end))
        {
            return false;
        }

        _headers.TrySetException(ToException(end));
        lock (_watches)
        {
            _watches.ForEach(w => w.Dispose());
            _watches.Clear();
        }

        // What is still being sent or received is of no use now.
        _cancellation.Cancel();
        _response?.Dispose();
        return true;
    }

    private CallEnd EndOrThrow() => _end.Task.IsCompletedSuccessfully
        ? _end.Task.Result
        : throw new InvalidOperationException("The call is still running: its status and trailers come at its end.");

    private ICompressionProvider? RequestCompression()
    {
        string? encoding = _options.Headers?.GetValue(ProtocolHeaders.RequestEncoding);
        return encoding is null or ProtocolHeaders.Identity
            ? null
            : _channel.Compressions.FirstOrDefault(c => c.EncodingName == encoding)
                ?? throw new RpcException(new Status(StatusCode.Internal, $"The channel has no compression \"{encoding}\"."));
    }

    private void Send(HttpContent content)
    {
        content.Headers.ContentType = new MediaTypeHeaderValue(ProtocolHeaders.ContentType);
        Watch();
        _sending = _end.Task.IsCompleted ? Task.CompletedTask : SendAsync(content);
    }

    private void Watch()
    {
        TimeSpan left = _options.Deadline is { } deadline && deadline != DateTime.MaxValue ? deadline - DateTime.UtcNow : TimeSpan.MaxValue;
        if (left <= TimeSpan.Zero)
        {
            End(DeadlineExceeded(), []);
        }
        else if (left.TotalMilliseconds < int.MaxValue)
        {
            Add(new Timer(_ => End(DeadlineExceeded(), []), null, left, Timeout.InfiniteTimeSpan));
        }

        Add(_options.CancellationToken.Register(() => End(new Status(StatusCode.Cancelled, "Call canceled by the client."), [])));
        Add(_channel.Disposed.Register(() => End(new Status(StatusCode.Cancelled, "The channel was disposed."), [])));

        static Status DeadlineExceeded() => new(StatusCode.DeadlineExceeded, "The deadline passed.");
    }

    private void Add(IDisposable watch)
    {
        lock (_watches)
        {
            _watches.Add(watch);
            if (!_end.Task.IsCompleted)
            {
                return;
            }
        }

        watch.Dispose();
    }

    private HttpRequestMessage MakeRequest(HttpContent content)
    {
        HttpRequestMessage request = new(HttpMethod.Post, new Uri(_channel.Address, _method.FullName))
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = content,
        };
        request.Headers.Host = _host;
        request.Headers.TryAddWithoutValidation("te", "trailers");
        request.Headers.TryAddWithoutValidation("user-agent", "grpc-dotnet-source/1.0");
        request.Headers.TryAddWithoutValidation(
            ProtocolHeaders.AcceptEncoding, string.Join(',', _channel.Compressions.Select(c => c.EncodingName).Prepend(ProtocolHeaders.Identity)));
        if (RequestCompression() is { } compression)
        {
            request.Headers.TryAddWithoutValidation(ProtocolHeaders.Encoding, compression.EncodingName);
        }

        if (_options.Deadline is { } deadline && deadline != DateTime.MaxValue)
        {
            request.Headers.TryAddWithoutValidation(ProtocolHeaders.Timeout, ProtocolHeaders.FormatTimeout(deadline - DateTime.UtcNow));
        }

        foreach (Metadata.Entry entry in _options.Headers ?? Metadata.Empty)
        {
            if (entry.Key != ProtocolHeaders.RequestEncoding)
            {
                request.Headers.TryAddWithoutValidation(entry.Key, ProtocolHeaders.ToWire(entry));
            }
        }

        return request;
    }

    private async Task SendAsync(HttpContent content)
    {
        try
        {
            using HttpRequestMessage request = MakeRequest(content);
            HttpResponseMessage response = await _channel.Invoker.SendAsync(request, Cancellation).ConfigureAwait(false);
            _response = response;
            if (_end.Task.IsCompleted)
            {
                response.Dispose();
                return;
            }

            string? encoding = response.Headers.TryGetValues(ProtocolHeaders.Encoding, out IEnumerable<string>? values) ? values.First() : null;
            Stream body = await response.Content.ReadAsStreamAsync(Cancellation).ConfigureAwait(false);
            _reader = new MessageReader(PipeReader.Create(body), _channel.MaxReceiveMessageSize, encoding, _channel.Compressions);
            if (ResponseTrailers.FindFault(response) is { } fault)
            {
                End(fault, []);
                return;
            }

            _headers.TrySetResult(ResponseTrailers.ToMetadata(response.Headers));
            if (response.Headers.Contains(ProtocolHeaders.Status))
            {
                End(ResponseTrailers.ToEnd(response.Headers));
            }
        }
        catch (Exception e)
        {
            End(TransportErrors.ToStatus(e), []);
        }
    }

    private void EndByTrailers() => End(ResponseTrailers.ToEnd(_response!.TrailingHeaders));
}

/// <summary>How a call ended: by the server's word, or on this side.</summary>
internal sealed record CallEnd(Status Status, Metadata Trailers, bool IsLocal);

/// <summary>Reads the headers and trailers of a response.</summary>
internal static class ResponseTrailers
{
    /// <summary>The status of a response that is not a gRPC response; null when it is one.</summary>
    internal static Status? FindFault(HttpResponseMessage response)
    {
        if (response.StatusCode != HttpStatusCode.OK)
        {
            return new Status(ToStatusCode(response.StatusCode), $"Bad gRPC response. HTTP status code: {(int)response.StatusCode}");
        }

        string? contentType = response.Content.Headers.ContentType?.ToString();
        return ProtocolHeaders.IsGrpcContentType(contentType)
            ? null
            : new Status(StatusCode.Cancelled, $"Bad gRPC response. Content type: \"{contentType}\"; expected {ProtocolHeaders.ContentType}.");
    }

    internal static CallEnd ToEnd(HttpResponseHeaders trailers)
    {
        if (!trailers.TryGetValues(ProtocolHeaders.Status, out IEnumerable<string>? values))
        {
            return new CallEnd(new Status(StatusCode.Cancelled, "The response ended without a grpc-status."), [], IsLocal: false);
        }

        string text = values.First();
        if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int code))
        {
            return new CallEnd(new Status(StatusCode.Unknown, $"The grpc-status of the response is \"{text}\"."), [], IsLocal: false);
        }

        string detail = trailers.TryGetValues(ProtocolHeaders.Message, out IEnumerable<string>? messages)
            ? ProtocolHeaders.DecodeMessage(messages.First())
            : string.Empty;
        return new CallEnd(new Status((StatusCode)code, detail), ToMetadata(trailers), IsLocal: false);
    }

    internal static Metadata ToMetadata(HttpResponseHeaders headers)
    {
        Metadata metadata = [];
        foreach ((string name, HeaderStringValues values) in headers.NonValidated)
        {
            foreach (string value in values)
            {
                if (ProtocolHeaders.IsMetadata(name))
                {
                    ProtocolHeaders.AddReceived(metadata, name, value);
                }
            }
        }

        return metadata;
    }

    // "HTTP to gRPC Status Code Mapping" of the gRPC specification.
    private static StatusCode ToStatusCode(HttpStatusCode code) => code switch
    {
        HttpStatusCode.BadRequest => StatusCode.Internal,
        HttpStatusCode.Unauthorized => StatusCode.Unauthenticated,
        HttpStatusCode.Forbidden => StatusCode.PermissionDenied,
        HttpStatusCode.NotFound => StatusCode.Unimplemented,
        HttpStatusCode.TooManyRequests or HttpStatusCode.BadGateway or HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout =>
            StatusCode.Unavailable,
        _ => StatusCode.Unknown,
    };
}
