// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga.Native;

namespace Cosim.Fpga.Tests;

/// <summary>The example of a user's own design, driven over both simulators.</summary>
[TestFixture]
public sealed class NativeExampleTests
{
    private static readonly LinkPauses Pauses = new(90, 110, 7);

    [Test]
    public void Configuration_Read_NamesDeviceAndCapabilities([Values] Simulator simulator)
    {
        using NativeFpga fpga = NativeDesigns.Make(simulator, NativeDesigns.Example);
        ExampleHost host = new(fpga);

        host.WriteConfig(0x10, 0xFFFF_FFFF);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(host.ReadConfig(0x00), Is.EqualTo(0xE7A0_0C05), "vendor and device");
            Assert.That(host.ReadConfig(0x10), Is.EqualTo(0xFFFF_F000), "BAR0 is 4 KiB");
            Assert.That(host.ReadConfig(0x34), Is.EqualTo(0x40u), "first capability");
            Assert.That(host.ReadConfig(0x40) & 0xFFFF, Is.EqualTo(0x8010u), "PCI Express, then 0x80");
            Assert.That(host.ReadConfig(0x80) & 0xFFFF, Is.EqualTo(0x0011u), "MSI-X, the last");
        }
    }

    [Test]
    public void Copy_AcrossBoundaries_MovesExactlyThoseBytesAndInterrupts([Values] Simulator simulator, [Values] bool msix)
    {
        using NativeFpga fpga = NativeDesigns.Make(simulator, NativeDesigns.Example);
        ExampleHost host = new(fpga);
        host.Enumerate(msix);
        new Random(1).NextBytes(host.Memory);
        byte[] expected = [.. host.Memory];
        expected.AsSpan(0x0FC4, 1000).CopyTo(expected.AsSpan(0x8038));

        host.StartCopy(0x0FC4, 0x8038, 1000);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(host.Memory, Is.EqualTo(expected));
            Assert.That(host.Interrupts, msix ? Is.EqualTo(new[] { 0x4041u }) : Is.Empty);
            Assert.That(host.InterruptLevel, Is.EqualTo(!msix));
            Assert.That(host.Read(ExampleHost.Bar0 + 0x20), Is.EqualTo(1u), "done, not failed");
        }

        host.Write(ExampleHost.Bar0 + 0x20, 1);
        Assert.That(host.InterruptLevel, Is.False);
    }

    [Test]
    public void Run_SameInputs_SameOutputsAtSameCyclesInEverySimulator([Values] bool pauses)
    {
        List<string>? expected = null;
        foreach (Simulator simulator in Enum.GetValues<Simulator>())
        {
            using NativeFpga fpga = NativeDesigns.Make(simulator, NativeDesigns.Example, pauses ? Pauses : default);
            List<string> outputs = CopySome(fpga).Outputs;
            expected ??= outputs;
            Assert.That(outputs, Is.EqualTo(expected), simulator.ToString());
        }

        Assert.That(expected, Has.Count.GreaterThan(50));
    }

    [Test]
    public void Run_WithPausesOnTheStreams_SamePacketsLater()
    {
        using NativeFpga steady = NativeDesigns.Make(Simulator.VerilatorInProcess, NativeDesigns.Example);
        using NativeFpga paused = NativeDesigns.Make(Simulator.VerilatorInProcess, NativeDesigns.Example, Pauses);

        IEnumerable<string> expected = CopySome(steady).Outputs.Select(WithoutCycle);
        IEnumerable<string> actual = CopySome(paused).Outputs.Select(WithoutCycle);

        Assert.That(actual, Is.EqualTo(expected));
        Assert.That(paused.Cycle, Is.GreaterThan(steady.Cycle));

        static string WithoutCycle(string line) => line[(line.IndexOf(' ', StringComparison.Ordinal) + 1)..];
    }

    [Test]
    public void Run_DesignWithoutBusy_IsIdleAfterItsCycles([Values] Simulator simulator)
    {
        using NativeFpga busy = NativeDesigns.Make(simulator, NativeDesigns.Example);
        using NativeFpga counted = NativeDesigns.Make(simulator, NativeDesigns.Example with { IdleCycles = 100 });

        ExampleHost expected = CopySome(busy);
        ulong before = counted.Cycle;
        ExampleHost actual = CopySome(counted);

        Assert.That(actual.Memory, Is.EqualTo(expected.Memory));
        ulong end = counted.Cycle;
        Assert.That(end - before, Is.GreaterThan(busy.Cycle + 100));
        Assert.That(counted.Run(1000), Is.EqualTo(RunResult.Idle));
        Assert.That(counted.Cycle, Is.EqualTo(end), "an idle FPGA costs no cycle");
    }

    private static ExampleHost CopySome(IFpga fpga)
    {
        ExampleHost host = new(fpga);
        new Random(2).NextBytes(host.Memory);
        host.Enumerate(msix: true);
        host.StartCopy(0x1000, 0x2004, 2048);
        host.StartCopy(0x0008, 0x4000, 132);
        return host;
    }
}
