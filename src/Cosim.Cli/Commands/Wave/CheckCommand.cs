// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Cosim.Waveforms;

namespace Cosim.Cli.Commands.Wave;

/// <summary><c>cosim wave check</c>: what tests have received instead of what is kept.</summary>
internal static class CheckCommand
{
    internal static Command Create(TextWriter output)
    {
        Argument<string[]> paths = WaveCommand.PathsArgument();
        Command command = new("check", "List received files that differ from what is kept; the exit status is 1 if there is one.") { paths };
        command.SetAction(async (result, cancellation) =>
        {
            int different = 0;
            foreach (GoldenPair pair in GoldenFolder.Received(result.GetRequiredValue(paths)))
            {
                cancellation.ThrowIfCancellationRequested();
                string? difference = pair.Difference();
                different += difference is null ? 0 : 1;
                await output.WriteLineAsync($"{pair.ReceivedPath}: {difference ?? "no difference"}");
            }

            await output.WriteLineAsync(different switch { 0 => "no difference", 1 => "1 difference", _ => $"{different} differences" });
            return different == 0 ? 0 : 1;
        });
        return command;
    }
}
