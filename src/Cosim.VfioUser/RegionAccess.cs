// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>One read or write of a device region, inside the region's bounds and in a direction it allows.</summary>
public readonly struct RegionAccess
{
    internal RegionAccess(RequestToken token, int region, ulong offset, int count, bool posted)
    {
        Token = token;
        Region = region;
        Offset = offset;
        Count = count;
        Posted = posted;
    }

    /// <summary>What to complete the access with, posted writes too.</summary>
    public RequestToken Token { get; }

    /// <summary>Region index; see <see cref="VfioPci"/>.</summary>
    public int Region { get; }

    /// <summary>First byte within the region; of any alignment.</summary>
    public ulong Offset { get; }

    /// <summary>Bytes, at least 1.</summary>
    public int Count { get; }

    /// <summary>A write whose end the client does not wait for (No_reply).</summary>
    public bool Posted { get; }
}
