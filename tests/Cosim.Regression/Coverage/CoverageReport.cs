// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Cosim.Regression.Coverage;

/// <summary>A line that no simulation reached.</summary>
/// <param name="File">Name of the source.</param>
/// <param name="Line">Its number, from 1.</param>
/// <param name="Text">The line, trimmed.</param>
/// <param name="Reason">Why it is not reached, or null.</param>
internal sealed record UnreachedLine(string File, int Line, string Text, string? Reason);

/// <summary>Line coverage of the design's sources beside the list of lines that are known not to be reached.</summary>
internal sealed class CoverageReport
{
    private const double Wanted = 95;

    private readonly List<(string File, int Reached, int Lines)> _rows = [];
    private readonly List<UnreachedLine> _unreached = [];
    private readonly List<string> _stale = [];

    /// <summary>Compares.</summary>
    /// <param name="sources">Names and texts of the design's sources.</param>
    /// <param name="lines">Lines of a source, by its name.</param>
    /// <param name="explanations">Entries <c>FILE: TEXT # REASON</c>; each stands for all such lines of the file.</param>
    public CoverageReport(IEnumerable<(string Name, string Text)> sources, Func<string, IReadOnlyDictionary<int, bool>> lines, IEnumerable<string> explanations)
    {
        Dictionary<string, string> reasons = [];
        foreach (string entry in explanations)
        {
            int at = entry.IndexOf(" # ", StringComparison.Ordinal);
            if (at < 0)
            {
                throw new RegressionException($"an explanation has no reason: \"{entry}\"; expected FILE: TEXT # REASON");
            }

            reasons[entry[..at].TrimEnd()] = entry[(at + 3)..].Trim();
        }

        HashSet<string> used = [];
        foreach ((string name, string text) in sources)
        {
            string[] source = text.Split('\n');
            IReadOnlyDictionary<int, bool> counted = lines(name);
            _rows.Add((name, counted.Values.Count(r => r), counted.Count));
            foreach (int line in counted.Where(l => !l.Value).Select(l => l.Key))
            {
                string key = $"{name}: {source[line - 1].Trim()}";
                used.Add(key);
                _unreached.Add(new(name, line, source[line - 1].Trim(), reasons.GetValueOrDefault(key)));
            }
        }

        _stale.AddRange(reasons.Keys.Where(k => !used.Contains(k)));
    }

    public IReadOnlyList<UnreachedLine> Unreached => _unreached;

    /// <summary>Explanations of lines that are reached or gone.</summary>
    public IReadOnlyList<string> Stale => _stale;

    /// <summary>Reached lines of 100 counted.</summary>
    public double Percent => Share(_rows.Sum(r => r.Reached), _rows.Sum(r => r.Lines));

    /// <summary>At least 95 % are reached, each line that is not is explained, and no explanation is out of date.</summary>
    public bool Holds => Percent >= Wanted && _unreached.All(u => u.Reason is not null) && _stale.Count == 0;

    /// <summary>The table, the lines that are not reached, and what is wrong.</summary>
    public void Write(TextWriter to)
    {
        foreach ((string file, int reached, int lines) in _rows)
        {
            to.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{file,-24} {reached,5} of {lines,5}  {(lines == 0 ? "no statements" : $"{Share(reached, lines),5:F1} %")}"));
        }

        to.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{"all",-24} {_rows.Sum(r => r.Reached),5} of {_rows.Sum(r => r.Lines),5}  {Percent,5:F1} %"));
        foreach (UnreachedLine line in _unreached)
        {
            to.WriteLine($"not reached: {line.File}:{line.Line}: {line.Text}   # {line.Reason ?? "NOT EXPLAINED"}");
        }

        foreach (string entry in _stale)
        {
            to.WriteLine($"explained, but reached or gone: {entry}");
        }

        int unexplained = _unreached.Count(u => u.Reason is null);
        to.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"coverage {(Holds ? "ok" : "failed")}: {Percent:F1} % of the lines reached (target {Wanted:F0} %), {_unreached.Count} not, of which {unexplained} not explained"));
    }

    private static double Share(int part, int whole) => whole == 0 ? 100 : 100.0 * part / whole;
}
