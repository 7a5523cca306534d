// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using System.Diagnostics;
using Cosim.Fpga;
using Cosim.Fpga.Native;
using Cosim.Scheduling.Stimuli;
using Cosim.Waveforms;

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
        Option<string?> waves = new("--waves") { Description = "Waveform to write: .vcd, .fst or, with GHDL, .ghw.", HelpName = "FILE" };
        Option<ulong> from = new("--from") { Description = "First cycle of the waveform; .vcd only.", HelpName = "CYCLE" };
        Option<ulong> to = new("--to") { Description = "Last cycle of the waveform; .vcd only.", DefaultValueFactory = _ => ulong.MaxValue, HelpName = "CYCLE" };
        Command command = new("replay", "Replay a recording and compare every output.") { recording, mode, last, waves, from, to };
        fpga.AddTo(command);
        command.SetAction(async (result, cancellation) =>
        {
            // A simulator that is new or has changed is built first; that is no part of the replay.
            Stopwatch clock = new();
            try
            {
                using StimuliReader reader = new(result.GetValue(recording)!);
                (ReplayMode chosen, ReplayResult done) = await Task.Run(() => Play(reader), cancellation);
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
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or FpgaBuildException or ArgumentException or WaveformException)
            {
                await output.WriteLineAsync($"replay failed: {e.Message}");
                return 1;
            }

            (ReplayMode Mode, ReplayResult Result) Play(StimuliReader reader)
            {
                FpgaOptions options = fpga.From(result, reader.Head);
                if (result.GetValue(waves) is not { } file)
                {
                    return PlayOn(reader, options);
                }

                options = options with { WaveFile = Path.GetFullPath(file), WaveFormat = Format(file) };
                if (result.GetResult(from) is not { Implicit: false } && result.GetResult(to) is not { Implicit: false })
                {
                    return PlayOn(reader, options);
                }

                if (options.WaveFormat != WaveFormat.Vcd)
                {
                    throw new ArgumentException($"--waves {file}: a window of cycles can be cut out of .vcd only");
                }

                using WaveWindow window = new(options.WaveFile, result.GetValue(from), result.GetValue(to));
                (ReplayMode, ReplayResult) played = PlayOn(reader, options with { WaveFile = window.Source });
                window.Complete();
                return played;
            }

            (ReplayMode Mode, ReplayResult Result) PlayOn(StimuliReader reader, FpgaOptions options)
            {
                using IFpga made = FpgaFactory.Create(options);
                clock.Start();
                ReplayMode chosen = result.GetValue(mode) ?? Replay.ModeFor(reader.Head, made.Kind);
                return (chosen, Replay.Run(reader, made, new ReplayOptions { Mode = chosen, Last = result.GetValue(last) }, cancellation));
            }
        });
        return command;
    }

    private static WaveFormat Format(string file) => Path.GetExtension(file).ToLowerInvariant() switch
    {
        ".vcd" => WaveFormat.Vcd,
        ".fst" => WaveFormat.Fst,
        ".ghw" => WaveFormat.Ghw,
        _ => throw new ArgumentException($"--waves {file}: expected a name that ends in .vcd, .fst or .ghw"),
    };

    private static string Name(ReplayMode mode) => mode == ReplayMode.Exact ? "exact" : "order";
}
