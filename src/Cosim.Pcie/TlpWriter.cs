// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Cosim.Pcie;

/// <summary>
/// Writes packets as <see cref="Tlp"/> reads them. Each method fills the beginning of its span and returns the packet's length
/// in bytes; a span of <see cref="Tlp.MaxBytes"/> always suffices.
/// </summary>
public static class TlpWriter
{
    /// <summary>Writes a MRd for a range of bytes.</summary>
    /// <param name="packet">Destination.</param>
    /// <param name="requester">Requester ID.</param>
    /// <param name="tag">Tag.</param>
    /// <param name="address">Address of the first byte, any alignment.</param>
    /// <param name="length">Bytes, 1 to 4096, not crossing 4 KiB; 0: zero-length read (1 DW, no byte enabled).</param>
    public static int MemoryRead(Span<byte> packet, RoutingId requester, byte tag, ulong address, int length) =>
        MemoryRead(packet, requester, tag, address, ByteEnables.Dwords(address, length), ByteEnables.First(address, length), ByteEnables.Last(address, length));

    /// <summary>Writes a MRd of whole DWs with given byte enables.</summary>
    /// <param name="packet">Destination.</param>
    /// <param name="requester">Requester ID.</param>
    /// <param name="tag">Tag.</param>
    /// <param name="address">Address; its lowest 2 bits are dropped.</param>
    /// <param name="dwords">Length in DWs, 1 to 1024.</param>
    /// <param name="first">1st DW BE.</param>
    /// <param name="last">Last DW BE.</param>
    public static int MemoryRead(Span<byte> packet, RoutingId requester, byte tag, ulong address, int dwords, byte first, byte last)
    {
        WriteMemoryHeader(packet, 0x00, requester, tag, address, dwords, first, last);
        return Tlp.HeaderBytes;
    }

    /// <summary>Writes a MWr of a range of bytes.</summary>
    /// <param name="packet">Destination.</param>
    /// <param name="requester">Requester ID.</param>
    /// <param name="tag">Tag (without meaning for a posted request).</param>
    /// <param name="address">Address of the first byte, any alignment.</param>
    /// <param name="data">The bytes, 1 to 4096, not crossing 4 KiB.</param>
    public static int MemoryWrite(Span<byte> packet, RoutingId requester, byte tag, ulong address, ReadOnlySpan<byte> data)
    {
        int written = MemoryWrite(packet, requester, tag, address, data.Length, out Span<byte> payload);
        data.CopyTo(payload);
        return written;
    }

    /// <summary>Writes the header of a MWr and hands out the place of its data, for data that is still to be fetched.</summary>
    /// <param name="packet">Destination.</param>
    /// <param name="requester">Requester ID.</param>
    /// <param name="tag">Tag (without meaning for a posted request).</param>
    /// <param name="address">Address of the first byte, any alignment.</param>
    /// <param name="length">Bytes, 1 to 4096, not crossing 4 KiB.</param>
    /// <param name="data">Where the <paramref name="length"/> bytes are to be put; the padding around them is 0.</param>
    public static int MemoryWrite(Span<byte> packet, RoutingId requester, byte tag, ulong address, int length, out Span<byte> data)
    {
        int dwords = ByteEnables.Dwords(address, length);
        WriteMemoryHeader(packet, 0x40, requester, tag, address, dwords, ByteEnables.First(address, length), ByteEnables.Last(address, length));
        data = PlacePayload(packet, (int)(address & 3), length, dwords);
        return Tlp.HeaderBytes + (dwords * 4);
    }

    /// <summary>Writes a CfgRd0.</summary>
    /// <param name="packet">Destination.</param>
    /// <param name="requester">Requester ID.</param>
    /// <param name="tag">Tag.</param>
    /// <param name="target">Function asked.</param>
    /// <param name="register">Byte offset, 0 to 0xFFF; its lowest 2 bits are dropped.</param>
    /// <param name="first">1st DW BE.</param>
    public static int ConfigRead0(Span<byte> packet, RoutingId requester, byte tag, RoutingId target, int register, byte first)
    {
        WriteHeader(packet, 0x0400_0001, RequestDw1(requester, tag, first, 0), ConfigDw2(target, register), 0);
        return Tlp.HeaderBytes;
    }

    /// <summary>Writes a CfgWr0.</summary>
    /// <param name="packet">Destination.</param>
    /// <param name="requester">Requester ID.</param>
    /// <param name="tag">Tag.</param>
    /// <param name="target">Function asked.</param>
    /// <param name="register">Byte offset, 0 to 0xFFF; its lowest 2 bits are dropped.</param>
    /// <param name="first">1st DW BE.</param>
    /// <param name="value">The DW; bits 7:0 are the byte at the lowest offset.</param>
    public static int ConfigWrite0(Span<byte> packet, RoutingId requester, byte tag, RoutingId target, int register, byte first, uint value)
    {
        WriteHeader(packet, 0x4400_0001, RequestDw1(requester, tag, first, 0), ConfigDw2(target, register), 0);
        BinaryPrimitives.WriteUInt32LittleEndian(packet[Tlp.HeaderBytes..], value);
        return Tlp.HeaderBytes + 4;
    }

    /// <summary>Writes a Cpl: the answer to a write, or one that carries an error.</summary>
    /// <param name="packet">Destination.</param>
    /// <param name="completer">Completer ID.</param>
    /// <param name="status">Status.</param>
    /// <param name="requester">Requester ID of the request.</param>
    /// <param name="tag">Tag of the request.</param>
    /// <param name="byteCount">Bytes left of the request, 1 to 4096; 4 unless it was a memory read.</param>
    /// <param name="lowerAddress">Lower Address; 0 unless it was a memory read.</param>
    public static int Completion(
        Span<byte> packet, RoutingId completer, CompletionStatus status, RoutingId requester, byte tag, int byteCount = 4, byte lowerAddress = 0)
    {
        WriteHeader(packet, 0x0A00_0000, CompletionDw1(completer, status, byteCount), CompletionDw2(requester, tag, lowerAddress), 0);
        return Tlp.HeaderBytes;
    }

    /// <summary>Writes a CplD.</summary>
    /// <param name="packet">Destination.</param>
    /// <param name="completer">Completer ID.</param>
    /// <param name="requester">Requester ID of the request.</param>
    /// <param name="tag">Tag of the request.</param>
    /// <param name="byteCount">Bytes left of the request, these included: 1 to 4096.</param>
    /// <param name="lowerAddress">Lowest 7 bits of the address of the first byte.</param>
    /// <param name="data">The bytes from that address on, not padded.</param>
    public static int CompletionData(
        Span<byte> packet, RoutingId completer, RoutingId requester, byte tag, int byteCount, byte lowerAddress, ReadOnlySpan<byte> data)
    {
        int written = CompletionData(packet, completer, requester, tag, byteCount, lowerAddress, data.Length, out Span<byte> payload);
        data.CopyTo(payload);
        return written;
    }

    /// <summary>Writes the header of a CplD and hands out the place of its data, for data that is still to be fetched.</summary>
    /// <param name="packet">Destination.</param>
    /// <param name="completer">Completer ID.</param>
    /// <param name="requester">Requester ID of the request.</param>
    /// <param name="tag">Tag of the request.</param>
    /// <param name="byteCount">Bytes left of the request, these included: 1 to 4096.</param>
    /// <param name="lowerAddress">Lowest 7 bits of the address of the first byte.</param>
    /// <param name="length">Bytes of this completion.</param>
    /// <param name="data">Where the <paramref name="length"/> bytes are to be put; the padding around them is 0.</param>
    public static int CompletionData(
        Span<byte> packet, RoutingId completer, RoutingId requester, byte tag, int byteCount, byte lowerAddress, int length, out Span<byte> data)
    {
        int dwords = ByteEnables.Dwords(lowerAddress, length);
        WriteHeader(
            packet,
            0x4A00_0000 | (uint)(dwords & 0x3FF),
            CompletionDw1(completer, CompletionStatus.SuccessfulCompletion, byteCount),
            CompletionDw2(requester, tag, lowerAddress),
            0);
        data = PlacePayload(packet, lowerAddress & 3, length, dwords);
        return Tlp.HeaderBytes + (dwords * 4);
    }

    /// <summary>Writes a Msg without data, routed "local, terminate at receiver" as the INTx messages are.</summary>
    /// <param name="packet">Destination.</param>
    /// <param name="requester">Requester ID.</param>
    /// <param name="code">Message code.</param>
    public static int Message(Span<byte> packet, RoutingId requester, MessageCode code)
    {
        WriteHeader(packet, 0x3400_0000, ((uint)requester.Value << 16) | (byte)code, 0, 0);
        return Tlp.HeaderBytes;
    }

    private static void WriteMemoryHeader(
        Span<byte> packet, uint fmtType, RoutingId requester, byte tag, ulong address, int dwords, byte first, byte last)
    {
        uint low = (uint)address & ~3u;
        uint high = (uint)(address >> 32);
        // Addresses below 4 GiB must use the short header (2.2.4.1).
        uint dw0 = (fmtType << 24) | (uint)(dwords & 0x3FF) | (high != 0 ? 0x2000_0000u : 0);
        WriteHeader(packet, dw0, RequestDw1(requester, tag, first, last), high != 0 ? high : low, high != 0 ? low : 0);
    }

    private static Span<byte> PlacePayload(Span<byte> packet, int offset, int length, int dwords)
    {
        Span<byte> payload = packet.Slice(Tlp.HeaderBytes, dwords * 4);
        payload[..offset].Clear();
        payload[(offset + length)..].Clear();
        return payload.Slice(offset, length);
    }

    private static uint RequestDw1(RoutingId requester, byte tag, byte first, byte last) =>
        ((uint)requester.Value << 16) | ((uint)tag << 8) | ((uint)(last & 0xF) << 4) | (uint)(first & 0xF);

    private static uint ConfigDw2(RoutingId target, int register) => ((uint)target.Value << 16) | (uint)(register & 0xFFC);

    private static uint CompletionDw1(RoutingId completer, CompletionStatus status, int byteCount) =>
        ((uint)completer.Value << 16) | ((uint)status << 13) | (uint)(byteCount & 0xFFF);

    private static uint CompletionDw2(RoutingId requester, byte tag, byte lowerAddress) =>
        ((uint)requester.Value << 16) | ((uint)tag << 8) | (uint)(lowerAddress & 0x7F);

    private static void WriteHeader(Span<byte> packet, uint dw0, uint dw1, uint dw2, uint dw3)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(packet, dw0);
        BinaryPrimitives.WriteUInt32LittleEndian(packet[4..], dw1);
        BinaryPrimitives.WriteUInt32LittleEndian(packet[8..], dw2);
        BinaryPrimitives.WriteUInt32LittleEndian(packet[12..], dw3);
    }
}
