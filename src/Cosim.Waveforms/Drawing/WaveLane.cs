// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms.Drawing;

/// <summary>What a lane is drawn as.</summary>
internal enum LaneShape
{
    /// <summary>Name of a group, with its packets.</summary>
    Heading,

    /// <summary>A line that is high, low or neither.</summary>
    Bit,

    /// <summary>Values in boxes.</summary>
    Vector,
}

/// <summary>Which of two waveforms a lane shows.</summary>
internal enum LaneSide
{
    /// <summary>The only one, or both because they are alike.</summary>
    Both,

    /// <summary>What is kept.</summary>
    Expected,

    /// <summary>What was found.</summary>
    Actual,
}

/// <summary>One cycle, or several in which nothing changes and that are drawn folded.</summary>
/// <param name="Cycle">First cycle.</param>
/// <param name="Count">Cycles.</param>
internal readonly record struct WaveColumn(ulong Cycle, ulong Count);

/// <summary>A value over some columns.</summary>
/// <param name="From">First column.</param>
/// <param name="To">Column after the last one.</param>
/// <param name="Value">Value; null where there is none or it means nothing.</param>
/// <param name="Label">What of the value is written.</param>
/// <param name="Different">Whether the other waveform has another value.</param>
internal sealed record WaveSpan(int From, int To, string? Value, string Label, bool Different);

/// <summary>A packet's description in lines, at the column of its last beat.</summary>
internal sealed record WaveCard(int Column, IReadOnlyList<string> Lines, string Text, bool Different);

/// <summary>One row of a picture.</summary>
internal sealed record WaveLane(string Name, LaneShape Shape, LaneSide Side, IReadOnlyList<WaveSpan> Spans, IReadOnlyList<WaveCard> Cards)
{
    /// <summary>A word beside the name of a heading; empty: none.</summary>
    public string Note { get; init; } = "";

    /// <summary>Stream that it belongs to; empty: none.</summary>
    public string Stream { get; init; } = "";

    /// <summary>Lines of text that the lane needs.</summary>
    public int Lines => Cards.Count == 0 ? 1 : Cards.Max(c => c.Lines.Count);
}
