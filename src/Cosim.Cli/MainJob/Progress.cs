// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;

namespace Cosim.Cli.MainJob;

/// <summary>Tells the user each step with the time since the start.</summary>
internal sealed class Progress(TextWriter output) : IProgress<string>
{
    private readonly Stopwatch _clock = Stopwatch.StartNew();

    public TimeSpan Elapsed => _clock.Elapsed;

    public void Report(string value)
    {
        lock (_clock)
        {
            output.WriteLine($"[{_clock.Elapsed.TotalSeconds,7:0.0} s] {value}");
            output.Flush();
        }
    }
}
