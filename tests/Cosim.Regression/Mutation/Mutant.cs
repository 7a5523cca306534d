// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Regression.Mutation;

/// <summary>A source with one place changed; the number of its lines stays.</summary>
/// <param name="File">Name of the source, as <c>hdl/sources.txt</c> has it.</param>
/// <param name="Operator">Kind of the change, one of <see cref="MutationOperators.Names"/>.</param>
/// <param name="Start">Index of the first character replaced.</param>
/// <param name="Length">Characters replaced.</param>
/// <param name="Replacement">What stands in their place.</param>
internal sealed record Mutant(string File, string Operator, int Start, int Length, string Replacement)
{
    /// <summary>The source with the change.</summary>
    public string Apply(string source) => string.Concat(source.AsSpan(0, Start), Replacement, source.AsSpan(Start + Length));

    /// <summary>Number of the line, from 1.</summary>
    public int Line(string source) => source.AsSpan(0, Start).Count('\n') + 1;

    /// <summary>What is replaced and by what, on one line.</summary>
    public string Change(string source) => $"{OneLine(source.Substring(Start, Length))} -> {OneLine(Replacement)}";

    /// <summary>Name in lists: stable while the line of the source and the number of such lines before it stay.</summary>
    public string Id(string source)
    {
        int begin = source.LastIndexOf('\n', Math.Max(Start - 1, 0)) + 1;
        int end = source.IndexOf('\n', Start);
        string line = source[(Start == 0 ? 0 : begin)..(end < 0 ? source.Length : end)];
        int before = 0;
        foreach (Range range in source.AsSpan(0, begin).Split('\n'))
        {
            before += SameWords(source.AsSpan(range), line) ? 1 : 0;
        }

        return $"{File}: {Operator}: {OneLine(line)} @{Start - begin}: {Change(source)}{(before == 0 ? "" : $" ({before + 1})")}";
    }

    private static bool SameWords(ReadOnlySpan<char> a, ReadOnlySpan<char> b)
    {
        a = a.Trim();
        b = b.Trim();
        while (a.Length > 0 && b.Length > 0 && a[0] == b[0])
        {
            bool space = a[0] == ' ';
            a = space ? a.TrimStart(' ') : a[1..];
            b = space ? b.TrimStart(' ') : b[1..];
        }

        return a.IsEmpty && b.IsEmpty;
    }

    private static string OneLine(string text) => string.Join(' ', text.Split((char[])[' ', '\n', '\r', '\t'], StringSplitOptions.RemoveEmptyEntries));
}
