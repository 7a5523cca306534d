// SPDX-License-Identifier: Apache-2.0
using System.Numerics;

namespace Cosim.Pcie;

/// <summary>Byte enables of requests and what completions derive from them (PCI Express Base Specification, 2.2.5 and 2.3.1.1).</summary>
public static class ByteEnables
{
    /// <summary>Number of DWs that hold <paramref name="length"/> bytes from <paramref name="address"/> on; at least 1.</summary>
    public static int Dwords(ulong address, int length) => Math.Max(1, ((int)(address & 3) + length + 3) >> 2);

    /// <summary>1st DW BE of a request for <paramref name="length"/> bytes from <paramref name="address"/> on; 0 for a length of 0.</summary>
    public static byte First(ulong address, int length)
    {
        int offset = (int)(address & 3);
        int bytes = Math.Min(length, 4 - offset);
        return (byte)(((1 << bytes) - 1) << offset);
    }

    /// <summary>Last DW BE of a request for <paramref name="length"/> bytes from <paramref name="address"/> on; 0 if it has one DW.</summary>
    public static byte Last(ulong address, int length)
    {
        if (Dwords(address, length) == 1)
        {
            return 0;
        }

        int end = (int)((address + (ulong)length) & 3);
        return (byte)(end == 0 ? 0xF : (1 << end) - 1);
    }

    /// <summary>Offset of the first enabled byte within the first DW; 0 if none is enabled.</summary>
    public static int Offset(byte first) => first == 0 ? 0 : BitOperations.TrailingZeroCount((uint)first);

    /// <summary>
    /// Byte Count of the only or first completion of a memory read: from the first to the last enabled byte, 1 for a
    /// zero-length read.
    /// </summary>
    /// <param name="dwords">Length of the request in DWs.</param>
    /// <param name="first">1st DW BE.</param>
    /// <param name="last">Last DW BE; 0 if <paramref name="dwords"/> is 1.</param>
    public static int ByteCount(int dwords, byte first, byte last)
    {
        if (dwords == 1)
        {
            return first == 0 ? 1 : BitOperations.Log2(first) - Offset(first) + 1;
        }

        int missingAtEnd = last == 0 ? 0 : 3 - BitOperations.Log2(last);
        return (dwords * 4) - Offset(first) - missingAtEnd;
    }

    /// <summary>Lower Address of the only or first completion of a memory read.</summary>
    /// <param name="address">Address of the request; its lowest 2 bits do not matter.</param>
    /// <param name="first">1st DW BE.</param>
    public static byte LowerAddress(ulong address, byte first) => (byte)(((int)address & 0x7C) | Offset(first));
}
