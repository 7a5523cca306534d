// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;

namespace Cosim.Benchmarks;

/// <summary>A bridge that has nothing to do: anonymous memory of its process, and the time that it and its simulator take of a core.</summary>
internal static class Footprint
{
    private const double MegabytesLimit = 200;
    private const double PercentLimit = 1;

    // Linux tells the time of processes in these units, whatever its own timer is.
    private const double TicksPerSecond = 100;

    private static readonly TimeSpan s_settle = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan s_watch = TimeSpan.FromSeconds(5);

    public static async Task<IReadOnlyList<Row>> Run(Surroundings surroundings)
    {
        List<Row> rows = [];
        foreach (string kind in new[] { "model", "verilator", "ghdl" })
        {
            string folder = Path.Combine(surroundings.Folder, kind);
            _ = Directory.CreateDirectory(folder);
            using Process bridge = Surroundings.Start(Environment.ProcessPath!, "exec", Environment.GetCommandLineArgs()[0], "--bridge", kind, folder);
            try
            {
                await Surroundings.WaitUntilReady(bridge);
                await Task.Delay(s_settle);
                long ticks = Ticks(bridge.Id);
                long start = Stopwatch.GetTimestamp();
                await Task.Delay(s_watch);
                double percent = 100 * (Ticks(bridge.Id) - ticks) / TicksPerSecond / Stopwatch.GetElapsedTime(start).TotalSeconds;
                rows.Add(Row.AtMost($"{kind}: RssAnon of a process with a bridge", AnonymousKilobytes(bridge.Id) / 1000.0, MegabytesLimit, " MB"));
                rows.Add(Row.AtMost($"{kind}: idle bridge, its simulator included, of a core", percent, PercentLimit, " %"));
            }
            finally
            {
                await Surroundings.End(bridge);
            }
        }

        return rows;
    }

    private static double AnonymousKilobytes(int process)
    {
        string line = File.ReadLines($"/proc/{process}/status").First(l => l.StartsWith("RssAnon:", StringComparison.Ordinal));
        return double.Parse(line.Split(':')[1].Replace("kB", "", StringComparison.Ordinal), CultureInfo.InvariantCulture) * 1.024;
    }

    // User and system time of a process and its children, in clock ticks.
    private static long Ticks(int process)
    {
        // The name, in parentheses, may hold anything; times are the 14th and 15th field.
        string stat = File.ReadAllText($"/proc/{process}/stat");
        string[] fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        long ticks = long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture);
        foreach (string task in Directory.EnumerateDirectories($"/proc/{process}/task"))
        {
            foreach (string child in File.ReadAllText(Path.Combine(task, "children")).Split(' ', StringSplitOptions.RemoveEmptyEntries))
            {
                ticks += Ticks(int.Parse(child, CultureInfo.InvariantCulture));
            }
        }

        return ticks;
    }
}
