// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>Both formats of host 1's rings with everything that is negotiated about them, over each FPGA.</summary>
[TestFixture(FpgaKind.Model)]
[TestFixture(FpgaKind.Verilator)]
[TestFixture(FpgaKind.Ghdl)]
public sealed class RingTests(FpgaKind kind) : BridgeFixture(kind)
{
    private const ulong RingMemory = 0x1_0000;
    private const ulong OtherRing = 0x2_0000;
    private const ulong Tables = 0x4_0000;
    private const ulong Data = 0x10_0000;
    private const ulong Packed = VirtioFeatures.RingPacked;
    private const ulong EventIdx = VirtioFeatures.RingEventIdx;
    private const ulong NotificationData = VirtioFeatures.NotificationData;
    private const ulong InOrder = VirtioFeatures.InOrder;
    private const ulong RingReset = VirtioFeatures.RingReset;
    private const ulong Indirect = VirtioFeatures.RingIndirectDesc;

    private static readonly byte[] s_guard = [.. Enumerable.Repeat((byte)0xA5, 32)];

    protected override ulong RingFeatures => VirtioFeatures.AllRing;

    private async Task<MockRing> Start(ulong features, ushort size = 16)
    {
        await BackEnd.Start();
        await Driver.Enable(9);
        return await StartDriver(features, size);
    }

    private async Task<MockRing> StartDriver(ulong features, ushort size = 16)
    {
        await Driver.Reset();
        await Driver.Negotiate(features);
        Assert.That(Driver.Features, Is.EqualTo(features | VirtioFeatures.Version1), "all of it is offered");
        MockRing queue = await Driver.AddRing(0, size, RingMemory);
        await Driver.DriverOk();
        return queue;
    }

    private async Task ExpectNeedsReset(string reason)
    {
        await MockBackEnd.WaitFor(() => Log.Any(line => line.Contains("DEVICE_NEEDS_RESET", StringComparison.Ordinal)));
        Assert.That(Log, Has.Some.Contain(reason));
        Assert.That(await Driver.ReadStatus() & (byte)VirtioStatus.DeviceNeedsReset, Is.Not.Zero);
    }

    /// <summary>Keeps every chain; what is kept is told by its number, the first four readable bytes.</summary>
    private List<MockRequest> KeepChains()
    {
        List<MockRequest> kept = [];
        BackEnd.Serve = request =>
        {
            lock (kept)
            {
                kept.Add(request);
            }

            return null;
        };
        return kept;
    }

    private async Task<ushort> AddNumbered(MockRing queue, int number)
    {
        ulong place = Data + ((ulong)number * 64);
        await Bridge.WriteHostMemory(0, place, BitConverter.GetBytes(number));
        return await queue.Add(new MockBuffer(place, 4, false), new MockBuffer(place + 32, 4, true));
    }

    private async Task Exchange(MockRing queue)
    {
        BackEnd.Serve = null;
        await Bridge.WriteHostMemory(0, Data, new byte[] { 1, 2, 3, 4 });
        ushort id = await queue.Add(new MockBuffer(Data, 4, false), new MockBuffer(Data + 32, 4, true));
        _ = await queue.Publish();
        Assert.That(await Driver.NextUsed(queue), Is.EqualTo((id, 4u)));
        Assert.That(await Bridge.ReadHostMemory(0, Data + 32, 4), Is.EqualTo(new byte[] { 0xFE, 0xFD, 0xFC, 0xFB }));
    }

    [Clause("virtio 2.8.12-1")]
    [Clause("virtio 2.8.15-1")]
    [Clause("virtio 2.8.15-2")]
    [TestCase(Packed, 8)]
    [TestCase(Packed, 3)]
    [TestCase(Packed | EventIdx, 7)]
    [TestCase(Packed | Indirect | EventIdx, 2)]
    [TestCase(Packed | NotificationData, 5)]
    [TestCase(Packed | NotificationData | EventIdx | InOrder, 8)]
    [TestCase(NotificationData, 8)]
    [TestCase(NotificationData | EventIdx | InOrder, 4)]
    public async Task Ring_ManyTimesRound_EveryChainIsUsedOnce(ulong features, int size)
    {
        const int Count = 120;
        MockRing queue = await Start(features, (ushort)size);
        int sent = 0;
        int used = 0;
        while (used < Count)
        {
            int before = sent;
            while (sent < Count && queue.Free >= 2)
            {
                queue.IndirectTables = (features & Indirect) != 0 && sent % 3 != 0 ? Tables + ((ulong)sent * 32) : 0;
                _ = await AddNumbered(queue, sent++);
            }

            _ = sent != before && await queue.Publish();
            Assert.That((await Driver.NextUsed(queue)).Length, Is.EqualTo(4));
            used++;
        }

        for (int i = 0; i < Count; i++)
        {
            Assert.That(await Bridge.ReadHostMemory(0, Data + ((ulong)i * 64) + 32, 4), Is.EqualTo(BitConverter.GetBytes(~i)));
        }
    }

    [Clause("virtio 2.8.18-1")]
    [TestCase(1)]
    [TestCase(20)]
    [TestCase(100)]
    [TestCase(200)]
    public async Task PackedChain_OfManyBuffers_ArrivesWhole(int buffers)
    {
        MockRing queue = await Start(Packed | Indirect, 256);
        byte[] sent = new byte[buffers * 8];
        new Random(buffers).NextBytes(sent);
        await Bridge.WriteHostMemory(0, Data, sent);
        for (int round = 0; round < 3; round++)
        {
            queue.IndirectTables = round == 1 ? Tables : 0;
            List<MockBuffer> chain = [.. Enumerable.Range(0, buffers).Select(i => new MockBuffer(Data + ((ulong)i * 8), 8, false))];
            chain.Add(new MockBuffer(Data + 0x2_0000, (uint)sent.Length, true));
            _ = await queue.Add([.. chain]);
            _ = await queue.Publish();
            Assert.That((await Driver.NextUsed(queue)).Length, Is.EqualTo(sent.Length));
            Assert.That(await Bridge.ReadHostMemory(0, Data + 0x2_0000, sent.Length), Is.EqualTo(sent.Select(b => (byte)~b)));
        }
    }

    [Clause("virtio 2.8.12-2")]
    [Clause("virtio 6.2-3")]
    [TestCase(0ul)]
    [TestCase(Packed)]
    [TestCase(InOrder)]
    [TestCase(Packed | InOrder)]
    [TestCase(Packed | InOrder | EventIdx)]
    public async Task Used_OutOfOrder_GoesBackAsNegotiated(ulong features)
    {
        List<MockRequest> kept = KeepChains();
        MockRing queue = await Start(features);
        List<ushort> ids = [];
        for (int i = 0; i < 6; i++)
        {
            ids.Add(await AddNumbered(queue, i));
        }

        _ = await queue.Publish();
        await MockBackEnd.WaitFor(() => kept.Count == 6);
        int[] order = [4, 2, 5, 0, 1, 3];
        foreach (int i in order)
        {
            await BackEnd.PushUsed(0, 0, kept[i].Head, (uint)(i % 3));
        }

        IEnumerable<int> expected = (features & InOrder) != 0 ? Enumerable.Range(0, 6) : order;
        foreach (int i in expected)
        {
            Assert.That(await Driver.NextUsed(queue), Is.EqualTo((ids[i], (uint)(i % 3))));
        }

        await Exchange(queue);
    }

    [TestCase(InOrder)]
    [TestCase(Packed | InOrder)]
    public async Task InOrder_BackEndLostWithLaterChainsDone_EachIsUsedOnceAndInOrder(ulong features)
    {
        List<MockRequest> kept = KeepChains();
        MockRing queue = await Start(features);
        List<ushort> ids = [];
        for (int i = 0; i < 4; i++)
        {
            ids.Add(await AddNumbered(queue, i));
        }

        _ = await queue.Publish();
        await MockBackEnd.WaitFor(() => kept.Count == 4);
        await BackEnd.PushUsed(0, 0, kept[1].Head, 3);
        await BackEnd.PushUsed(0, 0, kept[3].Head, 3);
        Assert.That(await Driver.ReadStatus(), Is.EqualTo(0x0F), "a round trip");
        await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => Driver.ReadStatus()));
        List<int> again = [];
        BackEnd.Serve = request =>
        {
            again.Add(BitConverter.ToInt32(request.Readable));
            return [1];
        };
        await BackEnd.WriteBar(RegisterMap.BackEnd.Control, 0);
        await BackEnd.Announce();
        for (int i = 0; i < 4; i++)
        {
            Assert.That(await Driver.NextUsed(queue), Is.EqualTo((ids[i], i % 2 == 1 ? 3u : 1u)));
        }

        Assert.That(again, Is.EqualTo(new[] { 0, 2 }), "what was done is not done again");
    }

    [Test]
    public async Task PackedEvents_DriverAsksForADescriptor_InterruptComesWithItAndNotBefore()
    {
        List<MockRequest> kept = KeepChains();
        MockPackedQueue queue = (MockPackedQueue)await Start(Packed | EventIdx, 6);
        for (int lap = 0; lap < 5; lap++)
        {
            kept.Clear();
            for (int i = 0; i < 2; i++)
            {
                _ = await AddNumbered(queue, i);
            }

            await queue.SetDriverEvent(queue.Used.Advance(2, 6).Raw, PackedVirtqueue.EventDescriptor);
            _ = await queue.Publish();
            await MockBackEnd.WaitFor(() => kept.Count == 2);
            using CancellationTokenSource end = new();
            Task<HostInterrupt> interrupt = Bridge.WaitInterrupt(0, 0, end.Token);
            await BackEnd.PushUsed(0, 0, kept[0].Head, 0);
            await Taken(queue);
            Assert.That(await Driver.ReadStatus(), Is.EqualTo(0x0F));
            Assert.That(interrupt.IsCompleted, Is.False, "the first chain is not the one asked for");
            await BackEnd.PushUsed(0, 0, kept[1].Head, 0);
            Assert.That((await interrupt.WaitAsync(Deadline)).Vector, Is.EqualTo(1));
            await Taken(queue);
            await end.CancelAsync();
        }
    }

    [Test]
    public async Task PackedEvents_Disabled_NoInterruptAndWithEventIdxNoNotificationTwice()
    {
        MockPackedQueue queue = (MockPackedQueue)await Start(Packed | EventIdx, 8);
        await queue.SetDriverEvent(0, PackedVirtqueue.EventDisable);
        _ = await AddNumbered(queue, 0);
        _ = await queue.Publish();
        await Taken(queue);
        using CancellationTokenSource soon = new();
        Task<HostInterrupt> interrupt = Bridge.WaitInterrupt(0, 0, soon.Token);
        await MockBackEnd.WaitFor(() => BackEnd.Requests.Contains(MailboxRequest.SetStatus));
        Assert.That(await Driver.ReadStatus() & 4, Is.Not.Zero, "a round trip behind the used descriptor");
        Assert.That(interrupt.IsCompleted, Is.False);
        await soon.CancelAsync();
        List<MockRequest> kept = KeepChains();
        _ = await AddNumbered(queue, 1);
        Assert.That(await queue.Publish(), Is.True, "the device asks for the next one");
        await MockBackEnd.WaitFor(() => kept.Count == 1);
    }

    private static async Task Taken(MockRing queue)
    {
        long start = Environment.TickCount64;
        while (await queue.TakeUsed() is null)
        {
            Assert.That(Environment.TickCount64 - start, Is.LessThan(60_000), "nothing is used");
        }
    }

    [Clause("virtio 2.6.1.1.1-1")]
    [Clause("virtio 2.6.1.1.1-2")]
    [Clause("virtio 2.6.1.2.1-1")]
    [TestCase(RingReset)]
    [TestCase(RingReset | Packed | EventIdx)]
    [TestCase(RingReset | Packed | NotificationData)]
    public async Task QueueReset_InFlight_ThatQueueStopsAndBeginsAnewWhileTheOtherGoesOn(ulong features)
    {
        List<MockRequest> kept = [];
        BackEnd.Serve = request =>
        {
            if (request.Queue == 0)
            {
                kept.Add(request);
                return null;
            }

            return [7];
        };
        await BackEnd.Start();
        await Driver.Enable(9);
        await Driver.Reset();
        await Driver.Negotiate(features);
        MockRing queue = await Driver.AddRing(0, 16, RingMemory);
        MockRing other = await Driver.AddRing(1, 16, OtherRing);
        await Driver.DriverOk();
        for (int round = 0; round < 3; round++)
        {
            kept.Clear();
            for (int i = 0; i < 4; i++)
            {
                _ = await AddNumbered(queue, i);
            }

            _ = await queue.Publish();
            await MockBackEnd.WaitFor(() => kept.Count == 4);
            int stops = BackEnd.Requests.Count(r => r == MailboxRequest.GetVringBase);
            await Driver.ResetQueue(0);

            // From here on the memory is the driver's: host 2 may still use what it has, and nobody sees it.
            byte[] memory = [.. Enumerable.Repeat((byte)0x5A, 0x1000)];
            await Bridge.WriteHostMemory(0, RingMemory, memory);
            for (ulong i = 0; i < 4; i++)
            {
                await Bridge.WriteHostMemory(0, Data + (i * 64) + 32, s_guard);
            }

            await MockBackEnd.WaitFor(() => BackEnd.Requests.Count(r => r == MailboxRequest.GetVringBase) > stops);
            _ = await other.Add(new MockBuffer(Data + 0x1000, 1, true));
            _ = await other.Publish();
            Assert.That((await Driver.NextUsed(other)).Length, Is.EqualTo(1), "queue 1 goes on");
            Assert.That(await Bridge.ReadHostMemory(0, RingMemory, 0x1000), Is.EqualTo(memory));
            Assert.That(await Bridge.ReadHostMemory(0, Data + 32, 32), Is.EqualTo(s_guard));
            queue = await Driver.AddRing(0, (ushort)(round == 0 ? 8 : 32), RingMemory);
        }

        await Exchange(queue);
    }

    [TestCase(RingReset)]
    [TestCase(RingReset | Packed)]
    public async Task QueueReset_Host2Silent_EndsAtOnce(ulong features)
    {
        List<MockRequest> kept = KeepChains();
        MockRing queue = await Start(features);
        _ = await AddNumbered(queue, 0);
        _ = await queue.Publish();
        await MockBackEnd.WaitFor(() => kept.Count == 1 && BackEnd.Requests.Contains(MailboxRequest.SetStatus));
        BackEnd.Mute = true;
        await Driver.ResetQueue(0);
        Assert.That(Log, Has.None.Contain("back end lost"), "nobody has waited for host 2");
    }

    [Test]
    public async Task QueueSize_NoPowerOfTwo_IsTakenWithPackedRingsOnly()
    {
        await BackEnd.Start();
        await Driver.Enable(9);
        await Driver.Reset();
        await Driver.Negotiate(0);
        await Driver.WriteCommon(0x16, 2, 0);
        await Driver.WriteCommon(0x18, 2, 64);
        await Driver.WriteCommon(0x18, 2, 100);
        Assert.That(await Driver.ReadCommon(0x18, 2), Is.EqualTo(64));
        await Driver.Reset();
        await Driver.Negotiate(Packed);
        await Driver.WriteCommon(0x16, 2, 0);
        foreach (uint size in new uint[] { 100, 1, 255 })
        {
            await Driver.WriteCommon(0x18, 2, size);
            Assert.That(await Driver.ReadCommon(0x18, 2), Is.EqualTo(size));
        }

        await Driver.WriteCommon(0x18, 2, 0);
        await Driver.WriteCommon(0x18, 2, 257);
        Assert.That(await Driver.ReadCommon(0x18, 2), Is.EqualTo(255), "0 and what is above the limit are not taken");
    }

    [TestCase(NotificationData)]
    [TestCase(NotificationData | EventIdx)]
    [TestCase(NotificationData | Packed)]
    [TestCase(NotificationData | Packed | EventIdx)]
    public async Task NotificationData_Lies_NoChainIsLostAndNoOtherQueueHarmed(ulong features)
    {
        MockRing queue = await Start(features);

        // In a split ring an index of the ring cannot be told from the truth: whoever says it has made the buffers available.
        uint near = (features & Packed) != 0 ? 0x0005_0000u : 0;
        foreach (uint lie in new uint[] { 0xFFFF_0000, near, 0x8000_0000, 0, 0x7FFF_0000 })
        {
            await queue.Notify(lie);
            await Exchange(queue);
            await queue.Notify(lie);
        }

        Assert.That(Log, Has.None.Contain("NEEDS_RESET"));
    }

    [TestCase(64u, 256u, "the chain is longer than the queue (4): a loop")]
    [TestCase(4u, 0u, "chain 0 has no byte")]
    public async Task PackedChain_EveryDescriptorWithNext_NeedsReset(uint length, uint none, string reason)
    {
        MockPackedQueue queue = (MockPackedQueue)await Start(Packed, 4);
        DescriptorFlags next = none != 0 ? DescriptorFlags.Next : DescriptorFlags.None;
        for (int i = 0; i < 4; i++)
        {
            await queue.WriteDescriptor(i, new PackedDescriptor(Data, none != 0 ? length : 0, (ushort)i, next | PackedVirtqueue.Available));
        }

        await queue.Notify();
        await ExpectNeedsReset(reason);
    }

    [TestCase(DescriptorFlags.Indirect, 16u, 0ul, "INDIRECT was not negotiated")]
    [TestCase(DescriptorFlags.Indirect | DescriptorFlags.Next, 16u, Indirect, "INDIRECT together with NEXT")]
    [TestCase(DescriptorFlags.Indirect, 24u, Indirect, "indirect table of 24 bytes")]
    [TestCase(DescriptorFlags.Indirect, 0u, Indirect, "indirect table of 0 bytes")]
    [TestCase(DescriptorFlags.Indirect, 17 * 16u, Indirect, "indirect table of 272 bytes")]
    [TestCase(DescriptorFlags.Indirect, 16u, Indirect, "INDIRECT inside an indirect table")]
    public async Task PackedChain_BadIndirectTable_NeedsReset(DescriptorFlags flags, uint length, ulong features, string reason)
    {
        MockPackedQueue queue = (MockPackedQueue)await Start(Packed | features);
        byte[] table = new byte[16];
        new PackedDescriptor(Data, 16, 0, DescriptorFlags.Indirect).Write(table);
        await Bridge.WriteHostMemory(0, Tables, table);
        await queue.AddDescriptors(0, new PackedDescriptor(Tables, length, 0, flags), new PackedDescriptor(Data, 4, 1, DescriptorFlags.None));
        _ = await queue.Publish();
        await ExpectNeedsReset(reason);
    }

    [Test]
    public async Task PackedChain_ReadableAfterWritable_NeedsReset()
    {
        MockRing queue = await Start(Packed);
        _ = await queue.Add(new MockBuffer(Data, 4, true), new MockBuffer(Data, 4, false));
        _ = await queue.Publish();
        await ExpectNeedsReset("a device-readable buffer follows a device-writable one");
    }

    [Test]
    public async Task PackedChain_IdInUse_NeedsResetAndResetHeals()
    {
        List<MockRequest> kept = KeepChains();
        MockPackedQueue queue = (MockPackedQueue)await Start(Packed);
        await queue.AddDescriptors(9, new PackedDescriptor(Data, 4, 9, DescriptorFlags.None));
        _ = await queue.Publish();
        await MockBackEnd.WaitFor(() => kept.Count == 1);
        await queue.AddDescriptors(9, new PackedDescriptor(Data, 4, 9, DescriptorFlags.None));
        _ = await queue.Publish();
        await ExpectNeedsReset("the buffer id is still in use");
        await Exchange(await StartDriver(Packed));
    }

    [Test]
    public async Task PackedRing_MoreAvailableThanTheQueueHas_NeedsReset()
    {
        List<MockRequest> kept = KeepChains();
        MockPackedQueue queue = (MockPackedQueue)await Start(Packed, 4);
        for (int i = 0; i < 4; i++)
        {
            _ = await AddNumbered(queue, i % 2);
            if (i == 1)
            {
                _ = await queue.Publish();
                await MockBackEnd.WaitFor(() => kept.Count == 2);
            }
        }

        _ = await queue.Publish(always: true);
        await ExpectNeedsReset("more available than the queue has (4)");
    }

    [Test]
    public async Task PackedRing_AnyBufferId_ComesBackWithItsChain()
    {
        MockPackedQueue queue = (MockPackedQueue)await Start(Packed, 4);
        foreach (ushort id in new ushort[] { 0xFFFF, 0x8000, 4, 0 })
        {
            await queue.AddDescriptors(id, new PackedDescriptor(Data, 4, id, DescriptorFlags.Write));
            _ = await queue.Publish();
            Assert.That((await Driver.NextUsed(queue)).Head, Is.EqualTo(id));
        }
    }

    [Test]
    public async Task Queue_StalledByHost2_TakesNoOtherQueuesRoom([Values(0ul, Packed)] ulong features)
    {
        BackEnd.Serve = request => request.Queue == 0 ? null : [9];
        await BackEnd.Start();
        await Driver.Enable(9);
        await Driver.Reset();
        await Driver.Negotiate(features);
        MockRing stalled = await Driver.AddRing(0, 256, RingMemory);
        MockRing other = await Driver.AddRing(1, 16, OtherRing);
        await Driver.DriverOk();

        // Together more than the pool of 4 MiB.
        for (int i = 0; i < 200; i++)
        {
            _ = await stalled.Add(new MockBuffer(Data, 0x8000, true));
        }

        _ = await stalled.Publish();
        for (int i = 0; i < 20; i++)
        {
            _ = await other.Add(new MockBuffer(Data, 0x8000, true));
            _ = await other.Publish();
            Assert.That((await Driver.NextUsed(other)).Length, Is.EqualTo(1));
        }
    }
}
