// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>What a client without shared memory, or with more than it shares, lets the device reach by DMA_READ and DMA_WRITE.</summary>
/// <remarks>Called on the thread that uses the <see cref="VfioUserClient"/>, while it waits for an answer or in <see cref="VfioUserClient.Serve"/>.</remarks>
public interface IVfioUserClientMemory
{
    /// <summary>Reads.</summary>
    /// <param name="address">DMA address of the first byte.</param>
    /// <param name="destination">Takes as many bytes as it has.</param>
    /// <returns>None, or what the device is told instead: EFAULT, EACCES, ENODEV …</returns>
    Errno Read(ulong address, Span<byte> destination);

    /// <summary>Writes.</summary>
    /// <param name="address">DMA address of the first byte.</param>
    /// <param name="source">The bytes; valid during the call.</param>
    /// <returns>None, or what the device is told instead.</returns>
    Errno Write(ulong address, ReadOnlySpan<byte> source);
}
