// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Virtio;
using NUnit.Framework;

namespace Cosim.Backend.Tests;

/// <summary>Several pairs of queues: which frame comes where, and none stalls another.</summary>
public sealed class NetQueueTests : NetFixture
{
    private const ulong Features = CtrlVq | Mq | CtrlRx;

    private static NetOptions ThreePairs => new() { Tap = string.Empty, QueuePairs = 3 };

    [Test]
    [Clause("virtio 5.1.6.5.6.2-1")]
    public void Receive_AfterReset_ComesToTheFirstQueueOnly()
    {
        Start(Features, ThreePairs);
        for (ushort flow = 0; flow < 20; flow++)
        {
            Wire.Send(Flow(Card, Peer, flow));
        }

        for (ushort flow = 0; flow < 20; flow++)
        {
            Assert.That(NumberOf(NextFrame(Receive[0]).Frame), Is.EqualTo(flow));
        }

        Assert.That(Receive[1].HasUsed || Receive[2].HasUsed, Is.False);
    }

    [Test]
    public void Receive_FlowThatAPairSends_ComesToThatPair()
    {
        Start(Features, ThreePairs);
        Assert.That(SetPairs(3), Is.Zero);
        for (ushort flow = 0; flow < 12; flow++)
        {
            Send(Transmit[flow % 3], new byte[HeaderSize], Flow(Peer, Card, flow));
            Assert.That(NumberOf(Wire.Receive(Card).Frame), Is.EqualTo(flow));
        }

        for (ushort flow = 0; flow < 12; flow++)
        {
            Wire.Send(Flow(Card, Peer, flow));
            Assert.That(NumberOf(NextFrame(Receive[flow % 3]).Frame), Is.EqualTo(flow));
        }
    }

    [Test]
    [Clause("virtio 5.1.6.5.6.2-2")]
    public void Pairs_SetToFewer_NoFrameComesToOthersOnceTheCommandIsUsed()
    {
        Start(Features, ThreePairs);
        Assert.That(SetPairs(3), Is.Zero);
        for (ushort flow = 0; flow < 12; flow++)
        {
            Send(Transmit[flow % 3], new byte[HeaderSize], Flow(Peer, Card, flow));
        }

        Assert.That(SetPairs(1), Is.Zero);
        for (ushort flow = 0; flow < 12; flow++)
        {
            Wire.Send(Flow(Card, Peer, flow));
            Assert.That(NumberOf(NextFrame(Receive[0]).Frame), Is.EqualTo(flow));
        }

        Assert.That(Receive[1].HasUsed || Receive[2].HasUsed, Is.False);

        // A driver that does not know better may still send there.
        Send(Transmit[2], new byte[HeaderSize], Flow(Peer, Card, 99));
        byte[] sent;
        do
        {
            sent = Wire.Receive(Card).Frame;
        }
        while (NumberOf(sent) != 99);
    }

    [Test]
    public void Receive_PairWithoutBuffers_StallsNeitherTheOthersNorControl()
    {
        Start(Features, ThreePairs, buffers: 0);
        Assert.That(SetPairs(3), Is.Zero);
        for (ushort flow = 0; flow < 3; flow++)
        {
            Send(Transmit[flow], new byte[HeaderSize], Flow(Peer, Card, flow));
        }

        for (int count = 0; count < 100; count++)
        {
            Wire.Send(Flow(Card, Peer, 0));
        }

        Offer(Receive[1], 0, 4);
        Offer(Receive[2], 0, 4);
        for (ushort count = 0; count < 20; count++)
        {
            ushort flow = (ushort)(1 + (count % 2));
            Wire.Send(Flow(Card, Peer, flow));
            Assert.That(NumberOf(NextFrame(Receive[flow]).Frame), Is.EqualTo(flow));
        }

        Assert.That(Command(0, 0, 1), Is.Zero, "control");
        Assert.That(Receive[0].HasUsed, Is.False);
        Offer(Receive[0], 0, 4);
        for (int count = 0; count < 100; count++)
        {
            Assert.That(NumberOf(NextFrame(Receive[0]).Frame), Is.Zero, "none is lost");
        }
    }

    [Test]
    public void Transmit_MoreThanATurnWaiting_IsTakenWithoutAnotherKick()
    {
        Start(Features, ThreePairs);
        FrontEndQueue queue = Transmit[1];
        byte[] frame = Flow(Peer, Card, 1);
        FrontEndQueue.Write(Fpga, queue.Buffers, [.. new byte[HeaderSize], .. frame]);
        StopRing(3);
        for (ushort head = 0; head < 64; head++)
        {
            queue.Describe(head, queue.Buffers, (uint)(HeaderSize + frame.Length), DescriptorFlags.None);
            queue.Offer(head);
        }

        Assert.That(Fpga.Tell(MailboxRequest.SetVringEnable, 0, Bytes.U32(3, 1)), Is.Zero);
        for (uint used = 0; used < 64; used++)
        {
            Assert.That(queue.WaitUsed(), Is.EqualTo((used, 0u)));
        }

        queue.Offer(0);
        Assert.That(queue.WaitUsed(), Is.EqualTo((0u, 0u)));
    }

    [Test]
    [Clause("virtio 5.1.6.5.6.2-3")]
    [Clause("virtio 5.1.6.5.6.2-4")]
    public void Receive_QueueInReset_FramesGoToAnotherOrAreDropped()
    {
        Start(Features, ThreePairs);
        Assert.That(SetPairs(2), Is.Zero);
        for (ushort flow = 0; flow < 2; flow++)
        {
            Send(Transmit[flow], new byte[HeaderSize], Flow(Peer, Card, flow));
        }

        StopRing(0);
        Wire.Send(Flow(Card, Peer, 0));
        Assert.That(NumberOf(NextFrame(Receive[1]).Frame), Is.Zero, "went to the other");

        StopRing(2);
        Wire.Send(Flow(Card, Peer, 0));
        Wire.Send(Flow(Card, Peer, 1));

        // The round of the back end's event loop that answers the first question takes the frames, too; the second comes after it.
        _ = Configuration(6, 2);
        _ = Configuration(6, 2);
        Assert.That(Fpga.Tell(MailboxRequest.SetVringEnable, 0, Bytes.U32(0, 1)), Is.Zero);
        Wire.Send(Flow(Card, Peer, 7));
        Assert.That(NumberOf(NextFrame(Receive[0]).Frame), Is.EqualTo(7), "those before were dropped");
    }

    [Test]
    public void Control_MqNotAccepted_IsTheThirdQueue()
    {
        Start(CtrlVq | CtrlRx, ThreePairs);

        Assert.That(Command(0, 0, 0), Is.Zero);
        Assert.That(Received(Frame([2, 0, 0, 0, 0, 5], Experimental, 1), Frame(Card, Experimental, 2)), Is.EqualTo(new byte[] { 2 }));
    }

    [Test]
    public void Link_CarrierLostAndBack_IsToldAndAnnounced()
    {
        Start(CtrlVq | Status | GuestAnnounce);
        string carrier = $"/sys/class/net/{Interface}/carrier";
        Fpga.RunUntil(() => Configuration(6, 2)[0] == 1, "the link is up");
        while (Fpga.HasMessage)
        {
            _ = Fpga.NextMessage();
        }

        File.WriteAllText(carrier, "0");
        Assert.That(Fpga.NextMessage()[0], Is.EqualTo(2), "CONFIG_CHANGE_MSG");
        Assert.That(Configuration(6, 2), Is.EqualTo(new byte[2]));

        File.WriteAllText(carrier, "1");
        Assert.That(Fpga.NextMessage()[0], Is.EqualTo(2), "CONFIG_CHANGE_MSG");
        Assert.That(Configuration(6, 2), Is.EqualTo(new byte[] { 3, 0 }), "LINK_UP and ANNOUNCE");
    }

    [Test]
    [Clause("virtio 5.1.6.5.4.2-1")]
    [Clause("virtio 5.1.4.1-11")]
    public void Announce_Acknowledged_IsClearedBeforeTheCommandIsUsed()
    {
        Link_CarrierLostAndBack_IsToldAndAnnounced();
        FrontEndQueue control = Control!;
        FrontEndQueue.Write(Fpga, control.Buffers, [3, 0]);
        control.Describe(0, control.Buffers, 2, DescriptorFlags.Next, 1);
        control.Describe(1, control.Buffers + 8, 1, DescriptorFlags.Write);
        control.Offer(0);

        Assert.That(Fpga.NextMessage()[0], Is.EqualTo(2), "CONFIG_CHANGE_MSG");
        Assert.That(control.HasUsed, Is.False, "the front end has not read the status yet");
        Assert.That(Configuration(6, 2), Is.EqualTo(new byte[] { 1, 0 }));
        Assert.That(control.WaitUsed(), Is.EqualTo((0u, 1u)));
        Assert.That(Configuration(12, 5), Is.EqualTo((byte[])[.. Bytes.U32(10_000), 1]), "speed and duplex are as they were");
    }

    private byte SetPairs(ushort pairs) => Command(4, 0, Bytes.U16(pairs));

    private void StopRing(uint queue)
    {
        Assert.That(Fpga.Tell(MailboxRequest.SetVringEnable, 0, Bytes.U32(queue, 0)), Is.Zero);
    }

    private static ushort NumberOf(byte[] frame) => BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(^2));

    /// <summary>A UDP datagram of one flow; both directions of it hash to the same.</summary>
    private static byte[] Flow(byte[] to, byte[] from, ushort number)
    {
        bool away = from.AsSpan().SequenceEqual(Card);
        byte[] addresses = away ? [10, 98, 0, 1, 10, 98, 0, 2] : [10, 98, 0, 2, 10, 98, 0, 1];
        ushort port = (ushort)(0x1000 + number);
        byte[] ports = away ? [(byte)(port >> 8), (byte)port, 0x20, 0] : [0x20, 0, (byte)(port >> 8), (byte)port];
        return Frame(to, from, 0x0800, [0x45, 0, 0, 30, 0, 1, 0x40, 0, 64, 17, 0, 0, .. addresses, .. ports, 0, 10, 0, 0, (byte)(number >> 8), (byte)number]);
    }
}
