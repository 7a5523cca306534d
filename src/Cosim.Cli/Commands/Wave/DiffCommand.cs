// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Cosim.Waveforms;

namespace Cosim.Cli.Commands.Wave;

/// <summary><c>cosim wave diff</c>: the first difference of each group of signals, with what is around it.</summary>
internal static class DiffCommand
{
    internal static Command Create(TextWriter output)
    {
        Argument<string> expected = new("EXPECTED") { Description = "Canonical waveform that is kept." };
        Argument<string> actual = new("ACTUAL") { Description = "Canonical waveform to hold against it." };
        Option<string?> svg = new("--svg") { Description = "Draw expected and actual one above the other into this file.", HelpName = "OUT" };
        Option<int> context = new("--context") { Description = $"Cycles with a change to show before and after. Default {WaveDiff.ContextDefault}.", HelpName = "N", DefaultValueFactory = _ => WaveDiff.ContextDefault };
        Option<int> width = WaveCommand.WidthOption();
        Option<bool> ascii = WaveCommand.AsciiOption();
        Command command = new("diff", "Compare two waveforms; the exit status is 1 if they differ.") { expected, actual, svg, context, width, ascii };
        command.SetAction(async (result, _) =>
        {
            string wanted = result.GetRequiredValue(expected);
            string given = result.GetRequiredValue(actual);
            WaveDiff diff = WaveDiff.Of(() => File.OpenText(wanted), () => File.OpenText(given), result.GetValue(context));
            if (diff.Differences.Count == 0)
            {
                await output.WriteLineAsync("no difference");
                return 0;
            }

            diff.WriteText(output, result.GetValue(width), result.GetValue(ascii));
            if (result.GetValue(svg) is { } picture)
            {
                if (diff.HasPicture)
                {
                    await using StreamWriter file = new(picture);
                    diff.WriteSvg($"{Path.GetFileName(wanted)} and {Path.GetFileName(given)}", file);
                }

                await output.WriteLineAsync(diff.HasPicture ? $"picture: {picture}" : "no picture: the waveforms declare other signals or one is only longer");
            }

            return 1;
        });
        return command;
    }
}
