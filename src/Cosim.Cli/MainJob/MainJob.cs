// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Cosim.Fpga;
using Cosim.Guests;
using Cosim.Scheduling;
using Cosim.Scheduling.Stimuli;

namespace Cosim.Cli.MainJob;

/// <summary>
/// The main job: two stock QEMU hosts joined through the FPGA. Host 1 makes a file system on its virtio disk, writes and reads it, pings
/// host 2 and exchanges data with it by TCP; everything is checked on both sides.
/// </summary>
public sealed class MainJob
{
    private const string HostOneAddress = "10.51.0.1";
    private const string HostTwoAddress = "10.51.0.2";
    private const string HostTwoInterface = "tap0";
    private const int Mtu = 1500;
    private const int QueuePairs = 2;

    // Bytes by which TCP surely fills more than one segment at a time.
    private const int LongTransfer = 1 << 20;
    private const int PoolMiB = 64;

    private static readonly TimeSpan s_linkDeadline = TimeSpan.FromMinutes(5);

    private readonly MainJobOptions _options;
    private readonly Workspace _workspace;
    private readonly Progress _progress;
    private readonly TextWriter _output;
    private readonly MainJobSizes _sizes;

    /// <summary>Makes the job.</summary>
    public MainJob(MainJobOptions options, Workspace workspace, TextWriter output)
    {
        _options = options;
        _workspace = workspace;
        _output = output;
        _progress = new Progress(output);
        _sizes = options.Sizes ?? MainJobSizes.For(options.Fpga);
    }

    /// <summary>Runs the job. Its last line of output says how it ended.</summary>
    /// <returns>Exit status: 0 if everything was right.</returns>
    public async Task<int> Run(CancellationToken cancellation)
    {
        string name = _options.Fpga.ToString().ToLowerInvariant();
        string folder = _workspace.CreateRunFolder();
        try
        {
            string figures = await RunBridge(folder, cancellation);
            await _output.WriteLineAsync($"bridge ok fpga={name} {figures}");
            return 0;
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            await _output.WriteLineAsync("bridge failed: interrupted");
            return 1;
        }
        catch (Exception e)
        {
            await _output.WriteLineAsync($"bridge failed: {e.Message}");
            return 1;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task WithFailure(Task work, Task<string> failure)
    {
        if (await Task.WhenAny(work, failure) == failure)
        {
            throw new InvalidOperationException(await failure);
        }

        await work;
    }

    private async Task<string> RunBridge(string folder, CancellationToken cancellation)
    {
        GuestTools tools = GuestTools.Load(_workspace.Tools);
        string disk = PrepareDisk(folder);
        string[] hostOneSockets = [Path.Combine(folder, "p0f0.sock"), Path.Combine(folder, "p0f1.sock")];
        string hostTwoSocket = Path.Combine(folder, "p1f0.sock");

        _progress.Report($"FPGA: {_options.Fpga}");
        using Bridge bridge = new(new BridgeOptions
        {
            Name = "main",
            Fpga = new FpgaOptions
            {
                Kind = _options.Fpga,
                InProcess = _options.Fpga == FpgaKind.Verilator && !_options.Child,
                HdlDirectory = _workspace.Hdl,
                BuildDirectory = _workspace.Build,
                ToolsFile = _workspace.Tools,
                WaveFile = _options.Waves,
                WaveFormat = Path.GetExtension(_options.Waves) switch { ".fst" => WaveFormat.Fst, ".ghw" => WaveFormat.Ghw, _ => WaveFormat.Vcd },
            },
            Hosts =
            [
                new SocketHostOptions { Functions = 2, Sockets = hostOneSockets },
                new SocketHostOptions { Functions = 1, Sockets = [hostTwoSocket] },
            ],
            CompletionLatencyCycles = _options.CompletionLatencyCycles,
            MailboxTimeout = TimeSpan.FromSeconds(60),
            RecordingFile = _options.Record is { } record ? Path.GetFullPath(record) : null,
            Log = line => _progress.Report($"bridge: {line}"),
        });
        TaskCompletionSource<string> failure = new(TaskCreationOptions.RunContinuationsAsynchronously);
        TaskCompletionSource linkUp = new(TaskCreationOptions.RunContinuationsAsynchronously);
        bridge.StateChanged += (_, state) =>
        {
            if (state == BridgeState.LinkUp)
            {
                _ = linkUp.TrySetResult();
            }
            else if (state == BridgeState.Failed)
            {
                _ = failure.TrySetResult($"the FPGA is lost: {bridge.Failure}");
            }
        };
        await bridge.Started.WaitAsync(cancellation);

        _progress.Report("host 2: starting QEMU");
        await using QemuProcess hostTwo = await QemuProcess.StartAsync(
            new QemuOptions
            {
                Name = "host2",
                Tools = tools,
                Image = GuestImage.CreateHostTwo(tools, BackEndSetUp(), folder),
                RunFolder = folder,
                VfioUserSockets = [hostTwoSocket],
                Iommu = true,
                Disks = [new QemuDisk(disk)],
            },
            cancellation);
        Watch(hostTwo, failure);
        TimeSpan up = await hostTwo.WaitUntilReadyAsync(_sizes.Deadline, cancellation);
        _progress.Report($"host 2: up after {up.TotalSeconds:0.0} s of its own time; waiting for its back end");
        await WithFailure(WaitForLink(linkUp.Task, hostTwo, cancellation), failure.Task);

        _progress.Report("host 1: starting QEMU");
        await using QemuProcess hostOne = await QemuProcess.StartAsync(
            new QemuOptions
            {
                Name = "host1",
                Tools = tools,
                Image = GuestImage.CreateHostOne(tools, folder),
                RunFolder = folder,
                VfioUserSockets = hostOneSockets,
                Processors = _options.HostOneProcessors,
            },
            cancellation);
        Watch(hostOne, failure);
        up = await hostOne.WaitUntilReadyAsync(_sizes.Deadline, cancellation);
        _progress.Report($"host 1: up after {up.TotalSeconds:0.0} s of its own time");

        if (_options.Shell)
        {
            await _output.WriteLineAsync("The console follows; Ctrl-] ends it.");
            await TerminalSession.RunAsync(_options.ShellOnHostTwo ? hostTwo.Console : hostOne.Console, cancellation);
        }
        else
        {
            await WithFailure(Jobs(new HostOneShell(hostOne.Shell), new HostTwoShell(hostTwo.Shell), cancellation), failure.Task);
        }

        BridgeStatus status = await bridge.GetStatus();
        if (status.Recording is not null)
        {
            await EndRecording(bridge);
        }

        _progress.Report("stopping the hosts");
        return string.Create(
            CultureInfo.InvariantCulture,
            $"tlps={status.Tlps} cycles={status.Cycles} simulated={status.SimulatedTime.TotalMilliseconds:0.000}ms interrupts={status.Interrupts} wall={_progress.Elapsed.TotalSeconds:0.0}s");
    }

    private async Task EndRecording(Bridge bridge)
    {
        RecordingStatus recording = await bridge.StopRecording();
        if (recording.Failure.Length > 0)
        {
            throw new IOException($"{recording.File}: {recording.Failure}");
        }

        _progress.Report($"recording: {recording.Inputs} inputs, {recording.Outputs} outputs, {recording.Bytes / 1e6:0.0} MB of text in {recording.File}");
    }

    private string PrepareDisk(string folder)
    {
        if (_options.Disk is not null)
        {
            return Path.GetFullPath(_options.Disk);
        }

        string disk = Path.Combine(folder, "disk.img");
        using FileStream file = File.Create(disk);
        file.SetLength(_sizes.Disk);
        return disk;
    }

    private BackEndSetUp BackEndSetUp() => Directory.Exists(_workspace.BackEnd)
        ? new BackEndSetUp
        {
            EndpointVendor = 0x0C05,
            EndpointDevice = 0x5101,
            ProgramFolder = _workspace.BackEnd,
            PoolMiB = PoolMiB,
            Command = $"./cosim-backend --pci 0C05:5101 --pool {PoolMiB} --blk /dev/vda --net tap={HostTwoInterface},mac=52:54:00:c0:51:01,mtu={Mtu},pairs={QueuePairs},ip={HostTwoAddress}/24",
        }
        : throw new DirectoryNotFoundException($"Host 2's program is not in {_workspace.BackEnd}: run ./sim-scripts/run or ./sim-scripts/test, which build it.");

    private static void Watch(QemuProcess host, TaskCompletionSource<string> failure) =>
        _ = host.Exited.ContinueWith(
            exit => failure.TrySetResult($"{host.Options.Name}: QEMU ended with status {exit.Result}: {host.Output}"),
            CancellationToken.None,
            TaskContinuationOptions.OnlyOnRanToCompletion,
            TaskScheduler.Default);

    private static async Task WaitForLink(Task linkUp, QemuProcess hostTwo, CancellationToken cancellation)
    {
        using CancellationTokenSource done = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        Task<int> ended = hostTwo.WaitUntilBackEndEndsAsync(done.Token);
        Task first = await Task.WhenAny(linkUp, ended, Task.Delay(s_linkDeadline, done.Token));
        cancellation.ThrowIfCancellationRequested();
        await done.CancelAsync();
        if (first != linkUp)
        {
            string what = first == ended ? $"ended with status {await ended}" : $"did not bring the link up within {s_linkDeadline.TotalMinutes:0} minutes";
            throw new InvalidOperationException($"host 2's back end {what}; it said: {hostTwo.BackEndOutput.Transcript.Trim()}");
        }
    }

    private async Task Jobs(HostOneShell hostOne, HostTwoShell hostTwo, CancellationToken cancellation)
    {
        PciFunction[] functions = [.. (await hostOne.ListPciFunctionsAsync(cancellation)).Where(f => f.Vendor == 0x1AF4)];
        foreach (PciFunction function in functions)
        {
            _progress.Report(
                $"host 1 sees {function.Address} {function.Vendor:x4}:{function.Device:x4} driver {function.Driver ?? "none"}/{function.VirtioDriver ?? "none"} node {function.Node ?? "none"} MSI-X vectors in use {function.Vectors}");
        }

        string disk = functions.FirstOrDefault(f => f.Device == 0x1042)?.Node ?? throw new InvalidOperationException("host 1 has no virtio disk");
        string network = functions.FirstOrDefault(f => f.Device == 0x1041)?.Node ?? throw new InvalidOperationException("host 1 has no virtio network interface");
        await Block(hostOne, hostTwo, $"/dev/{disk}", cancellation);
        await Net(hostOne, hostTwo, network, cancellation);
    }

    private async Task Block(HostOneShell hostOne, HostTwoShell hostTwo, string disk, CancellationToken cancellation)
    {
        BlockJobResult block = await hostOne.RunBlockJobAsync(new BlockJob(disk, _sizes.File, _sizes.Journal, _sizes.Deadline), _progress, cancellation);
        string seen = await hostTwo.BlockJobSha256Async("/dev/vda", _sizes.Deadline, cancellation);
        _progress.Report($"block: host 1 wrote {block.WrittenSha256}");
        _progress.Report($"block: host 1 read  {block.ReadSha256}");
        _progress.Report($"block: host 2 read  {seen}");
        if (block.WrittenSha256 != block.ReadSha256 || seen != block.WrittenSha256)
        {
            throw new InvalidOperationException("block: the file's sha256 differs");
        }

        double megabytes = _sizes.File / 1e6;
        _progress.Report(
            $"block: {_sizes.File >> 20} MiB written in {block.Write.TotalSeconds:0.00} s ({megabytes / block.Write.TotalSeconds:0.0} MB/s), read in {block.Read.TotalSeconds:0.00} s ({megabytes / block.Read.TotalSeconds:0.0} MB/s)");
    }

    private async Task Net(HostOneShell hostOne, HostTwoShell hostTwo, string network, CancellationToken cancellation)
    {
        await hostOne.ConfigureInterfaceAsync(network, $"{HostOneAddress}/24", cancellation);
        PingResult ping = await hostOne.PingAsync(HostTwoAddress, _sizes.Pings, _sizes.Deadline, cancellation);
        _progress.Report($"net: {ping.Received} of {ping.Sent} pings answered, {ping.AverageMilliseconds:0.00} ms on average");
        if (ping.Received != _sizes.Pings)
        {
            throw new InvalidOperationException($"net: {_sizes.Pings - ping.Received} of {_sizes.Pings} pings were lost");
        }

        int pairs = await hostOne.QueuePairsAsync(network, cancellation);
        if (pairs != Math.Min(_options.HostOneProcessors, QueuePairs))
        {
            throw new InvalidOperationException($"net: host 1 uses {pairs} pairs of queues; it has {_options.HostOneProcessors} processors and {QueuePairs} pairs");
        }

        InterfaceCounts before = await hostTwo.InterfaceCountsAsync(HostTwoInterface, cancellation);
        await Transfer("host 1 to host 2", hostOne, hostTwo, HostTwoAddress, 5001, cancellation);
        InterfaceCounts between = await hostTwo.InterfaceCountsAsync(HostTwoInterface, cancellation);
        await Transfer("host 2 to host 1", hostTwo, hostOne, HostOneAddress, 5002, cancellation);
        InterfaceCounts after = await hostTwo.InterfaceCountsAsync(HostTwoInterface, cancellation);
        long received = (between.ReceivedBytes - before.ReceivedBytes) / (between.ReceivedPackets - before.ReceivedPackets);
        long sent = (after.SentBytes - between.SentBytes) / (after.SentPackets - between.SentPackets);
        _progress.Report($"net: {pairs} of {QueuePairs} queue pairs in use; frames of {received} bytes on average to host 2, of {sent} to host 1, with an MTU of {Mtu}");
        if (_sizes.Transfer >= LongTransfer && (received <= Mtu || sent <= Mtu))
        {
            throw new InvalidOperationException("net: segmentation is not left to the other side");
        }

        await LinkDownAndUp(hostOne, hostTwo, network, cancellation);
    }

    private async Task LinkDownAndUp(HostOneShell hostOne, HostTwoShell hostTwo, string network, CancellationToken cancellation)
    {
        TimeSpan start = _progress.Elapsed;
        await hostTwo.SwitchInterfaceAsync(HostTwoInterface, false, cancellation);
        await hostOne.WaitForCarrierAsync(network, false, _sizes.Deadline, cancellation);
        TimeSpan down = _progress.Elapsed;
        await hostTwo.SwitchInterfaceAsync(HostTwoInterface, true, cancellation);
        await hostOne.WaitForCarrierAsync(network, true, _sizes.Deadline, cancellation);
        TimeSpan up = _progress.Elapsed;
        PingResult ping = await hostOne.PingAsync(HostTwoAddress, 1, _sizes.Deadline, cancellation);
        if (ping.Received != 1)
        {
            throw new InvalidOperationException("net: no ping is answered after the link has come back");
        }

        _progress.Report($"net: host 1 saw the link down {(down - start).TotalSeconds:0.00} s after host 2 switched it off, and up {(up - down).TotalSeconds:0.00} s after it switched it on");
    }

    private async Task Transfer(string what, HostShell from, HostShell to, string address, int port, CancellationToken cancellation)
    {
        await to.ListenAsync(port, cancellation);
        TimeSpan start = _progress.Elapsed;
        string sent = await from.SendAsync(address, port, _sizes.Transfer, _sizes.Deadline, cancellation);
        string received = await to.ReceivedSha256Async(_sizes.Deadline, cancellation);
        TimeSpan time = _progress.Elapsed - start;
        if (sent != received)
        {
            throw new InvalidOperationException($"net: {what}: {sent} was sent, {received} received");
        }

        _progress.Report($"net: {what}: {_sizes.Transfer >> 10} KiB by TCP in {time.TotalSeconds:0.00} s, sha256 {received} on both sides");
    }
}
