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

    /// <summary>Name in lists: stable while the line of the source and what it is in that line stay.</summary>
    public string Id(string source)
    {
        int begin = source.LastIndexOf('\n', Math.Max(Start - 1, 0)) + 1;
        int end = source.IndexOf('\n', Start);
        string line = source[(Start == 0 ? 0 : begin)..(end < 0 ? source.Length : end)];
        return $"{File}: {Operator}: {OneLine(line)} @{Start - begin}: {Change(source)}";
    }

    private static string OneLine(string text) => string.Join(' ', text.Split((char[])[' ', '\n', '\r', '\t'], StringSplitOptions.RemoveEmptyEntries));
}
