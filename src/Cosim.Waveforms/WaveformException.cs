// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms;

/// <summary>A waveform that cannot be read: what is wrong with it, and in which line.</summary>
public sealed class WaveformException : Exception
{
    /// <summary>Makes the exception.</summary>
    /// <param name="line">Line of the file, counted from 1; 0 where no line is to blame.</param>
    /// <param name="reason">What was found and what was expected.</param>
    public WaveformException(long line, string reason)
        : base(line > 0 ? $"line {line}: {reason}" : reason) => Line = line;

    /// <summary>Line of the file, counted from 1; 0 where no line is to blame.</summary>
    public long Line { get; }
}
