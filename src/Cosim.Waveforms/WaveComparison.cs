// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Cosim.Waveforms;

/// <summary>Compares canonical waveforms.</summary>
public static class WaveComparison
{
    /// <summary>Finds the first difference, by cycle and then by the order of the signals.</summary>
    /// <param name="expected">Canonical form; an <c>x</c> digit in it stands for any value.</param>
    /// <param name="actual">Canonical form; an <c>x</c> digit in it is a difference where a definite one is expected.</param>
    /// <returns>The difference, or null where there is none.</returns>
    /// <exception cref="WaveformException">One of them is no canonical form.</exception>
    public static WaveDifference? FirstDifference(TextReader expected, TextReader actual)
    {
        CanonicalReader wanted = Reader(expected, "expected waveform");
        CanonicalReader given = Reader(actual, "actual waveform");
        for (int i = 0; i < Math.Max(wanted.Declarations.Count, given.Declarations.Count); i++)
        {
            string? declared = wanted.Declarations.ElementAtOrDefault(i);
            string? found = given.Declarations.ElementAtOrDefault(i);
            if (declared != found)
            {
                return new WaveDifference(null, string.Create(CultureInfo.InvariantCulture, $"line {i + 2} of the declarations"), declared ?? "none", found ?? "none", null);
            }
        }

        SortedSet<int> touched = [];
        while (!wanted.AtEnd || !given.AtEnd)
        {
            touched.Clear();
            ulong cycle = wanted.AtEnd ? given.Cycle : given.AtEnd ? wanted.Cycle : Math.Min(wanted.Cycle, given.Cycle);
            Step(wanted, cycle, touched, "expected waveform");
            Step(given, cycle, touched, "actual waveform");
            foreach (int signal in touched)
            {
                if (!WaveValue.Matches(wanted.Values[signal], given.Values[signal]))
                {
                    return new WaveDifference(cycle, wanted.Paths[signal], wanted.Values[signal], given.Values[signal], given.Packet);
                }
            }
        }

        return wanted.Cycle == given.Cycle ? null : new WaveDifference(
            Math.Min(wanted.Cycle, given.Cycle), "end", $"{wanted.Cycle} cycles", $"{given.Cycle} cycles", given.Packet);
    }

    /// <summary>The same for texts, as one line for <see cref="GoldenFile"/>; null where there is no difference.</summary>
    public static string? Describe(string expected, string actual)
    {
        using StringReader wanted = new(expected);
        using StringReader given = new(actual);
        return FirstDifference(wanted, given)?.ToString();
    }

    private static CanonicalReader Reader(TextReader text, string which) => Named(which, () => new CanonicalReader(text));

    private static void Step(CanonicalReader reader, ulong cycle, SortedSet<int> touched, string which)
    {
        if (!reader.AtEnd && reader.Cycle == cycle)
        {
            _ = Named(which, () =>
            {
                reader.Apply();
                return 0;
            });
            touched.UnionWith(reader.Changed);
        }
    }

    private static T Named<T>(string which, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (WaveformException exception)
        {
            throw new WaveformException(0, $"{which}, {exception.Message}");
        }
    }
}
