// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>
/// A PCI device served by a <see cref="VfioUserServer"/>. All calls come on the thread that runs the event loop, in the
/// order of the client's requests.
/// </summary>
/// <remarks>
/// Every token is to be completed once, at once or later, in any order. Until a reset or an unmap is completed nothing
/// further of that client arrives.
/// </remarks>
public interface IVfioUserDevice
{
    /// <summary>Describes a region; constant while a client is connected.</summary>
    /// <param name="index">0 to <see cref="VfioPci.RegionCount"/> - 1.</param>
    RegionInfo GetRegion(int index);

    /// <summary>Describes an interrupt index; constant for the life of the server.</summary>
    /// <param name="index">0 to <see cref="VfioPci.IrqCount"/> - 1.</param>
    IrqInfo GetIrq(int index);

    /// <summary>Starts a read; ends with <see cref="VfioUserServer.CompleteRead"/> or <see cref="VfioUserServer.Fail"/>.</summary>
    void Read(in RegionAccess access);

    /// <summary>Starts a write; ends with <see cref="VfioUserServer.CompleteWrite"/> or <see cref="VfioUserServer.Fail"/>, posted or not.</summary>
    /// <param name="access">Where.</param>
    /// <param name="data">The bytes; valid during the call only.</param>
    void Write(in RegionAccess access, ReadOnlySpan<byte> data);

    /// <summary>Starts a reset; ends with <see cref="VfioUserServer.CompleteReset"/> or <see cref="VfioUserServer.Fail"/>.</summary>
    void Reset(RequestToken token);

    /// <summary>
    /// The client takes a range back. The map still holds it, for DMA under way; <see cref="VfioUserServer.CompleteUnmap"/>
    /// removes it and answers the client.
    /// </summary>
    void DmaUnmapping(DmaRange range, RequestToken token);

    /// <summary>A range was added to the map.</summary>
    void DmaMapped(DmaRange range)
    {
    }

    /// <summary>A <see cref="VfioUserServer.BeginDmaRead"/> has ended.</summary>
    /// <param name="token">What the device gave with it.</param>
    /// <param name="result">Ok; Unmapped, Denied or Faulted as the client says; Faulted too when it does not answer, resets the device or leaves; Unmapped when it took the range back.</param>
    /// <param name="data">If Ok, all the bytes; valid during the call.</param>
    void DmaReadDone(ulong token, DmaResult result, ReadOnlySpan<byte> data)
    {
    }

    /// <summary>A <see cref="VfioUserServer.BeginDmaWrite"/> has ended; see <see cref="DmaReadDone"/>.</summary>
    void DmaWriteDone(ulong token, DmaResult result)
    {
    }

    /// <summary>
    /// Registers whose writes the client may turn into events (GET_REGION_IO_FDS): each event then is a posted write of the
    /// doorbell's bytes. Constant while a client is connected.
    /// </summary>
    /// <param name="region">Region index; see <see cref="VfioPci"/>.</param>
    IReadOnlyList<Doorbell> GetDoorbells(int region) => [];

    /// <summary>The client set up, masked or unmasked interrupts.</summary>
    /// <param name="index">Interrupt index; see <see cref="VfioPci"/>.</param>
    /// <param name="start">First interrupt concerned.</param>
    /// <param name="count">How many, at least 1.</param>
    /// <param name="change">What was done to them.</param>
    void InterruptsChanged(int index, int start, int count, IrqChange change)
    {
    }

    /// <summary>A client has been told the version: its requests follow.</summary>
    void ClientConnected()
    {
    }

    /// <summary>The client is gone, and with it its map, its interrupts and its requests; their tokens are dead.</summary>
    void ClientDisconnected()
    {
    }
}
