// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests.Hostile;

/// <summary>A driver of host 1 that breaks every rule; the back end and the other function go on.</summary>
public sealed class HostileDriverTests() : WitnessedBridge(FpgaKind.Model)
{
    private const ulong Ends = MemoryBytes;
    private const DescriptorFlags Next = DescriptorFlags.Next;
    private const DescriptorFlags Write = DescriptorFlags.Write;
    private const DescriptorFlags Indirect = DescriptorFlags.Indirect;

    internal static IEnumerable<TestCaseData> Chains()
    {
        yield return Case("buffer that wraps around", "wraps around", new Descriptor(ulong.MaxValue - 4095, 8192, 0, 0));
        yield return Case("buffer of 4 GiB - 1", "the pool can hold", new Descriptor(0, uint.MaxValue, 0, 0));
        yield return Case(
            "lengths whose sum overflows 32 bits", "the pool can hold", [.. Enumerable.Range(1, 15).Select(i => new Descriptor(0, uint.MaxValue, Next, (ushort)i)), new(0, uint.MaxValue, 0, 0)]);
        yield return Case("readable buffer across the end of memory", "cannot be read", new Descriptor(Ends - 8, 16, 0, 0));
        yield return Case("readable buffer outside memory", "cannot be read", new Descriptor(0x5000_0000, 16, 0, 0));
        yield return Case("readable buffer in the interrupt range", "cannot be read", new Descriptor(0xFEE0_0000, 4, 0, 0));
        yield return Case("readable buffer on a BAR", "cannot be read", new Descriptor(Bar0, 16, 0, 0));
        yield return Case("chain without a byte", "has no byte", new Descriptor(Data, 0, 0, 0));
        yield return Case("chain of empty buffers", "has no byte", new(Data, 0, Next, 1), new(Data, 0, Next | Write, 2), new(Data, 0, 0, 0));
        yield return Case("loop of itself", "a loop", new Descriptor(Data, 1, Next, 0));
        yield return Case("loop of empty buffers", "a loop", new(Data, 0, Next, 1), new(Data, 0, Next, 0));
        yield return Case("loop over the whole table", "a loop", [.. Enumerable.Range(1, 16).Select(i => new Descriptor(Data, 1, Next, (ushort)(i % 16)))]);
        yield return Case("next beyond the table", "next is 16", new Descriptor(Data, 1, Next, 16));
        yield return Case("readable after writable", "follows a device-writable one", new(Data, 1, Write | Next, 1), new(Data, 1, 0, 0));
        yield return Case("indirect that was not negotiated", "INDIRECT was not negotiated", new Descriptor(Data, 16, Indirect, 0));
    }

    internal static IEnumerable<TestCaseData> IndirectChains()
    {
        yield return Case("INDIRECT and NEXT", "INDIRECT together with NEXT", new(Data, 16, Indirect | Next, 1), new(Data, 1, 0, 0));
        yield return Case("table that wraps around", "cannot be reached", new Descriptor(ulong.MaxValue - 15, 32, Indirect, 0));
        yield return Case("table outside memory", "cannot be reached", new Descriptor(0x5000_0000, 32, Indirect, 0));
        yield return Case("table across the end of memory", "cannot be reached", new Descriptor(Ends - 16, 64, Indirect, 0));
        yield return Case("table of no bytes", "indirect table of 0 bytes", new Descriptor(Data, 0, Indirect, 0));
        yield return Case("table of 4 GiB", "indirect table of 4294967280 bytes", new Descriptor(Data, 0xFFFF_FFF0, Indirect, 0));
        yield return Case("table of 17 entries", "indirect table of 272 bytes", new Descriptor(Data, 17 * 16, Indirect, 0));
        yield return Case("next beyond the indirect table", "next is 9; the table has 2", new Descriptor(RingMemory + 16, 32, Indirect, 0), new(Data, 1, Next, 9));
        yield return Case("indirect table that is its own entry", "INDIRECT inside an indirect table", new Descriptor(RingMemory, 16, Indirect, 0));
        yield return Case("loop in the indirect table", "a loop", new Descriptor(RingMemory + 16, 32, Indirect, 0), new(Data, 1, Next, 1), new(Data, 1, Next, 0));
    }

    private static TestCaseData Case(string name, string reason, params Descriptor[] table) => new TestCaseData(table, reason).SetArgDisplayNames(name);

    [TestCaseSource(nameof(Chains))]
    [Clause("virtio 2.1.2-2")]
    public void Chain_BreakingTheRules_NeedsReset(Descriptor[] table, string reason) => Stepped.Complete(async () =>
    {
        await Offer(await StartDriver(), table);
        await ExpectNeedsReset(reason);
    });

    [TestCaseSource(nameof(IndirectChains))]
    public void IndirectChain_BreakingTheRules_NeedsReset(Descriptor[] table, string reason) => Stepped.Complete(async () =>
    {
        await Offer(await StartDriver(VirtioFeatures.RingIndirectDesc), table);
        await ExpectNeedsReset(reason);
    });

    private static IEnumerable<TestCaseData> Rings()
    {
        yield return Ring("available ring outside memory", 0x28, 0x5000_0000);
        yield return Ring("available ring on a BAR", 0x28, Bar0);
        yield return Ring("available ring on the other function's BAR", 0x28, Bar0 + 0x1_0000);
        yield return Ring("available ring in the interrupt range", 0x28, 0xFEE0_0000);
        yield return Ring("available ring at the end of all addresses", 0x28, ulong.MaxValue - 15);
        yield return Ring("available ring whose entries are beyond memory", 0x28, Ends - 4);
        yield return Ring("descriptor table outside memory", 0x20, 0x5000_0000);
        yield return Ring("descriptor table at the end of all addresses", 0x20, ulong.MaxValue - 15);
        yield return Ring("descriptor table on the back end's doorbells", 0x20, 0x8000_0000);

        static TestCaseData Ring(string name, int register, ulong address) => new TestCaseData(register, address).SetArgDisplayNames(name);
    }

    [TestCaseSource(nameof(Rings))]
    public void Ring_ThatCannotBeRead_NeedsReset(int register, ulong address) => Stepped.Complete(async () =>
    {
        MockQueue queue = await StartWithRing(register, address);
        await Bridge.WriteHostMemory(0, Ends - 4, new byte[] { 0, 0, 1, 0 });
        await queue.WriteDescriptor(0, new Descriptor(Data, 1, 0, 0));
        await queue.WriteAvailable(0);
        await queue.Publish(always: true);
        await ExpectNeedsReset("cannot be reached");
    });

    // What is written there is posted: it is dropped and reported, and the driver that waits for it waits by its own doing.
    [TestCase(0x5000_0000ul)]
    [TestCase((ulong)Bar0)]
    [TestCase(Ends - 4)]
    [TestCase(ulong.MaxValue - 3)]
    public void UsedRing_ThatCannotBeWritten_IsDroppedAndReported(ulong address) => Stepped.Complete(async () =>
    {
        MockQueue queue = await StartWithRing(0x30, address);
        _ = await queue.Add(new MockBuffer(Data, 1, false), new MockBuffer(Data + 64, 1, true));
        await queue.Publish(always: true);
        await Settle();
        Assert.That(Log, Has.Some.Contain("not memory of the host"));
        Assert.That(Log, Has.Count.LessThanOrEqualTo(6));
    });

    // The three parts lie on top of each other in every order; whatever comes of it, it ends.
    [TestCase(0ul, 0ul, 0ul)]
    [TestCase(0x100ul, 0ul, 0ul)]
    [TestCase(0ul, 2ul, 0x10ul)]
    [TestCase(0ul, 0x10ul, 0x10ul)]
    [TestCase(0ul, 0x20ul, 0x1Cul)]
    public void Rings_OverlappingEachOther_EndOrNeedReset(ulong table, ulong available, ulong used) => Stepped.Complete(async () =>
    {
        MockQueue queue = await StartWithRing(0x20, RingMemory + table, 0x28, RingMemory + available, 0x30, RingMemory + used);
        for (ushort i = 0; i < 4; i++)
        {
            await Bridge.WriteHostMemory(0, RingMemory + available + 2, new byte[] { (byte)(i + 1), 0, (byte)i, 0 });
            await queue.Notify();
            await Settle();
        }

        Assert.That(Log, Has.Count.LessThanOrEqualTo(20));
    });

    [Test]
    public void Available_SameHeadTwice_NeedsReset() => Stepped.Complete(async () =>
    {
        MockQueue queue = await StartDriver();
        await queue.WriteDescriptor(3, new Descriptor(Data, 1, 0, 0));
        await queue.WriteAvailable(3);
        await queue.WriteAvailable(3);
        await queue.Publish();
        await ExpectNeedsReset("names descriptor 3, which is still in use");
    });

    [TestCase((ushort)17)]
    [TestCase((ushort)0x8000)]
    [TestCase((ushort)0xFFFF)]
    public void Available_IndexJumps_NeedsReset(ushort index) => Stepped.Complete(async () =>
    {
        MockQueue queue = await StartDriver();
        await Exchange(queue);
        await queue.Write16(queue.Layout.AvailableIndex, (ushort)(index + 1));
        await queue.Notify();
        await ExpectNeedsReset($"the available index went from 1 to {(ushort)(index + 1)}");
    });

    [Test]
    public void WritableBuffer_AcrossTheEndOfMemory_OnlyWhatIsMemoryIsWritten() => Stepped.Complete(async () =>
    {
        BackEnd.Serve = r => r.Queue == WitnessQueue ? Inverse(r) : [.. Enumerable.Repeat((byte)0x5A, 64)];
        MockQueue queue = await StartDriver();
        await Bridge.WriteHostMemory(0, Ends - 8, new byte[8]);
        _ = await queue.Add(new MockBuffer(Ends - 8, 64, true));
        await queue.Publish();
        Assert.That((await Driver.NextUsed(queue)).Length, Is.EqualTo(64));
        Assert.That(Log, Has.Some.Contain("not memory of the host"));
        Assert.That(Log, Has.Count.LessThanOrEqualTo(2));
    });

    [Test]
    public void WritableBuffer_InTheInterruptRange_RaisesNoVectorThatIsNotThere() => Stepped.Complete(async () =>
    {
        BackEnd.Serve = r => r.Queue == WitnessQueue ? Inverse(r) : [0xFF, 0xFF, 0xFF, 0x7F];
        MockQueue queue = await StartDriver();
        _ = await queue.Add(new MockBuffer(0xFEE0_1000, 4, true));
        await queue.Publish();
        Assert.That((await Driver.NextUsed(queue)).Length, Is.EqualTo(4));
        Assert.That(Log, Has.Some.Contain("interrupt of vector 2147483647"));
    });

    [Test]
    public void Status_DriverOkWithoutFeaturesOk_NeedsReset() => Stepped.Complete(async () =>
    {
        await Driver.Reset();
        await Driver.WriteStatus(VirtioStatus.Acknowledge | VirtioStatus.Driver);
        await Driver.WriteStatus(VirtioStatus.Acknowledge | VirtioStatus.Driver | VirtioStatus.DriverOk);
        await ExpectNeedsReset("DRIVER_OK without FEATURES_OK");
    });

    [Test]
    [Clause("virtio 2.2.2-2")]
    public void Status_FeaturesThatWereNotOffered_AreRefused() => Stepped.Complete(async () =>
    {
        await Driver.Reset();
        await Driver.WriteStatus(VirtioStatus.Acknowledge | VirtioStatus.Driver);
        await Driver.WriteCommon(0x08, 4, 0);
        await Driver.WriteCommon(0x0C, 4, uint.MaxValue);
        await Driver.WriteCommon(0x08, 4, 1);
        await Driver.WriteCommon(0x0C, 4, uint.MaxValue);
        await Driver.WriteStatus((VirtioStatus)0x3F); // the reserved bits too
        Assert.That(await Driver.ReadStatus() & (byte)VirtioStatus.FeaturesOk, Is.Zero);
        await ExpectNeedsReset("DRIVER_OK without FEATURES_OK");
        await Driver.WriteStatus((VirtioStatus)0xFF);
        Assert.That(await Driver.ReadStatus() & (byte)VirtioStatus.FeaturesOk, Is.Zero);
    });

    [Test]
    public void MsixVector_OutOfRange_ReadsNoVectorAndNoneIsRaised() => Stepped.Complete(async () =>
    {
        MockQueue queue = await StartDriver();
        foreach (uint vector in new uint[] { 9, 2047, 2048, 0xFFFE })
        {
            await Driver.WriteCommon(0x10, 2, vector);
            Assert.That(await Driver.ReadCommon(0x10, 2), Is.EqualTo(0xFFFF), "config_msix_vector");
            await Driver.WriteCommon(0x16, 2, 0);
            await Driver.WriteCommon(0x1A, 2, vector);
            Assert.That(await Driver.ReadCommon(0x1A, 2), Is.EqualTo(0xFFFF), "queue_msix_vector");
        }

        _ = await queue.Add(new MockBuffer(Data, 4, false), new MockBuffer(Data + 64, 4, true));
        await queue.Publish();
        await Settle();
        Assert.That(await queue.TakeUsed(), Is.Not.Null);
        Assert.That(Log, Is.Empty);
    });

    [Test]
    public void Notify_ForQueuesThatAreNotThere_IsIgnored() => Stepped.Complete(async () =>
    {
        MockQueue queue = await StartDriver();
        for (uint offset = 0x3000; offset < 0x4000; offset += 0x3FE)
        {
            _ = await Bridge.WriteMemory(0, 0, 0, offset, [0xFF, 0xFF]);
        }

        await Exchange(queue);
    });

    [Test]
    public void BusMaster_ClearedWithChainsUnderWay_NeedsReset() => Stepped.Complete(async () =>
    {
        MockQueue queue = await StartDriver();
        _ = await queue.Add(new MockBuffer(Data, 0x8000, false), new MockBuffer(Data + 0x1_0000, 0x8000, true));
        await queue.Publish();
        _ = await Bridge.WriteConfig(0, 0, 0x04, [0x02, 0x00]);
        await ExpectNeedsReset("");
    });

    // The other function lies in the root port's window, as one does whose host has not given it addresses.
    [Test]
    public void Bar_LaidOverTheOtherFunctionsWindow_DoesNotTakeItsAccesses([Values(0, 1)] int thief)
    {
        int victim = 1 - thief;
        Stepped.Complete(async () =>
        {
            await WriteConfig32(victim, 0x10, 0);
            await WriteConfig32(victim, 0x14, 0);
            for (uint window = 0x1000_0000; window < 0x1004_0000; window += 0x4000)
            {
                await WriteConfig32(thief, 0x10, window);
                byte[] queues = (await Bridge.ReadMemory(0, victim, 0, 0x12, 2)).Data;
                Assert.That(queues, Is.EqualTo(new byte[] { 8, 0 }), $"num_queues of function {victim} with function {thief} at 0x{window:x}");
                await (victim == 1 ? Witness : Driver).WriteCommon(0x16, 2, window >> 14 & 7);
                Assert.That(await (victim == 1 ? Witness : Driver).ReadCommon(0x16, 2), Is.EqualTo(window >> 14 & 7), "queue_select");
            }

            await AssignBars(0);
            await AssignBars(1);
        });
    }

    [Test]
    public void Pool_TakenByOneFunction_LeavesTheOtherItsShare() => Stepped.Complete(async () =>
    {
        int kept = 0;
        BackEnd.Serve = r =>
        {
            kept += r.Queue == WitnessQueue ? 0 : 1;
            return r.Queue == WitnessQueue ? Inverse(r) : null;
        };
        await Driver.Reset();
        await Driver.Negotiate(0);
        List<MockQueue> queues = [];
        for (ushort q = 0; q < 6; q++)
        {
            queues.Add(await Driver.AddQueue(q, QueueSize, RingMemory + (q * 0x2000ul)));
        }

        await Driver.DriverOk();
        foreach (MockQueue queue in queues)
        {
            for (int i = 0; i < QueueSize; i++)
            {
                _ = await queue.Add(new MockBuffer(Data, 0x3_0000, true));
            }

            await queue.Publish();
        }

        await Settle();
        Assert.That(kept, Is.InRange(6, 8), "chains of 256 KiB in half of 4 MiB");
        for (int i = 0; i < 3; i++)
        {
            await ExchangeWitness();
        }
    });

    [Test]
    public void Reset_WhileHostTwoIsSilent_ManyTimesLeavesLittleToDo()
    {
        const int Resets = 500;
        Stepped.Complete(async () =>
        {
            MockQueue queue = await StartDriver();
            _ = await queue.Add(new MockBuffer(Data, 4, false), new MockBuffer(Data + 64, 4, true));
            await queue.Publish();
            _ = await Driver.NextUsed(queue);
        });
        TaskCompletionSource patience = new();
        BackEnd.MayAnswer = patience.Task;
        Stepped.Complete(async () =>
        {
            for (int i = 0; i < Resets; i++)
            {
                await Driver.Reset();
                await Driver.Negotiate(0);
                await Driver.DriverOk();
            }
        });
        ulong before = Stepped.Cycle;
        Stepped.Complete(async () =>
        {
            patience.SetResult();
            await Exchange(await StartDriver());
        });
        Assert.That(Stepped.Cycle - before, Is.LessThan(100_000), "cycles to the next buffer");
    }

    [Test]
    public void Reset_AtAnyTime_LeavesMemoryAloneOnceStatusReadsZero([Values(1, 2, 3)] int seed)
    {
        Random random = new(seed);
        Stepped.Complete(async () =>
        {
            for (int round = 0; round < 20; round++)
            {
                MockQueue queue = await StartDriver(random.Next(2) == 0 ? VirtioFeatures.RingEventIdx : 0);
                for (ulong i = 0; i < 4; i++)
                {
                    _ = await queue.Add(new MockBuffer(Data + (i * 0x2000), 3000, false), new MockBuffer(Data + 0x1_0000 + (i * 0x2000), 3000, true));
                }

                await queue.Publish();
                await Stepped.AtCycle(Stepped.Cycle + (ulong)random.Next(12_000));
                await Driver.Reset();
                byte[] before = Stepped.Memory(0).ToArray();
                await Settle();
                Assert.That(Stepped.Memory(0).SequenceEqual(before), Is.True, $"memory after the reset of round {round}");
            }
        });
        Assert.That(Log, Is.Empty);
    }

    [Test]
    public void Registers_WrittenInAnyOrder_EndInOrderAfterAReset([Values(1, 2, 3)] int seed)
    {
        Random random = new(seed);
        Stepped.Complete(async () =>
        {
            for (int i = 0; i < 400; i++)
            {
                int size = 1 << random.Next(3);
                int offset = random.Next(0x3C / size) * size;
                uint value = random.Next(4) switch { 0 => (uint)random.Next(), 1 => (uint)random.Next(16), 2 => 1, _ => (uint)random.Next(MemoryBytes) & ~0xFFFu };

                // Half of the writes to device_status carry a driver on, so that queues do start.
                await Driver.WriteCommon(offset, size, offset == 0x14 && random.Next(2) == 0 ? 0x0Fu : value);
                if (random.Next(4) == 0)
                {
                    _ = await Bridge.WriteMemory(0, 0, 0, RegisterMap.Bar.VirtioNotify + (4u * (uint)random.Next(8)), [(byte)random.Next(8), 0]);
                }
            }
        });
        Assert.That(Log.Count(line => line.Contains("back end lost", StringComparison.Ordinal)), Is.Zero);
    }

    [Test]
    public void ConfigurationSpace_WrittenAtRandom_HarmsNobodyElse([Values(1, 2)] int seed)
    {
        Random random = new(seed);
        Stepped.Complete(async () =>
        {
            for (int i = 0; i < 4000; i++)
            {
                byte[] data = new byte[1 << random.Next(4)];
                random.NextBytes(data);
                int offset = random.Next(8) == 0 ? random.Next(4096) : random.Next(0x100);
                _ = await Bridge.WriteConfig(0, 0, Math.Min(offset, 4096 - data.Length), data);
                if (i % 97 == 0)
                {
                    await ExchangeWitness();
                }
            }
        });
        Assert.That(Log.Count(line => line.Contains("back end lost", StringComparison.Ordinal)), Is.Zero);
    }

    [Test]
    public void Bars_AccessedAtRandom_HarmNobodyElse([Values(1, 2)] int seed)
    {
        Random random = new(seed);
        Stepped.Complete(async () =>
        {
            for (int i = 0; i < 1000; i++)
            {
                byte[] data = new byte[random.Next(1, 20)];
                random.NextBytes(data);
                int bar = random.Next(7);
                ulong offset = random.Next(16) == 0 ? (ulong)random.NextInt64() : (ulong)random.Next(0x4000);
                _ = random.Next(2) == 0
                    ? await Bridge.WriteMemory(0, 0, bar, offset, data)
                    : await Bridge.ReadMemory(0, 0, bar, offset, data.Length);
            }
        });
        Assert.That(Log.Count(line => line.Contains("back end lost", StringComparison.Ordinal)), Is.Zero);
    }

    private static async Task Offer(MockQueue queue, Descriptor[] table)
    {
        for (ushort i = 0; i < table.Length; i++)
        {
            await queue.WriteDescriptor(i, table[i]);
        }

        await queue.WriteAvailable(0);
        await queue.Publish(always: true);
    }

    private async Task<MockQueue> StartWithRing(params ulong[] registersAndAddresses)
    {
        await Driver.Reset();
        await Driver.Negotiate(0);
        MockQueue queue = await Driver.AddQueue(0, QueueSize, RingMemory);
        await Driver.WriteCommon(0x16, 2, 1);
        await Driver.WriteCommon(0x18, 2, QueueSize);
        await Driver.WriteCommon(0x16, 2, 0);
        for (int i = 0; i < registersAndAddresses.Length; i += 2)
        {
            await Driver.WriteCommon((int)registersAndAddresses[i], 4, (uint)registersAndAddresses[i + 1]);
            await Driver.WriteCommon((int)registersAndAddresses[i] + 4, 4, (uint)(registersAndAddresses[i + 1] >> 32));
        }

        await Driver.DriverOk();
        return queue;
    }

    private Task<MockQueue> StartWithRing(int register, ulong address) => StartWithRing((ulong)register, address);
}
