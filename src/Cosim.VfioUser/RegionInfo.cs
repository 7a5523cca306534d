// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>One region of a device. Regions are reached by messages only; none can be mapped.</summary>
/// <param name="Size">Bytes; 0 where the device has no such region.</param>
/// <param name="Flags">What the client may do with it.</param>
public readonly record struct RegionInfo(ulong Size, RegionFlags Flags)
{
    /// <summary>A region that can be read and written, or none at all when <paramref name="size"/> is 0.</summary>
    public static RegionInfo ReadWrite(ulong size) => new(size, size == 0 ? RegionFlags.None : RegionFlags.Read | RegionFlags.Write);
}
