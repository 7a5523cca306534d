// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Scheduling.Tests;

public sealed class BufferPoolTests
{
    [Test]
    public void TryAllocate_RandomSizes_BlocksNeverOverlapAndAllComesBack()
    {
        const ulong Base = 0x1_0000_0000;
        const ulong Size = (1 << 20) + (3 * BufferPool.MinBlock);
        BufferPool pool = new(Base, Size);
        Random random = new(7);
        List<(ulong Address, ulong Length)> taken = [];
        for (int i = 0; i < 20_000; i++)
        {
            ulong length = (ulong)random.Next(1, 40_000);
            if (random.Next(2) == 0 && pool.TryAllocate(length, out ulong address))
            {
                ulong end = address + BufferPool.BlockSize(length);
                Assert.That(address, Is.GreaterThanOrEqualTo(Base));
                Assert.That(end, Is.LessThanOrEqualTo(Base + Size));
                Assert.That(taken.Any(t => address < t.Address + BufferPool.BlockSize(t.Length) && t.Address < end), Is.False);
                taken.Add((address, length));
            }
            else if (taken.Count != 0)
            {
                int which = random.Next(taken.Count);
                pool.Release(taken[which].Address, taken[which].Length);
                taken.RemoveAt(which);
            }
        }

        taken.ForEach(t => pool.Release(t.Address, t.Length));
        Assert.That(pool.Free, Is.EqualTo(Size));
        Assert.That(pool.TryAllocate(pool.MaxAllocation, out _), Is.True, "everything has merged again");
    }

    [Test]
    public void TryAllocate_LargerThanThePool_IsRefused()
    {
        BufferPool pool = new(0, 1 << 16);
        Assert.That(pool.TryAllocate((1 << 16) + 1, out _), Is.False);
        Assert.That(pool.TryAllocate(ulong.MaxValue, out _), Is.False);
        Assert.That(pool.TryAllocate(1 << 16, out _), Is.True);
        Assert.That(pool.TryAllocate(1, out _), Is.False);
    }
}
