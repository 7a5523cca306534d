// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Cosim.Fpga.Tests;

/// <summary>A host of the example device: a root port with a little memory, told in plain packets.</summary>
internal sealed class ExampleHost
{
    public const uint Bar0 = 0xE000_0000;
    public const uint Bar1 = 0xE000_1000;
    public const uint MsiAddress = 0xFEE0_0000;

    private const ulong Latency = 16;
    private const int ReadCompletionBoundary = 64;

    private readonly IFpga fpga;
    private readonly byte[] packet = new byte[16 + 4096];
    private byte tag;
    private uint? answer;

    public ExampleHost(IFpga fpga)
    {
        this.fpga = fpga;
    }

    /// <summary>The host's memory, from address 0.</summary>
    public byte[] Memory { get; } = new byte[64 * 1024];

    /// <summary>Every output: cycle, port, bytes.</summary>
    public List<string> Outputs { get; } = [];

    /// <summary>Data of the memory writes to <see cref="MsiAddress"/>.</summary>
    public List<uint> Interrupts { get; } = [];

    /// <summary>INTA as the messages tell it.</summary>
    public bool InterruptLevel { get; private set; }

    /// <summary>Number of memory writes of the device to memory.</summary>
    public int Writes { get; private set; }

    public uint ReadConfig(uint offset) => Request(0x0400_0001, 0x0100_0000 | offset, null)!.Value;

    public void WriteConfig(uint offset, uint value) => Request(0x4400_0001, 0x0100_0000 | offset, value);

    public uint Read(uint address) => Request(0x0000_0001, address, null)!.Value;

    public void Write(uint address, uint value) => Request(0x4000_0001, address, value);

    /// <summary>Gives the device its addresses and lets it master the bus.</summary>
    public void Enumerate(bool msix)
    {
        WriteConfig(0x10, Bar0);
        WriteConfig(0x14, Bar1);
        WriteConfig(0x04, 0x0006);
        if (msix)
        {
            Write(Bar1, MsiAddress);
            Write(Bar1 + 8, 0x4041);
            Write(Bar1 + 12, 0);
            WriteConfig(0x80, 0x8000_0000);
        }
    }

    /// <summary>Starts a copy; the caller runs it.</summary>
    public void StartCopy(uint source, uint destination, uint bytes)
    {
        Write(Bar0 + 0x08, source);
        Write(Bar0 + 0x10, destination);
        Write(Bar0 + 0x18, bytes);
        Write(Bar0 + 0x1C, 1);
    }

    /// <summary>Serves the device until it is idle.</summary>
    public void RunUntilIdle()
    {
        while (true)
        {
            RunResult result = fpga.Run(1_000_000, (uint)Latency);
            if (result == RunResult.Failed)
            {
                throw new InvalidOperationException(fpga.Failure);
            }

            if (result == RunResult.Idle)
            {
                return;
            }

            if (result == RunResult.Limit)
            {
                throw new InvalidOperationException("the device is never idle");
            }

            while (fpga.TryReceive(out FpgaPacket output))
            {
                Serve(output);
            }
        }
    }

    private uint? Request(uint dw0, uint address, uint? data)
    {
        answer = null;
        tag = (byte)((tag + 1) & 31);
        Header(dw0, 0x0000_000Fu | (uint)tag << 8, address);
        if (data is { } value)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(packet.AsSpan(16), value);
        }

        fpga.Send(0, packet.AsSpan(0, data is null ? 16 : 20));
        RunUntilIdle();
        return answer;
    }

    private void Serve(in FpgaPacket output)
    {
        Outputs.Add($"{output.Cycle} p{output.Port} {Convert.ToHexString(output.Bytes)}");
        uint dw0 = Word(output.Bytes, 0);
        bool four = (dw0 & 0x2000_0000) != 0;
        ulong address = four ? (ulong)Word(output.Bytes, 2) << 32 | Word(output.Bytes, 3) : Word(output.Bytes, 2);
        ReadOnlySpan<byte> payload = output.Bytes[16..];
        switch (dw0 >> 24)
        {
            case 0x4A:
                answer = Word(output.Bytes, 4);
                break;
            case 0x0A:
                answer = uint.MaxValue;
                break;
            case 0x00 or 0x20:
                Complete(Word(output.Bytes, 1), (int)address, (int)(dw0 & 0x3FF) * 4, output.Cycle + Latency);
                break;
            case 0x40 or 0x60 when address == MsiAddress:
                Interrupts.Add(Word(output.Bytes, 4));
                break;
            case 0x40 or 0x60:
                Writes++;
                payload.CopyTo(Memory.AsSpan((int)address));
                break;
            case 0x34:
                InterruptLevel = (Word(output.Bytes, 1) & 0xFF) == 0x20;
                break;
            default:
                throw new InvalidOperationException($"no TLP of this device: {Outputs[^1]}");
        }
    }

    // Split at every read completion boundary, as a root port may.
    private void Complete(uint requester, int address, int bytes, ulong notBefore)
    {
        while (bytes > 0)
        {
            int part = Math.Min(bytes, ReadCompletionBoundary - address % ReadCompletionBoundary);
            Header(0x4A00_0000u | (uint)part / 4, (uint)bytes, (requester & 0xFFFF_0000) | (requester & 0xFF00) | (uint)(address & 0x7F));
            Memory.AsSpan(address, part).CopyTo(packet.AsSpan(16));
            fpga.Send(0, packet.AsSpan(0, 16 + part), notBefore);
            address += part;
            bytes -= part;
        }
    }

    private void Header(uint dw0, uint dw1, uint dw2)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(packet, dw0);
        BinaryPrimitives.WriteUInt32LittleEndian(packet.AsSpan(4), dw1);
        BinaryPrimitives.WriteUInt32LittleEndian(packet.AsSpan(8), dw2);
        BinaryPrimitives.WriteUInt32LittleEndian(packet.AsSpan(12), 0);
    }

    private static uint Word(ReadOnlySpan<byte> bytes, int index) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[(4 * index)..]);
}
