// SPDX-License-Identifier: Apache-2.0
using Cosim.V1;
using Grpc.Core;
using Grpc.Net.Client;
using NUnit.Framework;

namespace Cosim.Server.Tests;

/// <summary>Over IP anybody of this machine may call: files below the work folder alone, and no programs. Over the UNIX socket the owner calls.</summary>
[CancelAfter(20_000)]
public sealed class CallerPlacesTests
{
    private DirectoryInfo _folder = null!;

    private string Work => Path.Combine(_folder.FullName, "work");

    private string Outside => Path.Combine(_folder.FullName, "outside");

    [SetUp]
    public void MakeFolders()
    {
        _folder = Directory.CreateTempSubdirectory("cosim-places-");
        Directory.CreateDirectory(Path.Combine(Work, "in"));
        Directory.CreateDirectory(Outside);
        File.WriteAllBytes(Path.Combine(Work, "disk.img"), new byte[512]);
        File.WriteAllBytes(Path.Combine(Outside, "disk.img"), new byte[512]);
        File.CreateSymbolicLink(Path.Combine(Work, "link"), Outside);
        File.CreateSymbolicLink(Path.Combine(Work, "around"), "../outside");
        File.CreateSymbolicLink(Path.Combine(Work, "home"), Path.Combine(Work, "in"));
        File.CreateSymbolicLink(Path.Combine(Work, "loop"), Path.Combine(Work, "loop"));
    }

    [TearDown]
    public void RemoveFolders() => _folder.Delete(recursive: true);

    [TestCase("work/a.stim", null)]
    [TestCase("work/new/folder/a.stim", null)]
    [TestCase("work/home/a.stim", null)]
    [TestCase("work/in/../a.stim", null)]
    [TestCase("outside/a.stim", "record.file")]
    [TestCase("work/../outside/a.stim", "record.file")]
    [TestCase("work/link/a.stim", "record.file")]
    [TestCase("work/around/a.stim", "record.file")]
    [TestCase("work/home/../../outside/a.stim", "record.file")]
    [TestCase("work/link/../work/a.stim", null)]
    [TestCase("work/loop/a.stim", "record.file")]
    [TestCase("work", "record.file")]
    [TestCase("workshop/a.stim", "record.file")]
    public async Task Create_OverIp_RecordsBelowTheWorkFolderAlone(string file, string? violated) =>
        await ExpectAsync(s => s.Record = new RecordSpec { File = Path.Combine(_folder.FullName, file) }, violated);

    private static IEnumerable<TestCaseData> Named()
    {
        yield return Case("devices[0].block.image", (s, o) => s.Devices[0].Block.Image = $"{o}/disk.img");
        yield return Case("host1.socket.directory", (s, o) => s.Host1 = new HostSpec { Socket = new SocketHost { Directory = o } });
        yield return Case("host1.qemu.kernel", (s, o) => s.Host1 = new HostSpec { Qemu = new QemuHost { Kernel = $"{o}/disk.img" } });
        yield return Case("host1.qemu.initrd", (s, o) => s.Host1 = new HostSpec { Qemu = new QemuHost { Initrd = $"{o}/disk.img" } });
        yield return Case("host1.qemu.console", (s, o) => s.Host1 = new HostSpec { Qemu = new QemuHost { Console = $"{o}/log" } });
        yield return Case("host1.qemu.files[0]", (s, o) => s.Host1 = new HostSpec { Qemu = new QemuHost { Files = { $"{o}/disk.img" } } });
        yield return Case("host2.qemu.arguments", (s, _) => s.Host2 = new HostSpec { Qemu = new QemuHost { Arguments = { "-monitor", "stdio" } } });
        yield return Case("host2.process.command", (s, _) => s.Host2 = new HostSpec { Process = new ProcessHost { Command = { "/bin/true" } } });
        yield return Case("fpga.waves.file", (s, o) => (s.Fpga.Kind, s.Fpga.Waves) = (FpgaSpec.Types.Kind.Ghdl, new WavesSpec { File = $"{o}/w.vcd" }));
        yield return Case("fpga.design.files[0]", (s, o) =>
        {
            s.Devices.Clear();
            (s.Fpga.Kind, s.Fpga.Design) = (FpgaSpec.Types.Kind.Ghdl, new DesignSpec { Top = "top", Files = { $"{o}/disk.img" } });
        });

        static TestCaseData Case(string field, Action<Scenario, string> name) => new TestCaseData(field, name).SetArgDisplayNames(field);
    }

    [TestCaseSource(nameof(Named))]
    public async Task Create_OverIp_NamesNothingOfTheMachine(string field, Action<Scenario, string> name) => await ExpectAsync(s => name(s, Outside), field);

    [Test]
    public async Task Create_OverIpWithTrust_NamesWhatItLikes() =>
        await ExpectAsync(s => s.Record = new RecordSpec { File = $"{Outside}/a.stim" }, null, trust: true);

    [Test]
    public async Task Create_OverTheUnixSocket_NamesWhatItLikes() =>
        await ExpectAsync(s => s.Record = new RecordSpec { File = $"{Outside}/a.stim" }, null, address: $"unix:{_folder.FullName}/s.sock");

    private async Task ExpectAsync(Action<Scenario> change, string? violated, bool trust = false, string address = "localhost:0")
    {
        Scenario scenario = new()
        {
            Name = "b",
            Fpga = new FpgaSpec { Kind = FpgaSpec.Types.Kind.Model },
            Devices = { new DeviceSpec { Block = new BlockDevice { Image = Path.Combine(Work, "disk.img") } } },
        };
        change(scenario);
        await using BridgeServer server = await BridgeServer.StartAsync(
            new BridgeServerOptions { Address = ServiceAddress.Parse(address), Factory = new FakeFactory(), WorkFolder = Work, TrustCallers = trust });
        using GrpcChannel channel = server.Address.Connect();
        Bridges.BridgesClient client = new(channel);
        if (violated is null)
        {
            await client.CreateAsync(scenario);
            return;
        }

        RpcException error = Assert.ThrowsAsync<RpcException>(async () => await client.CreateAsync(scenario))!;
        Assert.That(error.StatusCode, Is.EqualTo(StatusCode.InvalidArgument));
        Assert.That(error.Status.Detail, Does.Contain(violated).And.Contain("--trust-callers"));
    }
}
