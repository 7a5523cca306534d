// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Cosim.Fuzzing.Coverage;

/// <summary>The branches of the parsers, those that were reached, and the list of those that are known not to be.</summary>
public sealed class CoverageTable
{
    private const double Wanted = 95;

    private readonly IReadOnlyList<Branch> _branches;
    private readonly Dictionary<string, string> _reasons = new(StringComparer.Ordinal);

    /// <summary>Reads the branches beside the instrumented program, and the explanations.</summary>
    /// <param name="branches">Lines of the table.</param>
    /// <param name="explanations">Lines <c>FILE: TEXT [WAY] # REASON</c>.</param>
    public CoverageTable(IEnumerable<string> branches, IEnumerable<string> explanations)
    {
        _branches = [.. branches.Select(Branch.Parse)];
        foreach (string entry in explanations.Where(line => line.Length > 0 && line[0] != '#'))
        {
            int at = entry.LastIndexOf(" # ", StringComparison.Ordinal);
            if (at < 0)
            {
                throw new FormatException($"an explanation has no reason: \"{entry}\"; expected FILE: TEXT [WAY] # REASON");
            }

            _reasons[entry[..at].TrimEnd()] = entry[(at + 3)..].Trim();
        }
    }

    /// <summary>Numbers of a target's branches.</summary>
    public IReadOnlyList<int> Of(string target) => [.. _branches.Where(b => b.Target == target).Select(b => b.Number)];

    /// <summary>Prints the table for some targets; false where a parser has less than 95 %, or an unreached branch has no explanation.</summary>
    /// <param name="targets">The targets that were run. Of a bridge the table is for information: it is no parser. So it is, where strict, of one that is timed.</param>
    /// <param name="output">Where.</param>
    /// <param name="strict">Unreached branches have to be explained; those that are not are printed.</param>
    public bool Write(IReadOnlyCollection<FuzzTarget> targets, TextWriter output, bool strict)
    {
        bool holds = true;
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{"parser",-14} {"class",-24} {"branches",9} {"reached",9}"));
        List<Branch> missing = [];
        Dictionary<string, bool> parsers = targets.ToDictionary(t => t.Name, t => !t.IsBridge && !(strict && t.IsTimed));
        foreach (IGrouping<string, Branch> target in _branches.Where(b => parsers.ContainsKey(b.Target)).GroupBy(b => b.Target))
        {
            foreach (IGrouping<string, Branch> type in target.GroupBy(b => b.Class))
            {
                WriteRow(output, target.Key, type.Key, [.. type]);
            }

            Branch[] all = [.. target];
            double share = WriteRow(output, target.Key, "all", all);
            if (parsers[target.Key])
            {
                missing.AddRange(all.Where(b => !BranchMap.IsSeen(b.Number)));
                holds &= share >= Wanted;
            }
        }

        foreach (Branch branch in missing.Where(b => strict && !_reasons.ContainsKey(b.Key)))
        {
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"not reached: {branch.Key} (line {branch.Line})"));
        }

        int unexplained = missing.Count(b => !_reasons.ContainsKey(b.Key));
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"coverage: {missing.Count} ways of the parsers' branches not reached, of which {unexplained} not explained"));
        return holds && (!strict || unexplained == 0);
    }

    private static double WriteRow(TextWriter output, string target, string type, Branch[] branches)
    {
        int seen = Array.FindAll(branches, b => BranchMap.IsSeen(b.Number)).Length;
        double share = 100.0 * seen / branches.Length;
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{target,-14} {type,-24} {branches.Length,9} {seen,9} {share,6:0.0} %"));
        return share;
    }
}
