// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser.Internal;

/// <summary>One request the device has not completed.</summary>
internal struct Request
{
    internal uint Generation;
    internal bool Active;
    internal ushort MessageId;
    internal VfioUserCommand Command;
    internal bool NoReply;

    /// <summary>Region accesses, and the entries of a REGION_WRITE_MULTI, in <see cref="Remaining"/>.</summary>
    internal uint Region;
    internal ulong Offset;
    internal uint Count;
    internal int Remaining;
    internal Errno Error;

    /// <summary>DMA_UNMAP: the range, and the fields that its reply repeats.</summary>
    internal DmaRange Range;
    internal uint UnmapArgsz;
    internal uint UnmapFlags;
    internal ulong UnmapAddress;
    internal ulong UnmapSize;
}
