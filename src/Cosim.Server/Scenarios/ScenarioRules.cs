// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;
using Cosim.V1;
using Google.Protobuf.WellKnownTypes;

namespace Cosim.Server.Scenarios;

/// <summary>One field of a scenario that is wrong.</summary>
/// <param name="Field">Path of the field, such as <c>devices[0].block.image</c>.</param>
/// <param name="Description">What is wrong and what was expected.</param>
public readonly record struct ScenarioViolation(string Field, string Description);

/// <summary>What a scenario must meet beyond its schema.</summary>
public static partial class ScenarioRules
{
    /// <summary>Most functions on port 0.</summary>
    public const int MostDevices = 8;

    /// <summary>Bytes of a sector: images are multiples of it.</summary>
    public const int SectorBytes = 512;

    // VIRTIO_BLK_ID_BYTES (virtio 1.3, 5.2.6).
    private const int MostSerialBytes = 20;

    // The back-end endpoint has a vector for the mailbox and one for each queue; its MSI-X table has room for 512 (hdl/CONTRACT.md, 3).
    private const ulong MostQueues = 511;

    // A TAP's greatest MTU: 65,535 without the Ethernet header.
    private const uint MostMtu = 65521;

    // With the control queue they fit the 64 queues that a function has at most.
    private const uint MostQueuePairs = 31;
    private const uint DefaultQueuesPerFunction = 8;
    private const int MostPorts = 31;
    private const uint MostLogicalBlock = 65536;
    private const uint MostPhysicalBlock = 1 << 20;
    private const uint MostOptimal = 1 << 30;

    // sun_path of sockaddr_un with its terminating zero.
    private const int MostSocketPathBytes = 107;

    /// <summary>All violations, in the order of the fields; empty for a scenario that can be used. Looks at the files that it names.</summary>
    public static IReadOnlyList<ScenarioViolation> Check(Scenario scenario)
    {
        Collector found = new();
        if (!Name().IsMatch(scenario.Name))
        {
            found.Add("name", $"is \"{scenario.Name}\"; expected 1 to 32 lower-case letters, digits and '-', a letter first");
        }

        CheckFpga(scenario, found);
        CheckHost(scenario.Host1, "host1", isHost2: false, found);
        CheckHost(scenario.Host2, "host2", isHost2: true, found);
        CheckDevices(scenario, found);
        found.Range("completionLatencyCycles", scenario.HasCompletionLatencyCycles, scenario.CompletionLatencyCycles, 1, 1_000_000);
        CheckTimeouts(scenario.Timeouts, found);
        if (scenario.Record is { } record)
        {
            found.Absolute("record.file", record.File);
        }

        return found.Violations;
    }

    private static void CheckFpga(Scenario scenario, Collector found)
    {
        if (scenario.Fpga is not { } fpga)
        {
            found.Add("fpga", "is missing; expected an object with its kind");
            return;
        }

        if (fpga.Kind == FpgaSpec.Types.Kind.Unspecified)
        {
            found.Add("fpga.kind", "is missing; expected MODEL, VERILATOR or GHDL");
        }

        if (fpga.InProcess && fpga.Kind != FpgaSpec.Types.Kind.Verilator)
        {
            found.Add("fpga.inProcess", "is true; only VERILATOR runs inside the service");
        }

        if (fpga.HasClockHz && fpga.ClockHz == 0)
        {
            found.Add("fpga.clockHz", "is 0; expected a frequency");
        }

        found.Range("fpga.queuesPerFunction", fpga.HasQueuesPerFunction, fpga.QueuesPerFunction, 1, 64);
        found.Range("fpga.vectorsPerFunction", fpga.HasVectorsPerFunction, fpga.VectorsPerFunction, 1, 256);
        if (fpga.Design is { } design)
        {
            CheckDesign(design, fpga.Kind, found);
            if (fpga.Rings is not null)
            {
                found.Add("fpga.rings", "is given beside a design of the user's own; only the virtio FPGA has rings");
            }
        }

        if (fpga.Waves is { } waves)
        {
            CheckWaves(waves, fpga.Kind, found);
        }
    }

    private static void CheckDesign(DesignSpec design, FpgaSpec.Types.Kind kind, Collector found)
    {
        if (kind == FpgaSpec.Types.Kind.Model)
        {
            found.Add("fpga.design", "is given, but the kind is MODEL; a design runs on VERILATOR or GHDL");
        }

        if (!Identifier().IsMatch(design.Top))
        {
            found.Add("fpga.design.top", $"is \"{design.Top}\"; expected the name of a VHDL entity");
        }

        if (design.Files.Count == 0)
        {
            found.Add("fpga.design.files", "is empty; expected the VHDL sources in order of analysis");
        }

        for (int i = 0; i < design.Files.Count && !found.IsFull; i++)
        {
            found.File($"fpga.design.files[{i}]", design.Files[i]);
        }

        if (design.Ports.Count > 2)
        {
            found.Add("fpga.design.ports", $"has {design.Ports.Count} entries; a design has 1 or 2 PCIe ports");
            return;
        }

        for (int i = 0; i < design.Ports.Count; i++)
        {
            found.Range($"fpga.design.ports[{i}].functions", true, design.Ports[i].Functions, 1, MostDevices);
        }
    }

    private static void CheckWaves(WavesSpec waves, FpgaSpec.Types.Kind kind, Collector found)
    {
        if (kind == FpgaSpec.Types.Kind.Model)
        {
            found.Add("fpga.waves", "is given, but the kind is MODEL, which has no signals; expected VERILATOR or GHDL");
        }

        found.Absolute("fpga.waves.file", waves.File);
        switch (FormatOf(waves))
        {
            case WavesSpec.Types.Format.Unspecified:
                found.Add("fpga.waves.file", $"is \"{waves.File}\", whose ending names no format; expected .vcd, .fst or .ghw, or a format");
                break;
            case WavesSpec.Types.Format.Ghw when kind == FpgaSpec.Types.Kind.Verilator:
                found.Add("fpga.waves.format", "is GHW, which GHDL alone writes; expected VCD or FST");
                break;
            default:
                break;
        }
    }

    /// <summary>The format, by the file's ending where none is named.</summary>
    public static WavesSpec.Types.Format FormatOf(WavesSpec waves) => waves.Format != WavesSpec.Types.Format.Unspecified
        ? waves.Format
        : Path.GetExtension(waves.File) switch
        {
            ".vcd" => WavesSpec.Types.Format.Vcd,
            ".fst" => WavesSpec.Types.Format.Fst,
            ".ghw" => WavesSpec.Types.Format.Ghw,
            _ => WavesSpec.Types.Format.Unspecified,
        };

    private static void CheckHost(HostSpec? host, string path, bool isHost2, Collector found)
    {
        switch (host?.KindCase)
        {
            case HostSpec.KindOneofCase.None:
                found.Add(path, "is empty; expected qemu, process, socket or program");
                break;
            case HostSpec.KindOneofCase.Qemu:
                found.Range($"{path}.qemu.memoryMib", host.Qemu.HasMemoryMib, host.Qemu.MemoryMib, 64, 1 << 20);
                found.Range($"{path}.qemu.cpus", host.Qemu.HasCpus, host.Qemu.Cpus, 1, 64);
                found.OptionalFile($"{path}.qemu.kernel", host.Qemu.Kernel);
                found.OptionalFile($"{path}.qemu.initrd", host.Qemu.Initrd);
                CheckGuestFiles(host.Qemu, $"{path}.qemu", isHost2, found);
                CheckMachine(host.Qemu, $"{path}.qemu", isHost2, found);
                break;
            case HostSpec.KindOneofCase.Process when !isHost2:
                found.Add($"{path}.process", "is given; only host 2 can be a process");
                break;
            case HostSpec.KindOneofCase.Socket when host.Socket.Directory.Length > 0:
                found.Absolute($"{path}.socket.directory", host.Socket.Directory);
                if (Encoding.UTF8.GetByteCount(Path.Combine(host.Socket.Directory, "port0-function0.sock")) > MostSocketPathBytes)
                {
                    found.Add($"{path}.socket.directory", $"is too long: the path of a socket in it may have {MostSocketPathBytes} bytes");
                }

                break;
            case HostSpec.KindOneofCase.Program when host.Program.HasMemoryBytes:
                found.Range($"{path}.program.memoryBytes", true, host.Program.MemoryBytes, 4096, 1UL << 30);
                if (host.Program.MemoryBytes % 4096 != 0)
                {
                    found.Add($"{path}.program.memoryBytes", $"is {host.Program.MemoryBytes}; expected a multiple of 4096");
                }

                break;
            default:
                break;
        }
    }

    private static void CheckGuestFiles(QemuHost qemu, string path, bool isHost2, Collector found)
    {
        HashSet<string> names = [];
        for (int i = 0; i < qemu.Files.Count && !found.IsFull; i++)
        {
            if (found.File($"{path}.files[{i}]", qemu.Files[i]) && !names.Add(Path.GetFileName(qemu.Files[i])))
            {
                found.Add($"{path}.files[{i}]", $"is {qemu.Files[i]}, but an earlier file has the same name");
            }
        }

        foreach ((string field, bool given) in new[] { ("files", qemu.Files.Count > 0), ("command", qemu.Command.Length > 0) })
        {
            if (given && (isHost2 || qemu.Initrd.Length > 0))
            {
                found.Add($"{path}.{field}", isHost2 ? "is given; only host 1 takes it" : "is given together with initrd; expected one of the two");
            }
        }
    }

    private static void CheckMachine(QemuHost qemu, string path, bool isHost2, Collector found)
    {
        foreach ((string field, bool given) in new[]
        {
            ("machine", qemu.Machine != QemuHost.Types.Machine.Unspecified),
            ("placement", qemu.Placement != QemuHost.Types.Placement.Unspecified),
            ("kernelRelease", qemu.KernelRelease.Length > 0),
        })
        {
            if (given && isHost2)
            {
                found.Add($"{path}.{field}", "is given; only host 1 takes it");
            }
        }

        if (qemu is { Machine: QemuHost.Types.Machine.Pc, Placement: QemuHost.Types.Placement.RootPort })
        {
            found.Add($"{path}.placement", "is ROOT_PORT, but the machine is PC, which has none; expected ROOT_BUS");
        }

        if (qemu.KernelRelease.Length > 0 && !Release().IsMatch(qemu.KernelRelease))
        {
            found.Add($"{path}.kernelRelease", $"is \"{qemu.KernelRelease}\"; expected the first two numbers of a kernel's release, such as 6.1");
        }

        if (qemu.KernelRelease.Length > 0 && qemu.Kernel.Length > 0)
        {
            found.Add($"{path}.kernelRelease", "is given together with kernel; expected one of the two");
        }
    }

    private static void CheckDevices(Scenario scenario, Collector found)
    {
        if (scenario.Fpga?.Design is not null)
        {
            if (scenario.Devices.Count > 0)
            {
                found.Add("devices", "is given, but the design is the user's own and has no virtio devices");
            }

            return;
        }

        if (scenario.Devices.Count is 0 or > MostDevices)
        {
            found.Add("devices", $"has {scenario.Devices.Count} entries; expected 1 to {MostDevices}");
            return;
        }

        ulong queues = scenario.Fpga is { HasQueuesPerFunction: true } fpga ? fpga.QueuesPerFunction : DefaultQueuesPerFunction;
        if (queues <= 64 && queues * (ulong)scenario.Devices.Count > MostQueues)
        {
            found.Add("fpga.queuesPerFunction", $"is {queues}, which makes {queues * (ulong)scenario.Devices.Count} queues with {scenario.Devices.Count} devices; expected at most {MostQueues}");
        }

        for (int i = 0; i < scenario.Devices.Count; i++)
        {
            string path = $"devices[{i}]";
            switch (scenario.Devices[i].KindCase)
            {
                case DeviceSpec.KindOneofCase.Block:
                    CheckBlock(scenario.Devices[i].Block, scenario.Fpga, $"{path}.block", found);
                    break;
                case DeviceSpec.KindOneofCase.Net:
                    CheckNet(scenario.Devices[i].Net, scenario.Fpga, $"{path}.net", found);
                    break;
                case DeviceSpec.KindOneofCase.Console:
                    CheckConsole(scenario.Devices[i].Console, scenario.Fpga, $"{path}.console", found);
                    break;
                case DeviceSpec.KindOneofCase.Rng:
                    RngDevice rng = scenario.Devices[i].Rng;
                    found.Range($"{path}.rng.bytesPerSecond", rng.HasBytesPerSecond, rng.BytesPerSecond, 1, int.MaxValue);
                    break;
                default:
                    found.Add(path, "is empty; expected block, net, console or rng");
                    break;
            }
        }
    }

    private static ulong QueuesOf(FpgaSpec? fpga) => fpga is { HasQueuesPerFunction: true } ? fpga.QueuesPerFunction : DefaultQueuesPerFunction;

    private static void CheckBlock(BlockDevice block, FpgaSpec? fpga, string path, Collector found)
    {
        ulong logical = block.HasLogicalBlockBytes ? block.LogicalBlockBytes : (ulong)SectorBytes;
        if (logical is < SectorBytes or > MostLogicalBlock || !ulong.IsPow2(logical))
        {
            found.Add($"{path}.logicalBlockBytes", $"is {logical}; expected a power of two from {SectorBytes} to {MostLogicalBlock}");
            logical = SectorBytes;
        }

        if (block.HasPhysicalBlockBytes && (block.PhysicalBlockBytes < logical || block.PhysicalBlockBytes > MostPhysicalBlock || !uint.IsPow2(block.PhysicalBlockBytes)))
        {
            found.Add($"{path}.physicalBlockBytes", $"is {block.PhysicalBlockBytes}; expected a power of two from {logical} to {MostPhysicalBlock}");
        }

        if (block.HasOptimalBytes && (block.OptimalBytes > MostOptimal || block.OptimalBytes % logical != 0))
        {
            found.Add($"{path}.optimalBytes", $"is {block.OptimalBytes}; expected a multiple of {logical} up to {MostOptimal}");
        }

        found.Range($"{path}.queues", block.HasQueues, block.Queues, 1, QueuesOf(fpga));
        if (found.File($"{path}.image", block.Image))
        {
            long bytes = new FileInfo(block.Image).Length;
            if (bytes == 0 || (ulong)bytes % logical != 0)
            {
                found.Add($"{path}.image", $"is {block.Image}, which has {bytes} bytes; expected a multiple of {logical}");
            }
        }

        if (block.Serial.Length > MostSerialBytes || block.Serial.Any(c => c is < ' ' or > '~' or ','))
        {
            found.Add($"{path}.serial", $"is \"{block.Serial}\"; expected at most {MostSerialBytes} printable ASCII characters without a comma");
        }
    }

    private static void CheckConsole(ConsoleDevice console, FpgaSpec? fpga, string path, Collector found)
    {
        if (console.Ports.Count is 0 or > MostPorts)
        {
            found.Add($"{path}.ports", $"has {console.Ports.Count} entries; expected 1 to {MostPorts}");
            return;
        }

        ulong queues = 2UL * ((ulong)console.Ports.Count + 1);
        if (queues > QueuesOf(fpga))
        {
            found.Add($"{path}.ports", $"has {console.Ports.Count} entries, which need {queues} queues; fpga.queuesPerFunction is {QueuesOf(fpga)}");
        }

        HashSet<string> names = [];
        for (int i = 0; i < console.Ports.Count; i++)
        {
            ConsolePort port = console.Ports[i];
            if (!PortName().IsMatch(port.Name))
            {
                found.Add($"{path}.ports[{i}].name", $"is \"{port.Name}\"; expected at most 64 letters, digits, '.', '_' and '-'");
            }
            else if (port.Name.Length > 0 && !names.Add(port.Name))
            {
                found.Add($"{path}.ports[{i}].name", $"is \"{port.Name}\", but an earlier port has the same name");
            }

            (string field, string end) = EndOf(port);
            if (field.Length == 0)
            {
                found.Add($"{path}.ports[{i}]", "has no end; expected socket, pty, pipe or file");
            }
            else if (found.Absolute($"{path}.ports[{i}].{field}", end) && end.Contains(',', StringComparison.Ordinal))
            {
                found.Add($"{path}.ports[{i}].{field}", $"is {end}; a path with a comma cannot be given to the back end");
            }
        }
    }

    /// <summary>What a console port is connected to: the field that says so, which is also the back end's word for it, and the path. Empty where nothing does.</summary>
    internal static (string Field, string Path) EndOf(ConsolePort port) => port.EndCase switch
    {
        ConsolePort.EndOneofCase.Socket => ("socket", port.Socket),
        ConsolePort.EndOneofCase.Pty => ("pty", port.Pty),
        ConsolePort.EndOneofCase.Pipe => ("pipe", port.Pipe),
        ConsolePort.EndOneofCase.File => ("file", port.File),
        _ => ("", ""),
    };

    private static void CheckNet(NetDevice net, FpgaSpec? fpga, string path, Collector found)
    {
        // The lowest bit of the first octet marks a group address (IEEE 802, 8.2.2).
        if (net.Mac.Length > 0
            && (!Mac().IsMatch(net.Mac) || (byte.Parse(net.Mac.AsSpan(0, 2), NumberStyles.HexNumber, CultureInfo.InvariantCulture) & 1) != 0))
        {
            found.Add($"{path}.mac", $"is \"{net.Mac}\"; expected a unicast address such as 52:54:00:12:34:56");
        }

        found.Range($"{path}.mtu", net.HasMtu, net.Mtu, 68, MostMtu);
        found.Range($"{path}.speedMbps", net.HasSpeedMbps, net.SpeedMbps, 0, int.MaxValue);
        found.Range($"{path}.queuePairs", net.HasQueuePairs, net.QueuePairs, 1, MostQueuePairs);
        ulong queues = (2UL * (net.HasQueuePairs ? net.QueuePairs : 1)) + 1;
        ulong there = QueuesOf(fpga);
        if (queues > there && queues <= (2 * MostQueuePairs) + 1)
        {
            found.Add($"{path}.queuePairs", $"is {(queues - 1) / 2}, which with the control queue makes {queues} queues; fpga.queuesPerFunction is {there}");
        }

        if (net.Address.Length > 0 && !IsInterfaceAddress(net.Address))
        {
            found.Add($"{path}.address", $"is \"{net.Address}\"; expected an IPv4 address with its prefix such as 10.51.0.2/24");
        }
    }

    private static bool IsInterfaceAddress(string text)
    {
        string[] parts = text.Split('/');
        return parts.Length == 2
            && IPAddress.TryParse(parts[0], out IPAddress? address)
            && address.AddressFamily == AddressFamily.InterNetwork
            && parts[0].Count(c => c == '.') == 3
            && int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out int prefix)
            && prefix is >= 1 and <= 32;
    }

    private static void CheckTimeouts(Timeouts? timeouts, Collector found)
    {
        if (timeouts is null)
        {
            return;
        }

        foreach ((string field, Duration? time) in new[]
        {
            ("hostBoot", timeouts.HostBoot), ("mailbox", timeouts.Mailbox), ("simulator", timeouts.Simulator),
        })
        {
            if (time is not null && (time.Seconds is < 0 or > 86_400 || time.Nanos is < 0 or > 999_999_999 || time is { Seconds: 0, Nanos: 0 }))
            {
                found.Add($"timeouts.{field}", $"is {time}; expected more than 0 s and at most one day");
            }
        }

        found.Range("timeouts.completionCycles", timeouts.HasCompletionCycles, timeouts.CompletionCycles, 1, 1UL << 40);
    }

    [GeneratedRegex("^[a-z][a-z0-9-]{0,31}\\z")]
    private static partial Regex Name();

    [GeneratedRegex("^[0-9]{1,3}\\.[0-9]{1,3}\\z")]
    private static partial Regex Release();

    [GeneratedRegex("^[A-Za-z][A-Za-z0-9_]*\\z")]
    private static partial Regex Identifier();

    [GeneratedRegex("^[A-Za-z0-9._-]{0,64}\\z")]
    private static partial Regex PortName();

    [GeneratedRegex("^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}\\z")]
    private static partial Regex Mac();

    private sealed class Collector
    {
        private const int MostViolations = 20;

        private readonly List<ScenarioViolation> _violations = [];

        internal IReadOnlyList<ScenarioViolation> Violations => _violations;

        /// <summary>There is no use in looking further.</summary>
        internal bool IsFull => _violations.Count >= MostViolations;

        internal void Add(string field, string description) => _violations.Add(new ScenarioViolation(field, description));

        internal void Range(string field, bool isSet, ulong value, ulong least, ulong most)
        {
            if (isSet && (value < least || value > most))
            {
                Add(field, $"is {value}; expected {least} to {most}");
            }
        }

        internal bool Absolute(string field, string path)
        {
            bool isAbsolute = Path.IsPathFullyQualified(path);
            if (!isAbsolute)
            {
                Add(field, $"is \"{path}\"; expected an absolute path");
            }

            return isAbsolute;
        }

        internal bool File(string field, string path)
        {
            if (!Absolute(field, path))
            {
                return false;
            }

            if (!System.IO.File.Exists(path))
            {
                Add(field, $"is {path}, which is no file");
                return false;
            }

            return true;
        }

        internal void OptionalFile(string field, string path)
        {
            if (path.Length > 0)
            {
                File(field, path);
            }
        }
    }
}
