// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Cosim.Scheduling.Stimuli;

namespace Cosim.Cli.Commands;

/// <summary><c>cosim stimuli show FILE</c>: a recording's lines, decoded.</summary>
internal static class StimuliShowCommand
{
    internal static Command Create(TextWriter output)
    {
        RecordingArgument recording = new();
        Option<ulong> from = new("--from") { Description = "First cycle to show.", HelpName = "CYCLE" };
        Option<ulong> to = new("--to") { Description = "Last cycle to show.", DefaultValueFactory = _ => ulong.MaxValue, HelpName = "CYCLE" };
        Command command = new("show", "Decode a recording's packets.") { recording, from, to };
        command.SetAction(async (result, cancellation) =>
        {
            ulong first = result.GetValue(from);
            ulong last = result.GetValue(to);
            using StimuliReader reader = new(result.GetValue(recording)!);
            while (reader.Read() && reader.Cycle <= last)
            {
                cancellation.ThrowIfCancellationRequested();
                if (reader.Cycle >= first)
                {
                    await output.WriteLineAsync($"{reader.Cycle,12} {Describe(reader)}");
                }
            }

            if (reader.Kind == StimulusKind.None && !reader.IsComplete)
            {
                await output.WriteLineAsync($"(cut off after line {reader.Line})");
            }

            return 0;
        });
        return command;
    }

    private static string Describe(StimuliReader reader) => reader.Kind switch
    {
        StimulusKind.Input => $"port {reader.Port} -> {PacketText.Format(reader.Port, reader.Packet)}",
        StimulusKind.Output => $"port {reader.Port} <- {PacketText.Format(reader.Port, reader.Packet)}",
        StimulusKind.Reset => "reset",
        StimulusKind.Start => "start",
        _ => $"end: {reader.Inputs} inputs, {reader.Outputs} outputs",
    };
}
