// SPDX-License-Identifier: Apache-2.0
using System.Numerics;
using NUnit.Framework;

namespace Cosim.Pcie.Tests;

public class TlpSplitTests
{
    [Test]
    public void NextRequest_AnyTransfer_CoversItWithinLimitAnd4KiB()
    {
        Random random = new(3);
        for (int i = 0; i < 5_000; i++)
        {
            int limit = 128 << random.Next(6);
            ulong address = (ulong)random.NextInt64(0, 1L << 40);
            long remaining = random.Next(1, 20_000);
            long parts = 0;
            long most = (remaining / limit) + 2;
            while (remaining > 0)
            {
                int length = TlpSplit.NextRequest(address, remaining, limit);

                Assert.That(length, Is.InRange(1, remaining));
                Assert.That(ByteEnables.Dwords(address, length) * 4, Is.LessThanOrEqualTo(limit));
                Assert.That((address & 0xFFF) + (uint)length, Is.LessThanOrEqualTo(4096));
                address += (uint)length;
                remaining -= length;
                parts++;
            }

            Assert.That(parts, Is.LessThanOrEqualTo(most));
        }
    }

    [Test]
    public void NextCompletion_AnyRead_EndsOnBoundaryWithinMaxPayload()
    {
        Random random = new(4);
        for (int i = 0; i < 5_000; i++)
        {
            int maxPayload = 128 << random.Next(6);
            ulong address = (ulong)random.NextInt64(0, 1L << 40);
            int remaining = random.Next(1, 4097 - (int)(address & 0xFFF));
            while (remaining > 0)
            {
                int length = TlpSplit.NextCompletion(address, remaining, maxPayload);

                Assert.That(length, Is.InRange(1, remaining));
                Assert.That(ByteEnables.Dwords(address, length) * 4, Is.LessThanOrEqualTo(maxPayload));
                Assert.That(length == remaining || (address + (uint)length) % TlpSplit.ReadCompletionBoundary == 0, Is.True, "all but the last end on the boundary");
                address += (uint)length;
                remaining -= length;
            }
        }
    }

    [Test]
    public void NextAccess_AnyRange_IsNaturallyAligned()
    {
        for (uint address = 0; address < 32; address++)
        {
            for (int remaining = 1; remaining < 32; remaining++)
            {
                int length = TlpSplit.NextAccess(address, remaining);

                Assert.That(length, Is.InRange(1, Math.Min(8, remaining)));
                Assert.That(BitOperations.IsPow2(length), Is.True);
                Assert.That(address % (uint)length, Is.Zero);
                bool couldBeWider = length < 8 && length * 2 <= remaining && address % (uint)(length * 2) == 0;
                Assert.That(couldBeWider, Is.False, $"{remaining} bytes at {address}");
            }
        }
    }

    [Test]
    public void ByteEnables_AnyRange_GiveItBack()
    {
        for (uint address = 0; address < 8; address++)
        {
            for (int length = 1; length < 20; length++)
            {
                byte first = ByteEnables.First(address, length);
                byte last = ByteEnables.Last(address, length);
                int dwords = ByteEnables.Dwords(address, length);

                int enabled = BitOperations.PopCount(first) + BitOperations.PopCount(last) + (4 * Math.Max(0, dwords - 2));
                Assert.That(enabled, Is.EqualTo(length));
                Assert.That(ByteEnables.ByteCount(dwords, first, last), Is.EqualTo(length));
                Assert.That(ByteEnables.LowerAddress(address, first), Is.EqualTo(address));
            }
        }
    }

    // The table of Byte Count values in 2.3.1.1, where enables have holes.
    [TestCase(1, 0b1001, 0, 4)]
    [TestCase(1, 0b0101, 0, 3)]
    [TestCase(1, 0b1010, 0, 3)]
    [TestCase(1, 0b0000, 0, 1)]
    [TestCase(3, 0b1000, 0b0001, 6)]
    [TestCase(2, 0b0100, 0b1000, 6)]
    public void ByteCount_WithHoles_CountsFromFirstToLast(int dwords, int first, int last, int expected) =>
        Assert.That(ByteEnables.ByteCount(dwords, (byte)first, (byte)last), Is.EqualTo(expected));
}
