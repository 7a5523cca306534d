// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Cosim.Waveforms;

namespace Cosim.Cli.Commands.Wave;

/// <summary><c>cosim wave show</c>: a slice of a waveform as text or as an image.</summary>
internal static class ShowCommand
{
    internal static Command Create(TextWriter output)
    {
        Argument<string> waveform = new("FILE") { Description = "Canonical waveform." };
        Option<ulong> from = new("--from") { Description = "First cycle.", HelpName = "CYCLE" };
        Option<ulong> to = new("--to") { Description = "Cycle after the last one.", HelpName = "CYCLE", DefaultValueFactory = _ => ulong.MaxValue };
        Option<string[]> signals = new("--signals") { Description = "Only these: * and ? stand for any characters, !GLOB leaves out.", HelpName = "GLOB", AllowMultipleArgumentsPerToken = true };
        Option<string?> svg = new("--svg") { Description = "Draw an SVG image into this file instead of text.", HelpName = "OUT" };
        Option<int> width = WaveCommand.WidthOption();
        Option<bool> ascii = WaveCommand.AsciiOption();
        Command command = new("show", "Draw cycles FROM to before TO of a waveform.") { waveform, from, to, signals, svg, width, ascii };
        command.SetAction(async (result, _) =>
        {
            string path = result.GetRequiredValue(waveform);
            using StreamReader text = File.OpenText(path);
            WaveSlice slice = WaveSlice.Read(text, result.GetValue(from), result.GetValue(to), new SignalFilter(result.GetValue(signals) ?? []));
            string title = Path.GetFileName(path);
            title = title.EndsWith(".verified.txt", StringComparison.Ordinal) ? title[..^".verified.txt".Length] : title;
            if (result.GetValue(svg) is { } picture)
            {
                await using StreamWriter file = new(picture);
                WavePicture.WriteSvg(slice, title, file);
            }
            else
            {
                WavePicture.WriteText(slice, title, output, result.GetValue(width), result.GetValue(ascii));
            }

            return 0;
        });
        return command;
    }
}
