// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Cosim.Fpga.Model;

/// <summary>The management port: commands, registers (block MG) and events (CONTRACT.md, 4).</summary>
internal sealed class ManagementPort
{
    /// <summary>Bytes of a header.</summary>
    public const int HeaderBytes = 32;

    /// <summary>Value of the ID registers.</summary>
    public const uint Identification = 0x4353_494D;

    /// <summary>Value of the VERSION registers.</summary>
    public const uint MapVersion = 0x0001_0000;

    private const uint DataWidthBits = 256;
    private const uint FunctionStride = 0x1_0000;
    private const uint MaxTransfer = 4096;

    private readonly ModelClock clock;
    private readonly ModelPort port;
    private readonly PcieEndpoint host1;
    private readonly BackEndFunction backEnd;
    private readonly DmaEngine dma;
    private readonly ModelEvents events;
    private readonly int queues;

    public ManagementPort(ModelClock clock, ModelPort port, PcieEndpoint host1, BackEndFunction backEnd, DmaEngine dma, ModelEvents events, int queues)
    {
        this.clock = clock;
        this.port = port;
        this.host1 = host1;
        this.backEnd = backEnd;
        this.dma = dma;
        this.events = events;
        this.queues = queues;
    }

    /// <summary>Next cycle in which an event leaves for the stream.</summary>
    public ulong NextEvent => events.Count == 0 ? ModelPort.Never : Math.Max(Math.Max(clock.Now, events.ReadyAt), port.SenderFree);

    /// <summary>Hands one event to the stream.</summary>
    public void SendEvent()
    {
        events.Take(out uint opcode, out uint dw2, out uint dw3, out uint dw4);
        Span<uint> header = MemoryMarshal.Cast<byte, uint>(port.Emit(HeaderBytes, clock.Now + 1, out _));
        header[0] = opcode;
        header[2] = dw2;
        header[3] = dw3;
        header[4] = dw4;
    }

    /// <summary>Executes one command; one that is unknown or has the wrong length is ignored.</summary>
    public void Receive(ReadOnlySpan<byte> packet)
    {
        ReadOnlySpan<uint> header = MemoryMarshal.Cast<byte, uint>(packet[..HeaderBytes]);
        switch (header[0] & 0xFF)
        {
            case RegisterMap.Opcode.RegWrite:
                WriteRegister(header[2] & ~3u, header[4]);
                break;
            case RegisterMap.Opcode.RegRead:
                Answer(RegisterMap.Opcode.RegData, header[0], 0, header[2], out Span<uint> answer);
                answer[4] = ReadRegister(header[2] & ~3u);
                break;
            case RegisterMap.Opcode.MemWrite:
                if (packet.Length == HeaderBytes + header[1] && IsScratchRange(header[2], header[1]))
                {
                    packet[HeaderBytes..].CopyTo(dma.Scratch.AsSpan((int)header[2]));
                }

                break;
            case RegisterMap.Opcode.MemRead:
                ReadScratch(header);
                break;
            case RegisterMap.Opcode.Dma:
                dma.Add(header);
                break;
            case RegisterMap.Opcode.Interrupt:
                Interrupt(header[2], header[3]);
                break;
        }
    }

    private void ReadScratch(ReadOnlySpan<uint> header)
    {
        uint length = Math.Min(header[1] & ~3u, MaxTransfer);
        Span<byte> data = Answer(RegisterMap.Opcode.MemData, header[0], length, header[2], out _);
        if (IsScratchRange(header[2], header[1]))
        {
            dma.Scratch.AsSpan((int)header[2], (int)length).CopyTo(data);
        }
    }

    private Span<byte> Answer(uint opcode, uint command, uint length, uint address, out Span<uint> header)
    {
        Span<byte> packet = port.Emit(HeaderBytes + (int)length, clock.Now + ModelClock.ProcessingCycles, out _);
        header = MemoryMarshal.Cast<byte, uint>(packet[..HeaderBytes]);
        header[0] = opcode | (command & 0xFFFF_0000);
        header[1] = length;
        header[2] = address;
        return packet[HeaderBytes..];
    }

    private bool IsScratchRange(uint offset, uint length) =>
        length is > 0 and <= MaxTransfer && length % 4 == 0 && offset % 32 == 0 && (ulong)offset + length <= (ulong)dma.Scratch.Length;

    private void Interrupt(uint target, uint index)
    {
        int function = (int)((target >> 8) & 0xFF);
        switch (target & 0xF)
        {
            case 0 when function < host1.FunctionCount:
                ((VirtioFunction)host1[function]).Interrupt(index);
                break;
            case 1 when function == 0:
                backEnd.Interrupt(index);
                break;
        }
    }

    private uint ReadRegister(uint address)
    {
        if (FindFunction(address, out uint offset) is { } function)
        {
            return function.ReadManagement(offset);
        }

        return address switch
        {
            RegisterMap.Management.Id => Identification,
            RegisterMap.Management.Version => MapVersion,
            RegisterMap.Management.Geometry => (uint)host1.FunctionCount | ((uint)queues << 8),
            RegisterMap.Management.Vectors => (uint)host1[0].Vectors | ((uint)backEnd.Vectors << 16),
            RegisterMap.Management.ScratchSize => (uint)dma.Scratch.Length,
            RegisterMap.Management.DataWidth => DataWidthBits,
            RegisterMap.Management.F2hControl => backEnd.ToHostLength,
            RegisterMap.Management.H2fControl => backEnd.FromHostLength,
            RegisterMap.Management.BeStatus => backEnd.Status,
            RegisterMap.Management.BeControl => backEnd.Control,
            >= RegisterMap.Management.F2hData and < RegisterMap.Management.F2hData + BackEndFunction.MailboxBytes =>
                BinaryPrimitives.ReadUInt32LittleEndian(backEnd.ToHost[(int)(address - RegisterMap.Management.F2hData)..]),
            >= RegisterMap.Management.H2fData and < RegisterMap.Management.H2fData + BackEndFunction.MailboxBytes =>
                BinaryPrimitives.ReadUInt32LittleEndian(backEnd.FromHost[(int)(address - RegisterMap.Management.H2fData)..]),
            _ => 0,
        };
    }

    private void WriteRegister(uint address, uint value)
    {
        if (FindFunction(address, out uint offset) is { } function)
        {
            function.WriteManagement(offset, value);
            return;
        }

        switch (address)
        {
            case RegisterMap.Management.F2hControl:
                backEnd.ToHostLength = value;
                break;
            case RegisterMap.Management.H2fControl:
                backEnd.FromHostLength = 0;
                break;
            case RegisterMap.Management.BeStatus:
                backEnd.Status = value;
                break;
            case >= RegisterMap.Management.F2hData and < RegisterMap.Management.F2hData + BackEndFunction.MailboxBytes:
                BinaryPrimitives.WriteUInt32LittleEndian(backEnd.ToHost[(int)(address - RegisterMap.Management.F2hData)..], value);
                break;
        }
    }

    private VirtioFunction? FindFunction(uint address, out uint offset)
    {
        offset = address % FunctionStride;
        uint function = (address / FunctionStride) - 1;
        return address >= RegisterMap.Management.Function && function < host1.FunctionCount ? (VirtioFunction)host1[(int)function] : null;
    }
}
