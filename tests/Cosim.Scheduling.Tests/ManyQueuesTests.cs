// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;

namespace Cosim.Scheduling.Tests;

/// <summary>A bridge whose functions have 64 queues each: all of them carry chains, with a vector per queue and with one for all.</summary>
[TestFixture(FpgaKind.Model)]
[TestFixture(FpgaKind.Verilator)]
public sealed class ManyQueuesTests(FpgaKind kind)
{
    private const int Queues = 64;
    private const ulong RingMemory = 0x1_0000;
    private const ulong RingBytes = 0x400;
    private const ulong Data = 0x10_0000;

    [TestCase(true)]
    [TestCase(false)]
    public async Task Chains_OnAllQueues_AreUsedAndToldByTheirVectors(bool perQueue)
    {
        using SteppedBridge stepped = new(Options());
        await using MockBackEnd backEnd = new(stepped.Bridge) { Queues = Queues };
        MockDriver driver = new(stepped.Bridge, 1);
        stepped.Complete(async bridge =>
        {
            await backEnd.Start();
            await driver.Enable(Queues + 1);
            await driver.Reset();
            await driver.Negotiate(0);
            Assert.That(await driver.ReadCommon(0x12, 2), Is.EqualTo(Queues), "num_queues");
            List<MockQueue> queues = [];
            for (ushort q = 0; q < Queues; q++)
            {
                queues.Add(await driver.AddQueue(q, 8, RingMemory + (q * RingBytes)));
                if (!perQueue)
                {
                    await driver.WriteCommon(0x1A, 2, 5);
                }
            }

            await driver.DriverOk();
            Dictionary<int, ushort> heads = [];
            for (int q = 0; q < Queues; q++)
            {
                ulong place = Data + ((ulong)q * 128);
                await bridge.Bridge.WriteHostMemory(0, place, new byte[] { (byte)q, 1, 2, 3 });
                heads[q] = await queues[q].Add(new MockBuffer(place, 4, false), new MockBuffer(place + 64, 4, true));
                await queues[q].Publish(always: true);
            }

            HashSet<int> told = [];
            for (int q = 0; q < Queues; q++)
            {
                told.Add(await driver.NextInterrupt());
            }

            Assert.That(told.Order(), Is.EqualTo(perQueue ? Enumerable.Range(1, Queues) : [5]));
            for (int q = 0; q < Queues; q++)
            {
                Assert.That(await queues[q].TakeUsed(), Is.EqualTo((heads[q], 4u)), $"queue {q}");
                Assert.That(await bridge.Bridge.ReadHostMemory(0, Data + ((ulong)q * 128) + 64, 4), Is.EqualTo(new byte[] { (byte)~q, 0xFE, 0xFD, 0xFC }));
            }
        });
    }

    private BridgeOptions Options()
    {
        BridgeOptions options = SteppedBridgeTests.Options(kind, null);
        return options with { Fpga = options.Fpga with { QueuesPerFunction = Queues } };
    }
}
