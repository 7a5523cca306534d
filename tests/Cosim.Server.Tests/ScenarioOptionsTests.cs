// SPDX-License-Identifier: Apache-2.0
using Cosim.Scheduling;
using Cosim.Server.Scheduled;
using Cosim.V1;
using Cosim.Virtio;
using NUnit.Framework;

namespace Cosim.Server.Tests;

public sealed class ScenarioOptionsTests
{
    private static readonly BridgeFolders s_folders = new() { Hdl = "/h", Build = "/b", Tools = "/t", BackEnd = "/e", Run = "/r", Recordings = "/rec" };

    [Test]
    public void ToBridgeOptions_DesignOfTheUser_HasItsPortsAndFunctions()
    {
        Scenario scenario = new()
        {
            Name = "own",
            Fpga = new FpgaSpec
            {
                Kind = FpgaSpec.Types.Kind.Ghdl,
                Design = new DesignSpec { Top = "t", Files = { "/t.vhd" }, Ports = { new DesignPort { Functions = 3 } }, IdleCycles = 9 },
                Waves = new WavesSpec { File = "/w.ghw" },
            },
            CompletionLatencyCycles = 7,
            Timeouts = new Timeouts { CompletionCycles = 55 },
            Record = new RecordSpec { File = "/r.stim" },
        };
        BridgeOptions options = ScenarioOptions.ToBridgeOptions(scenario, s_folders, "/run", _ => { });
        Assert.Multiple(() =>
        {
            Assert.That(options.Fpga.Design!.Ports, Is.EqualTo(1));
            Assert.That(options.Fpga.Design.IdleCycles, Is.EqualTo(9));
            Assert.That(options.Fpga.WaveFormat, Is.EqualTo(Cosim.Fpga.WaveFormat.Ghw));
            Assert.That(options.CompletionLatencyCycles, Is.EqualTo(7));
            Assert.That(options.CompletionTimeoutCycles, Is.EqualTo(55));
            Assert.That(options.RecordingFile, Is.EqualTo("/r.stim"));
            Assert.That(
                ((SocketHostOptions)options.Hosts.Single()).Sockets,
                Is.EqualTo(new[] { "/run/port0-function0.sock", "/run/port0-function1.sock", "/run/port0-function2.sock" }));
        });
    }

    [TestCase("", VirtioFeatures.UsualRing)]
    [TestCase("{}", VirtioFeatures.UsualRing)]
    [TestCase("""{ "packed": false, "inOrder": true }""", (VirtioFeatures.UsualRing & ~VirtioFeatures.RingPacked) | VirtioFeatures.InOrder)]
    [TestCase(
        """{ "indirectDesc": false, "eventIdx": false, "packed": false, "inOrder": false, "notificationData": false, "ringReset": false }""",
        VirtioFeatures.AccessPlatform | VirtioFeatures.OrderPlatform)]
    [TestCase(
        """{ "indirectDesc": true, "eventIdx": true, "packed": true, "inOrder": true, "notificationData": true, "ringReset": true }""",
        VirtioFeatures.AllRing)]
    public void ToBridgeOptions_Rings_AreWhatTheFunctionsOffer(string rings, ulong expected)
    {
        Scenario scenario = new() { Name = "r", Fpga = new FpgaSpec { Kind = FpgaSpec.Types.Kind.Model } };
        scenario.Fpga.Rings = rings.Length > 0 ? RingSpec.Parser.ParseJson(rings) : null;
        Assert.That(ScenarioOptions.ToBridgeOptions(scenario, s_folders, "/run", _ => { }).RingFeatures, Is.EqualTo(expected));
    }

    [Test]
    public void BackEndDevices_BlockAndNet_AreTheBackEndsArguments()
    {
        Scenario scenario = new()
        {
            Name = "a-name-that-is-longer-than-20",
            Devices =
            {
                new DeviceSpec { Net = new NetDevice { Mac = "52:54:00:00:00:01", Mtu = 9000, Address = "10.0.0.2/24" } },
                new DeviceSpec { Block = new BlockDevice { Image = "/d1", ReadOnly = true, Serial = "s1" } },
                new DeviceSpec { Block = new BlockDevice { Image = "/d2" } },
                new DeviceSpec { Net = new NetDevice() },
                new DeviceSpec { Net = new NetDevice { Mac = "52:54:00:00:00:02", QueuePairs = 3, SpeedMbps = 25_000, Offloads = false, MergedBuffers = false } },
            },
        };
        IReadOnlyList<string> arguments = ScenarioOptions.BackEndDevices(scenario, (disk, block) => $"{disk}{block.Image}");
        Assert.Multiple(() =>
        {
            Assert.That(arguments.Take(6), Is.EqualTo(new[]
            {
                "--net", "tap=tap0,mac=52:54:00:00:00:01,mtu=9000,ip=10.0.0.2/24",
                "--blk", "0/d1,ro,serial=s1",
                "--blk", "1/d2,serial=a-name-that-is-longe",
            }.AsEnumerable()));
            Assert.That(arguments[7], Does.Match("^tap=tap1,mac=02(:[0-9a-f]{2}){5}$"));
            Assert.That(arguments[9], Is.EqualTo("tap=tap2,mac=52:54:00:00:00:02,pairs=3,speed=25000,offloads=off,merge=off"));
        });
    }

    [Test]
    public void BackEndDevices_OfAllKinds_AreTheBackEndsArgumentsAndTheGuestHasTheirModules()
    {
        Scenario scenario = new()
        {
            Name = "all",
            Devices =
            {
                new DeviceSpec
                {
                    Block = new BlockDevice
                    {
                        Image = "/d", Queues = 4, LogicalBlockBytes = 1024, PhysicalBlockBytes = 4096, OptimalBytes = 65536, Discard = false, WriteThrough = true,
                    },
                },
                new DeviceSpec
                {
                    Console = new ConsoleDevice
                    {
                        Ports =
                        {
                            new ConsolePort { Console = true, Pty = "/run/p" },
                            new ConsolePort { Name = "a", Socket = "/run/s" },
                            new ConsolePort { Name = "b", Pipe = "/run/f" },
                            new ConsolePort { Name = "c", File = "/run/l" },
                        },
                    },
                },
                new DeviceSpec { Rng = new RngDevice() },
                new DeviceSpec { Rng = new RngDevice { BytesPerSecond = 1000 } },
            },
        };

        Assert.That(ScenarioOptions.BackEndDevices(scenario, (_, block) => block.Image), Is.EqualTo(new[]
        {
            "--blk", "/d,serial=all,queues=4,block=1024,physical=4096,optimal=65536,discard=off,cache=through",
            "--console", "console:pty:/run/p,a=socket:/run/s,b=pipe:/run/f,c=file:/run/l",
            "--rng", "unlimited",
            "--rng", "rate=1000",
        }.AsEnumerable()));
        Assert.That(ScenarioOptions.HostOneModules(scenario), Is.EqualTo(new[] { "virtio_console", "virtio_rng" }.AsEnumerable()));
        scenario.Devices.Clear();
        Assert.That(ScenarioOptions.HostOneModules(scenario), Is.Empty);
    }

    [Test]
    public void BackEndDevices_CommaInAPath_IsRefusedByName()
    {
        Scenario scenario = new() { Name = "n", Devices = { new DeviceSpec { Block = new BlockDevice { Image = "/a,b" } } } };
        Assert.That(
            () => ScenarioOptions.BackEndDevices(scenario, (_, block) => block.Image),
            Throws.TypeOf<BridgeException>().With.Message.Contains("devices[0].block.image"));
    }
}
