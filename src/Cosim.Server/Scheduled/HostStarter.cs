// SPDX-License-Identifier: Apache-2.0
using Cosim.Guests;
using Cosim.V1;

namespace Cosim.Server.Scheduled;

/// <summary>Starts the hosts of one scenario, with their files in the bridge's run-time folder. Disposing it removes the folder.</summary>
internal sealed class HostStarter(Scenario scenario, BridgeFolders folders, string runFolder, Action<string> log) : IDisposable
{
    private const int PoolMiB = 64;

    // Default generics of the back-end endpoint (hdl/CONTRACT.md).
    private const ushort EndpointVendorId = 0x0C05;
    private const ushort EndpointDeviceId = 0x5101;

    private readonly RunFolder _run = RunFolder.Create(runFolder, log);

    /// <summary>Makes the folders of the sockets that the scenario wants elsewhere, and notes what will be in them.</summary>
    internal void MakeSocketFolders()
    {
        for (int port = 0; port < ScenarioOptions.Ports(scenario); port++)
        {
            if (ScenarioOptions.Host(scenario, port)?.Socket?.Directory is { Length: > 0 } folder)
            {
                Directory.CreateDirectory(folder);
                foreach (string socket in ScenarioOptions.Sockets(scenario, port, runFolder))
                {
                    _run.AddSocket(socket);
                }
            }
        }
    }

    /// <summary>Whether the service starts such a host.</summary>
    internal static bool IsStarted(HostSpec? host) => host?.KindCase is HostSpec.KindOneofCase.Qemu or HostSpec.KindOneofCase.Process;

    /// <summary>Starts the host of a port; null where the scenario leaves that to others.</summary>
    /// <exception cref="BridgeException">A tool or a file is missing, or the program cannot be started.</exception>
    /// <exception cref="GuestException">QEMU does not start.</exception>
    internal async Task<StartedHost?> StartAsync(int port, CancellationToken cancellation)
    {
        HostSpec? host = ScenarioOptions.Host(scenario, port);
        IReadOnlyList<string> sockets = ScenarioOptions.Sockets(scenario, port, runFolder);
        StartedHost? started = host?.KindCase switch
        {
            HostSpec.KindOneofCase.Qemu => await StartedHost.StartQemuAsync(port, ToQemuOptions(host.Qemu, port, sockets), cancellation),
            HostSpec.KindOneofCase.Process => StartedHost.StartProcess(port, Command(host.Process, sockets[0]), Path.Combine(runFolder, "host2.log")),
            _ => null,
        };
        if (started is not null)
        {
            _run.AddProcess(started.ProcessId);
        }

        return started;
    }

    public void Dispose() => _run.Dispose();

    private QemuOptions ToQemuOptions(QemuHost qemu, int port, IReadOnlyList<string> sockets)
    {
        GuestTools tools = GuestTools.Load(folders.Tools);
        if (qemu.KernelRelease.Length > 0)
        {
            tools = tools.WithKernel(qemu.KernelRelease);
        }

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
            Machine = qemu.Machine == QemuHost.Types.Machine.Pc ? QemuMachine.Pc : QemuMachine.Q35,
            OnRootBus = qemu.Machine == QemuHost.Types.Machine.Pc || qemu.Placement == QemuHost.Types.Placement.RootBus,
        };
        return options with
        {
            MemoryMiB = qemu.HasMemoryMib ? (int)qemu.MemoryMib : options.MemoryMiB,
            Processors = qemu.HasCpus ? (int)qemu.Cpus : options.Processors,
        };
    }

    private GuestImage ToImage(QemuHost qemu, int port, GuestTools tools)
    {
        GuestImage image = port == 0 ? GuestImage.CreateHostOne(tools, runFolder, qemu.Files, qemu.Command, ScenarioOptions.HostOneModules(scenario)) : GuestImage.CreateHostTwo(tools, BackEnd(), runFolder);
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
            Command = $"./cosim-backend --pci {endpoint} --pool {PoolMiB} --commands /run/cosim/commands {string.Join(' ', devices.Select(Quote))}",
        };
    }

    private List<string> Command(ProcessHost process, string socket) => process.Command.Count > 0
        ? [.. process.Command.Select(word => word.Replace("{socket}", socket, StringComparison.Ordinal))]
        : [BackEndProgram(), "--socket", socket, "--pool", $"{PoolMiB}", "--commands", Path.Combine(runFolder, "commands"), .. ScenarioOptions.BackEndDevices(scenario, (_, block) => block.Image)];

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
