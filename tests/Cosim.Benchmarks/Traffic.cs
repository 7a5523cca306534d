// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;
using Cosim.Fpga;
using Cosim.Scheduling;
using Cosim.Scheduling.Tests;

namespace Cosim.Benchmarks;

/// <summary>
/// Requests of 64 KiB each way, four in flight, through a bridge: its cycles in the time in which it ran the FPGA. Then the same packets
/// at the same cycles into the simulator alone, all of them given beforehand: its cycles in the time that it takes.
/// </summary>
internal static class Traffic
{
    private const int Bytes = 64 << 10;
    private const int InFlight = 4;
    public const uint Latency = 16;

    public static byte[] Answer { get; } = new byte[Bytes];

    public static async Task<IReadOnlyList<Row>> Run(Surroundings surroundings)
    {
        // The bridge's own code is compiled before anything is measured.
        for (int i = 0; i < 3; i++)
        {
            _ = await Through(surroundings.Fpga(FpgaKind.Model), 64);
        }

        return
        [
            await Kept(surroundings.Fpga(FpgaKind.Verilator, inProcess: true), "Verilator in-process", 192, 9, 85),
            await Kept(surroundings.Fpga(FpgaKind.Verilator), "Verilator as a child", 192, 9, 60),
            await Kept(surroundings.Fpga(FpgaKind.Ghdl), "GHDL as a child", 8, 9, 90),
        ];
    }

    private static async Task<Row> Kept(FpgaOptions options, string name, int requests, int rounds, double percent)
    {
        // The fastest of either: what else this machine does only ever takes time away.
        double kept = 0;
        double free = 0;
        for (int i = 0; i < rounds; i++)
        {
            (Recording record, ulong cycles, TimeSpan bridge) = await Through(options, requests);
            kept = Math.Max(kept, cycles / bridge.TotalSeconds);
            free = Math.Max(free, cycles / Replay(options, record.Passages, cycles).TotalSeconds);
        }

        string speed = string.Create(CultureInfo.InvariantCulture, $" of {free / 1000:0} k cycles/s");
        return Row.AtLeast($"{name}: cycles/s kept by the bridge, best of {rounds} rounds each", 100 * kept / free, percent, " %", speed);
    }

    private static async Task<(Recording Record, ulong Cycles, TimeSpan Time)> Through(FpgaOptions options, int requests)
    {
        Recording record = new((requests + 16) * 5 * Bytes / 2);
        await using VirtioHosts hosts = await VirtioHosts.Start(options, Latency, 0, _ => Answer, record);
        await Exchange(hosts, requests);
        BridgeStatus status = await hosts.Bridge.GetStatus();
        return (record, status.Cycles, status.BusyTime);
    }

    /// <summary>Requests of 64 KiB each way, four in flight.</summary>
    public static async Task Exchange(VirtioHosts hosts, int requests)
    {
        for (int done = 0; done < requests; done += InFlight)
        {
            for (int i = 0; i < InFlight; i++)
            {
                ulong address = VirtioHosts.Data + (ulong)(i * 2 * Bytes);
                _ = await hosts.Queue.Add(new MockBuffer(address, Bytes, false), new MockBuffer(address + Bytes, Bytes, true));
            }

            await hosts.Queue.Publish();
            for (int i = 0; i < InFlight; i++)
            {
                _ = await hosts.Driver.NextUsed(hosts.Queue);
            }
        }
    }

    private static TimeSpan Replay(FpgaOptions options, IReadOnlyList<Passage> record, ulong end)
    {
        using IFpga fpga = FpgaFactory.Create(options);
        foreach (Passage input in record.Where(p => p.Into && p.Cycle < end).OrderBy(p => p.Cycle))
        {
            fpga.Send(input.Port, input.Bytes.Span, input.Cycle);
        }

        int outputs = 0;
        long start = Stopwatch.GetTimestamp();
        while (fpga.Cycle < end)
        {
            RunResult result = fpga.Run(end - fpga.Cycle, uint.MaxValue);
            while (fpga.TryReceive(out _))
            {
                outputs++;
            }

            if (result is RunResult.Failed or RunResult.Idle)
            {
                break;
            }
        }

        TimeSpan time = Stopwatch.GetElapsedTime(start);
        int expected = record.Count(p => !p.Into && p.Cycle < end);
        return fpga.Cycle == end && outputs == expected
            ? time
            : throw new InvalidOperationException(
                $"the replay ended in cycle {fpga.Cycle} with {outputs} outputs instead of in cycle {end} with {expected}; {fpga.Failure}");
    }
}
