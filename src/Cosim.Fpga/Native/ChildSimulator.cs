// SPDX-License-Identifier: Apache-2.0
using System.ComponentModel;
using System.Diagnostics;

namespace Cosim.Fpga.Native;

/// <summary>A simulator in a process of its own. It ends when this process does: it holds the other end of its standard input.</summary>
internal sealed class ChildSimulator : ISimulator
{
    private const int KeptLines = 12;

    // How a simulator's line begins that is for whoever runs the bridge.
    private const string Reported = "cosim: ";
    private const int ChecksPerClock = 8;
    private const int PollMilliseconds = 50;
    private const int QuitMilliseconds = 10_000;

    // Ticks of Stopwatch: the time in which GHDL runs the 16 cycles between an output and its earliest answer.
    private static readonly long s_longestSpin = Stopwatch.Frequency / 2500;
    private static readonly long s_shortestSpin = s_longestSpin / 128;

    private readonly LinkRegion region;
    private readonly Process process;
    private readonly double hangSeconds;
    private readonly Action<string>? report;
    private readonly Queue<string> lines = new();
    private long spin = s_longestSpin / 16;
    private volatile bool endAsked;

    /// <summary>Starts the process.</summary>
    /// <exception cref="FpgaBuildException">The program cannot be started.</exception>
    public ChildSimulator(string program, string folder, IEnumerable<string> arguments, LinkRegion region, double hangSeconds, Action<string>? report)
    {
        this.region = region;
        this.hangSeconds = hangSeconds;
        this.report = report;
        ProcessStartInfo start = new(program, arguments)
        {
            WorkingDirectory = folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["COSIM_REGION"] = region.PathForChild;
        process = new Process { StartInfo = start };
        process.OutputDataReceived += Keep;
        process.ErrorDataReceived += Keep;
        try
        {
            process.Start();
        }
        catch (Win32Exception exception)
        {
            process.Dispose();
            throw new FpgaBuildException("starting the simulator", program, exception.Message);
        }

        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
    }

    /// <summary>Process number, for tests that kill it.</summary>
    public int ProcessId => process.Id;

    public string? Execute()
    {
        uint number = Ring();
        long start = Stopwatch.GetTimestamp();
        while (true)
        {
            for (int i = 0; i < ChecksPerClock; i++)
            {
                if (Volatile.Read(ref region.Answer) == number)
                {
                    return null;
                }

                Thread.SpinWait(1);
            }

            if (Stopwatch.GetTimestamp() - start > spin)
            {
                break;
            }
        }

        Volatile.Write(ref region.AnswerSleeper, 1);
        Interlocked.MemoryBarrier();
        string? failure = Sleep(number);
        Volatile.Write(ref region.AnswerSleeper, 0);

        // The simulator is asked for little at a time while a guest waits for an answer, and for much when it runs alone: spinning
        // is worth as much as it would have saved this sleep.
        spin = Stopwatch.GetTimestamp() - start <= s_longestSpin ? Math.Min(s_longestSpin, spin * 2) : Math.Max(s_shortestSpin, spin / 2);
        return failure;
    }

    /// <summary>Has an action called, on a thread of the pool, when the process ends without having been asked to.</summary>
    public void WatchEnd(Action ended)
    {
        process.Exited += (_, _) =>
        {
            if (!endAsked)
            {
                ended();
            }
        };
        process.EnableRaisingEvents = true;
    }

    public void Abandon()
    {
        endAsked = true;
        if (!process.HasExited)
        {
            process.Kill();
        }

        process.WaitForExit();
        process.Dispose();
    }

    public void Dispose()
    {
        // A simulator that ends by itself closes its waveform.
        endAsked = true;
        region.WriteRequest(LinkRegion.CommandQuit, 0, 0);
        _ = Ring();
        _ = process.WaitForExit(QuitMilliseconds);
        Abandon();
    }

    private uint Ring()
    {
        uint number = Interlocked.Increment(ref region.Request);
        if (Volatile.Read(ref region.RequestSleeper) != 0)
        {
            Libc.FutexWake(ref region.Request);
        }

        return number;
    }

    private string? Sleep(uint number)
    {
        ulong progress = region.Progress;
        long since = Stopwatch.GetTimestamp();
        while (true)
        {
            uint answer = Volatile.Read(ref region.Answer);
            if (answer == number)
            {
                return null;
            }

            Libc.FutexWait(ref region.Answer, answer, PollMilliseconds);
            if (Volatile.Read(ref region.Answer) == number)
            {
                return null;
            }

            if (process.HasExited)
            {
                process.WaitForExit(); // for its last lines
                return $"the simulator ended {Ending()} after cycle {region.Progress}{LastLines()}";
            }

            if (region.Progress != progress)
            {
                progress = region.Progress;
                since = Stopwatch.GetTimestamp();
            }
            else if (Stopwatch.GetElapsedTime(since).TotalSeconds > hangSeconds)
            {
                return $"the simulator hangs: no cycle has ended for {hangSeconds:0.#} seconds after cycle {progress}{LastLines()}";
            }
        }
    }

    private string Ending() => process.ExitCode > 128 ? $"by signal {process.ExitCode - 128}" : $"with exit code {process.ExitCode}";

    private string LastLines()
    {
        lock (lines)
        {
            return lines.Count == 0 ? "" : $"; its last lines:\n{string.Join('\n', lines)}";
        }
    }

    private void Keep(object sender, DataReceivedEventArgs line)
    {
        if (line.Data is not { Length: > 0 } text)
        {
            return;
        }

        if (text.StartsWith(Reported, StringComparison.Ordinal))
        {
            report?.Invoke(text[Reported.Length..]);
        }

        lock (lines)
        {
            lines.Enqueue(text);
            if (lines.Count > KeptLines)
            {
                lines.Dequeue();
            }
        }
    }
}
