// SPDX-License-Identifier: Apache-2.0
using Cosim.V1;
using Grpc.Net.Client;

namespace Cosim.Server.Tests;

/// <summary>A running service over fake bridges on a UNIX socket of its own, with clients.</summary>
internal sealed class Service : IAsyncDisposable
{
    private readonly DirectoryInfo _folder;
    private readonly GrpcChannel _channel;

    private Service(DirectoryInfo folder, FakeFactory factory, BridgeServer server)
    {
        _folder = folder;
        _channel = server.Address.Connect();
        Factory = factory;
        Server = server;
        Bridges = new Bridges.BridgesClient(_channel);
        Transactions = new Transactions.TransactionsClient(_channel);
    }

    internal FakeFactory Factory { get; }

    internal BridgeServer Server { get; }

    internal Bridges.BridgesClient Bridges { get; }

    internal Transactions.TransactionsClient Transactions { get; }

    internal string SocketPath => Server.Address.SocketPath!;

    internal static async Task<Service> StartAsync(int mostBridges = 64)
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("cosim-server-");
        FakeFactory factory = new();
        ServiceAddress address = ServiceAddress.Parse($"unix:{folder.FullName}/run/cosim.sock");
        return new Service(folder, factory, await BridgeServer.StartAsync(new BridgeServerOptions { Address = address, Factory = factory, MostBridges = mostBridges }));
    }

    /// <summary>A scenario without violations: a program plays host 1, the image exists.</summary>
    internal Scenario Scenario(string name = "b")
    {
        string image = Path.Combine(_folder.FullName, "disk.img");
        File.WriteAllBytes(image, new byte[4096]);
        return new Scenario
        {
            Name = name,
            Fpga = new FpgaSpec { Kind = FpgaSpec.Types.Kind.Model },
            Host1 = new HostSpec { Program = new ProgramHost() },
            Devices = { new DeviceSpec { Block = new BlockDevice { Image = image } } },
        };
    }

    internal async Task<FakeBridge> CreateAsync(string name = "b")
    {
        await Bridges.CreateAsync(Scenario(name));
        return Factory.Bridges[name];
    }

    public async ValueTask DisposeAsync()
    {
        _channel.Dispose();
        await Server.DisposeAsync();
        _folder.Delete(recursive: true);
    }
}
