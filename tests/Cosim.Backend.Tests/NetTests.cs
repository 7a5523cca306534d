// SPDX-License-Identifier: Apache-2.0
using System.Net.NetworkInformation;
using Cosim.Virtio;
using NUnit.Framework;

namespace Cosim.Backend.Tests;

/// <summary>One pair of queues without offloads: frames, buffers, lengths, the configuration space.</summary>
public sealed class NetTests : NetFixture
{
    [Test]
    public void Receive_MoreFramesThanBuffers_WaitsForBuffersAndLosesNone()
    {
        Start(0, buffers: 0);
        for (byte message = 0; message < 20; message++)
        {
            Wire.Send(Frame(Card, Experimental, [.. new byte[100], message]));
        }

        Offer(Receive[0], 0, 1);
        for (byte message = 0; message < 20; message++)
        {
            (byte[] header, byte[] frame, uint[] lengths) = NextFrame(Receive[0]);
            Assert.That(header, Is.EqualTo(new byte[] { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0 }), "virtio_net_hdr");
            Assert.That(lengths, Is.EqualTo(new uint[] { HeaderSize + EthernetSize + 101 }));
            Assert.That(frame[^1], Is.EqualTo(message));
        }
    }

    [Test]
    [Clause("virtio 5.1.6.3.2-2")]
    [Clause("virtio 5.1.6.4.1-1")]
    public void Receive_FrameLongerThanTheBuffer_IsDroppedAndTheBufferKept()
    {
        Start(0, bufferSize: 600);

        Assert.That(Received(Frame(Card, Experimental, [.. new byte[1400], 1]), Frame(Card, Experimental, [.. new byte[500], 2])), Is.EqualTo(new byte[] { 2 }));
    }

    [Test]
    public void Transmit_FrameAndRunt_OnlyTheFrameReachesTheNetwork()
    {
        Start(0);
        byte[] frame = Frame(Peer, Card, Experimental, [.. "ping"u8]);

        Send(Transmit[0], new byte[1], []);
        Send(Transmit[0], new byte[HeaderSize], [1, 2, 3]);
        Send(Transmit[0], new byte[HeaderSize], frame);

        Assert.That(Wire.Receive(Card).Frame, Is.EqualTo(frame));
    }

    [Test]
    public void Transmit_BufferLongerThanAnyFrame_IsDroppedAndTheNextSent()
    {
        Start(0);
        Transmit[0].Describe(0, Transmit[0].Buffers, 0x10_0000, DescriptorFlags.None);
        Transmit[0].Offer(0);
        Assert.That(Transmit[0].WaitUsed(), Is.EqualTo((0u, 0u)));

        Send(Transmit[0], new byte[HeaderSize], Frame(Peer, Card, Experimental, [7]));

        Assert.That(Wire.Receive(Card).Frame[^1], Is.EqualTo(7));
    }

    [Test]
    [Clause("virtio 5.1.4.1-1")]
    [Clause("virtio 5.1.4.1-2")]
    [Clause("virtio 5.1.4.1-3")]
    [Clause("virtio 5.1.4.1-9")]
    [Clause("virtio 5.1.4.1-10")]
    public void Config_Always_HoldsMacLinkPairsMtuSpeedAndDuplex()
    {
        Start(0, new NetOptions { Tap = string.Empty, QueuePairs = 3, Mtu = 9000, SpeedMbps = 25_000 });

        Assert.That(Configuration(0, 17), Is.EqualTo((byte[])[.. Card, .. Bytes.U16(1, 3, 9000), .. Bytes.U32(25_000), 1]));
    }

    [TestCase("02:00:00:00:00:01", "fe:00:00:00:00:01")]
    [TestCase("fe:00:00:00:00:01", "fa:00:00:00:00:01")]
    public void Interface_Made_HasTheAddressThatFollowsFromTheCards(string card, string expected)
    {
        string name = $"st{Environment.ProcessId % 100_000}";
        NetOptions options = new() { Tap = name, Mac = PhysicalAddress.Parse(card), QueuePairs = 2 };
        using NetBackend first = Make(options, _ => { });
        string address = $"/sys/class/net/{name}/address";
        Assert.That(File.ReadAllText(address).Trim(), Is.EqualTo(expected));

        // One that is there already is somebody's, and is left as it is.
        using NetBackend second = Make(options with { Mac = PhysicalAddress.Parse("02:00:00:00:00:02") }, _ => { });
        Assert.That(File.ReadAllText(address).Trim(), Is.EqualTo(expected));
    }

    [TestCase(1, true, true)]
    [TestCase(3, false, false)]
    [Clause("virtio 5.1.4.1-13")]
    public void Features_ByTheOptions_AreThoseServed(int pairs, bool offloads, bool merge)
    {
        Start(0, new NetOptions { Tap = string.Empty, QueuePairs = pairs, Offloads = offloads, MergedBuffers = merge });
        ulong expected = Mtu | HasMac | Status | CtrlVq | CtrlRx | CtrlVlan | CtrlRxExtra | GuestAnnounce | CtrlMacAddr | SpeedDuplex
            | (pairs > 1 ? Mq : 0)
            | (merge ? MrgRxbuf : 0)
            | (offloads ? Csum | GuestCsum | CtrlGuestOffloads | GuestTso4 | GuestTso6 | GuestEcn | GuestUfo | HostTso4 | HostTso6 | HostEcn | HostUfo : 0);

        ulong offered = VirtioFeatures.DeviceType(BitConverter.ToUInt64(Fpga.Ask(MailboxRequest.GetFeatures)));

        // UDP segmentation depends on this machine's kernel.
        Assert.That(offered & ~(GuestUso4 | GuestUso6 | HostUso), Is.EqualTo(expected));
    }

    [Test]
    [Clause("virtio 5.1.4.1-4")]
    [Clause("virtio 5.1.4.1-5")]
    public void Receive_LongerThanTheMtu_IsDroppedWhenTheMtuIsNegotiated()
    {
        Start(Mtu, new NetOptions { Tap = string.Empty, Mtu = 1000 });

        // The interface takes more than what the card was told once and for all.
        File.WriteAllText($"/sys/class/net/{Interface}/mtu", "1500");
        Assert.That(Configuration(10, 2), Is.EqualTo(Bytes.U16(1000)));
        Assert.That(
            Received(Frame(Card, Experimental, [.. new byte[1000], 1]), Frame(Card, Experimental, [.. new byte[999], 2]), Frame(Card, 0x8100, [0, 5, 0x88, 0xB5, .. new byte[999], 3])),
            Is.EqualTo(new byte[] { 2, 3 }));
    }

    [Test]
    [Clause("virtio 5.1.4.1-6")]
    public void Transmit_JumboFrameUpToTheMtu_GoesOutInOnePiece()
    {
        Start(Mtu, new NetOptions { Tap = string.Empty, Mtu = NetOptions.MaxMtu });
        byte[] payload = new byte[NetOptions.MaxMtu];
        new Random(3).NextBytes(payload);
        byte[] frame = Frame(Peer, Card, Experimental, payload);

        Send(Transmit[0], new byte[HeaderSize], frame);

        Assert.That(Wire.Receive(Card).Frame.AsSpan().SequenceEqual(frame), Is.True);
    }

    [Test]
    public void Control_WithoutTheFeature_IsNotServed()
    {
        Start(0);
        FrontEndQueue control = FrontEndQueue.Enable(Fpga, 0, 2, 64, VirtioFeatures.Version1 | VirtioFeatures.RingEventIdx);
        control.Describe(0, control.Buffers, 16, DescriptorFlags.Write);
        control.Offer(0);
        Offer(Receive[0], 40, 1); // served after it

        Assert.That(Received(Frame(Card, Experimental, [1])), Is.EqualTo(new byte[] { 1 }));
        Assert.That(control.HasUsed, Is.False);
    }
}
