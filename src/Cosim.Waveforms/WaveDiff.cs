// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Cosim.Waveforms.Drawing;

namespace Cosim.Waveforms;

/// <summary>The first difference of two canonical waveforms in each group of signals, with what is around it.</summary>
public sealed class WaveDiff
{
    /// <summary>Cycles with a change that are shown before and after a difference unless asked otherwise.</summary>
    public const int ContextDefault = 8;

    // More pictures in one file would hide the first difference.
    private const int PanelsMax = 6;

    private readonly List<Found> found = [];
    private readonly List<WavePanel> panels = [];

    private WaveDiff()
    {
    }

    /// <summary>The first difference of each group, by cycle. A group is a stream, or else a scope.</summary>
    public IReadOnlyList<WaveDifference> Differences => [.. found.Select(f => f.Difference)];

    /// <summary>Whether there is something to draw: not where the waveforms declare other signals or only one is longer.</summary>
    public bool HasPicture => panels.Count > 0;

    /// <summary>Compares.</summary>
    /// <param name="expected">Opens what is kept; read twice.</param>
    /// <param name="actual">Opens what was found; read twice.</param>
    /// <param name="context">Cycles with a change that are shown before and after each difference.</param>
    /// <exception cref="WaveformException">One of them is no canonical form.</exception>
    public static WaveDiff Of(Func<TextReader> expected, Func<TextReader> actual, int context = ContextDefault)
    {
        WaveDiff diff = new();
        using (TextReader wanted = expected())
        using (TextReader given = actual())
        {
            diff.Find(wanted, given, Math.Max(1, context));
        }

        diff.Draw(expected, actual);
        return diff;
    }

    /// <summary>Writes an SVG image: around each difference, expected above actual.</summary>
    public void WriteSvg(string title, TextWriter output)
        => WaveSvg.Write(title, "the first difference of each group of signals, expected above actual", panels, output);

    /// <summary>Writes a line for each group and the waves around its difference.</summary>
    /// <param name="output">Where the text goes.</param>
    /// <param name="width">Characters in a line of waves.</param>
    /// <param name="ascii">Whether to use ASCII only.</param>
    public void WriteText(TextWriter output, int width = 120, bool ascii = false)
    {
        foreach (Found one in found)
        {
            output.Write($"{one.Difference}\n");
        }

        foreach (WavePanel panel in panels)
        {
            output.Write('\n');
            WaveText.Write(panel, output, width, ascii);
        }
    }

    private void Find(TextReader expected, TextReader actual, int context)
    {
        WaveWalk walk = new(expected, actual);
        if (walk.Declared is not null)
        {
            Undeclared(walk.Expected.Declarations, walk.Actual.Declarations, (line, name) => new WaveDifference(null, name, line, "none", null));
            Undeclared(walk.Actual.Declarations, walk.Expected.Declarations, (line, name) => new WaveDifference(null, name, "none", line, null));
            if (found.Count == 0)
            {
                int at = walk.Declared.Value;
                found.Add(new Found("declarations", new WaveDifference(
                    null, string.Create(CultureInfo.InvariantCulture, $"line {at + 2} of the declarations"), walk.Expected.Declarations[at], walk.Actual.Declarations[at], null)));
            }

            return;
        }

        string[] groups = [.. walk.Expected.Declarations.Select(d => CanonicalSignal.Parse(d).Group)];
        HashSet<string> seen = new(StringComparer.Ordinal);
        Queue<ulong> before = new();
        while (walk.Next())
        {
            foreach (Found open in found.Where(f => f.Rest > 0))
            {
                open.To = walk.Cycle + 1;
                open.Rest--;
            }

            before.Enqueue(walk.Cycle);
            if (before.Count > context + 1)
            {
                _ = before.Dequeue();
            }

            foreach (int signal in walk.Different)
            {
                if (seen.Add(groups[signal]))
                {
                    found.Add(new Found(groups[signal], WaveComparison.At(walk, signal)) { From = before.Peek(), To = walk.Cycle + 1, Rest = context });
                }
            }
        }

        if (WaveComparison.End(walk) is { } end)
        {
            found.Add(new Found("end", end));
        }
    }

    private void Undeclared(IReadOnlyList<string> declarations, IReadOnlyList<string> others, Func<string, string, WaveDifference> difference)
        => found.AddRange(declarations.Except(others).Select(d => new Found("declarations", difference(d, d.Split(' ')[1]))));

    private void Draw(Func<TextReader> expected, Func<TextReader> actual)
    {
        List<Found> left = [.. found.Where(f => f.To > f.From)];
        while (left.Count > 0 && panels.Count < PanelsMax)
        {
            // Differences within one window share a picture.
            Found first = left[0];
            Found[] together = [.. left.Where(f => f.Difference.Cycle < first.To)];
            ulong to = together.Max(f => f.To);
            HashSet<string> groups = [.. together.Select(f => f.Group)];
            panels.Add(WavePanel.Of(Read(expected, first.From, to), Read(actual, first.From, to), groups, first.Difference.Cycle!.Value, Caption(first.Difference)));
            left.RemoveAll(together.Contains);
        }
    }

    private static string Caption(WaveDifference difference)
        => string.Create(CultureInfo.InvariantCulture, $"cycle {difference.Cycle}, {difference.Signal}: expected {WaveLabel.Around(difference.Expected, difference.Actual)}, actual {WaveLabel.Around(difference.Actual, difference.Expected)}");

    private static WaveSlice Read(Func<TextReader> open, ulong from, ulong to)
    {
        using TextReader text = open();
        return WaveSlice.ReadAny(text, from, to);
    }

    private sealed class Found(string group, WaveDifference difference)
    {
        public string Group { get; } = group;

        public WaveDifference Difference { get; } = difference;

        public ulong From { get; init; }

        public ulong To { get; set; }

        public int Rest { get; set; }
    }
}
