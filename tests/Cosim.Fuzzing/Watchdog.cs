// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;

namespace Cosim.Fuzzing;

/// <summary>Ends the program when an execution does not end, and keeps its input.</summary>
internal sealed class Watchdog : IDisposable
{
    private readonly Timer _timer;

    public Watchdog(Fuzzer fuzzer, string target, string findings, TimeSpan most) => _timer = new Timer(
        _ =>
        {
            long started = fuzzer.Started;
            if (started != 0 && Stopwatch.GetElapsedTime(started) > most && fuzzer.Started == started)
            {
                byte[] input = fuzzer.Current;
                string file = Corpus.Save(Path.Combine(findings, target), Corpus.NameOf(input), input);
                Console.WriteLine($"{target}: {file}: an execution did not end within {most.TotalSeconds} s");
                Environment.Exit(1);
            }
        },
        null,
        TimeSpan.FromSeconds(1),
        TimeSpan.FromSeconds(1));

    public void Dispose() => _timer.Dispose();
}
