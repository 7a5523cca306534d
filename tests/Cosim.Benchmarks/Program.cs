// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Cosim.Benchmarks;
using Cosim.Fpga;

[assembly: System.Runtime.Versioning.SupportedOSPlatform("linux")]

(string Name, string What, Func<Surroundings, Task<IReadOnlyList<Row>>> Run)[] benches =
[
    ("bar-read", "BAR read round trip over vfio-user against a bare C responder", BarRead.Run),
    ("traffic", "the same TLP traffic through the bridge and through the free-running simulator", Traffic.Run),
    ("record", "the same traffic through a bridge that is recorded and through one that is not", Recorded.Run),
    ("simulated", "simulated rates and times, in cycles", Simulated.Run),
    ("allocation", "managed heap on the data path", Allocation.Run),
    ("footprint", "memory and idle load of the service with a bridge", Footprint.Run),
    ("waves", "a large VCD file as a stream", WaveReading.Run),
    ("rings", "cycles and interrupts of a request, by the format of host 1's ring", RingFormats.Run),
    ("bridges", "what a request costs with 1, 4 and 16 bridges in one process", ManyBridges.Run),
    ("block", "block requests in host 1, beside QEMU's own virtio-blk", BlockRequests.Run),
    ("main-job", "wall time of the main job", MainJobTime.Run),
];

if (args is ["--bridge", string kind, string sockets])
{
    return await BridgeProcess.Run(Enum.Parse<FpgaKind>(kind, ignoreCase: true), sockets);
}

if (args.Length != 0 && args.Except(benches.Select(b => b.Name)).Any())
{
    await Console.Error.WriteLineAsync("usage: bench [NAME…], with names of:");
    foreach ((string name, string what, _) in benches)
    {
        await Console.Error.WriteLineAsync($"  {name,-12} {what}");
    }

    return 2;
}

string folder = Cosim.Cli.MainJob.Workspace.Find().CreateRunFolder();
List<(string Bench, Row Row)> table = [];
Surroundings surroundings = new(folder);
string[] machine = [.. surroundings.Describe()];
try
{
    foreach ((string name, string what, Func<Surroundings, Task<IReadOnlyList<Row>>> run) in benches)
    {
        if (args.Length != 0 && !args.Contains(name))
        {
            continue;
        }

        Console.WriteLine($"{name}: {what}");
        long start = Environment.TickCount64;
        try
        {
            table.AddRange((await run(surroundings)).Select(row => (name, row)));
        }
        catch (Exception e)
        {
            table.Add((name, new Row(what, $"failed: {e.Message.Split('\n')[0]}", "", Ok: false)));
            await Console.Error.WriteLineAsync(e.ToString());
        }

        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name}: {(Environment.TickCount64 - start) / 1000.0:0.0} s"));
    }
}
finally
{
    Directory.Delete(folder, recursive: true);
}

Console.WriteLine();
foreach (string line in machine)
{
    Console.WriteLine(line);
}

Console.WriteLine();
string[] heads = ["bench", "what", "measured", "target", ""];
string[][] cells = [heads, .. table.Select(t => new[] { t.Bench, t.Row.Name, t.Row.Measured, t.Row.Target, t.Row.Ok switch { true => "ok", false => "MISSED", null => "" } })];
int[] widths = [.. heads.Select((_, column) => cells.Max(line => line[column].Length))];
foreach (string[] line in cells)
{
    Console.WriteLine(string.Join("  ", line.Select((cell, column) => cell.PadRight(widths[column]))).TrimEnd());
}

return table.Any(t => t.Row.Ok == false) ? 1 : 0;
