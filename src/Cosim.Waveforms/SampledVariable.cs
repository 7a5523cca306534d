// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms;

/// <summary>A variable's value now and before the changes of the time step, as characters 0, 1, x and z from the left.</summary>
internal sealed class SampledVariable
{
    public SampledVariable(int width)
    {
        Bits = new byte[width];
        Bits.AsSpan().Fill((byte)'x');
        Before = [.. Bits];
    }

    public byte[] Bits { get; }

    public byte[] Before { get; }

    /// <summary>Whether <see cref="Before"/> holds the value before this time step.</summary>
    public bool Changed { get; set; }

    /// <summary>Value before this time step.</summary>
    public ReadOnlySpan<byte> Settled => Changed ? Before : Bits;

    /// <summary>Whether all bits were the given one before this time step.</summary>
    public bool Is(char bit) => !Settled.ContainsAnyExcept((byte)bit);
}
