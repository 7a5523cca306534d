// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Regression.Clauses;

/// <summary>Which statement is held by which test: counts by section, then every row with its tests or its reason.</summary>
internal sealed class ClauseReport(IReadOnlyList<ClauseTable> tables, IReadOnlyList<ClauseTest> tests)
{
    private readonly ILookup<string, ClauseTest> _tests = tests.ToLookup(t => t.Label);

    /// <summary>Rows with neither a test nor a reason.</summary>
    public IReadOnlyList<ClauseRow> Unexplained
        => [.. tables.SelectMany(t => t.Rows).Where(r => r.Reason.Length == 0 && !_tests.Contains(r.Label))];

    /// <summary>Rows with a test and a reason why there can be none.</summary>
    public IReadOnlyList<ClauseRow> Contradicted
        => [.. tables.SelectMany(t => t.Rows).Where(r => r.Reason.Length > 0 && _tests.Contains(r.Label))];

    /// <summary>Tests whose label is in no table.</summary>
    public IReadOnlyList<ClauseTest> Unknown
    {
        get
        {
            HashSet<string> labels = [.. tables.SelectMany(t => t.Rows).Select(r => r.Label)];
            return [.. tests.Where(t => !labels.Contains(t.Label))];
        }
    }

    public void Write(TextWriter to)
    {
        foreach (ClauseTable table in tables)
        {
            to.WriteLine($"{"statements",10} {"held",6} {"tests",6} {"not applicable",14} {"unexplained",11}  {table.Document}");
            foreach (ClauseSection section in table.Sections)
            {
                Counts(to, section.Rows, section.Heading);
            }

            Counts(to, [.. table.Rows], "all");
            to.WriteLine();
        }

        foreach (ClauseRow row in tables.SelectMany(t => t.Rows))
        {
            to.WriteLine(row.Label);
            to.WriteLine($"    {row.Text}");
            foreach (ClauseTest test in _tests[row.Label].Distinct())
            {
                to.WriteLine($"    test: {test.Project} {test.Name}");
            }

            if (row.Reason.Length > 0)
            {
                to.WriteLine($"    not applicable: {row.Reason}");
            }
        }
    }

    private void Counts(TextWriter to, IReadOnlyList<ClauseRow> rows, string heading)
    {
        int held = rows.Where(r => _tests.Contains(r.Label)).Sum(r => r.Statements);
        int explained = rows.Where(r => r.Reason.Length > 0).Sum(r => r.Statements);
        int open = rows.Where(r => r.Reason.Length == 0 && !_tests.Contains(r.Label)).Sum(r => r.Statements);
        int count = rows.SelectMany(r => _tests[r.Label]).Select(t => (t.Project, t.Name)).Distinct().Count();
        to.WriteLine($"{rows.Sum(r => r.Statements),10} {held,6} {count,6} {explained,14} {open,11}  {heading}");
    }
}
