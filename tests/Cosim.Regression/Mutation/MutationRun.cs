// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Cosim.Regression.Coverage;
using Cosim.Regression.Vhdl;

namespace Cosim.Regression.Mutation;

/// <summary>Tries mutants against the regression and keeps what became of each.</summary>
internal sealed partial class MutationRun
{
    // Widths and numbers that recordings and benches do not have are hardware too.
    private static readonly string[] s_otherGenerics = ["-gDATA_WIDTH_G=512", "-gFUNCTIONS_G=3", "-gQUEUES_G=5", "-gVECTORS_G=4"];

    // A bench is short where it takes at most this many times what synthesis takes.
    private const double ShortBench = 3;

    private readonly Regression _regression;
    private readonly TextWriter _output;
    private readonly Ghdl _ghdl;
    private readonly string _content;
    private readonly ResultFile _results;
    private readonly List<Detector> _detectors = [];
    private readonly List<(string[] Generics, string Digest)> _netlists = [];
    private double _synthesisSeconds;

    private MutationRun(Regression regression, TextWriter output)
    {
        _regression = regression;
        _output = output;
        _ghdl = regression.Library("library");
        _content = regression.Content();
        _results = new ResultFile(Path.Combine(regression.Folder, "results.jsonl"), _content);
    }

    /// <summary>Tries the mutants that were not tried yet, and those that survived on benches that are new.</summary>
    /// <returns>The results of all, in the order of files and lines.</returns>
    public static IReadOnlyList<MutantResult> Run(Regression regression, int count, ulong seed, string? only, TextWriter output)
    {
        MutationRun run = new(regression, output);
        run.MeasureDesign();
        return [.. run.All(count, seed, only).OrderBy(r => Array.IndexOf([.. regression.Sources], r.File)).ThenBy(r => r.Line)];
    }

    private void MeasureDesign()
    {
        ToolRun analysis = _ghdl.Analyse(_regression.Files());
        if (analysis.ExitCode != 0)
        {
            throw new RegressionException($"the sources do not analyse:\n{analysis.Output}");
        }

        string file = Path.Combine(_ghdl.Folder, "coverage.json");
        foreach (BenchRun bench in _regression.Runs)
        {
            ToolRun run = _ghdl.Run(bench, Regression.BenchSeconds, file);
            if (!bench.Passed(run))
            {
                throw new RegressionException($"{bench.Name} does not pass on the design as it is:\n{run.Output}");
            }

            LineCoverage coverage = new();
            coverage.Add(file);
            _detectors.Add(new(bench, run.Seconds, End(run), coverage));
            Say($"{bench.Name} passes on the design as it is ({run.Seconds:F1} s)");
        }

        _detectors.Sort((a, b) => a.Seconds.CompareTo(b.Seconds));
        IEnumerable<string[]> generics = _regression.Runs.Where(r => r.IsReplay)
            .Select(r => r.Options.Where(o => !o.StartsWith("-gFILE_G=", StringComparison.Ordinal)).ToArray()).Append(s_otherGenerics)
            .DistinctBy(g => string.Join(' ', g));
        foreach (string[] set in generics)
        {
            (ToolRun run, string? digest) = Synthesise(set);
            _synthesisSeconds = run.Seconds;
            _netlists.Add((set, digest ?? throw new RegressionException($"the design does not synthesise:\n{run.Output}")));
        }
    }

    private IEnumerable<MutantResult> All(int count, ulong seed, string? only)
    {
        (string, string)[] sources = [.. _regression.Sources.Where(s => !Path.GetFileNameWithoutExtension(s).EndsWith(VhdlOutline.Rules, StringComparison.Ordinal))
            .Select(s => (s, _regression.Text(s)))];
        IReadOnlyDictionary<string, int> shares = MutantSelection.Shares(sources, count);
        foreach ((string name, string text) in sources.Where(s => only is null || s.Item1 == only))
        {
            int designs = 0;
            foreach (Mutant mutant in MutantSelection.Order(name, text, seed))
            {
                MutantResult result = Try(mutant, text);
                yield return result;
                if (result.Outcome != MutantOutcome.Discarded && ++designs == shares[name])
                {
                    break;
                }
            }
        }
    }

    private MutantResult Try(Mutant mutant, string source)
    {
        string id = mutant.Id(source);
        MutantResult? known = _results.Find(id);
        if (known is not null && !Open(known).Any())
        {
            return known;
        }

        Stopwatch watch = Stopwatch.StartNew();
        MutantResult result = Judge(mutant, source, known ?? new(id, _content, mutant.File, mutant.Line(source), mutant.Operator, mutant.Change(source), MutantOutcome.Survived, null, null, [], 0));
        result = result with { Seconds = Math.Round(result.Seconds + watch.Elapsed.TotalSeconds, 2) };
        _results.Add(result);
        if (result.Outcome != MutantOutcome.Discarded)
        {
            Say($"{result.Outcome} {id}{(result.Killer is null ? "" : $" by {result.Killer}")}");
        }

        return result;
    }

    // Detectors that have not seen it: all of a new one; of a survivor those that are new; of one that was killed none, while its killer is there.
    private IEnumerable<Detector> Open(MutantResult result)
        => result.Outcome is MutantOutcome.Survived || (result.Outcome == MutantOutcome.Killed && _detectors.All(d => d.Run.Key != result.Killer))
            ? _detectors.Where(d => Reaches(d, result.File, result.Line) && !result.Passed.Contains(d.Run.Key))
            : [];

    // A bench that never comes to the changed statement cannot tell. Where no statement begins on the line, or GHDL counts it for no bench at all,
    // all benches with that source are tried; of a package of constants, which has no statements, all there are.
    private bool Reaches(Detector detector, string file, int line)
    {
        string path = _regression.PathOf(file);
        if (_detectors.All(d => d.Coverage.Lines(path).Count == 0))
        {
            return true;
        }

        IReadOnlyDictionary<int, bool> lines = detector.Coverage.Lines(path);
        bool somebody = _detectors.Any(d => d.Coverage.Lines(path).TryGetValue(line, out bool there) && there);
        return somebody ? lines.TryGetValue(line, out bool reached) && reached : lines.Count > 0;
    }

    private MutantResult Judge(Mutant mutant, string source, MutantResult result)
    {
        string changed = Path.Combine(_regression.Folder, "mutant", mutant.File);
        Directory.CreateDirectory(Path.GetDirectoryName(changed)!);
        File.WriteAllText(changed, mutant.Apply(source));
        ToolRun analysis = _ghdl.Analyse(_regression.Files(mutant.File, changed));
        if (analysis.ExitCode != 0)
        {
            return result with { Outcome = MutantOutcome.Discarded, How = "does not analyse: " + FirstError(analysis.Output) };
        }

        // Most mutants fail a short bench at once, and synthesis takes longer. Only where it may refuse them it decides.
        result = Simulate(result, d => d.Seconds <= ShortBench * _synthesisSeconds);
        if (result.Outcome != MutantOutcome.Killed || MayBeNoDesign(result.How!) || IsOwnRule(result))
        {
            result = Compare(result);
        }

        return result.Outcome == MutantOutcome.Survived ? Simulate(result, _ => true) : result;
    }

    // What ends otherwise than by an assertion may be what no tool would have accepted: bounds that do not hold, two drivers of a signal.
    private static bool MayBeNoDesign(string how)
        => !how.Contains("(assertion failure)", StringComparison.Ordinal) && !how.Contains("(report failure)", StringComparison.Ordinal);

    // A rule that the same source asserts: what only the rule needs is no hardware.
    private static bool IsOwnRule(MutantResult result)
        => result.How!.Contains(result.File + ":", StringComparison.Ordinal) && result.How!.Contains("assertion", StringComparison.Ordinal);

    private MutantResult Compare(MutantResult result)
    {
        foreach ((string[] generics, string digest) in _netlists)
        {
            (ToolRun run, string? mutated) = Synthesise(generics);
            // A latch can be simulated; what else synthesis refuses would not get into a simulator either.
            if (mutated is null && !run.Output.Contains("latch", StringComparison.Ordinal))
            {
                return result with { Outcome = MutantOutcome.Discarded, How = "does not synthesise: " + FirstError(run.Output) };
            }

            if (mutated != digest)
            {
                return result;
            }
        }

        return result with { Outcome = MutantOutcome.Equivalent, How = "same netlist" };
    }

    private MutantResult Simulate(MutantResult result, Func<Detector, bool> which)
    {
        foreach ((BenchRun bench, double seconds, string end, _) in Open(result).Where(which).ToArray())
        {
            ToolRun run = _ghdl.Run(bench with { Options = [.. bench.Options, $"--stop-time={end}"] }, (int)(10 + (10 * seconds)));
            if (!bench.Passed(run))
            {
                return result with { Outcome = MutantOutcome.Killed, Killer = bench.Key, How = FirstError(run.Output) };
            }

            result = result with { Passed = [.. result.Passed, bench.Key] };
        }

        return result with { Outcome = MutantOutcome.Survived, Killer = null };
    }

    // Twice the simulated time that the design as it is takes: a mutant that goes on for longer hangs.
    private static string End(ToolRun run)
    {
        Match match = Finished().Match(run.Output);
        return match.Success ? $"{2 * long.Parse(match.Groups[1].ValueSpan, CultureInfo.InvariantCulture)}{match.Groups[2].Value}"
            : throw new RegressionException($"GHDL does not say when the simulation ended:\n{run.Output}");
    }

    [GeneratedRegex("simulation finished @([0-9]+)([a-z]+)")]
    private static partial Regex Finished();

    private (ToolRun Run, string? Digest) Synthesise(string[] generics)
    {
        string file = Path.Combine(_ghdl.Folder, "netlist.v");
        ToolRun run = _ghdl.Synthesise(generics, file);
        return (run, run.ExitCode == 0 ? Netlist.Digest(File.ReadAllText(file)) : null);
    }

    private static string FirstError(string output)
    {
        string[] lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        string line = lines.FirstOrDefault(l => l.Contains("error", StringComparison.Ordinal) || l.Contains("failure", StringComparison.Ordinal)) ?? lines.LastOrDefault() ?? "";
        return line.Length > 200 ? line[..200] : line;
    }

    private void Say(FormattableString text)
        => _output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"[{DateTime.Now:HH:mm:ss}] {text.ToString(CultureInfo.InvariantCulture)}"));

    /// <summary>A bench run as it is on the design: seconds, the simulated time that a mutant may take, and what it reaches.</summary>
    private sealed record Detector(BenchRun Run, double Seconds, string End, LineCoverage Coverage);
}
