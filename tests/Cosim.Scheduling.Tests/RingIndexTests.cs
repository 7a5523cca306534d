// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>More buffers than an index counts, and as many at once as a queue can have.</summary>
[TestFixture(FpgaKind.Model, (ushort)256, (ushort)250)]
[TestFixture(FpgaKind.Model, (ushort)32768, (ushort)32768)]
[TestFixture(FpgaKind.Verilator, (ushort)256, (ushort)250)]
public sealed class RingIndexTests(FpgaKind kind, ushort splitSize, ushort packedSize) : BridgeFixture(kind)
{
    private const int Buffers = 65_536 + 256;
    private const ulong RingMemory = 0x1_0000;
    private const ulong Data = 0x20_0000;

    private async Task Start(ulong features)
    {
        BackEnd.UsesUnread = true;
        BackEnd.QueueSizeLimit = 32768;
        await BackEnd.Start();
        await Driver.Enable(9);
        await Driver.Reset();
        await Driver.Negotiate(features);
    }

    [Test]
    public async Task SplitRing_IndicesPast65535_EveryBufferIsUsedOnce()
    {
        ushort size = splitSize;
        await Start(0);
        MockQueue queue = await Driver.AddQueue(0, size, RingMemory);
        byte[] table = new byte[size * Descriptor.Size];
        byte[] entries = new byte[size * 2];
        for (int i = 0; i < size; i++)
        {
            new Descriptor(Data, 4, DescriptorFlags.Write, 0).Write(table.AsSpan(i * Descriptor.Size));
            BinaryPrimitives.WriteUInt16LittleEndian(entries.AsSpan(2 * i), (ushort)i);
        }

        await Bridge.WriteHostMemory(0, queue.Layout.DescriptorTable, table);
        await Bridge.WriteHostMemory(0, queue.Layout.AvailableEntry(0), entries);
        await queue.Write16(queue.Layout.Available, SplitVirtqueue.AvailableNoInterrupt);
        await Driver.DriverOk();
        for (int done = size; done < Buffers + size; done += size)
        {
            await Bridge.WriteHostMemory(0, queue.Layout.UsedElement(0), new byte[8 * size]);
            await queue.Write16(queue.Layout.AvailableIndex, (ushort)done);
            await queue.Notify();
            await Until(async () => await queue.Read16(queue.Layout.UsedIndex) == (ushort)done);
            byte[] used = await Bridge.ReadHostMemory(0, queue.Layout.UsedElement(0), 8 * size);
            Assert.That(Enumerable.Range(0, size).Select(i => BitConverter.ToInt32(used, 8 * i)).Order(), Is.EqualTo(Enumerable.Range(0, size)), $"lap to {done}");
        }

        Assert.That(Log, Is.Empty);
    }

    [Test]
    public async Task PackedRing_ManyLaps_EveryBufferIsUsedOnce()
    {
        ushort size = packedSize;
        await Start(VirtioFeatures.RingPacked);
        MockPackedQueue queue = await Driver.AddPackedQueue(0, size, RingMemory);
        await queue.SetDriverEvent(0, PackedVirtqueue.EventDisable);
        await Driver.DriverOk();
        byte[] ring = new byte[size * PackedDescriptor.Size];
        for (int lap = 0; lap * size < Buffers; lap++)
        {
            bool wrap = lap % 2 == 0;
            for (int i = 0; i < size; i++)
            {
                new PackedDescriptor(Data, 4, (ushort)i, DescriptorFlags.Write | PackedVirtqueue.AvailableFlags(wrap)).Write(ring.AsSpan(i * PackedDescriptor.Size));
            }

            await Bridge.WriteHostMemory(0, queue.Layout.DescriptorRing, ring);
            await queue.Notify();
            await Until(async () => PackedVirtqueue.IsUsed((await Descriptors(queue, size - 1, 1))[0].Flags, wrap));
            PackedDescriptor[] used = await Descriptors(queue, 0, size);
            Assert.That(used.All(element => PackedVirtqueue.IsUsed(element.Flags, wrap) && element.Length == 0), Is.True, $"lap {lap}");
            Assert.That(used.Select(element => (int)element.Id).Order(), Is.EqualTo(Enumerable.Range(0, size)), $"lap {lap}");
        }

        Assert.That(Log, Is.Empty);
    }

    private async Task<PackedDescriptor[]> Descriptors(MockPackedQueue queue, int from, int count)
    {
        byte[] bytes = await Bridge.ReadHostMemory(0, queue.Layout.DescriptorAddress(from), count * PackedDescriptor.Size);
        return [.. Enumerable.Range(0, count).Select(i => PackedDescriptor.Read(bytes.AsSpan(i * PackedDescriptor.Size)))];
    }

    private static async Task Until(Func<Task<bool>> condition)
    {
        long start = Environment.TickCount64;
        while (!await condition())
        {
            Assert.That(Environment.TickCount64 - start, Is.LessThan(60_000), "the buffers are not used");
        }
    }
}
