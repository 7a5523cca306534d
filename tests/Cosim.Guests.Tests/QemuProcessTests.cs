// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;
using NUnit.Framework;

namespace Cosim.Guests.Tests;

/// <summary>Real guests in a real QEMU, without any FPGA.</summary>
[Category("qemu")]
public sealed class QemuProcessTests
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(60);

    private readonly GuestTools _tools = GuestTools.Locate();
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("guest").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task StartAsync_HostOneImage_BootsRunsCommandsAndLeavesNothing()
    {
        string disk = Path.Combine(_folder, "disk, one.img");
        await File.WriteAllBytesAsync(disk, new byte[8 << 20]);
        int id;
        await using (QemuProcess qemu = await QemuProcess.StartAsync(HostOne() with { Disks = [new QemuDisk(disk)] }))
        {
            id = qemu.Id;
            TimeSpan uptime = await qemu.WaitUntilReadyAsync(Deadline);
            await TestContext.Out.WriteLineAsync($"ready {uptime.TotalSeconds:0.00} s after the kernel's start");
            Assert.That(Directory.GetFiles(_folder, "*.sock"), Is.Empty, "socket files go once QEMU has connected");

            string clock = await qemu.Shell.RequireAsync("cat /sys/devices/system/clocksource/clocksource0/current_clocksource", Deadline);
            Assert.That(clock, Does.StartWith("tsc").Or.EqualTo("kvm-clock"), "the guest has not found its clock's rate wrong");

            CommandResult failed = await qemu.Shell.RunAsync("echo out; echo err >&2; printf 'no end'; exit 7", Deadline);
            Assert.That(failed, Is.EqualTo(new CommandResult(7, "out\nerr\nno end")));
            CommandResult bytes = await qemu.Shell.RunAsync("printf '\\000\\377\\r\\n\\377\\001'", Deadline);
            Assert.That(Encoding.Latin1.GetBytes(bytes.Output), Is.EqualTo(new byte[] { 0, 255, 13, 10, 255, 1 }));
            CommandResult large = await qemu.Shell.RunAsync("seq 1 20000; echo 'end of it 0' >/dev/ttyS0", Deadline);
            Assert.That(large.Output.TrimEnd().Split('\n'), Has.Length.EqualTo(20000));

            var host = new HostOneShell(qemu.Shell);
            PciFunction function = (await host.ListPciFunctionsAsync()).Single(f => f.Node == "vda");
            Assert.That(
                (function.Vendor, function.Device, function.Driver, function.VirtioDriver),
                Is.EqualTo(((ushort)0x1AF4, (ushort)0x1042, "virtio-pci", "virtio_blk")));
            Assert.That(function.Vectors, Is.GreaterThanOrEqualTo(2), "configuration and one queue");

            BlockJobResult job = await host.RunBlockJobAsync(new BlockJob("/dev/vda", 1 << 20, Journal: false, Deadline));
            Assert.That(job.WrittenSha256, Does.Match("^[0-9a-f]{64}$"));
            Assert.That(job.ReadSha256, Is.EqualTo(job.WrittenSha256));

            await host.ListenAsync(5001);
            string sent = await host.SendAsync("127.0.0.1", 5001, 1 << 20, Deadline);
            Assert.That(await host.ReceivedSha256Async(Deadline), Is.EqualTo(sent));
            PingResult pings = await host.PingAsync("127.0.0.1", 3, Deadline);
            Assert.That((pings.Sent, pings.Received), Is.EqualTo((3, 3)));
            Assert.That(pings.AverageMilliseconds, Is.Positive);
            Assert.That(async () => await host.PingAsync("nowhere", 1, Deadline), Throws.TypeOf<GuestException>().With.Message.Contains("bad address"));

            JsonNode status = await qemu.Monitor.ExecuteAsync("query-status");
            Assert.That((string?)status["status"], Is.EqualTo("running"));
            Assert.That(
                async () => await qemu.Monitor.ExecuteAsync("device_del", new JsonObject { ["id"] = "nothing" }),
                Throws.TypeOf<QmpException>().With.Message.Contains("nothing"));
            Task<QmpEvent> stopped = qemu.Monitor.NextEventAsync(e => e.Name == "STOP");
            await qemu.Monitor.ExecuteAsync("stop");
            Assert.That((await stopped.WaitAsync(Deadline)).Name, Is.EqualTo("STOP"));
        }

        Assert.That(Directory.Exists($"/proc/{id}"), Is.False, "QEMU is gone");
    }

    [Test]
    public async Task RunAsync_DeadlineMissed_SaysSoAndTheNextCommandStillRuns()
    {
        await using QemuProcess qemu = await QemuProcess.StartAsync(HostOne());
        await qemu.WaitUntilReadyAsync(Deadline);
        await qemu.Shell.RequireAsync("mkfifo /run/gate", Deadline);
        Assert.That(
            async () => await qemu.Shell.RunAsync("echo before; cat /run/gate", TimeSpan.FromMilliseconds(300)),
            Throws.TypeOf<GuestException>().With.Message.Contains("cat /run/gate").And.Message.Contains("before"));
        await qemu.Console.WriteAsync("echo >/run/gate\n"u8.ToArray());
        Assert.That(await qemu.Shell.RequireAsync("echo after", Deadline), Is.EqualTo("after"));
        Assert.That(qemu.Console.Transcript, Does.Contain("echo >/run/gate"), "the shell for people echoes");
    }

    [Test]
    public async Task StartAsync_HostTwoImage_HasIommuHugepagesVfioAndRunsTheBackEnd()
    {
        var backEnd = new BackEndSetUp
        {
            EndpointVendor = 0x8086,
            EndpointDevice = 0x10D3,
            Command = "sh -c 'echo serving $COSIM_ENDPOINT $(cat /etc/words); exec sleep 1000'",
            Files = new Dictionary<string, ReadOnlyMemory<byte>> { ["etc/words"] = "as told\n"u8.ToArray() },
            PoolMiB = 32,
        };
        QemuOptions options = HostOne() with
        {
            Name = "host2",
            Image = GuestImage.CreateHostTwo(_tools, backEnd, _folder),
            Iommu = true,
            // Any function stands in for the endpoint: this is QEMU's e1000e.
            Arguments = ["-device", "pcie-root-port,id=p,chassis=9", "-device", "e1000e,bus=p,romfile="],
        };
        await using QemuProcess qemu = await QemuProcess.StartAsync(options);
        TimeSpan uptime = await qemu.WaitUntilReadyAsync(Deadline);
        await TestContext.Out.WriteLineAsync($"ready {uptime.TotalSeconds:0.00} s after the kernel's start");
        await qemu.BackEndOutput.WaitForAsync("serving 0000:01:00.0 as told\n", Deadline);
        var host = new HostTwoShell(qemu.Shell);
        PciFunction endpoint = (await host.ListPciFunctionsAsync()).Single(f => f.Vendor == 0x8086 && f.Device == 0x10D3);
        Assert.That(endpoint.Driver, Is.EqualTo("vfio-pci"));
        Assert.That(await host.EndpointAsync(), Is.EqualTo(endpoint.Address));
        Assert.That(await host.FreeHugepageBytesAsync(), Is.EqualTo(32L << 20));
        Assert.That(await qemu.Shell.RequireAsync("ls -1 /dev/net/tun /dev/vfio/vfio; ls /sys/kernel/iommu_groups | wc -l", Deadline), Does.StartWith("/dev/net/tun\n/dev/vfio/vfio\n"));

        Assert.That(await host.IsBackEndRunningAsync(), Is.True);
        Task<int> ended = qemu.WaitUntilBackEndEndsAsync();
        await host.KillBackEndAsync();
        Assert.That(await ended.WaitAsync(Deadline), Is.EqualTo(128 + 9));
        Assert.That(await host.IsBackEndRunningAsync(), Is.False);
        await host.StartBackEndAsync();
        await qemu.BackEndOutput.WaitForAsync("serving", Deadline);
    }

    [Test]
    public async Task VfioUserFunctions_TwoSockets_AreSeenDetachedAttachedAndSeenAfterReset()
    {
        string[] sockets = [Path.Combine(_folder, "f0.sock"), Path.Combine(_folder, "f, 1.sock")];
        using var first = new PlainFunction(sockets[0], 0x0001);
        using var second = new PlainFunction(sockets[1], 0x0002);
        await using QemuProcess qemu = await QemuProcess.StartAsync(HostOne() with { VfioUserSockets = sockets });
        await qemu.WaitUntilReadyAsync(Deadline);
        var host = new HostOneShell(qemu.Shell);

        async Task<string> Devices() =>
            string.Join(' ', from f in await host.ListPciFunctionsAsync() where f.Vendor == 0x1234 select $"{f.Address}={f.Device}");
        Assert.That(await Devices(), Is.EqualTo("0000:01:00.0=1 0000:02:00.0=2"));
        string read = "echo 1 >/sys/bus/pci/devices/0000:02:00.0/enable && set -- $(cat /sys/bus/pci/devices/0000:02:00.0/resource) && devmem $1 32";
        Assert.That(await qemu.Shell.RequireAsync(read, Deadline), Is.EqualTo("0xC0510002"));

        await qemu.DetachFunctionAsync(1, Deadline);
        Assert.That(await Devices(), Is.EqualTo("0000:01:00.0=1"));
        await qemu.AttachFunctionAsync(1);
        await qemu.Shell.RequireAsync("until [ -e /sys/bus/pci/devices/0000:02:00.0/enable ]; do usleep 10000; done", Deadline);
        Assert.That(await qemu.Shell.RequireAsync(read, Deadline), Is.EqualTo("0xC0510002"));

        await qemu.ResetAsync();
        await qemu.WaitUntilReadyAsync(Deadline);
        Assert.That(await Devices(), Is.EqualTo("0000:01:00.0=1 0000:02:00.0=2"));
    }

    [Test]
    public void StartAsync_ArgumentThatQemuRefuses_ShowsWhatQemuSaid() =>
        Assert.That(
            async () => await QemuProcess.StartAsync(HostOne() with { Arguments = ["-device", "no-such-device"] }),
            Throws.TypeOf<GuestException>().With.Message.Contains("host1: QEMU").And.Message.Contains("no-such-device"));

    [Test]
    public void StartAsync_NobodyAtTheVfioUserSocket_NamesTheSocket()
    {
        string socket = Path.Combine(_folder, "nobody.sock");
        Assert.That(
            async () => await QemuProcess.StartAsync(HostOne() with { VfioUserSockets = [socket] }),
            Throws.TypeOf<GuestException>().With.Message.Contains(socket));
    }

    [Test]
    public async Task Commands_QemuIsKilled_SayHowItEnded()
    {
        await using QemuProcess qemu = await QemuProcess.StartAsync(HostOne());
        using (var process = Process.GetProcessById(qemu.Id))
        {
            process.Kill();
        }

        await Assert.ThatAsync(
            () => qemu.ResetAsync(), Throws.TypeOf<GuestException>().With.Message.Match("^host1: QEMU ended with status 137 at system_reset\\."));
        await Assert.ThatAsync(
            () => qemu.DetachFunctionAsync(0, Deadline), Throws.TypeOf<GuestException>().With.Message.Contains("ended with status 137 at device_del."));
    }

    [Test]
    public async Task StartAsync_VfioUserServerThatNeverAnswers_EndsAtTheTimeoutWithNothingRunning()
    {
        string path = Path.Combine(_folder, "silent.sock");
        using var server = new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.Unix, System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Unspecified);
        server.Bind(new System.Net.Sockets.UnixDomainSocketEndPoint(path));
        server.Listen();
        Task<System.Net.Sockets.Socket> accepted = server.AcceptAsync();
        QemuOptions options = HostOne() with { VfioUserSockets = [path], StartTimeout = TimeSpan.FromSeconds(5) };
        Assert.That(
            async () => await QemuProcess.StartAsync(options),
            Throws.TypeOf<GuestException>().With.Message.Contains("not ready").And.Message.Contains(path));

        // QEMU's end of the connection is closed: it is gone.
        using System.Net.Sockets.Socket client = await accepted.WaitAsync(Deadline);
        var buffer = new byte[4096];
        while (await client.ReceiveAsync(buffer).WaitAsync(Deadline) > 0)
        {
        }
    }

    [TestCase(0)]
    [TestCase(1000)]
    public void StartAsync_DiskThatIsNoMultipleOf512_NamesFileAndSize(int bytes)
    {
        string disk = Path.Combine(_folder, "odd.img");
        File.WriteAllBytes(disk, new byte[bytes]);
        Assert.That(
            async () => await QemuProcess.StartAsync(HostOne() with { Disks = [new QemuDisk(disk)] }),
            Throws.TypeOf<GuestException>().With.Message.Contains(disk).And.Message.Contains($"{bytes} bytes"));
    }

    [Test]
    public void StartAsync_RunFolderTooDeepForSockets_SaysSo() =>
        Assert.That(
            async () => await QemuProcess.StartAsync(HostOne() with { RunFolder = Path.Combine(_folder, new string('x', 100)) }),
            Throws.TypeOf<GuestException>().With.Message.Contains("107 bytes"));

    private QemuOptions HostOne() => new()
    {
        Name = "host1",
        Tools = _tools,
        Image = GuestImage.CreateHostOne(_tools, _folder),
        RunFolder = _folder,
        MemoryMiB = 256,
    };
}
