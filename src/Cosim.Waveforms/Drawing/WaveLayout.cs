// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms.Drawing;

/// <summary>Places columns so that every label fits between the changes beside it.</summary>
/// <param name="Column">Least width of a column.</param>
/// <param name="Fold">Least width of folded columns.</param>
/// <param name="Character">Width of a value's character.</param>
/// <param name="Margin">What a value needs around its text.</param>
/// <param name="CardCharacter">Width of a card's character.</param>
/// <param name="CardMargin">What a card needs around its text.</param>
/// <param name="FoldTail">What of folded columns is not free for labels, from their right end; 0: they are free.</param>
internal sealed record WaveLayout(int Column, int Fold, double Character, int Margin, double CardCharacter, int CardMargin, int FoldTail)
{
    /// <summary>Width of a card.</summary>
    public int Width(WaveCard card) => CardMargin + (int)Math.Ceiling(card.Lines.Max(l => l.Length) * CardCharacter);

    /// <summary>The column after the first folded one of a span, before which its label stands; the span's end where none is folded.</summary>
    public int FirstFold(WavePanel panel, WaveSpan span)
    {
        int at = span.From;
        while (FoldTail > 0 && at < span.To && panel.Columns[at].Count == 1)
        {
            at++;
        }

        return FoldTail > 0 ? Math.Min(at + 1, span.To) : span.To;
    }

    /// <summary>Where each column begins, and where the last one ends.</summary>
    public int[] Place(WavePanel panel)
    {
        List<(int From, int Width)>[] needs = [.. Enumerable.Range(0, panel.Columns.Count + 1).Select(_ => new List<(int, int)>())];
        foreach (WaveLane lane in panel.Lanes)
        {
            foreach (WaveSpan span in lane.Shape == LaneShape.Vector ? lane.Spans : [])
            {
                int width = Margin + (int)Math.Ceiling(span.Label.Length * Character);
                int fold = FirstFold(panel, span);
                needs[fold].Add((span.From, width + (panel.Columns[fold - 1].Count > 1 ? FoldTail : 0)));
            }

            for (int i = 0; i < lane.Cards.Count; i++)
            {
                int next = i + 1 < lane.Cards.Count ? lane.Cards[i + 1].Column : panel.Columns.Count;
                needs[next].Add((lane.Cards[i].Column, Width(lane.Cards[i])));
            }
        }

        int[] places = new int[panel.Columns.Count + 1];
        for (int i = 1; i < places.Length; i++)
        {
            places[i] = places[i - 1] + (panel.Columns[i - 1].Count > 1 ? Fold : Column);
            foreach ((int from, int width) in needs[i])
            {
                places[i] = Math.Max(places[i], places[from] + width);
            }
        }

        return places;
    }
}
