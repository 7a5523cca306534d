// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Cosim.Waveforms.Drawing;

/// <summary>Columns and lanes of one picture, before anything is measured.</summary>
internal sealed record WavePanel(string Caption, IReadOnlyList<WaveColumn> Columns, IReadOnlyList<WaveLane> Lanes)
{
    private const int ColumnsMax = 20_000;

    // So many cycles without a change are drawn; more are folded.
    private const ulong PlainCycles = 2;

    /// <summary>Column to mark; null: none.</summary>
    public int? Mark { get; init; }

    /// <summary>A slice by itself. Streams in which nothing is offered have one line.</summary>
    public static WavePanel Of(WaveSlice slice, string caption)
    {
        List<WaveColumn> columns = ColumnsOf([slice], slice.From, slice.To);
        List<WaveLane> lanes = [];
        foreach (IGrouping<string, WaveTrack> group in slice.Tracks.GroupBy(t => t.Group, StringComparer.Ordinal).OrderBy(g => g.Key.Length > 0))
        {
            WavePacket[] packets = [.. slice.Packets.Where(p => p.Stream == group.Key)];
            bool idle = packets.Length == 0 && group.All(t => t.IsStream && t.Changes.All(c => StreamSignals.IsQuiet(c.Value)));
            if (group.Key.Length > 0)
            {
                lanes.Add(Heading(group.Key, LaneSide.Both, columns, packets, []) with { Note = idle ? "idle" : "", Stream = StreamOf(group) });
            }

            if (!idle)
            {
                lanes.AddRange(group.SelectMany(t => LanesOf(t, null, columns)));
            }
        }

        return new WavePanel(caption, columns, lanes);
    }

    /// <summary>Two waveforms, one above the other where they differ.</summary>
    /// <param name="expected">A slice of what is kept.</param>
    /// <param name="actual">The same slice of what was found; it declares the same signals.</param>
    /// <param name="groups">Groups to show.</param>
    /// <param name="mark">Cycle to mark.</param>
    /// <param name="caption">Heading of the picture.</param>
    public static WavePanel Of(WaveSlice expected, WaveSlice actual, IReadOnlySet<string> groups, ulong mark, string caption)
    {
        List<WaveColumn> columns = ColumnsOf([expected, actual], Math.Min(expected.From, actual.From), Math.Max(expected.To, actual.To));
        List<WaveLane> lanes = [];
        foreach (IGrouping<string, (WaveTrack Expected, WaveTrack Actual)> group in expected.Tracks.Zip(actual.Tracks).GroupBy(t => t.First.Group, StringComparer.Ordinal).OrderBy(g => g.Key.Length > 0))
        {
            if (!groups.Contains(group.Key))
            {
                continue;
            }

            WavePacket[] wanted = [.. expected.Packets.Where(p => p.Stream == group.Key)];
            WavePacket[] given = [.. actual.Packets.Where(p => p.Stream == group.Key)];
            bool alike = wanted.SequenceEqual(given);
            if (group.Key.Length > 0)
            {
                string stream = StreamOf(group.Select(t => t.Expected));
                lanes.Add(Heading(group.Key, alike ? LaneSide.Both : LaneSide.Expected, columns, wanted, alike ? [] : given) with { Stream = stream });
                if (!alike)
                {
                    lanes.Add(Heading(group.Key, LaneSide.Actual, columns, given, wanted) with { Stream = stream });
                }
            }

            foreach ((WaveTrack one, WaveTrack other) in group)
            {
                lanes.AddRange(LanesOf(one, other, columns));
            }
        }

        int at = columns.TakeWhile(c => c.Cycle + c.Count <= mark).Count();
        return new WavePanel(caption, columns, lanes) { Mark = at < columns.Count ? at : null };
    }

    private static string StreamOf(IEnumerable<WaveTrack> group) => group.FirstOrDefault(t => t.IsStream)?.Path ?? "";

    private static List<WaveColumn> ColumnsOf(IReadOnlyList<WaveSlice> slices, ulong from, ulong to)
    {
        SortedSet<ulong> events = [from];
        foreach (WaveSlice slice in slices)
        {
            foreach (WaveTrack track in slice.Tracks)
            {
                events.UnionWith(track.Changes.Select(c => c.Cycle));
                events.UnionWith(track.When?.Changes.Select(c => c.Cycle) ?? []);
            }

            events.UnionWith(slice.Packets.Select(p => p.Cycle));

            // Where the shorter one ends there is something to see.
            if (slice.To > from && slice.To < to)
            {
                _ = events.Add(slice.To);
            }
        }

        List<WaveColumn> columns = [];
        ulong[] starts = [.. events, to];
        for (int i = 0; i + 1 < starts.Length; i++)
        {
            columns.Add(new WaveColumn(starts[i], 1));
            ulong rest = starts[i + 1] - starts[i] - 1;
            if (rest > PlainCycles)
            {
                columns.Add(new WaveColumn(starts[i] + 1, rest));
            }
            else
            {
                for (ulong cycle = starts[i] + 1; cycle < starts[i + 1]; cycle++)
                {
                    columns.Add(new WaveColumn(cycle, 1));
                }
            }

            if (columns.Count > ColumnsMax)
            {
                throw new WaveformException(0, string.Create(CultureInfo.InvariantCulture, $"cycles {from} to {to} fill more than {ColumnsMax} columns; expected fewer cycles or signals."));
            }
        }

        return columns;
    }

    private static WaveLane Heading(string group, LaneSide side, List<WaveColumn> columns, WavePacket[] packets, WavePacket[] others)
    {
        List<WaveCard> cards = [];
        int column = 0;
        foreach (WavePacket packet in packets)
        {
            while (columns[column].Cycle < packet.Cycle)
            {
                column++;
            }

            cards.Add(new WaveCard(column, WaveLabel.Lines(packet.Text), packet.Text, others.Length > 0 && !others.Contains(packet)));
        }

        return new WaveLane(group, LaneShape.Heading, side, [], cards);
    }

    /// <summary>The lanes of a track; where another one differs from it, each of them twice.</summary>
    private static IEnumerable<WaveLane> LanesOf(WaveTrack track, WaveTrack? other, List<WaveColumn> columns)
    {
        if (!track.IsStream)
        {
            string name = track.Path[(track.Group.Length > 0 ? track.Group.Length + 1 : 0)..];
            return OnceOrTwice(name, ValuesOf(track, columns), other is null ? null : ValuesOf(other, columns));
        }

        return StreamSignals.All.SelectMany(signal => OnceOrTwice(signal.Name, ValuesOf(track, columns, signal.Of), other is null ? null : ValuesOf(other, columns, signal.Of)))
            .Select(lane => lane with { Stream = track.Path });
    }

    private static IEnumerable<WaveLane> OnceOrTwice(string name, Sampled[] values, Sampled[]? others)
    {
        LaneShape shape = values.Concat(others ?? []).All(v => v.IsBit && v.Value is null or "0" or "1" or "x") ? LaneShape.Bit : LaneShape.Vector;
        bool[] different = [.. values.Select((v, i) => others is not null && Differ(v.Value, others[i].Value))];
        if (!different.Contains(true))
        {
            return [new WaveLane(name, shape, LaneSide.Both, Spans(values, different, null), [])];
        }

        return
        [
            new WaveLane(name, shape, LaneSide.Expected, Spans(values, different, others), []),
            new WaveLane(name, shape, LaneSide.Actual, Spans(others!, different, values), []),
        ];
    }

    private static Sampled[] ValuesOf(WaveTrack track, List<WaveColumn> columns, Func<string, string?>? of = null)
    {
        // The beat that moves after a wait is the one that waited.
        HashSet<ulong> listed = of is null ? [] : [.. track.Changes.Where((c, i) => i > 0 && !StreamSignals.IsWait(track.Changes[i - 1].Value)).Select(c => c.Cycle)];
        return [.. columns.Select(c =>
        {
            string? value = track.At(c.Cycle);
            string? derived = value is null || of is null ? value : of(value);
            return new Sampled(derived, of is null ? track.Width == 1 : derived is "0" or "1" or "x", listed.Contains(c.Cycle));
        })];
    }

    private static List<WaveSpan> Spans(Sampled[] values, bool[] different, Sampled[]? others)
    {
        List<WaveSpan> spans = [];
        int from = 0;
        for (int i = 1; i <= values.Length; i++)
        {
            Sampled before = values[i - 1];
            if (i == values.Length || values[i].Value != before.Value || different[i] != different[i - 1]
                || (different[i] && others?[i].Value != others?[i - 1].Value) || (values[i].Begins && values[i].Value is { Length: > 1 }))
            {
                string? beside = different[i - 1] ? others?[i - 1].Value : null;
                string label = before.Value is null ? "" : beside is null ? WaveLabel.Short(before.Value) : WaveLabel.Around(before.Value, beside);
                spans.Add(new WaveSpan(from, i, before.Value, label, different[i - 1]));
                from = i;
            }
        }

        return spans;
    }

    private static bool Differ(string? expected, string? actual) => expected is null || actual is null ? expected != actual : !WaveValue.Matches(expected, actual);

    /// <summary>A value in a column.</summary>
    /// <param name="Value">Value; null where there is none.</param>
    /// <param name="IsBit">Whether it may be drawn as a line.</param>
    /// <param name="Begins">Whether it was listed there, be it the same again.</param>
    private readonly record struct Sampled(string? Value, bool IsBit, bool Begins);
}
