// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using Cosim.Cli.MainJob;
using Cosim.Fpga;
using Cosim.Guests;
using Cosim.Scheduling;

namespace Cosim.Lifecycle;

/// <summary>A bridge with both its hosts, each of which, and each part of which, may be lost and come back.</summary>
public sealed class Rig : IAsyncDisposable
{
    public const string HostOneAddress = "10.51.0.1";
    public const string HostTwoAddress = "10.51.0.2";

    /// <summary>For each step; far more than it takes on a busy machine.</summary>
    public static readonly TimeSpan Deadline = TimeSpan.FromSeconds(120);

    private const int PoolMiB = 64;

    private readonly RigOptions _options;
    private readonly Workspace _workspace = Workspace.Find();
    private readonly GuestTools _tools;
    private readonly string _folder;
    private readonly string[] _sockets;
    private readonly SemaphoreSlim _stateChanged = new(0);
    private QemuProcess? _hostOne;
    private QemuProcess? _hostTwo;
    private Process? _backEnd;

    private Rig(RigOptions options)
    {
        _options = options;
        _tools = GuestTools.Load(_workspace.Tools);
        _folder = Directory.CreateTempSubdirectory("cosim-rig-").FullName;
        Image = Path.Combine(_folder, "disk.img");
        _sockets = [Path.Combine(_folder, "p0f0.sock"), Path.Combine(_folder, "p0f1.sock"), Path.Combine(_folder, "p1f0.sock")];
        File.WriteAllBytes(Image, RandomNumberGenerator.GetBytes(options.DiskBytes));
        Bridge = new Bridge(new BridgeOptions
        {
            Name = options.Name,
            Fpga = new FpgaOptions { Kind = options.Fpga, HdlDirectory = _workspace.Hdl, BuildDirectory = _workspace.Build, ToolsFile = _workspace.Tools },
            Hosts =
            [
                new SocketHostOptions { Functions = 2, Sockets = _sockets[..2] },
                new SocketHostOptions { Functions = 1, Sockets = _sockets[2..] },
            ],
            MailboxTimeout = Deadline,
            Log = options.Log,
        });
        Bridge.StateChanged += (_, _) => _stateChanged.Release();
    }

    public Bridge Bridge { get; }

    /// <summary>The disk, as it is on this machine.</summary>
    public string Image { get; }

    public RigOptions Options => _options;

    public QemuProcess HostOne => _hostOne ?? throw new InvalidOperationException("host 1 is not running");

    public QemuProcess HostTwo => _hostTwo ?? throw new InvalidOperationException("host 2 is not running");

    public bool HasNet => _options.HostTwoInQemu;

    /// <summary>The bridge, and both hosts up.</summary>
    public static async Task<Rig> StartAsync(RigOptions options, bool attachLater = false)
    {
        Rig rig = new(options);
        try
        {
            await rig.Bridge.Started.WaitAsync(Deadline);
            await rig.StartHostTwoAsync();
            await rig.WaitForStateAsync(BridgeState.LinkUp);
            await rig.StartHostOneAsync(attachLater);
            return rig;
        }
        catch
        {
            await rig.DisposeAsync();
            throw;
        }
    }

    public async Task StartHostOneAsync(bool attachLater = false)
    {
        GuestTools tools = _options.KernelRelease is { } release ? _tools.WithKernel(release) : _tools;
        _hostOne = await QemuProcess.StartAsync(new QemuOptions
        {
            Name = "host1",
            Tools = tools,
            Image = GuestImage.CreateHostOne(tools, _folder),
            RunFolder = _folder,
            VfioUserSockets = HasNet ? _sockets[..2] : _sockets[..1],
            Machine = _options.Machine,
            OnRootBus = _options.OnRootBus,
            AttachLater = attachLater,
            Processors = _options.Processors,
            MemoryMiB = 256,
        });
        await WaitForHostOneAsync(hasDevices: !attachLater);
    }

    /// <summary>Waits until host 1's guest, which is booting, has its devices.</summary>
    public async Task WaitForHostOneAsync(bool hasDevices = true)
    {
        _ = await HostOne.WaitUntilReadyAsync(Deadline);
        if (hasDevices)
        {
            await PrepareHostOneAsync();
        }
    }

    /// <summary>Waits until the guest has its devices, and gives its network card an address.</summary>
    public async Task PrepareHostOneAsync()
    {
        await HostOne.Shell.RequireAsync(GuestScript.WaitForDisk, Deadline);
        if (HasNet)
        {
            await HostOne.Shell.RequireAsync(GuestScript.SetUpNetwork, Deadline);
        }
    }

    public async Task KillHostOneAsync()
    {
        await KillAsync(HostOne);
        _hostOne = null;
    }

    public async Task ResetHostOneAsync()
    {
        await HostOne.ResetAsync();
        await WaitForHostOneAsync();
    }

    public async Task StartHostTwoAsync()
    {
        if (!_options.HostTwoInQemu)
        {
            StartBackEndProcess();
            return;
        }

        BackEndSetUp backEnd = new()
        {
            EndpointVendor = 0x0C05,
            EndpointDevice = 0x5101,
            ProgramFolder = _workspace.BackEnd,
            PoolMiB = PoolMiB,
            Command = $"./cosim-backend --pci 0C05:5101 --pool {PoolMiB} --blk /dev/vda --net tap=tap0,mac=52:54:00:c0:51:01,pairs=2,ip={HostTwoAddress}/24",
        };
        _hostTwo = await QemuProcess.StartAsync(new QemuOptions
        {
            Name = "host2",
            Tools = _tools,
            Image = GuestImage.CreateHostTwo(_tools, backEnd, _folder),
            RunFolder = _folder,
            VfioUserSockets = _sockets[2..],
            Iommu = true,
            Disks = [new QemuDisk(Image)],
        });
        _ = await _hostTwo.WaitUntilReadyAsync(Deadline);
    }

    public async Task KillHostTwoAsync()
    {
        await KillAsync(HostTwo);
        _hostTwo = null;
    }

    /// <summary>Kills the program that serves the devices, wherever it runs, and starts it again.</summary>
    public async Task RestartBackEndAsync()
    {
        if (_options.HostTwoInQemu)
        {
            HostTwoShell shell = new(HostTwo.Shell);
            await shell.KillBackEndAsync();
            await shell.StartBackEndAsync();
        }
        else
        {
            _backEnd!.Kill();
            await _backEnd.WaitForExitAsync().WaitAsync(Deadline);
            StartBackEndProcess();
        }
    }

    /// <summary>The simulator's process: the child of this one whose program is in the folder of builds.</summary>
    public Process Simulator() => Children().Single(child =>
        new FileInfo($"/proc/{child.Id}/exe").LinkTarget is { } program
        && (program.StartsWith(_workspace.Build + "/verilator", StringComparison.Ordinal) || program.StartsWith(_workspace.Build + "/ghdl", StringComparison.Ordinal)));

    public async Task WaitForStateAsync(BridgeState state)
    {
        while (Bridge.State != state)
        {
            if (!await _stateChanged.WaitAsync(Deadline))
            {
                throw new TimeoutException($"The bridge did not become {state} within {Deadline.TotalSeconds} s; it is {Bridge.State}. {Bridge.Failure}");
            }
        }
    }

    /// <summary>Ends everything, and says what is left of it.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (QemuProcess? host in new[] { _hostOne, _hostTwo })
        {
            if (host is not null)
            {
                await host.DisposeAsync();
            }
        }

        await Task.Run(Bridge.Dispose).WaitAsync(Deadline);
        if (_backEnd is not null)
        {
            _backEnd.Kill();
            await _backEnd.WaitForExitAsync();
            _backEnd.Dispose();
        }

        _stateChanged.Dispose();
        string[] sockets = Directory.GetFiles(_folder, "*.sock");
        Directory.Delete(_folder, recursive: true);
        if (sockets.Length > 0)
        {
            throw new InvalidOperationException($"sockets are left: {string.Join(", ", sockets)}");
        }
    }

    private static async Task KillAsync(QemuProcess host)
    {
        if (!host.Exited.IsCompleted)
        {
            using Process qemu = Process.GetProcessById(host.Id);
            qemu.Kill();
        }

        _ = await host.Exited.WaitAsync(Deadline);
        await host.DisposeAsync();
    }

    private static IEnumerable<Process> Children() => Directory.GetDirectories($"/proc/{Environment.ProcessId}/task")
        .SelectMany(thread => File.ReadAllText(Path.Combine(thread, "children")).Split(' ', StringSplitOptions.RemoveEmptyEntries))
        .Select(id => Process.GetProcessById(int.Parse(id, CultureInfo.InvariantCulture)));

    private void StartBackEndProcess()
    {
        ProcessStartInfo start = new(Path.Combine(_workspace.BackEnd, "cosim-backend"), ["--socket", _sockets[2], "--blk", Image])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        _backEnd?.Dispose();
        _backEnd = new Process { StartInfo = start };
        _backEnd.OutputDataReceived += (_, e) => Say(e.Data);
        _backEnd.ErrorDataReceived += (_, e) => Say(e.Data);
        _ = _backEnd.Start();
        _backEnd.BeginOutputReadLine();
        _backEnd.BeginErrorReadLine();
    }

    private void Say(string? line)
    {
        if (line is not null)
        {
            _options.Log($"back end: {line}");
        }
    }
}
