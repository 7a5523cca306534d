// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Cosim.Fpga;
using Cosim.Guests;
using Cosim.Scheduling;

namespace Cosim.Benchmarks;

/// <summary>One request after the other to the virtio disk in host 1, past the guest's cache: through the bridge, and served by QEMU itself.</summary>
internal static class BlockRequests
{
    private const int PoolMiB = 64;
    private const long DiskBytes = 64 << 20;

    private static readonly TimeSpan s_deadline = TimeSpan.FromMinutes(5);
    private static readonly (int Bytes, string Name)[] s_sizes = [(512, "512 B"), (4096, "4 KiB"), (128 << 10, "128 KiB")];

    private sealed record Rates(double[] Reads, double[] Writes);

    public static async Task<IReadOnlyList<Row>> Run(Surroundings surroundings)
    {
        string disk = Path.Combine(surroundings.Folder, "disk.img");
        using (FileStream file = File.Create(disk))
        {
            file.SetLength(DiskBytes);
        }

        GuestTools tools = GuestTools.Load(surroundings.Workspace.Tools);
        List<(string Name, Rates Rates)> measured = [];
        foreach ((FpgaKind kind, int[] counts) in new[]
        {
            (FpgaKind.Model, new[] { 1000, 1000, 100 }),
            (FpgaKind.Verilator, [1000, 1000, 100]),
            (FpgaKind.Ghdl, [15, 15, 3]),
        })
        {
            measured.Add((kind.ToString().ToLowerInvariant(), await ThroughBridge(surroundings, tools, kind, disk, counts)));
        }

        Rates own = await OfQemu(surroundings, tools, disk);
        return [.. measured.SelectMany(m => s_sizes.SelectMany((size, i) => new[]
        {
            Compare($"{m.Name}: {size.Name} reads", size.Bytes, m.Rates.Reads[i], own.Reads[i]),
            Compare($"{m.Name}: {size.Name} writes", size.Bytes, m.Rates.Writes[i], own.Writes[i]),
        }))];
    }

    private static Row Compare(string name, int bytes, double rate, double own)
    {
        static string Text(int bytes, double rate) => string.Create(CultureInfo.InvariantCulture, $"{rate:0}/s {rate * bytes / 1e6:0.##} MB/s");
        return new Row(name, string.Create(CultureInfo.InvariantCulture, $"{Text(bytes, rate)}; QEMU's own {Text(bytes, own)}; ratio {rate / own:0.000}"));
    }

    private static async Task<Rates> OfQemu(Surroundings surroundings, GuestTools tools, string disk)
    {
        await using QemuProcess host = await QemuProcess.StartAsync(new QemuOptions
        {
            Name = "alone",
            Tools = tools,
            Image = GuestImage.CreateHostOne(tools, surroundings.Folder),
            RunFolder = surroundings.Folder,
            Disks = [new QemuDisk(disk)],
        });
        _ = await host.WaitUntilReadyAsync(s_deadline);
        return await Measure(surroundings, host, [4000, 4000, 500]);
    }

    private static async Task<Rates> ThroughBridge(Surroundings surroundings, GuestTools tools, FpgaKind kind, string disk, int[] counts)
    {
        string[] sockets = [.. Enumerable.Range(0, 3).Select(i => Path.Combine(surroundings.Folder, $"{kind}{i}.sock"))];
        TaskCompletionSource linkUp = new(TaskCreationOptions.RunContinuationsAsynchronously);
        using Bridge bridge = new(new BridgeOptions
        {
            Name = "bench",
            Fpga = surroundings.Fpga(kind),
            Hosts = [new SocketHostOptions { Functions = 2, Sockets = sockets[..2] }, new SocketHostOptions { Functions = 1, Sockets = sockets[2..] }],
            MailboxTimeout = TimeSpan.FromSeconds(60),
            Log = Console.Error.WriteLine,
        });
        bridge.StateChanged += (_, state) =>
        {
            if (state == BridgeState.LinkUp)
            {
                _ = linkUp.TrySetResult();
            }
        };
        await bridge.Started;
        BackEndSetUp backEnd = new()
        {
            EndpointVendor = 0x0C05,
            EndpointDevice = 0x5101,
            ProgramFolder = surroundings.Workspace.BackEnd,
            PoolMiB = PoolMiB,
            Command = $"./cosim-backend --pci 0C05:5101 --pool {PoolMiB} --blk /dev/vda --net tap=tap0,mac=52:54:00:c0:51:01,ip=10.51.0.2/24",
        };
        await using QemuProcess hostTwo = await QemuProcess.StartAsync(new QemuOptions
        {
            Name = $"{kind}2",
            Tools = tools,
            Image = GuestImage.CreateHostTwo(tools, backEnd, surroundings.Folder),
            RunFolder = surroundings.Folder,
            VfioUserSockets = sockets[2..],
            Iommu = true,
            Disks = [new QemuDisk(disk)],
        });
        _ = await hostTwo.WaitUntilReadyAsync(s_deadline);
        await linkUp.Task.WaitAsync(s_deadline);
        await using QemuProcess hostOne = await QemuProcess.StartAsync(new QemuOptions
        {
            Name = $"{kind}1",
            Tools = tools,
            Image = GuestImage.CreateHostOne(tools, surroundings.Folder),
            RunFolder = surroundings.Folder,
            VfioUserSockets = sockets[..2],
        });
        _ = await hostOne.WaitUntilReadyAsync(s_deadline);
        return await Measure(surroundings, hostOne, counts);
    }

    private static async Task<Rates> Measure(Surroundings surroundings, QemuProcess host, int[] counts)
    {
        string program = Path.Combine(surroundings.Folder, "block_requests");
        _ = await Surroundings.Run(
            "gcc", "-O2", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie", "-no-pie", "-fno-asynchronous-unwind-tables",
            "-Wl,-n,-s,--build-id=none", "-o", program, Path.Combine(AppContext.BaseDirectory, "block_requests.c"));
        _ = await host.Shell.RequireAsync(
            $"echo {Convert.ToBase64String(await File.ReadAllBytesAsync(program))} | base64 -d >/tmp/block_requests && chmod +x /tmp/block_requests", s_deadline);
        PciFunction[] functions = [.. await new HostOneShell(host.Shell).ListPciFunctionsAsync()];
        string node = functions.FirstOrDefault(f => f.Vendor == 0x1AF4 && f.Device == 0x1042)?.Node ?? throw new InvalidOperationException($"{host.Options.Name} has no virtio disk");
        double[] reads = new double[s_sizes.Length];
        double[] writes = new double[s_sizes.Length];
        for (int i = 0; i < s_sizes.Length; i++)
        {
            int bytes = s_sizes[i].Bytes;

            // Everything on the way has been used once before it is measured.
            _ = await Rate(host, node, "read", bytes, Math.Max(counts[i] / 10, 1));
            reads[i] = await Rate(host, node, "read", bytes, counts[i]);
            writes[i] = await Rate(host, node, "write", bytes, counts[i]);
        }

        return new Rates(reads, writes);
    }

    // Requests per second by the guest's clock.
    private static async Task<double> Rate(QemuProcess host, string node, string what, int bytes, int count)
    {
        string nanoseconds = await host.Shell.RequireAsync($"/tmp/block_requests /dev/{node} {what} {bytes} {count}", s_deadline);
        return count / (double.Parse(nanoseconds, CultureInfo.InvariantCulture) / 1e9);
    }
}
