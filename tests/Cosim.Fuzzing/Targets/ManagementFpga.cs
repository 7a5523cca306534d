// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Scheduling;

namespace Cosim.Fuzzing.Targets;

/// <summary>As much of an FPGA as its management port shows: commands are carried out when they are given, their answers wait for <see cref="Deliver"/>.</summary>
internal abstract class ManagementFpga : IFpga
{
    private const int Header = 32;

    private readonly Queue<(byte[] Packet, int Length)> _answers = new();
    private readonly Stack<byte[]> _free = new();

    public string Kind => "model";

    public int PortCount => 3;

    public ulong Cycle { get; private set; }

    public string? Failure => null;

    /// <summary>Commands given so far.</summary>
    public int Commands { get; private set; }

    public void Send(int port, ReadOnlySpan<byte> packet, ulong notBefore = 0)
    {
        Cycle++;
        Commands++;
        switch ((uint)packet[0])
        {
            case RegisterMap.Opcode.RegWrite:
                WriteRegister(Word(packet, 2), Word(packet, 4));
                break;
            case RegisterMap.Opcode.RegRead:
                Span<byte> answer = Answer(packet, RegisterMap.Opcode.RegData, Header);
                BinaryPrimitives.WriteUInt32LittleEndian(answer[16..], ReadRegister(Word(packet, 2)));
                break;
            case RegisterMap.Opcode.MemWrite:
                WriteScratch(Word(packet, 2), packet[Header..]);
                break;
            case RegisterMap.Opcode.Dma:
                uint length = Word(packet, 1);
                uint spaces = Word(packet, 2);
                bool returns = (Word(packet, 3) & 1) != 0;
                Span<byte> done = Answer(packet, RegisterMap.Opcode.DmaDone, Header + (returns ? (int)(length + 3) & ~3 : 0));
                done[1] = (byte)Copy(
                    (DmaSpace)(spaces & 0xF), BinaryPrimitives.ReadUInt64LittleEndian(packet[16..]), (DmaSpace)((spaces >> 4) & 0xF), BinaryPrimitives.ReadUInt64LittleEndian(packet[24..]), length, done[Header..]);
                break;
            case RegisterMap.Opcode.Interrupt:
                Interrupt((int)(Word(packet, 2) & 0xF), (ushort)Word(packet, 3));
                break;
            default:
                throw new FindingException($"the scheduler gives the command 0x{packet[0]:x2}");
        }
    }

    /// <summary>Gives the scheduler the next answer; false: there is none.</summary>
    public bool Deliver(ManagementPort port)
    {
        if (!_answers.TryDequeue(out (byte[] Packet, int Length) answer))
        {
            return false;
        }

        port.Receive(answer.Packet.AsSpan(0, answer.Length), Cycle);
        _free.Push(answer.Packet);
        return true;
    }

    public RunResult Run(ulong maxCycles, uint lookahead = 0) => RunResult.Idle;

    public bool TryReceive(out FpgaPacket packet)
    {
        packet = default;
        return false;
    }

    public void Reset()
    {
        Commands = 0;
        while (_answers.TryDequeue(out (byte[] Packet, int Length) answer))
        {
            _free.Push(answer.Packet);
        }
    }

    public void Dispose()
    {
    }

    protected abstract void WriteRegister(uint address, uint value);

    protected abstract uint ReadRegister(uint address);

    protected virtual void Interrupt(int port, ushort index)
    {
    }

    protected virtual void WriteScratch(uint offset, ReadOnlySpan<byte> data)
    {
    }

    protected virtual CopyStatus Copy(DmaSpace source, ulong from, DmaSpace destination, ulong to, uint length, Span<byte> returned) => CopyStatus.BadCommand;

    private static uint Word(ReadOnlySpan<byte> packet, int index) => BinaryPrimitives.ReadUInt32LittleEndian(packet[(4 * index)..]);

    // Opcode, the command's tag, length and address; the rest is 0.
    private Span<byte> Answer(ReadOnlySpan<byte> command, uint opcode, int length)
    {
        byte[] packet = _free.TryPop(out byte[]? old) ? old : new byte[Header + 4096];
        Span<byte> answer = packet.AsSpan(0, length);
        answer.Clear();
        command[..12].CopyTo(answer);
        answer[0] = (byte)opcode;
        _answers.Enqueue((packet, length));
        return answer;
    }
}
