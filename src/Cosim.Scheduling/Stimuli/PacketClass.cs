// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;

namespace Cosim.Scheduling.Stimuli;

/// <summary>What packets out of the FPGA are compared in one order with each other where cycles are free.</summary>
internal enum OrderClass : byte
{
    /// <summary>Completions of a PCIe port.</summary>
    Completion,

    /// <summary>Non-posted requests of a function.</summary>
    NonPosted,

    /// <summary>Memory writes of a function.</summary>
    Posted,

    /// <summary>Writes of a function to the interrupt window.</summary>
    Interrupt,

    /// <summary>Messages of a function.</summary>
    Message,

    /// <summary>Answers to register and memory reads on the management port.</summary>
    Answer,

    /// <summary>DMA_DONE.</summary>
    DmaDone,

    /// <summary>Events with the same opcode, target and, for queues, queue.</summary>
    Event,
}

/// <summary>One sequence of packets that is compared in order.</summary>
/// <param name="Port">Port.</param>
/// <param name="Class">Class.</param>
/// <param name="Detail">Requester ID, or an event's opcode and target; 0 for others.</param>
/// <param name="Queue">Queue of an event, or the data of an interrupt.</param>
internal readonly record struct OrderStream(int Port, OrderClass Class, uint Detail, uint Queue)
{
    /// <summary>Whether a packet of it may stand for several causes (<c>hdl/CONTRACT.md</c>, sections 3 and 5).</summary>
    public bool Merges => Class == OrderClass.Interrupt || (Class == OrderClass.Event && (Detail & 0xFF) is
        RegisterMap.Opcode.Notify or RegisterMap.Opcode.Status or RegisterMap.Opcode.Doorbell or RegisterMap.Opcode.Backend or RegisterMap.Opcode.QueueReset);
}

/// <summary>Sorts packets.</summary>
internal static class PacketClass
{
    // hdl/CONTRACT.md and architecture: a memory write to 0xFEExxxxx is an interrupt.
    private const uint InterruptWindow = 0xFEE0_0000;
    private const uint InterruptWindowMask = 0xFFF0_0000;

    /// <summary>Whether a TLP is a completion of any kind.</summary>
    public static bool IsCompletion(ReadOnlySpan<byte> tlp) => (tlp[3] & 0x1E) == 0x0A;

    /// <summary>Whether a packet is a request that must be completed.</summary>
    public static bool IsNonPosted(int port, ReadOnlySpan<byte> packet) =>
        port != StimuliFormat.ManagementPort && !IsCompletion(packet) && (packet[3] & 0x18) != 0x10 && (packet[3] & 0x5F) != 0x40;

    /// <summary>Tag of a request.</summary>
    public static byte RequestTag(ReadOnlySpan<byte> tlp) => tlp[5];

    /// <summary>Tag of a completion.</summary>
    public static byte CompletionTag(ReadOnlySpan<byte> tlp) => tlp[9];

    /// <summary>Requester ID of a request.</summary>
    public static uint Requester(ReadOnlySpan<byte> tlp) => Word(tlp, 1) >> 16;

    /// <summary>Requester ID in a completion.</summary>
    public static uint CompletionRequester(ReadOnlySpan<byte> tlp) => Word(tlp, 2) >> 16;

    /// <summary>Whether a completion is the last one of its request.</summary>
    public static bool IsLastCompletion(ReadOnlySpan<byte> tlp)
    {
        uint word1 = Word(tlp, 1);
        uint count = (word1 & 0xFFF) == 0 ? 4096 : word1 & 0xFFF;
        return (tlp[3] & 0x40) == 0 || ((word1 >> 13) & 7) != 0 || count <= (uint)(tlp.Length - 16) - (tlp[8] & 3u);
    }

    /// <summary>The sequence that a packet out of the FPGA belongs to.</summary>
    public static OrderStream StreamOf(int port, ReadOnlySpan<byte> packet)
    {
        if (port == StimuliFormat.ManagementPort)
        {
            uint opcode = Word(packet, 0) & 0xFF;
            return opcode switch
            {
                RegisterMap.Opcode.RegData or RegisterMap.Opcode.MemData => new OrderStream(port, OrderClass.Answer, 0, 0),
                RegisterMap.Opcode.DmaDone => new OrderStream(port, OrderClass.DmaDone, 0, 0),
                RegisterMap.Opcode.Notify or RegisterMap.Opcode.Doorbell or RegisterMap.Opcode.QueueReset =>
                    new OrderStream(port, OrderClass.Event, opcode | (Word(packet, 2) << 8), Word(packet, 3)),
                _ => new OrderStream(port, OrderClass.Event, opcode | (Word(packet, 2) << 8), 0),
            };
        }

        if (IsCompletion(packet))
        {
            return new OrderStream(port, OrderClass.Completion, 0, 0);
        }

        if (IsNonPosted(port, packet))
        {
            return new OrderStream(port, OrderClass.NonPosted, Requester(packet), 0);
        }

        if ((packet[3] & 0x18) == 0x10)
        {
            return new OrderStream(port, OrderClass.Message, Requester(packet), 0);
        }

        return (packet[3] & 0x20) == 0 && (Word(packet, 2) & InterruptWindowMask) == InterruptWindow && packet.Length == 20
            ? new OrderStream(port, OrderClass.Interrupt, Requester(packet), Word(packet, 4))
            : new OrderStream(port, OrderClass.Posted, Requester(packet), 0);
    }

    private static uint Word(ReadOnlySpan<byte> packet, int index) => BinaryPrimitives.ReadUInt32LittleEndian(packet[(4 * index)..]);
}
