// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>A range of DMA addresses, by its ends: one that reaches up to 2^64 has no size in 64 bits more.</summary>
/// <param name="First">First address.</param>
/// <param name="Last">Last address, included.</param>
public readonly record struct DmaRange(ulong First, ulong Last)
{
    /// <summary>The range of <paramref name="size"/> bytes from <paramref name="address"/>.</summary>
    /// <returns>False for an empty range and for one that ends beyond 2^64.</returns>
    public static bool TryCreate(ulong address, ulong size, out DmaRange range)
    {
        range = new DmaRange(address, unchecked(address + size - 1));
        return size != 0 && range.Last >= address;
    }
}
