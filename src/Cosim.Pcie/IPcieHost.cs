// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Pcie;

/// <summary>How an access of the FPGA to a host's memory ended.</summary>
public enum DmaStatus
{
    /// <summary>All bytes were moved.</summary>
    Ok,

    /// <summary>The range, or a part of it, is not memory of the host that the function may reach: UR. Nothing was moved.</summary>
    Unmapped,

    /// <summary>The memory is mapped but could not be reached (its file was shortened): CA. What was moved is undefined.</summary>
    Faulted,

    /// <summary>The host has to be asked for the range: <see cref="IPcieHost.BeginRead"/>, <see cref="IPcieHost.BeginWrite"/>. Nothing was moved.</summary>
    Remote,
}

/// <summary>What a root port needs of the host of one function: its memory and its interrupt lines.</summary>
/// <remarks>
/// Called by the thread that owns the root port, from within its methods; an implementation must not call back into the root
/// port. Accesses come in the order of the TLPs.
/// </remarks>
public interface IPcieHost
{
    /// <summary>Reads memory. Naturally aligned parts of 2, 4 and 8 bytes are read by single accesses, in ascending order.</summary>
    /// <param name="address">Address as the function sees it (IOVA), any alignment.</param>
    /// <param name="data">Where the bytes go: 1 to 4096, never crossing 4 KiB.</param>
    DmaStatus Read(ulong address, Span<byte> data);

    /// <summary>Writes memory. Naturally aligned parts of 2, 4 and 8 bytes are written by single accesses, in ascending order.</summary>
    /// <param name="address">Address as the function sees it (IOVA), any alignment.</param>
    /// <param name="data">The bytes: 1 to 4096, never crossing 4 KiB.</param>
    DmaStatus Write(ulong address, ReadOnlySpan<byte> data);

    /// <summary>Whether an access to the range would end with <see cref="DmaStatus.Remote"/>.</summary>
    /// <param name="address">Address as the function sees it (IOVA), any alignment.</param>
    /// <param name="length">Bytes, at least 1.</param>
    bool IsRemote(ulong address, int length) => false;

    /// <summary>
    /// Asks the host for memory. Ends with <see cref="RootPort.RemoteReadDone"/>, later. The host carries out what it is asked for one
    /// function in the order it is asked.
    /// </summary>
    /// <param name="address">Address as the function sees it (IOVA), any alignment.</param>
    /// <param name="length">Bytes: 1 to 4096, never crossing 4 KiB.</param>
    /// <param name="token">Given back at the end.</param>
    /// <returns>Ok when it is under way, otherwise why it is not.</returns>
    DmaStatus BeginRead(ulong address, int length, ulong token) => DmaStatus.Faulted;

    /// <summary>Gives the host bytes for its memory. Ends with <see cref="RootPort.RemoteWriteDone"/>, later; see <see cref="BeginRead"/>.</summary>
    /// <param name="address">Address as the function sees it (IOVA), any alignment.</param>
    /// <param name="data">The bytes: 1 to 4096, never crossing 4 KiB; valid during the call.</param>
    /// <param name="token">Given back at the end.</param>
    /// <returns>Ok when it is under way, otherwise why it is not.</returns>
    DmaStatus BeginWrite(ulong address, ReadOnlySpan<byte> data, ulong token) => DmaStatus.Faulted;

    /// <summary>
    /// Whether what the host reads from the FPGA is kept from it until the writes before the completion have reached its memory. Only for a
    /// host that carries out what it is asked for while it waits for a read: any other would wait for itself.
    /// </summary>
    bool HoldsCompletions => false;

    /// <summary>A full memory fence: what was written is visible to the host before anything later is read or signalled.</summary>
    void Fence();

    /// <summary>Raises a MSI-X vector that the host has armed.</summary>
    /// <param name="vector">Vector number, below the function's table size.</param>
    void MsixInterrupt(int vector);

    /// <summary>
    /// With true, triggers INTx: the line is high and was not masked; it counts as masked from here until
    /// <see cref="RootPort.UnmaskIntx"/>. With false, tells that the line has fallen.
    /// </summary>
    void Intx(bool asserted);
}
