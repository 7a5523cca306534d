// SPDX-License-Identifier: Apache-2.0
using System.Net.Sockets;
using Cosim.V1;
using Grpc.Health.V1;
using Grpc.Net.Client;
using NUnit.Framework;

namespace Cosim.Server.Tests;

[CancelAfter(20_000)]
public sealed class BridgeServerTests
{
    [Test]
    public async Task Start_UnixSocket_IsTheOwnersAlone()
    {
        await using Service service = await Service.StartAsync();
        Assert.That(File.GetUnixFileMode(service.SocketPath), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
    }

    [Test]
    public async Task Start_SocketInUse_SaysSoAndTheFirstServiceLivesOn(CancellationToken token)
    {
        await using Service service = await Service.StartAsync();
        BridgeException error = Assert.ThrowsAsync<BridgeException>(() => StartAsync(service.Server.Address))!;
        Assert.That(error.Message, Does.Contain(service.SocketPath));
        Assert.That((await service.Bridges.ListAsync(new ListBridgesRequest(), cancellationToken: token)).Bridges, Is.Empty);
    }

    [Test]
    public async Task Start_StaleSocket_TakesItsPlace(CancellationToken token)
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("cosim-stale-");
        try
        {
            string path = Path.Combine(folder.FullName, "s.sock");
            using (Socket dead = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
            {
                // Closing removes the file under the name that was bound, which a killed process would leave.
                dead.Bind(new UnixDomainSocketEndPoint(path + ".bound"));
                File.Move(path + ".bound", path);
            }

            await using BridgeServer server = await StartAsync(ServiceAddress.Parse("unix:" + path));
            using GrpcChannel channel = server.Address.Connect();
            ListBridgesResponse list = await new Bridges.BridgesClient(channel).ListAsync(new ListBridgesRequest(), cancellationToken: token);
            Assert.That(list.Bridges, Is.Empty);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [TestCase("0.0.0.0:0")]
    [TestCase("[::]:0")]
    public async Task Start_ReachableFromOtherMachines_NeedsLeave(string address)
    {
        Assert.That(() => StartAsync(ServiceAddress.Parse(address)), Throws.TypeOf<BridgeException>().With.Message.Contains("--allow-remote"));
        await using BridgeServer allowed = await StartAsync(ServiceAddress.Parse(address), allowRemote: true);
        Assert.That(((System.Net.IPEndPoint)allowed.Address.EndPoint).Port, Is.Positive);
    }

    [Test]
    public async Task Start_Loopback_ServesHealth(CancellationToken token)
    {
        await using BridgeServer server = await StartAsync(ServiceAddress.Parse("localhost:0"));
        using GrpcChannel channel = server.Address.Connect();
        HealthCheckResponse health = await new Health.HealthClient(channel).CheckAsync(
            new HealthCheckRequest { Service = "cosim.v1.Bridges" }, cancellationToken: token);
        Assert.That(health.Status, Is.EqualTo(HealthCheckResponse.Types.ServingStatus.Serving));
    }

    [TestCase("nonsense")]
    [TestCase("127.0.0.1")]
    [TestCase("127.0.0.1:99999")]
    [TestCase("example:1")]
    public void Parse_NoAddress_SaysWhatIsExpected(string text) =>
        Assert.That(() => ServiceAddress.Parse(text), Throws.TypeOf<FormatException>().With.Message.Contains("unix:PATH"));

    [Test]
    public void Parse_SocketPathTooLong_SaysSo() =>
        Assert.That(() => ServiceAddress.Parse("unix:/" + new string('x', 107)), Throws.TypeOf<FormatException>().With.Message.Contains("107"));

    private static Task<BridgeServer> StartAsync(ServiceAddress address, bool allowRemote = false) =>
        BridgeServer.StartAsync(new BridgeServerOptions { Address = address, Factory = new FakeFactory(), AllowRemote = allowRemote });
}
