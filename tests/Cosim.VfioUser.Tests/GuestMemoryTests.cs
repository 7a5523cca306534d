// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.VfioUser.Tests;

/// <summary>The copies themselves, and the map as a data structure.</summary>
public sealed class GuestMemoryTests
{
    private const int Page = GuestMemory.PageSize;

    [Test]
    public void ReadWrite_EveryAlignmentAndLength_MovesExactlyThoseBytes()
    {
        using SharedMemory file = new(Page);
        using GuestMemory memory = new();
        Assert.That(memory.Map(new DmaRange(0, Page - 1), DmaAccess.ReadWrite, file.Fd, 0), Is.EqualTo(Errno.None));
        byte[] data = [.. Enumerable.Range(0, 300).Select(value => (byte)((value * 7) + 1))];
        byte[] read = new byte[320];
        for (int guest = 0; guest < 17; guest++)
        {
            for (int local = 0; local < 9; local++)
            {
                for (int length = 1; length < 280; length += length < 80 ? 1 : 13)
                {
                    Span<byte> image = file.Span(0, 400);
                    image.Fill(0xAA);
                    read.AsSpan().Fill(0xBB);
                    ReadOnlySpan<byte> source = data.AsSpan(local, length);

                    _ = memory.Write((ulong)(64 + guest), source);
                    _ = memory.Read((ulong)(64 + guest), read.AsSpan(local, length));

                    bool written = image.Slice(64 + guest, length).SequenceEqual(source)
                        && image[..(64 + guest)].IndexOfAnyExcept((byte)0xAA) < 0
                        && image[(64 + guest + length)..].IndexOfAnyExcept((byte)0xAA) < 0;
                    bool taken = read.AsSpan(local, length).SequenceEqual(source)
                        && read.AsSpan(0, local).IndexOfAnyExcept((byte)0xBB) < 0
                        && read.AsSpan(local + length).IndexOfAnyExcept((byte)0xBB) < 0;
                    Assert.That(written && taken, Is.True, $"guest {guest}, local {local}, length {length}");
                }
            }
        }
    }

    [TestCase(8, 8)]
    [TestCase(6, 20)]
    [TestCase(5, 30)]
    [TestCase(8, 200)]
    [TestCase(3, 77)]
    public void Read_WhileAnotherWrites_NeverTearsAnAlignedField(int start, int length)
    {
        using SharedMemory file = new(Page);
        using GuestMemory memory = new();
        _ = memory.Map(new DmaRange(0, Page - 1), DmaAccess.ReadWrite, file.Fd, 0);
        bool stop = false;
        Thread writer = new(() => WriteFields(file, (start + 7) / 8, (start + length) / 8, ref stop));
        writer.Start();
        byte[] read = new byte[length];
        int torn = 0;
        for (int round = 0; round < 300_000; round++)
        {
            _ = memory.Read((ulong)start, read);
            for (int field = (start + 7) & ~7; field + 8 <= start + length; field += 8)
            {
                ulong value = BitConverter.ToUInt64(read, field - start);
                torn += value is 0 or ulong.MaxValue ? 0 : 1;
            }
        }

        Volatile.Write(ref stop, true);
        writer.Join();
        Assert.That(torn, Is.Zero);
    }

    [Test]
    public void Map_ThousandsOfRanges_AreEachFound()
    {
        using SharedMemory file = new(Page);
        using GuestMemory memory = new();
        Random random = new(5);
        ulong[] pages = [.. Enumerable.Range(0, 5000).Select(page => (ulong)page * 2)];
        random.Shuffle(pages);
        foreach (ulong page in pages)
        {
            Assert.That(memory.Map(new DmaRange(page * Page, (page * Page) + Page - 1), DmaAccess.ReadWrite, file.Fd, 0), Is.EqualTo(Errno.None));
        }

        byte[] one = new byte[8];
        foreach (ulong page in pages)
        {
            Assert.That(memory.Read((page * Page) + 4088, one), Is.EqualTo(DmaResult.Ok));
            Assert.That(memory.Read((page * Page) + 4089, one), Is.EqualTo(DmaResult.Unmapped));
        }

        Assert.That(memory.Unmap(new DmaRange(0, ulong.MaxValue)), Is.EqualTo(Errno.None));
        Assert.That(memory.Count, Is.Zero);
    }

    [Test]
    public void Access_Repeated_AllocatesNothing()
    {
        using SharedMemory file = new(Page);
        using GuestMemory memory = new();
        _ = memory.Map(new DmaRange(0, Page - 1), DmaAccess.ReadWrite, file.Fd, 0);
        byte[] data = new byte[256];
        _ = memory.Write(0, data);
        _ = memory.Read(0, data);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int round = 0; round < 10_000; round++)
        {
            _ = memory.Write(16, data);
            _ = memory.Read(32, data);
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    private static unsafe void WriteFields(SharedMemory file, int first, int end, ref bool stop)
    {
        ulong* fields = (ulong*)file.Address;
        while (!Volatile.Read(ref stop))
        {
            for (int field = first; field < end; field++)
            {
                Volatile.Write(ref fields[field], ~fields[field]);
            }
        }
    }
}
