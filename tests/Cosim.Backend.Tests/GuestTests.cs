// SPDX-License-Identifier: Apache-2.0
using Cosim.Guests;
using Cosim.Virtio;
using NUnit.Framework;

namespace Cosim.Backend.Tests;

/// <summary>The published program in the stock guest of host 2: vfio-pci, an IOMMU, hugepages, a disk and a TAP.</summary>
public sealed class GuestTests
{
    private const int Boot = 180_000;

    // ARP request: who has 10.99.0.2, tell 10.99.0.1.
    private static readonly byte[] _arpRequest =
    [
        0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, // destination
        0x02, 0x00, 0x00, 0x00, 0x00, 0x01, // source
        0x08, 0x06, // ARP
        0x00, 0x01, 0x08, 0x00, 6, 4, // Ethernet, IPv4
        0x00, 0x01, // request
        0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 10, 99, 0, 1,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 10, 99, 0, 2,
    ];

    [Test]
    public void Program_InHostTwo_ServesItsDiskAndItsNetwork()
    {
        string folder = Directory.CreateTempSubdirectory("be").FullName;
        string image = Path.Combine(folder, "image");
        byte[] content = new byte[1 << 20];
        new Random(21).NextBytes(content);
        File.WriteAllBytes(image, content);
        using FakeFpga fpga = new();
        GuestTools tools = FindTools();
        BackEndSetUp setUp = new()
        {
            EndpointVendor = 0x0C05,
            EndpointDevice = 0x5101,
            Command = "./cosim-backend --pci 0c05:5101 --blk /dev/vda,serial=guest --net tap=tap0,mac=02:00:00:00:00:01,ip=10.99.0.2/24",
            ProgramFolder = FindProgram(),
            PoolMiB = 32,
        };
        QemuOptions options = new()
        {
            Name = "host2",
            Tools = tools,
            Image = GuestImage.CreateHostTwo(tools, setUp, folder),
            RunFolder = folder,
            Iommu = true,
            Disks = [new QemuDisk(image)],
            VfioUserSockets = [fpga.SocketPath],
        };
        Task<QemuProcess> starting = Task.Run(() => QemuProcess.StartAsync(options));
        fpga.RunUntil(() => starting.IsCompleted, "QEMU starts", Boot);
        QemuProcess qemu = starting.GetAwaiter().GetResult();
        try
        {
            fpga.RunUntil(() => fpga.Control == 1 || qemu.BackEndOutput.Transcript.Contains("cosim-backend:", StringComparison.Ordinal), "the back end is ready", Boot);
            Assert.That(fpga.Control, Is.EqualTo(1), qemu.BackEndOutput.Transcript);
            fpga.Open();
            Assert.That(fpga.PoolSize, Is.EqualTo(32 << 20));
            ReadDisk(fpga, content);
            AskForAddress(fpga);

            Task<string> unplugging = Task.Run(() => qemu.Shell.RequireAsync("ifconfig tap0 down", TimeSpan.FromSeconds(30)));
            Assert.That(fpga.NextMessage()[0], Is.EqualTo(2), "the link went down: CONFIG_CHANGE_MSG");
            fpga.RunUntil(() => unplugging.IsCompleted, "the command ends");
            byte[] config = fpga.Ask(MailboxRequest.GetConfig, 1, [.. Bytes.U32(6, 2, 0), 0, 0]);
            Assert.That(config[12..], Is.EqualTo(new byte[2]));

            Task<string> stopping = Task.Run(() => qemu.Shell.RequireAsync("kill -TERM $(cat /run/cosim/backend.pid)", TimeSpan.FromSeconds(30)));
            fpga.RunUntil(() => fpga.Control == 0, "CONTROL = 0");
            fpga.RunUntil(() => stopping.IsCompleted, "the command ends");
        }
        finally
        {
            TestContext.Out.WriteLine(qemu.BackEndOutput.Transcript);
            Task stopped = Task.Run(async () => await qemu.DisposeAsync());
            fpga.RunUntil(() => stopped.IsCompleted, "QEMU ends");
        }

        Directory.Delete(folder, recursive: true);
    }

    private static void ReadDisk(FakeFpga fpga, byte[] content)
    {
        FrontEndQueue queue = FrontEndQueue.Enable(fpga, 0, 0, 128, VirtioFeatures.Version1 | VirtioFeatures.RingEventIdx);

        byte[] answer = queue.Exchange([.. Bytes.U32(0, 0), .. Bytes.U64(8)], (64 * 512) + 1);

        Assert.That(answer[^1], Is.Zero);
        Assert.That(answer.AsSpan(0, 64 * 512).SequenceEqual(content.AsSpan(8 * 512, 64 * 512)), Is.True);
        int rung = 0;
        fpga.RunUntil(() => (rung += fpga.TakeDoorbells(0, 0)) > 0, "the doorbell rings");
    }

    private static void AskForAddress(FakeFpga fpga)
    {
        const ulong Features = VirtioFeatures.Version1 | VirtioFeatures.RingEventIdx;
        FrontEndQueue receive = FrontEndQueue.Enable(fpga, 1, 0, 64, Features);
        for (ushort buffer = 0; buffer < 32; buffer++)
        {
            receive.Describe(buffer, receive.Buffers + (buffer * 2048u), 1530, DescriptorFlags.Write);
            receive.Offer(buffer);
        }

        FrontEndQueue transmit = FrontEndQueue.Enable(fpga, 1, 1, 64, Features);
        FrontEndQueue.Write(fpga, transmit.Buffers, [.. new byte[12], .. _arpRequest]);
        transmit.Describe(0, transmit.Buffers, (uint)(12 + _arpRequest.Length), DescriptorFlags.None);
        transmit.Offer(0);
        Assert.That(transmit.WaitUsed(), Is.EqualTo((0u, 0u)));

        // What Linux sends on its own account (neighbour discovery) may come first.
        while (true)
        {
            (uint id, uint length) = receive.WaitUsed();
            byte[] frame = FrontEndQueue.Read(fpga, receive.Buffers + (id * 2048), (int)length);
            Assert.That(frame[10], Is.EqualTo(1), "num_buffers");
            if (frame.AsSpan(12 + 12, 2).SequenceEqual(_arpRequest.AsSpan(12, 2)))
            {
                Assert.That(frame.AsSpan(12, 6).SequenceEqual(_arpRequest.AsSpan(6, 6)), Is.True, "to us");
                Assert.That(frame[12 + 21], Is.EqualTo(2), "ARP reply");
                return;
            }
        }
    }

    private static GuestTools FindTools()
    {
        try
        {
            return GuestTools.Locate();
        }
        catch (GuestException e)
        {
            Assert.Ignore(e.Message);
            throw;
        }
    }

    private static string FindProgram()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string program = Path.Combine(folder.FullName, ".cosim", "build", "backend");
            if (File.Exists(Path.Combine(program, "cosim-backend")))
            {
                return program;
            }
        }

        Assert.Ignore("No .cosim/build/backend above the tests: `dotnet publish src/Cosim.Backend -c Release -o .cosim/build/backend` makes it.");
        return string.Empty;
    }
}
