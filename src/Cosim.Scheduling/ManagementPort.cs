// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;

namespace Cosim.Scheduling;

/// <summary>An event of the FPGA's management port (<c>hdl/CONTRACT.md</c>, section 4).</summary>
/// <param name="Opcode">One of <see cref="RegisterMap.Opcode"/>.</param>
/// <param name="Port">PCIe port it concerns.</param>
/// <param name="Function">Function on port 0, or device for a doorbell.</param>
/// <param name="Word3">DW3 of the header, by opcode.</param>
/// <param name="Word4">DW4 of the header, by opcode.</param>
public readonly record struct ManagementEvent(uint Opcode, int Port, int Function, uint Word3, uint Word4);

/// <summary>The scheduler's end of the management port: registers, interrupts, and packets for <see cref="DmaPort"/>.</summary>
/// <remarks>Owned by the bridge's thread. Register reads end in the order in which they were made.</remarks>
public sealed class ManagementPort
{
    private const int HeaderBytes = 32;

    private readonly IFpga _fpga;
    private readonly int _port;
    private readonly uint _latency;
    private readonly byte[] _packet = new byte[HeaderBytes + 4096];
    private readonly Queue<TaskCompletionSource<uint>> _reads = new();
    private ulong _now;

    /// <summary>Makes the port.</summary>
    /// <param name="fpga">FPGA with a management port.</param>
    /// <param name="latency">Cycles between an event and the first command that it causes.</param>
    public ManagementPort(IFpga fpga, uint latency)
    {
        _fpga = fpga;
        _port = fpga.PortCount - 1;
        _latency = latency;
        Dma = new DmaPort(this);
    }

    /// <summary>The DMA engine behind this port.</summary>
    public DmaPort Dma { get; }

    /// <summary>Who is told of events.</summary>
    public Action<ManagementEvent>? EventReceived { get; set; }

    /// <summary>Packets received that fit no command; each is reported here.</summary>
    public Action<string>? Report { get; set; }

    /// <summary>Takes a packet that left the management port.</summary>
    /// <param name="packet">Header of 32 bytes and payload.</param>
    /// <param name="cycle">Cycle in which it left.</param>
    public void Receive(ReadOnlySpan<byte> packet, ulong cycle)
    {
        if (packet.Length < HeaderBytes)
        {
            Report?.Invoke($"management packet of {packet.Length} bytes; expected at least {HeaderBytes}");
            return;
        }

        _now = cycle + _latency;
        uint word0 = Word(packet, 0);
        uint word2 = Word(packet, 2);
        switch (word0 & 0xFF)
        {
            case RegisterMap.Opcode.RegData:
                if (_reads.TryDequeue(out TaskCompletionSource<uint>? read))
                {
                    read.SetResult(Word(packet, 4));
                }
                else
                {
                    Report?.Invoke($"REG_DATA for 0x{word2:X} that nobody asked for");
                }

                break;
            case RegisterMap.Opcode.DmaDone:
                Dma.Done((ushort)(word0 >> 16), (CopyStatus)(byte)(word0 >> 8), packet[HeaderBytes..]);
                break;
            default:
                EventReceived?.Invoke(new ManagementEvent(
                    word0 & 0xFF, (int)(word2 & 0xF), (int)((word2 >> 8) & 0xFF), Word(packet, 3), Word(packet, 4)));
                break;
        }
    }

    /// <summary>Everything asked before the FPGA's reset or loss ends: reads with 0, copies with <see cref="CopyStatus.Lost"/>.</summary>
    public void Abandon()
    {
        while (_reads.TryDequeue(out TaskCompletionSource<uint>? read))
        {
            read.SetResult(0);
        }

        Dma.Abandon();
    }

    /// <summary>Writes a register.</summary>
    /// <param name="address">Byte address, <see cref="RegisterMap.Management"/>.</param>
    /// <param name="value">Value.</param>
    public void WriteRegister(uint address, uint value)
    {
        Span<byte> header = Header(RegisterMap.Opcode.RegWrite, 0, 0, 0);
        SetWord(header, 2, address);
        SetWord(header, 4, value);
        Send(HeaderBytes);
    }

    /// <summary>Reads a register. The task ends on the bridge's thread.</summary>
    public Task<uint> ReadRegister(uint address)
    {
        Span<byte> header = Header(RegisterMap.Opcode.RegRead, 0, 0, 0);
        SetWord(header, 2, address);
        Send(HeaderBytes);
        TaskCompletionSource<uint> read = new();
        _reads.Enqueue(read);
        return read.Task;
    }

    /// <summary>Raises the interrupt of a queue (or, with index 0xFFFF, of a configuration change) on port 0, or of a vector on port 1.</summary>
    public void Interrupt(int port, int function, ushort index)
    {
        Span<byte> header = Header(RegisterMap.Opcode.Interrupt, 0, 0, 0);
        SetWord(header, 2, (uint)port | ((uint)function << 8));
        SetWord(header, 3, index);
        Send(HeaderBytes);
    }

    /// <summary>Fills scratch memory.</summary>
    /// <param name="offset">Offset in bytes, a multiple of 32.</param>
    /// <param name="data">Up to 4096 bytes; padded to a multiple of 4.</param>
    internal void WriteScratch(uint offset, ReadOnlySpan<byte> data)
    {
        int length = (data.Length + 3) & ~3;
        Span<byte> header = Header(RegisterMap.Opcode.MemWrite, 0, 0, (uint)length);
        SetWord(header, 2, offset);
        data.CopyTo(_packet.AsSpan(HeaderBytes));
        _packet.AsSpan(HeaderBytes + data.Length, length - data.Length).Clear();
        Send(HeaderBytes + length);
    }

    internal void StartDma(ushort tag, in DmaCommand command)
    {
        Span<byte> header = Header(RegisterMap.Opcode.Dma, 0, tag, command.Length);
        SetWord(header, 2, (uint)command.Source | ((uint)command.Destination << 4)
            | ((uint)command.SourceFunction << 8) | ((uint)command.DestinationFunction << 16));
        SetWord(header, 3, command.Return ? 1u : 0u);
        BinaryPrimitives.WriteUInt64LittleEndian(header[16..], command.SourceAddress);
        BinaryPrimitives.WriteUInt64LittleEndian(header[24..], command.DestinationAddress);
        Send(HeaderBytes);
    }

    private static uint Word(ReadOnlySpan<byte> packet, int index) => BinaryPrimitives.ReadUInt32LittleEndian(packet[(4 * index)..]);

    private static void SetWord(Span<byte> packet, int index, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(packet[(4 * index)..], value);

    private Span<byte> Header(uint opcode, byte flags, ushort tag, uint length)
    {
        Span<byte> header = _packet.AsSpan(0, HeaderBytes);
        header.Clear();
        SetWord(header, 0, opcode | ((uint)flags << 8) | ((uint)tag << 16));
        SetWord(header, 1, length);
        return header;
    }

    private void Send(int length) => _fpga.Send(_port, _packet.AsSpan(0, length), Math.Max(_now, _fpga.Cycle));
}
