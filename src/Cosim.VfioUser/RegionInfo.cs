// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>One region of a device. All of it is reached by messages, even where it can be mapped too.</summary>
/// <param name="Size">Bytes; 0 where the device has no such region.</param>
/// <param name="Flags">What the client may do with it.</param>
public readonly record struct RegionInfo(ulong Size, RegionFlags Flags)
{
    /// <summary>What of it the client may map; null: nothing.</summary>
    public RegionMemory? Memory { get; init; }

    /// <summary>A region that can be read and written, or none at all when <paramref name="size"/> is 0.</summary>
    public static RegionInfo ReadWrite(ulong size) => new(size, size == 0 ? RegionFlags.None : RegionFlags.Read | RegionFlags.Write);
}
