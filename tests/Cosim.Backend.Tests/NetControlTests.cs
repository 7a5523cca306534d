// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.Backend.Tests;

/// <summary>The control queue: filters, addresses, VLANs, and commands that are wrong.</summary>
public sealed class NetControlTests : NetFixture
{
    private const ulong Everything =
        Mtu | HasMac | Status | CtrlVq | CtrlRx | CtrlVlan | CtrlRxExtra | GuestAnnounce | CtrlMacAddr | SpeedDuplex | CtrlGuestOffloads | GuestCsum | GuestTso4 | Csum | Mq;

    private const byte Error = 1;

    private const byte Announce = 3;

    /// <summary>One frame for each kind of destination; what is received is told by the numbers.</summary>
    private static byte[][] Mixed =>
    [
        Frame(Card, Experimental, 1), Frame(Other, Experimental, 2), Frame(Third, Experimental, 3),
        Frame(Group, Experimental, 4), Frame(OtherGroup, Experimental, 5), Frame(Everybody, Experimental, 6),
    ];

    [Test]
    [Clause("virtio 5.1.6.5.1.1-1")]
    [Clause("virtio 5.1.6.5.1.1-2")]
    [Clause("virtio 5.1.6.5.1.1-3")]
    [Clause("virtio 5.1.6.5.2.1-1")]
    [Clause("virtio 5.1.6.5.2.1-4")]
    public void Promiscuous_OffAndOn_FiltersAndWinsOverAllOthers()
    {
        Start(CtrlVq | CtrlRx | CtrlRxExtra);
        Assert.That(Received(Mixed), Is.EqualTo(new byte[] { 1, 2, 3, 4, 5, 6 }), "before the driver has said what it wants");

        Assert.That(Command(Rx, 0, 0), Is.EqualTo(Ok));
        Assert.That(Received(Mixed), Is.EqualTo(new byte[] { 1, 6 }), "with an empty table");

        foreach (byte suppressing in new byte[] { 3, 4, 5 })
        {
            Assert.That(Command(Rx, suppressing, 1), Is.EqualTo(Ok));
        }

        Assert.That(Command(Rx, 0, 1), Is.EqualTo(Ok));
        Assert.That(Received(Mixed), Is.EqualTo(new byte[] { 1, 2, 3, 4, 5, 6 }));
    }

    [Test]
    [Clause("virtio 5.1.6.5.1.1-4")]
    [Clause("virtio 5.1.6.5.1.1-5")]
    [Clause("virtio 5.1.6.5.1.1-6")]
    [Clause("virtio 5.1.6.5.1.1-7")]
    [Clause("virtio 5.1.6.5.1.1-8")]
    [Clause("virtio 5.1.6.5.1.1-9")]
    [Clause("virtio 5.1.6.5.1.1-10")]
    [Clause("virtio 5.1.6.5.1.1-11")]
    [Clause("virtio 5.1.6.5.1.1-12")]
    [Clause("virtio 5.1.6.5.1.1-13")]
    public void ReceiveModes_SwitchedOneByOne_LetPassWhatTheyName()
    {
        Start(CtrlVq | CtrlRx | CtrlRxExtra);
        Assert.That(Command(Rx, 0, 0), Is.EqualTo(Ok));

        Assert.That(Command(Rx, 1, 1), Is.EqualTo(Ok));
        Assert.That(Received(Mixed), Is.EqualTo(new byte[] { 1, 4, 5, 6 }), "ALLMULTI");
        Assert.That(Command(Rx, 3, 1), Is.EqualTo(Ok));
        Assert.That(Received(Mixed), Is.EqualTo(new byte[] { 1, 6 }), "NOMULTI in spite of ALLMULTI, not for broadcast");
        Assert.That(Command(Rx, 5, 1), Is.EqualTo(Ok));
        Assert.That(Received(Mixed), Is.EqualTo(new byte[] { 1 }), "NOBCAST in spite of ALLMULTI");
        Assert.That(Command(Rx, 3, 0), Is.EqualTo(Ok));
        Assert.That(Command(Rx, 5, 0), Is.EqualTo(Ok));
        Assert.That(Command(Rx, 1, 0), Is.EqualTo(Ok));
        Assert.That(Command(Rx, 2, 1), Is.EqualTo(Ok));
        Assert.That(Received(Mixed), Is.EqualTo(new byte[] { 1, 2, 3, 6 }), "ALLUNI");
        Assert.That(Command(Rx, 4, 1), Is.EqualTo(Ok));
        Assert.That(ReceivedBefore(Everybody, Mixed), Is.EqualTo(new byte[] { 6 }), "NOUNI in spite of ALLUNI");
    }

    [Test]
    [Clause("virtio 5.1.6.5.2.1-2")]
    public void MacTable_SetAndReplaced_FiltersFromTheCommandOn()
    {
        Start(CtrlVq | CtrlRx);
        Assert.That(Command(Rx, 0, 0), Is.EqualTo(Ok));

        Assert.That(Command(Mac, 0, [.. Bytes.U32(1), .. Other, .. Bytes.U32(1), .. Group]), Is.EqualTo(Ok));
        Assert.That(Received(Mixed), Is.EqualTo(new byte[] { 1, 2, 4, 6 }));
        Assert.That(Command(Mac, 0, [.. Bytes.U32(0), .. Bytes.U32(1), .. OtherGroup]), Is.EqualTo(Ok));
        Assert.That(Received(Mixed), Is.EqualTo(new byte[] { 1, 5, 6 }));
    }

    [Test]
    public void MacTable_LargerThanIsKept_LetsAllOfItsKindPass()
    {
        Start(CtrlVq | CtrlRx);
        Assert.That(Command(Rx, 0, 0), Is.EqualTo(Ok));
        byte[] many = [.. Enumerable.Range(0, 65).SelectMany(index => new byte[] { 0x02, 1, 0, 0, 0, (byte)index })];

        Assert.That(Command(Mac, 0, [.. Bytes.U32(65), .. many, .. Bytes.U32(0)]), Is.EqualTo(Ok));
        Assert.That(Received(Mixed), Is.EqualTo(new byte[] { 1, 2, 3, 6 }));
        Assert.That(Command(Mac, 0, [.. Bytes.U32(64), .. many[..384], .. Bytes.U32(0)]), Is.EqualTo(Ok));
        Assert.That(Received([.. Mixed, Frame(many[378..384], Experimental, 64)]), Is.EqualTo(new byte[] { 1, 6, 64 }));
    }

    [Test]
    [Clause("virtio 5.1.6.5.2.1-3")]
    public void MacAddress_Set_IsInTheConfigurationBeforeTheCommandIsUsed()
    {
        Start(CtrlVq | CtrlRx | CtrlMacAddr | HasMac);
        Assert.That(Command(Rx, 0, 0), Is.EqualTo(Ok));
        FrontEndQueue control = Control!;
        FrontEndQueue.Write(Fpga, control.Buffers, [Mac, 1, .. Other, 0xEE]);
        control.Describe(0, control.Buffers, 8, Cosim.Virtio.DescriptorFlags.Next, 1);
        control.Describe(1, control.Buffers + 8, 1, Cosim.Virtio.DescriptorFlags.Write);
        control.Offer(0);

        Assert.That(Fpga.NextMessage()[0], Is.EqualTo(2), "CONFIG_CHANGE_MSG");
        Assert.That(ReceivedBefore(Other, Mixed), Is.EqualTo(new byte[] { 2, 6 }), "frames go on");
        Assert.That(control.HasUsed, Is.False, "the front end has not read the address yet");
        Assert.That(Configuration(0, 6), Is.EqualTo(Other));
        Assert.That(control.WaitUsed(), Is.EqualTo((0u, 1u)));
        Assert.That(FrontEndQueue.Read(Fpga, control.Buffers + 8, 1), Is.EqualTo(new[] { Ok }));
        Assert.That(Command(Mac, 1, Other), Is.EqualTo(Ok), "the same once more changes nothing");
    }

    [Test]
    [Clause("virtio 5.1.6.5.3.1-2")]
    public void Vlan_AddedAndDeleted_IsReceivedWhileInTheTable()
    {
        Start(CtrlVq | CtrlRx | CtrlVlan);
        byte[][] tagged = [Tagged(0x0005, 5), Tagged(0xE0FF, 0xFF), Tagged(0x0FFF, 0xFE), Frame(Card, Experimental, 1), Frame(Card, 0x8100, 0)];
        Assert.That(Command(Rx, 0, 0), Is.EqualTo(Ok));
        Assert.That(Received(tagged), Is.EqualTo(new byte[] { 1 }));

        Assert.That(Command(Vlan, 0, 5, 0), Is.EqualTo(Ok));
        Assert.That(Command(Vlan, 0, 0xFF, 0), Is.EqualTo(Ok));
        Assert.That(Command(Vlan, 0, 0xFF, 0x0F), Is.EqualTo(Ok));
        Assert.That(Received(tagged), Is.EqualTo(new byte[] { 5, 0xFF, 0xFE, 1 }), "whatever the priority");
        Assert.That(Command(Vlan, 1, 5, 0), Is.EqualTo(Ok));
        Assert.That(Received(tagged), Is.EqualTo(new byte[] { 0xFF, 0xFE, 1 }));
    }

    [Test]
    [Clause("virtio 5.1.6.5.3.1-1")]
    public void Vlan_FilterNotNegotiated_EveryTagIsReceived()
    {
        Start(CtrlVq | CtrlRx);
        Assert.That(Command(Rx, 0, 0), Is.EqualTo(Ok));
        Assert.That(Received(Tagged(5, 5), Tagged(0xFFF, 6)), Is.EqualTo(new byte[] { 5, 6 }));
    }

    [Test]
    public void Reset_AfterFilters_ForgetsThem()
    {
        Start(CtrlVq | CtrlRx | CtrlVlan);
        Assert.That(Command(Rx, 0, 0), Is.EqualTo(Ok));
        Assert.That(Command(Vlan, 0, 5, 0), Is.EqualTo(Ok));
        Assert.That(Command(Mac, 0, [.. Bytes.U32(1), .. Other, .. Bytes.U32(0)]), Is.EqualTo(Ok));

        Assert.That(Fpga.Tell(Cosim.Virtio.MailboxRequest.ResetDevice, 0, []), Is.Zero);
        Restart(CtrlVq | CtrlRx | CtrlVlan);

        Assert.That(Command(Rx, 0, 0), Is.EqualTo(Ok));
        Assert.That(Received([Tagged(5, 5), .. Mixed]), Is.EqualTo(new byte[] { 1, 6 }));
    }

    private static IEnumerable<TestCaseData> Wrong()
    {
        yield return Case("Nothing");
        yield return Case("ClassAlone", Rx);
        yield return Case("UnknownClass", 6, 0, 0);
        yield return Case("Rx_WithoutData", Rx, 0);
        yield return Case("Rx_TwoBytes", Rx, 0, 0, 0);
        yield return Case("Rx_NeitherOnNorOff", Rx, 0, 2);
        yield return Case("Rx_UnknownCommand", Rx, 6, 1);
        yield return Case("MacTable_Empty", Mac, 0);
        yield return Case("MacTable_OneTable", [Mac, 0, .. Bytes.U32(0)]);
        yield return Case("MacTable_CountBeyondTheData", [Mac, 0, .. Bytes.U32(2), .. new byte[6], .. Bytes.U32(0)]);
        yield return Case("MacTable_CountThatOverflows", [Mac, 0, .. Bytes.U32(0xAAAA_AAAB), .. Bytes.U32(0)]);
        yield return Case("MacTable_SecondCountThatOverflows", [Mac, 0, .. Bytes.U32(0), .. Bytes.U32(0xAAAA_AAAB), .. new byte[2]]);
        yield return Case("MacTable_BytesTooMany", [Mac, 0, .. Bytes.U32(0), .. Bytes.U32(0), 0]);
        yield return Case("MacAddress_Short", Mac, 1, 2, 0, 0, 0, 0);
        yield return Case("MacAddress_OfAGroup", Mac, 1, 3, 0, 0, 0, 0, 1);
        yield return Case("Mac_UnknownCommand", Mac, 2, 2, 0, 0, 0, 0, 1);
        yield return Case("Vlan_Short", Vlan, 0, 1);
        yield return Case("Vlan_OutOfRange", Vlan, 0, 0, 0x10);
        yield return Case("Vlan_UnknownCommand", Vlan, 2, 1, 0);
        yield return Case("Announce_WithData", Announce, 0, 0);
        yield return Case("Announce_UnknownCommand", Announce, 1);
        yield return Case("Pairs_None", Pairs, 0, 0, 0);
        yield return Case("Pairs_TooMany", Pairs, 0, 3, 0);
        yield return Case("Pairs_Long", Pairs, 0, 1, 0, 0);
        yield return Case("Pairs_Rss", Pairs, 1, 1, 0);
        yield return Case("Offloads_Short", Offloads, 0, 0);
        yield return Case("Offloads_NotNegotiated", [Offloads, 0, .. Bytes.U64(GuestTso6)]);
        yield return Case("Offloads_NoOffload", [Offloads, 0, .. Bytes.U64(Mtu)]);

        static TestCaseData Case(string name, params byte[] command) => new TestCaseData(command).SetName($"Command_{name}_IsAnsweredByAnError");
    }

    [TestCaseSource(nameof(Wrong))]
    public void Command_Wrong_IsAnsweredByAnError(byte[] command)
    {
        Start(Everything, TwoPairs);

        byte[] answer = Control!.Exchange(command, 3);

        Assert.That(answer, Is.EqualTo(new[] { Error }), "one byte, whatever room there is");
        Assert.That(Command(Rx, 0, 1), Is.EqualTo(Ok), "the next one");
    }

    [TestCase(CtrlVq, Rx, (byte)0, TestName = "Command_RxNotNegotiated_IsAnsweredByAnError")]
    [TestCase(CtrlVq | CtrlRx, Rx, (byte)2, TestName = "Command_RxExtraNotNegotiated_IsAnsweredByAnError")]
    public void Command_NotNegotiated_IsAnsweredByAnError(ulong features, byte @class, byte command)
    {
        Start(features);
        Assert.That(Command(@class, command, 1), Is.EqualTo(Error));
        Assert.That(Command(Mac, 1, Other), Is.EqualTo(Error));
        Assert.That(Command(Vlan, 0, 1, 0), Is.EqualTo(Error));
        Assert.That(Command(Pairs, 0, 1, 0), Is.EqualTo(Error));
        Assert.That(Command(Announce, 0), Is.EqualTo(Error));
        Assert.That(Command(Offloads, 0, new byte[8]), Is.EqualTo(Error));
    }

    [Test]
    public void Command_WithoutRoomForItsAnswer_ChangesNothingAndIsUsed()
    {
        Start(CtrlVq | CtrlRx);
        Assert.That(Command(Rx, 0, 0), Is.EqualTo(Ok));

        Assert.That(Control!.Exchange([Rx, 0, 1], 0), Is.Empty);

        Assert.That(Received(Mixed), Is.EqualTo(new byte[] { 1, 6 }));
    }

    private static byte[] Tagged(ushort tag, byte last) => Frame(Card, 0x8100, (byte)(tag >> 8), (byte)tag, 0x88, 0xB5, last);
}
