// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;
using Cosim.Fpga;

namespace Cosim.Benchmarks;

/// <summary>The main job as a user runs it, with everything built before.</summary>
internal static class MainJobTime
{
    private const double Limit = 60;

    public static async Task<IReadOnlyList<Row>> Run(Surroundings surroundings)
    {
        List<Row> rows = [];
        foreach (FpgaKind kind in new[] { FpgaKind.Model, FpgaKind.Verilator, FpgaKind.Ghdl })
        {
            FpgaFactory.Create(surroundings.Fpga(kind)).Dispose();
            string name = kind.ToString().ToLowerInvariant();
            long start = Stopwatch.GetTimestamp();
            string output = await Surroundings.Run(Path.Combine(surroundings.Workspace.Root, "sim-scripts", "run"), "--fpga", name);
            double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            string last = output.TrimEnd().Split('\n')[^1];
            if (!last.StartsWith("bridge ok ", StringComparison.Ordinal))
            {
                throw new InvalidOperationException($"the main job on {name} ended with: {last}");
            }

            // The default is what has to be quick.
            string what = $"./sim-scripts/run --fpga {name}, built before, until `bridge ok`";
            rows.Add(kind == FpgaKind.Verilator
                ? Row.AtMost(what, seconds, Limit, " s")
                : new Row(what, string.Create(CultureInfo.InvariantCulture, $"{seconds:0.#} s")));
        }

        return rows;
    }
}
