// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Cosim.Fpga;
using Cosim.Fpga.Native;
using Cosim.Scheduling.Stimuli;

namespace Cosim.Cli.Commands;

/// <summary><c>cosim stimuli trim FILE</c>: the smallest part of a recording that still goes wrong.</summary>
internal static class StimuliTrimCommand
{
    internal static Command Create(TextWriter output)
    {
        RecordingArgument recording = new();
        ReplayFpgaOptions fpga = new();
        Option<string> destination = new("--output", "-o") { Description = "The recording to write.", Required = true, HelpName = "FILE" };
        Option<ReplayMode?> mode = new("--mode") { Description = "exact or order. Default: order where it shows the divergence.", HelpName = "MODE" };
        Option<FpgaKind?> reference = new("--reference") { Description = "An FPGA on which the parts must go as recorded.", HelpName = "KIND" };
        Option<int> most = new("--max-replays") { Description = "Replays at most. Default 1000.", DefaultValueFactory = _ => 1000, HelpName = "N" };
        Command command = new("trim", "Cut a recording to the smallest that still shows its divergence.") { recording, destination, mode, reference, most };
        fpga.AddTo(command);
        command.SetAction(async (result, cancellation) =>
        {
            try
            {
                string file = result.GetValue(recording)!;
                RecordingHead head;
                using (StimuliReader reader = new(file))
                {
                    head = reader.Head;
                }

                FpgaOptions options = fpga.From(result, head);
                FpgaOptions? other = result.GetValue(reference) is { } kind ? fpga.From(result, head, kind) : null;
                TrimOptions how = new()
                {
                    Mode = result.GetValue(mode),
                    MaxReplays = result.GetValue(most),
                    Reference = other is null ? null : () => FpgaFactory.Create(other),
                    Progress = (transactions, replays) => output.WriteLine($"{transactions} transactions after {replays} replays"),
                };
                TrimResult trimmed = await Task.Run(() => Trim.Run(() => new StimuliReader(file), () => FpgaFactory.Create(options), how, cancellation), cancellation);
                await File.WriteAllTextAsync(result.GetValue(destination)!, trimmed.Text, cancellation);
                string shown = trimmed.Mode == ReplayMode.Exact ? "exact" : "order";
                await output.WriteLineAsync($"shows in {shown} mode: {trimmed.Divergence.Summary}");
                await output.WriteLineAsync($"trim ok: {trimmed.Transactions} of {trimmed.Of} transactions, {trimmed.Replays} replays");
                return 0;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or FpgaBuildException or ArgumentException)
            {
                await output.WriteLineAsync($"trim failed: {e.Message}");
                return 1;
            }
        });
        return command;
    }
}
