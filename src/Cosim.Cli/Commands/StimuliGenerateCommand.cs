// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using System.Globalization;
using Cosim.Cli.MainJob;
using Cosim.Fpga;
using Cosim.Scheduling.Generation;

namespace Cosim.Cli.Commands;

/// <summary><c>cosim stimuli generate</c>: random hosts on both sides of the FPGA, an oracle and a coverage table.</summary>
internal static class StimuliGenerateCommand
{
    private const int StableSeeds = 25;
    private const int MostSeeds = 10_000;

    internal static Command Create(TextWriter output)
    {
        Option<FpgaKind> fpga = new("--fpga") { Description = "model, verilator (the default) or ghdl.", DefaultValueFactory = _ => FpgaKind.Verilator, HelpName = "KIND" };
        Option<ulong> seed = new("--seed") { Description = "First seed. Default 1.", DefaultValueFactory = _ => 1, HelpName = "N" };
        Option<int?> seeds = new("--seeds") { Description = $"Number of seeds. Default 1; with --until-stable at most {MostSeeds}.", HelpName = "N" };
        Option<bool> stable = new("--until-stable") { Description = $"Go on until {StableSeeds} seeds in a row have reached no new coverage point." };
        Option<bool> illegal = new("--illegal") { Description = "Illegal stimuli too." };
        Option<string?> file = new("--output", "-o") { Description = "Recording to write: of the failing run, made small, or of the last one.", HelpName = "FILE.stim" };
        Option<int> shrink = new("--shrink") { Description = "Runs that may be spent on making a failing one smaller. Default 400.", DefaultValueFactory = _ => 400, HelpName = "N" };
        Command command = new("generate", "Run random hosts, check everything that comes of it, and say what was covered.") { fpga, seed, seeds, stable, illegal, file, shrink };
        command.SetAction((result, cancellation) => Task.Run(() => Run(Options(result), output, cancellation), CancellationToken.None));
        return command;

        GenerationOptions Options(ParseResult result)
        {
            Workspace workspace = Workspace.Find();
            bool untilStable = result.GetValue(stable);
            return new GenerationOptions
            {
                Fpga = new FpgaOptions
                {
                    Kind = result.GetValue(fpga),
                    HdlDirectory = workspace.Hdl,
                    BuildDirectory = workspace.Build,
                    ToolsFile = workspace.Tools,
                },
                Seed = result.GetValue(seed),
                Seeds = result.GetValue(seeds) ?? (untilStable ? MostSeeds : 1),
                UntilStable = untilStable ? StableSeeds : null,
                Illegal = result.GetValue(illegal),
                Recording = result.GetValue(file),
                ShrinkRuns = result.GetValue(shrink),
                Progress = output.WriteLine,
            };
        }
    }

    private static int Run(GenerationOptions options, TextWriter output, CancellationToken cancellation)
    {
        GenerationResult result = StimuliGenerator.Run(options, cancellation);
        foreach (string line in result.Coverage.Table(options.Illegal))
        {
            output.WriteLine(line);
        }

        IReadOnlyList<string> holes = result.Coverage.Holes(options.Illegal);
        output.WriteLine(holes.Count == 0 ? "no holes" : $"holes: {string.Join(", ", holes)}");
        if (result.FailedSeed is { } failed)
        {
            output.WriteLine($"smallest run that fails: {result.ShrunkCycles} cycles, {result.Choices.Count} choices: {result.ShrunkFailure}");
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"generate failed: seed {failed}{(options.Illegal ? " with --illegal" : "")}: {result.Failure}{(options.Recording is { } file ? $"; recording {file}" : "")}"));
            return 1;
        }

        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"generate ok fpga={options.Fpga.Kind.ToString().ToLowerInvariant()} seeds={options.Seed}..{options.Seed + (ulong)result.Seeds - 1} cycles={result.Cycles} coverage={result.Coverage.Seen}/{result.Coverage.Seen + holes.Count}"));
        return 0;
    }
}
