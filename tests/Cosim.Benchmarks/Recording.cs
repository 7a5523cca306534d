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
/// <param name="bytes">Room for the record; nothing is allocated before it is used up.</param>
internal sealed class Recording(int bytes) : IStimuliLog
{
    private const int KeptOfOutput = 32;

    private readonly List<Passage> _passages = new(bytes / 128);
    private byte[] _room = new byte[bytes];
    private int _used;

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
            (_room, _used) = (new byte[bytes], 0);
        }

        packet.CopyTo(_room.AsSpan(_used));
        _passages.Add(new Passage(into, port, cycle, _room.AsMemory(_used, packet.Length)));
        _used += packet.Length;
    }
}
