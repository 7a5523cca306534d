// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Runtime.InteropServices;

namespace Cosim.Fpga;

/// <summary>Writes packets of the management port for people: <c>REG_WRITE 0x10010 value 0x00000001</c>.</summary>
public static class ManagementFormatter
{
    private const int HeaderBytes = 32;

    /// <summary>One line about a packet, unknown ones included.</summary>
    public static string Format(ReadOnlySpan<byte> packet)
    {
        if (packet.Length < HeaderBytes)
        {
            return $"malformed management packet: {packet.Length} bytes; expected a header of {HeaderBytes}";
        }

        ReadOnlySpan<uint> dw = MemoryMarshal.Cast<byte, uint>(packet[..HeaderBytes]);
        uint opcode = dw[0] & 0xFF;
        uint status = (dw[0] >> 8) & 0xFF;
        string tag = $"tag {dw[0] >> 16}";
        string target = $"p{dw[2] & 0xF} function {(dw[2] >> 8) & 0xFF}";
        return opcode switch
        {
            RegisterMap.Opcode.RegWrite => Text($"REG_WRITE 0x{dw[2]:x} value 0x{dw[4]:x8}"),
            RegisterMap.Opcode.RegRead => Text($"REG_READ 0x{dw[2]:x} {tag}"),
            RegisterMap.Opcode.MemWrite => Text($"MEM_WRITE 0x{dw[2]:x} len {dw[1]}"),
            RegisterMap.Opcode.MemRead => Text($"MEM_READ 0x{dw[2]:x} len {dw[1]} {tag}"),
            RegisterMap.Opcode.Dma => Text(
                $"DMA {Space(dw[2] & 0xF, (dw[2] >> 8) & 0xFF)} 0x{Wide(dw[4], dw[5]):x} to {Space((dw[2] >> 4) & 0xF, (dw[2] >> 16) & 0xFF)} 0x{Wide(dw[6], dw[7]):x} len {dw[1]}{((dw[3] & 1) != 0 ? " RETURN" : "")} {tag}"),
            RegisterMap.Opcode.Interrupt => Text($"INTERRUPT {target} index 0x{dw[3]:x}"),
            RegisterMap.Opcode.RegData => Text($"REG_DATA 0x{dw[2]:x} value 0x{dw[4]:x8} {tag}"),
            RegisterMap.Opcode.MemData => Text($"MEM_DATA 0x{dw[2]:x} len {dw[1]} {tag}"),
            RegisterMap.Opcode.DmaDone => Text($"DMA_DONE {DmaStatus(status)} len {dw[1]} {tag}"),
            RegisterMap.Opcode.Notify => Text($"NOTIFY {target} queue {dw[3]} value 0x{dw[4]:x}"),
            RegisterMap.Opcode.Status => Text($"STATUS {target} value 0x{dw[3]:x2}"),
            RegisterMap.Opcode.Doorbell => Text($"DOORBELL {target} queue {dw[3]}"),
            RegisterMap.Opcode.Mailbox => dw[3] == 0 ? "MAILBOX acknowledged" : Text($"MAILBOX posted len {dw[4]}"),
            RegisterMap.Opcode.Flr => $"FLR {target}",
            RegisterMap.Opcode.QueueReset => Text($"QUEUE_RESET {target} queue {dw[3]}"),
            RegisterMap.Opcode.ConfigWrite => Text($"CONFIG_WRITE {target} offset 0x{dw[3] & 0xFFFF:x} len {(dw[3] >> 16) & 0xFF} value 0x{dw[4]:x}"),
            RegisterMap.Opcode.Backend => Text($"BACKEND value 0x{dw[3]:x}"),
            _ => Text($"opcode 0x{opcode:x2} {tag}"),
        };
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private static ulong Wide(uint low, uint high) => low | ((ulong)high << 32);

    private static string Space(uint space, uint function) => space switch
    {
        0 or 1 => $"host {space + 1} function {function}",
        2 => "scratch",
        _ => $"space {space}",
    };

    private static string DmaStatus(uint status) => status switch
    {
        0 => "OK",
        1 => "refused",
        2 => "timeout",
        3 => "Bus Master off",
        4 => "wrong command",
        _ => $"status {status}",
    };
}
