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
                ulong end = address + pool.BlockSize(length);
                Assert.That(address, Is.GreaterThanOrEqualTo(Base));
                Assert.That(end, Is.LessThanOrEqualTo(Base + Size));
                Assert.That(taken.Any(t => address < t.Address + pool.BlockSize(t.Length) && t.Address < end), Is.False);
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

    [Test]
    public void BufferPool_OfSixteenGibibytes_TakesLittleMemoryAndGivesItAll()
    {
        const ulong Size = 1UL << 34;
        long before = GC.GetAllocatedBytesForCurrentThread();
        BufferPool pool = new(0x1000, Size);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(16 << 20));
        Assert.That(pool.TryAllocate(1, out ulong small), Is.True);
        Assert.That(pool.TryAllocate(Size / 2, out ulong large), Is.True);
        Assert.That(large >= small + pool.BlockSize(1) || small >= large + (Size / 2), Is.True);
        pool.Release(large, Size / 2);
        pool.Release(small, 1);
        Assert.That(pool.Free, Is.EqualTo(Size));
        Assert.That(pool.TryAllocate(Size, out ulong all), Is.True);
        Assert.That(all, Is.EqualTo(0x1000));
    }
}
