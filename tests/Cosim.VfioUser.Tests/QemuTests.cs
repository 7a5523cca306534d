// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Text.Json;
using NUnit.Framework;

namespace Cosim.VfioUser.Tests;

/// <summary>The stock client: QEMU's vfio-user-pci, which brings the device up and lets its firmware enumerate it.</summary>
public sealed class QemuTests
{
    private const int MemorySize = 64 * 1024 * 1024;

    [Test]
    [CancelAfter(120_000)]
    public void Qemu_StartedKilledAndStartedAgain_EnumeratesTheDeviceEachTime(CancellationToken cancellation)
    {
        string qemu = FindQemu();
        string folder = Directory.CreateTempSubdirectory("vfu").FullName;
        using EventLoop loop = new();
        using (cancellation.Register(loop.Wake))
        {
            List<string> reports = [];
            PciDevice device = new();
            using VfioUserServer server = new(loop, Path.Combine(folder, "s"), device, new VfioUserServerOptions { Report = reports.Add });
            device.Server = server;
            for (int start = 1; start <= 2; start++)
            {
                device.MemorySpaceEnabled = false;
                using Process process = Start(qemu, server.SocketPath);
                try
                {
                    // Firmware sizes and places the BAR, then switches Memory Space on.
                    RunUntil(loop, () => device.MemorySpaceEnabled, process, cancellation);
                    Assert.That(device.Bar0 & 0xFFFF_0000, Is.Not.Zero, "BAR0 was placed");

                    // Low memory is lent with its descriptor; beyond the end there is nothing.
                    byte[] memory = new byte[16];
                    Assert.That(server.Memory.Read(0x1000, memory), Is.EqualTo(DmaResult.Ok));
                    Assert.That(server.Memory.Read(MemorySize, memory), Is.EqualTo(DmaResult.Unmapped));
                }
                finally
                {
                    process.Kill();
                    process.WaitForExit();
                }

                int gone = start;
                RunUntil(loop, () => device.Disconnections == gone, null, cancellation);
                Assert.That(server.Memory.Count, Is.Zero);
            }

            Assert.That(device.Resets, Is.GreaterThanOrEqualTo(2));
            Assert.That(reports, Is.Empty, "every request of the stock client was served");
        }

        Directory.Delete(folder, recursive: true);
    }

    private static void RunUntil(EventLoop loop, Func<bool> condition, Process? process, CancellationToken cancellation)
    {
        while (!condition())
        {
            Assert.That(cancellation.IsCancellationRequested, Is.False, "Too late.");
            if (process is { HasExited: true })
            {
                Assert.Fail($"QEMU ended: {process.StandardError.ReadToEnd()}");
            }

            loop.RunOnce(1000);
        }
    }

    private static Process Start(string qemu, string socket)
    {
        ProcessStartInfo start = new(qemu) { RedirectStandardError = true };
        string device = JsonSerializer.Serialize(new Dictionary<string, object>
        {
            ["driver"] = "vfio-user-pci",
            ["rombar"] = 0,
            ["x-msg-timeout"] = 60_000,
            ["socket"] = new Dictionary<string, string> { ["type"] = "unix", ["path"] = socket },
        });
        foreach (string argument in new[]
        {
            "-nodefaults", "-display", "none", "-accel", "tcg", "-no-user-config",
            "-object", $"memory-backend-memfd,id=ram,size={MemorySize},share=on",
            "-machine", "q35,memory-backend=ram", "-m", "64M", "-device", device,
        })
        {
            start.ArgumentList.Add(argument);
        }

        return Process.Start(start)!;
    }

    private static string FindQemu()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string tools = Path.Combine(folder.FullName, ".cosim", "tools.json");
            if (File.Exists(tools))
            {
                using JsonDocument document = JsonDocument.Parse(File.ReadAllText(tools));
                return document.RootElement.GetProperty("qemu").GetString()!;
            }
        }

        Assert.Ignore("No .cosim/tools.json above the tests: the set-up has not been run, so there is no QEMU.");
        return string.Empty;
    }

    /// <summary>A PCI function with one 64 KiB memory BAR and four MSI-X vectors.</summary>
    private sealed class PciDevice : IVfioUserDevice
    {
        private readonly byte[] _config = new byte[256];
        private readonly byte[] _bar = new byte[0x10000];

        internal PciDevice()
        {
            Set(0x00, 0x5101_0C05); // vendor, device
            Set(0x04, 0x0010_0000); // status: capabilities list
            Set(0x08, 0xFF00_0000); // class
            Set(0x34, 0x40); // first capability
            Set(0x3C, 0x100); // interrupt pin A
            Set(0x40, 0x0003_0011); // MSI-X: 4 vectors
            Set(0x44, 0x8000); // table in BAR0 at 0x8000
            Set(0x48, 0x9000); // pending bits at 0x9000
        }

        internal VfioUserServer? Server { get; set; }

        internal bool MemorySpaceEnabled { get; set; }

        internal uint Bar0 => BitConverter.ToUInt32(_config, 0x10);

        internal int Disconnections { get; private set; }

        internal int Resets { get; private set; }

        public RegionInfo GetRegion(int index) => index switch
        {
            0 => RegionInfo.ReadWrite((ulong)_bar.Length),
            VfioPci.ConfigRegionIndex => RegionInfo.ReadWrite((ulong)_config.Length),
            _ => default,
        };

        public IrqInfo GetIrq(int index) => index switch
        {
            VfioPci.IntxIrqIndex => IrqInfo.Intx,
            VfioPci.MsixIrqIndex => IrqInfo.Msix(4),
            _ => default,
        };

        public void Read(in RegionAccess access) =>
            Server!.CompleteRead(access.Token, Region(access.Region).AsSpan((int)access.Offset, access.Count));

        public void Write(in RegionAccess access, ReadOnlySpan<byte> data)
        {
            data.CopyTo(Region(access.Region).AsSpan((int)access.Offset));
            MemorySpaceEnabled |= access is { Region: VfioPci.ConfigRegionIndex, Offset: 4 } && (data[0] & 2) != 0 && (Bar0 & 0xFFFF_0000) is not (0 or 0xFFFF_0000);
            Server!.CompleteWrite(access.Token);
        }

        public void Reset(RequestToken token)
        {
            Resets++;
            Server!.CompleteReset(token);
        }

        public void DmaUnmapping(DmaRange range, RequestToken token) => Server!.CompleteUnmap(token);

        public void ClientDisconnected() => Disconnections++;

        private byte[] Region(int index) => index == 0 ? _bar : _config;

        private void Set(int offset, uint value) => BitConverter.TryWriteBytes(_config.AsSpan(offset), value);
    }
}
