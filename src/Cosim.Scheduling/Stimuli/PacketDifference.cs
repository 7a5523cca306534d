// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;

namespace Cosim.Scheduling.Stimuli;

/// <summary>The first field in which two packets of a port differ.</summary>
/// <param name="Field">The field's name in the PCI Express Base Specification, 2.2, or in <c>hdl/CONTRACT.md</c>, section 4; or a DW of the payload.</param>
/// <param name="Expected">What was expected in it.</param>
/// <param name="Actual">What is in it.</param>
public sealed record PacketDifference(string Field, string Expected, string Actual)
{
    private const uint TagOfRequest = 0x0000_FF00;

    // Bits of a header's DW, from the most significant one; what is compared first is named first.
    private static readonly Bits[] s_common =
    [
        new("Fmt and Type", 0, 31, 24), new("Length", 0, 9, 0), new("TC", 0, 22, 20), new("TD", 0, 15, 15), new("EP", 0, 14, 14), new("Attr", 0, 13, 12),
        new("DW 0", 0, 31, 0),
    ];

    private static readonly Bits[] s_request = [new("Requester ID", 1, 31, 16), new("Tag", 1, 15, 8), new("Last DW BE", 1, 7, 4), new("1st DW BE", 1, 3, 0)];

    private static readonly Bits[] s_message = [new("Requester ID", 1, 31, 16), new("Tag", 1, 15, 8), new("Message Code", 1, 7, 0), new("DW 2", 2, 31, 0), new("DW 3", 3, 31, 0)];

    private static readonly Bits[] s_configuration = [new("Bus, Device and Function Number", 2, 31, 16), new("Register Number", 2, 11, 2), new("DW 2", 2, 31, 0), new("DW 3", 3, 31, 0)];

    private static readonly Bits[] s_completion =
    [
        new("Completion Status", 1, 15, 13), new("Completer ID", 1, 31, 16), new("BCM", 1, 12, 12), new("Byte Count", 1, 11, 0),
        new("Requester ID", 2, 31, 16), new("Tag", 2, 15, 8), new("Lower Address", 2, 6, 0), new("DW 2", 2, 31, 0), new("DW 3", 3, 31, 0),
    ];

    private static readonly Bits[] s_management = [new("opcode", 0, 7, 0), new("status", 0, 15, 8), new("tag", 0, 31, 16), new("length", 1, 31, 0)];

    /// <summary>Compares two packets; null: they are the same.</summary>
    /// <param name="port">Port both crossed.</param>
    /// <param name="expected">Header and payload.</param>
    /// <param name="actual">Header and payload.</param>
    /// <param name="anyTag">Whether the tag of a non-posted request may be any.</param>
    public static PacketDifference? Find(int port, ReadOnlySpan<byte> expected, ReadOnlySpan<byte> actual, bool anyTag = false)
    {
        if (Same(port, expected, actual, anyTag))
        {
            return null;
        }

        PacketDifference? difference = port == StimuliFormat.ManagementPort ? FindManagement(expected, actual) : FindTlp(expected, actual, anyTag);
        return difference ?? FindPayload(expected[StimuliFormat.HeaderBytes(port)..], actual[StimuliFormat.HeaderBytes(port)..]);
    }

    /// <summary>Whether two packets are the same.</summary>
    /// <inheritdoc cref="Find"/>
    public static bool Same(int port, ReadOnlySpan<byte> expected, ReadOnlySpan<byte> actual, bool anyTag = false)
    {
        if (!anyTag || !PacketClass.IsNonPosted(port, expected) || expected.Length < 8 || actual.Length < 8)
        {
            return expected.SequenceEqual(actual);
        }

        return expected[..5].SequenceEqual(actual[..5]) && expected[6..].SequenceEqual(actual[6..]);
    }

    private static PacketDifference? FindTlp(ReadOnlySpan<byte> expected, ReadOnlySpan<byte> actual, bool anyTag)
    {
        if (First(s_common, expected, actual) is { } common)
        {
            return common;
        }

        uint type = Word(expected, 0) >> 24;
        if (PacketClass.IsCompletion(expected))
        {
            return First(s_completion, expected, actual);
        }

        if ((type & 0x18) == 0x10)
        {
            return First(s_message, expected, actual);
        }

        bool ignoreTag = anyTag && PacketClass.IsNonPosted(0, expected);
        if (First(s_request, expected, actual, ignoreTag ? TagOfRequest : 0) is { } request)
        {
            return request;
        }

        if ((type & 0x1F) is 4 or 5)
        {
            return First(s_configuration, expected, actual);
        }

        ulong expectedAddress = Address(expected);
        ulong actualAddress = Address(actual);
        return expectedAddress == actualAddress ? null : new PacketDifference("Address", $"0x{expectedAddress:x}", $"0x{actualAddress:x}");
    }

    private static PacketDifference? FindManagement(ReadOnlySpan<byte> expected, ReadOnlySpan<byte> actual)
    {
        if (First(s_management, expected, actual) is { } common)
        {
            return common;
        }

        uint opcode = Word(expected, 0) & 0xFF;
        for (int dw = 2; dw < 8; dw++)
        {
            if (Word(expected, dw) != Word(actual, dw))
            {
                return new PacketDifference($"{Name(opcode, dw)} (DW {dw})", $"0x{Word(expected, dw):x8}", $"0x{Word(actual, dw):x8}");
            }
        }

        return null;
    }

    // Names of hdl/CONTRACT.md, section 4.
    private static string Name(uint opcode, int dw) => (opcode, dw) switch
    {
        (RegisterMap.Opcode.RegData or RegisterMap.Opcode.RegRead or RegisterMap.Opcode.RegWrite, 2) => "address",
        (RegisterMap.Opcode.RegData or RegisterMap.Opcode.RegWrite, 4) => "value",
        (RegisterMap.Opcode.MemData or RegisterMap.Opcode.MemRead or RegisterMap.Opcode.MemWrite, 2) => "offset",
        ( >= RegisterMap.Opcode.Notify, 2) => "target",
        (RegisterMap.Opcode.Notify or RegisterMap.Opcode.Doorbell or RegisterMap.Opcode.QueueReset, 3) => "queue",
        (RegisterMap.Opcode.Status, 3) => "device_status",
        (RegisterMap.Opcode.ConfigWrite, 3) => "offset and size",
        (RegisterMap.Opcode.Notify or RegisterMap.Opcode.ConfigWrite, 4) => "value",
        (RegisterMap.Opcode.Mailbox, 4) => "length",
        _ => "field",
    };

    private static PacketDifference? FindPayload(ReadOnlySpan<byte> expected, ReadOnlySpan<byte> actual)
    {
        int words = Math.Min(expected.Length, actual.Length) / 4;
        for (int i = 0; i < words; i++)
        {
            if (Word(expected, i) != Word(actual, i))
            {
                return new PacketDifference($"payload DW {i}", $"{Word(expected, i):x8}", $"{Word(actual, i):x8}");
            }
        }

        return new PacketDifference("payload length", $"{expected.Length / 4} DW", $"{actual.Length / 4} DW");
    }

    private static PacketDifference? First(Bits[] fields, ReadOnlySpan<byte> expected, ReadOnlySpan<byte> actual, uint ignoredOfDw1 = 0)
    {
        foreach (Bits field in fields)
        {
            uint one = field.Of(expected);
            uint other = field.Of(actual);
            if (one != other && !(field.Dw == 1 && (ignoredOfDw1 >> field.Low & 1) != 0))
            {
                return new PacketDifference(field.Name, $"0x{one:x}", $"0x{other:x}");
            }
        }

        return null;
    }

    private static ulong Address(ReadOnlySpan<byte> packet) =>
        (packet[3] & 0x20) != 0 ? ((ulong)Word(packet, 2) << 32) | Word(packet, 3) : Word(packet, 2);

    private static uint Word(ReadOnlySpan<byte> packet, int index) => BinaryPrimitives.ReadUInt32LittleEndian(packet[(4 * index)..]);

    private sealed record Bits(string Name, int Dw, int High, int Low)
    {
        public uint Of(ReadOnlySpan<byte> packet) => (uint)((Word(packet, Dw) & ((1UL << (High + 1)) - 1)) >> Low);
    }
}
