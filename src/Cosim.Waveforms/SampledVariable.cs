// SPDX-License-Identifier: Apache-2.0
using System.Numerics;
using System.Text;

namespace Cosim.Waveforms;

/// <summary>A variable's value now and before the changes of the time step, as characters 0, 1, x and z from the left.</summary>
internal sealed class SampledVariable
{
    private readonly IReadOnlyList<string>? literals;

    public SampledVariable(int width, IReadOnlyList<string>? literals = null)
    {
        this.literals = literals;
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

    /// <summary>Bits that a synthesised enumeration takes.</summary>
    public static int Width(IReadOnlyList<string> literals) => Math.Max(1, 32 - BitOperations.LeadingZeroCount((uint)literals.Count - 1));

    /// <summary>Whether all bits were the given one before this time step.</summary>
    public bool Is(char bit) => !Settled.ContainsAnyExcept((byte)bit);

    /// <summary>Takes a literal by its name: the bits are its position, as in synthesis.</summary>
    public void SetLiteral(ReadOnlySpan<byte> name)
    {
        string text = Encoding.Latin1.GetString(name);
        int position = 0;
        while (position < literals!.Count && !literals[position].Equals(text, StringComparison.OrdinalIgnoreCase))
        {
            position++;
        }

        if (position == literals.Count)
        {
            throw new WaveformException(0, $"'{text}' is none of the literals {string.Join(", ", literals)}.");
        }

        for (int bit = 0; bit < Bits.Length; bit++)
        {
            Bits[^(bit + 1)] = (byte)('0' + ((position >> bit) & 1));
        }
    }
}
