// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>What the bridge's thread allocates while data moves.</summary>
public sealed class AllocationTests
{
    private const int Bytes = 64 << 10;

    [TestCase(false)]
    [TestCase(true)]
    public async Task DataPath_ManyTlps_AllocatesNothing(bool recorded)
    {
        MeteredFpga? meter = null;
        string file = Path.Combine(TestContext.CurrentContext.WorkDirectory, "allocation.stim");
        using Bridge bridge = new(new BridgeOptions
        {
            Name = "test",
            Fpga = new FpgaOptions { Kind = FpgaKind.Model },
            MakeFpga = options => meter = new MeteredFpga(FpgaFactory.Create(options)),
            Hosts = [new ProgramHostOptions { Functions = 2, MemoryBytes = 4 << 20 }, new ProgramHostOptions { Functions = 1, MemoryBytes = 8 << 20 }],
            RecordingFile = recorded ? file : null,
        });
        byte[] answer = new byte[Bytes];
        await using MockBackEnd backEnd = new(bridge) { Serve = _ => answer };
        MockDriver driver = new(bridge, 0);
        await backEnd.Start();
        await driver.Enable(9);
        await driver.Reset();
        await driver.Negotiate(VirtioFeatures.RingEventIdx);
        MockQueue queue = await driver.AddQueue(0, 64, 0x1_0000);
        await driver.DriverOk();
        await Exchange(driver, queue, 64);
        _ = await bridge.Invoke(() =>
        {
            meter!.Restart();
            return 0;
        });

        await Exchange(driver, queue, 64);

        (int packets, long allocated) = await bridge.Invoke(() => (meter!.Packets, meter.Bytes));
        bridge.Dispose();
        File.Delete(file);
        Assert.That(packets, Is.GreaterThan(64 * Bytes / 256), "TLPs and DMA commands");
        Assert.That(allocated, Is.Zero, $"bytes allocated over {packets} TLPs and DMA commands");
    }

    private static async Task Exchange(MockDriver driver, MockQueue queue, int count)
    {
        for (int done = 0; done < count; done += 4)
        {
            for (ulong chain = 0; chain < 4; chain++)
            {
                ulong address = 0x10_0000 + (chain * 2 * Bytes);
                _ = await queue.Add(new MockBuffer(address, Bytes, false), new MockBuffer(address + Bytes, Bytes, true));
            }

            await queue.Publish();
            for (int i = 0; i < 4; i++)
            {
                Assert.That((await driver.NextUsed(queue)).Length, Is.EqualTo(Bytes));
            }
        }
    }
}
