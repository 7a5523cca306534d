// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;

namespace Cosim.Benchmarks;

/// <summary>A bridge that has nothing to do: anonymous memory of the service, and the time that it and its simulators take of a core.</summary>
internal static class Footprint
{
    private const double MegabytesLimit = 200;
    private const double PercentLimit = 1;

    // Linux tells the time of processes in these units, whatever its own timer is.
    private const double TicksPerSecond = 100;

    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan s_settle = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan s_watch = TimeSpan.FromSeconds(5);

    public static async Task<IReadOnlyList<Row>> Run(Surroundings surroundings)
    {
        string cosim = Path.Combine(surroundings.Workspace.Root, "sim-scripts", "cosim");
        List<Row> rows = [];
        foreach (string kind in new[] { "MODEL", "VERILATOR", "GHDL" })
        {
            string socket = Path.Combine(surroundings.Folder, $"{kind}.sock");
            string scenario = Path.Combine(surroundings.Folder, $"{kind}.json");
            await File.WriteAllTextAsync(scenario, $$"""{ "name": "idle", "fpga": { "kind": "{{kind}}" }, "host1": { "program": {} }, "host2": { "program": {} }, "devices": [{ "net": {} }] }""");
            using Process service = Surroundings.Start(cosim, "serve", "--address", $"unix:{socket}", "--until-idle");
            try
            {
                while (!File.Exists(socket))
                {
                    await Task.Delay(s_poll);
                    if (service.HasExited)
                    {
                        throw new InvalidOperationException($"the service ended: {await service.StandardOutput.ReadToEndAsync()}");
                    }
                }

                _ = await Surroundings.Run(cosim, "up", scenario, "--address", $"unix:{socket}");
                await Task.Delay(s_settle);
                long ticks = Ticks(service.Id);
                long start = Stopwatch.GetTimestamp();
                await Task.Delay(s_watch);
                double percent = 100 * (Ticks(service.Id) - ticks) / TicksPerSecond / Stopwatch.GetElapsedTime(start).TotalSeconds;
                rows.Add(Row.AtMost($"{kind}: RssAnon of the service with a bridge", AnonymousKilobytes(service.Id) / 1000.0, MegabytesLimit, " MB"));
                rows.Add(Row.AtMost($"{kind}: service with an idle bridge, its simulator included, of a core", percent, PercentLimit, " %"));
                _ = await Surroundings.Run(cosim, "down", "idle", "--address", $"unix:{socket}");
            }
            finally
            {
                await Surroundings.End(service);
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
