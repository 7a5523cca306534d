// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Pcie.Internal;

/// <summary>TLPs of the FPGA that wait for what came before them, in order.</summary>
internal sealed class DeferredTlps
{
    private readonly Queue<Entry> _entries = new();
    private readonly Stack<byte[]> _free = new();

    public bool IsEmpty => _entries.Count == 0;

    public void Add(ReadOnlySpan<byte> tlp, ulong cycle)
    {
        if (!_free.TryPop(out byte[]? bytes))
        {
            bytes = new byte[Tlp.MaxBytes];
        }

        tlp.CopyTo(bytes);
        _entries.Enqueue(new Entry(bytes, tlp.Length, cycle));
    }

    /// <summary>The oldest; valid until <see cref="Remove"/>.</summary>
    public ReadOnlySpan<byte> Peek(out ulong cycle)
    {
        Entry entry = _entries.Peek();
        cycle = entry.Cycle;
        return entry.Bytes.AsSpan(0, entry.Length);
    }

    /// <summary>Takes the oldest out. Its bytes stay as they are until the next <see cref="Add"/>.</summary>
    public void Remove() => _free.Push(_entries.Dequeue().Bytes);

    public void Clear()
    {
        while (!IsEmpty)
        {
            Remove();
        }
    }

    private readonly record struct Entry(byte[] Bytes, int Length, ulong Cycle);
}
