// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Text;

namespace Cosim.Regression;

/// <summary>How a run of a tool ended.</summary>
/// <param name="ExitCode">Its exit code; above 128 where its processor time was up or it crashed.</param>
/// <param name="Output">The end of what it printed, standard error included.</param>
/// <param name="Seconds">Time it took.</param>
internal sealed record ToolRun(int ExitCode, string Output, double Seconds);

/// <summary>GHDL with one work library.</summary>
/// <param name="program">Path of GHDL.</param>
/// <param name="folder">Folder of the library; made where it is missing.</param>
internal sealed class Ghdl(string program, string folder)
{
    // A mutant may ask for all the memory and time there is. Processor time, as the machine may be busy otherwise.
    private const int ToolSeconds = 60;
    private const int MemoryKiB = 4 << 20;
    private const int KeptCharacters = 1 << 16;

    private readonly string[] _common = ["--std=08", $"--workdir={folder}"];

    public string Folder => folder;

    /// <summary>Analyses sources into an empty library.</summary>
    public ToolRun Analyse(IEnumerable<string> files)
    {
        Directory.CreateDirectory(folder);
        foreach (string library in Directory.GetFiles(folder, "*.cf"))
        {
            File.Delete(library);
        }

        return Start(["-a", .. _common, .. files], ToolSeconds);
    }

    /// <summary>Synthesises <c>cosim_top</c> to a Verilog file, without assertions and what only they need.</summary>
    public ToolRun Synthesise(IEnumerable<string> generics, string to)
    {
        using StreamWriter writer = new(to);
        return Start(["--synth", .. _common, "--no-formal", "--out=verilog", .. generics, "cosim_top"], ToolSeconds, writer);
    }

    /// <summary>Runs a bench; for at most <paramref name="seconds"/> of processor time; where <paramref name="coverage"/> is given, which statements it reached is written to that file.</summary>
    public ToolRun Run(BenchRun run, int seconds, string? coverage = null)
        => Start(["--elab-run", .. _common, .. coverage is null ? Array.Empty<string>() : ["--coverage", $"--coverage-output={coverage}"], run.Bench, .. run.Options,
            "--assert-level=error", "--ieee-asserts=disable-at-0"], seconds);

    private ToolRun Start(IEnumerable<string> arguments, int seconds, TextWriter? output = null)
    {
        ProcessStartInfo start = new("/bin/sh") { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = folder };
        foreach (string argument in (string[])["-c", $"ulimit -v {MemoryKiB}; ulimit -t {seconds}; exec \"$@\"", "sh", program, .. arguments])
        {
            start.ArgumentList.Add(argument);
        }

        Stopwatch watch = Stopwatch.StartNew();
        StringBuilder tail = new();
        void Keep(string? line)
        {
            lock (tail)
            {
                if (line is not null)
                {
                    tail.Append(line).Append('\n');
                    tail.Remove(0, Math.Max(0, tail.Length - KeptCharacters));
                }
            }
        }

        using Process process = new() { StartInfo = start };
        process.OutputDataReceived += (_, e) =>
        {
            if (output is null)
            {
                Keep(e.Data);
            }
            else if (e.Data is not null)
            {
                output.Write(e.Data + "\n");
            }
        };
        process.ErrorDataReceived += (_, e) => Keep(e.Data);
        process.Start();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        process.WaitForExit();
        return new(process.ExitCode, tail.ToString(), watch.Elapsed.TotalSeconds);
    }
}
