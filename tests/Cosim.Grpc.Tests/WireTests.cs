// SPDX-License-Identifier: Apache-2.0
using System.Net;
using System.Net.Http.Headers;
using Cosim.Tests.Echoes;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using NUnit.Framework;

namespace Cosim.Grpc.Tests;

/// <summary>The server against requests, and the client against responses, that no well-behaved peer would send.</summary>
[CancelAfter(20_000)]
public sealed class WireTests
{
    private EchoServer _server = null!;
    private HttpMessageInvoker _http = null!;

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        _server = await EchoServer.StartAsync(Transport.Loopback);
        _http = new HttpMessageInvoker(_server.MakeHandler());
    }

    [OneTimeTearDown]
    public async Task StopAsync()
    {
        _http.Dispose();
        await _server.DisposeAsync();
    }

    private static IEnumerable<TestCaseData> BadBodies()
    {
        yield return new TestCaseData(Array.Empty<byte>(), StatusCode.Internal).SetArgDisplayNames("no message");
        yield return new TestCaseData(new byte[] { 0, 0, 0 }, StatusCode.Internal).SetArgDisplayNames("half a prefix");
        yield return new TestCaseData(new byte[] { 0, 0, 0, 0, 9, 1, 2 }, StatusCode.Internal).SetArgDisplayNames("half a message");
        yield return new TestCaseData(new byte[] { 2, 0, 0, 0, 0 }, StatusCode.Internal).SetArgDisplayNames("flag 2");
        yield return new TestCaseData(new byte[] { 1, 0, 0, 0, 0 }, StatusCode.Internal).SetArgDisplayNames("compressed without encoding");
        yield return new TestCaseData(new byte[] { 0, 0xff, 0xff, 0xff, 0xff }, StatusCode.ResourceExhausted).SetArgDisplayNames("4 GiB");
        yield return new TestCaseData(new byte[] { 0, 0, 0, 0, 1, 0x0a }, StatusCode.Internal).SetArgDisplayNames("no protobuf");
        yield return new TestCaseData(new byte[] { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, StatusCode.Internal).SetArgDisplayNames("two messages");
    }

    [TestCaseSource(nameof(BadBodies))]
    public async Task Unary_BadBody_AnswersStatus(byte[] body, StatusCode expected, CancellationToken token)
    {
        using HttpResponseMessage response = await PostAsync(body, token);
        Assert.That(Status(response), Is.EqualTo(expected));
    }

    [Test]
    public async Task Unary_UnknownEncoding_IsUnimplementedAndNamesTheKnown(CancellationToken token)
    {
        using HttpResponseMessage response = await PostAsync([1, 0, 0, 0, 0], token, ("grpc-encoding", "snappy"));
        Assert.Multiple(() =>
        {
            Assert.That(Status(response), Is.EqualTo(StatusCode.Unimplemented));
            Assert.That(response.Headers.GetValues("grpc-accept-encoding").Single(), Does.Contain("gzip"));
        });
    }

    [Test]
    public async Task Unary_BodyIsNoGzip_IsInternal(CancellationToken token)
    {
        using HttpResponseMessage response = await PostAsync([1, 0, 0, 0, 2, 7, 7], token, ("grpc-encoding", "gzip"));
        Assert.That(Status(response), Is.EqualTo(StatusCode.Internal));
    }

    [TestCase("10")]
    [TestCase("S")]
    [TestCase("-1S")]
    [TestCase("123456789S")]
    [TestCase("5x")]
    public async Task Unary_BadTimeout_IsInternal(string timeout, CancellationToken token)
    {
        using HttpResponseMessage response = await PostAsync([0, 0, 0, 0, 0], token, ("grpc-timeout", timeout));
        Assert.That(Status(response), Is.EqualTo(StatusCode.Internal));
    }

    [Test]
    public async Task Unary_Fails_AnswersTrailersOnly(CancellationToken token)
    {
        byte[] message = new EchoRequest { Action = EchoRequest.Types.Action.Fail }.ToByteArray();
        using HttpResponseMessage response = await PostAsync([0, 0, 0, 0, (byte)message.Length, .. message], token);
        Assert.Multiple(() =>
        {
            Assert.That(response.Headers.Contains("grpc-status"), "the status stands in the headers");
            Assert.That(response.TrailingHeaders, Is.Empty);
            Assert.That(Status(response), Is.EqualTo(StatusCode.FailedPrecondition));
        });
    }

    [Test]
    public async Task Post_OtherContentType_Is415(CancellationToken token)
    {
        using HttpResponseMessage response = await PostAsync([0, 0, 0, 0, 0], token, contentType: "application/json");
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.UnsupportedMediaType));
    }

    [TestCase("/cosim.tests.Echo/Nothing")]
    [TestCase("/cosim.tests.Nobody/Unary")]
    public async Task Post_UnknownMethodOrService_IsUnimplemented(string path, CancellationToken token)
    {
        using HttpResponseMessage response = await PostAsync([0, 0, 0, 0, 0], token, path: path);
        Assert.That(Status(response), Is.EqualTo(StatusCode.Unimplemented));
    }

    [TestCase("0", StatusCode.Internal, Description = "OK without a message")]
    [TestCase("7", StatusCode.PermissionDenied)]
    [TestCase("77", (StatusCode)77)]
    [TestCase("x", StatusCode.Unknown)]
    [TestCase(null, StatusCode.Cancelled)]
    public void Client_StatusOfResponse_BecomesTheException(string? status, StatusCode expected)
    {
        HttpResponseMessage response = new(HttpStatusCode.OK) { Version = HttpVersion.Version20, Content = new ByteArrayContent([]) };
        response.Content.Headers.ContentType = new MediaTypeHeaderValue("application/grpc");
        if (status is not null)
        {
            response.Headers.TryAddWithoutValidation("grpc-status", status);
        }

        Assert.That(Call(response).StatusCode, Is.EqualTo(expected));
    }

    [TestCase(HttpStatusCode.ServiceUnavailable, StatusCode.Unavailable)]
    [TestCase(HttpStatusCode.NotFound, StatusCode.Unimplemented)]
    [TestCase(HttpStatusCode.Forbidden, StatusCode.PermissionDenied)]
    [TestCase(HttpStatusCode.BadRequest, StatusCode.Internal)]
    public void Client_HttpError_IsMapped(HttpStatusCode http, StatusCode expected) =>
        Assert.That(Call(new HttpResponseMessage(http) { Version = HttpVersion.Version20 }).StatusCode, Is.EqualTo(expected));

    [Test]
    public void Client_NobodyListens_IsUnavailable()
    {
        using GrpcChannel channel = GrpcChannel.ForAddress("http://127.0.0.1:1");
        RpcException error = Assert.ThrowsAsync<RpcException>(async () => await new Echo.EchoClient(channel).UnaryAsync(new EchoRequest()))!;
        Assert.That(error.StatusCode, Is.EqualTo(StatusCode.Unavailable));
    }

    [Test]
    public async Task Client_ServerDies_IsUnavailable(CancellationToken token)
    {
        EchoServer server = await EchoServer.StartAsync(Transport.UnixSocket);
        using GrpcChannel channel = server.Connect();
        using AsyncDuplexStreamingCall<EchoRequest, EchoResponse> call = new Echo.EchoClient(channel).Converse(cancellationToken: token);
        await call.ResponseHeadersAsync.WaitAsync(token);
        await server.DisposeAsync();
        RpcException error = Assert.ThrowsAsync<RpcException>(() => call.ResponseStream.MoveNext(token))!;
        Assert.That(error.StatusCode, Is.EqualTo(StatusCode.Unavailable).Or.EqualTo(StatusCode.Cancelled).Or.EqualTo(StatusCode.Internal));
    }

    private static RpcException Call(HttpResponseMessage response)
    {
        using GrpcChannel channel = GrpcChannel.ForAddress(
            "http://localhost", new GrpcChannelOptions { HttpHandler = new FixedHandler(response), DisposeHttpClient = true });
        return Assert.ThrowsAsync<RpcException>(async () => await new Echo.EchoClient(channel).UnaryAsync(new EchoRequest()))!;
    }

    private static StatusCode Status(HttpResponseMessage response)
    {
        HttpResponseHeaders headers = response.Headers.Contains("grpc-status") ? response.Headers : response.TrailingHeaders;
        return (StatusCode)int.Parse(headers.GetValues("grpc-status").Single(), System.Globalization.CultureInfo.InvariantCulture);
    }

    private async Task<HttpResponseMessage> PostAsync(
        byte[] body, CancellationToken token, (string Name, string Value)? header = null, string contentType = "application/grpc", string path = "/cosim.tests.Echo/Unary")
    {
        using HttpRequestMessage request = new(HttpMethod.Post, new Uri(_server.Address, path))
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new ByteArrayContent(body),
        };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue(contentType);
        if (header is { } h)
        {
            request.Headers.TryAddWithoutValidation(h.Name, h.Value);
        }

        HttpResponseMessage response = await _http.SendAsync(request, token);
        await response.Content.LoadIntoBufferAsync(token);
        return response;
    }

    private sealed class FixedHandler(HttpResponseMessage response) : HttpMessageHandler
    {
        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            await request.Content!.LoadIntoBufferAsync(cancellationToken);
            return response;
        }
    }
}
