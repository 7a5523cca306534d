// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Scheduling;

/// <summary>What one function may take of the pool, so that a driver that gives nothing back stalls no other function.</summary>
/// <param name="pool">The pool of the session.</param>
/// <param name="quota">Bytes that the function may hold; a first block may be larger.</param>
internal sealed class PoolShare(BufferPool pool, ulong quota)
{
    public BufferPool Pool { get; } = pool;

    public ulong Quota { get; } = quota;

    /// <summary>Bytes that the function's queues hold.</summary>
    public ulong Held { get; set; }
}

/// <summary>One queue's access to its function's share.</summary>
/// <remarks>
/// A queue that holds nothing may fill the function's share; one that holds something leaves a quarter of it to the others: receive buffers,
/// which come back when it pleases the network, do not keep the transmit queue from moving.
/// </remarks>
internal sealed class QueueShare(PoolShare share)
{
    private ulong _held;

    /// <inheritdoc cref="BufferPool.GreatestBuffer"/>
    public ulong GreatestBuffer => share.Pool.GreatestBuffer;

    /// <inheritdoc cref="BufferPool.TryAllocate"/>
    public bool TryAllocate(ulong length, out ulong address)
    {
        address = 0;
        if (length > share.Pool.MaxAllocation)
        {
            return false;
        }

        ulong block = share.Pool.BlockSize(length);
        ulong limit = _held == 0 ? share.Quota : share.Quota / 4 * 3;
        if ((share.Held != 0 && share.Held + block > limit) || !share.Pool.TryAllocate(length, out address))
        {
            return false;
        }

        _held += block;
        share.Held += block;
        return true;
    }

    /// <inheritdoc cref="BufferPool.Release"/>
    public void Release(ulong address, ulong length)
    {
        share.Pool.Release(address, length);
        _held -= share.Pool.BlockSize(length);
        share.Held -= share.Pool.BlockSize(length);
    }
}
