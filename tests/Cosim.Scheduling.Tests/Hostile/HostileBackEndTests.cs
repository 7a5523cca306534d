// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests.Hostile;

/// <summary>Software of host 2 that breaks the back-end protocol (hdl/BACKEND.md): what it says is checked, and what it spoils ends with its session.</summary>
public sealed class HostileBackEndTests() : WitnessedBridge(FpgaKind.Model)
{
    private const ulong PatienceCycles = 250_000;
    private const int MostKeptAllocated = 80 << 20;

    protected override TimeSpan Patience => TimeSpan.FromMilliseconds(1); // PatienceCycles at 250 MHz

    // Whatever is left of the session: a new one, in order.
    protected override async Task Recover()
    {
        BackEnd.Mute = false;
        BackEnd.AnswerInstead = null;
        (BackEnd.OfferedPool, BackEnd.OfferedPoolSize) = (MockBackEnd.Pool, MockBackEnd.PoolSize);
        await BackEnd.Announce();
        await NextSession(BackEnd.Requests.Count);
    }

    [TestCase(1u, 4u, "used descriptor 1, which is not offered")]
    [TestCase(2u, 4u, "used descriptor 2, which is not offered")]
    [TestCase(32u, 0u, "which is not offered")]
    [TestCase(uint.MaxValue, 0u, "which is not offered")]
    [TestCase(0u, 5u, "used 5 bytes of descriptor 0; 4 are writable")]
    [TestCase(0u, uint.MaxValue, "used 4294967295 bytes of descriptor 0; 4 are writable")]
    [Clause("virtio 2.1.2-2")]
    public void Used_IdOrLengthWrong_NeedsReset(uint id, uint length, string reason) => Stepped.Complete(async () =>
    {
        await OfferOne(await StartKeeping());
        await BackEnd.PushUsed(0, 0, id, length);
        await ExpectNeedsReset(reason);
    });

    [Test]
    public void Used_Twice_NeedsReset() => Stepped.Complete(async () =>
    {
        MockQueue queue = await StartKeeping();
        await OfferOne(queue);
        await OfferOne(queue);
        await BackEnd.PushUsed(0, 0, 0, 4);
        Assert.That((await Driver.NextUsed(queue)).Head, Is.Zero);
        await BackEnd.PushUsed(0, 0, 0, 4);
        await ExpectNeedsReset("used descriptor 0, which is not offered");
        Assert.That(await queue.TakeUsed(), Is.Null, "the driver is told of it once");
    });

    [TestCase((ushort)2)]
    [TestCase((ushort)0x8000)]
    [TestCase((ushort)0xFFFF)]
    public void Used_IndexJumps_NeedsReset(ushort by) => Stepped.Complete(async () =>
    {
        await OfferOne(await StartKeeping());
        await BackEnd.JumpUsed(0, 0, by);
        await ExpectNeedsReset("1 chains are offered");
    });

    [Test]
    public void Mailbox_MessagesOfRandomBytes_AreDroppedOneLineEach([Values(1, 2)] int seed)
    {
        const int Messages = 150;
        Random random = new(seed);
        Stepped.Complete(async () =>
        {
            for (int i = 0; i < Messages; i++)
            {
                byte[] message = new byte[random.Next(1, 257) * (random.Next(4) == 0 ? 4 : 1)];
                random.NextBytes(message);
                await BackEnd.Post(message);
            }

            await ExchangeWitness();
        });
        Assert.That(Log, Has.Count.EqualTo(Messages));
        Assert.That(Log, Has.None.Contain("back end lost"));
    }

    private static IEnumerable<TestCaseData> Unasked()
    {
        yield return Case("reply to nothing", Header(MailboxRequest.GetFeatures, MailboxHeader.Reply, 8, 0), 8, "which was not asked");
        yield return Case("reply for no device", Header(MailboxRequest.ResetDevice, MailboxHeader.Reply, 8, uint.MaxValue), 8, "which was not asked");
        yield return Case("reply of no known request", Header((MailboxRequest)0xFFFF_FFFF, MailboxHeader.Reply, 0, 0), 0, "which was not asked");
        yield return Case("request of ours", Header(MailboxRequest.SetVringNum, 0, 8, 0), 8, "none of its own");
        yield return Case("size beyond the message", Header(MailboxRequest.GetFeatures, MailboxHeader.Reply, 1008, 0), 8, "bad header");
        yield return Case("size that overflows", Header(MailboxRequest.GetFeatures, MailboxHeader.Reply, 0xFFFF_FFF0, 0), 8, "bad header");
        yield return Case("version 2", Header(MailboxRequest.GetFeatures, MailboxHeader.Reply + 1, 8, 0), 8, "bad header");
        yield return Case("configuration change of device 2", Header((MailboxRequest)2, 0, 0, 2), 0, "device 2, which it does not serve");
        yield return Case("configuration change of device 2^32 - 1", Header((MailboxRequest)2, 0, 0, uint.MaxValue), 0, "device 4294967295, which it does not serve");

        static TestCaseData Case(string name, MailboxHeader header, int payload, string reason) => new TestCaseData(header, payload, reason).SetArgDisplayNames(name);
        static MailboxHeader Header(MailboxRequest request, uint flags, uint size, uint device) => new(request, MailboxHeader.Version + flags, size, device);
    }

    [TestCaseSource(nameof(Unasked))]
    public void Mailbox_MessageThatFitsNothing_IsReportedAndDropped(MailboxHeader header, int payload, string reason) => Stepped.Complete(async () =>
    {
        byte[] message = new byte[MailboxHeader.Bytes + payload];
        header.Write(message);
        await BackEnd.Post(message);
        await ExchangeWitness();
        Assert.That(Log, Has.Count.EqualTo(1));
        Assert.That(Log[0], Does.Contain(reason));
    });

    [Test]
    public void Mailbox_RegistersWrittenAtRandom_HarmOnlyTheSession([Values(1, 2)] int seed)
    {
        Random random = new(seed);
        Stepped.Complete(async () =>
        {
            for (int i = 0; i < 500; i++)
            {
                uint offset = random.Next(3) switch { 0 => (uint)random.Next(0x40) * 4, 1 => (uint)random.Next(0x4000) * 4, _ => RegisterMap.BackEnd.H2fPost };
                await BackEnd.WriteBar(offset, random.Next(2) == 0 ? (uint)random.Next(2000) : (uint)random.Next());
            }
        });
        Assert.That(Log, Has.None.Contain("Exception"));
    }

    [Test]
    public void ConfigurationChange_ToldWithoutEnd_IsReadOneAtATime() => Stepped.Complete(async () =>
    {
        byte[] message = new byte[MailboxHeader.Bytes];
        new MailboxHeader((MailboxRequest)MailboxHeader.ConfigChange, MailboxHeader.Version, 0, 0).Write(message);
        TaskCompletionSource patience = new();
        BackEnd.MayAnswer = patience.Task;
        int before = BackEnd.Requests.Count;
        for (int i = 0; i < 100; i++)
        {
            await BackEnd.Post(message);
        }

        patience.SetResult();
        await ExchangeWitness();
        await Settle();
        Assert.That(BackEnd.Requests.Count - before, Is.LessThanOrEqualTo(3), "GET_CONFIG");
        Assert.That(Log, Is.Empty);
    });

    [Test]
    public void Doorbells_OfQueuesThatAreNotThere_AreIgnored() => Stepped.Complete(async () =>
    {
        MockQueue queue = await StartDriver();
        for (uint offset = RegisterMap.BackEnd.Doorbell; offset < 0x1_0000; offset += 0x3C)
        {
            await BackEnd.WriteBar(offset & ~3u, uint.MaxValue);
        }

        await Exchange(queue);
        Assert.That(Log, Is.Empty);
    });

    private static IEnumerable<TestCaseData> WrongAnswers()
    {
        yield return Case("version 2", MailboxRequest.GetBackend, BackEndOf(2, 2, 1 << 20, 1 << 22), "speaks version 2");
        yield return Case("no devices", MailboxRequest.GetBackend, BackEndOf(1, 0, 1 << 20, 1 << 22), "serves 0 devices");
        yield return Case("2^32 - 1 devices", MailboxRequest.GetBackend, BackEndOf(1, uint.MaxValue, 1 << 20, 1 << 22), "serves 4294967295 devices");
        yield return Case("pool that is not aligned", MailboxRequest.GetBackend, BackEndOf(1, 2, (1 << 20) + 8, 1 << 22), "lends a pool");
        yield return Case("pool of nothing", MailboxRequest.GetBackend, BackEndOf(1, 2, 1 << 20, 0), "lends a pool");
        yield return Case("pool of all there is", MailboxRequest.GetBackend, BackEndOf(1, 2, 0, ulong.MaxValue), "lends a pool");
        yield return Case("pool that wraps around", MailboxRequest.GetBackend, BackEndOf(1, 2, ulong.MaxValue - 4095, 1 << 22), "lends a pool");
        yield return Case("short", MailboxRequest.GetBackend, new byte[23], "with 23 bytes; expected 24");
        yield return Case("long", MailboxRequest.GetBackend, new byte[1008], "with 1008 bytes; expected 24");
        yield return Case("no type", MailboxRequest.GetDevice, Device(0, 8, 256, 60), "type 0");
        yield return Case("type of no device", MailboxRequest.GetDevice, Device(0xFFFF, 8, 256, 60), "type 65535");
        yield return Case("no queue", MailboxRequest.GetDevice, Device(2, 0, 256, 60), "0 queues");
        yield return Case("65535 queues", MailboxRequest.GetDevice, Device(2, 65535, 256, 60), "65535 queues");
        yield return Case("queues of 3", MailboxRequest.GetDevice, Device(2, 8, 3, 60), "queues of 3 entries");
        yield return Case("queues of 2^31", MailboxRequest.GetDevice, Device(2, 8, 1u << 31, 60), "queues of 2147483648 entries");
        yield return Case("configuration of 4 GiB", MailboxRequest.GetDevice, Device(2, 8, 256, uint.MaxValue), "configuration space of 4294967295 bytes");
        yield return Case("no features", MailboxRequest.GetFeatures, new byte[8], "VERSION_1");
        yield return Case("no protocol features", MailboxRequest.GetProtocolFeatures, new byte[8], "protocol features");
        yield return Case("short configuration", MailboxRequest.GetConfig, new byte[71], "with 71 bytes; expected 72");
        yield return Case("refused memory table", MailboxRequest.SetMemTable, BitConverter.GetBytes(12UL), "error 12");

        static TestCaseData Case(string name, MailboxRequest request, byte[] answer, string reason) => new TestCaseData(request, answer, reason).SetArgDisplayNames(name);
    }

    [TestCaseSource(nameof(WrongAnswers))]
    public void Session_AnswerThatCannotBe_EndsItWithOneLine(MailboxRequest request, byte[] answer, string reason) => Stepped.Complete(async () =>
    {
        BackEnd.AnswerInstead = header => header.Request == request ? answer : null;
        await BackEnd.Announce();
        await Settle();
        Assert.That(Log, Has.Count.EqualTo(1));
        Assert.That(Log[0], Does.StartWith("back end lost: ").And.Contain(reason));
        Assert.That(await Driver.ReadStatus(), Is.EqualTo(0x0F), "host 1 sees nothing of it");
    });

    [Test]
    public void Session_RandomAnswers_CostLittleAndTheNextInOrderServes([Values(1, 2, 3)] int seed)
    {
        Random random = new(seed);
        byte[]? Spoil(MailboxHeader header)
        {
            if (random.Next(4) != 0)
            {
                return null;
            }

            byte[] payload = new byte[random.Next(5) switch { 0 => 24, 1 => 8, 2 => 20, 3 => 0, _ => random.Next(1009) }];
            random.NextBytes(payload);
            return payload;
        }

        long allocated = GC.GetAllocatedBytesForCurrentThread();
        Stepped.Complete(async () =>
        {
            for (int session = 0; session < 40; session++)
            {
                BackEnd.AnswerInstead = Spoil;
                await BackEnd.Announce();
                await Stepped.AtCycle(Stepped.Cycle + (ulong)random.Next(60_000));
                _ = await Driver.ReadStatus();
            }
        });
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - allocated, Is.LessThan(MostKeptAllocated));
        Assert.That(Log, Has.Count.LessThanOrEqualTo(160));
    }

    [Test]
    public void Pool_OfSixteenGibibytes_IsManagedInLittleMemory() => Stepped.Complete(async () =>
    {
        BackEnd.OfferedPoolSize = 1UL << 34;
        long allocated = GC.GetAllocatedBytesForCurrentThread();
        await BackEnd.Announce();
        await NextSession(BackEnd.Requests.Count);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - allocated, Is.LessThan(MostKeptAllocated));
    });

    [Test]
    public void Pool_OutsideMemory_LosesTheBackEndNotTheBridge() => Stepped.Complete(async () =>
    {
        MockQueue queue = await StartDriver();
        await Settle();
        BackEnd.OfferedPool = 0x4000_0000;
        await BackEnd.Announce();
        await NextSession(BackEnd.Requests.Count);
        await OfferOne(queue);
        Assert.That(Log, Has.Some.StartsWith("back end lost: queue 0: "));
        Assert.That(Log, Has.Count.LessThanOrEqualTo(120));
        Assert.That(await Driver.ReadStatus(), Is.EqualTo(0x0F));
        await Driver.Reset();
    });

    [Test]
    public void Silence_WithChainsUnderWay_OneLineRegistersAndResetsGoOn() => Stepped.Complete(async () =>
    {
        MockQueue queue = await StartKeeping();
        await OfferOne(queue);
        await Settle();
        BackEnd.Mute = true;
        _ = await Bridge.WriteMemory(0, 0, 0, RegisterMap.Bar.VirtioDevice, [1]);
        await Stepped.AtCycle(Stepped.Cycle + (2 * PatienceCycles));
        await Settle();
        Assert.That(Log.Count(line => line.StartsWith("back end lost: host 2 does not answer", StringComparison.Ordinal)), Is.InRange(1, 2));
        await Driver.Reset();
        Assert.That(await Driver.ReadStatus(), Is.Zero);
        await Driver.Negotiate(0);
    });

    [TestCase("CONTROL 0")]
    [TestCase("CONTROL 1 again and again")]
    [TestCase("function level reset")]
    [TestCase("Bus Master Enable 0")]
    public void Endpoint_TakenAwayWithChainsUnderWay_BuffersGoToTheNextSession(string how) => Stepped.Complete(async () =>
    {
        MockQueue queue = await StartDriver();
        await Settle();
        for (ulong i = 0; i < 4; i++)
        {
            await Bridge.WriteHostMemory(0, Data + (i * 0x4000), new byte[] { 1, 2, 3, (byte)i });
            _ = await queue.Add(new MockBuffer(Data + (i * 0x4000), 0x2000, false), new MockBuffer(Data + (i * 0x4000) + 0x2000, 0x2000, true));
        }

        await queue.Publish();
        await Stepped.AtCycle(Stepped.Cycle + 1500);
        for (int i = 0; how.StartsWith("CONTROL 1", StringComparison.Ordinal) && i < 50; i++)
        {
            await BackEnd.WriteBar(RegisterMap.BackEnd.Control, 1);
        }

        _ = how switch
        {
            "function level reset" => await Bridge.WriteConfig(1, 0, 0x48, [0x10, 0xA8]),
            "Bus Master Enable 0" => await Bridge.WriteConfig(1, 0, 0x04, [0x02, 0x00]),
            _ => default,
        };
        await BackEnd.WriteBar(RegisterMap.BackEnd.Control, 0);
        await Settle();
        await Recover();
        for (ulong i = 0; i < 4; i++)
        {
            Assert.That((await Driver.NextUsed(queue)).Length, Is.EqualTo(0x2000));
        }

        Assert.That(await queue.TakeUsed(), Is.Null, "none is used twice");
        for (ulong i = 0; i < 4; i++)
        {
            Assert.That(await Bridge.ReadHostMemory(0, Data + (i * 0x4000) + 0x2000, 4), Is.EqualTo(new byte[] { 254, 253, 252, (byte)~i }));
        }
    });

    [Test]
    public void ConfigurationSpaceOfTheEndpoint_WrittenAtRandom_IsHealedByAReset([Values(1, 2)] int seed)
    {
        Random random = new(seed);
        Stepped.Complete(async () =>
        {
            for (int i = 0; i < 1000; i++)
            {
                byte[] data = new byte[1 << random.Next(3)];
                random.NextBytes(data);
                _ = await Bridge.WriteConfig(1, 0, random.Next(0x100), data);
            }

            _ = await Bridge.WriteConfig(1, 0, 0x48, [0x10, 0xA8]);
            _ = await Bridge.WriteConfig(1, 0, 0x10, new byte[8]);
        });
    }

    private async Task<MockQueue> StartKeeping()
    {
        MockQueue queue = await StartDriver();
        BackEnd.Serve = r => r.Queue == WitnessQueue ? Inverse(r) : null;
        await Settle();
        return queue;
    }

    private async Task OfferOne(MockQueue queue)
    {
        _ = await queue.Add(new MockBuffer(Data, 4, false), new MockBuffer(Data + 64, 4, true));
        await queue.Publish();
        await Settle();
    }

    // A session is open when both functions, which are running, have been started in it.
    private async Task NextSession(int since)
    {
        for (int reads = 0; BackEnd.Requests.Skip(since).Count(r => r == MailboxRequest.SetMemTable) < 2; reads++)
        {
            Assert.That(reads, Is.LessThan(20_000), "no new session");
            _ = await BackEnd.ReadBar(RegisterMap.BackEnd.Status);
        }
    }

    private static byte[] BackEndOf(uint version, uint devices, ulong pool, ulong size)
    {
        byte[] payload = new byte[24];
        BinaryPrimitives.WriteUInt32LittleEndian(payload, version);
        BinaryPrimitives.WriteUInt32LittleEndian(payload.AsSpan(4), devices);
        BinaryPrimitives.WriteUInt64LittleEndian(payload.AsSpan(8), pool);
        BinaryPrimitives.WriteUInt64LittleEndian(payload.AsSpan(16), size);
        return payload;
    }

    private static byte[] Device(ushort type, ushort queues, uint queueSize, uint configuration)
    {
        byte[] payload = new byte[20];
        BinaryPrimitives.WriteUInt16LittleEndian(payload, type);
        BinaryPrimitives.WriteUInt16LittleEndian(payload.AsSpan(2), queues);
        BinaryPrimitives.WriteUInt32LittleEndian(payload.AsSpan(12), queueSize);
        BinaryPrimitives.WriteUInt32LittleEndian(payload.AsSpan(16), configuration);
        return payload;
    }
}
