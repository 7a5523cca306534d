// SPDX-License-Identifier: Apache-2.0
using System.Numerics;

namespace Cosim.Pcie;

/// <summary>Where requests and completions are cut (PCI Express Base Specification, 2.2.7 and 2.3.1.1).</summary>
public static class TlpSplit
{
    /// <summary>No request crosses a multiple of this address.</summary>
    public const int PageBytes = 4096;

    /// <summary>Read Completion Boundary of the root port.</summary>
    public const int ReadCompletionBoundary = 64;

    /// <summary>
    /// Bytes of the first request of a transfer: up to the next multiple of <paramref name="limit"/>, so that it neither
    /// exceeds the limit nor crosses 4 KiB.
    /// </summary>
    /// <param name="address">Address of the first byte.</param>
    /// <param name="remaining">Bytes left, at least 1.</param>
    /// <param name="limit">Max_Payload_Size or Max_Read_Request_Size in bytes: a power of two from 128 to 4096.</param>
    public static int NextRequest(ulong address, long remaining, int limit) =>
        (int)Math.Min(remaining, limit - (int)(address & (uint)(limit - 1)));

    /// <summary>
    /// Bytes of the first completion of a read: what Max_Payload_Size holds, ending on a Read Completion Boundary unless it
    /// is the last one.
    /// </summary>
    /// <param name="address">Address of the first byte.</param>
    /// <param name="remaining">Bytes left, at least 1.</param>
    /// <param name="maxPayload">Max_Payload_Size in bytes: a power of two from 128 to 4096.</param>
    public static int NextCompletion(ulong address, int remaining, int maxPayload)
    {
        int offset = (int)(address & 3);
        if (remaining <= maxPayload - offset)
        {
            return remaining;
        }

        ulong end = ((address & ~3ul) + (uint)maxPayload) & ~(ulong)(ReadCompletionBoundary - 1);
        return (int)(end - address);
    }

    /// <summary>Bytes of the first access when a processor reaches for a range: 8, 4, 2 or 1, naturally aligned.</summary>
    /// <param name="address">Address of the first byte.</param>
    /// <param name="remaining">Bytes left, at least 1.</param>
    public static int NextAccess(ulong address, int remaining)
    {
        int aligned = (int)Math.Min(8, address == 0 ? 8 : address & (~address + 1));
        return Math.Min(aligned, 1 << BitOperations.Log2((uint)Math.Min(remaining, 8)));
    }
}
