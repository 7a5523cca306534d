// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.Pcie.Tests;

public class RootPortDmaTests : RootPortFixture
{
    private static readonly RoutingId Requester = RoutingId.Fpga(0);

    [SetUp]
    public void EnumerateFirst() => Enumerate();

    [TestCase(0x100, 4)]
    [TestCase(0x103, 1)]
    [TestCase(0x13D, 70)]
    [TestCase(0x101, 512)]
    [TestCase(0x000, 4096)]
    [TestCase(0x001, 4095)]
    public void Read_AnyRange_IsAnsweredInPartsThatFit(int offset, int length)
    {
        new Random(offset).NextBytes(Host.Memory);
        WriteConfig(0, FakeFpga.Pcie + 8, 0x10, 0x58);
        Forget();

        Give(packet => TlpWriter.MemoryRead(packet, Requester, 9, FakeHost.Base + (uint)offset, length), cycle: 5000);

        byte[] data = new byte[length];
        int done = 0;
        foreach ((byte[] bytes, ulong notBefore) in Fpga.Sent)
        {
            Assert.That(Tlp.TryParse(bytes, out Tlp tlp, out string? malformed), Is.True, malformed);
            Assert.That(tlp.Type, Is.EqualTo(TlpType.CplD));
            Assert.That(notBefore, Is.EqualTo(5016));
            Assert.That(tlp.Tag, Is.EqualTo(9));
            Assert.That(tlp.RequesterId, Is.EqualTo(Requester));
            Assert.That(tlp.CompleterId, Is.EqualTo(RoutingId.RootPort));
            Assert.That(tlp.ByteCount, Is.EqualTo(length - done));
            Assert.That(tlp.LowerAddress, Is.EqualTo((offset + done) & 0x7F));
            Assert.That(tlp.Payload.Length, Is.LessThanOrEqualTo(128), "Max_Payload_Size after reset");
            tlp.CompletionBytes.CopyTo(data.AsSpan(done));
            done += tlp.CompletionBytes.Length;
        }

        Assert.That(done, Is.EqualTo(length));
        Assert.That(data, Is.EqualTo(Host.Memory[offset..(offset + length)]));
    }

    [TestCase(0x2810, 128)]
    [TestCase(0x2830, 256)]
    [TestCase(0x2850, 256)]
    public void Read_MaxPayloadSizeSet_CompletionsFillIt(int deviceControl, int payload)
    {
        WriteConfig(0, FakeFpga.Pcie + 8, (byte)deviceControl, (byte)(deviceControl >> 8));
        Forget();

        Give(packet => TlpWriter.MemoryRead(packet, Requester, 0, FakeHost.Base, 1024));

        Assert.That(Fpga.Sent.Select(sent => sent.Bytes.Length - 16), Is.All.EqualTo(payload));
    }

    [Test]
    public void Read_NotMapped_IsAnsweredUnsupported()
    {
        Give(packet => TlpWriter.MemoryRead(packet, Requester, 4, 0x42, 6));

        Assert.That(Fpga.Log, Is.EqualTo(new[] { "Cpl UR tag 4 from 00:00.0 to 01:00.0" }));
        Assert.That(Port.Counters.DmaErrors, Is.EqualTo(1));
        Assert.That(Reports.Single(), Is.EqualTo("port 0: function 0: DMA read of 6 bytes at 0x42: not memory of the host"));
    }

    [Test]
    public void Read_FaultsHalfway_EndsWithCompleterAbort()
    {
        Host.FaultsFrom = FakeHost.Base + 0x80;

        Give(packet => TlpWriter.MemoryRead(packet, Requester, 4, FakeHost.Base, 512));

        Assert.That(Fpga.Log, Is.EqualTo(new[] { "CplD SC len 128 of 512 low 0x00 tag 4 from 00:00.0 to 01:00.0", "Cpl CA tag 4 from 00:00.0 to 01:00.0" }));
        Assert.That(Tlp.TryParse(Fpga.Sent[1].Bytes, out Tlp tlp, out _), Is.True);
        Assert.That(tlp.ByteCount, Is.EqualTo(384), "what is left");
    }

    [Test]
    public void Read_ZeroLength_IsAnsweredWithoutTouchingMemory()
    {
        Give(packet => TlpWriter.MemoryWrite(packet, Requester, 0, FakeHost.Base, [1]));
        Give(packet => TlpWriter.MemoryRead(packet, Requester, 4, FakeHost.Base, 0));

        Assert.That(Host.Log, Is.EqualTo(new[] { "write 0x100000 01", "fence" }), "it pushes the write");
        Assert.That(Fpga.Log.Single(), Is.EqualTo("CplD SC len 4 of 1 low 0x00 tag 4 from 00:00.0 to 01:00.0"));
    }

    [Test]
    public void Requests_InOrder_FenceStandsBetweenWriteAndReadAndInterrupt()
    {
        Port.ArmVectors(0, 0, 2);
        Fpga.Drain();
        Host.Log.Clear();

        Give(packet => TlpWriter.MemoryRead(packet, Requester, 0, FakeHost.Base, 4));
        Give(packet => TlpWriter.MemoryWrite(packet, Requester, 0, FakeHost.Base + 8, [1, 2]));
        Give(packet => TlpWriter.MemoryWrite(packet, Requester, 0, FakeHost.Base + 10, [3, 4]));
        Give(packet => TlpWriter.MemoryRead(packet, Requester, 0, FakeHost.Base, 4));
        Give(packet => TlpWriter.MemoryRead(packet, Requester, 0, FakeHost.Base, 4));
        Give(packet => TlpWriter.MemoryWrite(packet, Requester, 0, FakeHost.Base + 12, [5]));
        Give(packet => TlpWriter.MemoryWrite(packet, Requester, 0, 0xFEE0_0000, [1, 0, 0, 0]));

        Assert.That(Host.Log, Is.EqualTo(new[]
        {
            "read 0x100000 4", "write 0x100008 0102", "write 0x10000a 0304", "fence", "read 0x100000 4", "read 0x100000 4", "write 0x10000c 05", "fence", "msix 1",
        }));
    }

    [Test]
    public void Write_OfOtherFunction_GoesToItsHost()
    {
        Give(packet => TlpWriter.MemoryWrite(packet, RoutingId.Fpga(1), 0, FakeHost.Base, [7]));

        Assert.That(Hosts[1].Log, Is.EqualTo(new[] { "write 0x100000 07" }));
        Assert.That(Host.Log, Is.Empty);
    }

    // A MWr of 3 DWs 00..0B with given byte enables.
    [TestCase(0b1111, 0b1111, "write 0x100000 000102030405060708090A0B")]
    [TestCase(0b1100, 0b0001, "write 0x100002 02030405060708")]
    [TestCase(0b1000, 0b0111, "write 0x100003 030405060708090A")]
    [TestCase(0b0101, 0b1001, "write 0x100000 00|write 0x100002 02|write 0x100004 0405060708|write 0x10000b 0B")]
    [TestCase(0b0010, 0b1000, "write 0x100001 01|write 0x100004 04050607|write 0x10000b 0B")]
    public void Write_ByteEnables_AreRespected(int first, int last, string expected)
    {
        Give(packet =>
        {
            int length = TlpWriter.MemoryWrite(packet, Requester, 0, FakeHost.Base, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
            packet[4] = (byte)((last << 4) | first);
            return length;
        });

        Assert.That(Host.Log, Is.EqualTo(expected.Split('|')));
    }

    [TestCase(0b1111, "write 0x100000 00010203")]
    [TestCase(0b0110, "write 0x100001 0102")]
    [TestCase(0b1001, "write 0x100000 00|write 0x100003 03")]
    [TestCase(0b0000, "")]
    public void Write_OneDwByteEnables_AreRespected(int first, string expected)
    {
        Give(packet =>
        {
            int length = TlpWriter.MemoryWrite(packet, Requester, 0, FakeHost.Base, [0, 1, 2, 3]);
            packet[4] = (byte)first;
            return length;
        });

        Assert.That(Host.Log, Is.EqualTo(expected.Split('|', StringSplitOptions.RemoveEmptyEntries)));
    }

    [Test]
    public void Write_NotMapped_IsDroppedAndReported()
    {
        Give(packet => TlpWriter.MemoryWrite(packet, Requester, 0, 0x1_0000_0000_0000, [1]));

        Assert.That(Reports.Single(), Does.Contain("DMA write of 1 bytes at 0x1000000000000"));
        Assert.That(Fpga.Sent, Is.Empty);
    }

    [Test]
    public void Write_AboveMaxPayloadSize_IsDropped()
    {
        Give(packet => TlpWriter.MemoryWrite(packet, Requester, 0, FakeHost.Base, new byte[132]));

        Assert.That(Host.Log, Is.Empty);
        Assert.That(Reports.Single(), Does.Contain("exceeds Max_Payload_Size 128"));
    }

    [Test]
    public void Write_MaxPayloadSizeIsBeingLowered_OldOneHoldsUntilDone()
    {
        WriteConfig(0, FakeFpga.Pcie + 8, 0x30, 0x28);
        Port.ConfigWrite(0, FakeFpga.Pcie + 8, [0x10, 0x28], NewToken());

        Give(packet => TlpWriter.MemoryWrite(packet, Requester, 0, FakeHost.Base, new byte[256]));
        Assert.That(Host.Log, Has.Count.EqualTo(1));
        Fpga.Drain();
        Give(packet => TlpWriter.MemoryWrite(packet, Requester, 0, FakeHost.Base, new byte[256]));

        Assert.That(Host.Log, Has.Count.EqualTo(1));
    }

    [Test]
    public void Request_BusMasterEnableIsZero_IsRefused()
    {
        Port.ArmVectors(0, 0, 1);
        WriteConfig(0, 0x04, 2, 0);
        Forget();
        Host.Log.Clear();

        Give(packet => TlpWriter.MemoryWrite(packet, Requester, 0, FakeHost.Base, [1]));
        Give(packet => TlpWriter.MemoryWrite(packet, Requester, 0, 0xFEE0_0000, [0, 0, 0, 0]));
        Give(packet => TlpWriter.MemoryRead(packet, Requester, 3, FakeHost.Base, 4));

        Assert.That(Host.Log, Is.Empty);
        Assert.That(Fpga.Log, Is.EqualTo(new[] { "Cpl UR tag 3 from 00:00.0 to 01:00.0" }));
        Assert.That(Reports, Has.Count.EqualTo(3).And.All.Contains("Bus Master Enable is 0"));
    }

    [Test]
    public void Request_BusMasterEnableIsBeingCleared_HoldsUntilDone()
    {
        Port.ConfigWrite(0, 0x04, [2, 0], NewToken());

        Give(packet => TlpWriter.MemoryWrite(packet, Requester, 0, FakeHost.Base, [1]));
        Fpga.Drain();
        Give(packet => TlpWriter.MemoryWrite(packet, Requester, 0, FakeHost.Base, [2]));

        Assert.That(Host.Log, Is.EqualTo(new[] { "write 0x100000 01" }));
    }

    [Test]
    public void Read_AboveMaxReadRequestSize_IsServedAndReported()
    {
        Give(packet => TlpWriter.MemoryRead(packet, Requester, 3, FakeHost.Base, 516));

        Assert.That(Fpga.Log, Has.All.StartsWith("CplD SC"));
        Assert.That(Reports.Single(), Does.Contain("exceeds Max_Read_Request_Size 512"));
    }

    [Test]
    public void Write_Poisoned_IsDropped()
    {
        Give(packet =>
        {
            int length = TlpWriter.MemoryWrite(packet, Requester, 0, FakeHost.Base, [1]);
            packet[1] |= 0x40;
            return length;
        });

        Assert.That(Host.Log, Is.Empty);
        Assert.That(Reports.Single(), Does.Contain("poisoned write"));
        Assert.That(Port.Counters.Malformed, Is.EqualTo(1));
    }

    [TestCase(2)]
    [TestCase(7)]
    public void Read_OfFunctionThatDoesNotExist_IsAnsweredUnsupported(int function)
    {
        Give(packet => TlpWriter.MemoryRead(packet, RoutingId.Fpga(function), 1, FakeHost.Base, 4));
        Give(packet => TlpWriter.MemoryWrite(packet, RoutingId.Fpga(function), 1, FakeHost.Base, [1]));
        Give(packet => TlpWriter.MemoryRead(packet, new RoutingId(2, 0, 0), 1, FakeHost.Base, 4));

        Assert.That(Fpga.Log, Is.EqualTo(new[] { $"Cpl UR tag 1 from 00:00.0 to 01:00.{function}", "Cpl UR tag 1 from 00:00.0 to 02:00.0" }));
        Assert.That(Hosts.SelectMany(host => host.Log), Is.Empty);
        Assert.That(Port.Counters.Unsupported, Is.EqualTo(3));
    }

    // Header DW0 of the request, and whether it is answered.
    [TestCase(0x0400_0001u, true, TestName = "Request_CfgRd0_IsAnsweredUnsupported")]
    [TestCase(0x0200_0001u, true, TestName = "Request_IORd_IsAnsweredUnsupported")]
    [TestCase(0x0100_0001u, true, TestName = "Request_MRdLk_IsAnsweredUnsupported")]
    [TestCase(0x4C00_0001u, true, TestName = "Request_FetchAdd_IsAnsweredUnsupported")]
    [TestCase(0x3400_0000u, false, TestName = "Request_UnknownMessage_IsDropped")]
    [TestCase(0x7400_0001u, false, TestName = "Request_MessageWithData_IsDropped")]
    public void Request_NotUsed_IsRefused(uint dw0, bool answered)
    {
        Give(packet =>
        {
            BitConverter.TryWriteBytes(packet, dw0);
            BitConverter.TryWriteBytes(packet.AsSpan(4), 0x0100_050Fu);
            return (dw0 & 0x4000_0000) != 0 ? 20 : 16;
        });

        Assert.That(Fpga.Log, Is.EqualTo(answered ? ["Cpl UR tag 5 from 00:00.0 to 01:00.0"] : Array.Empty<string>()));
        Assert.That(Port.Counters.Unsupported, Is.EqualTo(1));
        Assert.That(Reports, Has.Count.EqualTo(1));
    }

    [Test]
    public void Receive_Malformed_IsCountedAndReported()
    {
        Port.Receive([1, 2, 3], 0);

        Assert.That(Port.Counters.Malformed, Is.EqualTo(1));
        Assert.That(Reports.Single(), Does.Contain("malformed TLP dropped: shorter"));
    }

    [Test]
    public void Receive_RandomTlps_NeverThrows()
    {
        Random random = new(11);
        byte[] packet = new byte[64];
        for (int i = 0; i < 50_000; i++)
        {
            random.NextBytes(packet);
            packet[3] &= 0x6F;
            packet[1] &= 0x7C;
            packet[0] = (byte)random.Next(4);
            packet[6] = (byte)random.Next(2);
            packet[7] = 1;
            Port.Receive(packet.AsSpan(0, 16 + (4 * random.Next(4))), 0);
            Fpga.Sent.Clear();
            Fpga.ForgetTaken();
            Host.Log.Clear();
        }

        Assert.That(Port.Counters.TlpsReceived, Is.GreaterThan(50_000));
        (HostStatus status, _) = ReadConfig(0, 0, 4);
        Assert.That(status, Is.EqualTo(HostStatus.Ok), "it still works");
    }

    [Test]
    public void Intx_Level_TriggersOnceUntilUnmasked()
    {
        void Message(MessageCode code) => Give(packet => TlpWriter.Message(packet, Requester, code));

        Message(MessageCode.AssertIntA);
        Message(MessageCode.AssertIntA);
        Assert.That(Host.Log, Is.EqualTo(new[] { "intx up" }), "masked from the trigger on");

        Port.UnmaskIntx(0);
        Assert.That(Host.Log, Is.EqualTo(new[] { "intx up", "intx up" }), "still high");

        Message(MessageCode.DeassertIntA);
        Port.UnmaskIntx(0);
        Assert.That(Host.Log, Is.EqualTo(new[] { "intx up", "intx up", "intx down" }));

        Port.MaskIntx(0);
        Message(MessageCode.AssertIntA);
        Assert.That(Host.Log, Has.Count.EqualTo(3), "masked by the host");
        Port.UnmaskIntx(0);
        Assert.That(Host.Log[^1], Is.EqualTo("intx up"));
        Assert.That(Hosts[1].Log, Is.Empty);
        Assert.That(Port.Counters.IntxInterrupts, Is.EqualTo(3));
    }

    [Test]
    public void Intx_AfterWrite_ComesAfterAFence()
    {
        Give(packet => TlpWriter.MemoryWrite(packet, Requester, 0, FakeHost.Base, [1]));
        Give(packet => TlpWriter.Message(packet, Requester, MessageCode.AssertIntA));

        Assert.That(Host.Log, Is.EqualTo(new[] { "write 0x100000 01", "fence", "intx up" }));
    }

    [Test]
    public void Observer_Set_SeesBothWaysWithCycles()
    {
        Observer observer = new();
        Port.Observer = observer;
        Fpga.Cycle = 3000;

        Give(packet => TlpWriter.MemoryRead(packet, Requester, 2, FakeHost.Base, 4), cycle: 3000);
        StartRead(0, 0, 0, 4);

        Assert.That(observer.Seen, Is.EqualTo(new[]
        {
            "FromFpga 3000 MRd 0x100000 len 4 tag 2 from 01:00.0",
            "ToFpga 3016 CplD SC len 4 of 4 low 0x00 tag 2 from 00:00.0 to 01:00.0",
            $"ToFpga 3000 MRd 0xfe000000 len 4 tag {Fpga.Sent[1].Bytes[5]} from 00:00.0",
        }));
    }

    [Test]
    public void Counters_Traffic_IsCounted()
    {
        RootPortCounters counters = Port.Counters;
        ulong sent = counters.TlpsSent;
        ulong sentBytes = counters.BytesSent;
        ulong received = counters.TlpsReceived;
        ulong receivedBytes = counters.BytesReceived;

        Give(packet => TlpWriter.MemoryWrite(packet, Requester, 0, FakeHost.Base, new byte[100]));
        Give(packet => TlpWriter.MemoryRead(packet, Requester, 2, FakeHost.Base, 256));

        Assert.That(counters.Received(TlpType.MWr), Is.EqualTo(1));
        Assert.That(counters.Received(TlpType.MRd), Is.EqualTo(1));
        Assert.That(counters.Sent(TlpType.CplD), Is.EqualTo(2));
        Assert.That(counters.TlpsReceived - received, Is.EqualTo(2));
        Assert.That(counters.BytesReceived - receivedBytes, Is.EqualTo(100));
        Assert.That(counters.TlpsSent - sent, Is.EqualTo(2));
        Assert.That(counters.BytesSent - sentBytes, Is.EqualTo(256));
    }

    private sealed class Observer : ITlpObserver
    {
        public List<string> Seen { get; } = [];

        public void Observed(TlpDirection direction, ReadOnlySpan<byte> tlp, ulong cycle) =>
            Seen.Add($"{direction} {cycle} {TlpFormatter.Format(tlp)}");
    }
}
