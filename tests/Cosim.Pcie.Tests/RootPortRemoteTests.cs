// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.Pcie.Tests;

/// <summary>Memory that the host has to be asked for: the FPGA cannot tell it from any other.</summary>
public class RootPortRemoteTests : RootPortFixture
{
    private const ulong Remote = FakeHost.Base + 0x8000;

    private static readonly RoutingId Requester = RoutingId.Fpga(0);

    [SetUp]
    public void EnumerateFirst()
    {
        Enumerate();
        Port.ArmVectors(0, 0, 1);
        Forget();
        Host.RemoteFrom = Remote;
        Host.Log.Clear();
    }

    [TestCase(0x000, 4)]
    [TestCase(0x13D, 70)]
    [TestCase(0x101, 512)]
    public void Read_OfRemoteMemory_IsCompletedAsAnyOtherWhenTheAnswerComes(int offset, int length)
    {
        new Random(offset).NextBytes(Host.Memory);
        Give(packet => TlpWriter.MemoryRead(packet, Requester, 9, FakeHost.Base + (uint)offset, length), cycle: 5000);
        string[] direct = [.. Fpga.Log];
        byte[][] expected = [.. Fpga.Sent.Select(sent => sent.Bytes)];
        Host.Memory.AsSpan(offset, length).CopyTo(Host.Memory.AsSpan(0x8000 + offset));
        Forget();

        Give(packet => TlpWriter.MemoryRead(packet, Requester, 9, Remote + (uint)offset, length), cycle: 5000);
        Assert.That(Fpga.Log, Is.Empty);
        Assert.That(Port.WaitsForHost, Is.True);
        Port.RemoteReadDone(Host.Asked.Dequeue(), DmaStatus.Ok, Host.Memory.AsSpan(0x8000 + offset, length));

        Assert.That(Port.WaitsForHost, Is.False);
        Assert.That(Fpga.Log, Is.EqualTo(direct));
        Assert.That(Fpga.Sent.Select(sent => sent.Bytes), Is.EqualTo(expected));
        Assert.That(Fpga.Sent.Select(sent => sent.NotBefore), Is.All.EqualTo(5016), "as if it had been there at once");
    }

    [TestCase(DmaStatus.Unmapped, "Cpl UR tag 4 from 00:00.0 to 01:00.0")]
    [TestCase(DmaStatus.Faulted, "Cpl CA tag 4 from 00:00.0 to 01:00.0")]
    public void Read_AnswerIsAnError_EndsWithIt(DmaStatus status, string expected)
    {
        Read(Remote, 4);
        Port.RemoteReadDone(Host.Asked.Dequeue(), status, default);

        Host.Begins = status;
        Read(Remote, 4);

        Assert.That(Fpga.Log, Is.EqualTo(new[] { expected, expected }));
        Assert.That(Port.Counters.DmaErrors, Is.EqualTo(2));
        Assert.That(Port.WaitsForHost, Is.False);
    }

    [Test]
    public void Read_AnsweredTwiceOrAfterTheLinkWasLost_MeansNothing()
    {
        Read(Remote, 4);
        Read(Remote, 4);
        ulong first = Host.Asked.Dequeue();
        Port.RemoteReadDone(first, DmaStatus.Ok, new byte[4]);
        Port.RemoteReadDone(first, DmaStatus.Ok, new byte[4]);
        Assert.That(Fpga.Log, Has.Count.EqualTo(1));

        Port.LinkLost();
        Assert.That(Port.WaitsForHost, Is.False);
        Port.RemoteReadDone(Host.Asked.Dequeue(), DmaStatus.Ok, new byte[4]);
        Port.RemoteReadDone(ulong.MaxValue, DmaStatus.Ok, new byte[4]);

        Assert.That(Fpga.Log, Has.Count.EqualTo(1));
    }

    [Test]
    public void Write_ToRemoteMemory_HoldsBackWhatMustNotPassIt()
    {
        RaiseVector();
        Write(Remote, [1, 2, 3, 4]);
        Write(FakeHost.Base, [5, 6, 7, 8]);
        Read(FakeHost.Base, 4);
        RaiseVector();
        Assert.That(Host.Log, Is.EqualTo(new[] { "msix 0", "hand 0x108000 01020304" }));
        Assert.That(Port.WaitsForHost, Is.True);

        Port.RemoteWriteDone(Host.Asked.Dequeue(), DmaStatus.Ok);

        Assert.That(Host.Log.Skip(2), Is.EqualTo(new[] { "write 0x100000 05060708", "fence", "read 0x100000 4", "msix 0" }));
        Assert.That(Fpga.Log, Has.Count.EqualTo(1), "the read is completed");
        Assert.That(Port.WaitsForHost, Is.False);
    }

    [Test]
    public void Write_ToRemoteMemory_IsFollowedAtOnceByWhatGoesTheSameWay()
    {
        Write(Remote, [1, 1, 1, 1]);
        Write(Remote + 4, [2, 2, 2, 2]);
        Read(Remote, 8);

        Assert.That(Host.Log, Is.EqualTo(new[] { "hand 0x108000 01010101", "hand 0x108004 02020202", "fence", "ask 0x108000 8" }));
    }

    [Test]
    public void Write_OfAnotherFunction_WaitsForTheFirstOnes()
    {
        Hosts[1].RemoteFrom = Remote;
        Hosts[1].Log.Clear();
        Write(Remote, [1, 1, 1, 1]);
        Write(Remote, [2, 2, 2, 2], function: 1);
        Write(Remote + 4, [3, 3, 3, 3]);
        Assert.That(Hosts[1].Log, Is.Empty);

        Port.RemoteWriteDone(Host.Asked.Dequeue(), DmaStatus.Ok);
        Assert.That(Hosts[1].Log, Is.EqualTo(new[] { "hand 0x108000 02020202" }));
        Assert.That(Host.Log, Has.Count.EqualTo(1), "the third waits for the second");

        Port.RemoteWriteDone(Hosts[1].Asked.Dequeue(), DmaStatus.Faulted);
        Assert.That(Host.Log[^1], Is.EqualTo("hand 0x108004 03030303"));
        Assert.That(Port.Counters.DmaErrors, Is.EqualTo(1));
    }

    [Test]
    public void Intx_BehindAWriteToRemoteMemory_WaitsForIt()
    {
        Write(Remote, [1, 1, 1, 1]);
        Give(packet => TlpWriter.Message(packet, Requester, MessageCode.AssertIntA));
        Assert.That(Host.Log, Has.Count.EqualTo(1));

        Port.RemoteWriteDone(Host.Asked.Dequeue(), DmaStatus.Ok);

        Assert.That(Host.Log[^1], Is.EqualTo("intx up"));
    }

    [TestCase(false)]
    [TestCase(true)]
    public void Completion_BehindAWriteToRemoteMemory_WaitsOnlyForAHostThatServesWhileItWaits(bool holds)
    {
        Host.HoldsCompletions = holds;
        Write(Remote, [1, 1, 1, 1]);
        ulong read = StartRead(0, 0, 0, 4);
        Fpga.Drain();
        Assert.That(Results.ContainsKey(read), Is.EqualTo(!holds));

        Port.RemoteWriteDone(Host.Asked.Dequeue(), DmaStatus.Ok);

        Assert.That(Results[read].Status, Is.EqualTo(HostStatus.Ok));
    }

    [Test]
    public void Write_ThatCannotBegin_IsReportedAndHoldsNothingBack()
    {
        Host.Begins = DmaStatus.Faulted;

        Write(Remote, [1, 1, 1, 1]);
        RaiseVector();

        Assert.That(Host.Log[^1], Is.EqualTo("msix 0"));
        Assert.That(Reports.Single(), Does.Contain("the memory cannot be reached"));
    }

    [Test]
    public void LinkLost_WithTlpsHeldBack_DropsThem()
    {
        Write(Remote, [1, 1, 1, 1]);
        Write(FakeHost.Base, [2, 2, 2, 2]);
        Port.LinkLost();

        Port.RemoteWriteDone(Host.Asked.Dequeue(), DmaStatus.Ok);

        Assert.That(Host.Log, Is.EqualTo(new[] { "hand 0x108000 01010101" }));
        Assert.That(Port.WaitsForHost, Is.False);
    }

    [Test]
    public void Write_ManyUnderWay_AreAReasonToStop()
    {
        for (int count = 0; count < 64; count++)
        {
            Assert.That(Port.WaitsForHost, Is.False);
            Write(Remote, [1, 1, 1, 1]);
        }

        Assert.That(Port.WaitsForHost, Is.True);
        Port.RemoteWriteDone(Host.Asked.Dequeue(), DmaStatus.Ok);
        Assert.That(Port.WaitsForHost, Is.False);
    }

    private void Read(ulong address, int length) => Give(packet => TlpWriter.MemoryRead(packet, Requester, 4, address, length));

    private void Write(ulong address, byte[] data, int function = 0) =>
        Give(packet => TlpWriter.MemoryWrite(packet, RoutingId.Fpga(function), 0, address, data));

    private void RaiseVector() => Give(packet => TlpWriter.MemoryWrite(packet, Requester, 0, 0xFEE0_0000, new byte[4]));
}
