// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Text;

namespace Cosim.Waveforms.Drawing;

/// <summary>Draws a panel with characters.</summary>
internal static class WaveText
{
    private const int NameCharacters = 34;

    private static readonly WaveLayout s_layout = new(Column: 3, Fold: 5, Character: 1, Margin: 2, CardCharacter: 1, CardMargin: 2, FoldTail: 0);

    /// <summary>Draws.</summary>
    /// <param name="panel">What.</param>
    /// <param name="output">Where; lines end with a line feed.</param>
    /// <param name="width">Characters in a line; what is longer goes on below.</param>
    /// <param name="ascii">Whether to use ASCII only.</param>
    public static void Write(WavePanel panel, TextWriter output, int width, bool ascii)
    {
        Glyphs glyphs = ascii ? Glyphs.Ascii : Glyphs.Unicode;
        int[] places = s_layout.Place(panel);
        int gutter = Math.Min(NameCharacters, panel.Lanes.Max(l => Name(l).Length)) + 2;
        int room = Math.Max(s_layout.Column * 8, width - gutter);
        if (panel.Caption.Length > 0)
        {
            Line(output, panel.Caption, ascii);
        }

        for (int first = 0; first < panel.Columns.Count;)
        {
            int last = first + 1;
            while (last < panel.Columns.Count && places[last + 1] - places[first] <= room)
            {
                last++;
            }

            Block block = new(panel, places, first, last, Math.Min(room, places[last] - places[first]), glyphs);
            Line(output, new string(' ', gutter) + block.Ruler(), ascii);
            foreach (WaveLane lane in panel.Lanes)
            {
                bool idle = block.IsIdle(lane);
                if (idle && lane.Shape != LaneShape.Heading)
                {
                    continue;
                }

                if (idle && lane.Note.Length == 0)
                {
                    Line(output, $"{WaveLabel.Short(Name(lane), gutter - 8)}: idle", ascii);
                    continue;
                }

                int number = 0;
                foreach (string text in block.Draw(lane))
                {
                    Line(output, (number++ == 0 ? WaveLabel.Short(Name(lane), gutter - 2) : "").PadRight(gutter) + text, ascii);
                }
            }

            if (panel.Mark is { } mark && mark >= first && mark < last)
            {
                Line(output, new string(' ', gutter + places[mark] - places[first]) + "^ first difference", ascii);
            }

            first = last;
            if (first < panel.Columns.Count)
            {
                Line(output, "", ascii);
            }
        }
    }

    private static string Name(WaveLane lane) => lane switch
    {
        { Shape: LaneShape.Heading, Side: LaneSide.Both, Note.Length: > 0 } => $"{lane.Name}: {lane.Note}",
        { Shape: LaneShape.Heading, Side: LaneSide.Both } => lane.Name,
        { Shape: LaneShape.Heading } => $"{lane.Name} {Word(lane.Side)}",
        { Side: LaneSide.Both } => "  " + lane.Name,
        _ => $"  {lane.Name} {Word(lane.Side)}",
    };

    private static string Word(LaneSide side) => side == LaneSide.Expected ? "expected" : "actual";

    private static void Line(TextWriter output, string text, bool ascii)
    {
        string plain = text.TrimEnd();
        output.Write(ascii ? plain.Replace("…", "~", StringComparison.Ordinal) : plain);
        output.Write('\n');
    }

    /// <summary>What lines are drawn with.</summary>
    private sealed record Glyphs(char Low, char High, char Rise, char Fall, char Unknown, char Idle, char Edge, char Fill, char Fold, char Different)
    {
        public static readonly Glyphs Unicode = new('▁', '▔', '╱', '╲', '░', '·', '╳', '═', '⋯', '▲');
        public static readonly Glyphs Ascii = new('_', '"', '/', '\\', '?', '.', 'X', '=', '~', '^');
    }

    /// <summary>Columns that fit beside each other.</summary>
    private sealed class Block(WavePanel panel, int[] places, int first, int last, int width, Glyphs glyphs)
    {
        private readonly HashSet<string> busy = [.. panel.Lanes
            .Where(l => l.Cards.Any(c => c.Column >= first && c.Column < last)
                || l.Spans.Any(s => s.From < last && s.To > first && (s.Different || (l.Name == StreamSignals.Valid && s.Value != "0"))))
            .Select(l => l.Stream)];

        /// <summary>Whether the lane is of a stream in which nothing is offered in these columns.</summary>
        public bool IsIdle(WaveLane lane) => lane.Stream.Length > 0 && !busy.Contains(lane.Stream);

        public string Ruler()
        {
            char[] line = Blank();
            int free = 0;
            for (int i = first; i < last; i++)
            {
                WaveColumn column = panel.Columns[i];
                string text = column.Count > 1
                    ? string.Create(CultureInfo.InvariantCulture, $"{glyphs.Fold}{column.Count}")
                    : column.Cycle.ToString(CultureInfo.InvariantCulture);
                int at = Place(i);
                if (at >= free && at + text.Length <= width)
                {
                    text.CopyTo(line.AsSpan(at));
                    free = at + text.Length + 1;
                }
            }

            return new string(line);
        }

        public IEnumerable<string> Draw(WaveLane lane)
        {
            if (lane.Shape == LaneShape.Heading)
            {
                int lines = lane.Cards.Where(c => c.Column >= first && c.Column < last).Select(c => c.Lines.Count).DefaultIfEmpty(1).Max();
                for (int number = 0; number < lines; number++)
                {
                    yield return Cards(lane, number);
                }

                yield break;
            }

            char[] line = Blank();
            char[] marks = Blank();
            char? before = null;
            foreach (WaveSpan span in lane.Spans)
            {
                if (span.To <= first || span.From >= last)
                {
                    continue;
                }

                Span<char> part = line.AsSpan(Place(span.From), Place(span.To) - Place(span.From));
                bool begins = span.From >= first && span.From > 0;
                if (lane.Shape == LaneShape.Bit)
                {
                    char level = span.Value switch { "0" => glyphs.Low, "1" => glyphs.High, null => glyphs.Idle, _ => glyphs.Unknown };
                    part.Fill(level);
                    if (begins && before is not null && part.Length > 1)
                    {
                        part[0] = level == glyphs.High && before == glyphs.Low ? glyphs.Rise : level == glyphs.Low && before == glyphs.High ? glyphs.Fall : level;
                    }

                    before = level;
                }
                else if (span.Value is null)
                {
                    part.Fill(glyphs.Idle);
                }
                else
                {
                    part.Fill(glyphs.Fill);
                    int edge = begins ? 1 : 0;
                    if (begins)
                    {
                        part[0] = glyphs.Edge;
                    }

                    string label = WaveLabel.Short(span.Label, part.Length - edge);
                    label.CopyTo(part[edge..]);
                }

                if (span.Different && lane.Side == LaneSide.Actual)
                {
                    marks.AsSpan(Place(span.From), Place(span.To) - Place(span.From)).Fill(glyphs.Different);
                }
            }

            yield return new string(line);
            if (marks.AsSpan().ContainsAnyExcept(' '))
            {
                yield return new string(marks);
            }
        }

        private string Cards(WaveLane lane, int number)
        {
            StringBuilder line = new(new string(Blank()));
            foreach (WaveCard card in lane.Cards.Where(c => c.Column >= first && c.Column < last && number < c.Lines.Count))
            {
                // A card at the end of the block may be longer than what is left of it.
                string text = (number == 0 && card.Different ? "!" : "") + card.Lines[number];
                int at = Place(card.Column);
                line.Length = Math.Max(line.Length, at + text.Length);
                for (int i = 0; i < text.Length; i++)
                {
                    line[at + i] = text[i];
                }
            }

            return line.ToString();
        }

        private char[] Blank()
        {
            char[] line = new char[width];
            line.AsSpan().Fill(' ');
            return line;
        }

        private int Place(int column) => Math.Min(width, places[Math.Clamp(column, first, last)] - places[first]);
    }
}
