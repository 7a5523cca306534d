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
        List<double> costs = [];
        List<double> rates = [];
        for (int i = 0; i < Rounds; i++)
        {
            (double without, _) = await Through(options, Requests, null);
            (double with, double rate) = await Through(options, Requests, file);
            costs.Add(100 * ((with / without) - 1));
            rates.Add(rate);
        }

        string speed = string.Create(CultureInfo.InvariantCulture, $" ({Row.Median(rates) / 1e6:0} MB/s of text)");
        return Row.AtMost($"{name}: time of the bridge that a recording costs, median of {Rounds} rounds", Row.Median(costs), 10, " %", speed);
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
