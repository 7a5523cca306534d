// SPDX-License-Identifier: Apache-2.0
using Cosim.Guests;
using Cosim.Lifecycle;
using NUnit.Framework;

namespace Cosim.Cli.Tests;

/// <summary>The two cheapest cells of <c>sim-scripts/matrix</c>, with the kernel that set-up has, and a soak of some seconds.</summary>
[CancelAfter(300_000)]
public sealed class CompatibilityTests
{
    [TestCase(QemuMachine.Pc, 1)]
    [TestCase(QemuMachine.Q35, 2)]
    public async Task HostOne_DeviceOnTheRootBus_EveryByteIsRight(QemuMachine machine, int processors)
    {
        GuestTools tools = GuestTools.Locate();
        string kernel = string.Join('.', tools.KernelVersion.Split('.')[..2]);
        MatrixResult result = await Matrix.RunAsync(new MatrixCell(kernel, machine, OnRootBus: true, processors), hostTwoInQemu: false);
        Assert.That(result.Outcome, Is.EqualTo("ok"));
        Assert.That(result.Checked, Is.Positive);
    }

    [Test]
    public async Task Soak_SomeSeconds_EveryByteIsRight()
    {
        int seed = Environment.TickCount & 0xFFFF;
        int status = await new Soak(new SoakOptions { Time = TimeSpan.FromSeconds(6), Seed = seed, HostTwoInQemu = false }, TestContext.Out).RunAsync();
        Assert.That(status, Is.Zero, $"seed {seed}");
    }
}
