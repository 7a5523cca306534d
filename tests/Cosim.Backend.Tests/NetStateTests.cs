// SPDX-License-Identifier: Apache-2.0
using Cosim.Virtio;
using NUnit.Framework;

namespace Cosim.Backend.Tests;

/// <summary>What the driver has switched by the control queue is the front end's to keep before the driver hears of it, and holds in a new program.</summary>
public sealed class NetStateTests : NetFixture
{
    private const ulong Chosen = CtrlVq | CtrlRx | CtrlVlan | CtrlRxExtra | CtrlMacAddr | HasMac | CtrlGuestOffloads | GuestCsum | GuestTso4 | Mq;

    private static byte[][] Mixed =>
    [
        Frame(Card, Experimental, 1), Frame(Other, Experimental, 2), Frame(Third, Experimental, 3),
        Frame(Group, Experimental, 4), Frame(OtherGroup, Experimental, 5), Tagged(5, 6), Tagged(0x0FFF, 7), Tagged(6, 8),
    ];

    private static byte[] Tagged(ushort tag, byte last) => Frame(Third, 0x8100, (byte)(tag >> 8), (byte)tag, 0x88, 0xB5, last);

    private void StartKeeping()
    {
        Start(Chosen, TwoPairs);
        Assert.That(
            Fpga.Tell(MailboxRequest.SetProtocolFeatures, 0, Bytes.U64(VhostUserProtocolFeatures.Required | VhostUserProtocolFeatures.DeviceState)), Is.Zero);
    }

    private void Offer(byte @class, byte command, params byte[] data)
    {
        FrontEndQueue control = Control!;
        byte[] bytes = [@class, command, .. data];
        FrontEndQueue.Write(Fpga, control.Buffers, [.. bytes, 0xEE]);
        control.Describe(0, control.Buffers, (uint)bytes.Length, DescriptorFlags.Next, 1);
        control.Describe(1, control.Buffers + (uint)bytes.Length, 1, DescriptorFlags.Write);
        control.Offer(0);
    }

    // The state as the back end gives it to keep.
    private byte[] NextState(out int messages)
    {
        DeviceStateParts parts = new();
        messages = 0;
        while (true)
        {
            byte[] message = Fpga.NextMessage();
            Assert.That(MailboxHeader.TryRead(message, out MailboxHeader header), Is.True);
            messages++;
            Assert.That(((uint)header.Request, header.Flags, header.Device), Is.EqualTo((MailboxHeader.DeviceState, MailboxHeader.Version | MailboxHeader.NeedReply, 0u)));
            Assert.That(parts.TryAdd(message.AsSpan(MailboxHeader.Bytes), out byte[]? state), Is.True);
            if (state is not null)
            {
                return state;
            }
        }
    }

    // A command as the driver sends it, kept and used; the state after it.
    private byte[] Switch(byte @class, byte command, params byte[] data)
    {
        Offer(@class, command, data);
        byte[] state = NextState(out int messages);
        if (@class == Mac && command == 1)
        {
            Assert.That(Fpga.NextMessage()[0], Is.EqualTo(2), "CONFIG_CHANGE_MSG");
        }

        for (; messages > 0; messages--)
        {
            Fpga.Reply(MailboxHeader.DeviceState, 0, 0);
        }

        _ = Configuration(0, 6);
        Assert.That(Control!.WaitUsed(), Is.EqualTo((0u, 1u)));
        Assert.That(FrontEndQueue.Read(Fpga, Control.Buffers + 2 + (uint)data.Length, 1), Is.EqualTo(new[] { Ok }));
        return state;
    }

    private ulong Restore(byte[] state)
    {
        ulong error = 0;
        foreach (byte[] part in DeviceStateParts.Split(state))
        {
            error |= Fpga.Tell(MailboxRequest.SetDeviceState, 0, part);
        }

        return error;
    }

    private byte[] SwitchEverything()
    {
        _ = Switch(Rx, 0, 0);
        _ = Switch(Rx, 3, 0);
        _ = Switch(Mac, 0, [.. Bytes.U32(1), .. Third, .. Bytes.U32(1), .. OtherGroup]);
        _ = Switch(Vlan, 0, 5, 0);
        _ = Switch(Vlan, 0, 0xFF, 0x0F);
        _ = Switch(Offloads, 0, Bytes.U64(GuestCsum));
        return Switch(Mac, 1, Other);
    }

    [Test]
    public void Command_StateNotKeptYet_IsNotUsed()
    {
        StartKeeping();
        Offer(Rx, 0, 0);
        _ = NextState(out _);

        Assert.That(Fpga.Ask(MailboxRequest.GetDevice), Has.Length.EqualTo(20));
        Assert.That(Control!.HasUsed, Is.False);
        Fpga.Reply(MailboxHeader.DeviceState, 0, 0);
        Assert.That(Control.WaitUsed(), Is.EqualTo((0u, 1u)));
    }

    [TestCase(true)]
    [TestCase(false)]
    public void MacAddress_Set_IsUsedWhenItIsKeptAndRead(bool keptFirst)
    {
        StartKeeping();
        Offer(Mac, 1, Other);
        _ = NextState(out _);
        Assert.That(Fpga.NextMessage()[0], Is.EqualTo(2), "CONFIG_CHANGE_MSG");
        Action[] steps = [() => Fpga.Reply(MailboxHeader.DeviceState, 0, 0), () => _ = Configuration(0, 6)];

        steps[keptFirst ? 0 : 1]();
        Assert.That(Fpga.Ask(MailboxRequest.GetDevice), Has.Length.EqualTo(20));
        Assert.That(Control!.HasUsed, Is.False);
        steps[keptFirst ? 1 : 0]();
        Assert.That(Control.WaitUsed(), Is.EqualTo((0u, 1u)));
    }

    [Test]
    public void NewProgram_GetsTheState_EverythingHoldsAgain()
    {
        StartKeeping();
        byte[] state = SwitchEverything();
        byte[] end = Other;
        byte[] before = [.. ReceivedBefore(end, Mixed)];
        Assert.That(before, Is.EqualTo(new byte[] { 2, 3, 5, 6, 7 }));
        Stop();

        StartKeeping();
        Assert.That(Received(Mixed), Has.Count.EqualTo(Mixed.Length), "before it has the state");
        Assert.That(Restore(state), Is.Zero);

        Assert.That(ReceivedBefore(end, Mixed), Is.EqualTo(before));
        Assert.That(Configuration(0, 6), Is.EqualTo(Other));
        Assert.That(Switch(Rx, 3, 0), Is.EqualTo(state), "offloads too");
    }

    [Test]
    public void NewProgram_GetsTheState_AsManyPairsAreInUse()
    {
        StartKeeping();
        byte[] state = Switch(Pairs, 0, 2, 0);
        Stop();

        StartKeeping();
        Assert.That(Switch(Rx, 3, 0), Is.Not.EqualTo(state));
        Assert.That(Restore(state), Is.Zero);
        Assert.That(Switch(Rx, 3, 0), Is.EqualTo(state));
    }

    [Test]
    public void NewProgram_StateOfSeveralParts_IsTakenToo()
    {
        byte[] many = [.. Enumerable.Range(0, 64).SelectMany(index => new byte[] { 0x02, 1, 0, 0, 0, (byte)index })];
        byte[] groups = [.. Enumerable.Range(0, 64).SelectMany(index => new byte[] { 0x33, 0x33, 0, 0, 1, (byte)index })];
        StartKeeping();
        _ = Switch(Mac, 0, [.. Bytes.U32(64), .. many, .. Bytes.U32(64), .. groups]);
        byte[] state = [];
        for (int vlan = 0; vlan < 30; vlan++)
        {
            state = Switch(Vlan, 0, Bytes.U16((ushort)(vlan * 100)));
        }

        Assert.That(DeviceStateParts.Split(state), Has.Count.EqualTo(2));
        Stop();

        StartKeeping();
        Assert.That(Restore(state), Is.Zero);
        Assert.That(Switch(Vlan, 0, 0, 0), Is.EqualTo(state));
    }

    [Test]
    public void State_FrontEndRefusesIt_IsReportedAndTheCommandIsUsed()
    {
        StartKeeping();
        Offer(Rx, 0, 0);
        _ = NextState(out _);
        Fpga.Reply(MailboxHeader.DeviceState, 0, 22);
        Assert.That(Control!.WaitUsed(), Is.EqualTo((0u, 1u)));
        Assert.That(Reports, Has.Some.Contains("refuses to keep its state with error 22"));
    }

    [Test]
    public void Reply_ToAStateFromBeforeAReset_DoesNotCountForALaterOne()
    {
        StartKeeping();
        Offer(Rx, 0, 0);
        _ = NextState(out _);
        Assert.That(Fpga.Tell(MailboxRequest.ResetDevice, 0, []), Is.Zero);
        Restart(Chosen);
        Offer(Rx, 0, 0);
        _ = NextState(out _);

        Fpga.Reply(MailboxHeader.DeviceState, 0, 0);
        Assert.That(Fpga.Ask(MailboxRequest.GetDevice), Has.Length.EqualTo(20));
        Assert.That(Control!.HasUsed, Is.False);
        Fpga.Reply(MailboxHeader.DeviceState, 0, 0);
        Assert.That(Control.WaitUsed(), Is.EqualTo((0u, 1u)));
    }

    [Test]
    public void Reply_ToNothing_IsDroppedAndReported()
    {
        StartKeeping();
        Fpga.Reply(MailboxHeader.DeviceState, 0, 0);
        Assert.That(Fpga.Ask(MailboxRequest.GetDevice), Has.Length.EqualTo(20));
        Assert.That(Reports, Has.Some.Contains("is no request and was dropped"));
    }

    [Test]
    public void State_DamagedInAnyWay_IsRefusedAndChangesNothing()
    {
        StartKeeping();
        byte[] state = SwitchEverything();
        Stop();
        StartKeeping();
        byte[] before = Switch(Rx, 3, 0);
        List<byte[]> wrong =
        [
            [.. state, 0],
            With(0, 2), // another version
            With(2, 0), // no pair
            With(2, 3), // more than there are
            With(4, 3), // the address of a group
            With(11, 1), // an offload that was not negotiated
            With(18, 64), // an unknown mode
            With(19, 66), // more addresses than are kept
            With(33, 3), // more VLANs than follow
            With(34, 64), // a VLAN that does not exist
        ];
        wrong.AddRange(Enumerable.Range(1, state.Length - 1).Select(length => state[..length]));
        foreach (byte[] damaged in wrong)
        {
            Assert.That(Restore(damaged), Is.EqualTo(22), Convert.ToHexString(damaged));
        }

        Assert.That(Switch(Rx, 3, 0), Is.EqualTo(before));
        Assert.That(Received(Mixed), Has.Count.EqualTo(Mixed.Length));

        byte[] With(int offset, byte value)
        {
            byte[] damaged = [.. state];
            Assert.That(damaged[offset], Is.Not.EqualTo(value), $"byte {offset}");
            damaged[offset] = value;
            return damaged;
        }
    }
}
