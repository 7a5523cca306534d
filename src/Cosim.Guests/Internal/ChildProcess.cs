// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using System.ComponentModel;
using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Cosim.Guests.Internal;

/// <summary>
/// A program that ends no later than this process does, however this process ends, and that does not hear the
/// terminal's Ctrl-C: it is ended by whoever started it, in order.
/// </summary>
internal sealed partial class ChildProcess : IDisposable
{
    private const int Sigterm = 15;
    private const int KeptLines = 40;

    // The kernel sends the parent-death signal when the thread that forked ends, not when its process does, and
    // threads of the pool come and go. This one stays.
    private static readonly BlockingCollection<Action> Starts = [];

    private readonly Process _process;
    private readonly Queue<string> _output = new();

    static ChildProcess()
    {
        var starter = new Thread(() =>
        {
            foreach (Action start in Starts.GetConsumingEnumerable())
            {
                start();
            }
        })
        {
            IsBackground = true,
            Name = "child processes",
        };
        starter.Start();
    }

    private ChildProcess(Process process)
    {
        _process = process;
        Exited = Task.Run(async () =>
        {
            await process.WaitForExitAsync();
            return process.ExitCode;
        });
    }

    public int Id => _process.Id;

    /// <summary>Ends with the exit status, once all output is read.</summary>
    public Task<int> Exited { get; }

    /// <summary>The last lines written to standard output and error.</summary>
    public string Output
    {
        get
        {
            lock (_output)
            {
                return string.Join('\n', _output);
            }
        }
    }

    public static ChildProcess Start(string program, IEnumerable<string> arguments, string workingFolder)
    {
        var start = new ProcessStartInfo("setpriv")
        {
            WorkingDirectory = workingFolder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (string argument in new[] { "--pdeathsig", "KILL", "--", "setsid", program }.Concat(arguments))
        {
            start.ArgumentList.Add(argument);
        }

        var started = new TaskCompletionSource<Process>(TaskCreationOptions.RunContinuationsAsynchronously);
        Starts.Add(() =>
        {
            try
            {
                started.SetResult(Process.Start(start)!);
            }
            catch (Exception e)
            {
                started.SetException(e);
            }
        });
        Process process;
        try
        {
            process = started.Task.GetAwaiter().GetResult();
        }
        catch (Win32Exception e)
        {
            throw new GuestException($"setpriv, of the package util-linux, with which {program} is started, does not start: {e.Message}", e);
        }

        process.StandardInput.Close();
        var child = new ChildProcess(process);
        process.OutputDataReceived += (_, line) => child.Keep(line.Data);
        process.ErrorDataReceived += (_, line) => child.Keep(line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return child;
    }

    /// <summary>Ends the process: asks it to terminate, and kills it when it has not after <paramref name="patience"/>.</summary>
    public async Task EndAsync(TimeSpan patience)
    {
        if (!Exited.IsCompleted)
        {
            _ = Kill(_process.Id, Sigterm);
            try
            {
                await Exited.WaitAsync(patience);
            }
            catch (TimeoutException)
            {
                _process.Kill();
            }
        }

        await Exited;
    }

    public void Dispose() => _process.Dispose();

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int pid, int signal);

    private void Keep(string? line)
    {
        if (line is null)
        {
            return;
        }

        lock (_output)
        {
            if (_output.Count == KeptLines)
            {
                _output.Dequeue();
            }

            _output.Enqueue(line);
        }
    }
}
