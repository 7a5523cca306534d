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
    public static WaveDifference? FirstDifference(TextReader expected, TextReader actual) => Differences(expected, actual).FirstOrDefault();

    /// <summary>Lists all differences as <see cref="FirstDifference"/> finds them, reading on only when the next one is asked for.</summary>
    /// <exception cref="WaveformException">One of them is no canonical form.</exception>
    public static IEnumerable<WaveDifference> Differences(TextReader expected, TextReader actual)
    {
        WaveWalk walk = new(expected, actual);
        if (walk.Declared is { } signal)
        {
            yield return new WaveDifference(
                null,
                string.Create(CultureInfo.InvariantCulture, $"line {signal + 2} of the declarations"),
                walk.Expected.Declarations.ElementAtOrDefault(signal) ?? "none",
                walk.Actual.Declarations.ElementAtOrDefault(signal) ?? "none",
                null);
            yield break;
        }

        while (walk.Next())
        {
            foreach (int number in walk.Different)
            {
                yield return At(walk, number);
            }
        }

        if (End(walk) is { } end)
        {
            yield return end;
        }
    }

    /// <summary>The first difference of texts, as one line for <see cref="GoldenFile"/>; null where there is none.</summary>
    public static string? Describe(string expected, string actual)
    {
        using StringReader wanted = new(expected);
        using StringReader given = new(actual);
        return FirstDifference(wanted, given)?.ToString();
    }

    /// <summary>A difference in the cycle that the walk has reached.</summary>
    internal static WaveDifference At(WaveWalk walk, int signal)
        => new(walk.Cycle, walk.Expected.Paths[signal], walk.Expected.Values[signal], walk.Actual.Values[signal], walk.Actual.Packet);

    /// <summary>The difference in length, after the last cycle.</summary>
    internal static WaveDifference? End(WaveWalk walk) => walk.Expected.Cycle == walk.Actual.Cycle ? null : new WaveDifference(
        Math.Min(walk.Expected.Cycle, walk.Actual.Cycle), "end", $"{walk.Expected.Cycle} cycles", $"{walk.Actual.Cycle} cycles", walk.Actual.Packet);
}
