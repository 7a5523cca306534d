// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Scheduling.Stimuli;

namespace Cosim.Scheduling.Generation;

/// <summary>What a batch of generated runs is to be.</summary>
public sealed record GenerationOptions
{
    /// <summary>FPGA to run on; functions, queues and pauses are the generator's.</summary>
    public required FpgaOptions Fpga { get; init; }

    /// <summary>First seed.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>Number of seeds, one after the other; with <see cref="UntilStable"/> the greatest number.</summary>
    public int Seeds { get; init; } = 1;

    /// <summary>Illegal stimuli too.</summary>
    public bool Illegal { get; init; }

    /// <summary>Seeds without a new coverage point after which the batch ends; null: it runs all seeds.</summary>
    public int? UntilStable { get; init; }

    /// <summary>File for the recording: of the failing run, made as small as it gets; of the last run if none fails. Null: none.</summary>
    public string? Recording { get; init; }

    /// <summary>Runs that may be spent on making a failing one smaller.</summary>
    public int ShrinkRuns { get; init; } = 400;

    /// <summary>Takes one line about each seed.</summary>
    public Action<string>? Progress { get; init; }

    /// <summary>Makes the FPGA; a test may put something between the bridge and it.</summary>
    internal Func<FpgaOptions, IFpga>? MakeFpga { get; init; }
}

/// <summary>How a batch ended.</summary>
public sealed record GenerationResult
{
    /// <summary>Seeds that were run.</summary>
    public required int Seeds { get; init; }

    /// <summary>Cycles of all runs, shrinking left out.</summary>
    public required ulong Cycles { get; init; }

    /// <summary>What they saw.</summary>
    public required Coverage Coverage { get; init; }

    /// <summary>The seed that failed, or null.</summary>
    public ulong? FailedSeed { get; init; }

    /// <summary>What was wrong in it.</summary>
    public string? Failure { get; init; }

    /// <summary>What is wrong in the smallest run that still fails.</summary>
    public string? ShrunkFailure { get; init; }

    /// <summary>The choices of that run.</summary>
    public IReadOnlyList<uint> Choices { get; init; } = [];

    /// <summary>Its cycles.</summary>
    public ulong ShrunkCycles { get; init; }
}

/// <summary>Generated stimuli: random hosts on both sides of an FPGA, an oracle that knows what has to come of it, and what was covered.</summary>
public static class StimuliGenerator
{
    /// <summary>Runs a batch until it fails, or ends.</summary>
    /// <param name="options">What to run.</param>
    /// <param name="cancellation">Ends the batch after the run under way.</param>
    /// <exception cref="Fpga.Native.FpgaBuildException">A simulator does not build or does not start.</exception>
    public static GenerationResult Run(GenerationOptions options, CancellationToken cancellation = default)
    {
        Coverage coverage = new();
        ulong cycles = 0;
        int stable = 0;
        int seeds = 0;
        Choices? last = null;
        while (seeds < options.Seeds && !cancellation.IsCancellationRequested && !(options.UntilStable is { } most && stable >= most))
        {
            ulong seed = options.Seed + (ulong)seeds++;
            last = Choices.FromSeed(seed);
            RunOutcome outcome = Execute(options, last, null);
            int before = coverage.Seen;
            coverage.Add(outcome.Coverage);
            cycles += outcome.Cycles;
            stable = coverage.Seen == before ? stable + 1 : 0;
            options.Progress?.Invoke($"seed {seed}: {outcome.Cycles} cycles, {coverage.Seen - before} new coverage points{(outcome.Failure is null ? "" : $"; {outcome.Failure}")}");
            if (outcome.Failure is not null)
            {
                return Shrink(options, last.Made, cancellation) with
                {
                    Seeds = seeds,
                    Cycles = cycles,
                    Coverage = coverage,
                    FailedSeed = seed,
                    Failure = outcome.Failure,
                };
            }
        }

        if (last is not null)
        {
            _ = Record(options, last.Made);
        }

        return new GenerationResult { Seeds = seeds, Cycles = cycles, Coverage = coverage };
    }

    /// <summary>Runs what a sequence of choices makes.</summary>
    internal static RunOutcome Execute(GenerationOptions options, Choices choices, IStimuliLog? stimuli) =>
        GeneratedRun.Execute(new PlanMaker(choices, options.Illegal).Make(), options.Fpga, options.MakeFpga, stimuli);

    private static GenerationResult Shrink(GenerationOptions options, IReadOnlyList<uint> failing, CancellationToken cancellation)
    {
        Shrinker shrinker = new(
            candidate =>
            {
                Choices choices = Choices.Replay(candidate);
                return (!cancellation.IsCancellationRequested && Execute(options, choices, null).Failure is not null, choices.Made);
            },
            options.ShrinkRuns);
        IReadOnlyList<uint> smallest = shrinker.Shrink(failing);
        options.Progress?.Invoke($"made smaller in {shrinker.Attempts} runs: {failing.Count} choices became {smallest.Count}");
        RunOutcome outcome = Record(options, smallest);
        return new GenerationResult
        {
            Seeds = 0,
            Cycles = 0,
            Coverage = outcome.Coverage,
            ShrunkFailure = outcome.Failure,
            Choices = smallest,
            ShrunkCycles = outcome.Cycles,
        };
    }

    private static RunOutcome Record(GenerationOptions options, IReadOnlyList<uint> made)
    {
        if (options.Recording is not { } file)
        {
            return Execute(options, Choices.Replay(made), null);
        }

        Plan plan = new PlanMaker(Choices.Replay(made), options.Illegal).Make();
        RecordingHead head = RecordingHead.From(GeneratedRun.Options(options.Fpga, plan));
        using StimuliWriter writer = new(file, head, new StimuliWriterOptions { Comments = true });
        return GeneratedRun.Execute(plan, options.Fpga, options.MakeFpga, writer);
    }
}
