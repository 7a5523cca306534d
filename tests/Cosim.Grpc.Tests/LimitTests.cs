// SPDX-License-Identifier: Apache-2.0
using Cosim.Tests.Echoes;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using NUnit.Framework;

namespace Cosim.Grpc.Tests;

/// <summary>Message size limits and compression.</summary>
[CancelAfter(20_000)]
public sealed class LimitTests
{
    private const int Limit = 10_000;
    private static readonly Metadata s_gzip = new() { { "grpc-internal-encoding-request", "gzip" } };

    [TestCase(false)]
    [TestCase(true)]
    public async Task Receive_RequestBeyondTheServersLimit_IsResourceExhausted(bool compressed, CancellationToken token)
    {
        await using EchoServer server = await EchoServer.StartAsync(Transport.Loopback, o => o.MaxReceiveMessageSize = Limit);
        using GrpcChannel channel = server.Connect();
        Echo.EchoClient client = new(channel);

        // Compressed the message is far below the limit: what counts is what it becomes.
        RpcException error = Assert.ThrowsAsync<RpcException>(
            async () => await client.UnaryAsync(Zeros(Limit), compressed ? s_gzip : null, cancellationToken: token))!;
        EchoResponse fits = await client.UnaryAsync(Zeros(Limit - 10), compressed ? s_gzip : null, cancellationToken: token);
        Assert.Multiple(() =>
        {
            Assert.That(error.StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
            Assert.That(fits.Payload, Has.Length.EqualTo(Limit - 10));
        });
    }

    [TestCase(false)]
    [TestCase(true)]
    public async Task Receive_ResponseBeyondTheClientsLimit_IsResourceExhausted(bool compressed, CancellationToken token)
    {
        await using EchoServer server = await EchoServer.StartAsync(Transport.Loopback, o => o.ResponseCompressionAlgorithm = compressed ? "gzip" : null);
        using GrpcChannel channel = server.Connect(o => o.MaxReceiveMessageSize = Limit);
        RpcException error = Assert.ThrowsAsync<RpcException>(
            async () => await new Echo.EchoClient(channel).UnaryAsync(Zeros(Limit), cancellationToken: token))!;
        Assert.That(error.StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
    }

    [Test]
    public async Task Send_BeyondTheSendersLimit_IsResourceExhausted(CancellationToken token)
    {
        await using EchoServer server = await EchoServer.StartAsync(Transport.Loopback, o => o.MaxSendMessageSize = Limit);
        using GrpcChannel free = server.Connect();
        using GrpcChannel bound = server.Connect(o => o.MaxSendMessageSize = Limit);
        RpcException byServer = Assert.ThrowsAsync<RpcException>(
            async () => await new Echo.EchoClient(free).UnaryAsync(Zeros(Limit), cancellationToken: token))!;
        RpcException byClient = Assert.ThrowsAsync<RpcException>(
            async () => await new Echo.EchoClient(bound).UnaryAsync(Zeros(Limit), cancellationToken: token))!;
        Assert.That(new[] { byServer.StatusCode, byClient.StatusCode }, Is.All.EqualTo(StatusCode.ResourceExhausted));
    }

    [Test]
    public async Task Gzip_BothWays_CarriesFewerBytesThanTheMessages(CancellationToken token)
    {
        await using EchoServer server = await EchoServer.StartAsync(Transport.UnixSocket, o => o.ResponseCompressionAlgorithm = "gzip");
        CountingHandler counter = new(server.MakeHandler());
        using GrpcChannel channel = GrpcChannel.ForAddress(server.Address, new GrpcChannelOptions { HttpHandler = counter, DisposeHttpClient = true });
        EchoResponse response = await new Echo.EchoClient(channel).UnaryAsync(Zeros(1 << 20), s_gzip, cancellationToken: token);
        Assert.Multiple(() =>
        {
            Assert.That(response.Payload, Has.Length.EqualTo(1 << 20));
            Assert.That(counter.RequestEncoding, Is.EqualTo("gzip"));
            Assert.That(counter.ResponseEncoding, Is.EqualTo("gzip"));
        });
    }

    [Test]
    public async Task Stream_QuietForLongerThanTheServersGracePeriod_LivesOn(CancellationToken token)
    {
        await using EchoServer server = await EchoServer.StartAsync(
            Transport.UnixSocket, limit: l => l.MinRequestBodyDataRate = new MinDataRate(bytesPerSecond: 1000, gracePeriod: TimeSpan.FromSeconds(1.1)));
        using GrpcChannel channel = server.Connect();
        using AsyncDuplexStreamingCall<EchoRequest, EchoResponse> call = new Echo.EchoClient(channel).Converse(cancellationToken: token);
        await call.RequestStream.WriteAsync(new EchoRequest { Text = "before" }, token);
        Assert.That(await call.ResponseStream.MoveNext(token));

        // The time itself is what is tested: the server looks at rates once a second.
        await Task.Delay(TimeSpan.FromSeconds(3.5), token);
        await call.RequestStream.WriteAsync(new EchoRequest { Text = "after" }, token);
        Assert.That(await call.ResponseStream.MoveNext(token));
        Assert.That(call.ResponseStream.Current.Text, Is.EqualTo("after"));
    }

    private static EchoRequest Zeros(int count) => new() { Payload = ByteString.CopyFrom(new byte[count]) };

    private sealed class CountingHandler(HttpMessageHandler inner) : DelegatingHandler(inner)
    {
        internal string? RequestEncoding { get; private set; }

        internal string? ResponseEncoding { get; private set; }

        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            RequestEncoding = request.Headers.GetValues("grpc-encoding").Single();
            HttpResponseMessage response = await base.SendAsync(request, cancellationToken);
            ResponseEncoding = response.Headers.GetValues("grpc-encoding").Single();
            return response;
        }
    }
}
