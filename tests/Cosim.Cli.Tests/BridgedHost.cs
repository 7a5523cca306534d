// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using Cosim.Cli.MainJob;
using Cosim.Fpga;
using Cosim.Guests;
using Cosim.Scheduling;
using NUnit.Framework;

namespace Cosim.Cli.Tests;

/// <summary>A bridge whose disk a local back-end process serves to host 1, which is a QEMU. Each of the three may be lost and come back.</summary>
internal sealed class BridgedHost : IAsyncDisposable
{
    /// <summary>For each step; far more than it takes on a busy machine.</summary>
    internal static readonly TimeSpan Deadline = TimeSpan.FromSeconds(60);

    private const int DiskBytes = 16 << 20;

    private readonly Workspace _workspace = Workspace.Find();
    private readonly GuestTools _tools;
    private readonly string _folder;
    private readonly string _image;
    private readonly string[] _sockets;
    private readonly List<BridgeState> _states = [];
    private readonly SemaphoreSlim _stateChanged = new(0);
    private Process? _backEnd;
    private QemuProcess? _host;
    private bool _shareMemory = true;

    internal BridgedHost(FpgaKind fpga)
    {
        _tools = GuestTools.Load(_workspace.Tools);
        _folder = Directory.CreateTempSubdirectory("cosim-life-").FullName;
        _image = Path.Combine(_folder, "disk.img");
        _sockets = [Path.Combine(_folder, "p0f0.sock"), Path.Combine(_folder, "p0f1.sock"), Path.Combine(_folder, "p1f0.sock")];
        File.WriteAllBytes(_image, RandomNumberGenerator.GetBytes(DiskBytes));
        Bridge = new Bridge(new BridgeOptions
        {
            Name = "life",
            Fpga = new FpgaOptions { Kind = fpga, HdlDirectory = _workspace.Hdl, BuildDirectory = _workspace.Build, ToolsFile = _workspace.Tools },
            Hosts =
            [
                new SocketHostOptions { Functions = 2, Sockets = _sockets[..2] },
                new SocketHostOptions { Functions = 1, Sockets = _sockets[2..] },
            ],
            MailboxTimeout = Deadline,
            Log = Write,
        });
        Bridge.StateChanged += (_, state) =>
        {
            lock (_states)
            {
                _states.Add(state);
            }

            _ = _stateChanged.Release();
        };
    }

    internal Bridge Bridge { get; }

    internal QemuProcess Host => _host ?? throw new InvalidOperationException("host 1 is not started");

    /// <summary>Brings everything up to a guest that has its disk.</summary>
    internal static async Task<BridgedHost> StartAsync(FpgaKind fpga, bool shareMemory = true)
    {
        BridgedHost hosts = new(fpga) { _shareMemory = shareMemory };
        try
        {
            await hosts.Bridge.Started.WaitAsync(Deadline);
            hosts.StartBackEnd();
            await hosts.WaitForStateAsync(BridgeState.LinkUp);
            await hosts.StartHostAsync();
            return hosts;
        }
        catch
        {
            await hosts.DisposeAsync();
            throw;
        }
    }

    internal void StartBackEnd()
    {
        ProcessStartInfo start = new(Path.Combine(_workspace.BackEnd, "cosim-backend"), ["--socket", _sockets[2], "--blk", _image])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        _backEnd?.Dispose();
        _backEnd = new Process { StartInfo = start };
        _backEnd.OutputDataReceived += (_, e) => Write($"back end: {e.Data}");
        _backEnd.ErrorDataReceived += (_, e) => Write($"back end: {e.Data}");
        _ = _backEnd.Start();
        _backEnd.BeginOutputReadLine();
        _backEnd.BeginErrorReadLine();
    }

    internal async Task KillBackEndAsync()
    {
        if (_backEnd is not null)
        {
            _backEnd.Kill();
            await _backEnd.WaitForExitAsync().WaitAsync(Deadline);
        }
    }

    internal async Task StartHostAsync()
    {
        _host = await QemuProcess.StartAsync(new QemuOptions
        {
            Name = "host1",
            Tools = _tools,
            Image = GuestImage.CreateHostOne(_tools, _folder),
            RunFolder = _folder,
            VfioUserSockets = _sockets[..1],
            MemoryMiB = 256,
            ShareMemory = _shareMemory,
        });
        _ = await _host.WaitUntilReadyAsync(Deadline);
    }

    internal async Task KillHostAsync()
    {
        if (!Host.Exited.IsCompleted)
        {
            try
            {
                using Process qemu = Process.GetProcessById(Host.Id);
                qemu.Kill();
            }
            catch (Exception e) when (e is ArgumentException or InvalidOperationException)
            {
                // It has ended by itself, and nobody has been told yet.
            }
        }

        _ = await Host.Exited.WaitAsync(Deadline);
        await Host.DisposeAsync();
        _host = null;
    }

    /// <summary>Resets host 1's machine and waits until its guest is up again.</summary>
    internal async Task ResetHostAsync()
    {
        await Host.ResetAsync();
        _ = await Host.WaitUntilReadyAsync(Deadline);
    }

    /// <summary>Waits for a state that has been entered since the last one waited for.</summary>
    internal async Task WaitForStateAsync(BridgeState state)
    {
        while (await _stateChanged.WaitAsync(Deadline))
        {
            BridgeState entered;
            lock (_states)
            {
                entered = _states[0];
                _states.RemoveAt(0);
            }

            if (entered == state)
            {
                return;
            }
        }

        throw new TimeoutException($"The bridge did not become {state} within {Deadline}; it is {Bridge.State}. {Bridge.Failure}");
    }

    /// <summary>Has host 1 write a part of the disk, and holds what it then reads against the image.</summary>
    internal async Task CheckDiskAsync()
    {
        _ = await Host.Shell.RequireAsync(
            """
            until [ -b /dev/vda ]; do usleep 20000; done
            dd if=/dev/urandom of=/dev/vda bs=64k seek=7 count=16 conv=fsync 2>/dev/null
            """,
            Deadline);
        string before = await ImageSha256Async();
        Assert.That(await ReadDiskAsync(), Is.EqualTo(before));
    }

    /// <summary>Has host 1 read the whole disk, past its cache.</summary>
    /// <returns>The sha256 of it.</returns>
    internal Task<string> ReadDiskAsync() =>
        Host.Shell.RequireAsync("echo 3 > /proc/sys/vm/drop_caches; set -o pipefail; dd if=/dev/vda bs=64k 2>/dev/null | sha256sum | cut -d ' ' -f 1", Deadline);

    /// <summary>Has host 1 read the disk over and over, past its cache, in the background.</summary>
    internal Task KeepReadingAsync() =>
        Host.Shell.RequireAsync("(while :; do echo 3 > /proc/sys/vm/drop_caches; cat /dev/vda; done) >/dev/null 2>&1 &", Deadline);

    internal async Task<string> ImageSha256Async() => Convert.ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync(_image)));

    /// <summary>Waits until the FPGA has read this much of host 2's memory since the call.</summary>
    internal async Task WaitForTrafficAsync(ulong bytes)
    {
        ulong start = (await Bridge.GetStatus()).Ports[1].BytesSent;
        long begin = Stopwatch.GetTimestamp();
        while ((await Bridge.GetStatus()).Ports[1].BytesSent - start < bytes)
        {
            Assert.That(Stopwatch.GetElapsedTime(begin), Is.LessThan(Deadline), "host 1 reads nothing");
        }
    }

    /// <summary>The simulator's process: the child of this one whose program is in the folder of builds.</summary>
    internal Process Simulator() => Children().Single(child => Program(child)?.StartsWith(_workspace.Build + "/verilator", StringComparison.Ordinal) == true);

    /// <summary>Ends everything and sees that it is gone.</summary>
    public async ValueTask DisposeAsync()
    {
        int[] processes = [.. Children().Select(child => child.Id)];
        if (_host is not null)
        {
            await _host.DisposeAsync();
        }

        await Task.Run(Bridge.Dispose).WaitAsync(Deadline);
        await KillBackEndAsync();
        _backEnd?.Dispose();
        string[] left = [.. Directory.GetFiles(_folder, "*.sock")];
        Directory.Delete(_folder, recursive: true);
        _stateChanged.Dispose();
        Assert.Multiple(() =>
        {
            Assert.That(left, Is.Empty, "sockets are left");
            Assert.That(processes.Where(id => Directory.Exists($"/proc/{id}")), Is.Empty, "processes are left");
        });
    }

    private static IEnumerable<Process> Children() => Directory.GetDirectories($"/proc/{Environment.ProcessId}/task")
        .SelectMany(thread => File.ReadAllText(Path.Combine(thread, "children")).Split(' ', StringSplitOptions.RemoveEmptyEntries))
        .Select(id => Process.GetProcessById(int.Parse(id, CultureInfo.InvariantCulture)));

    private static string? Program(Process process) => new FileInfo($"/proc/{process.Id}/exe").LinkTarget;

    private static void Write(string line) => TestContext.Progress.WriteLine(line);
}
