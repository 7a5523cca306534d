// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Cosim.Regression.Clauses;

/// <summary>A row of a table: one statement, or a run of them where the label ends in <c>a..b</c>.</summary>
/// <param name="Label">With the document's name before it, as a test's attribute names it.</param>
/// <param name="Statements">How many statements of the document the row stands for.</param>
/// <param name="Text">The statement in our words.</param>
/// <param name="Reason">Why no test can hold it, or empty.</param>
internal sealed record ClauseRow(string Label, int Statements, string Text, string Reason);

/// <summary>A section of a document and its rows.</summary>
internal sealed record ClauseSection(string Heading, IReadOnlyList<ClauseRow> Rows);

/// <summary>The normative statements of one document, read from tests/clauses/DOCUMENT.tsv.</summary>
/// <param name="Document">The file's name, with which every label begins.</param>
/// <param name="Sections">In the order of the file.</param>
internal sealed record ClauseTable(string Document, IReadOnlyList<ClauseSection> Sections)
{
    public IEnumerable<ClauseRow> Rows => Sections.SelectMany(s => s.Rows);

    /// <summary>Every table of the clone.</summary>
    public static IReadOnlyList<ClauseTable> ReadAll(Repository repository)
        => [.. Directory.EnumerateFiles(Path.Combine(repository.Root, "tests", "clauses"), "*.tsv")
            .OrderBy(Path.GetFileNameWithoutExtension, StringComparer.Ordinal)
            .Select(f => Read(Path.GetFileNameWithoutExtension(f), File.ReadAllLines(f)))];

    /// <exception cref="RegressionException">A line is no row, or a label stands twice.</exception>
    public static ClauseTable Read(string document, IReadOnlyList<string> lines)
    {
        List<ClauseSection> sections = [];
        List<ClauseRow> rows = [];
        HashSet<string> labels = [];
        for (int i = 0; i < lines.Count; i++)
        {
            string line = lines[i];
            string[] columns = line.Split('\t');
            if (line.StartsWith("## ", StringComparison.Ordinal))
            {
                rows = [];
                sections.Add(new(line[3..], rows));
            }
            else if (line.Length > 0 && line[0] != '#')
            {
                if (columns.Length is < 3 or > 4 || sections.Count == 0 || columns.Any(c => c.Length == 0))
                {
                    throw new RegressionException($"{document}.tsv line {i + 1}: expected label, level, statement and perhaps a reason under a heading.");
                }

                if (!labels.Add(columns[0]))
                {
                    throw new RegressionException($"{document}.tsv line {i + 1}: {columns[0]} stands twice.");
                }

                rows.Add(new($"{document} {columns[0]}", Count(columns[0]), columns[2], columns.Length == 4 ? columns[3] : ""));
            }
        }

        return new(document, sections);
    }

    /// <summary>Statements behind a label: <c>x-3..7</c> are five.</summary>
    private static int Count(string label)
    {
        string[] ends = label[(label.LastIndexOf('-') + 1)..].Split("..");
        return ends.Length == 2 && int.TryParse(ends[0], NumberStyles.None, null, out int first) && int.TryParse(ends[1], NumberStyles.None, null, out int last)
            ? last - first + 1
            : 1;
    }
}
