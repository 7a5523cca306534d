// SPDX-License-Identifier: Apache-2.0
using Cosim.Tests.Echoes;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Grpc.Health.V1;
using Grpc.Net.Client;
using Grpc.Reflection.V1Alpha;
using NUnit.Framework;
using ServingStatus = Grpc.Health.V1.HealthCheckResponse.Types.ServingStatus;

namespace Cosim.Grpc.Tests;

[CancelAfter(20_000)]
public sealed class HealthAndReflectionTests
{
    private EchoServer _server = null!;
    private GrpcChannel _channel = null!;

    [SetUp]
    public async Task StartAsync()
    {
        _server = await EchoServer.StartAsync(Transport.UnixSocket, o => o.EnableDetailedErrors = true);
        _channel = _server.Connect();
    }

    [TearDown]
    public async Task StopAsync()
    {
        _channel.Dispose();
        await _server.DisposeAsync();
    }

    [TestCase("")]
    [TestCase("cosim.tests.Echo")]
    public async Task Check_KnownService_FollowsTheHealthChecks(string service, CancellationToken token)
    {
        Health.HealthClient client = new(_channel);
        HealthCheckRequest request = new() { Service = service };
        ServingStatus before = (await client.CheckAsync(request, cancellationToken: token)).Status;
        _server.IsHealthy = false;
        ServingStatus after = (await client.CheckAsync(request, cancellationToken: token)).Status;
        Assert.That((before, after), Is.EqualTo((ServingStatus.Serving, ServingStatus.NotServing)));
    }

    [Test]
    public void Check_UnknownService_IsNotFound()
    {
        RpcException error = Assert.ThrowsAsync<RpcException>(
            async () => await new Health.HealthClient(_channel).CheckAsync(new HealthCheckRequest { Service = "nobody" }))!;
        Assert.That(error.StatusCode, Is.EqualTo(StatusCode.NotFound));
    }

    [Test]
    public async Task Watch_HealthChanges_StreamsEachChangeOnce(CancellationToken token)
    {
        using AsyncServerStreamingCall<HealthCheckResponse> call = new Health.HealthClient(_channel).Watch(new HealthCheckRequest(), cancellationToken: token);
        List<ServingStatus> seen = [];
        foreach (bool healthy in new[] { false, true, true })
        {
            Assert.That(await call.ResponseStream.MoveNext(token));
            seen.Add(call.ResponseStream.Current.Status);
            _server.IsHealthy = healthy;
        }

        Assert.That(seen, Is.EqualTo(new[] { ServingStatus.Serving, ServingStatus.NotServing, ServingStatus.Serving }));
    }

    [Test]
    public async Task Reflection_ListAndDescribe_LeadFromServiceToMessage(CancellationToken token)
    {
        using AsyncDuplexStreamingCall<ServerReflectionRequest, ServerReflectionResponse> call =
            new ServerReflection.ServerReflectionClient(_channel).ServerReflectionInfo(cancellationToken: token);
        ServerReflectionResponse services = await AskAsync(call, new ServerReflectionRequest { ListServices = "" }, token);
        Assert.That(
            services.ListServicesResponse.Service.Select(s => s.Name),
            Is.SupersetOf(new[] { "cosim.tests.Echo", "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection" }));

        foreach (string symbol in new[] { "cosim.tests.Echo", "cosim.tests.Echo.Unary", "cosim.tests.EchoRequest.Action", "cosim.tests.EchoResponse.text" })
        {
            ServerReflectionResponse file = await AskAsync(call, new ServerReflectionRequest { FileContainingSymbol = symbol }, token);
            FileDescriptorProto proto = FileDescriptorProto.Parser.ParseFrom(file.FileDescriptorResponse.FileDescriptorProto.Single());
            Assert.That(proto.Name, Is.EqualTo(EchoReflection.Descriptor.Name), symbol);
        }
    }

    [Test]
    public async Task Reflection_UnknownSymbolOrFile_IsAnErrorResponseAndTheStreamGoesOn(CancellationToken token)
    {
        using AsyncDuplexStreamingCall<ServerReflectionRequest, ServerReflectionResponse> call =
            new ServerReflection.ServerReflectionClient(_channel).ServerReflectionInfo(cancellationToken: token);
        ServerReflectionRequest[] requests =
        [
            new() { FileContainingSymbol = "no.such" }, new() { FileByFilename = "no.proto" }, new() { AllExtensionNumbersOfType = "no.Message" },
        ];
        foreach (ServerReflectionRequest request in requests)
        {
            ServerReflectionResponse response = await AskAsync(call, request, token);
            Assert.That(response.ErrorResponse?.ErrorCode, Is.EqualTo((int)StatusCode.NotFound));
        }
    }

    private static async Task<ServerReflectionResponse> AskAsync(
        AsyncDuplexStreamingCall<ServerReflectionRequest, ServerReflectionResponse> call, ServerReflectionRequest request, CancellationToken token)
    {
        await call.RequestStream.WriteAsync(request, token);
        Assert.That(await call.ResponseStream.MoveNext(token));
        return call.ResponseStream.Current;
    }
}
