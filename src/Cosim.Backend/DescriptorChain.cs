// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Backend;

/// <summary>
/// The buffer that a <see cref="Virtqueue"/> has taken last: device-readable parts, then device-writable ones, all of
/// them inside the pool. Valid until the queue takes the next.
/// </summary>
public sealed unsafe class DescriptorChain
{
    private readonly List<Segment> _segments = [];
    private int _readableCount;

    /// <summary>Index of the first descriptor: what the used ring names the buffer by.</summary>
    public ushort Head { get; private set; }

    /// <summary>Device-readable bytes.</summary>
    public ulong ReadableLength { get; private set; }

    /// <summary>Device-writable bytes.</summary>
    public ulong WritableLength { get; private set; }

    /// <summary>Copies device-readable bytes out.</summary>
    /// <returns>How many there were, at most as many as asked for.</returns>
    public int Read(ulong offset, Span<byte> destination)
    {
        int done = 0;
        while (done < destination.Length && Find(writable: false, offset + (ulong)done, out byte* address, out ulong length))
        {
            int part = (int)Math.Min(length, (ulong)(destination.Length - done));
            new ReadOnlySpan<byte>(address, part).CopyTo(destination[done..]);
            done += part;
        }

        return done;
    }

    /// <summary>Copies bytes into the device-writable part.</summary>
    /// <returns>How many fitted.</returns>
    public int Write(ulong offset, ReadOnlySpan<byte> source)
    {
        int done = 0;
        while (done < source.Length && Find(writable: true, offset + (ulong)done, out byte* address, out ulong length))
        {
            int part = (int)Math.Min(length, (ulong)(source.Length - done));
            source.Slice(done, part).CopyTo(new Span<byte>(address, part));
            done += part;
        }

        return done;
    }

    /// <summary>Fills a range of the device-writable part with zeros.</summary>
    public void Clear(ulong offset, ulong length)
    {
        while (length > 0 && Find(writable: true, offset, out byte* address, out ulong available))
        {
            uint part = (uint)Math.Min(Math.Min(length, available), int.MaxValue);
            System.Runtime.CompilerServices.Unsafe.InitBlockUnaligned(address, 0, part);
            offset += part;
            length -= part;
        }
    }

    /// <summary>Where the byte at an offset is, and how many follow it in one piece.</summary>
    /// <param name="writable">Counts from the start of the device-writable part, else of the device-readable one.</param>
    /// <param name="offset">Offset in that part.</param>
    /// <param name="address">Its address.</param>
    /// <param name="length">Bytes from there on, at least 1.</param>
    /// <returns>False beyond the end.</returns>
    public bool Find(bool writable, ulong offset, out byte* address, out ulong length)
    {
        int end = writable ? _segments.Count : _readableCount;
        for (int index = writable ? _readableCount : 0; index < end; index++)
        {
            Segment segment = _segments[index];
            if (offset < segment.Length)
            {
                address = segment.Address + offset;
                length = segment.Length - offset;
                return true;
            }

            offset -= segment.Length;
        }

        address = null;
        length = 0;
        return false;
    }

    internal void Begin(ushort head)
    {
        Head = head;
        ReadableLength = 0;
        WritableLength = 0;
        _readableCount = 0;
        _segments.Clear();
    }

    internal void Add(byte* address, uint length, bool writable)
    {
        _segments.Add(new Segment { Address = address, Length = length });
        if (writable)
        {
            WritableLength += length;
        }
        else
        {
            _readableCount++;
            ReadableLength += length;
        }
    }

    private struct Segment
    {
        internal byte* Address;
        internal uint Length;
    }
}
