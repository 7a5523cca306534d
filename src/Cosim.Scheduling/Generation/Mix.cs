// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Cosim.Scheduling.Generation;

/// <summary>SplitMix64: the same numbers on every machine and in every version of .NET.</summary>
internal static class Mix
{
    /// <summary>The next number.</summary>
    public static ulong Next(ref ulong state) => Of(state += 0x9E37_79B9_7F4A_7C15);

    /// <summary>A number that looks random for each value.</summary>
    public static ulong Of(ulong x)
    {
        x = (x ^ (x >> 30)) * 0xBF58_476D_1CE4_E5B9;
        x = (x ^ (x >> 27)) * 0x94D0_49BB_1331_11EB;
        return x ^ (x >> 31);
    }

    /// <summary>Fills bytes that look random.</summary>
    public static void Fill(Span<byte> bytes, ulong seed)
    {
        Span<byte> last = stackalloc byte[8];
        while (bytes.Length >= 8)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(bytes, Next(ref seed));
            bytes = bytes[8..];
        }

        BinaryPrimitives.WriteUInt64LittleEndian(last, Next(ref seed));
        last[..bytes.Length].CopyTo(bytes);
    }

    /// <summary>So many bytes that look random.</summary>
    public static byte[] Bytes(int length, ulong seed)
    {
        byte[] bytes = new byte[length];
        Fill(bytes, seed);
        return bytes;
    }
}
