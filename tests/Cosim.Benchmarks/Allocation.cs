// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Scheduling.Tests;

namespace Cosim.Benchmarks;

/// <summary>Bytes that the bridge's thread allocates on the managed heap while it serves the FPGA's memory requests and DMA commands.</summary>
internal static class Allocation
{
    private const int Bytes = 64 << 10;
    private const int Requests = 64;

    private static readonly byte[] s_answer = new byte[Bytes];

    public static async Task<IReadOnlyList<Row>> Run(Surroundings surroundings)
    {
        List<Row> rows = [];
        foreach ((FpgaKind kind, string name) in new[] { (FpgaKind.Model, "model"), (FpgaKind.Verilator, "Verilator") })
        {
            MeteredFpga? meter = null;
            await using VirtioHosts hosts = await VirtioHosts.Start(surroundings.Fpga(kind), 16, 0, _ => s_answer, wrap: fpga => meter = new MeteredFpga(fpga));
            await Exchange(hosts);
            _ = await hosts.Bridge.Invoke(() =>
            {
                meter!.Restart();
                return 0;
            });
            await Exchange(hosts);
            (int packets, long bytes) = await hosts.Bridge.Invoke(() => (meter!.Packets, meter.Bytes));
            rows.Add(Row.AtMost($"{name}: allocated on the data path", bytes, 0, " B", $" over {packets} TLPs and DMA commands"));
        }

        return rows;
    }

    private static async Task Exchange(VirtioHosts hosts)
    {
        for (int i = 0; i < Requests; i++)
        {
            _ = await hosts.Queue.Add(new MockBuffer(VirtioHosts.Data, Bytes, false), new MockBuffer(VirtioHosts.Data + Bytes, Bytes, true));
            await hosts.Queue.Publish();
            _ = await hosts.Driver.NextUsed(hosts.Queue);
        }
    }
}
