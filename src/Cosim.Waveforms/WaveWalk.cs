// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms;

/// <summary>Goes through two canonical waveforms together, cycle by cycle.</summary>
internal sealed class WaveWalk
{
    private const string ExpectedName = "expected waveform";
    private const string ActualName = "actual waveform";

    private readonly SortedSet<int> touched = [];
    private readonly List<int> different = [];

    public WaveWalk(TextReader expected, TextReader actual)
    {
        Expected = Named(ExpectedName, () => new CanonicalReader(expected));
        Actual = Named(ActualName, () => new CanonicalReader(actual));
        for (int i = 0; Declared is null && i < Math.Max(Expected.Declarations.Count, Actual.Declarations.Count); i++)
        {
            if (Expected.Declarations.ElementAtOrDefault(i) != Actual.Declarations.ElementAtOrDefault(i))
            {
                Declared = i;
            }
        }
    }

    public CanonicalReader Expected { get; }

    public CanonicalReader Actual { get; }

    /// <summary>Number of the first signal that is not declared alike, or null.</summary>
    public int? Declared { get; }

    /// <summary>The cycle reached.</summary>
    public ulong Cycle { get; private set; }

    /// <summary>Signals that one of the waveforms lists in the cycle and that differ, in their order.</summary>
    public IReadOnlyList<int> Different => different;

    /// <summary>Goes on to the next cycle that one of them lists; false after the last one.</summary>
    public bool Next()
    {
        touched.Clear();
        different.Clear();
        if (Expected.AtEnd && Actual.AtEnd)
        {
            return false;
        }

        Cycle = Expected.AtEnd ? Actual.Cycle : Actual.AtEnd ? Expected.Cycle : Math.Min(Expected.Cycle, Actual.Cycle);
        Step(Expected, ExpectedName);
        Step(Actual, ActualName);
        foreach (int signal in touched)
        {
            if (!WaveValue.Matches(Expected.Values[signal], Actual.Values[signal]))
            {
                different.Add(signal);
            }
        }

        return true;
    }

    private void Step(CanonicalReader reader, string name)
    {
        if (!reader.AtEnd && reader.Cycle == Cycle)
        {
            _ = Named(name, () =>
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
