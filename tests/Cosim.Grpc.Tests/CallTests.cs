// SPDX-License-Identifier: Apache-2.0
using Cosim.Tests.Echoes;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using NUnit.Framework;
using Action = Cosim.Tests.Echoes.EchoRequest.Types.Action;

namespace Cosim.Grpc.Tests;

/// <summary>What the protocol promises a caller, over both transports.</summary>
[TestFixture(Transport.Loopback)]
[TestFixture(Transport.UnixSocket)]
[CancelAfter(20_000)]
public sealed class CallTests(Transport transport)
{
    private EchoServer _server = null!;
    private GrpcChannel _channel = null!;
    private Echo.EchoClient _client = null!;

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        _server = await EchoServer.StartAsync(transport, o => o.ResponseCompressionAlgorithm = "gzip");
        _channel = _server.Connect();
        _client = new Echo.EchoClient(_channel);
    }

    [OneTimeTearDown]
    public async Task StopAsync()
    {
        _channel.Dispose();
        await _server.DisposeAsync();
    }

    [Test]
    public async Task Unary_WithMetadata_EchoesMessageAndTrailers(CancellationToken token)
    {
        byte[] bytes = [0, 1, 2, 254, 255, 0, 44];
        Metadata headers = new() { { "echo-text", "a, b" }, { "echo-bin", bytes }, { "echo-bin", [] } };
        using AsyncUnaryCall<EchoResponse> call = _client.UnaryAsync(new EchoRequest { Text = "hé" }, headers, cancellationToken: token);
        EchoResponse response = await call;
        Metadata trailers = call.GetTrailers();
        Assert.Multiple(() =>
        {
            Assert.That(response.Text, Is.EqualTo("hé"));
            Assert.That(call.GetStatus().StatusCode, Is.EqualTo(StatusCode.OK));
            Assert.That(trailers.GetValue("echo-text"), Is.EqualTo("a, b"));
            Assert.That(trailers.GetAll("echo-bin").Select(e => e.ValueBytes), Is.EqualTo(new[] { bytes, [] }));
        });
    }

    [TestCase("echo-text", "ü")]
    [TestCase("echo-back-as-umlaut", "")]
    public void Unary_MetadataThatNoHeaderCarries_IsInternalAndNamesTheKey(string key, string value)
    {
        RpcException error = Assert.ThrowsAsync<RpcException>(
            async () => await _client.UnaryAsync(new EchoRequest(), new Metadata { { key, value } }))!;
        Assert.Multiple(() =>
        {
            Assert.That(error.StatusCode, Is.EqualTo(StatusCode.Internal));
            Assert.That(error.Status.Detail, Does.Contain(key));
        });
    }

    [Test]
    public void Unary_Blocking_Echoes() =>
        Assert.That(_client.Unary(new EchoRequest { Text = "x" }).Text, Is.EqualTo("x"));

    [Test]
    public async Task Unary_PayloadOf3MiB_EchoesIt(CancellationToken token)
    {
        byte[] payload = new byte[3 << 20];
        new Random(1).NextBytes(payload);
        EchoResponse response = await _client.UnaryAsync(new EchoRequest { Payload = ByteString.CopyFrom(payload) }, cancellationToken: token);
        Assert.That(response.Payload.Span.SequenceEqual(payload));
    }

    [Test]
    public async Task Collect_ManyRequests_CollectsAllInOrder(CancellationToken token)
    {
        using AsyncClientStreamingCall<EchoRequest, EchoResponse> call = _client.Collect(cancellationToken: token);
        foreach (char c in "stream")
        {
            await call.RequestStream.WriteAsync(new EchoRequest { Text = c.ToString() }, token);
        }

        await call.RequestStream.CompleteAsync();
        EchoResponse response = await call;
        Assert.Multiple(() =>
        {
            Assert.That(response.Text, Is.EqualTo("stream"));
            Assert.That(response.Index, Is.EqualTo(6));
        });
    }

    [Test]
    public async Task Collect_NoRequests_StillAnswers(CancellationToken token)
    {
        using AsyncClientStreamingCall<EchoRequest, EchoResponse> call = _client.Collect(cancellationToken: token);
        await call.RequestStream.CompleteAsync();
        Assert.That((await call).Index, Is.Zero);
    }

    [Test]
    public async Task Collect_ServerFailsMidStream_WriterAndResponseTellItsStatus(CancellationToken token)
    {
        using AsyncClientStreamingCall<EchoRequest, EchoResponse> call = _client.Collect(cancellationToken: token);
        await call.RequestStream.WriteAsync(new EchoRequest { Text = "early", Action = Action.Fail }, token);
        RpcException response = Assert.ThrowsAsync<RpcException>(async () => await call)!;
        RpcException write = Assert.ThrowsAsync<RpcException>(() => call.RequestStream.WriteAsync(new EchoRequest(), token))!;
        Assert.That(new[] { response.StatusCode, write.StatusCode }, Is.All.EqualTo(StatusCode.FailedPrecondition));
    }

    [Test]
    public async Task Expand_ManyResponses_BringsAllInOrder(CancellationToken token)
    {
        using AsyncServerStreamingCall<EchoResponse> call = _client.Expand(new EchoRequest { Text = "n", Count = 1000 }, cancellationToken: token);
        List<int> indices = [];
        await foreach (EchoResponse response in call.ResponseStream.ReadAllAsync(token))
        {
            indices.Add(response.Index);
        }

        Assert.That(indices, Is.EqualTo(Enumerable.Range(0, 1000)));
    }

    [Test]
    public void Expand_FailsAfterMessages_ThrowsAfterTheLastMessage()
    {
        using AsyncServerStreamingCall<EchoResponse> call = _client.Expand(new EchoRequest { Text = "late", Count = 2, Action = Action.Fail });
        int count = 0;
        RpcException error = Assert.ThrowsAsync<RpcException>(async () =>
        {
            await foreach (EchoResponse response in call.ResponseStream.ReadAllAsync())
            {
                count++;
            }
        })!;
        Assert.Multiple(() =>
        {
            Assert.That(count, Is.EqualTo(2));
            Assert.That(error.StatusCode, Is.EqualTo(StatusCode.FailedPrecondition));
            Assert.That(error.Trailers.GetValue("reason"), Is.EqualTo("4 characters"));
        });
    }

    [Test]
    public async Task Converse_PingPong_HeadersComeBeforeTheFirstRequest(CancellationToken token)
    {
        using AsyncDuplexStreamingCall<EchoRequest, EchoResponse> call = _client.Converse(cancellationToken: token);
        Metadata headers = await call.ResponseHeadersAsync.WaitAsync(token);
        Assert.That(headers.GetValue("greeting"), Is.EqualTo("hello"));
        for (int i = 0; i < 50; i++)
        {
            await call.RequestStream.WriteAsync(new EchoRequest { Text = $"{i}" }, token);
            Assert.That(await call.ResponseStream.MoveNext(token));
            Assert.That(call.ResponseStream.Current.Text, Is.EqualTo($"{i}"));
        }

        await call.RequestStream.CompleteAsync();
        Assert.That(await call.ResponseStream.MoveNext(token), Is.False);
        Assert.That(call.GetStatus().StatusCode, Is.EqualTo(StatusCode.OK));
        Assert.ThrowsAsync<InvalidOperationException>(() => call.RequestStream.WriteAsync(new EchoRequest(), token));
    }

    [Test]
    public void Unary_Fails_BringsStatusTrailersAndDetails()
    {
        EchoRequest request = new() { Text = "größer", Action = Action.Fail };
        RpcException error = Assert.ThrowsAsync<RpcException>(async () => await _client.UnaryAsync(request))!;
        Assert.Multiple(() =>
        {
            Assert.That(error.StatusCode, Is.EqualTo(StatusCode.FailedPrecondition));
            Assert.That(error.Status.Detail, Is.EqualTo("100 % wrong: größer"));
            Assert.That(EchoRequest.Parser.ParseFrom(error.Trailers.GetValueBytes("grpc-status-details-bin")).Text, Is.EqualTo("größer"));
        });
    }

    [Test]
    public void Unary_ServerThrowsAnythingElse_IsUnknownWithoutItsText()
    {
        RpcException error = Assert.ThrowsAsync<RpcException>(async () => await _client.UnaryAsync(new EchoRequest { Action = Action.Break }))!;
        Assert.Multiple(() =>
        {
            Assert.That(error.StatusCode, Is.EqualTo(StatusCode.Unknown));
            Assert.That(error.Status.Detail, Does.Not.Contain("secret"));
        });
    }

    [Test]
    public void Unary_MethodNotServed_IsUnimplemented()
    {
        RpcException error = Assert.ThrowsAsync<RpcException>(async () => await _client.MissingAsync(new EchoRequest()))!;
        Assert.That(error.StatusCode, Is.EqualTo(StatusCode.Unimplemented));
    }

    [TestCase(Action.Hang)]
    [TestCase(Action.HangAfterHeaders)]
    public async Task Unary_DeadlinePasses_BothSidesEnd(Action action, CancellationToken token)
    {
        string text = $"deadline {transport} {action}";
        DateTime deadline = DateTime.UtcNow.AddMilliseconds(300);
        RpcException error = Assert.ThrowsAsync<RpcException>(
            async () => await _client.UnaryAsync(new EchoRequest { Text = text, Action = action }, deadline: deadline, cancellationToken: token))!;
        ServerCallContext context = await _server.Log.Started(text).WaitAsync(token);
        await _server.Log.Cancelled(text).WaitAsync(token);
        Assert.Multiple(() =>
        {
            Assert.That(error.StatusCode, Is.EqualTo(StatusCode.DeadlineExceeded));
            Assert.That(context.Deadline, Is.EqualTo(deadline).Within(TimeSpan.FromSeconds(2)));
        });
    }

    [Test]
    public void Unary_DeadlineHasPassed_NeverReachesTheServer()
    {
        RpcException error = Assert.ThrowsAsync<RpcException>(
            async () => await _client.UnaryAsync(new EchoRequest { Text = "too late" }, deadline: DateTime.UtcNow.AddSeconds(-1)))!;
        Assert.Multiple(() =>
        {
            Assert.That(error.StatusCode, Is.EqualTo(StatusCode.DeadlineExceeded));
            Assert.That(_server.Log.Started("too late").IsCompleted, Is.False);
        });
    }

    [Test]
    public async Task Unary_CallerCancels_ServerSeesIt(CancellationToken token)
    {
        string text = $"cancel {transport}";
        using CancellationTokenSource cancellation = new();
        using AsyncUnaryCall<EchoResponse> call =
            _client.UnaryAsync(new EchoRequest { Text = text, Action = Action.Hang }, cancellationToken: cancellation.Token);
        await _server.Log.Started(text).WaitAsync(token);
        await cancellation.CancelAsync();
        RpcException error = Assert.ThrowsAsync<RpcException>(async () => await call)!;
        await _server.Log.Cancelled(text).WaitAsync(token);
        Assert.That(error.StatusCode, Is.EqualTo(StatusCode.Cancelled));
    }

    [Test]
    public async Task Expand_CallerDisposes_ServerSeesIt(CancellationToken token)
    {
        string text = $"dispose {transport}";
        AsyncServerStreamingCall<EchoResponse> call = _client.Expand(new EchoRequest { Text = text, Count = 1, Action = Action.Hang }, cancellationToken: token);
        Assert.That(await call.ResponseStream.MoveNext(token));
        await _server.Log.Started(text).WaitAsync(token);
        call.Dispose();
        await _server.Log.Cancelled(text).WaitAsync(token);
        Assert.That(call.GetStatus().StatusCode, Is.EqualTo(StatusCode.Cancelled));
    }

    [Test]
    public async Task Expand_SlowReader_ServerWaitsAndNothingIsLost(CancellationToken token)
    {
        // 64 x 256 KiB are more than any window or buffer between the two holds.
        byte[] payload = new byte[256 << 10];
        new Random(2).NextBytes(payload);
        string text = $"slow {transport}";
        using AsyncServerStreamingCall<EchoResponse> call =
            _client.Expand(new EchoRequest { Text = text, Count = 64, Payload = ByteString.CopyFrom(payload) }, cancellationToken: token);
        Assert.That(await call.ResponseStream.MoveNext(token));
        Assert.That(_server.Log.Started(text).IsCompleted, Is.False, "the server has written everything although nobody read it");
        int count = 1;
        while (await call.ResponseStream.MoveNext(token))
        {
            Assert.That(call.ResponseStream.Current.Payload.Span.SequenceEqual(payload));
            count++;
        }

        Assert.That(count, Is.EqualTo(64));
    }

    [Test]
    public async Task Expand_DeadlineWhileServerWaitsForReader_EndsBothSides(CancellationToken token)
    {
        EchoRequest request = new() { Text = $"stuck {transport}", Count = 64, Payload = ByteString.CopyFrom(new byte[256 << 10]) };
        using AsyncServerStreamingCall<EchoResponse> call =
            _client.Expand(request, new Metadata { { "grpc-internal-encoding-request", "gzip" } }, DateTime.UtcNow.AddMilliseconds(500), token);
        ServerCallContext context = await _server.Log.Started("begin " + request.Text).WaitAsync(token);
        TaskCompletionSource cancelled = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await using CancellationTokenRegistration registration = context.CancellationToken.Register(cancelled.SetResult);
        await cancelled.Task.WaitAsync(token);
        RpcException error = Assert.ThrowsAsync<RpcException>(async () =>
        {
            while (await call.ResponseStream.MoveNext(token))
            {
            }
        })!;
        Assert.That(error.StatusCode, Is.EqualTo(StatusCode.DeadlineExceeded));
        Assert.That((await _client.UnaryAsync(new EchoRequest { Text = "alive" }, cancellationToken: token)).Text, Is.EqualTo("alive"));
    }

    [Test]
    public async Task Dispose_ChannelWithRunningCall_EndsTheCall(CancellationToken token)
    {
        string text = $"channel {transport}";
        GrpcChannel channel = _server.Connect();
        using AsyncUnaryCall<EchoResponse> call = new Echo.EchoClient(channel).UnaryAsync(new EchoRequest { Text = text, Action = Action.Hang }, cancellationToken: token);
        await _server.Log.Started(text).WaitAsync(token);
        channel.Dispose();
        RpcException error = Assert.ThrowsAsync<RpcException>(async () => await call)!;
        await _server.Log.Cancelled(text).WaitAsync(token);
        Assert.That(error.StatusCode, Is.EqualTo(StatusCode.Cancelled));
    }

    [Test]
    public void Unary_ThrowOperationCanceled_ThrowsThat()
    {
        using GrpcChannel channel = _server.Connect(o => o.ThrowOperationCanceledOnCancellation = true);
        Assert.ThrowsAsync<OperationCanceledException>(async () =>
            await new Echo.EchoClient(channel).UnaryAsync(new EchoRequest { Action = Action.Hang }, deadline: DateTime.UtcNow.AddMilliseconds(50)));
    }

    [Test]
    public async Task Peer_OfACall_NamesTheTransport(CancellationToken token)
    {
        await _client.UnaryAsync(new EchoRequest { Text = $"peer {transport}" }, cancellationToken: token);
        ServerCallContext context = await _server.Log.Started($"peer {transport}");
        Assert.That(context.Method, Is.EqualTo("/cosim.tests.Echo/Unary"));
    }
}
