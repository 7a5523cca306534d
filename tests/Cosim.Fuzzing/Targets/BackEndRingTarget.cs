// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Cosim.Backend;
using Cosim.Virtio;

namespace Cosim.Fuzzing.Targets;

/// <summary>Host 2's end of a ring: the pool is what the input says, and every buffer that is taken lies inside of it.</summary>
/// <remarks>Bytes 0 to 7: size (a power of two by bits 2:0), features, avail.idx, steps between takes and completions; from byte 8 on the pool begins.</remarks>
public sealed unsafe class BackEndRingTarget : FuzzTarget
{
    private const int PoolBytes = 1 << 14;
    private const int GuardBytes = 4096;
    private const int Head = 8;
    private const ulong Iova = 0x10_0000;
    private const byte Guard = 0xA5;

    private readonly byte* _memory = (byte*)NativeMemory.AlignedAlloc(PoolBytes + (2 * GuardBytes), 4096);
    private readonly Pool _pool;
    private readonly Virtqueue _queue;
    private readonly byte[] _data = new byte[PoolBytes];
    private int _calls;

    public BackEndRingTarget()
    {
        new Span<byte>(_memory, PoolBytes + (2 * GuardBytes)).Fill(Guard);
        _pool = new Pool(_memory + GuardBytes, Iova, PoolBytes);
        _queue = new Virtqueue(_pool, 0, () => _calls++);
    }

    public override string Name => "backend-ring";

    public override string What => "rings in host 2's pool";

    public override IReadOnlyList<string> Classes { get; } = ["Cosim.Backend.Virtqueue", "Cosim.Backend.DescriptorChain", "Cosim.Backend.Pool", "Cosim.Virtio.SplitVirtqueue"];

    // A chain's segments, which are kept, and the sentence about what is wrong.
    public override long MostAllocated(int length) => 1 << 21;

    public override void Generate(FuzzInput input, FuzzRandom random)
    {
        int size = 1 << random.Between(1, 6);
        int chains = random.Between(1, Math.Min(size, 6));
        _ = input.Number((ulong)int.TrailingZeroCount(size), 1).Number((ulong)random.Below(8), 1).Number((ulong)chains, 2, FieldKind.Length).Number((ulong)random.Below(256), 1).Number(0, 1).Number(0, 2);
        int next = 0;
        Span<ushort> heads = stackalloc ushort[chains];
        int table = input.Length;
        for (int chain = 0; chain < chains && next < size; chain++)
        {
            int length = random.Between(1, Math.Min(3, size - next));
            heads[chain] = (ushort)next;
            bool writable = false;
            for (int i = 0; i < length; i++)
            {
                bool indirect = random.OneIn(8) && i == length - 1;
                writable |= random.OneIn(2);
                uint bytes = indirect ? (uint)random.Between(1, 4) * 16 : (uint)random.Below(300);
                ulong flags = (i + 1 < length ? 1u : 0) | (indirect ? 4u : writable ? 2u : 0);
                _ = input.Number(Iova + 4096 + ((ulong)random.Below(700) * 16), 8).Number(bytes, 4, FieldKind.Length).Number(flags, 2).Number((ulong)(next + 1), 2);
                input.Sections.Add(new Section(input.Length - 16, input.Length));
                next++;
            }
        }

        int available = (table - Head) + (16 * size);
        while (input.Length - Head < available)
        {
            _ = input.Add(0);
        }

        _ = input.Number((ulong)random.Below(2), 2).Number((ulong)chains, 2, FieldKind.Length);
        for (int i = 0; i < size; i++)
        {
            _ = input.Number(i < chains ? heads[i] : 0u, 2);
        }

        input.IsMarked = true;
    }

    public override void Mark(FuzzInput input)
    {
        int size = input.Length > 0 ? 1 << (input.Bytes[0] & 7) : 1;
        for (int at = 0; at < Math.Min(Head, input.Length); at++)
        {
            input.Fields.Add(new Field(at, 1, FieldKind.Number));
        }

        for (int at = Head; at + 16 <= input.Length && at < Head + (16 * size); at += 16)
        {
            input.Fields.Add(new Field(at, 8, FieldKind.Number));
            input.Fields.Add(new Field(at + 8, 4, FieldKind.Length));
            input.Fields.Add(new Field(at + 12, 2, FieldKind.Number));
            input.Fields.Add(new Field(at + 14, 2, FieldKind.Number));
            input.Sections.Add(new Section(at, at + 16));
        }

        for (int at = Head + (16 * size); at + 2 <= input.Length && at < Head + (18 * size) + 8; at += 2)
        {
            input.Fields.Add(new Field(at, 2, FieldKind.Number));
        }
    }

    public override void Execute(ReadOnlySpan<byte> input)
    {
        Span<byte> head = stackalloc byte[Head];
        head.Clear();
        input[..Math.Min(input.Length, Head)].CopyTo(head);
        Span<byte> pool = new(_memory + GuardBytes, PoolBytes);
        pool.Clear();
        if (input.Length > Head)
        {
            input[Head..Math.Min(input.Length, Head + PoolBytes)].CopyTo(pool);
        }

        _calls = 0;
        uint size = head[0] switch { 0xFF => 0, 0xFE => 1 << 16, >= 0x80 => head[0], _ => 1u << (head[0] & 7) };
        _queue.Reset();
        _queue.SuppressKicks();
        Require(!_queue.TryTake() && !_queue.Rearm(), "a queue that is not set up gives a buffer");
        _queue.SetFeatures(((head[1] & 1) != 0 ? VirtioFeatures.RingEventIdx : 0) | ((head[1] & 2) != 0 ? VirtioFeatures.RingIndirectDesc : 0));
        if (!_queue.TrySetSize(size))
        {
            Require(size == 0 || !uint.IsPow2(size) || size > 32768, $"a size of {size} is refused");
            Require(!_queue.TrySetAddresses(Iova, Iova + 64, Iova + 128), "a ring without a size is taken");
            return;
        }

        // The upper bits of byte 5 move a part of the ring to where it may not be.
        ulong available = Iova + (ulong)SplitVirtqueue.DescriptorTableBytes((int)size) + (head[5] & 1u);
        ulong used = ((available + (ulong)SplitVirtqueue.AvailableBytes((int)size) + 3) & ~3UL) + ((ulong)(head[5] & 6) << 1);
        ulong table = (head[5] & 8) != 0 ? Iova + PoolBytes : (head[5] & 16) != 0 ? Iova + 8 : Iova;
        used += (head[5] & 32) != 0 ? 2u : (head[5] & 64) != 0 ? (ulong)PoolBytes : 0;
        available += (head[5] & 128) != 0 ? (ulong)PoolBytes : 0;
        if (!_queue.TrySetAddresses(table, used, available))
        {
            Require(head[5] != 0, "a ring inside the pool is refused");
            return;
        }

        _queue.NextAvailable = BinaryPrimitives.ReadUInt16LittleEndian(head[6..]);
        _queue.Enabled = true;
        Require(!_queue.TrySetSize(2) && !_queue.TrySetAddresses(table, used, available), "a ring that is served is changed");
        Serve(size, head);
        Require(new ReadOnlySpan<byte>(_memory, GuardBytes).IndexOfAnyExcept(Guard) < 0 && new ReadOnlySpan<byte>(_memory + GuardBytes + PoolBytes, GuardBytes).IndexOfAnyExcept(Guard) < 0, "a byte beside the pool was written");
        Require(_queue.Error is null or { Length: > 0 and < 300 }, "a ring is broken without a reason");
    }

    protected override void Dispose(bool disposing)
    {
        NativeMemory.AlignedFree(_memory);
        base.Dispose(disposing);
    }

    private void Serve(uint size, ReadOnlySpan<byte> head)
    {
        byte choices = head[4];
        if ((choices & 1) != 0)
        {
            _queue.SuppressKicks();
        }

        int taken = 0;
        while (_queue.TryTake())
        {
            Require(++taken <= 2 * size, "more buffers are taken than the ring has room for");
            DescriptorChain chain = _queue.Chain;
            if (taken == 1 && (choices & 2) != 0)
            {
                _queue.Untake();
                Require(_queue.TryTake() || _queue.Error is not null, "a buffer that was put back is gone");
            }

            Inside(chain, writable: false, chain.ReadableLength);
            Inside(chain, writable: true, chain.WritableLength);
            int read = chain.Read((ulong)(choices >> 6), _data.AsSpan(0, 512));
            Require((ulong)read <= chain.ReadableLength, "more bytes are read than a buffer has");
            // What is written changes the ring itself where a buffer lies over it: that is the driver's own fault, and nobody else's.
            int written = chain.Write((ulong)((choices >> 4) & 3), _data.AsSpan(0, 64));
            Require((ulong)written <= chain.WritableLength, "more bytes are written than a buffer has room for");
            if ((choices & 8) != 0)
            {
                chain.Clear(1, (ulong)written);
            }

            _queue.Complete(chain.Head, (uint)written);
            if ((choices & 4) != 0)
            {
                _queue.Call();
            }
        }

        _queue.Call();
        _queue.Call();
        Require(_calls <= taken + 1, "the driver is told more often than there is something to tell");
        _ = _queue.Rearm();
    }

    private void Inside(DescriptorChain chain, bool writable, ulong length)
    {
        ulong at = 0;
        int steps = 0;
        while (chain.Find(writable, at, out byte* address, out ulong part))
        {
            Require(part >= 1 && address >= _memory + GuardBytes && address + part <= _memory + GuardBytes + PoolBytes, "a part of a buffer lies outside of the pool");
            at += part;
            if (++steps > 64)
            {
                return;
            }
        }

        Require(at == length, $"a buffer's parts have {at} bytes; it says {length}");
    }
}
