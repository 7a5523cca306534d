// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Text;

namespace Cosim.Waveforms;

/// <summary>Hierarchical names in one spelling, whichever simulator wrote them.</summary>
/// <remarks>
/// VHDL knows no case, so all is lower case. The range of a vector is no part of its name. GHDL keeps the scope of a generate
/// statement's iteration, <c>gen(0).u</c>; its synthesis has no such scope and counts from 1: <c>gen_n1_u</c>. That is the
/// spelling used here.
/// </remarks>
public static class SignalPath
{
    /// <summary>Adds a scope or a variable to a path.</summary>
    /// <param name="path">Path so far, empty at the top.</param>
    /// <param name="name">Name as the file has it.</param>
    public static string Append(string path, string name)
    {
        ReadOnlySpan<char> plain = WithoutRange(name.AsSpan().TrimStart('\\'));
        StringBuilder text = new(path.Length + plain.Length + 4);
        text.Append(path);
        if (path.Length > 0 && !path.EndsWith('_'))
        {
            text.Append('.');
        }

        if (TryIteration(plain, out ReadOnlySpan<char> label, out int index))
        {
            // What stands inside follows without a point.
            return text.Append(label.ToString().ToLowerInvariant()).Append(CultureInfo.InvariantCulture, $"_n{index + 1}_").ToString();
        }

        return text.Append(plain.ToString().ToLowerInvariant()).ToString();
    }

    private static ReadOnlySpan<char> WithoutRange(ReadOnlySpan<char> name)
    {
        int open = name.LastIndexOf('[');
        return open > 0 && name[^1] == ']' && name[open..].Contains(':') ? name[..open] : name;
    }

    private static bool TryIteration(ReadOnlySpan<char> name, out ReadOnlySpan<char> label, out int index)
    {
        label = default;
        index = 0;
        int open = name.LastIndexOf('(');
        if (open <= 0 || name[^1] != ')' || !int.TryParse(name[(open + 1)..^1], NumberStyles.None, CultureInfo.InvariantCulture, out index) || index == int.MaxValue)
        {
            return false;
        }

        label = name[..open];
        return true;
    }
}
