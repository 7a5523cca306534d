// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Cosim.Cli.MainJob;
using Cosim.Fpga;
using Cosim.Guests;
using Cosim.Scheduling;
using NUnit.Framework;

namespace Cosim.Cli.Tests;

/// <summary>Block, net, console and entropy device at once, between two real QEMUs with stock kernels.</summary>
[CancelAfter(300_000)]
public sealed class AllDevicesTests
{
    private const int Functions = 4;
    private const string Commands = "/run/cosim/commands";

    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(60);

    // Host 2's disk is a file of its own, so that it can grow there.
    private const string BackEnd =
        "sh -c 'truncate -s 8M /run/disk.img && exec ./cosim-backend --pci 0C05:5101 --pool 64 --commands " + Commands
        + " --blk /run/disk.img,queues=2,physical=4096,optimal=65536 --net tap=tap0,mac=52:54:00:c0:51:01,ip=10.51.0.2/24"
        + " --console console:pty:/run/cosim/tty,data=pipe:/run/cosim/data --rng unlimited'";

    private string _folder = "";

    [SetUp]
    public void CreateFolder() => _folder = Workspace.Find().CreateRunFolder();

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task HostOne_WithFourDevices_UsesThemAll()
    {
        Workspace workspace = Workspace.Find();
        GuestTools tools = GuestTools.Load(workspace.Tools);
        if (!File.Exists(Path.Combine(tools.Modules, "virtio_rng.ko")))
        {
            Assert.Ignore("The guest kernel was set up without virtio_rng: ./sim-scripts/setup mends that.");
        }

        string[] sockets = [.. Enumerable.Range(0, Functions).Select(function => Path.Combine(_folder, $"p0f{function}.sock"))];
        string hostTwoSocket = Path.Combine(_folder, "p1f0.sock");
        TaskCompletionSource linkUp = new(TaskCreationOptions.RunContinuationsAsynchronously);
        using Bridge bridge = new(new BridgeOptions
        {
            Name = "all",
            Fpga = new FpgaOptions
            {
                Kind = FpgaKind.Model,
                Functions = Functions,
                HdlDirectory = workspace.Hdl,
                BuildDirectory = workspace.Build,
                ToolsFile = workspace.Tools,
            },
            Hosts = [new SocketHostOptions { Functions = Functions, Sockets = sockets }, new SocketHostOptions { Functions = 1, Sockets = [hostTwoSocket] }],
            MailboxTimeout = s_deadline,
            Log = TestContext.Progress.WriteLine,
        });
        bridge.StateChanged += (_, state) => _ = state == BridgeState.LinkUp && linkUp.TrySetResult();
        await bridge.Started.WaitAsync(s_deadline);
        BackEndSetUp setUp = new() { EndpointVendor = 0x0C05, EndpointDevice = 0x5101, ProgramFolder = workspace.BackEnd, PoolMiB = 64, Command = BackEnd };
        await using QemuProcess hostTwo = await QemuProcess.StartAsync(new QemuOptions
        {
            Name = "host2",
            Tools = tools,
            Image = GuestImage.CreateHostTwo(tools, setUp, _folder),
            RunFolder = _folder,
            VfioUserSockets = [hostTwoSocket],
            Iommu = true,
        });
        _ = await hostTwo.WaitUntilReadyAsync(s_deadline);
        Task served = await Task.WhenAny(linkUp.Task, hostTwo.WaitUntilBackEndEndsAsync(), Task.Delay(s_deadline));
        Assert.That(served, Is.SameAs(linkUp.Task), hostTwo.BackEndOutput.Transcript);
        await using QemuProcess hostOne = await QemuProcess.StartAsync(new QemuOptions
        {
            Name = "host1",
            Tools = tools,
            Image = GuestImage.CreateHostOne(tools, _folder, modules: ["virtio_console", "virtio_rng"]),
            RunFolder = _folder,
            VfioUserSockets = sockets,
            Processors = 2,
            MemoryMiB = 256,
        });
        _ = await hostOne.WaitUntilReadyAsync(s_deadline);
        try
        {
            await CheckDisk(hostOne.Shell, hostTwo.Shell);
            await CheckConsole(hostOne.Shell, hostTwo.Shell);
            await CheckEntropy(hostOne.Shell);
            await CheckNetwork(hostOne, hostTwo);
        }
        finally
        {
            await TestContext.Out.WriteLineAsync(hostTwo.BackEndOutput.Transcript);
        }
    }

    private static async Task CheckDisk(GuestConsole hostOne, GuestConsole hostTwo)
    {
        string about = await hostOne.RequireAsync(
            """
            until [ -b /dev/vda ]; do usleep 20000; done
            cd /sys/block/vda
            echo $(ls mq) $(cat queue/logical_block_size queue/physical_block_size queue/minimum_io_size queue/optimal_io_size queue/discard_granularity size) $(cat serial) $(cat cache_type)
            """,
            s_deadline);
        Assert.That(about, Is.EqualTo("0 1 512 4096 4096 65536 4096 16384 cosim write back"));

        // Both processors, so both queues; then it is the same file in host 2.
        string written = await hostOne.RequireAsync(
            """
            echo write through > /sys/block/vda/cache_type
            [ "$(cat /sys/block/vda/cache_type)" = "write through" ] || exit 1
            dd if=/dev/urandom of=/run/data bs=1M count=8 2>/dev/null
            taskset 1 dd if=/run/data of=/dev/vda bs=256k count=16 oflag=direct 2>/dev/null &
            taskset 2 dd if=/run/data of=/dev/vda bs=256k skip=16 seek=16 oflag=direct 2>/dev/null
            wait
            sha256sum </run/data
            """,
            s_deadline);
        Assert.That(await hostTwo.RequireAsync("sha256sum </run/disk.img", s_deadline), Is.EqualTo(written));
        string blocks = await hostTwo.RequireAsync("stat -c %b /run/disk.img", s_deadline);
        Assert.That(blocks, Is.EqualTo("16384"));
        _ = await hostOne.RequireAsync("blkdiscard -o 1048576 -l 4194304 /dev/vda", s_deadline);
        Assert.That(await hostTwo.RequireAsync("stat -c %b /run/disk.img", s_deadline), Is.EqualTo("8192"), "half of it was given back");

        _ = await hostTwo.RequireAsync($"truncate -s 12M /run/disk.img && echo 0 capacity >{Commands}", s_deadline);
        string grown = await hostOne.RequireAsync(
            """
            until [ "$(cat /sys/block/vda/size)" = 24576 ]; do usleep 20000; done
            echo the end >/run/end
            dd if=/run/end of=/dev/vda bs=512 seek=24575 conv=sync,fsync 2>/dev/null
            dmesg | grep -c 'vda.*new size'
            """,
            s_deadline);
        Assert.That(grown, Is.EqualTo("1"));
        Assert.That(await hostTwo.RequireAsync("tail -c 512 /run/disk.img | tr -d '\\0'", s_deadline), Is.EqualTo("the end"));
    }

    private static async Task CheckConsole(GuestConsole hostOne, GuestConsole hostTwo)
    {
        const int bytes = 300_001;
        string port = await hostOne.RequireAsync(
            """
            until grep -lx data /sys/class/virtio-ports/*/name 2>/dev/null; do usleep 20000; done
            until [ -c /dev/hvc0 ]; do usleep 20000; done
            """,
            s_deadline);
        port = "/dev/" + Path.GetFileName(Path.GetDirectoryName(port));
        Task<string> received = hostTwo.RequireAsync($"head -c {bytes} /run/cosim/data.out | sha256sum", s_deadline);
        string sent = await hostOne.RequireAsync(
            $"head -c {bytes} /dev/urandom >/run/up; cat /run/up >{port}; sha256sum </run/up", s_deadline);
        Assert.That(await received, Is.EqualTo(sent));
        received = hostOne.RequireAsync($"head -c {bytes} {port} | sha256sum", s_deadline);
        sent = await hostTwo.RequireAsync(
            $"head -c {bytes} /dev/urandom >/run/down; cat /run/down >/run/cosim/data.in; sha256sum </run/down", s_deadline);
        Assert.That(await received, Is.EqualTo(sent));

        // What reaches a terminal before a program has it open is lost: so each speaks after it has heard the other.
        received = hostTwo.RequireAsync("head -n 1 /run/cosim/tty; echo from host 2 >/run/cosim/tty", s_deadline);
        string heard = await hostOne.RequireAsync("exec 3<>/dev/hvc0; echo from host 1 >&3; head -n 1 <&3", s_deadline);
        Assert.That((await received).TrimEnd(), Is.EqualTo("from host 1"));
        Assert.That(heard.TrimEnd(), Is.EqualTo("from host 2"));
    }

    private static async Task CheckEntropy(GuestConsole hostOne)
    {
        string[] answers = (await hostOne.RequireAsync(
            """
            cat /sys/class/misc/hw_random/rng_current
            for round in 1 2; do head -c 5000 /dev/hwrng | tee /run/random | sha256sum; wc -c </run/random; done
            """,
            s_deadline)).Split('\n');
        Assert.That(answers[0], Does.StartWith("virtio_rng"));
        Assert.That((answers[2], answers[4]), Is.EqualTo(("5000", "5000")));
        Assert.That(answers[1], Is.Not.EqualTo(answers[3]));
    }

    private static async Task CheckNetwork(QemuProcess hostOne, QemuProcess hostTwo)
    {
        HostOneShell one = new(hostOne.Shell);
        string network = (await one.ListPciFunctionsAsync()).Single(function => function.Device == 0x1041).Node!;
        await one.ConfigureInterfaceAsync(network, "10.51.0.1/24");
        PingResult ping = await one.PingAsync("10.51.0.2", 3, s_deadline);
        Assert.That(ping.Received, Is.EqualTo(3));
        Assert.That(
            long.Parse(await hostTwo.Shell.RequireAsync("cat /sys/class/net/tap0/statistics/rx_packets", s_deadline), CultureInfo.InvariantCulture),
            Is.GreaterThanOrEqualTo(3));
    }
}
