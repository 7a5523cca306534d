// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Cosim.Scheduling.Stimuli;

namespace Cosim.Cli.Commands;

/// <summary><c>cosim stimuli emit --vhdl FILE -o OUT.vhd</c>: a testbench of a slice of a recording.</summary>
internal static class StimuliEmitCommand
{
    internal static Command Create(TextWriter output)
    {
        RecordingArgument recording = new();
        Option<bool> vhdl = new("--vhdl") { Description = "Write a testbench in VHDL-2008.", Required = true };
        Option<string> file = new("--output", "-o") { Description = "File to write; its name is that of the testbench's entity.", Required = true, HelpName = "OUT.vhd" };
        Option<ulong> from = new("--from") { Description = "First cycle whose outputs are checked; what comes before, from the last reset on, is only driven.", HelpName = "CYCLE" };
        Option<ulong> to = new("--to") { Description = "Last cycle to run.", DefaultValueFactory = _ => ulong.MaxValue, HelpName = "CYCLE" };
        Command command = new("emit", "Make a self-contained testbench of a slice of a recording.") { recording, vhdl, file, from, to };
        command.SetAction(async (result, _) =>
        {
            string path = result.GetValue(file)!;
            string entity = Path.GetFileNameWithoutExtension(path);
            if (!VhdlBench.IsEntityName(entity))
            {
                throw new StimuliException($"{path}: '{entity}' is not the name of a VHDL entity; the file is called as its entity");
            }

            using StimuliReader reader = new(result.GetValue(recording)!);
            StringWriter text = new();
            VhdlBench.Emit(reader, entity, result.GetValue(from), result.GetValue(to), text);
            await File.WriteAllTextAsync(path, text.ToString(), CancellationToken.None);
            await output.WriteLineAsync($"{path}: entity {entity}, on top of {reader.Head.Top}");
            return 0;
        });
        return command;
    }
}
