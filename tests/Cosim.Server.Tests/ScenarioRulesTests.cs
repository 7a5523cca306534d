// SPDX-License-Identifier: Apache-2.0
using Cosim.Server.Scenarios;
using Cosim.V1;
using NUnit.Framework;
using Kind = Cosim.V1.FpgaSpec.Types.Kind;

namespace Cosim.Server.Tests;

public sealed class ScenarioRulesTests
{
    private static readonly string s_image = Path.Combine(Path.GetTempPath(), $"cosim-rules-{Environment.ProcessId}.img");
    private static readonly string s_odd = s_image + ".odd";

    [OneTimeSetUp]
    public void MakeImages()
    {
        File.WriteAllBytes(s_image, new byte[1024]);
        File.WriteAllBytes(s_odd, new byte[1000]);
    }

    [OneTimeTearDown]
    public void RemoveImages()
    {
        File.Delete(s_image);
        File.Delete(s_odd);
    }

    [Test]
    public void Check_AllKindsOfDevices_FindsNothing()
    {
        Scenario scenario = Good();
        scenario.Devices.Add(Console(Port("a"), new ConsolePort { Console = true, Pty = "/run/console" }, new ConsolePort { Name = "log-1", File = "/run/log" }));
        scenario.Devices.Add(new DeviceSpec { Rng = new RngDevice() });
        scenario.Devices[0].Block.Queues = 8;
        Assert.That(ScenarioRules.Check(scenario), Is.Empty);
    }

    [Test]
    public void Check_GoodScenario_FindsNothing() => Assert.That(ScenarioRules.Check(Good()), Is.Empty);

    private static IEnumerable<TestCaseData> BadScenarios()
    {
        yield return Case("name", s => s.Name = "");
        yield return Case("name", s => s.Name = "../x");
        yield return Case("fpga", s => s.Fpga = null);
        yield return Case("fpga.kind", s => s.Fpga.Kind = Kind.Unspecified);
        yield return Case("fpga.inProcess", s => (s.Fpga.Kind, s.Fpga.InProcess) = (Kind.Ghdl, true));
        yield return Case("fpga.waves", s => s.Fpga.Waves = new WavesSpec { File = "/w.vcd" });
        yield return Case("fpga.waves.file", s => (s.Fpga.Kind, s.Fpga.Waves) = (Kind.Ghdl, new WavesSpec { File = "/w.txt" }));
        yield return Case("fpga.waves.format", s => (s.Fpga.Kind, s.Fpga.Waves) = (Kind.Verilator, new WavesSpec { File = "/w.ghw" }));
        yield return Case("record.file", s => s.Record = new RecordSpec());
        yield return Case("record.file", s => s.Record = new RecordSpec { File = "relative.stim" });
        yield return Case("host1", s => s.Host1 = new HostSpec());
        yield return Case("host1.process", s => s.Host1 = new HostSpec { Process = new ProcessHost() });
        yield return Case("host1.program.memoryBytes", s => s.Host1.Program.MemoryBytes = 5000);
        yield return Case("host1.socket.directory", s => s.Host1 = new HostSpec { Socket = new SocketHost { Directory = "/" + new string('d', 100) } });
        yield return Case("host2.qemu.memoryMib", s => s.Host2 = new HostSpec { Qemu = new QemuHost { MemoryMib = 1 } });
        yield return Case("host2.qemu.kernel", s => s.Host2 = new HostSpec { Qemu = new QemuHost { Kernel = "/no/kernel" } });
        yield return Case("host1.qemu.files[0]", s => s.Host1 = new HostSpec { Qemu = new QemuHost { Files = { "/no/file" } } });
        yield return Case("host1.qemu.files[1]", s => s.Host1 = new HostSpec { Qemu = new QemuHost { Files = { s_image, s_image } } });
        yield return Case("host1.qemu.command", s => s.Host1 = new HostSpec { Qemu = new QemuHost { Initrd = s_image, Command = "true" } });
        yield return Case("host2.qemu.files", s => s.Host2 = new HostSpec { Qemu = new QemuHost { Files = { s_image } } });
        yield return Case("host1.qemu.placement", s => s.Host1 = new HostSpec { Qemu = new QemuHost { Machine = QemuHost.Types.Machine.Pc, Placement = QemuHost.Types.Placement.RootPort } });
        yield return Case("host1.qemu.kernelRelease", s => s.Host1 = new HostSpec { Qemu = new QemuHost { KernelRelease = "6.1.0-1" } });
        yield return Case("host1.qemu.kernelRelease", s => s.Host1 = new HostSpec { Qemu = new QemuHost { KernelRelease = "6.1", Kernel = s_image } });
        yield return Case("host2.qemu.machine", s => s.Host2 = new HostSpec { Qemu = new QemuHost { Machine = QemuHost.Types.Machine.Pc } });
        yield return Case("host2.qemu.placement", s => s.Host2 = new HostSpec { Qemu = new QemuHost { Placement = QemuHost.Types.Placement.RootBus } });
        yield return Case("devices", s => s.Devices.Clear());
        yield return Case("devices", s => s.Devices.Add(Enumerable.Repeat(s.Devices[1], 7)));
        yield return Case("devices[0]", s => s.Devices[0] = new DeviceSpec());
        yield return Case("devices[0].block.image", s => s.Devices[0].Block.Image = "");
        yield return Case("devices[0].block.image", s => s.Devices[0].Block.Image = "/no/such.img");
        yield return Case("devices[0].block.image", s => s.Devices[0].Block.Image = s_odd);
        yield return Case("devices[0].block.queues", s => s.Devices[0].Block.Queues = 0);
        yield return Case("devices[0].block.queues", s => s.Devices[0].Block.Queues = 9); // the FPGA has 8
        yield return Case("devices[0].block.logicalBlockBytes", s => s.Devices[0].Block.LogicalBlockBytes = 768);
        yield return Case("devices[0].block.physicalBlockBytes", s => (s.Devices[0].Block.LogicalBlockBytes, s.Devices[0].Block.PhysicalBlockBytes) = (1024, 512));
        yield return Case("devices[0].block.optimalBytes", s => s.Devices[0].Block.OptimalBytes = 100);
        yield return Case("devices[0].block.image", s => s.Devices[0].Block.LogicalBlockBytes = 4096); // it has 1024 bytes
        yield return Case("devices[2].console.ports", s => s.Devices.Add(Console()));
        yield return Case("devices[2].console.ports", s => s.Devices.Add(Console(Port("a"), Port("b"), Port("c"), Port("d")))); // 10 queues where there are 8
        yield return Case("devices[2].console.ports[1].name", s => s.Devices.Add(Console(Port("a"), Port("a"))));
        yield return Case("devices[2].console.ports[0].name", s => s.Devices.Add(Console(Port("a,b"))));
        yield return Case("devices[2].console.ports[0]", s => s.Devices.Add(Console(new ConsolePort { Name = "a" })));
        yield return Case("devices[2].console.ports[0].pty", s => s.Devices.Add(Console(new ConsolePort { Pty = "relative" })));
        yield return Case("devices[2].console.ports[0].file", s => s.Devices.Add(Console(new ConsolePort { File = "/a,b" })));
        yield return Case("devices[2].rng.bytesPerSecond", s => s.Devices.Add(new DeviceSpec { Rng = new RngDevice { BytesPerSecond = 0 } }));
        yield return Case("devices[0].block.serial", s => s.Devices[0].Block.Serial = "a,ro"); // the back end takes it as one more option
        yield return Case("devices[0].block.serial", s => s.Devices[0].Block.Serial = "a serial of 21 chars.");
        yield return Case("devices[1].net.mac", s => s.Devices[1].Net.Mac = "52:54:00:12:34");
        yield return Case("devices[1].net.mac", s => s.Devices[1].Net.Mac = "01:00:5e:00:00:01");
        yield return Case("devices[1].net.mtu", s => s.Devices[1].Net.Mtu = 67);
        yield return Case("devices[1].net.mtu", s => s.Devices[1].Net.Mtu = 65522);
        yield return Case("devices[1].net.queuePairs", s => s.Devices[1].Net.QueuePairs = 0);
        yield return Case("devices[1].net.queuePairs", s => s.Devices[1].Net.QueuePairs = 4); // 9 queues where there are 8
        yield return Case("devices[1].net.queuePairs", s => (s.Fpga.QueuesPerFunction, s.Devices[1].Net.QueuePairs) = (64, 32));
        yield return Case("devices[1].net.speedMbps", s => s.Devices[1].Net.SpeedMbps = uint.MaxValue);
        yield return Case("devices[1].net.address", s => s.Devices[1].Net.Address = "10.0.0.1");
        yield return Case("devices[1].net.address", s => s.Devices[1].Net.Address = "10.1/8");
        yield return Case("fpga.queuesPerFunction", s => s.Fpga.QueuesPerFunction = 0);
        yield return Case("fpga.queuesPerFunction", s =>
        {
            s.Fpga.QueuesPerFunction = 64; // 512 queues of 8 devices: one more than the back-end endpoint has vectors for
            s.Devices.Add(Enumerable.Repeat(s.Devices[0], 6));
        });
        yield return Case("completionLatencyCycles", s => s.CompletionLatencyCycles = 0);
        yield return Case("timeouts.mailbox", s => s.Timeouts = new Timeouts { Mailbox = new() });
        yield return Case("fpga.design", s => UseDesign(s));
        yield return Case("fpga.design.files", s => UseDesign(s, Kind.Ghdl));
        yield return Case("fpga.rings", s =>
        {
            UseDesign(s, Kind.Ghdl);
            s.Fpga.Design.Files.Add(s_image);
            s.Fpga.Rings = new RingSpec();
        });
        yield return Case("devices", s => UseDesign(s, Kind.Ghdl));

        static TestCaseData Case(string field, Action<Scenario> spoil) => new TestCaseData(field, spoil).SetArgDisplayNames(field);
    }

    [TestCaseSource(nameof(BadScenarios))]
    public void Check_OneFault_NamesItsField(string field, Action<Scenario> spoil)
    {
        Scenario scenario = Good();
        spoil(scenario);
        Assert.That(ScenarioRules.Check(scenario).Select(v => v.Field), Does.Contain(field));
    }

    private static void UseDesign(Scenario scenario, Kind kind = Kind.Model) =>
        (scenario.Fpga.Kind, scenario.Fpga.Design) = (kind, new DesignSpec { Top = "top" });

    private static DeviceSpec Console(params ConsolePort[] ports) => new() { Console = new ConsoleDevice { Ports = { ports } } };

    private static ConsolePort Port(string name) => new() { Name = name, Socket = $"/run/{name}" };

    private static Scenario Good() => new()
    {
        Name = "good-1",
        Fpga = new FpgaSpec { Kind = Kind.Model },
        Host1 = new HostSpec { Program = new ProgramHost { MemoryBytes = 8192 } },
        Host2 = new HostSpec { Qemu = new QemuHost { MemoryMib = 256 } },
        Devices =
        {
            new DeviceSpec { Block = new BlockDevice { Image = s_image, Serial = "x" } },
            new DeviceSpec { Net = new NetDevice { Mac = "52:54:00:12:34:56", Mtu = 1500 } },
        },
    };
}
