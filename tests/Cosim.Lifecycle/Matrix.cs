// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;
using Cosim.Guests;

namespace Cosim.Lifecycle;

/// <summary>One kind of host 1.</summary>
public sealed record MatrixCell(string Kernel, QemuMachine Machine, bool OnRootBus, int Processors)
{
    public override string ToString() => $"{Kernel} {Machine} {(OnRootBus ? "root bus" : "root port")} {Processors}";
}

/// <summary>What a cell came to.</summary>
public sealed record MatrixResult(MatrixCell Cell, string Release, double Seconds, long Checked, string Outcome)
{
    public bool IsOk => Outcome == "ok";
}

/// <summary>Host 1 with each kernel, machine, place of the device and number of processors; then two bridges with four hosts at once.</summary>
public static class Matrix
{
    public static IReadOnlyList<MatrixCell> Cells { get; } =
    [
        .. from kernel in new[] { "6.1", "6.12", "7.2" }
           from place in new[] { (QemuMachine.Q35, false), (QemuMachine.Q35, true), (QemuMachine.Pc, true) }
           from processors in new[] { 1, 2 }
           select new MatrixCell(kernel, place.Item1, place.Item2, processors),
    ];

    /// <summary>What may be run by itself: a kernel's cells, or the two bridges.</summary>
    public static IReadOnlyList<string> Parts { get; } = ["6.1", "6.12", "7.2", "bridges"];

    /// <summary>Boots one host 1, writes and reads its disk under load, checks every byte.</summary>
    /// <param name="cell">The host.</param>
    /// <param name="hostTwoInQemu">With a network card, which a QEMU serves.</param>
    public static async Task<MatrixResult> RunAsync(MatrixCell cell, bool hostTwoInQemu)
    {
        long begin = Stopwatch.GetTimestamp();
        string release = "";
        long bytes = 0;
        string outcome = "ok";
        try
        {
            await using Rig rig = await Rig.StartAsync(new RigOptions
            {
                HostTwoInQemu = hostTwoInQemu,
                KernelRelease = cell.Kernel,
                Machine = cell.Machine,
                OnRootBus = cell.OnRootBus,
                Processors = cell.Processors,
            });
            string[] seen = (await rig.HostOne.Shell.RequireAsync("uname -r; grep -c ^processor /proc/cpuinfo", Rig.Deadline)).Split('\n');
            release = seen[0];
            if (seen[1].Trim() != $"{cell.Processors}")
            {
                throw new InvalidDataException($"the guest has {seen[1]} processors, expected {cell.Processors}");
            }

            IReadOnlyList<PciFunction> functions = await new HostOneShell(rig.HostOne.Shell).ListPciFunctionsAsync();
            PciFunction disk = functions.Single(f => f is { Vendor: 0x1AF4, Device: 0x1042 });
            bool isOnRootBus = disk.Address.StartsWith("0000:00:", StringComparison.Ordinal);
            if (isOnRootBus != cell.OnRootBus || disk.Vectors < 2)
            {
                throw new InvalidDataException($"the disk is at {disk.Address} with {disk.Vectors} MSI-X vectors");
            }

            FaultResult result = await new LoadedRig(rig, seed: 4).RunAsync(Fault.Pause(TimeSpan.FromMilliseconds(100)));
            (bytes, outcome) = (result.Checked, result.Outcome);
        }
        catch (Exception e)
        {
            outcome = $"FAILED: {e.Message}";
        }

        return new MatrixResult(cell, release, Stopwatch.GetElapsedTime(begin).TotalSeconds, bytes, outcome);
    }

    /// <summary>Two bridges with four QEMU hosts at the same time, all under load.</summary>
    public static async Task<(double Seconds, long Checked, string Outcome)> RunTwoBridgesAsync()
    {
        long begin = Stopwatch.GetTimestamp();
        try
        {
            Rig[] rigs = await Task.WhenAll(Rig.StartAsync(new RigOptions { Name = "one" }), Rig.StartAsync(new RigOptions { Name = "two" }));
            FaultResult[] results;
            try
            {
                results = await Task.WhenAll(rigs.Select((rig, i) => new LoadedRig(rig, 5 + i).RunAsync(Fault.KillBackEnd)));
            }
            finally
            {
                foreach (Rig rig in rigs)
                {
                    await rig.DisposeAsync();
                }
            }

            return (Stopwatch.GetElapsedTime(begin).TotalSeconds, results.Sum(r => r.Checked), results.FirstOrDefault(r => !r.IsOk)?.Outcome ?? "ok");
        }
        catch (Exception e)
        {
            return (Stopwatch.GetElapsedTime(begin).TotalSeconds, 0, $"FAILED: {e.Message}");
        }
    }

    /// <summary>Runs cells and prints the table.</summary>
    /// <param name="output">Takes a line a cell, and the table.</param>
    /// <param name="parts">Some of <see cref="Parts"/>; none: all.</param>
    /// <returns>Exit status: 0 if every byte was right everywhere.</returns>
    public static async Task<int> PrintAsync(TextWriter output, IReadOnlyCollection<string> parts)
    {
        bool IsWanted(string part) => parts.Count == 0 || parts.Contains(part);

        List<string[]> rows = [["kernel", "machine", "device", "processors", "time", "bytes compared", "result"]];
        int failed = 0;
        foreach (MatrixCell cell in Cells.Where(cell => IsWanted(cell.Kernel)))
        {
            MatrixResult result = await RunAsync(cell, hostTwoInQemu: true);
            failed += result.IsOk ? 0 : 1;
            await output.WriteLineAsync($"{cell}: {result.Outcome}");
            await output.FlushAsync();
            rows.Add(
            [
                result.Release.Length > 0 ? result.Release : cell.Kernel, cell.Machine.ToString().ToLowerInvariant(), cell.OnRootBus ? "root bus" : "root port", $"{cell.Processors}",
                string.Create(CultureInfo.InvariantCulture, $"{result.Seconds:0.0} s"), Table.Bytes(result.Checked), result.Outcome,
            ]);
        }

        if (IsWanted("bridges"))
        {
            (double seconds, long bytes, string outcome) = await RunTwoBridgesAsync();
            failed += outcome == "ok" ? 0 : 1;
            rows.Add(["2 bridges, 4 hosts at once, back ends killed", "q35", "root port", "1", string.Create(CultureInfo.InvariantCulture, $"{seconds:0.0} s"), Table.Bytes(bytes), outcome]);
        }

        await output.WriteLineAsync();
        await Table.PrintAsync(output, rows);
        await output.WriteLineAsync($"matrix {(failed == 0 ? "ok" : "FAILED")}: {rows.Count - 1} rows, {failed} failed");
        return failed == 0 ? 0 : 1;
    }
}
