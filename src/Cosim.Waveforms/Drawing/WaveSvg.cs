// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Text;

namespace Cosim.Waveforms.Drawing;

/// <summary>Draws panels as one SVG image that needs nothing else and follows the reader's choice of light or dark.</summary>
internal static class WaveSvg
{
    private const int Edge = 16;
    private const int TitleHeight = 46;
    private const int CaptionHeight = 26;
    private const int RulerHeight = 22;
    private const int LaneHeight = 24;
    private const int Level = 5;
    private const int Slope = 3;
    private const int CardLine = 12;
    private const int CardPadding = 4;
    private const int FoldMiddle = 20;
    private const int FoldHalf = 3;
    private const int LabelPitch = 480;
    private const int NameCharacters = 34;
    private const double NameCharacter = 6.7;

    private const string Style = """
        text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:11px;fill:#1f2328}
        .bg{fill:#ffffff}.band{fill:#f6f8fa}
        .title{font-size:14px;font-weight:600}.sub,.tick,.note{fill:#656d76}.tick{font-size:10px}.caption{font-weight:600}
        .group{font-weight:600}.word{font-weight:400}.grid{stroke:#eaeef2;stroke-width:1}.rule{stroke:#d0d7de;stroke-width:1}
        .bit{fill:none;stroke:#0969da;stroke-width:1.5;stroke-linejoin:round}.high{fill:#0969da;fill-opacity:.10}
        .idle{stroke:#c6cdd5;stroke-width:1.5;stroke-dasharray:1 4;stroke-linecap:round}
        .bus{fill:#ddf4ff;stroke:#54aeff;stroke-width:1.2;stroke-linejoin:round}
        .x{fill:#fff8c5;stroke:#d4a72c;stroke-width:1.2;stroke-linejoin:round}
        .card{fill:#fbefff;stroke:#c297ff}.stem{stroke:#8250df;stroke-width:2;stroke-linecap:round}.says{font-size:10px;fill:#512a97}
        .fold{fill:#ffffff}.wave{fill:none;stroke:#afb8c1;stroke-width:1}
        .e{fill:#1a7f37}.a{fill:#cf222e}.eb{fill:#dafbe1;stroke:#4ac26b}.ab{fill:#ffebe9;stroke:#ff8182}.al{fill:#a40e26;font-weight:600}.el{fill:#116329;font-weight:600}
        .el1{stroke:#1a7f37}.al1{stroke:#cf222e}.differs{fill:#ffebe9;fill-opacity:.75}.mark{stroke:#cf222e;stroke-width:1.2;stroke-dasharray:4 3}
        @media (prefers-color-scheme:dark){
        text{fill:#e6edf3}.bg{fill:#0d1117}.band{fill:#151b23}.sub,.tick,.note{fill:#8d96a0}
        .grid{stroke:#1c2129}.rule{stroke:#30363d}.bit{stroke:#58a6ff}.high{fill:#58a6ff;fill-opacity:.14}.idle{stroke:#3d444d}
        .bus{fill:#10243e;stroke:#2f6fc4}.x{fill:#332b0b;stroke:#9e7a16}
        .card{fill:#251a3a;stroke:#6e49b5}.stem{stroke:#a371f7}.says{fill:#dcc9ff}
        .fold{fill:#0d1117}.wave{stroke:#545d68}
        .e{fill:#3fb950}.a{fill:#ff7b72}.eb{fill:#12261a;stroke:#2ea043}.ab{fill:#3b1519;stroke:#da3633}.al{fill:#ffb3ad}.el{fill:#7ee787}
        .el1{stroke:#3fb950}.al1{stroke:#ff7b72}.differs{fill:#3b1519;fill-opacity:.6}.mark{stroke:#ff7b72}
        }
        """;

    private static readonly WaveLayout s_layout = new(Column: 26, Fold: 40, Character: 6.7, Margin: 14, CardCharacter: 6.1, CardMargin: 16, FoldTail: FoldMiddle + FoldHalf + 1);

    /// <summary>Draws.</summary>
    /// <param name="title">Heading.</param>
    /// <param name="subtitle">Line below it.</param>
    /// <param name="panels">Panels, one below the other.</param>
    /// <param name="output">Where the image goes; lines end with a line feed.</param>
    public static void Write(string title, string subtitle, IReadOnlyList<WavePanel> panels, TextWriter output)
    {
        int[][] places = [.. panels.Select(s_layout.Place)];
        int gutter = Edge + 14 + (int)Math.Ceiling(panels.SelectMany(p => p.Lanes).Max(NameLength) * NameCharacter);
        int width = Math.Max(gutter + places.Max(p => p[^1]) + Edge, (int)((Math.Max(title.Length * 1.3, subtitle.Length) * NameCharacter) + (2 * Edge)));
        int height = TitleHeight + panels.Sum(p => CaptionOf(p) + RulerHeight + p.Lanes.Sum(Height) + Edge);
        StringBuilder svg = new();
        svg.Append(CultureInfo.InvariantCulture, $"""<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">""").Append('\n');
        svg.Append(CultureInfo.InvariantCulture, $"<title>{Escape(title)}</title>\n<style>\n{Style.ReplaceLineEndings("\n")}\n</style>\n");
        svg.Append(CultureInfo.InvariantCulture, $"""<rect class="bg" width="{width}" height="{height}" rx="6"/>""").Append('\n');
        Text(svg, Edge, 22, "title", title);
        Text(svg, Edge, 38, "sub", subtitle);
        int top = TitleHeight;
        for (int i = 0; i < panels.Count; i++)
        {
            Panel(svg, panels[i], places[i], gutter, top, width);
            top += CaptionOf(panels[i]) + RulerHeight + panels[i].Lanes.Sum(Height) + Edge;
        }

        svg.Append("</svg>\n");
        output.Write(svg);
    }

    private static int CaptionOf(WavePanel panel) => panel.Caption.Length > 0 ? CaptionHeight : 0;

    private static int Height(WaveLane lane) => lane.Cards.Count == 0 ? LaneHeight : (lane.Lines * CardLine) + (2 * CardPadding) + 6;

    private static int NameLength(WaveLane lane) => Math.Min(NameCharacters, lane.Name.Length) + 2 + SideWord(lane.Side).Length + lane.Note.Length;

    private static string SideWord(LaneSide side) => side switch
    {
        LaneSide.Expected => "expected",
        LaneSide.Actual => "actual",
        _ => "",
    };

    private static void Panel(StringBuilder svg, WavePanel panel, int[] places, int gutter, int top, int width)
    {
        if (panel.Caption.Length > 0)
        {
            Text(svg, Edge, top + 15, "caption", panel.Caption);
            top += CaptionHeight;
        }

        int end = gutter + places[^1];
        int bottom = top + RulerHeight + panel.Lanes.Sum(Height);

        // Bands behind the headings, then the grid, then what is different, then the lanes.
        int y = top + RulerHeight;
        foreach (WaveLane lane in panel.Lanes)
        {
            if (lane.Shape == LaneShape.Heading)
            {
                svg.Append(CultureInfo.InvariantCulture, $"""<rect class="band" x="{Edge - 8}" y="{y}" width="{width - (2 * Edge) + 16}" height="{Height(lane)}" rx="3"/>""").Append('\n');
            }

            y += Height(lane);
        }

        StringBuilder grid = new();
        for (int i = 0; i <= panel.Columns.Count; i++)
        {
            grid.Append(CultureInfo.InvariantCulture, $"M{gutter + places[i]} {top + RulerHeight - 4}V{bottom}");
        }

        svg.Append(CultureInfo.InvariantCulture, $"""<path class="grid" d="{grid}"/>""").Append('\n');
        svg.Append(CultureInfo.InvariantCulture, $"""<path class="rule" d="M{gutter} {top + RulerHeight - 4}H{end}"/>""").Append('\n');
        y = top + RulerHeight;
        foreach (WaveLane lane in panel.Lanes)
        {
            foreach (WaveSpan span in lane.Spans.Where(s => s.Different))
            {
                svg.Append(CultureInfo.InvariantCulture, $"""<rect class="differs" x="{gutter + places[span.From]}" y="{y}" width="{places[span.To] - places[span.From]}" height="{LaneHeight}"/>""").Append('\n');
            }

            y += Height(lane);
        }

        if (panel.Mark is { } mark)
        {
            svg.Append(CultureInfo.InvariantCulture, $"""<path class="mark" d="M{gutter + places[mark]} {top + RulerHeight - 4}V{bottom}"/>""").Append('\n');
        }

        y = top + RulerHeight;
        foreach (WaveLane lane in panel.Lanes)
        {
            Lane(svg, panel, lane, places, gutter, y);
            y += Height(lane);
        }

        Folds(svg, panel, places, gutter, top + RulerHeight - 4, bottom);
        Ruler(svg, panel, places, gutter, top + RulerHeight - 9);
    }

    private static void Ruler(StringBuilder svg, WavePanel panel, int[] places, int gutter, int y)
    {
        double free = 0;
        for (int i = 0; i < panel.Columns.Count; i++)
        {
            WaveColumn column = panel.Columns[i];
            string text = column.Count > 1
                ? string.Create(CultureInfo.InvariantCulture, $"+{column.Count}")
                : column.Cycle.ToString(CultureInfo.InvariantCulture);
            double half = text.Length * 3.05;
            double middle = column.Count > 1 ? places[i + 1] - FoldMiddle : (places[i] + places[i + 1]) / 2.0;
            bool marked = i == panel.Mark;
            if (middle - half >= free || marked)
            {
                string style = marked ? "tick a" : "tick";
                svg.Append(CultureInfo.InvariantCulture, $"""<text class="{style}" x="{gutter + middle:0.#}" y="{y}" text-anchor="middle">{text}</text>""").Append('\n');
                free = middle + half + 4;
            }
        }
    }

    /// <summary>Two wavy lines with nothing between them where cycles are left out.</summary>
    private static void Folds(StringBuilder svg, WavePanel panel, int[] places, int gutter, int top, int bottom)
    {
        for (int i = 0; i < panel.Columns.Count; i++)
        {
            if (panel.Columns[i].Count == 1)
            {
                continue;
            }

            int middle = gutter + places[i + 1] - FoldMiddle;
            StringBuilder down = new();
            StringBuilder up = new();
            int height = 0;
            for (; top + height < bottom; height += 12)
            {
                down.Append("q3 3 0 6q-3 3 0 6");
                up.Append("q-3-3 0-6q3-3 0-6");
            }

            svg.Append(CultureInfo.InvariantCulture, $"""<path class="fold" d="M{middle - FoldHalf} {top}{down}h{2 * FoldHalf}{up}z"/><path class="wave" d="M{middle - FoldHalf} {top}{down}M{middle + FoldHalf} {top}{down}"/>""").Append('\n');
        }
    }

    private static void Lane(StringBuilder svg, WavePanel panel, WaveLane lane, int[] places, int gutter, int y)
    {
        bool heading = lane.Shape == LaneShape.Heading;
        int baseline = y + (heading ? (Height(lane) / 2) + 4 : 16);
        string side = lane.Side switch { LaneSide.Expected => "e", LaneSide.Actual => "a", _ => "note" };
        string word = heading ? SideWord(lane.Side) + lane.Note : SideWord(lane.Side);
        string shown = WaveLabel.Short(lane.Name, NameCharacters);
        svg.Append(CultureInfo.InvariantCulture, $"""<text class="{(heading ? "group" : "name")}" x="{Edge + (heading ? 0 : 12)}" y="{baseline}">{Escape(shown)}""");
        svg.Append(word.Length > 0 ? $"""<tspan class="{side} word" dx="7">{Escape(word)}</tspan>""" : "").Append("</text>\n");
        switch (lane.Shape)
        {
            case LaneShape.Heading:
                Cards(svg, lane, places, gutter, y);
                break;
            case LaneShape.Bit:
                Bit(svg, lane, places, gutter, y);
                break;
            default:
                Vector(svg, panel, lane, places, gutter, y);
                break;
        }
    }

    private static void Cards(StringBuilder svg, WaveLane lane, int[] places, int gutter, int y)
    {
        foreach (WaveCard card in lane.Cards)
        {
            int x = gutter + places[card.Column];
            int height = (card.Lines.Count * CardLine) + (2 * CardPadding);
            int width = s_layout.Width(card) - 6;
            string box = !card.Different ? "card" : lane.Side == LaneSide.Expected ? "eb" : "ab";
            string text = !card.Different ? "says" : lane.Side == LaneSide.Expected ? "says el" : "says al";
            svg.Append(CultureInfo.InvariantCulture, $"""<g><title>{Escape(card.Text)}</title><rect class="{box}" x="{x + 2}" y="{y + 3}" width="{width}" height="{height}" rx="4"/><path class="stem" d="M{x + 2} {y + 6}v{height - 6}"/>""");
            for (int i = 0; i < card.Lines.Count; i++)
            {
                Text(svg, x + 9, y + 3 + CardPadding + 9 + (i * CardLine), text, card.Lines[i], newLine: false);
            }

            svg.Append("</g>\n");
        }
    }

    private static void Bit(StringBuilder svg, WaveLane lane, int[] places, int gutter, int y)
    {
        int low = y + LaneHeight - Level;
        int high = y + Level;
        StringBuilder line = new();
        StringBuilder fill = new();
        StringBuilder idle = new();
        StringBuilder unknown = new();
        int? at = null;
        foreach (WaveSpan span in lane.Spans)
        {
            int from = gutter + places[span.From];
            int to = gutter + places[span.To];
            if (span.Value is "0" or "1")
            {
                int level = span.Value == "1" ? high : low;
                int slope = at is null || at == level ? 0 : Slope;
                line.Append(CultureInfo.InvariantCulture, $"{(at is null ? 'M' : 'L')}{from + slope} {level}H{to}");
                if (span.Value == "1")
                {
                    fill.Append(CultureInfo.InvariantCulture, $"M{from} {low}L{from + slope} {high}H{to}V{low}z");
                }

                at = level;
                continue;
            }

            at = null;
            if (span.Value is null)
            {
                idle.Append(CultureInfo.InvariantCulture, $"M{from + 3} {y + (LaneHeight / 2)}H{to - 2}");
            }
            else
            {
                unknown.Append(CultureInfo.InvariantCulture, $"M{from} {high}H{to}V{low}H{from}z");
            }
        }

        Path(svg, "x", unknown);
        Path(svg, "idle", idle);
        Path(svg, "high", fill);
        Path(svg, lane.Side switch { LaneSide.Expected => "bit el1", LaneSide.Actual => "bit al1", _ => "bit" }, line);
    }

    private static void Vector(StringBuilder svg, WavePanel panel, WaveLane lane, int[] places, int gutter, int y)
    {
        int low = y + LaneHeight - Level + 1;
        int high = y + Level - 1;
        int middle = y + (LaneHeight / 2);
        StringBuilder idle = new();
        foreach (WaveSpan span in lane.Spans)
        {
            int from = gutter + places[span.From];
            int to = gutter + places[span.To];
            if (span.Value is null)
            {
                idle.Append(CultureInfo.InvariantCulture, $"M{from + 3} {middle}H{to - 2}");
                continue;
            }

            bool unknown = !span.Value.AsSpan().ContainsAnyExcept("xz_");
            string box = unknown ? "x" : !span.Different ? "bus" : lane.Side == LaneSide.Expected ? "eb" : "ab";
            string text = !span.Different ? "value" : lane.Side == LaneSide.Expected ? "value el" : "value al";
            string shape = string.Create(
                CultureInfo.InvariantCulture,
                $"""<path class="{box}" d="M{from} {middle}L{from + Slope} {high}H{to - Slope}L{to} {middle}L{to - Slope} {low}H{from + Slope}z"/>""");
            bool whole = span.Label == span.Value;
            svg.Append(whole ? "" : $"<g><title>{Escape(span.Value)}</title>").Append(shape);
            foreach (double at in LabelsOf(panel, places, span))
            {
                svg.Append(CultureInfo.InvariantCulture, $"""<text class="{text}" x="{gutter + at:0.#}" y="{y + 16}" text-anchor="middle">{Escape(span.Label)}</text>""");
            }

            svg.Append(whole ? "\n" : "</g>\n");
        }

        Path(svg, "idle", idle);
    }

    /// <summary>Middles of a value's label: before the first fold, and again in every long stretch, so that it is in sight wherever one looks.</summary>
    private static IEnumerable<double> LabelsOf(WavePanel panel, int[] places, WaveSpan span)
    {
        int from = places[span.From];
        for (int column = span.From; column < span.To; column++)
        {
            bool fold = panel.Columns[column].Count > 1;
            if (!fold && column + 1 < span.To)
            {
                continue;
            }

            int to = places[column + 1] - (fold ? FoldMiddle + FoldHalf : 0);
            int times = Math.Max(from == places[span.From] ? 1 : 0, (to - from) / LabelPitch);
            for (int i = 0; i < times; i++)
            {
                yield return from + ((to - from) * ((2 * i) + 1) / (2.0 * times));
            }

            from = places[column + 1] - FoldMiddle + FoldHalf;
        }
    }

    private static void Path(StringBuilder svg, string style, StringBuilder path)
    {
        if (path.Length > 0)
        {
            svg.Append(CultureInfo.InvariantCulture, $"""<path class="{style}" d="{path}"/>""").Append('\n');
        }
    }

    private static void Text(StringBuilder svg, int x, int y, string style, string text, bool newLine = true)
        => svg.Append(CultureInfo.InvariantCulture, $"""<text class="{style}" x="{x}" y="{y}">{Escape(text)}</text>""").Append(newLine ? "\n" : "");

    /// <summary>Text as XML 1.0 takes it, whatever the waveform's names hold.</summary>
    private static string Escape(string text)
    {
        StringBuilder escaped = new(text.Length);
        foreach (char character in text)
        {
            _ = character switch
            {
                '&' => escaped.Append("&amp;"),
                '<' => escaped.Append("&lt;"),
                '>' => escaped.Append("&gt;"),
                '"' => escaped.Append("&quot;"),
                < ' ' or (>= '\ud800' and <= '\udfff') or '\ufffe' or '\uffff' => escaped.Append('\ufffd'),
                _ => escaped.Append(character),
            };
        }

        return escaped.ToString();
    }
}
