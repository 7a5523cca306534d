// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;

namespace Cosim.Scheduling.Tests;

/// <summary>A function level reset of one function while buffers move is no other function's business, and not host 2's.</summary>
[TestFixture(FpgaKind.Model)]
[TestFixture(FpgaKind.Verilator)]
public sealed class FunctionResetTests(FpgaKind kind)
{
    private const int Length = 20_000;

    [Test]
    public async Task FunctionLevelReset_AtAnyTimeInACopy_KeepsTheBackEnd([Range(0, 3000, 500)] int after)
    {
        List<string> reports = [];
        using SteppedBridge stepped = new(SteppedBridgeTests.Options(kind, null) with { Log = reports.Add });
        await using MockBackEnd backEnd = new(stepped.Bridge);
        MockDriver driver = new(stepped.Bridge, 0);
        stepped.Complete(async bridge =>
        {
            await backEnd.Start();
            await driver.Enable(9);
            MockQueue queue = await Start(driver);
            _ = await queue.Add(new MockBuffer(0x10_0000, Length, false), new MockBuffer(0x20_0000, Length, true));
            await queue.Publish();
            await bridge.AtCycle(bridge.Cycle + (ulong)after);
            _ = await bridge.Bridge.WriteConfig(0, 0, 0x48, [0x10, 0xA8]);
            queue = await Start(driver);
            _ = await queue.Add(new MockBuffer(0x10_0000, Length, false), new MockBuffer(0x20_0000, Length, true));
            await queue.Publish();
            Assert.That((await driver.NextUsed(queue)).Length, Is.EqualTo(Length));
        });
        Assert.That(reports, Has.None.Contain("back end lost"));
    }

    private static async Task<MockQueue> Start(MockDriver driver)
    {
        await driver.Reset();
        await driver.Negotiate(0);
        MockQueue queue = await driver.AddQueue(0, 16, 0x1_0000);
        await driver.DriverOk();
        return queue;
    }
}
