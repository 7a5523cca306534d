// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Cosim.Regression.Mutation;

/// <summary>The score of a mutation run and who killed what.</summary>
internal sealed class MutationReport
{
    private const double Wanted = 95;
    private const int LeastOfAll = 200;

    private readonly int _least;
    private readonly IReadOnlyList<MutantResult> _designs;
    private readonly int _discarded;
    private readonly Dictionary<string, string> _reasons = [];

    /// <summary>Sums up.</summary>
    /// <param name="results">One per mutant.</param>
    /// <param name="equivalent">Entries <c>ID # REASON</c>: survivors that no bench can tell from the design.</param>
    /// <param name="ofAll">Whether they are of all files, of which a score needs many, and not of one that was asked for.</param>
    public MutationReport(IReadOnlyList<MutantResult> results, IEnumerable<string> equivalent, bool ofAll)
    {
        _least = ofAll ? LeastOfAll : 1;
        _designs = [.. results.Where(r => r.Outcome != MutantOutcome.Discarded)];
        _discarded = results.Count - _designs.Count;
        foreach (string entry in equivalent)
        {
            int at = entry.IndexOf(" # ", StringComparison.Ordinal);
            if (at < 0)
            {
                throw new RegressionException($"an equivalent mutant has no reason: \"{entry}\"; expected ID # REASON");
            }

            _reasons[entry[..at].TrimEnd()] = entry[(at + 3)..].Trim();
        }
    }

    public int Killed => _designs.Count(r => r.Outcome == MutantOutcome.Killed);

    /// <summary>Those whose netlist is the design's and those that are listed with a reason.</summary>
    public int Equivalent => _designs.Count(IsEquivalent);

    /// <summary>Mutants that a bench could kill.</summary>
    public int Counted => _designs.Count - Equivalent;

    /// <summary>Killed of 100 counted.</summary>
    public double Score => Counted == 0 ? 0 : 100.0 * Killed / Counted;

    public bool Holds => Score >= Wanted && Counted >= _least;

    public void Write(TextWriter to)
    {
        foreach (MutantResult result in _designs)
        {
            string end = result.Outcome switch
            {
                MutantOutcome.Killed => $"killed by {result.Killer}",
                MutantOutcome.Survived when _reasons.TryGetValue(result.Id, out string? reason) => $"equivalent: {reason}",
                MutantOutcome.Survived => "SURVIVED",
                _ => $"equivalent: {result.How}",
            };
            to.WriteLine($"{result.File}:{result.Line}: {result.Operator}: {result.Change}: {end}");
        }

        to.WriteLine();
        Table(to, "file", _designs.GroupBy(r => r.File));
        Table(to, "operator", _designs.GroupBy(r => r.Operator).OrderBy(g => MutationOperators.Names.ToList().IndexOf(g.Key)));
        foreach (var killer in _designs.Where(r => r.Killer is not null).GroupBy(r => r.Killer!).OrderByDescending(g => g.Count()))
        {
            to.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{killer.Count(),5} killed by {killer.Key}"));
        }

        to.WriteLine();
        foreach (MutantResult survivor in _designs.Where(r => r.Outcome == MutantOutcome.Survived && !IsEquivalent(r)))
        {
            to.WriteLine($"survived: {survivor.Id}");
        }

        to.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"mutation score {Score:F1} % ({(Holds ? "ok" : "failed")}, target {Wanted:F0} %): {Killed} of {Counted} killed, {Equivalent} equivalent, {_discarded} discarded"));
    }

    private bool IsEquivalent(MutantResult result)
        => result.Outcome == MutantOutcome.Equivalent || (result.Outcome == MutantOutcome.Survived && _reasons.ContainsKey(result.Id));

    private void Table(TextWriter to, string title, IEnumerable<IGrouping<string, MutantResult>> groups)
    {
        to.WriteLine($"{title,-24} mutants  killed  equivalent  survived");
        foreach (var group in groups)
        {
            int killed = group.Count(r => r.Outcome == MutantOutcome.Killed);
            int equivalent = group.Count(IsEquivalent);
            to.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{group.Key,-24} {group.Count(),7} {killed,7} {equivalent,11} {group.Count() - killed - equivalent,9}"));
        }

        to.WriteLine();
    }
}
