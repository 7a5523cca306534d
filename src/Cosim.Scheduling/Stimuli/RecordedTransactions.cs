// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;

namespace Cosim.Scheduling.Stimuli;

/// <summary>A line of a recording and the transaction that it belongs to.</summary>
internal sealed record RecordedLine(StimulusKind Kind, int Port, ulong Cycle, long Line, ulong[] Seen, byte[] Packet, int Transaction);

/// <summary>
/// Says for each line of a recording which transaction it belongs to: what a host or the scheduler began, with the completions,
/// answers, DMA requests, interrupts and events that follow from it.
/// </summary>
/// <remarks>
/// Completions, answers and DMA requests name what they belong to (tags, addresses). An interrupt is counted to the last INTERRUPT of its
/// function, a message too unless its port had an access since, and an event to the last access of its port.
/// </remarks>
internal sealed class RecordedTransactions
{
    private readonly Dictionary<(int Port, uint Requester, byte Tag), int> _hostRequests = [];
    private readonly Dictionary<(int Port, uint Requester, byte Tag), int> _fpgaRequests = [];
    private readonly Dictionary<(uint Port, uint Function), int> _interrupts = [];
    private readonly List<Dma> _dma = [];
    private readonly Queue<int> _reads = new();
    private readonly int[] _last = new int[StimuliFormat.MaxPorts];

    /// <summary>Number of transactions so far; they are numbered from 0.</summary>
    public int Count { get; private set; }

    /// <summary>The transaction of the line that the reader has read.</summary>
    public int Of(StimuliReader line) => line.Kind switch
    {
        StimulusKind.Input => OfInput(line.Port, line.Packet),
        StimulusKind.Output => OfOutput(line.Port, line.Packet),
        _ => Begin(0),
    };

    private int Begin(int port)
    {
        _last[port] = Count;
        return Count++;
    }

    private int OfInput(int port, ReadOnlySpan<byte> packet)
    {
        if (port != StimuliFormat.ManagementPort)
        {
            if (PacketClass.IsCompletion(packet))
            {
                (int, uint, byte) key = (port, PacketClass.CompletionRequester(packet), PacketClass.CompletionTag(packet));
                return _fpgaRequests.TryGetValue(key, out int request) ? request : Begin(port);
            }

            int access = Begin(port);
            if (PacketClass.IsNonPosted(port, packet))
            {
                _hostRequests[(port, PacketClass.Requester(packet), PacketClass.RequestTag(packet))] = access;
            }

            return access;
        }

        int command = Begin(port);
        uint word2 = Word(packet, 2);
        switch (Word(packet, 0) & 0xFF)
        {
            case RegisterMap.Opcode.Dma:
                _dma.Add(new Dma(
                    command, Word(packet, 0) >> 16, Word(packet, 1), word2 & 0xF, (word2 >> 8) & 0xFF, Wide(packet, 4), (word2 >> 4) & 0xF, (word2 >> 16) & 0xFF, Wide(packet, 6)));
                break;
            case RegisterMap.Opcode.RegRead or RegisterMap.Opcode.MemRead:
                _reads.Enqueue(command);
                break;
            case RegisterMap.Opcode.Interrupt:
                _interrupts[(word2 & 0xF, (word2 >> 8) & 0xFF)] = command;
                break;
            default:
                break;
        }

        return command;
    }

    private int OfOutput(int port, ReadOnlySpan<byte> packet)
    {
        OrderStream stream = PacketClass.StreamOf(port, packet);
        uint function = stream.Detail & 7;
        uint tag = Word(packet, 0) >> 16;
        ulong address = Address(packet);
        switch (stream.Class)
        {
            case OrderClass.Completion:
                return _hostRequests.GetValueOrDefault((port, PacketClass.CompletionRequester(packet), PacketClass.CompletionTag(packet)), _last[port]);
            case OrderClass.NonPosted:
                int request = _dma.Find(d => d.Reads((uint)port, function, address))?.Transaction ?? _last[port];
                _fpgaRequests[(port, PacketClass.Requester(packet), PacketClass.RequestTag(packet))] = request;
                return request;
            case OrderClass.Posted:
                return _dma.Find(d => d.Writes((uint)port, function, address))?.Transaction ?? _last[port];
            case OrderClass.Interrupt:
                return _interrupts.GetValueOrDefault(((uint)port, function), _last[port]);
            case OrderClass.Message:
                return Math.Max(_interrupts.GetValueOrDefault(((uint)port, function), 0), _last[port]);
            case OrderClass.Answer:
                return _reads.TryDequeue(out int read) ? read : _last[port];
            case OrderClass.DmaDone:
                int done = _dma.FindIndex(d => d.Tag == tag);
                int transaction = done < 0 ? _last[port] : _dma[done].Transaction;
                if (done >= 0)
                {
                    _dma.RemoveAt(done);
                }

                return transaction;
            default:
                uint target = (stream.Detail >> 8) & 0xF;
                return _last[target < StimuliFormat.MaxPorts ? target : 0];
        }
    }

    private static ulong Address(ReadOnlySpan<byte> tlp) => (tlp[3] & 0x20) != 0 ? ((ulong)Word(tlp, 2) << 32) | (Word(tlp, 3) & ~3u) : Word(tlp, 2) & ~3u;

    private static uint Word(ReadOnlySpan<byte> packet, int index) => BinaryPrimitives.ReadUInt32LittleEndian(packet[(4 * index)..]);

    private static ulong Wide(ReadOnlySpan<byte> packet, int index) => BinaryPrimitives.ReadUInt64LittleEndian(packet[(4 * index)..]);

    private sealed record Dma(
        int Transaction, uint Tag, uint Length, uint Source, uint SourceFunction, ulong SourceAddress, uint Destination, uint DestinationFunction, ulong DestinationAddress)
    {
        public bool Reads(uint port, uint function, ulong address) => port == Source && function == SourceFunction && Inside(address, SourceAddress);

        public bool Writes(uint port, uint function, ulong address) => port == Destination && function == DestinationFunction && Inside(address, DestinationAddress);

        // Requests begin at DWs.
        private bool Inside(ulong address, ulong begin) => address >= (begin & ~3UL) && address < begin + Length;
    }
}
