// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Pcie;

namespace Cosim.Scheduling.Stimuli;

/// <summary>Writes packets of any port for people.</summary>
public static class PacketText
{
    /// <summary>One line about a packet: a TLP, or a packet of the management port (<c>hdl/CONTRACT.md</c>, section 4).</summary>
    /// <param name="port">Port it crossed.</param>
    /// <param name="packet">Header and payload.</param>
    public static string Format(int port, ReadOnlySpan<byte> packet) =>
        port == StimuliFormat.ManagementPort ? FormatManagement(packet) : TlpFormatter.Format(packet);

    /// <summary>Name of an opcode of the management port, or null.</summary>
    public static string? Opcode(uint opcode) => opcode switch
    {
        RegisterMap.Opcode.RegWrite => "REG_WRITE",
        RegisterMap.Opcode.RegRead => "REG_READ",
        RegisterMap.Opcode.MemWrite => "MEM_WRITE",
        RegisterMap.Opcode.MemRead => "MEM_READ",
        RegisterMap.Opcode.Dma => "DMA",
        RegisterMap.Opcode.Interrupt => "INTERRUPT",
        RegisterMap.Opcode.RegData => "REG_DATA",
        RegisterMap.Opcode.MemData => "MEM_DATA",
        RegisterMap.Opcode.DmaDone => "DMA_DONE",
        RegisterMap.Opcode.Notify => "NOTIFY",
        RegisterMap.Opcode.Status => "STATUS",
        RegisterMap.Opcode.Doorbell => "DOORBELL",
        RegisterMap.Opcode.Mailbox => "MAILBOX",
        RegisterMap.Opcode.Flr => "FLR",
        RegisterMap.Opcode.QueueReset => "QUEUE_RESET",
        RegisterMap.Opcode.ConfigWrite => "CONFIG_WRITE",
        RegisterMap.Opcode.Backend => "BACKEND",
        _ => null,
    };

    private static string FormatManagement(ReadOnlySpan<byte> packet)
    {
        if (packet.Length < StimuliFormat.HeaderBytes(StimuliFormat.ManagementPort))
        {
            return $"malformed management packet: {packet.Length} bytes";
        }

        uint word0 = Word(packet, 0);
        uint word2 = Word(packet, 2);
        uint word3 = Word(packet, 3);
        uint word4 = Word(packet, 4);
        uint opcode = word0 & 0xFF;
        uint length = Word(packet, 1);
        uint tag = word0 >> 16;
        string target = $"port {word2 & 0xF} function {(word2 >> 8) & 0xFF}";
        string text = opcode switch
        {
            RegisterMap.Opcode.RegWrite or RegisterMap.Opcode.RegData => $"0x{word2:x4} = 0x{word4:x8}",
            RegisterMap.Opcode.RegRead => $"0x{word2:x4}",
            RegisterMap.Opcode.MemWrite or RegisterMap.Opcode.MemRead or RegisterMap.Opcode.MemData => $"0x{word2:x} len {length}",
            RegisterMap.Opcode.Dma =>
                $"len {length} {Place(word2 & 0xF, (word2 >> 8) & 0xFF, Wide(packet, 4))} to {Place((word2 >> 4) & 0xF, (word2 >> 16) & 0xFF, Wide(packet, 6))}"
                + $"{((word3 & 1) != 0 ? " return" : "")} tag {tag}",
            RegisterMap.Opcode.DmaDone => $"status {(word0 >> 8) & 0xFF} len {length} tag {tag}",
            RegisterMap.Opcode.Interrupt => $"{target} index {(word3 == 0xFFFF ? "configuration" : $"{word3}")}",
            RegisterMap.Opcode.Notify => $"{target} queue {word3} value 0x{word4:x}",
            RegisterMap.Opcode.Status => $"{target} 0x{word3:x2}",
            RegisterMap.Opcode.Doorbell or RegisterMap.Opcode.QueueReset => $"{target} queue {word3}",
            RegisterMap.Opcode.ConfigWrite => $"{target} 0x{word3 & 0xFFFF:x} size {(word3 >> 16) & 0xFF} = 0x{word4:x}",
            RegisterMap.Opcode.Mailbox => word3 == 0 ? $"{target} acknowledged" : $"{target} posted len {word4}",
            RegisterMap.Opcode.Backend => $"{target} control 0x{word3:x}",
            RegisterMap.Opcode.Flr => target,
            _ => $"len {length} tag {tag}",
        };
        return $"{Opcode(opcode) ?? $"opcode 0x{opcode:x2}"} {text}";
    }

    private static string Place(uint space, uint function, ulong address) => space switch
    {
        0 or 1 => $"host {space + 1} function {function} 0x{address:x}",
        2 => $"scratch 0x{address:x}",
        _ => $"space {space} 0x{address:x}",
    };

    private static uint Word(ReadOnlySpan<byte> packet, int index) => BinaryPrimitives.ReadUInt32LittleEndian(packet[(4 * index)..]);

    private static ulong Wide(ReadOnlySpan<byte> packet, int index) => BinaryPrimitives.ReadUInt64LittleEndian(packet[(4 * index)..]);
}
