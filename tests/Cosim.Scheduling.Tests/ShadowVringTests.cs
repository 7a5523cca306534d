// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>Shadow vrings end to end: a driver on port 0, a back end on port 1, everything between them is real.</summary>
[TestFixture(FpgaKind.Model)]
[TestFixture(FpgaKind.Verilator)]
[TestFixture(FpgaKind.Ghdl)]
public sealed class ShadowVringTests(FpgaKind kind) : BridgeFixture(kind)
{
    private const ulong RingMemory = 0x1_0000;
    private const ulong Data = 0x10_0000;

    private static readonly byte[] s_guard = [.. Enumerable.Repeat((byte)0xA5, 64)];

    private async Task<MockQueue> Start(ushort size = 16, ulong features = 0)
    {
        await BackEnd.Start();
        await Driver.Enable(9);
        return await StartDriver(size, features);
    }

    private async Task<MockQueue> StartDriver(ushort size = 16, ulong features = 0)
    {
        await Driver.Reset();
        await Driver.Negotiate(features);
        MockQueue queue = await Driver.AddQueue(0, size, RingMemory);
        await Driver.DriverOk();
        return queue;
    }

    private async Task<(ushort Head, uint Length)> NextUsed(MockQueue queue)
    {
        while (true)
        {
            if (await queue.TakeUsed() is { } used)
            {
                return used;
            }

            await queue.ArmUsedEvent();
            if (await queue.TakeUsed() is { } meanwhile)
            {
                return meanwhile;
            }

            Assert.That(await Driver.NextInterrupt(), Is.EqualTo(1), "vector of queue 0");
        }
    }

    private async Task<byte[]> Fill(ulong address, int length, int seed)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        await Bridge.WriteHostMemory(0, address, bytes);
        return bytes;
    }

    private async Task ExpectNeedsReset(string reason)
    {
        long start = Environment.TickCount64;
        while ((await Driver.ReadStatus() & (byte)VirtioStatus.DeviceNeedsReset) == 0)
        {
            Assert.That(Environment.TickCount64 - start, Is.LessThan(30_000), $"no DEVICE_NEEDS_RESET; log: {string.Join('\n', Log)}");
        }

        Assert.That(Log, Has.Some.Contain(reason));
    }

    [Test]
    public async Task Start_BackEndAnnounced_FunctionsShowWhatItOffers()
    {
        await BackEnd.Start();
        Assert.That((await Bridge.ReadConfig(0, 0, 0, 4)).Data, Is.EqualTo(new byte[] { 0xF4, 0x1A, 0x42, 0x10 }));
        Assert.That((await Bridge.ReadConfig(0, 1, 0, 4)).Data, Is.EqualTo(new byte[] { 0xF4, 0x1A, 0x41, 0x10 }));
        await Driver.Enable(1);
        Assert.That(await Driver.ReadCommon(0x12, 2), Is.EqualTo(8), "num_queues");
        Assert.That((await Bridge.ReadMemory(0, 0, 0, RegisterMap.Bar.VirtioDevice, 8)).Data, Is.EqualTo(BackEnd.Configuration[..8]));
    }

    [TestCase(1, 1, 1, 1)]
    [TestCase(3, 4093, 7, 4099)]
    [TestCase(0, 65536, 1, 65535)]
    [TestCase(63, 200, 0, 0)]
    [TestCase(0, 0, 5, 300)]
    [Clause("virtio 2.7.4.1-1")]
    public async Task Chain_AnyAlignmentAndLength_DataArrivesAndNothingElseIsTouched(int inOffset, int inLength, int outOffset, int outLength)
    {
        BackEnd.Serve = request => [.. Enumerable.Range(0, outLength).Select(i => i < request.Readable.Length ? (byte)~request.Readable[i] : (byte)i)];
        MockQueue queue = await Start();
        ulong from = Data + (ulong)inOffset;
        ulong to = Data + 0x4_0000 + (ulong)outOffset;
        byte[] sent = await Fill(from, inLength, 1);
        await Bridge.WriteHostMemory(0, to - 64, s_guard);
        await Bridge.WriteHostMemory(0, to + (ulong)outLength, s_guard);
        List<MockBuffer> chain = [];
        if (inLength > 1)
        {
            chain.Add(new(from, (uint)(inLength / 3) + 1, false));
        }

        if (inLength != 0)
        {
            uint first = inLength > 1 ? (uint)(inLength / 3) + 1 : 0;
            chain.Add(new(from + first, (uint)inLength - first, false));
        }

        if (outLength != 0)
        {
            chain.Add(new(to, (uint)outLength, true));
        }

        ushort head = await queue.Add([.. chain]);
        await queue.Publish();
        Assert.That(await NextUsed(queue), Is.EqualTo((head, (uint)outLength)));
        byte[] expected = [.. Enumerable.Range(0, outLength).Select(i => i < inLength ? (byte)~sent[i] : (byte)i)];
        Assert.That(await Bridge.ReadHostMemory(0, to, outLength), Is.EqualTo(expected));
        Assert.That(await Bridge.ReadHostMemory(0, to - 64, 64), Is.EqualTo(s_guard), "in front of the buffer");
        Assert.That(await Bridge.ReadHostMemory(0, to + (ulong)outLength, 64), Is.EqualTo(s_guard), "behind the buffer");
    }

    [Test]
    [Clause("virtio 2.7.8.2-2")]
    public async Task Chain_BackEndUsesLess_OnlyUsedBytesAreWritten()
    {
        BackEnd.Serve = _ => [1, 2, 3];
        MockQueue queue = await Start();
        byte[] before = await Fill(Data, 64, 2);
        _ = await queue.Add(new MockBuffer(Data, 2, true), new MockBuffer(Data + 32, 32, true));
        await queue.Publish();
        Assert.That((await NextUsed(queue)).Length, Is.EqualTo(3));
        byte[] after = await Bridge.ReadHostMemory(0, Data, 64);
        Assert.That(after[..2], Is.EqualTo(new byte[] { 1, 2 }));
        Assert.That(after[2..32], Is.EqualTo(before[2..32]));
        Assert.That(after[32], Is.EqualTo(3));
        Assert.That(after[33..], Is.EqualTo(before[33..]));
    }

    [Test]
    public async Task Chain_IndirectTable_IsFollowed()
    {
        MockQueue queue = await Start(16, VirtioFeatures.RingIndirectDesc);
        queue.IndirectTables = 0x8_0000;
        byte[] sent = await Fill(Data, 1200, 3);
        List<MockBuffer> chain = [.. Enumerable.Range(0, 12).Select(i => new MockBuffer(Data + ((ulong)i * 100), 100, false))];
        chain.Add(new MockBuffer(Data + 0x2000, 1200, true));
        _ = await queue.Add([.. chain]);
        await queue.Publish();
        Assert.That((await NextUsed(queue)).Length, Is.EqualTo(1200));
        Assert.That(await Bridge.ReadHostMemory(0, Data + 0x2000, 1200), Is.EqualTo(sent.Select(b => (byte)~b)));
    }

    [TestCase(0UL)]
    [TestCase(VirtioFeatures.RingEventIdx)]
    public async Task Ring_ManyTimesRound_EveryChainIsUsedOnce(ulong features)
    {
        MockQueue queue = await Start(8, features);
        int sent = 0;
        int used = 0;
        while (used < 200)
        {
            while (sent < 200 && queue.Free >= 2)
            {
                await Bridge.WriteHostMemory(0, Data + ((ulong)sent * 64), BitConverter.GetBytes(sent));
                _ = await queue.Add(new MockBuffer(Data + ((ulong)sent * 64), 4, false), new MockBuffer(Data + ((ulong)sent * 64) + 32, 4, true));
                sent++;
            }

            await queue.Publish();
            Assert.That((await NextUsed(queue)).Length, Is.EqualTo(4));
            used++;
        }

        for (int i = 0; i < 200; i++)
        {
            Assert.That(await Bridge.ReadHostMemory(0, Data + ((ulong)i * 64) + 32, 4), Is.EqualTo(BitConverter.GetBytes(~i)));
        }
    }

    [Test]
    [Clause("virtio 2.7.7.2-2")]
    public async Task Notify_WithoutInterruptWanted_NoneIsRaised()
    {
        MockQueue queue = await Start();
        await queue.Write16(queue.Layout.Available, SplitVirtqueue.AvailableNoInterrupt);
        _ = await queue.Add(new MockBuffer(Data, 4, false), new MockBuffer(Data + 64, 4, true));
        await queue.Publish();
        (ushort, uint)? used = null;
        await MockBackEnd.WaitFor(() => (used ??= queue.TakeUsed().GetAwaiter().GetResult()) is not null);
        using CancellationTokenSource soon = new();
        Task<HostInterrupt> interrupt = Bridge.WaitInterrupt(0, 0, soon.Token);
        Assert.That((await Driver.ReadStatus()) & 4, Is.Not.Zero, "a round trip behind the used index");
        Assert.That(interrupt.IsCompleted, Is.False);
        await soon.CancelAsync();
    }

    [Test]
    [Clause("virtio 2.4.1-1")]
    [Clause("virtio 2.4.1-2")]
    public async Task Reset_WithChainsAtHost2_EndsAtOnceAndOldUsedElementsAreDropped()
    {
        BackEnd.Serve = _ => null;
        MockQueue queue = await Start();
        ushort head = await queue.Add(new MockBuffer(Data, 4, false), new MockBuffer(Data + 64, 4, true));
        await queue.Publish();
        await MockBackEnd.WaitFor(() => BackEnd.Requests.Contains(MailboxRequest.SetStatus));
        await Bridge.WriteHostMemory(0, Data + 64, s_guard);
        await Driver.Reset();
        await BackEnd.PushUsed(0, 0, (uint)(2 * head), 4);
        BackEnd.Serve = null;
        queue = await StartDriver();
        Assert.That(await queue.TakeUsed(), Is.Null);
        byte[] sent = await Fill(Data, 4, 4);
        _ = await queue.Add(new MockBuffer(Data, 4, false), new MockBuffer(Data + 128, 4, true));
        await queue.Publish();
        Assert.That((await NextUsed(queue)).Length, Is.EqualTo(4));
        Assert.That(await Bridge.ReadHostMemory(0, Data + 128, 4), Is.EqualTo(sent.Select(b => (byte)~b)));
        Assert.That(await Bridge.ReadHostMemory(0, Data + 64, 64), Is.EqualTo(s_guard));
    }

    [Test]
    public async Task BackEnd_LostWithChainsInFlight_NewOneGetsThemAgainInOrder()
    {
        List<int> first = [];
        BackEnd.Serve = request =>
        {
            first.Add(BitConverter.ToInt32(request.Readable));
            return null;
        };
        MockQueue queue = await Start();
        for (int i = 0; i < 5; i++)
        {
            await Bridge.WriteHostMemory(0, Data + ((ulong)i * 64), BitConverter.GetBytes(i));
            _ = await queue.Add(new MockBuffer(Data + ((ulong)i * 64), 4, false), new MockBuffer(Data + ((ulong)i * 64) + 32, 4, true));
        }

        await queue.Publish();
        await MockBackEnd.WaitFor(() => first.Count == 5);
        await BackEnd.WriteBar(RegisterMap.BackEnd.Control, 0);
        Assert.That(await Driver.ReadStatus(), Is.EqualTo(0x0F), "registers stay readable");
        List<int> second = [];
        BackEnd.Serve = request =>
        {
            second.Add(BitConverter.ToInt32(request.Readable));
            return [.. request.Readable.Select(b => (byte)~b)];
        };
        await BackEnd.Announce();
        for (int i = 0; i < 5; i++)
        {
            Assert.That((await NextUsed(queue)).Length, Is.EqualTo(4));
        }

        Assert.That(second, Is.EqualTo(new[] { 0, 1, 2, 3, 4 }));
        Assert.That(await queue.TakeUsed(), Is.Null, "none is used twice");
        Assert.That(await Bridge.ReadHostMemory(0, Data + 32, 4), Is.EqualTo(BitConverter.GetBytes(~0)));
    }

    [Test]
    public async Task FpgaReset_WithChainsAtHost2_NewSessionAndNewStartWork()
    {
        BackEnd.Serve = _ => null;
        BackEnd.Reannounces = true;
        MockQueue queue = await Start();
        _ = await queue.Add(new MockBuffer(Data, 4, false), new MockBuffer(Data + 64, 4, true));
        await queue.Publish();
        await MockBackEnd.WaitFor(() => BackEnd.Requests.Contains(MailboxRequest.SetStatus));
        await Bridge.Reset();
        BackEnd.Serve = null;
        await MockBackEnd.WaitFor(() => Bridge.State == BridgeState.LinkUp);
        Assert.That(await Driver.ReadStatus(), Is.Zero);
        queue = await StartDriver();
        byte[] sent = await Fill(Data, 4, 5);
        _ = await queue.Add(new MockBuffer(Data, 4, false), new MockBuffer(Data + 64, 4, true));
        await queue.Publish();
        Assert.That((await NextUsed(queue)).Length, Is.EqualTo(4));
        Assert.That(await Bridge.ReadHostMemory(0, Data + 64, 4), Is.EqualTo(sent.Select(b => (byte)~b)));
    }

    [Test]
    public async Task BackEnd_Silent_IsLostWithTheMessageNamedAndFunctionStaysReadable()
    {
        BackEnd.Mute = true;
        await BackEnd.Announce();
        await MockBackEnd.WaitFor(() => Log.Any(line => line.Contains("host 2 does not answer its mailbox: no reply to GetBackend", StringComparison.Ordinal)));
        Assert.That(Bridge.State, Is.EqualTo(BridgeState.LinkDown));
        BackEnd.Mute = false;
        await BackEnd.Start();
        Assert.That((await Bridge.ReadConfig(0, 0, 0, 4)).Data, Is.EqualTo(new byte[] { 0xF4, 0x1A, 0x42, 0x10 }));
    }

    [Test]
    public async Task BackEnd_FallsSilentAndComesToLife_IsCalledAndGoesOn()
    {
        BackEnd.Serve = _ => null;
        BackEnd.Reannounces = true;
        MockQueue queue = await Start();
        _ = await queue.Add(new MockBuffer(Data, 4, false), new MockBuffer(Data + 64, 4, true));
        await queue.Publish();
        await MockBackEnd.WaitFor(() => BackEnd.Requests.Contains(MailboxRequest.SetStatus));
        BackEnd.Mute = true;
        _ = await Bridge.WriteMemory(0, 0, 0, RegisterMap.Bar.VirtioDevice, [1]);
        await MockBackEnd.WaitFor(() => BackEnd.Requests.Contains(MailboxRequest.SetConfig));
        BackEnd.Mute = false;
        BackEnd.Serve = null;
        Assert.That((await NextUsed(queue)).Length, Is.EqualTo(4), "the chain in flight is offered again");
        Assert.That(Log, Has.Some.Contain("no reply to SetConfig"));
    }

    [Test]
    public async Task ConfigurationWrite_BackEndRefuses_SessionGoesOn()
    {
        BackEnd.RefusesConfigurationWrites = true;
        MockQueue queue = await Start();
        _ = await Bridge.WriteMemory(0, 0, 0, RegisterMap.Bar.VirtioDevice, [1]);
        await MockBackEnd.WaitFor(() => Log.Any(line => line.Contains("refused a write of its configuration space with error 22", StringComparison.Ordinal)));
        _ = await queue.Add(new MockBuffer(Data, 4, false), new MockBuffer(Data + 64, 4, true));
        await queue.Publish();
        Assert.That((await NextUsed(queue)).Length, Is.EqualTo(4));
        Assert.That(Log, Has.None.Contain("back end lost"));
    }

    [Test]
    public async Task BackEnd_GoneWithManyChains_UsingOneNotOfferedAgainNeedsReset()
    {
        BackEnd.Serve = _ => null;
        MockQueue queue = await Start(64);
        for (ulong i = 0; i < 20; i++)
        {
            _ = await queue.Add(new MockBuffer(Data + (i * 0x4_0000 % 0x10_0000), 0x2_8000, true));
        }

        await queue.Publish();
        await MockBackEnd.WaitFor(() => BackEnd.Requests.Contains(MailboxRequest.SetStatus));
        BackEnd.OfferedPoolSize = 1 << 20;
        int starts = BackEnd.Requests.Count(r => r == MailboxRequest.SetStatus);
        await BackEnd.Announce();
        await MockBackEnd.WaitFor(() => BackEnd.Requests.Count(r => r == MailboxRequest.SetStatus) > starts);
        await BackEnd.PushUsed(0, 0, 2 * 19, 1);
        await ExpectNeedsReset("which is not offered");
    }

    [Test]
    public async Task BackEnd_NewOneOffersLess_NeedsReset()
    {
        MockQueue queue = await Start(16, 0x20);
        Assert.That(queue.Free, Is.EqualTo(16));
        await MockBackEnd.WaitFor(() => BackEnd.Requests.Contains(MailboxRequest.SetStatus));
        BackEnd.Features &= ~0x20UL;
        await BackEnd.Announce();
        await ExpectNeedsReset("lacks the negotiated features 0x20");
    }

    [Test]
    public async Task Features_DriverAcceptsSome_BackEndHearsDeviceTypeBitsOnly()
    {
        _ = await Start(16, 0x20 | VirtioFeatures.RingIndirectDesc);
        await MockBackEnd.WaitFor(() => BackEnd.Requests.Contains(MailboxRequest.SetStatus));
        Assert.That(
            BackEnd.LastSetFeatures,
            Is.EqualTo(0x20 | VirtioFeatures.Version1 | VirtioFeatures.VhostUserProtocolFeatures | VirtioFeatures.RingEventIdx));
    }

    [Test]
    [Clause("virtio 4.1.4.3.1-5")]
    [Clause("virtio 4.1.4.5.1-2")]
    public async Task ConfigurationChange_BackEndTells_DriverSeesBytesGenerationAndInterrupt()
    {
        MockQueue queue = await Start();
        Assert.That(queue.Free, Is.EqualTo(16));
        await Driver.WriteCommon(0x10, 2, 0);
        _ = await Bridge.ReadMemory(0, 0, 0, RegisterMap.Bar.VirtioDevice + 4, 1);
        uint generation = await Driver.ReadCommon(0x15, 1);
        await MockBackEnd.WaitFor(() => BackEnd.Requests.Contains(MailboxRequest.SetStatus));
        BackEnd.Configuration[4] = 0x77;
        byte[] message = new byte[MailboxHeader.Bytes];
        new MailboxHeader((MailboxRequest)MailboxHeader.ConfigChange, MailboxHeader.Version, 0, 0).Write(message);
        await BackEnd.Post(message);
        Assert.That(await Driver.NextInterrupt(), Is.Zero, "configuration vector");
        Assert.That((await Bridge.ReadMemory(0, 0, 0, RegisterMap.Bar.VirtioDevice + 4, 1)).Data, Is.EqualTo(new byte[] { 0x77 }));
        Assert.That(await Driver.ReadCommon(0x15, 1), Is.Not.EqualTo(generation));
        Assert.That((await Bridge.ReadMemory(0, 0, 0, RegisterMap.Bar.VirtioIsr, 1)).Data, Is.EqualTo(new byte[] { 2 }));
    }

    [Test]
    public async Task Chain_LongerThanPool_NeedsReset()
    {
        MockQueue queue = await Start();
        _ = await queue.Add(new MockBuffer(0, (uint)MockBackEnd.PoolSize, false), new MockBuffer(0, 1, true));
        await queue.Publish();
        await ExpectNeedsReset("the pool can hold");
    }

    [Test]
    [Clause("virtio 5.1.6.4.1-4")]
    public async Task Used_ManyByOneStepOfTheBackEndsIndex_AreUsedTogether()
    {
        // More than the scheduler reads at once; the third round also goes round the shadow's ring of 256.
        const int Chains = 100;
        List<MockRequest> kept = [];
        BackEnd.Serve = request =>
        {
            kept.Add(request);
            return null;
        };
        MockQueue queue = await Start(size: 128);
        int rounds = Kind == FpgaKind.Ghdl ? 1 : 3;
        for (int round = 1; round <= rounds; round++)
        {
            kept.Clear();
            for (int chain = 0; chain < Chains; chain++)
            {
                _ = await queue.Add(new MockBuffer(Data + ((ulong)chain * 16), 16, true));
            }

            await queue.Publish();
            await MockBackEnd.WaitFor(() => kept.Count == Chains);
            ulong before = (await Bridge.GetStatus()).Interrupts;
            await BackEnd.PushUsed(0, 0, kept.Select(request => ((uint)request.Head, 1u)));
            for (int chain = 0; chain < Chains; chain++)
            {
                _ = await NextUsed(queue);
            }

            // The driver has not said that it wants none, so there is one for each step of its index.
            _ = await Driver.ReadStatus();
            Assert.That((await Bridge.GetStatus()).Interrupts - before, Is.EqualTo(1));
        }
    }

    [Test]
    public async Task Chain_PoolFullForNow_WaitsAndOtherQueueGoesOn()
    {
        List<MockRequest> kept = [];
        BackEnd.Serve = request =>
        {
            if (request.Queue == 0)
            {
                kept.Add(request);
                return null;
            }

            return [9];
        };
        await BackEnd.Start();
        await Driver.Enable(9);
        await Driver.Reset();
        await Driver.Negotiate(0);
        MockQueue large = await Driver.AddQueue(0, 16, RingMemory);
        MockQueue small = await Driver.AddQueue(1, 16, RingMemory + 0x4000);
        await Driver.DriverOk();
        for (int i = 0; i < 4; i++)
        {
            _ = await large.Add(new MockBuffer(Data, 0x7_0000, false));
        }

        // Half of the pool is this function's, and a queue that holds buffers leaves a quarter of that to the others.
        await large.Publish();
        await MockBackEnd.WaitFor(() => kept.Count == 3);
        _ = await small.Add(new MockBuffer(Data, 1, true));
        await small.Publish();
        Assert.That(await Driver.NextInterrupt(), Is.EqualTo(2), "queue 1 is served while queue 0 waits");
        Assert.That(await small.TakeUsed(), Is.Not.Null);
        await BackEnd.PushUsed(0, 0, kept[0].Head, 0);
        await MockBackEnd.WaitFor(() => kept.Count == 4);
    }

    [Test]
    public async Task Available_HeadOutOfRange_NeedsReset()
    {
        MockQueue queue = await Start();
        await queue.WriteAvailable(16);
        await queue.Publish();
        await ExpectNeedsReset("names descriptor 16; the queue has 16");
    }

    [Test]
    public async Task Available_IndexJumps_NeedsReset()
    {
        MockQueue queue = await Start();
        await queue.Write16(queue.Layout.AvailableIndex, 17);
        await queue.Notify();
        await ExpectNeedsReset("the available index went from 0 to 17");
    }

    [Test]
    public async Task Chain_Loop_NeedsReset()
    {
        MockQueue queue = await Start();
        await queue.WriteDescriptor(0, new Descriptor(Data, 4, DescriptorFlags.Next, 1));
        await queue.WriteDescriptor(1, new Descriptor(Data, 4, DescriptorFlags.Next, 0));
        await queue.WriteAvailable(0);
        await queue.Publish();
        await ExpectNeedsReset("a loop");
    }

    [Test]
    public async Task Chain_NextOutOfRange_NeedsReset()
    {
        MockQueue queue = await Start();
        await queue.WriteDescriptor(0, new Descriptor(Data, 4, DescriptorFlags.Next, 99));
        await queue.WriteAvailable(0);
        await queue.Publish();
        await ExpectNeedsReset("next is 99");
    }

    [Test]
    public async Task Chain_ReadableAfterWritable_NeedsReset()
    {
        MockQueue queue = await Start();
        _ = await queue.Add(new MockBuffer(Data, 4, true), new MockBuffer(Data, 4, false));
        await queue.Publish();
        await ExpectNeedsReset("a device-readable buffer follows a device-writable one");
    }

    [Test]
    public async Task Chain_IndirectNotNegotiated_NeedsReset()
    {
        MockQueue queue = await Start();
        await queue.WriteDescriptor(0, new Descriptor(Data, 16, DescriptorFlags.Indirect, 0));
        await queue.WriteAvailable(0);
        await queue.Publish();
        await ExpectNeedsReset("INDIRECT was not negotiated");
    }

    [TestCase(24u, "indirect table of 24 bytes")]
    [TestCase(0u, "indirect table of 0 bytes")]
    [TestCase(17 * 16u, "indirect table of 272 bytes")]
    public async Task Chain_IndirectTableOfBadSize_NeedsReset(uint size, string reason)
    {
        MockQueue queue = await Start(16, VirtioFeatures.RingIndirectDesc);
        await queue.WriteDescriptor(0, new Descriptor(Data, size, DescriptorFlags.Indirect, 0));
        await queue.WriteAvailable(0);
        await queue.Publish();
        await ExpectNeedsReset(reason);
    }

    [Test]
    public async Task Chain_IndirectInsideIndirect_NeedsReset()
    {
        MockQueue queue = await Start(16, VirtioFeatures.RingIndirectDesc);
        byte[] table = new byte[16];
        new Descriptor(Data, 16, DescriptorFlags.Indirect, 0).Write(table);
        await Bridge.WriteHostMemory(0, Data, table);
        await queue.WriteDescriptor(0, new Descriptor(Data, 16, DescriptorFlags.Indirect, 0));
        await queue.WriteAvailable(0);
        await queue.Publish();
        await ExpectNeedsReset("INDIRECT inside an indirect table");
    }

    [Test]
    [Clause("virtio 2.1.2-2")]
    public async Task Chain_BufferOutsideMemory_NeedsResetAndResetHeals()
    {
        MockQueue queue = await Start();
        _ = await queue.Add(new MockBuffer(0x4000_0000, 64, false), new MockBuffer(Data, 4, true));
        await queue.Publish();
        await ExpectNeedsReset("cannot be read");
        queue = await StartDriver();
        _ = await queue.Add(new MockBuffer(Data, 4, false), new MockBuffer(Data + 64, 4, true));
        await queue.Publish();
        Assert.That((await NextUsed(queue)).Length, Is.EqualTo(4));
    }

    [Test]
    public async Task Chain_RingOutsideMemory_NeedsReset()
    {
        await BackEnd.Start();
        await Driver.Enable(9);
        await Driver.Reset();
        await Driver.Negotiate(0);
        MockQueue queue = await Driver.AddQueue(0, 16, RingMemory);
        await Driver.WriteCommon(0x16, 2, 1);
        await Driver.WriteCommon(0x28, 4, 0x7000_0000);
        await Driver.WriteCommon(0x1C, 2, 1);
        await Driver.DriverOk();
        Assert.That(queue.Free, Is.EqualTo(16));
        await ExpectNeedsReset("cannot be reached");
    }

    [TestCase(1u, 4u, "which is not offered")]
    [TestCase(998u, 4u, "which is not offered")]
    [TestCase(0u, 5u, "the back end used 5 bytes of descriptor 0; 4 are writable")]
    [Clause("virtio 2.1.2-2")]
    public async Task Used_BackEndBreaksTheRules_NeedsReset(uint id, uint length, string reason)
    {
        List<MockRequest> kept = [];
        BackEnd.Serve = request =>
        {
            kept.Add(request);
            return null;
        };
        MockQueue queue = await Start();
        _ = await queue.Add(new MockBuffer(Data, 4, false), new MockBuffer(Data + 64, 4, true));
        await queue.Publish();
        await MockBackEnd.WaitFor(() => kept.Count == 1);
        await BackEnd.PushUsed(0, 0, id, length);
        await ExpectNeedsReset(reason);
    }

    [Test]
    public async Task Used_MoreThanOffered_NeedsReset()
    {
        MockQueue queue = await Start();
        Assert.That(queue.Free, Is.EqualTo(16));
        await MockBackEnd.WaitFor(() => BackEnd.Requests.Contains(MailboxRequest.SetStatus));
        await BackEnd.PushUsed(0, 0, 0, 0);
        await ExpectNeedsReset("0 chains are offered");
    }
}
