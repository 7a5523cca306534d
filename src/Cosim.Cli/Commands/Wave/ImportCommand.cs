// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Cosim.Waveforms;

namespace Cosim.Cli.Commands.Wave;

/// <summary><c>cosim wave import</c>: the canonical form of what any simulator wrote.</summary>
internal static class ImportCommand
{
    internal static Command Create(TextWriter output)
    {
        Argument<string> file = new("FILE") { Description = "Waveform: .vcd, .vcd.gz, .fst (needs fst2vcd) or .ghw (needs ghwdump)." };
        Option<string?> top = new("--top") { Description = "Scope whose signals are taken. Default: the outermost one with the clock.", HelpName = "SCOPE" };
        Option<string?> clock = new("--clock") { Description = "Clock below it; a cycle ends with each rising edge. Default: the signal with a usual name of a clock.", HelpName = "NAME" };
        Option<string?> reset = new("--reset") { Description = "Reset below it, active high; nothing is listed while it is 1.", HelpName = "NAME" };
        Option<string[]> filter = new("--filter") { Description = "Only these: * and ? stand for any characters, !GLOB leaves out.", HelpName = "GLOB", AllowMultipleArgumentsPerToken = true };
        Option<ulong> from = new("--from") { Description = "First cycle.", HelpName = "CYCLE" };
        Option<ulong> to = new("--to") { Description = "Cycle after the last one.", HelpName = "CYCLE", DefaultValueFactory = _ => ulong.MaxValue };
        Option<string?> into = new("--output", "-o") { Description = "File to write. Default: the standard output.", HelpName = "OUT" };
        Option<string?> gtkw = new("--save-gtkw") { Description = "Write a GTKWave save file with the same signals; gtkwave --rcvar 'do_initial_zoom_fit yes' OUT shows all of it.", HelpName = "OUT" };
        Option<string?> surfer = new("--save-surfer") { Description = "Write a Surfer command file (.sucl) with the same signals; surfer --command-file OUT.", HelpName = "OUT" };
        Command command = new("import", "Make the canonical form of a simulator's waveform.") { file, top, clock, reset, filter, from, to, into, gtkw, surfer };
        command.SetAction(async (result, _) =>
        {
            string path = result.GetRequiredValue(file);
            SignalQuery query = new()
            {
                Top = result.GetValue(top),
                Clock = result.GetValue(clock),
                Reset = result.GetValue(reset),
                Signals = new SignalFilter(result.GetValue(filter) ?? []),
                From = result.GetValue(from),
                To = result.GetValue(to),
            };
            SignalChoice choice;
            if (result.GetValue(into) is { } target)
            {
                await using (StreamWriter text = new(target))
                {
                    choice = WaveImport.Write(path, query, text);
                }

                WaveSelection selection = choice.Selection;
                await output.WriteLineAsync($"{target}: {selection.Signals.Count} signals below {(selection.Top.Length > 0 ? selection.Top : "the top")}, sampled at {selection.Clock}");
                if (choice.LeftOut.Count > 0)
                {
                    await output.WriteLineAsync($"left out, because they are no bits or share a name: {string.Join(", ", choice.LeftOut.Take(8).Select(v => v.Path))}{(choice.LeftOut.Count > 8 ? $" and {choice.LeftOut.Count - 8} more" : "")}");
                }
            }
            else
            {
                choice = WaveImport.Write(path, query, output);
            }

            Save(result.GetValue(gtkw), text => ViewerFile.WriteGtkwave(path, choice.Variables, text));
            Save(result.GetValue(surfer), text => ViewerFile.WriteSurfer(path, choice.Variables, text));
            return 0;
        });
        return command;
    }

    private static void Save(string? path, Action<TextWriter> write)
    {
        if (path is not null)
        {
            using StreamWriter text = new(path);
            write(text);
        }
    }
}
