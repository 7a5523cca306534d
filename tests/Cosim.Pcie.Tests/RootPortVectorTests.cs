// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.Pcie.Tests;

public class RootPortVectorTests : RootPortFixture
{
    private FakeFpga.Function Function => Fpga.Functions[0];

    private bool Enabled => Function.Register(FakeFpga.Msix) >> 31 != 0;

    [Test]
    public void ArmVectors_SomeVectors_ProgramsOnlyThose()
    {
        Enumerate();

        Port.ArmVectors(0, 1, 2);
        Fpga.Drain();

        Assert.That(Entry(0), Is.EqualTo(new uint[] { 0, 0, 0, 1 }));
        Assert.That(Entry(1), Is.EqualTo(new uint[] { 0xFEE0_0000, 0, 1, 0 }));
        Assert.That(Entry(2), Is.EqualTo(new uint[] { 0xFEE0_0000, 0, 2, 0 }));
        Assert.That(Entry(3), Is.EqualTo(new uint[] { 0, 0, 0, 1 }));
        Assert.That(Enabled, Is.True);
        Assert.That(Fpga.Log[^1], Does.StartWith("CfgWr0 01:00.0 0x080 be 8"), "enabled once the table is right");
    }

    [Test]
    public void ArmVectors_AgainAndMore_ChangesOnlyWhatIsNew()
    {
        Enumerate();
        Port.ArmVectors(0, 0, 1);
        Forget();

        Port.ArmVectors(0, 0, 2);
        Fpga.Drain();

        Assert.That(Fpga.Log, Has.Count.EqualTo(4).And.All.StartsWith("MWr 0xfe10001"), "one entry");
    }

    [Test]
    public void DisarmVectors_OneAfterTheOther_MasksThenDisables()
    {
        Enumerate();
        Port.ArmVectors(0, 0, 2);
        Fpga.Drain();

        Port.DisarmVectors(0, 0, 1);
        Fpga.Drain();
        Assert.That(Entry(0), Is.EqualTo(new uint[] { 0xFEE0_0000, 0, 0, 1 }));
        Assert.That(Enabled, Is.True);

        Port.DisarmVectors(0, 1, 1);
        Fpga.Drain();
        Assert.That(Enabled, Is.False);

        Forget();
        Port.ArmVectors(0, 0, 1);
        Fpga.Drain();
        Assert.That(Entry(0)[3], Is.Zero);
        Assert.That(Enabled, Is.True);
        Assert.That(Fpga.Log, Has.Count.EqualTo(2), "address and data are still there");
    }

    [Test]
    public void ArmVectors_MemorySpaceOff_GoesThroughTheWindow()
    {
        Port.ArmVectors(0, 3, 1);
        Fpga.Drain();

        Assert.That(Entry(3), Is.EqualTo(new uint[] { 0xFEE0_0000, 0, 3, 0 }));
        Assert.That(Function.Register(0x04) & 0xFFFF, Is.Zero);
        Assert.That(Function.Register(0x14), Is.Zero);
        Assert.That(Enabled, Is.True);
    }

    [Test]
    public void ArmVectors_BeyondTheTable_ReportsAndProgramsTheRest()
    {
        Enumerate();

        Port.ArmVectors(0, 0, 6);
        Fpga.Drain();

        Assert.That(Entry(3)[3], Is.Zero);
        Assert.That(Reports.Single(), Does.Contain("beyond its 4"));
        Assert.That(() => Port.ArmVectors(0, 2000, 49), Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(() => Port.DisarmVectors(0, -1, 1), Throws.TypeOf<ArgumentOutOfRangeException>());
    }

    [Test]
    public void Interrupt_ArmedVector_ReachesTheHost()
    {
        Enumerate();
        Port.ArmVectors(0, 0, 4);
        Fpga.Drain();

        Raise(0xFEE0_0000, 3, 0, 0, 0);
        Raise(0xFEEF_FFFC, 1, 0, 0, 0);

        Assert.That(Host.Log, Is.EqualTo(new[] { "msix 3", "msix 1" }));
        Assert.That(Port.Counters.MsixInterrupts, Is.EqualTo(2));
    }

    [Test]
    public void Interrupt_WhileDisarmed_IsGivenWhenArmedAgain()
    {
        Enumerate();
        Port.ArmVectors(0, 0, 2);
        Fpga.Drain();
        Port.DisarmVectors(0, 1, 1);

        Raise(0xFEE0_0000, 1, 0, 0, 0); // on its way before the mask bit is set
        Assert.That(Host.Log, Is.Empty);
        Port.ArmVectors(0, 1, 1);

        Assert.That(Host.Log, Is.EqualTo(new[] { "msix 1" }));
    }

    [TestCase(4, 0, 0, 0)]
    [TestCase(0, 0, 0, 0x80)]
    public void Interrupt_NoSuchVector_IsReported(byte b0, byte b1, byte b2, byte b3)
    {
        Enumerate();

        Raise(0xFEE0_0000, b0, b1, b2, b3);

        Assert.That(Host.Log, Is.Empty);
        Assert.That(Reports.Single(), Does.Contain("of which there are 4"));
    }

    [Test]
    public void Interrupt_NotOneDw_IsNeverDma()
    {
        Enumerate();
        Port.ArmVectors(0, 0, 4);
        Fpga.Drain();
        Host.Log.Clear();

        Raise(0xFEE0_0000, 1, 0, 0, 0, 0, 0, 0, 0);
        Raise(0xFEE0_0000, 1, 0);
        Give(packet => TlpWriter.MemoryRead(packet, RoutingId.Fpga(0), 1, 0xFEE0_0000, 4));

        Assert.That(Host.Log, Is.Empty);
        Assert.That(Reports, Has.Count.EqualTo(3));
        Assert.That(Fpga.Log[^1], Does.StartWith("Cpl UR"));
    }

    [Test]
    public void ResetFunction_Programmed_KeepsBarsAndForgetsVectors()
    {
        Enumerate();
        WriteConfig(0, 0x3C, 11);
        Port.ArmVectors(0, 0, 2);
        Give(packet => TlpWriter.Message(packet, RoutingId.Fpga(0), MessageCode.AssertIntA));
        Fpga.Drain();
        Fpga.Retries = 0;
        ulong token = NewToken();
        ulong read = NewToken();

        Port.ResetFunction(0, token);
        Port.MemoryRead(0, 0, 0, 4, read);
        Fpga.Step();
        Fpga.Retries = 5; // not ready yet
        Fpga.Drain();

        Assert.That(Function.Resets, Is.EqualTo(1));
        Assert.That(Fpga.Functions[1].Resets, Is.Zero);
        Assert.That(Results[token].Status, Is.EqualTo(HostStatus.Ok));
        Assert.That(Function.Register(0x10), Is.EqualTo((uint)Bar0));
        Assert.That(Function.Register(0x14), Is.EqualTo((uint)Bar1));
        Assert.That(Function.Register(0x04) & 0xFFFF, Is.EqualTo(6));
        Assert.That(Function.Register(0x3C) & 0xFF, Is.EqualTo(11));
        Assert.That(Enabled, Is.False);
        Assert.That(Entry(0), Is.EqualTo(new uint[] { 0, 0, 0, 1 }));
        Assert.That(Results[read].Status, Is.EqualTo(HostStatus.Ok));
        Assert.That(Order.IndexOf(token), Is.LessThan(Order.IndexOf(read)));
        Assert.That(Host.Log, Is.EqualTo(new[] { "intx up", "intx down" }));

        Port.ArmVectors(0, 1, 1);
        Fpga.Drain();
        Assert.That(Entry(0)[3], Is.EqualTo(1), "forgotten");
        Assert.That(Entry(1), Is.EqualTo(new uint[] { 0xFEE0_0000, 0, 1, 0 }), "programmed anew");
    }

    [Test]
    public void ConfigWrite_InitiatesReset_KeepsBarsAndVectors()
    {
        Enumerate();
        Port.ArmVectors(0, 2, 1);
        Fpga.Drain();

        WriteConfig(0, FakeFpga.Pcie + 8, 0x10, 0xA8);

        Assert.That(Function.Resets, Is.EqualTo(1));
        Assert.That(Function.Register(0x10), Is.EqualTo((uint)Bar0));
        Assert.That(Entry(2), Is.EqualTo(new uint[] { 0xFEE0_0000, 0, 2, 0 }));
        Assert.That(Enabled, Is.True);
    }

    [TestCase(true)]
    [TestCase(false)]
    public void ReleaseFunction_WithAndWithoutReset_LeavesItAsAfterPowerUp(bool hasReset)
    {
        if (!hasReset)
        {
            Function.Set(FakeFpga.Pcie + 4, 0x8001);
        }

        Enumerate();
        Port.ArmVectors(0, 0, 2);
        Give(packet => TlpWriter.Message(packet, RoutingId.Fpga(0), MessageCode.AssertIntA));

        Port.ReleaseFunction(0, 500);
        Fpga.Drain();

        Assert.That(Results[500].Status, Is.EqualTo(HostStatus.Ok));
        Assert.That(Function.Resets, Is.EqualTo(hasReset ? 1 : 0));
        Assert.That(Function.Register(0x10), Is.Zero);
        Assert.That(Function.Register(0x04) & 0xFFFF, Is.Zero);
        Assert.That(Enabled, Is.False);
        Assert.That(Entry(0)[3], Is.EqualTo(1));
        Assert.That(Host.Log, Is.EqualTo(new[] { "intx up", "intx down" }));
        Raise(0xFEE0_0000, 0, 0, 0, 0);
        Assert.That(Host.Log, Has.Count.EqualTo(2), "no DMA, no interrupt");
        Assert.That(Fpga.Functions[1].Register(0x10), Is.Not.Zero);
    }

    [Test]
    public void ReleaseFunction_NextHostArmsBeforeItIsDone_HasItsVectors()
    {
        Enumerate();
        Port.ArmVectors(0, 0, 3);
        Fpga.Drain();

        Port.ReleaseFunction(0, 500);
        Port.ArmVectors(0, 1, 1);
        Fpga.Drain();

        Assert.That(Results[500].Status, Is.EqualTo(HostStatus.Ok));
        Assert.That(Function.Resets, Is.EqualTo(1));
        Assert.That(Enabled, Is.True);
        Assert.That(Entry(1), Is.EqualTo(new uint[] { 0xFEE0_0000, 0, 1, 0 }));
        Assert.That(Entry(0)[3], Is.EqualTo(1), "the former host's");
    }

    [Test]
    public void ReleaseFunction_LinkDown_NothingComesBackWithTheLink()
    {
        Enumerate();
        Port.ArmVectors(0, 0, 2);
        Port.LinkLost();
        Port.ReleaseFunction(0, 500);
        Array.ForEach(Fpga.Functions, function => function.Reset());
        Fpga.ForgetTaken();

        Port.ResetPort();
        Fpga.Drain();

        Assert.That(Results[500].Status, Is.EqualTo(HostStatus.LinkDown));
        Assert.That(Function.Register(0x10), Is.Zero);
        Assert.That(Enabled, Is.False);
        Assert.That(Fpga.Functions[1].Register(0x10), Is.Not.Zero, "its host is still there");
    }

    [Test]
    public void ResetFunction_FunctionWithoutIt_IsUnsupported()
    {
        Function.Set(FakeFpga.Pcie + 4, 0x8001);
        Enumerate();

        Port.ResetFunction(0, 500);
        Fpga.Drain();

        Assert.That(Results[500].Status, Is.EqualTo(HostStatus.UnsupportedRequest));
        Assert.That(Reports.Single(), Does.Contain("no Function Level Reset"));
    }

    [Test]
    public void ResetFunction_NeverAnswersAgain_TimesOut()
    {
        Enumerate();
        Port.ResetFunction(0, 500);
        Fpga.Mute = true;

        while (!Results.ContainsKey(500))
        {
            Fpga.Drain();
            Assert.That(Port.NextTimeout, Is.Not.EqualTo(ulong.MaxValue));
            Fpga.Cycle = Port.NextTimeout;
            Port.Tick(Fpga.Cycle);
        }

        Assert.That(Results[500].Status, Is.EqualTo(HostStatus.Timeout));
    }

    private uint[] Entry(int vector) => [.. Enumerable.Range(0, 4).Select(dword => Function.TableEntry(vector, dword))];

    private void Raise(ulong address, params byte[] data) =>
        Give(packet => TlpWriter.MemoryWrite(packet, RoutingId.Fpga(0), 0, address, data));
}
