// SPDX-License-Identifier: Apache-2.0
using Cosim.Scheduling;

namespace Cosim.Benchmarks;

/// <summary>A packet that passed the boundary of an FPGA.</summary>
/// <param name="Into">It went into the FPGA.</param>
/// <param name="Port">Port number.</param>
/// <param name="Cycle">Of an input: the earliest cycle of its first beat; of an output: the cycle of its last beat.</param>
/// <param name="Bytes">Of an input: the packet; of an output: its header.</param>
internal readonly record struct Passage(bool Into, int Port, ulong Cycle, ReadOnlyMemory<byte> Bytes);

/// <summary>Keeps what passes the boundary of a bridge's FPGA.</summary>
internal sealed class Recording : IStimuliLog
{
    private const int KeptOfOutput = 32;

    private readonly List<Passage> _passages;
    private byte[] _room;
    private int _used;

    /// <summary>Takes the memory of the record, so that the kernel has no page to find for it while something is measured.</summary>
    /// <param name="bytes">Room for the record; nothing is allocated before it is used up.</param>
    public Recording(int bytes)
    {
        _room = new byte[bytes];
        Array.Fill(_room, (byte)1);
        _passages = [.. Enumerable.Repeat(new Passage(Into: true, Port: 0, Cycle: 0, _room), bytes / 128)];
        _passages.Clear();
    }

    public IReadOnlyList<Passage> Passages => _passages;

    public void Input(int port, ulong cycle, ulong notBefore, ReadOnlySpan<ulong> outputsSeen, ReadOnlySpan<byte> packet) =>
        Keep(true, port, Math.Max(notBefore, cycle), packet);

    public void Output(int port, ulong cycle, ReadOnlySpan<byte> packet) => Keep(false, port, cycle, packet[..Math.Min(packet.Length, KeptOfOutput)]);

    public void Reset(ulong cycle) => throw new InvalidOperationException($"the FPGA was reset in cycle {cycle} while it was measured");

    private void Keep(bool into, int port, ulong cycle, ReadOnlySpan<byte> packet)
    {
        if (packet.Length > _room.Length - _used)
        {
            // Earlier passages keep the room that they are in.
            (_room, _used) = (new byte[_room.Length], 0);
        }

        packet.CopyTo(_room.AsSpan(_used));
        _passages.Add(new Passage(into, port, cycle, _room.AsMemory(_used, packet.Length)));
        _used += packet.Length;
    }
}
