// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Cosim.Fpga;
using Cosim.Scheduling;
using Cosim.Scheduling.Tests;
using Cosim.Virtio;

namespace Cosim.Benchmarks;

/// <summary>What the format of host 1's ring and VIRTIO_F_EVENT_IDX save: simulated cycles and interrupts of a request, many of them under way.</summary>
/// <remarks>The hosts run beside the clock, so that counts differ a little from run to run: rows tell the median of several.</remarks>
internal static class RingFormats
{
    private const uint Latency = 250;
    private const int Bytes = 4096;
    private const ulong Slot = 2 * Bytes;
    private const int Deep = 16;
    private const int Requests = 160;
    private const int Rounds = 3;

    private static readonly byte[] s_answer = new byte[Bytes];

    public static async Task<IReadOnlyList<Row>> Run(Surroundings surroundings)
    {
        List<Row> rows = [];
        foreach ((FpgaKind kind, string name) in new[] { (FpgaKind.Model, "model"), (FpgaKind.Verilator, "Verilator") })
        {
            foreach (int depth in new[] { 1, Deep })
            {
                FpgaOptions options = surroundings.Fpga(kind);
                Counts split = await Measure(options, 0, depth);
                Counts splitEvents = await Measure(options, VirtioFeatures.RingEventIdx, depth);
                Counts packed = await Measure(options, VirtioFeatures.RingPacked, depth);
                Counts packedEvents = await Measure(options, VirtioFeatures.RingPacked | VirtioFeatures.RingEventIdx, depth);
                rows.Add(Text($"{name}: 4 KiB request, {depth} at a time, split ring", split));
                rows.Add(Text("    with EVENT_IDX", splitEvents));
                rows.Add(Text("    packed ring", packed));
                rows.Add(Text("    packed ring with EVENT_IDX", packedEvents));
                if (depth == 1)
                {
                    rows.Add(Row.AtMost($"{name}: cycles of a request, packed ring to split ring", packedEvents.Cycles / splitEvents.Cycles, 1, "x"));
                }
                else
                {
                    rows.Add(Row.AtMost($"{name}: interrupts of a request, EVENT_IDX to none, split ring", splitEvents.Interrupts / split.Interrupts, 0.5, "x"));
                    rows.Add(Row.AtMost($"{name}: interrupts of a request, EVENT_IDX to none, packed ring", packedEvents.Interrupts / packed.Interrupts, 0.5, "x"));
                }
            }
        }

        return rows;
    }

    private static Row Text(string name, Counts counts) =>
        new(name, string.Create(CultureInfo.InvariantCulture, $"{counts.Cycles:0} cycles, {counts.Interrupts:0.00} interrupts"));

    private static async Task<Counts> Measure(FpgaOptions options, ulong features, int depth)
    {
        await using VirtioHosts hosts = await VirtioHosts.Start(options, Latency, features, _ => s_answer);
        hosts.BackEnd.CallsForEach = true;
        _ = await Round(hosts, features, depth);
        List<Counts> rounds = [];
        for (int i = 0; i < Rounds; i++)
        {
            rounds.Add(await Round(hosts, features, depth));
        }

        return new(Row.Median(rounds.Select(r => r.Cycles)), Row.Median(rounds.Select(r => r.Interrupts)));
    }

    private static async Task<Counts> Round(VirtioHosts hosts, ulong features, int depth)
    {
        BridgeStatus before = await hosts.Bridge.GetStatus();
        (ulong cycles, ulong interrupts) = (before.Cycles, Interrupts(before));
        for (int batch = 0; batch < Requests / depth; batch++)
        {
            for (int i = 0; i < depth; i++)
            {
                ulong at = VirtioHosts.Data + ((ulong)i * Slot);
                _ = await hosts.Queue.Add(new MockBuffer(at, 16, false), new MockBuffer(at + Bytes, Bytes, true));
            }

            // A driver that has enough to do wants to hear of the last one alone.
            if ((features & VirtioFeatures.RingEventIdx) != 0)
            {
                await hosts.Queue.ArmUsedEvent((depth - 1) * ((features & VirtioFeatures.RingPacked) != 0 ? 2 : 1));
            }

            await hosts.Queue.Publish();
            int left = depth;
            while (left != 0)
            {
                if (await hosts.Queue.TakeUsed() is not null)
                {
                    left--;
                }
                else
                {
                    _ = await hosts.Driver.NextInterrupt();
                }
            }
        }

        BridgeStatus after = await hosts.Bridge.GetStatus();
        return new((after.Cycles - cycles) / (double)Requests, (Interrupts(after) - interrupts) / (double)Requests);
    }

    private static ulong Interrupts(BridgeStatus status) => status.Ports[0].MsixInterrupts;

    private readonly record struct Counts(double Cycles, double Interrupts);
}
