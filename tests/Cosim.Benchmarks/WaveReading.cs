// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Cosim.Waveforms;

namespace Cosim.Benchmarks;

/// <summary>A large VCD file read as a stream, beside a plain read of the same file.</summary>
/// <remarks>
/// The file is what a simulator of a streaming design writes: a clock, 60 bits, 60 counters of 32 bits and 6 beats of 256 bits, of which
/// most change in most cycles. It is 1 GiB long; COSIM_WAVE_BYTES says another length.
/// </remarks>
internal static class WaveReading
{
    private const long Bytes = 1L << 30;
    private const int Bits = 60;
    private const int Counters = 60;
    private const int Beats = 6;
    private const int Rounds = 3;
    private const long AllocationLimit = 1 << 20;
    private const double MemoryLimit = 64;

    public static Task<IReadOnlyList<Row>> Run(Surroundings surroundings)
    {
        string path = Path.Combine(surroundings.Folder, "large.vcd");
        long bytes = long.TryParse(Environment.GetEnvironmentVariable("COSIM_WAVE_BYTES"), NumberStyles.None, CultureInfo.InvariantCulture, out long asked) ? asked : Bytes;
        Write(path, bytes);
        double megabytes = new FileInfo(path).Length / 1e6;
        Dictionary<string, List<double>> rates = [];
        void Measure(string name, Action work)
        {
            long start = Stopwatch.GetTimestamp();
            work();
            (rates.TryGetValue(name, out List<double>? list) ? list : rates[name] = []).Add(megabytes / Stopwatch.GetElapsedTime(start).TotalSeconds);
        }

        // The first round fills the system's cache and the just-in-time compiler's.
        Plain(path);
        long changes = Changes(path);
        long residentBefore = Resident();
        long allocatedBefore = GC.GetTotalAllocatedBytes(precise: true);
        _ = Changes(path);
        long allocated = GC.GetTotalAllocatedBytes(precise: true) - allocatedBefore;
        for (int round = 0; round < Rounds; round++)
        {
            Measure("plain", () => Plain(path));
            Measure("all", () => Changes(path));
            Measure("canonical", () => Canonical(path));
        }

        double grown = (Resident() - residentBefore) / 1e6;
        double plain = Row.Median(rates["plain"]);
        string size = string.Create(CultureInfo.InvariantCulture, $"{megabytes:0} MB");
        Row Rate(string name, string key, string detail = "") => new(name, string.Create(CultureInfo.InvariantCulture, $"{Row.Median(rates[key]):0} MB/s ({plain / Row.Median(rates[key]):0.0}x a plain read{detail})"));
        return Task.FromResult<IReadOnlyList<Row>>(
        [
            new Row($"VCD of {size}: plain read of the file", string.Create(CultureInfo.InvariantCulture, $"{plain:0} MB/s")),
            Rate($"VCD of {size}: every change", "all", string.Create(CultureInfo.InvariantCulture, $", {changes / 1e6:0} million changes")),
            Rate($"VCD of {size}: canonical form of 12 signals", "canonical"),
            Row.AtMost($"VCD of {size}: allocated while every change is read", allocated, AllocationLimit, " B"),
            Row.AtMost($"VCD of {size}: growth of resident memory over all rounds", grown, MemoryLimit, " MB"),
        ]);
    }

    private static void Plain(string path)
    {
        byte[] buffer = new byte[1 << 16];
        using FileStream file = new(path, new FileStreamOptions { BufferSize = 0 });
        while (file.Read(buffer) > 0)
        {
        }
    }

    private static long Changes(string path)
    {
        using WaveFile file = WaveFile.Open(path);
        VcdReader reader = new(file.Vcd);
        long changes = 0;
        while (reader.Read())
        {
            changes++;
        }

        return changes;
    }

    private static void Canonical(string path)
    {
        SignalQuery query = new() { Top = "bench.dut", Signals = new SignalFilter("bit1?", "counter7", "beat5") };
        _ = WaveImport.Write(path, query, TextWriter.Null);
    }

    private static long Resident()
    {
        GC.Collect();
        string line = File.ReadLines("/proc/self/status").First(l => l.StartsWith("RssAnon:", StringComparison.Ordinal));
        return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) << 10;
    }

    private static void Write(string path, long bytes)
    {
        using FileStream file = new(path, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 20);
        StringBuilder head = new("$timescale 1 ps $end\n$scope module bench $end\n$scope module dut $end\n$var wire 1 ! clk $end\n");
        List<(string Code, int Width)> variables = [];
        for (int i = 0; i < Bits + Counters + Beats; i++)
        {
            int width = i < Bits ? 1 : i < Bits + Counters ? 32 : 256;
            string name = i < Bits ? $"bit{i}" : i < Bits + Counters ? $"counter{i - Bits}" : $"beat{i - Bits - Counters}";
            string code = $"{(char)('"' + (i % 90))}{(char)('!' + (i / 90))}";
            variables.Add((code, width));
            head.Append(CultureInfo.InvariantCulture, $"$var wire {width} {code} {name}{(width > 1 ? $" [{width - 1}:0]" : "")} $end\n");
        }

        head.Append("$upscope $end\n$upscope $end\n$enddefinitions $end\n");
        file.Write(Encoding.ASCII.GetBytes(head.ToString()));

        // Some blocks of cycles are written again and again with other times.
        Random random = new(1364);
        byte[][] cycles = [.. Enumerable.Range(0, 256).Select(_ => Encoding.ASCII.GetBytes(Cycle(variables, random)))];
        byte[] low = "0!\n"u8.ToArray();
        byte[] time = new byte[24];
        time[0] = (byte)'#';
        for (long cycle = 0; file.Position < bytes; cycle++)
        {
            _ = (cycle * 4000).TryFormat(time.AsSpan(1), out int length, provider: CultureInfo.InvariantCulture);
            time[length + 1] = (byte)'\n';
            file.Write(time.AsSpan(0, length + 2));
            file.Write(cycles[random.Next(cycles.Length)]);
            _ = ((cycle * 4000) + 2000).TryFormat(time.AsSpan(1), out length, provider: CultureInfo.InvariantCulture);
            time[length + 1] = (byte)'\n';
            file.Write(time.AsSpan(0, length + 2));
            file.Write(low);
        }
    }

    private static string Cycle(List<(string Code, int Width)> variables, Random random)
    {
        StringBuilder text = new("1!\n");
        foreach ((string code, int width) in variables)
        {
            if (random.Next(3) == 0)
            {
                continue;
            }

            if (width == 1)
            {
                text.Append((char)('0' + random.Next(2))).Append(code).Append('\n');
                continue;
            }

            text.Append('b');
            for (int i = 0; i < width; i++)
            {
                text.Append((char)('0' + random.Next(2)));
            }

            text.Append(' ').Append(code).Append('\n');
        }

        return text.ToString();
    }
}
