// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Cosim.Waveforms;

/// <summary>A stream or signal as a canonical waveform declares it.</summary>
/// <param name="Path">Name of the stream, or hierarchical name of the signal.</param>
/// <param name="IsStream">Whether it is a stream.</param>
/// <param name="Width">Bits of a signal; 0 where it is an enumeration, or a stream.</param>
/// <param name="When">Signal that says when this one means anything, or null.</param>
internal sealed record CanonicalSignal(string Path, bool IsStream, int Width, string? When)
{
    /// <summary>What it is shown with: a stream stands for itself, a signal in its scope; empty at the top.</summary>
    public string Group => IsStream ? Path : Path[..Math.Max(0, Path.LastIndexOf('.'))];

    /// <summary>Takes the line of a declaration apart.</summary>
    public static CanonicalSignal Parse(string declaration)
    {
        string[] words = declaration.Split(' ');
        bool stream = words[0] == "stream";
        int when = stream ? -1 : Array.IndexOf(words, "when");
        int width = !stream && words.Length > 2 && int.TryParse(words[2], NumberStyles.None, CultureInfo.InvariantCulture, out int bits) ? bits : 0;
        return new CanonicalSignal(words[1], stream, width, when > 0 && when + 1 < words.Length ? words[when + 1] : null);
    }
}
