// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using NUnit.Framework;

namespace Cosim.Backend.Tests;

/// <summary>Checksums and segmentation left to the other side, in both directions, and frames spread over several buffers.</summary>
public sealed class NetOffloadTests : NetFixture
{
    private const ulong Guest = GuestCsum | GuestTso4 | GuestTso6 | GuestEcn;
    private const ulong Host = Csum | HostTso4 | HostTso6 | HostEcn;

    private const byte NeedsCsum = 1;
    private const byte TcpV4 = 1;
    private const byte Udp = 3;
    private const byte TcpV6 = 4;
    private const byte UdpL4 = 5;
    private const byte Ecn = 0x80;

    private const int Ip4 = 20;
    private const int Ip6 = 40;
    private const int Tcp = 20;
    private const int Mss = 1448;
    private const int Long = 60_000;

    [TestCase(false, (byte)0)]
    [TestCase(false, Ecn)]
    [TestCase(true, (byte)0)]
    [Clause("virtio 5.1.6.3.2-1")]
    [Clause("virtio 5.1.6.4.1-2")]
    [Clause("virtio 5.1.6.4.1-3")]
    [Clause("virtio 5.1.6.4.1-4")]
    [Clause("virtio 5.1.6.4.1-10")]
    [Clause("virtio 5.1.6.4.1-12")]
    [Clause("virtio 5.1.6.4.1-13")]
    [Clause("virtio 5.1.6.4.1-15")]
    [Clause("virtio 5.1.6.4.1-17")]
    [Clause("virtio 5.1.6.4.1-18")]
    public void Receive_SegmentsWithMergedBuffers_ComeAsOneFrameInFullBuffers(bool ip6, byte ecn)
    {
        Start(Guest | MrgRxbuf, buffers: 40);
        byte[] frame = TcpFrame(Card, Peer, Long, ip6, ecn != 0);
        byte type = (byte)((ip6 ? TcpV6 : TcpV4) | ecn);
        int tcp = EthernetSize + (ip6 ? Ip6 : Ip4);
        Wire.Send(frame, Header(NeedsCsum, type, (ushort)(tcp + Tcp), Mss, (ushort)tcp, 16));

        (byte[] header, byte[] received, uint[] lengths) = NextFrame(Receive[0]);

        Assert.That(header[0], Is.EqualTo(NeedsCsum));
        Assert.That(header[1], Is.EqualTo(type));
        Assert.That(BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(2)), Is.GreaterThanOrEqualTo(tcp + Tcp), "hdr_len");
        Assert.That(header[4..10], Is.EqualTo(Bytes.U16(Mss, (ushort)tcp, 16)));
        Assert.That(received.AsSpan().SequenceEqual(frame), Is.True, "with the pseudo header's sum as it was");
        Assert.That(lengths, Has.Length.EqualTo((HeaderSize + frame.Length + 2047) / 2048));
        Assert.That(lengths[..^1], Is.All.EqualTo(2048));
    }

    [Test]
    public void Receive_FrameThatNeedsMoreBuffersThanThereAre_WaitsForThem()
    {
        Start(Guest | MrgRxbuf, buffers: 3);
        byte[] frame = TcpFrame(Card, Peer, 9000, ip6: false);
        Wire.Send(frame, Header(NeedsCsum, TcpV4, 54, Mss, 34, 16));
        Fpga.RunFor(20);
        Assert.That(Receive[0].HasUsed, Is.False);

        Offer(Receive[0], 3, 1);
        Fpga.RunFor(20);
        Assert.That(Receive[0].HasUsed, Is.False);
        Offer(Receive[0], 4, 1);

        Assert.That(NextFrame(Receive[0]).Frame.AsSpan().SequenceEqual(frame), Is.True);
    }

    [Test]
    [Clause("virtio 5.1.6.4.1-5")]
    [Clause("virtio 5.1.6.4.1-6")]
    [Clause("virtio 5.1.6.4.1-14")]
    public void Receive_SegmentsThatTheDriverDoesNotTake_ComeSegmentedAndSummed()
    {
        Start(MrgRxbuf, buffers: 40);
        byte[] frame = TcpFrame(Card, Peer, 5 * Mss, ip6: false);
        Wire.Send(frame, Header(NeedsCsum, TcpV4, 54, Mss, 34, 16));

        for (int segment = 0; segment < 5; segment++)
        {
            (byte[] header, byte[] received, _) = NextFrame(Receive[0]);
            Assert.That(header, Is.EqualTo((byte[])[.. new byte[10], 1, 0]));
            Assert.That(received.AsSpan(54).SequenceEqual(frame.AsSpan(54 + (segment * Mss), Mss)), Is.True);
            Assert.That(SumOfTcp(received, Ip4), Is.EqualTo(0xFFFF), "checksum");
        }
    }

    [TestCase(GuestCsum | GuestTso6, TcpV4, false, TestName = "Receive_Tso4NotTaken_ComesSegmented")]
    [TestCase(GuestCsum | GuestTso4, TcpV6, true, TestName = "Receive_Tso6NotTaken_ComesSegmented")]
    [TestCase(GuestCsum | GuestTso4, (byte)(TcpV4 | Ecn), false, TestName = "Receive_EcnNotTaken_ComesSegmented")]
    [Clause("virtio 5.1.6.4.1-6")]
    [Clause("virtio 5.1.6.4.1-8")]
    [Clause("virtio 5.1.6.4.1-10")]
    public void Receive_KindNotTaken_ComesSegmented(ulong features, byte type, bool ip6)
    {
        Start(features | MrgRxbuf, buffers: 40);
        int tcp = EthernetSize + (ip6 ? Ip6 : Ip4);
        Wire.Send(TcpFrame(Card, Peer, 2 * Mss, ip6, (type & Ecn) != 0), Header(NeedsCsum, type, (ushort)(tcp + Tcp), Mss, (ushort)tcp, 16));

        for (int segment = 0; segment < 2; segment++)
        {
            (byte[] header, byte[] received, _) = NextFrame(Receive[0]);
            Assert.That(header[1], Is.Zero, "gso_type");
            Assert.That(received, Has.Length.EqualTo(tcp + Tcp + Mss));
        }
    }

    [Test]
    [Clause("virtio 5.1.6.4.1-7")]
    [Clause("virtio 5.1.6.4.1-9")]
    public void Receive_UdpSegments_ComeSegmentedUnlessTaken()
    {
        Start(Guest | MrgRxbuf, buffers: 40);
        byte[] frame = UdpFrame(Card, Peer, 2 * 1000);
        Wire.Send(frame, Header(NeedsCsum, UdpL4, EthernetSize + Ip4 + 8, 1000, EthernetSize + Ip4, 6));

        for (int segment = 0; segment < 2; segment++)
        {
            (byte[] header, byte[] received, _) = NextFrame(Receive[0]);
            Assert.That(header[1], Is.Zero, "gso_type");
            Assert.That(received, Has.Length.EqualTo(EthernetSize + Ip4 + 8 + 1000));
        }
    }

    [Test]
    public void Receive_UdpSegmentsTaken_ComeAsOneFrame()
    {
        Start(Guest | GuestUso4 | GuestUso6 | MrgRxbuf, buffers: 40, needed: GuestUso4);
        byte[] frame = UdpFrame(Card, Peer, 20 * 1000);
        Wire.Send(frame, Header(NeedsCsum, UdpL4, EthernetSize + Ip4 + 8, 1000, EthernetSize + Ip4, 6));

        (byte[] header, byte[] received, _) = NextFrame(Receive[0]);

        Assert.That(header[1], Is.EqualTo(UdpL4));
        Assert.That(BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(4)), Is.EqualTo(1000));
        Assert.That(received.AsSpan().SequenceEqual(frame), Is.True);
    }

    [Test]
    public void GuestOffloads_SwitchedOffAndOn_HoldFromTheCommandOn()
    {
        Start(Guest | MrgRxbuf | CtrlVq | CtrlGuestOffloads, buffers: 40);
        byte[] frame = TcpFrame(Card, Peer, 2 * Mss, ip6: false);
        byte[] header = Header(NeedsCsum, TcpV4, 54, Mss, 34, 16);

        Assert.That(Command(5, 0, Bytes.U64(0)), Is.Zero);
        Wire.Send(frame, header);
        Assert.That(NextFrame(Receive[0]).Header[..2], Is.EqualTo(new byte[2]));
        Assert.That(NextFrame(Receive[0]).Header[..2], Is.EqualTo(new byte[2]));
        Assert.That(Command(5, 0, Bytes.U64(GuestCsum | GuestTso4)), Is.Zero);
        Wire.Send(frame, header);
        Assert.That(NextFrame(Receive[0]).Header[..2], Is.EqualTo(new[] { NeedsCsum, TcpV4 }));
    }

    [Test]
    public void GuestOffloads_SwitchedOffWithFramesWaiting_GiveNoneThatTheDriverDoesNotTake()
    {
        Start(Guest | MrgRxbuf | CtrlVq | CtrlGuestOffloads, buffers: 0);
        byte[] one = TcpFrame(Card, Peer, 100, ip6: false);
        byte[] partial = Header(NeedsCsum, 0, 0, 0, 34, 16);
        Wire.Send(Frame(Card, Experimental, 1)); // read at once, it waits for a buffer; what follows waits in the interface
        Wire.Send(TcpFrame(Card, Peer, 2 * Mss, ip6: false), Header(NeedsCsum, TcpV4, 54, Mss, 34, 16));
        Wire.Send(one, partial);
        Assert.That(Command(5, 0, Bytes.U64(0)), Is.Zero);

        Offer(Receive[0], 0, 8);

        Assert.That(NextFrame(Receive[0]).Frame[^1], Is.EqualTo(1));
        (byte[] header, byte[] frame, _) = NextFrame(Receive[0]);
        Assert.That(header[..10], Is.EqualTo(new byte[10]));
        Assert.That(frame, Has.Length.EqualTo(one.Length));
        Assert.That(SumOfTcp(frame, Ip4), Is.EqualTo(0xFFFF), "checksum");
    }

    [Test]
    [Clause("virtio 5.1.6.4.1-19")]
    public void Receive_ChecksumThatNobodyHasSeen_IsNotSaidToBeValid()
    {
        Start(Guest | MrgRxbuf);
        byte[] frame = TcpFrame(Card, Peer, 100, ip6: false);
        Wire.Send(frame);

        (byte[] header, byte[] received, _) = NextFrame(Receive[0]);

        Assert.That(header[0], Is.Zero);
        Assert.That(received, Is.EqualTo(frame));
    }

    [TestCase(false)]
    [TestCase(true)]
    public void Transmit_Segments_ArriveAsOneFrame(bool ip6)
    {
        Start(Host);
        byte[] frame = TcpFrame(Peer, Card, Long, ip6);
        byte type = ip6 ? TcpV6 : TcpV4;
        int tcp = EthernetSize + (ip6 ? Ip6 : Ip4);

        Send(Transmit[0], [.. Header(NeedsCsum, type, (ushort)(tcp + Tcp), Mss, (ushort)tcp, 16), 0, 0], frame);

        (byte[] header, byte[] received) = Wire.Receive(Card);
        Assert.That(header[..2], Is.EqualTo(new[] { NeedsCsum, type }));
        Assert.That(BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(4)), Is.EqualTo(Mss));
        Assert.That(received.AsSpan().SequenceEqual(frame), Is.True);
    }

    [TestCase((ushort)0)]
    [TestCase((ushort)14)]
    [TestCase((ushort)0xFFFF)]
    [Clause("virtio 5.1.6.2.2-3")]
    public void Transmit_WrongHeaderLength_DoesNotMatter(ushort length)
    {
        Start(Host);
        byte[] frame = TcpFrame(Peer, Card, 2 * Mss, ip6: false);

        Send(Transmit[0], [.. Header(NeedsCsum, TcpV4, length, Mss, 34, 16), 0, 0], frame);

        Assert.That(Wire.Receive(Card).Frame.AsSpan().SequenceEqual(frame), Is.True);
    }

    [Test]
    [Clause("virtio 5.1.6.2.2-1")]
    [Clause("virtio 5.1.6.2.2-2")]
    [Clause("virtio 5.1.6.2.2-4")]
    public void Transmit_FlagsThatMeanNothingHere_AreIgnoredWithTheirFields()
    {
        Start(Host);
        byte[] frame = TcpFrame(Peer, Card, 100, ip6: false);

        Send(Transmit[0], [.. Header(0xFE, 0, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF), 0xFF, 0xFF], frame);

        (byte[] header, byte[] received) = Wire.Receive(Card);
        Assert.That(header, Is.EqualTo(new byte[PacketSocket.HeaderSize]), "nobody has seen its checksum");
        Assert.That(received, Is.EqualTo(frame));
    }

    private static IEnumerable<TestCaseData> Impossible()
    {
        yield return Case("ChecksumStartsBehindTheFrame", Header(NeedsCsum, 0, 0, 0, 2000, 16));
        yield return Case("ChecksumEndsBehindTheFrame", Header(NeedsCsum, 0, 0, 0, 34, 0xFFFF));
        yield return Case("UnknownSegments", Header(NeedsCsum, 2, 54, Mss, 34, 16));
        yield return Case("SegmentsNotNegotiated", Header(NeedsCsum, TcpV6, 54, Mss, 34, 16));
        yield return Case("FragmentsNotNegotiated", Header(NeedsCsum, Udp, 54, Mss, 34, 16));
        yield return Case("EcnNotNegotiated", Header(NeedsCsum, TcpV4 | Ecn, 54, Mss, 34, 16));
        yield return Case("SegmentsOfNoSize", Header(NeedsCsum, TcpV4, 54, 0, 34, 16));
        yield return Case("SegmentsWithoutChecksum", Header(0, TcpV4, 54, Mss, 34, 16));

        static TestCaseData Case(string name, byte[] header) => new TestCaseData(header).SetName($"Transmit_{name}_IsDropped");
    }

    [TestCaseSource(nameof(Impossible))]
    public void Transmit_ImpossibleHeader_IsDropped(byte[] header)
    {
        Start(Csum | HostTso4);
        byte[] frame = TcpFrame(Peer, Card, 1000, ip6: false);

        Send(Transmit[0], [.. header, 0, 0], frame);
        Send(Transmit[0], new byte[HeaderSize], Frame(Peer, Card, Experimental, [7]));

        Assert.That(Wire.Receive(Card).Frame[^1], Is.EqualTo(7));
    }

    private static byte[] TcpFrame(byte[] to, byte[] from, int length, bool ip6, bool congestion = false)
    {
        byte[] data = new byte[length];
        new Random(length).NextBytes(data);
        byte[] tcp =
        [
            0x10, 0, 0x20, 0, 0, 0, 0, 1, 0, 0, 0, 1, // ports, sequence, acknowledgement
            0x50, (byte)(congestion ? 0x90 : 0x10), 0xFF, 0xFF, 0, 0, 0, 0, // 5 words, (CWR and) ACK, window, checksum, urgent pointer
            .. data,
        ];
        return Packet(to, from, 6, tcp, 16, ip6);
    }

    private static byte[] UdpFrame(byte[] to, byte[] from, int length)
    {
        byte[] data = new byte[length];
        new Random(length).NextBytes(data);
        return Packet(to, from, 17, [0x10, 0, 0x20, 0, (byte)((length + 8) >> 8), (byte)(length + 8), 0, 0, .. data], 6, ip6: false);
    }

    /// <summary>A packet with the pseudo header's sum where its checksum is to be.</summary>
    private static byte[] Packet(byte[] to, byte[] from, byte protocol, byte[] segment, int checksum, bool ip6)
    {
        byte[] addresses = ip6
            ? [0xFD, .. new byte[14], 2, 0xFD, .. new byte[14], 1]
            : [10, 98, 0, 2, 10, 98, 0, 1];
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(checksum), Sum([.. addresses, 0, protocol, (byte)(segment.Length >> 8), (byte)segment.Length]));
        byte[] ip = ip6
            ? [0x60, 0, 0, 0, (byte)(segment.Length >> 8), (byte)segment.Length, protocol, 64, .. addresses]
            : [0x45, 0, (byte)((segment.Length + Ip4) >> 8), (byte)(segment.Length + Ip4), 0, 1, 0x40, 0, 64, protocol, 0, 0, .. addresses];
        if (!ip6)
        {
            BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(10), (ushort)~Sum(ip));
        }

        return Frame(to, from, (ushort)(ip6 ? 0x86DD : 0x0800), [.. ip, .. segment]);
    }

    /// <summary>Of a TCP packet over IPv4 with its pseudo header; 0xFFFF if the checksum is right.</summary>
    private static ushort SumOfTcp(byte[] frame, int ip)
    {
        byte[] segment = frame[(EthernetSize + ip)..];
        return Sum([.. frame[(EthernetSize + 12)..(EthernetSize + ip)], 0, 6, (byte)(segment.Length >> 8), (byte)segment.Length, .. segment]);
    }

    private static ushort Sum(ReadOnlySpan<byte> bytes)
    {
        uint sum = 0;
        for (int index = 0; index < bytes.Length; index++)
        {
            sum += index % 2 == 0 ? (uint)bytes[index] << 8 : bytes[index];
        }

        while (sum > 0xFFFF)
        {
            sum = (sum & 0xFFFF) + (sum >> 16);
        }

        return (ushort)sum;
    }
}
