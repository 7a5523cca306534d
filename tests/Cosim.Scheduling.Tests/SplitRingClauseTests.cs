// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>What a device does and leaves alone in split virtqueues (virtio 1.3, 2.7), seen in host 1's memory and in the requests that reach it.</summary>
[TestFixture(FpgaKind.Model)]
[TestFixture(FpgaKind.Verilator)]
[TestFixture(FpgaKind.Ghdl)]
public sealed class SplitRingClauseTests(FpgaKind kind) : BridgeFixture(kind)
{
    private const ulong RingMemory = 0x1_0000;
    private const ulong Data = 0x10_0000;
    private const int MemoryBytes = 4 << 20;
    private const int Readable = 300;
    private const int Writable = 200;

    private RequestWatcher _watcher = null!;

    [SetUp]
    public void MakeWatcher() => _watcher = new RequestWatcher();

    [Test]
    [Clause("virtio 2.7.4.1-1")]
    [Clause("virtio 2.7.5.1-1")]
    [Clause("virtio 2.7.5.1-2")]
    public async Task Chain_CutInAnyWay_GivesTheSameAndTouchesNothingElse()
    {
        MockQueue queue = await Start(64);
        byte[] memory = new byte[MemoryBytes];
        new Random(31).NextBytes(memory);
        (await Bridge.ReadHostMemory(0, RingMemory, (int)(queue.Layout.AvailableEvent + 2 - RingMemory))).CopyTo(memory, (int)RingMemory);
        byte[] message = new byte[Readable];
        new Random(32).NextBytes(message);
        List<MockBuffer[]> chains = [];
        ulong place = Data + 1;
        foreach (int[] read in new int[][] { [300], [1, 299], [150, 150], [16, 1, 283], [.. Enumerable.Repeat(10, 30)] })
        {
            foreach (int[] write in new int[][] { [200], [199, 1], [1, 199], [.. Enumerable.Repeat(20, 10)] })
            {
                List<MockBuffer> chain = [];
                int at = 0;
                foreach (int length in read.Concat(write))
                {
                    bool isWritable = at >= Readable;
                    if (!isWritable)
                    {
                        message.AsSpan(at, length).CopyTo(memory.AsSpan((int)place));
                    }

                    chain.Add(new(place, (uint)length, isWritable));
                    place += (ulong)length + 37;
                    at += length;
                }

                chains.Add([.. chain]);
            }
        }

        await Bridge.WriteHostMemory(0, 0, memory);
        await Bridge.Observe(0, _watcher);
        foreach (MockBuffer[] chain in chains)
        {
            ushort head = await queue.Add(chain);
            await queue.Publish();
            Assert.That(await Driver.NextUsed(queue), Is.EqualTo((head, (uint)Writable)));
            int at = 0;
            foreach (MockBuffer buffer in chain.Where(b => b.Writable))
            {
                for (int i = 0; i < buffer.Length; i++)
                {
                    memory[(int)buffer.Address + i] = (byte)~message[at++];
                }
            }
        }

        byte[] after = await Bridge.ReadHostMemory(0, 0, MemoryBytes);
        int ringEnd = (int)queue.Layout.AvailableEvent + 2;
        Assert.That(after.AsSpan(0, (int)RingMemory).SequenceEqual(memory.AsSpan(0, (int)RingMemory)), Is.True, "in front of the ring");
        Assert.That(after.AsSpan(ringEnd).SequenceEqual(memory.AsSpan(ringEnd)), Is.True, "behind the ring: each byte of the answers, and no other, is new");
        MockBuffer[] writable = [.. chains.SelectMany(c => c).Where(b => b.Writable)];
        foreach (WatchedRequest request in _watcher.Requests)
        {
            bool isUsedRing = request.Address >= queue.Layout.Used && request.End <= queue.Layout.AvailableEvent + 2;
            bool isAnswer = writable.Any(b => request.Address >= b.Address && request.End <= b.Address + b.Length);
            Assert.That(request.IsWrite ? isUsedRing || isAnswer : !writable.Any(b => request.Touches(b.Address, (int)b.Length)), Is.True, $"{request}");
        }
    }

    [Test]
    [Clause("virtio 2.7.5.3.2-1")]
    [Clause("virtio 2.7.5.3.2-2")]
    public async Task Chain_DescriptorsAndThenAnIndirectTableFlaggedWritable_IsOneChain()
    {
        MockQueue queue = await Start(16, VirtioFeatures.RingIndirectDesc);
        byte[] table = new byte[2 * Descriptor.Size];
        new Descriptor(Data + 4, 4, DescriptorFlags.Next, 1).Write(table);
        new Descriptor(Data + 64, 8, DescriptorFlags.Write, 0).Write(table.AsSpan(Descriptor.Size));
        await Bridge.WriteHostMemory(0, Data + 0x1000, table);
        await Bridge.WriteHostMemory(0, Data, new byte[] { 1, 2, 3, 4, 5, 6, 7, 8 });
        await queue.WriteDescriptor(3, new Descriptor(Data, 3, DescriptorFlags.Next, 4));
        await queue.WriteDescriptor(4, new Descriptor(Data + 3, 1, DescriptorFlags.Next, 5));
        await queue.WriteDescriptor(5, new Descriptor(Data + 0x1000, (uint)table.Length, DescriptorFlags.Indirect | DescriptorFlags.Write, 0));
        await queue.WriteAvailable(3);
        await queue.Publish();
        await UntilUsed(queue, 1);
        Assert.That(await Bridge.ReadHostMemory(0, queue.Layout.UsedElement(0), 8), Is.EqualTo(new byte[] { 3, 0, 0, 0, 8, 0, 0, 0 }));
        Assert.That(await Bridge.ReadHostMemory(0, Data + 64, 8), Is.EqualTo(new byte[] { 0xFE, 0xFD, 0xFC, 0xFB, 0xFA, 0xF9, 0xF8, 0xF7 }));
    }

    [Test]
    [Clause("virtio 2.7.7.2-1")]
    [Clause("virtio 2.7.7.2-2")]
    [Clause("virtio 2.7.7.2-3")]
    [Clause("virtio 2.7.10.2-1")]
    public async Task UsedNotifications_WithoutEventIdx_GoByTheFlagsAlone()
    {
        MockQueue queue = await Start();
        await Bridge.Observe(0, _watcher);
        ushort used = 0;
        foreach (ushort usedEvent in new ushort[] { 0x7777, 0, 0xFFFF })
        {
            await queue.Write16(queue.Layout.UsedEvent, usedEvent);
            await Exchange(queue);
            Assert.That(await Driver.NextInterrupt(), Is.EqualTo(1));
            await UntilUsed(queue, ++used);
        }

        await queue.Write16(queue.Layout.Available, SplitVirtqueue.AvailableNoInterrupt);
        for (int i = 0; i < 3; i++)
        {
            await queue.Write16(queue.Layout.UsedEvent, used);
            await Exchange(queue);
            await UntilUsed(queue, ++used);
        }

        await queue.Write16(queue.Layout.Available, 0);
        await Exchange(queue);
        Assert.That(await Driver.NextInterrupt(), Is.EqualTo(1));
        Assert.That(await Interrupts(), Is.EqualTo(4), "none for those that were not wanted");
        Assert.That(FlagsWritten(queue), Is.All.LessThanOrEqualTo(1));
    }

    [Test]
    [Clause("virtio 2.7.7.2-4")]
    [Clause("virtio 2.7.7.2-5")]
    [Clause("virtio 2.7.7.2-6")]
    [Clause("virtio 2.7.10.2-2")]
    public async Task UsedNotifications_WithEventIdx_GoByUsedEventAlone()
    {
        MockQueue queue = await Start(16, VirtioFeatures.RingEventIdx);
        await Bridge.Observe(0, _watcher);
        ushort used = 0;
        foreach ((ushort usedEvent, ushort flags) in new (ushort, ushort)[] { (0, 1), (3, 1), (4, 0), (8, 1) })
        {
            await queue.Write16(queue.Layout.Available, flags);
            await queue.Write16(queue.Layout.UsedEvent, usedEvent);
            while (used <= usedEvent)
            {
                await Exchange(queue);
                await UntilUsed(queue, ++used);
            }

            Assert.That(await Driver.NextInterrupt(), Is.EqualTo(1));
        }

        Assert.That(await Interrupts(), Is.EqualTo(4), "one for each value of used_event, none between");
        Assert.That(FlagsWritten(queue), Is.All.Zero);
        Assert.That(await queue.Read16(queue.Layout.Used), Is.Zero);
    }

    [Test]
    [Clause("virtio 2.7.8.2-1")]
    [Clause("virtio 2.7.8.2-2")]
    public async Task Used_ManyChainsAtOnce_DataAndElementAreWrittenBeforeTheIndex()
    {
        const int count = 12;
        MockQueue queue = await Start(32);
        await Bridge.Observe(0, _watcher);
        Dictionary<uint, MockBuffer> answers = [];
        for (int i = 0; i < count; i++)
        {
            MockBuffer answer = new(Data + 0x8000 + ((ulong)i * 0x400) + (ulong)i, 300 + (uint)i, true);
            answers.Add(await queue.Add(new MockBuffer(Data + ((ulong)i * 0x400), 600, false), answer), answer);
        }

        await queue.Publish();
        await UntilUsed(queue, count);
        Dictionary<ulong, byte> written = [];
        int counted = 0;
        foreach (WatchedRequest write in _watcher.Writes)
        {
            if (write.Touches(queue.Layout.UsedIndex, 2))
            {
                Assert.That(write.Address <= queue.Layout.UsedIndex && write.End <= queue.Layout.UsedElement(0), Is.True, "the index is written by itself");
                int index = BitConverter.ToUInt16(write.Data, (int)(queue.Layout.UsedIndex - write.Address));
                for (; counted < index; counted++)
                {
                    ulong element = queue.Layout.UsedElement((ushort)counted);
                    Assert.That(Enumerable.Range(0, 8).All(i => written.ContainsKey(element + (ulong)i)), Is.True, $"element {counted} is written before it is counted");
                    byte[] bytes = [.. Enumerable.Range(0, 8).Select(i => written[element + (ulong)i])];
                    MockBuffer answer = answers[BitConverter.ToUInt32(bytes)];
                    Assert.That(BitConverter.ToUInt32(bytes, 4), Is.EqualTo(answer.Length), "len");
                    for (ulong i = 0; i < answer.Length; i++)
                    {
                        Assert.That(written.ContainsKey(answer.Address + i), Is.True, $"byte {i} of the answer is written before element {counted} is counted");
                    }
                }
            }

            for (int i = 0; i < write.Length; i++)
            {
                written[write.Address + (ulong)i] = write.Data[i];
            }
        }

        Assert.That(counted, Is.EqualTo(count));
    }

    [Test]
    [Clause("virtio 2.7.10.2-3")]
    public async Task Notify_WithoutNeed_ChangesNothing([Values(0UL, VirtioFeatures.RingEventIdx)] ulong features)
    {
        MockQueue queue = await Start(16, features);
        for (int round = 0; round < 3; round++)
        {
            for (uint i = 0; i < 20; i++)
            {
                _ = await Notify(i % 3); // queues 1 and 2 are not enabled
            }

            await Exchange(queue);
            await UntilUsed(queue, (ushort)(round + 1));
        }

        Assert.That(await queue.Read16(queue.Layout.UsedIndex), Is.EqualTo(3));
        Assert.That(await Driver.ReadStatus(), Is.EqualTo(15));
    }

    [Test]
    [Clause("virtio 2.1.2-1")]
    [Clause("virtio 2.4.1-2")]
    public async Task Queue_BeforeDriverOkAndAfterReset_IsLeftAlone()
    {
        await BackEnd.Start();
        await Driver.Enable(9);
        await Bridge.Observe(0, _watcher);
        for (int round = 0; round < 2; round++)
        {
            await Driver.Reset();
            await Driver.Negotiate(0);
            MockQueue queue = await Driver.AddQueue(0, 16, RingMemory);
            int requests = _watcher.Requests.Count;
            ulong interrupts = await Interrupts();
            await Exchange(queue);
            await Idle();
            Assert.That(_watcher.Requests, Has.Count.EqualTo(requests), "before DRIVER_OK");
            await Driver.DriverOk();
            _ = await Notify(0);
            await UntilUsed(queue, 1);
            Assert.That(await Driver.NextInterrupt(), Is.EqualTo(1));
            await Driver.Reset();
            requests = _watcher.Requests.Count;
            await Exchange(queue);
            await BackEnd.WriteBar(RegisterMap.BackEnd.Doorbell, 1);
            await Idle();
            Assert.That(_watcher.Requests, Has.Count.EqualTo(requests), "after a reset");
            Assert.That(await Interrupts(), Is.EqualTo(interrupts + 1));
        }
    }

    private async Task<MockQueue> Start(ushort size = 16, ulong features = 0)
    {
        await BackEnd.Start();
        await Driver.Enable(9);
        await Driver.Reset();
        await Driver.Negotiate(features);
        MockQueue queue = await Driver.AddQueue(0, size, RingMemory);
        await Driver.DriverOk();
        return queue;
    }

    private static async Task Exchange(MockQueue queue)
    {
        (ushort, uint)? taken;
        do
        {
            taken = await queue.TakeUsed();
        }
        while (taken is not null);

        _ = await queue.Add(new MockBuffer(Data, 4, false), new MockBuffer(Data + 64, 4, true));
        await queue.Publish(always: true);
    }

    private static async Task UntilUsed(MockQueue queue, ushort index)
    {
        long start = Environment.TickCount64;
        while (await queue.Read16(queue.Layout.UsedIndex) != index)
        {
            Assert.That(Environment.TickCount64 - start, Is.LessThan(Deadline.TotalMilliseconds), $"used.idx does not become {index}");
        }
    }

    private Task<TransactionResult> Notify(uint queue) => Bridge.WriteMemory(0, 0, 0, RegisterMap.Bar.VirtioNotify + (4 * queue), BitConverter.GetBytes((ushort)queue));

    /// <summary>Round trips through the FPGA, after which what had been caused before them has happened.</summary>
    private async Task Idle()
    {
        for (int i = 0; i < 50; i++)
        {
            _ = await Driver.ReadStatus();
        }
    }

    private async Task<ulong> Interrupts() => (await Bridge.GetStatus()).Ports[0].MsixInterrupts;

    private IEnumerable<int> FlagsWritten(MockQueue queue) => _watcher.Writes
        .Where(w => w.Address == queue.Layout.Used)
        .Select(w => w.Length == 1 ? w.Data[0] : (int)BitConverter.ToUInt16(w.Data));
}
