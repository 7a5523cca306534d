// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using System.Diagnostics;
using Cosim.Fpga;
using Cosim.Fpga.Native;
using Cosim.Scheduling.Stimuli;

namespace Cosim.Cli.Commands;

/// <summary><c>cosim replay FILE</c>: a recording on an FPGA; the last line says <c>replay ok</c> or <c>replay failed</c>.</summary>
internal static class ReplayCommand
{
    internal static Command Create(TextWriter output)
    {
        RecordingArgument recording = new();
        ReplayFpgaOptions fpga = new();
        Option<ReplayMode?> mode = new("--mode")
        {
            Description = "exact or order. Default: exact between simulators of the VHDL (and from model to model), else order.",
            HelpName = "MODE",
        };
        Option<int> last = new("--last") { Description = "Transactions to show before a divergence. Default 16.", DefaultValueFactory = _ => 16, HelpName = "N" };
        last.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() is < 0 or > 10_000)
            {
                result.AddError("--last takes a number from 0 to 10000.");
            }
        });
        Command command = new("replay", "Replay a recording and compare every output.") { recording, mode, last };
        fpga.AddTo(command);
        command.SetAction(async (result, cancellation) =>
        {
            Stopwatch clock = Stopwatch.StartNew();
            try
            {
                using StimuliReader reader = new(result.GetValue(recording)!);
                (ReplayMode chosen, ReplayResult done) = await Task.Run(() => RunAsync(reader), cancellation);
                if (done.Divergence is { } divergence)
                {
                    await output.WriteAsync(divergence.ToString());
                    await output.WriteLineAsync($"replay failed: {divergence.Summary}");
                    return 1;
                }

                string freedoms = chosen == ReplayMode.Exact ? "" : $", {done.Merged} merged, {done.Early} inputs early, {done.NotCompared} not compared";
                await output.WriteLineAsync(string.Create(
                    null,
                    $"replay ok: {Name(chosen)} on {RecordingHead.Name(fpga.Kind(result, reader.Head))}, {done.Inputs} inputs, {done.Outputs} outputs, {done.Resets + 1} resets, {done.Cycles} cycles{freedoms}, {clock.Elapsed.TotalSeconds:0.0} s"));
                return 0;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or FpgaBuildException or ArgumentException)
            {
                await output.WriteLineAsync($"replay failed: {e.Message}");
                return 1;
            }

            (ReplayMode Mode, ReplayResult Result) RunAsync(StimuliReader reader)
            {
                using IFpga made = FpgaFactory.Create(fpga.From(result, reader.Head));
                ReplayMode chosen = result.GetValue(mode) ?? Replay.ModeFor(reader.Head, made.Kind);
                return (chosen, Replay.Run(reader, made, new ReplayOptions { Mode = chosen, Last = result.GetValue(last) }, cancellation));
            }
        });
        return command;
    }

    private static string Name(ReplayMode mode) => mode == ReplayMode.Exact ? "exact" : "order";
}
