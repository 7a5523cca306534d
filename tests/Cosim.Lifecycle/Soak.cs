// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;

namespace Cosim.Lifecycle;

/// <summary>What a soak runs on and for how long.</summary>
public sealed record SoakOptions
{
    public required TimeSpan Time { get; init; }

    /// <summary>The same seed is the same order of faults.</summary>
    public required int Seed { get; init; }

    /// <summary>Host 2 is a QEMU; otherwise a process of this machine, and only faults that take no time happen.</summary>
    public bool HostTwoInQemu { get; init; } = true;
}

/// <summary>Random faults under load, with a check of every byte after each, for a given time.</summary>
public sealed class Soak(SoakOptions options, TextWriter output)
{
    private static readonly Fault[] s_quick =
    [
        Fault.KillBackEnd, Fault.Rebind(2), Fault.Reload(2), Fault.Pause(TimeSpan.FromSeconds(0.2)),
    ];

    private static readonly Fault[] s_slow =
    [
        Fault.KillHostOne, Fault.RebootHostOne, Fault.PanicHostOne, Fault.ResetHostOne, Fault.ResetBridge, Fault.RebootHostTwo, Fault.KillHostTwo,
        Fault.Pause(TimeSpan.FromSeconds(5)),
    ];

    /// <returns>Exit status: 0 if every byte was right.</returns>
    public async Task<int> RunAsync()
    {
        await output.WriteLineAsync($"soak: seed {options.Seed}, {options.Time.TotalMinutes:0.##} minutes, model, host 2 {(options.HostTwoInQemu ? "in QEMU" : "a process")}");
        Random random = new(options.Seed);
        Dictionary<string, (int Count, double Seconds)> faults = [];
        long begin = Stopwatch.GetTimestamp();
        await using Rig rig = await Rig.StartAsync(new RigOptions { HostTwoInQemu = options.HostTwoInQemu });
        LoadedRig loaded = new(rig, options.Seed);
        string outcome = "ok";
        (int Descriptors, int Threads, long MiB)? before = null;
        do
        {
            Fault fault = !options.HostTwoInQemu || random.Next(3) != 0 ? s_quick[random.Next(s_quick.Length)] : s_slow[random.Next(s_slow.Length)];
            FaultResult result = await loaded.RunAsync(fault);
            await output.WriteLineAsync(string.Create(CultureInfo.InvariantCulture, $"[{Stopwatch.GetElapsedTime(begin).TotalSeconds,7:0.0} s] {fault.Name}: {result.Outcome}"));
            await output.FlushAsync();
            (int count, double seconds) = faults.GetValueOrDefault(fault.Name);
            faults[fault.Name] = (count + result.Times, seconds + result.Seconds);
            if (!result.IsOk)
            {
                outcome = $"FAILED at fault {faults.Values.Sum(f => f.Count)}, {fault.Name}: {result.Outcome}";
                break;
            }

            before ??= Held();
        }
        while (Stopwatch.GetElapsedTime(begin) < options.Time);

        (int Descriptors, int Threads, long MiB) after = Held();
        await output.WriteLineAsync();
        await Table.PrintAsync(
            output,
            [
                ["fault", "times", "time in all"],
                .. faults.OrderBy(f => f.Key, StringComparer.Ordinal).Select(f => new[] { f.Key, $"{f.Value.Count}", string.Create(CultureInfo.InvariantCulture, $"{f.Value.Seconds:0.0} s") }),
            ]);
        await output.WriteLineAsync($"descriptors {before?.Descriptors} after the first fault, {after.Descriptors} at the end; threads {before?.Threads}, {after.Threads}; memory of its own {before?.MiB} MiB, {after.MiB} MiB");
        await output.WriteLineAsync(string.Create(CultureInfo.InvariantCulture,
            $"soak {outcome}: seed {options.Seed}, {Stopwatch.GetElapsedTime(begin).TotalMinutes:0.0} minutes, {faults.Values.Sum(f => f.Count)} faults, {loaded.Writes} acknowledged writes, {Table.Bytes(loaded.Checked)} compared"));
        return outcome == "ok" ? 0 : 1;
    }

    // Of the memory only what is this process's own: the guests' is mapped, and counts as resident wherever the FPGA has touched it.
    private static (int Descriptors, int Threads, long MiB) Held()
    {
        const string own = "RssAnon:";
        string line = File.ReadLines("/proc/self/status").First(line => line.StartsWith(own, StringComparison.Ordinal));
        long kib = long.Parse(line[own.Length..].Replace("kB", "", StringComparison.Ordinal), CultureInfo.InvariantCulture);
        return (Directory.GetFileSystemEntries("/proc/self/fd").Length, Directory.GetFileSystemEntries("/proc/self/task").Length, kib >> 10);
    }
}
