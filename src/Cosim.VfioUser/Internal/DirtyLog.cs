// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser.Internal;

/// <summary>Which pages the device has written since the log was begun, or since they were last reported.</summary>
/// <remarks>Its size follows what is written, not what is watched.</remarks>
internal sealed class DirtyLog
{
    internal const int PageShift = 12;

    /// <summary>Pages in a chunk: one u64 of the log.</summary>
    private const int ChunkShift = 6;

    private readonly DmaRange[] _ranges;
    private readonly Dictionary<ulong, ulong> _chunks = [];

    /// <summary>Begins a log of writes to some ranges; none at all stand for all addresses.</summary>
    internal DirtyLog(DmaRange[] ranges) => _ranges = ranges;

    /// <summary>Takes note of a write.</summary>
    internal void Mark(ulong address, ulong length)
    {
        DmaRange written = new(address, address + length - 1);
        if (_ranges.Length == 0)
        {
            Set(written);
            return;
        }

        foreach (DmaRange range in _ranges)
        {
            if (range.First <= written.Last && written.First <= range.Last)
            {
                Set(new DmaRange(Math.Max(range.First, written.First), Math.Min(range.Last, written.Last)));
            }
        }
    }

    /// <summary>Sets a bit of <paramref name="bitmap"/> for each page of 2^<paramref name="shift"/> bytes of the range that was written, and forgets it.</summary>
    internal void Report(DmaRange range, int shift, Span<byte> bitmap)
    {
        // Whichever is less: the pages asked for, or the pages written.
        ulong first = range.First >> PageShift >> ChunkShift;
        ulong last = range.Last >> PageShift >> ChunkShift;
        if (last - first < (ulong)_chunks.Count)
        {
            for (ulong chunk = first; ; chunk++)
            {
                ReportChunk(chunk, range, shift, bitmap);
                if (chunk == last)
                {
                    break;
                }
            }
        }
        else
        {
            foreach (ulong chunk in _chunks.Keys.Where(chunk => chunk >= first && chunk <= last).ToArray())
            {
                ReportChunk(chunk, range, shift, bitmap);
            }
        }
    }

    private void Set(DmaRange range)
    {
        for (ulong page = range.First >> PageShift; ; page++)
        {
            ulong chunk = page >> ChunkShift;
            _chunks[chunk] = _chunks.GetValueOrDefault(chunk) | (1ul << (int)(page & 63));
            if (page == range.Last >> PageShift)
            {
                break;
            }
        }
    }

    private void ReportChunk(ulong chunk, DmaRange range, int shift, Span<byte> bitmap)
    {
        if (!_chunks.TryGetValue(chunk, out ulong bits))
        {
            return;
        }

        for (int index = 0; index < 64; index++)
        {
            ulong first = ((chunk << ChunkShift) + (uint)index) << PageShift;
            ulong last = first + ((1ul << PageShift) - 1);
            if ((bits & (1ul << index)) == 0 || last < range.First || first > range.Last)
            {
                continue;
            }

            // The units of the report that this page lies in, or that lie in it.
            ulong unit = (Math.Max(first, range.First) - range.First) >> shift;
            ulong lastUnit = (Math.Min(last, range.Last) - range.First) >> shift;
            for (; unit <= lastUnit; unit++)
            {
                bitmap[(int)(unit >> 3)] |= (byte)(1 << (int)(unit & 7));
            }

            // A page that reaches beyond the range is not reported whole.
            if (first >= range.First && last <= range.Last)
            {
                bits &= ~(1ul << index);
            }
        }

        if (bits == 0)
        {
            _ = _chunks.Remove(chunk);
        }
        else
        {
            _chunks[chunk] = bits;
        }
    }
}
