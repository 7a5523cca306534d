// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Cosim.Scheduling.Stimuli;

/// <summary>What a logged event is.</summary>
internal enum RecordKind : byte
{
    /// <summary>The rest of the ring is empty.</summary>
    Skip,

    /// <summary>A packet into the FPGA.</summary>
    Input,

    /// <summary>A packet out of it.</summary>
    Output,

    /// <summary>A reset.</summary>
    Reset,

    /// <summary>The end.</summary>
    End,
}

/// <summary>Three counts, by port.</summary>
[InlineArray(StimuliFormat.MaxPorts)]
internal struct SeenCounts
{
    private ulong _first;
}

/// <summary>A logged event in the ring; an input's or output's packet follows it.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RecordHeader
{
    public RecordKind Kind;
    public byte Port;
    public ushort Length;

    /// <summary>Of an input: the first cycle in which it can be offered.</summary>
    public ulong Cycle;

    /// <summary>Of an input: the FPGA's cycle when it was given.</summary>
    public ulong Now;

    public SeenCounts Seen;
}

/// <summary>An input whose line cannot be written yet.</summary>
internal sealed class PendingInput(int room)
{
    private readonly byte[] _bytes = new byte[room];

    public RecordHeader Header;

    public int Room => _bytes.Length;

    public ReadOnlySpan<byte> Packet => _bytes.AsSpan(0, Header.Length);

    public void Set(in RecordHeader header, ReadOnlySpan<byte> packet)
    {
        Header = header;
        packet.CopyTo(_bytes);
    }
}

/// <summary>Inputs in the order of their cycles, and within a cycle in the order given.</summary>
internal sealed class PendingInputs(int maxBytes)
{
    private const int ShortPacket = 32 + 256;

    private readonly PriorityQueue<PendingInput, (ulong Cycle, ulong Number)> _queue = new();
    private readonly Stack<PendingInput> _short = new();
    private readonly Stack<PendingInput> _long = new();
    private ulong _number;
    private int _bytes;

    public void Add(in RecordHeader header, ReadOnlySpan<byte> packet)
    {
        int room = packet.Length <= ShortPacket ? ShortPacket : StimuliFormat.MaxPacketBytes;
        if (_bytes + room > maxBytes)
        {
            throw new IOException($"inputs of more than {maxBytes} bytes wait for cycles that lie ahead");
        }

        Stack<PendingInput> free = room == ShortPacket ? _short : _long;
        if (!free.TryPop(out PendingInput? input))
        {
            input = new PendingInput(room);
        }

        input.Set(header, packet);
        _bytes += room;
        _queue.Enqueue(input, (header.Cycle, _number++));
    }

    /// <summary>Takes the next input with a cycle before this one.</summary>
    public bool TryTake(ulong before, [NotNullWhen(true)] out PendingInput? input)
    {
        if (!_queue.TryPeek(out input, out (ulong Cycle, ulong) place) || place.Cycle >= before)
        {
            input = null;
            return false;
        }

        _bytes -= input.Room;
        return _queue.TryDequeue(out input, out _);
    }

    public void Return(PendingInput input) => (input.Room == ShortPacket ? _short : _long).Push(input);

    public void Clear()
    {
        while (TryTake(ulong.MaxValue, out PendingInput? input))
        {
            Return(input);
        }
    }
}
