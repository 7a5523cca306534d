// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Cosim.Fuzzing.Coverage;

/// <summary>One way out of a conditional branch of a parser.</summary>
/// <param name="Number">Its number in <see cref="BranchMap"/>.</param>
/// <param name="Target">The target whose parser it belongs to.</param>
/// <param name="Class">Name of the class, without its namespace.</param>
/// <param name="File">Name of the source.</param>
/// <param name="Line">Line of the source, from 1.</param>
/// <param name="Way">Which of the branches of that line, and which way.</param>
/// <param name="Text">The line.</param>
public sealed record Branch(int Number, string Target, string Class, string File, int Line, string Way, string Text)
{
    /// <summary>What an explanation calls it: its line may move, so that its text stands for it.</summary>
    public string Key => $"{File}: {Text} [{Way}]";

    public string ToLine() => string.Join('\t', Number.ToString(CultureInfo.InvariantCulture), Target, Class, File, Line.ToString(CultureInfo.InvariantCulture), Way, Text);

    public static Branch Parse(string line)
    {
        string[] parts = line.Split('\t', 7);
        return new Branch(int.Parse(parts[0], CultureInfo.InvariantCulture), parts[1], parts[2], parts[3], int.Parse(parts[4], CultureInfo.InvariantCulture), parts[5], parts[6]);
    }
}
