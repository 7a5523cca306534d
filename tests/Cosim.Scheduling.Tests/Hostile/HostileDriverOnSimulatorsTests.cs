// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests.Hostile;

/// <summary>What <see cref="HostileDriverTests"/> does one by one on the model, drawn at random on the simulated FPGA.</summary>
[TestFixture(FpgaKind.Verilator)]
[TestFixture(FpgaKind.Ghdl)]
public sealed class HostileDriverOnSimulatorsTests(FpgaKind kind) : WitnessedBridge(kind)
{
    private readonly int _acts = kind == FpgaKind.Verilator ? 4 : 1;

    [Test]
    public void Chains_DrawnAtRandom_NeedReset([Values(11)] int seed)
    {
        TestCaseData[] cases = [.. HostileDriverTests.Chains(), .. HostileDriverTests.IndirectChains()];
        Random random = new(seed);
        Stepped.Complete(async () =>
        {
            for (int act = 0; act < 2 * _acts; act++)
            {
                object?[] drawn = cases[random.Next(cases.Length)].Arguments;
                MockQueue queue = await StartDriver(VirtioFeatures.RingIndirectDesc);
                foreach ((int place, Descriptor descriptor) in ((Descriptor[])drawn[0]!).Index())
                {
                    await queue.WriteDescriptor((ushort)place, descriptor);
                }

                await queue.WriteAvailable(0);
                await queue.Publish(always: true);
                await ExpectNeedsReset("");
                ClearLog();
                await ExchangeWitness();
            }
        });
    }

    [Test]
    public void RegistersAndConfigurationSpace_WrittenAtRandom_HarmNobodyElse([Values(12)] int seed)
    {
        Random random = new(seed);
        Stepped.Complete(async () =>
        {
            for (int i = 0; i < 150 * _acts; i++)
            {
                byte[] data = new byte[1 << random.Next(3)];
                random.NextBytes(data);
                _ = random.Next(3) switch
                {
                    0 => await Bridge.WriteConfig(0, 0, random.Next(0x100), data),
                    1 => await Bridge.WriteMemory(0, 0, random.Next(2), (ulong)random.Next(0x4000), data),
                    _ => await Bridge.WriteMemory(0, 0, 0, RegisterMap.Bar.VirtioCommon + (ulong)(random.Next(0x3C) & -data.Length), data),
                };
            }
        });
        Assert.That(Log, Has.None.Contain("back end lost"));
    }

    [Test]
    public void Reset_AtAnyTime_LeavesMemoryAloneOnceStatusReadsZero([Values(13)] int seed)
    {
        Random random = new(seed);
        Stepped.Complete(async () =>
        {
            for (int act = 0; act < _acts; act++)
            {
                MockQueue queue = await StartDriver(VirtioFeatures.RingEventIdx);
                _ = await queue.Add(new MockBuffer(Data, 3000, false), new MockBuffer(Data + 0x1_0000, 3000, true));
                await queue.Publish();
                await Stepped.AtCycle(Stepped.Cycle + (ulong)random.Next(12_000));
                await Driver.Reset();
                byte[] before = Stepped.Memory(0).ToArray();
                await Settle();
                Assert.That(Stepped.Memory(0).SequenceEqual(before), Is.True, "memory after the reset");
            }
        });
    }
}
