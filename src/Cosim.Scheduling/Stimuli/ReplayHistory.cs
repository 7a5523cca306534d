// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Scheduling.Stimuli;

/// <summary>The last packets that crossed the boundary; nothing is decoded before somebody asks.</summary>
internal sealed class ReplayHistory(int capacity)
{
    private readonly Entry[] _ring = [.. Enumerable.Range(0, capacity).Select(_ => new Entry())];
    private long _count;

    public void Add(bool into, int port, ulong cycle, ReadOnlySpan<byte> packet)
    {
        if (_ring.Length == 0)
        {
            return;
        }

        Entry entry = _ring[_count++ % _ring.Length];
        entry.Into = into;
        entry.Port = port;
        entry.Cycle = cycle;
        entry.Length = packet.Length;
        if (entry.Bytes.Length < packet.Length)
        {
            entry.Bytes = new byte[packet.Length];
        }

        packet.CopyTo(entry.Bytes);
    }

    /// <summary>The last packets before a cycle, oldest first.</summary>
    public IReadOnlyList<string> Before(ulong cycle, int number)
    {
        List<string> lines = [];
        for (long i = _count - 1; i >= Math.Max(0, _count - _ring.Length) && lines.Count < number; i--)
        {
            Entry entry = _ring[i % _ring.Length];
            if (entry.Cycle < cycle)
            {
                string way = entry.Into ? "->" : "<-";
                lines.Add($"{entry.Cycle,12} port {entry.Port} {way} {PacketText.Format(entry.Port, entry.Bytes.AsSpan(0, entry.Length))}");
            }
        }

        lines.Reverse();
        return lines;
    }

    private sealed class Entry
    {
        public bool Into;
        public int Port;
        public ulong Cycle;
        public int Length;
        public byte[] Bytes = [];
    }
}
