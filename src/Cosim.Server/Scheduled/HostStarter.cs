// SPDX-License-Identifier: Apache-2.0
using Cosim.Guests;
using Cosim.V1;

namespace Cosim.Server.Scheduled;

/// <summary>Starts the hosts of one scenario, with their files in the bridge's run-time folder. Disposing it removes the folder.</summary>
internal sealed class HostStarter(Scenario scenario, BridgeFolders folders, string runFolder) : IDisposable
{
    private const int PoolMiB = 64;

    // Default generics of the back-end endpoint (hdl/CONTRACT.md).
    private const ushort EndpointVendorId = 0x0C05;
    private const ushort EndpointDeviceId = 0x5101;

    /// <summary>Whether the service starts such a host.</summary>
    internal static bool IsStarted(HostSpec? host) => host?.KindCase is HostSpec.KindOneofCase.Qemu or HostSpec.KindOneofCase.Process;

    /// <summary>Starts the host of a port; null where the scenario leaves that to others.</summary>
    /// <exception cref="BridgeException">A tool or a file is missing, or the program cannot be started.</exception>
    /// <exception cref="GuestException">QEMU does not start.</exception>
    internal async Task<StartedHost?> StartAsync(int port, CancellationToken cancellation)
    {
        HostSpec? host = ScenarioOptions.Host(scenario, port);
        IReadOnlyList<string> sockets = ScenarioOptions.Sockets(scenario, port, runFolder);
        return host?.KindCase switch
        {
            HostSpec.KindOneofCase.Qemu => await StartedHost.StartQemuAsync(port, ToQemuOptions(host.Qemu, port, sockets), cancellation),
            HostSpec.KindOneofCase.Process => StartedHost.StartProcess(port, Command(host.Process, sockets[0]), Path.Combine(runFolder, "host2.log")),
            _ => null,
        };
    }

    public void Dispose()
    {
        if (Directory.Exists(runFolder))
        {
            Directory.Delete(runFolder, recursive: true);
        }
    }

    private QemuOptions ToQemuOptions(QemuHost qemu, int port, IReadOnlyList<string> sockets)
    {
        GuestTools tools = GuestTools.Load(folders.Tools);
        QemuOptions options = new()
        {
            Name = $"host{port + 1}",
            Tools = tools,
            Image = ToImage(qemu, port, tools),
            RunFolder = runFolder,
            VfioUserSockets = sockets,
            Iommu = port == 1,
            Disks = port == 1 ? [.. scenario.Devices.Where(d => d.Block is not null).Select(d => new QemuDisk(d.Block.Image, d.Block.ReadOnly))] : [],
            ConsoleLog = qemu.Console.Length > 0 ? qemu.Console : null,
            KernelArguments = qemu.Append,
            Arguments = [.. qemu.Arguments],
        };
        return options with
        {
            MemoryMiB = qemu.HasMemoryMib ? (int)qemu.MemoryMib : options.MemoryMiB,
            Processors = qemu.HasCpus ? (int)qemu.Cpus : options.Processors,
        };
    }

    private GuestImage ToImage(QemuHost qemu, int port, GuestTools tools)
    {
        GuestImage image = port == 0 ? GuestImage.CreateHostOne(tools, runFolder, qemu.Files, qemu.Command) : GuestImage.CreateHostTwo(tools, BackEnd(), runFolder);
        return image with
        {
            Kernel = qemu.Kernel.Length > 0 ? qemu.Kernel : image.Kernel,
            Initramfs = qemu.Initrd.Length > 0 ? qemu.Initrd : image.Initramfs,
        };
    }

    private BackEndSetUp BackEnd()
    {
        _ = BackEndProgram();
        string endpoint = $"{EndpointVendorId:X4}:{EndpointDeviceId:X4}";
        IEnumerable<string> devices = ScenarioOptions.BackEndDevices(scenario, (disk, _) => $"/dev/vd{(char)('a' + disk)}");
        return new BackEndSetUp
        {
            EndpointVendor = EndpointVendorId,
            EndpointDevice = EndpointDeviceId,
            ProgramFolder = folders.BackEnd,
            PoolMiB = PoolMiB,
            Command = $"./cosim-backend --pci {endpoint} --pool {PoolMiB} {string.Join(' ', devices.Select(Quote))}",
        };
    }

    private List<string> Command(ProcessHost process, string socket) => process.Command.Count > 0
        ? [.. process.Command.Select(word => word.Replace("{socket}", socket, StringComparison.Ordinal))]
        : [BackEndProgram(), "--socket", socket, "--pool", $"{PoolMiB}", .. ScenarioOptions.BackEndDevices(scenario, (_, block) => block.Image)];

    private string BackEndProgram()
    {
        string program = Path.Combine(folders.BackEnd, "cosim-backend");
        return File.Exists(program)
            ? program
            : throw new BridgeException($"Host 2's program is missing: {program} does not exist. ./sim-scripts/run and ./sim-scripts/test build it.");
    }

    // A word for the guest's shell.
    private static string Quote(string word) => $"'{word.Replace("'", "'\\''", StringComparison.Ordinal)}'";
}
