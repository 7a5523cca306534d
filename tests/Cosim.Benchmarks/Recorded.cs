// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Cosim.Fpga;
using Cosim.Scheduling;

namespace Cosim.Benchmarks;

/// <summary>What a recording costs the bridge: the time in which it ran the FPGA a cycle, with and without, in turns.</summary>
internal static class Recorded
{
    private const int Rounds = 11;
    private const int Requests = 96;

    public static async Task<IReadOnlyList<Row>> Run(Surroundings surroundings)
    {
        string file = Path.Combine(surroundings.Folder, "bench.stim");

        // What both ways run is compiled before anything is measured.
        for (int i = 0; i < 3; i++)
        {
            _ = await Through(surroundings.Fpga(FpgaKind.Model), 64, file);
            _ = await Through(surroundings.Fpga(FpgaKind.Model), 64, null);
        }

        return
        [
            await Cost(surroundings.Fpga(FpgaKind.Verilator, inProcess: true), "Verilator in-process", file),
            await Cost(surroundings.Fpga(FpgaKind.Verilator), "Verilator as a child", file),
        ];
    }

    private static async Task<Row> Cost(FpgaOptions options, string name, string file)
    {
        // The fastest of either, as for the traffic.
        double without = double.MaxValue;
        (double SecondsPerCycle, double TextPerSecond) with = (double.MaxValue, 0);
        for (int i = 0; i < Rounds; i++)
        {
            without = Math.Min(without, (await Through(options, Requests, null)).SecondsPerCycle);
            (double SecondsPerCycle, double TextPerSecond) recorded = await Through(options, Requests, file);
            with = recorded.SecondsPerCycle < with.SecondsPerCycle ? recorded : with;
        }

        string speed = string.Create(CultureInfo.InvariantCulture, $" ({with.TextPerSecond / 1e6:0} MB/s of text)");
        double cost = 100 * ((with.SecondsPerCycle / without) - 1);
        return Row.AtMost($"{name}: time of the bridge that a recording costs, best of {Rounds} rounds each", cost, 10, " %", speed);
    }

    // Seconds a cycle, and bytes of text a second.
    private static async Task<(double SecondsPerCycle, double TextPerSecond)> Through(FpgaOptions options, int requests, string? file)
    {
        await using VirtioHosts hosts = await VirtioHosts.Start(options, Traffic.Latency, 0, _ => Traffic.Answer, file: file);
        await Traffic.Exchange(hosts, requests);
        BridgeStatus status = await hosts.Bridge.GetStatus();
        if (status.Recording is { Failure.Length: > 0 } failed)
        {
            throw new InvalidOperationException(failed.Failure);
        }

        double seconds = status.BusyTime.TotalSeconds;
        return (seconds / status.Cycles, (status.Recording?.Bytes ?? 0) / seconds);
    }
}
