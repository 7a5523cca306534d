// SPDX-License-Identifier: Apache-2.0
using System.Numerics;

namespace Cosim.Scheduling;

/// <summary>Buddy allocator over the pool that host 2 lends: addresses only, it touches no memory.</summary>
/// <remarks>
/// Blocks are powers of two of at least <see cref="MinBlock"/> bytes, aligned to their size. Nothing is allocated per call. A pool of more
/// than 256 MiB has larger blocks, so that what the allocator itself takes does not grow with what a back end says that it lends.
/// </remarks>
public sealed class BufferPool
{
    /// <summary>Smallest block of a pool of up to 256 MiB in bytes.</summary>
    public const int MinBlock = 256;

    private const int SmallestOrder = 8;
    private const int MostBlocksOrder = 20;
    private const int None = -1;

    private readonly ulong _base;
    private readonly int _minOrder;
    private readonly int[] _next;
    private readonly int[] _previous;
    private readonly sbyte[] _freeOrder;
    private readonly int[] _heads;

    /// <summary>Makes the allocator.</summary>
    /// <param name="address">First address; blocks are aligned relative to it.</param>
    /// <param name="size">Size in bytes; a rest below the smallest block is not used.</param>
    public BufferPool(ulong address, ulong size)
    {
        _minOrder = Math.Max(SmallestOrder, BitOperations.Log2(size) - MostBlocksOrder);
        int blocks = (int)(size >> _minOrder);
        ArgumentOutOfRangeException.ThrowIfZero(blocks, nameof(size));
        _base = address;
        _next = new int[blocks];
        _previous = new int[blocks];
        _freeOrder = new sbyte[blocks];
        Array.Fill(_freeOrder, (sbyte)-1);
        _heads = new int[32];
        Array.Fill(_heads, None);
        for (int block = 0; block < blocks;)
        {
            int order = Math.Min(block == 0 ? 31 : BitOperations.TrailingZeroCount(block), BitOperations.Log2((uint)(blocks - block)));
            Push(block, order);
            MaxAllocation = Math.Max(MaxAllocation, 1UL << (order + _minOrder));
            block += 1 << order;
        }

        Free = (ulong)blocks << _minOrder;
    }

    /// <summary>Address of its first byte.</summary>
    public ulong Start => _base;

    /// <summary>Greatest block in bytes that an empty pool can give.</summary>
    public ulong MaxAllocation { get; }

    /// <summary>Greatest buffer in bytes that can be had for sure once the others are given back: the rings take a part for good.</summary>
    public ulong GreatestBuffer => MaxAllocation / 2;

    /// <summary>Free bytes.</summary>
    public ulong Free { get; private set; }

    /// <summary>Bytes that an allocation of <paramref name="length"/> bytes takes.</summary>
    public ulong BlockSize(ulong length) => BitOperations.RoundUpToPowerOf2(Math.Max(length, 1UL << _minOrder));

    /// <summary>Takes a block.</summary>
    /// <param name="length">Bytes needed, at least 1.</param>
    /// <param name="address">Address of the block.</param>
    /// <returns>False if there is no such block now.</returns>
    public bool TryAllocate(ulong length, out ulong address)
    {
        address = 0;
        if (length > MaxAllocation)
        {
            return false;
        }

        int order = BitOperations.Log2(BlockSize(length)) - _minOrder;
        int from = order;
        while (from < _heads.Length && _heads[from] == None)
        {
            from++;
        }

        if (from == _heads.Length)
        {
            return false;
        }

        int block = _heads[from];
        Remove(block, from);
        while (from > order)
        {
            from--;
            Push(block + (1 << from), from);
        }

        Free -= 1UL << (order + _minOrder);
        address = _base + ((ulong)block << _minOrder);
        return true;
    }

    /// <summary>Gives a block back.</summary>
    /// <param name="address">What <see cref="TryAllocate"/> gave.</param>
    /// <param name="length">The length asked for then.</param>
    public void Release(ulong address, ulong length)
    {
        int order = BitOperations.Log2(BlockSize(length)) - _minOrder;
        int block = (int)((address - _base) >> _minOrder);
        Free += 1UL << (order + _minOrder);
        while (true)
        {
            int buddy = block ^ (1 << order);
            if ((uint)buddy + (1u << order) > (uint)_freeOrder.Length || _freeOrder[buddy] != order)
            {
                break;
            }

            Remove(buddy, order);
            block = Math.Min(block, buddy);
            order++;
        }

        Push(block, order);
    }

    private void Push(int block, int order)
    {
        _freeOrder[block] = (sbyte)order;
        _previous[block] = None;
        _next[block] = _heads[order];
        if (_heads[order] != None)
        {
            _previous[_heads[order]] = block;
        }

        _heads[order] = block;
    }

    private void Remove(int block, int order)
    {
        _freeOrder[block] = -1;
        if (_previous[block] == None)
        {
            _heads[order] = _next[block];
        }
        else
        {
            _next[_previous[block]] = _next[block];
        }

        if (_next[block] != None)
        {
            _previous[_next[block]] = _previous[block];
        }
    }
}
