// SPDX-License-Identifier: Apache-2.0
using System.Text.RegularExpressions;

namespace Cosim.Regression.Clauses;

/// <summary>A test and a label that it carries.</summary>
/// <param name="Label">What the attribute says.</param>
/// <param name="Project">The test project's name.</param>
/// <param name="Name">Class and method.</param>
internal sealed partial record ClauseTest(string Label, string Project, string Name)
{
    /// <summary>The attributes of all tests of the clone, read from their sources: so nothing needs to be built for the report.</summary>
    public static IReadOnlyList<ClauseTest> ReadAll(Repository repository)
    {
        string tests = Path.Combine(repository.Root, "tests");
        return [.. Directory.EnumerateDirectories(tests, "*.Tests").Order(StringComparer.Ordinal)
            .SelectMany(p => Directory.EnumerateFiles(p, "*.cs", SearchOption.AllDirectories).Order(StringComparer.Ordinal)
                .Where(f => !Path.GetRelativePath(p, f).StartsWith("obj/", StringComparison.Ordinal))
                .SelectMany(f => Read(Path.GetFileName(p), File.ReadAllText(f))))];
    }

    /// <summary>The attributes of one source file.</summary>
    /// <exception cref="RegressionException">An attribute stands before something that is no test.</exception>
    public static IEnumerable<ClauseTest> Read(string project, string source)
    {
        string type = "";
        List<string> labels = [];
        bool test = false;
        foreach (string line in source.Split('\n'))
        {
            string text = line.Trim();
            if (TypePattern().Match(text) is { Success: true } named)
            {
                type = named.Groups[1].Value;
            }
            else if (text.StartsWith('['))
            {
                labels.AddRange(ClausePattern().Matches(text).Select(m => m.Groups[1].Value));
                test |= TestPattern().IsMatch(text);
            }
            else if (labels.Count > 0 && MethodPattern().Match(text) is { Success: true } method)
            {
                if (!test)
                {
                    throw new RegressionException($"{project}: {type}.{method.Groups[1].Value} carries {labels[0]} and is no test.");
                }

                foreach (string label in labels)
                {
                    yield return new(label, project, $"{type}.{method.Groups[1].Value}");
                }

                labels.Clear();
                test = false;
            }
            else if (text.Length == 0 || text == "}")
            {
                test = false;
            }
        }
    }

    [GeneratedRegex(@"^(?:\w+ )*(?:class|record|struct) (\w+)")]
    private static partial Regex TypePattern();

    [GeneratedRegex("""\bClause\("([^"]*)"\)""")]
    private static partial Regex ClausePattern();

    [GeneratedRegex(@"\b(?:Test|TestCase|TestCaseSource|Theory|Explicit)\b")]
    private static partial Regex TestPattern();

    [GeneratedRegex(@"^public .*?\b(\w+)(?:<\w+>)?\(")]
    private static partial Regex MethodPattern();
}
