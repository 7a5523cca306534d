// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;
using System.Text;
using Cosim.Fpga;
using Cosim.Scheduling;
using Cosim.Server.Scenarios;
using Cosim.V1;
using Cosim.Virtio;
using Google.Protobuf.WellKnownTypes;

namespace Cosim.Server.Scheduled;

/// <summary>Reads a scenario as the options of a bridge and the arguments of its back end. Pure functions.</summary>
internal static class ScenarioOptions
{
    private const int BackEndPort = 1;
    private static readonly TimeSpan s_mailboxTimeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_simulatorTimeout = TimeSpan.FromSeconds(60);

    internal static BridgeOptions ToBridgeOptions(Scenario scenario, BridgeFolders folders, string runFolder, Action<string> log)
    {
        BridgeOptions options = new()
        {
            Name = scenario.Name,
            Fpga = ToFpgaOptions(scenario, folders),
            Hosts = [.. Enumerable.Range(0, Ports(scenario)).Select(port => ToHostOptions(scenario, port, runFolder))],
            MailboxTimeout = OrDefault(scenario.Timeouts?.Mailbox, s_mailboxTimeout),
            RecordingFile = scenario.Record?.File,
            RingFeatures = ToRingFeatures(scenario.Fpga.Rings ?? new RingSpec()),
            Log = log,
        };
        return options with
        {
            CompletionLatencyCycles = scenario.HasCompletionLatencyCycles ? scenario.CompletionLatencyCycles : options.CompletionLatencyCycles,
            CompletionTimeoutCycles = scenario.Timeouts is { HasCompletionCycles: true } t ? t.CompletionCycles : options.CompletionTimeoutCycles,
            ClockHz = scenario.Fpga.HasClockHz ? scenario.Fpga.ClockHz : options.ClockHz,
        };
    }

    /// <summary>PCIe ports of the scenario's FPGA: two of the virtio FPGA, one of a design that does not say.</summary>
    internal static int Ports(Scenario scenario) => scenario.Fpga.Design is { } design ? Math.Max(design.Ports.Count, 1) : 2;

    /// <summary>The host of a port; null where the scenario has none.</summary>
    internal static HostSpec? Host(Scenario scenario, int port) => port == 0 ? scenario.Host1 : scenario.Host2;

    /// <summary>The sockets of a port in order of function number.</summary>
    internal static IReadOnlyList<string> Sockets(Scenario scenario, int port, string runFolder)
    {
        string? given = Host(scenario, port)?.Socket?.Directory;
        string folder = string.IsNullOrEmpty(given) ? runFolder : given;
        return [.. Enumerable.Range(0, Functions(scenario, port)).Select(f => Path.Combine(folder, $"port{port}-function{f}.sock"))];
    }

    /// <summary>The devices as arguments of cosim-backend; <paramref name="diskOf"/> gives the path of a block device's disk where the back end runs.</summary>
    internal static IReadOnlyList<string> BackEndDevices(Scenario scenario, Func<int, BlockDevice, string> diskOf)
    {
        List<string> arguments = [];
        int disks = 0;
        int taps = 0;
        for (int i = 0; i < scenario.Devices.Count; i++)
        {
            DeviceSpec device = scenario.Devices[i];
            if (device.Block is { } block)
            {
                string disk = diskOf(disks++, block);
                if (disk.Contains(',', StringComparison.Ordinal))
                {
                    throw new BridgeException($"devices[{i}].block.image is {disk}; a path with a comma cannot be given to the back end.");
                }

                string serial = block.Serial.Length > 0 ? block.Serial : scenario.Name[..Math.Min(scenario.Name.Length, 20)];
                string queues = block.HasQueues ? $",queues={block.Queues}" : "";
                string logical = block.HasLogicalBlockBytes ? $",block={block.LogicalBlockBytes}" : "";
                string physical = block.HasPhysicalBlockBytes ? $",physical={block.PhysicalBlockBytes}" : "";
                string optimal = block.HasOptimalBytes ? $",optimal={block.OptimalBytes}" : "";
                string discard = block is { HasDiscard: true, Discard: false } ? ",discard=off" : "";
                string cache = block.WriteThrough ? ",cache=through" : "";
                arguments.AddRange(["--blk", $"{disk}{(block.ReadOnly ? ",ro" : "")},serial={serial}{queues}{logical}{physical}{optimal}{discard}{cache}"]);
            }
            else if (device.Console is { } console)
            {
                arguments.AddRange(["--console", string.Join(',', console.Ports.Select(ToArgument))]);
            }
            else if (device.Rng is { } rng)
            {
                arguments.AddRange(["--rng", rng.HasBytesPerSecond ? $"rate={rng.BytesPerSecond}" : "unlimited"]);
            }
            else
            {
                NetDevice net = device.Net;
                string mac = net.Mac.Length > 0 ? net.Mac : MadeUpMac(scenario.Name, i);
                string mtu = net.HasMtu ? $",mtu={net.Mtu}" : "";
                string address = net.Address.Length > 0 ? $",ip={net.Address}" : "";
                string pairs = net.HasQueuePairs ? $",pairs={net.QueuePairs}" : "";
                string speed = net.HasSpeedMbps ? $",speed={net.SpeedMbps}" : "";
                string offloads = net is { HasOffloads: true, Offloads: false } ? ",offloads=off" : "";
                string merge = net is { HasMergedBuffers: true, MergedBuffers: false } ? ",merge=off" : "";
                arguments.AddRange(["--net", $"tap=tap{taps++},mac={mac}{mtu}{address}{pairs}{speed}{offloads}{merge}"]);
            }
        }

        return arguments;
    }

    /// <summary>Modules that host 1's kernel needs for the devices, beyond those that a guest always has.</summary>
    internal static IReadOnlyList<string> HostOneModules(Scenario scenario) =>
    [
        .. scenario.Devices.Any(device => device.Console is not null) ? ["virtio_console"] : Array.Empty<string>(),
        .. scenario.Devices.Any(device => device.Rng is not null) ? ["virtio_rng"] : Array.Empty<string>(),
    ];

    internal static TimeSpan OrDefault(Duration? time, TimeSpan otherwise) => time?.ToTimeSpan() ?? otherwise;

    private static FpgaOptions ToFpgaOptions(Scenario scenario, BridgeFolders folders)
    {
        FpgaSpec fpga = scenario.Fpga;
        FpgaOptions options = new()
        {
            Kind = fpga.Kind switch
            {
                FpgaSpec.Types.Kind.Model => FpgaKind.Model,
                FpgaSpec.Types.Kind.Verilator => FpgaKind.Verilator,
                _ => FpgaKind.Ghdl,
            },
            InProcess = fpga.InProcess,
            Design = fpga.Design is { } design
                ? new FpgaDesign(design.Top, [.. design.Files], Ports(scenario), design.HasIdleCycles ? design.IdleCycles : null)
                : null,
            VectorsPerFunction = fpga.HasVectorsPerFunction ? (int)fpga.VectorsPerFunction : null,
            HdlDirectory = folders.Hdl,
            BuildDirectory = folders.Build,
            ToolsFile = folders.Tools,
            HangSeconds = OrDefault(scenario.Timeouts?.Simulator, s_simulatorTimeout).TotalSeconds,
        };
        if (fpga.Design is null)
        {
            options = options with { Functions = scenario.Devices.Count };
        }

        if (fpga.HasQueuesPerFunction)
        {
            options = options with { QueuesPerFunction = (int)fpga.QueuesPerFunction };
        }

        return fpga.Waves is not { } waves
            ? options
            : options with
            {
                WaveFile = waves.File,
                WaveFormat = ScenarioRules.FormatOf(waves) switch
                {
                    WavesSpec.Types.Format.Fst => WaveFormat.Fst,
                    WavesSpec.Types.Format.Ghw => WaveFormat.Ghw,
                    _ => WaveFormat.Vcd,
                },
            };
    }

    private static ulong ToRingFeatures(RingSpec rings)
    {
        ulong features = VirtioFeatures.UsualRing;
        Choose(VirtioFeatures.RingIndirectDesc, rings.HasIndirectDesc, rings.IndirectDesc);
        Choose(VirtioFeatures.RingEventIdx, rings.HasEventIdx, rings.EventIdx);
        Choose(VirtioFeatures.RingPacked, rings.HasPacked, rings.Packed);
        Choose(VirtioFeatures.InOrder, rings.HasInOrder, rings.InOrder);
        Choose(VirtioFeatures.NotificationData, rings.HasNotificationData, rings.NotificationData);
        Choose(VirtioFeatures.RingReset, rings.HasRingReset, rings.RingReset);
        return features;

        void Choose(ulong feature, bool isChosen, bool offered) =>
            features = !isChosen ? features : offered ? features | feature : features & ~feature;
    }

    private static HostOptions ToHostOptions(Scenario scenario, int port, string runFolder)
    {
        int functions = Functions(scenario, port);
        return Host(scenario, port)?.Program is { } program
            ? program.HasMemoryBytes
                ? new ProgramHostOptions { Functions = functions, MemoryBytes = (int)program.MemoryBytes }
                : new ProgramHostOptions { Functions = functions }
            : new SocketHostOptions { Functions = functions, Sockets = Sockets(scenario, port, runFolder) };
    }

    private static int Functions(Scenario scenario, int port)
    {
        if (scenario.Fpga.Design is { } design)
        {
            return port < design.Ports.Count ? (int)design.Ports[port].Functions : 1;
        }

        return port == BackEndPort ? 1 : scenario.Devices.Count;
    }

    private static string ToArgument(ConsolePort port)
    {
        (string kind, string path) = ScenarioRules.EndOf(port);
        return $"{(port.Name.Length > 0 ? port.Name + "=" : "")}{(port.Console ? "console:" : "")}{kind}:{path}";
    }

    // Locally administered, and the same each time for the same bridge and device.
    private static string MadeUpMac(string name, int device)
    {
        byte[] hash = SHA256.HashData(Encoding.UTF8.GetBytes($"{name}/{device}"));
        return $"02:{string.Join(':', hash.Take(5).Select(b => b.ToString("x2")))}";
    }
}
