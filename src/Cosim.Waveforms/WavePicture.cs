// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Cosim.Waveforms.Drawing;

namespace Cosim.Waveforms;

/// <summary>Draws slices of waveforms.</summary>
/// <remarks>
/// A column is as wide as the labels in it need, cycles in which nothing changes are folded with their number, and what means
/// nothing because its <c>when</c> is not 1 is dotted. Packets stand beside their stream at the cycle of their last beat.
/// Same slice, same bytes.
/// </remarks>
public static class WavePicture
{
    /// <summary>Writes an SVG image: no scripts, no fonts or files of its own, light or dark as the reader's surroundings are.</summary>
    /// <param name="slice">What is drawn.</param>
    /// <param name="title">Its heading.</param>
    /// <param name="output">Where the image goes.</param>
    /// <exception cref="WaveformException">It would be beyond all bounds.</exception>
    public static void WriteSvg(WaveSlice slice, string title, TextWriter output)
        => WaveSvg.Write(title, Cycles(slice), [WavePanel.Of(slice, "")], output);

    /// <summary>Writes lines of text.</summary>
    /// <param name="slice">What is drawn.</param>
    /// <param name="title">Its heading.</param>
    /// <param name="output">Where the text goes.</param>
    /// <param name="width">Characters in a line; what is longer goes on below.</param>
    /// <param name="ascii">Whether to use ASCII only instead of line drawing characters.</param>
    /// <exception cref="WaveformException">It would be beyond all bounds.</exception>
    public static void WriteText(WaveSlice slice, string title, TextWriter output, int width = 120, bool ascii = false)
        => WaveText.Write(WavePanel.Of(slice, $"{title}: {Cycles(slice)}"), output, width, ascii);

    private static string Cycles(WaveSlice slice)
        => string.Create(CultureInfo.InvariantCulture, $"cycles {slice.From} to {slice.To - 1} of {slice.Cycles}");
}
