// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.Pcie.Tests;

public class TlpTests
{
    private static readonly RoutingId Endpoint = RoutingId.Fpga(1);

    private readonly byte[] _packet = new byte[Tlp.MaxBytes];

    [Test]
    public void MemoryRead_Below4GiB_HasThreeDwHeader()
    {
        int length = TlpWriter.MemoryRead(_packet, Endpoint, 3, 0x1234_5679, 6);

        byte[] expected =
        [
            0x02, 0x00, 0x00, 0x00, // DW0: Fmt 000, Type 00000, Length 2
            0x7E, 0x03, 0x01, 0x01, // DW1: requester 01:00.1, tag 3, Last DW BE 0111, 1st DW BE 1110
            0x78, 0x56, 0x34, 0x12, // DW2: address 31:2
            0x00, 0x00, 0x00, 0x00, // no DW3
        ];
        Assert.That(_packet[..length], Is.EqualTo(expected));
    }

    [Test]
    public void MemoryWrite_From4GiBOn_HasFourDwHeaderAndPaddedPayload()
    {
        int length = TlpWriter.MemoryWrite(_packet, Endpoint, 0, 0x1_0000_0FFE, [0xAA, 0xBB]);

        byte[] expected =
        [
            0x01, 0x00, 0x00, 0x60, // DW0: Fmt 011, Type 00000, Length 1
            0x0C, 0x00, 0x01, 0x01, // DW1: Last DW BE 0000, 1st DW BE 1100
            0x01, 0x00, 0x00, 0x00, // DW2: address 63:32
            0xFC, 0x0F, 0x00, 0x00, // DW3: address 31:2
            0x00, 0x00, 0xAA, 0xBB, // the DW in memory order
        ];
        Assert.That(_packet[..length], Is.EqualTo(expected));
    }

    [Test]
    public void ConfigWrite0_OneByte_HasTargetRegisterAndByteEnable()
    {
        int length = TlpWriter.ConfigWrite0(_packet, RoutingId.RootPort, 0xFE, Endpoint, 0x83, 0x8, 0x8000_0000);

        byte[] expected =
        [
            0x01, 0x00, 0x00, 0x44, // DW0: Fmt 010, Type 00100, Length 1
            0x08, 0xFE, 0x00, 0x00, // DW1: requester 00:00.0, tag 0xFE, 1st DW BE 1000
            0x80, 0x00, 0x01, 0x01, // DW2: target 01:00.1, register 0x080
            0x00, 0x00, 0x00, 0x00,
            0x00, 0x00, 0x00, 0x80, // data
        ];
        Assert.That(_packet[..length], Is.EqualTo(expected));
    }

    [Test]
    public void CompletionData_Unaligned_HasByteCountAndLowerAddress()
    {
        int length = TlpWriter.CompletionData(_packet, Endpoint, RoutingId.RootPort, 9, 4096, 0x7D, [1, 2, 3, 4]);

        byte[] expected =
        [
            0x02, 0x00, 0x00, 0x4A, // DW0: Fmt 010, Type 01010, Length 2
            0x00, 0x00, 0x01, 0x01, // DW1: completer 01:00.1, SC, Byte Count 4096 = 0
            0x7D, 0x09, 0x00, 0x00, // DW2: requester 00:00.0, tag 9, Lower Address 0x7D
            0x00, 0x00, 0x00, 0x00,
            0x00, 0x01, 0x02, 0x03, 0x04, 0x00, 0x00, 0x00,
        ];
        Assert.That(_packet[..length], Is.EqualTo(expected));
    }

    [Test]
    public void Message_AssertIntA_IsRoutedLocally()
    {
        int length = TlpWriter.Message(_packet, Endpoint, MessageCode.AssertIntA);

        byte[] expected =
        [
            0x00, 0x00, 0x00, 0x34, // DW0: Fmt 001, Type 10100
            0x20, 0x00, 0x01, 0x01, // DW1: requester 01:00.1, code 0x20
            0x00, 0x00, 0x00, 0x00,
            0x00, 0x00, 0x00, 0x00,
        ];
        Assert.That(_packet[..length], Is.EqualTo(expected));
        Assert.That(Tlp.TryParse(_packet.AsSpan(0, length), out Tlp tlp, out _), Is.True);
        Assert.That(tlp.Type, Is.EqualTo(TlpType.Msg));
        Assert.That(tlp.MessageRouting, Is.EqualTo(4));
        Assert.That(tlp.MessageCode, Is.EqualTo(MessageCode.AssertIntA));
        Assert.That(tlp.RequesterId, Is.EqualTo(Endpoint));
        Assert.That(tlp.IsPosted, Is.True);
    }

    [Test]
    public void TryParse_Request_GivesEveryField()
    {
        byte[] packet =
        [
            0x00, 0x70, 0x50, 0x20, // DW0: Fmt 001, Type 00000, TC 5, EP, Attr 11, Length 1024
            0xF3, 0x1F, 0x0A, 0x02, // DW1: requester 02:01.2, tag 31, Last DW BE 1111, 1st DW BE 0011
            0x78, 0x56, 0x34, 0x12,
            0x03, 0xF0, 0xDE, 0xBC, // its 2 lowest bits are not of the address
        ];

        Assert.That(Tlp.TryParse(packet, out Tlp tlp, out string? malformed), Is.True, malformed);
        Assert.That(tlp.Type, Is.EqualTo(TlpType.MRd));
        Assert.That(tlp.Fmt, Is.EqualTo(1));
        Assert.That(tlp.HeaderDwords, Is.EqualTo(4));
        Assert.That(tlp.TrafficClass, Is.EqualTo(5));
        Assert.That(tlp.Attributes, Is.EqualTo(3));
        Assert.That(tlp.Poisoned, Is.True);
        Assert.That(tlp.LengthDwords, Is.EqualTo(1024));
        Assert.That(tlp.RequesterId.ToString(), Is.EqualTo("02:01.2"));
        Assert.That(tlp.Tag, Is.EqualTo(31));
        Assert.That(tlp.FirstByteEnables, Is.EqualTo(0x3));
        Assert.That(tlp.LastByteEnables, Is.EqualTo(0xF));
        Assert.That(tlp.Address, Is.EqualTo(0x1234_5678_BCDE_F000));
        Assert.That(tlp.RequestBytes, Is.EqualTo(4096));
        Assert.That(tlp.IsNonPosted, Is.True);
    }

    [Test]
    public void TryParse_Completion_GivesEveryField()
    {
        byte[] packet =
        [
            0x00, 0x00, 0x00, 0x0A, // DW0: Cpl
            0x04, 0x80, 0x01, 0x01, // DW1: completer 01:00.1, status 100b (CA), Byte Count 4
            0x7F, 0x20, 0x00, 0x00, // DW2: requester 00:00.0, tag 32, Lower Address 0x7F
            0x00, 0x00, 0x00, 0x00,
        ];

        Assert.That(Tlp.TryParse(packet, out Tlp tlp, out string? malformed), Is.True, malformed);
        Assert.That(tlp.IsCompletion, Is.True);
        Assert.That(tlp.CompleterId, Is.EqualTo(Endpoint));
        Assert.That(tlp.CompletionStatus, Is.EqualTo(CompletionStatus.CompleterAbort));
        Assert.That(tlp.ByteCount, Is.EqualTo(4));
        Assert.That(tlp.RequesterId, Is.EqualTo(RoutingId.RootPort));
        Assert.That(tlp.Tag, Is.EqualTo(32));
        Assert.That(tlp.LowerAddress, Is.EqualTo(0x7F));
    }

    [Test]
    public void CompletionStatus_ReservedValue_CountsAsUnsupported()
    {
        TlpWriter.Completion(_packet, Endpoint, (CompletionStatus)7, RoutingId.RootPort, 0);

        Assert.That(Tlp.TryParse(_packet.AsSpan(0, 16), out Tlp tlp, out _), Is.True);
        Assert.That(tlp.CompletionStatus, Is.EqualTo(CompletionStatus.UnsupportedRequest));
    }

    [TestCase(0x00u, TlpType.MRd)]
    [TestCase(0x20u, TlpType.MRd)]
    [TestCase(0x01u, TlpType.MRdLk)]
    [TestCase(0x02u, TlpType.IORd)]
    [TestCase(0x04u, TlpType.CfgRd0)]
    [TestCase(0x05u, TlpType.CfgRd1)]
    [TestCase(0x0Au, TlpType.Cpl)]
    [TestCase(0x0Bu, TlpType.CplLk)]
    [TestCase(0x33u, TlpType.Msg)]
    [TestCase(0x40u, TlpType.MWr)]
    [TestCase(0x42u, TlpType.IOWr)]
    [TestCase(0x44u, TlpType.CfgWr0)]
    [TestCase(0x45u, TlpType.CfgWr1)]
    [TestCase(0x4Au, TlpType.CplD)]
    [TestCase(0x4Bu, TlpType.CplDLk)]
    [TestCase(0x4Cu, TlpType.AtomicOp)]
    [TestCase(0x6Eu, TlpType.AtomicOp)]
    [TestCase(0x74u, TlpType.MsgD)]
    public void TryParse_FmtAndType_GiveTheKind(uint fmtType, TlpType expected)
    {
        bool hasData = (fmtType & 0x40) != 0;
        byte[] packet = new byte[hasData ? 20 : 16];
        packet[3] = (byte)fmtType;
        packet[0] = 1;
        packet[4] = (byte)(expected == TlpType.CplD ? 4 : 0xF);

        Assert.That(Tlp.TryParse(packet, out Tlp tlp, out string? malformed), Is.True, malformed);
        Assert.That(tlp.Type, Is.EqualTo(expected));
    }

    [TestCase("0100000000", "shorter", TestName = "TryParse_ShorterThanAHeader_IsMalformed")]
    [TestCase("010000800f00000000000000 00000000", "Fmt and Type", TestName = "TryParse_Prefix_IsMalformed")]
    [TestCase("0100001f0f00000000000000 00000000", "Fmt and Type", TestName = "TryParse_UnknownType_IsMalformed")]
    [TestCase("018000000f00000000000000 00000000", "digest", TestName = "TryParse_Digest_IsMalformed")]
    [TestCase("010000400f00000000000000 00000000", "payload is not as long", TestName = "TryParse_PayloadMissing_IsMalformed")]
    [TestCase("010000400f00000000000000 00000000 0000000000000000", "payload is not as long", TestName = "TryParse_PayloadTooLong_IsMalformed")]
    [TestCase("010000400f00000000000000 00000000 000000", "payload is not as long", TestName = "TryParse_PayloadNotWholeDws_IsMalformed")]
    [TestCase("010000000f00000000000000 00000000 00000000", "without data", TestName = "TryParse_PayloadOfRead_IsMalformed")]
    [TestCase("010000001f00000000000000 00000000", "Last DW BE is not 0", TestName = "TryParse_OneDwWithLastByteEnables_IsMalformed")]
    [TestCase("020000000f00000000000000 00000000", "byte enable field is 0", TestName = "TryParse_TwoDwsWithoutLastByteEnables_IsMalformed")]
    [TestCase("02000000f000000000000000 00000000", "byte enable field is 0", TestName = "TryParse_TwoDwsWithoutFirstByteEnables_IsMalformed")]
    [TestCase("02000000ff000000fc0f0000 00000000", "4 KiB", TestName = "TryParse_Crossing4KiB_IsMalformed")]
    [TestCase("020000040f00000000000000 00000000", "Length", TestName = "TryParse_ConfigReadOfTwoDws_IsMalformed")]
    [TestCase("010000041f00000000000000 00000000", "Last DW BE", TestName = "TryParse_ConfigReadWithLastByteEnables_IsMalformed")]
    [TestCase("0200004a0400000000000000 00000000 0000000000000000", "Byte Count", TestName = "TryParse_MoreDataThanByteCount_IsMalformed")]
    public void TryParse_Malformed_SaysWhat(string hex, string reason)
    {
        byte[] packet = Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal));

        Assert.That(Tlp.TryParse(packet, out _, out string? malformed), Is.False);
        Assert.That(malformed, Does.Contain(reason));
    }

    [Test]
    public void TryParse_RandomBytes_NeverThrows()
    {
        Random random = new(1);
        int parsed = 0;
        for (int i = 0; i < 50_000; i++)
        {
            byte[] packet = new byte[random.Next(0, 12) * 4];
            random.NextBytes(packet);
            if (packet.Length >= 16 && random.Next(2) == 0)
            {
                packet[3] &= 0x6F;
                packet[1] &= 0x7C;
                packet[0] = (byte)random.Next(4);
            }

            bool ok = Tlp.TryParse(packet, out Tlp tlp, out string? malformed);
            Assert.That(ok, Is.EqualTo(malformed is null));
            Assert.That(TlpFormatter.Format(packet), Is.Not.Empty);
            if (ok)
            {
                parsed++;
                _ = tlp.CompletionBytes.Length;
                _ = tlp.RequestBytes;
            }
        }

        Assert.That(parsed, Is.GreaterThan(300));
    }

    [Test]
    public void Format_EachKind_IsReadable()
    {
        Assert.Multiple(() =>
        {
            Assert.That(Text(TlpWriter.MemoryRead(_packet, Endpoint, 3, 0x1002, 64)), Is.EqualTo("MRd 0x1002 len 64 tag 3 from 01:00.1"));
            Assert.That(Text(TlpWriter.MemoryRead(_packet, Endpoint, 3, 0x1000, 0)), Is.EqualTo("MRd 0x1000 len 0 tag 3 from 01:00.1"));
            Assert.That(Text(TlpWriter.MemoryWrite(_packet, Endpoint, 0, 0xFEE0_0000, [1, 0, 0, 0])), Is.EqualTo("MWr 0xfee00000 len 4 from 01:00.1"));
            Assert.That(Text(TlpWriter.ConfigRead0(_packet, default, 1, Endpoint, 0x10, 0xF)), Is.EqualTo("CfgRd0 01:00.1 0x010 be f tag 1"));
            Assert.That(Text(TlpWriter.ConfigWrite0(_packet, default, 1, Endpoint, 4, 3, 6)), Is.EqualTo("CfgWr0 01:00.1 0x004 be 3 tag 1"));
            Assert.That(Text(TlpWriter.Completion(_packet, Endpoint, CompletionStatus.UnsupportedRequest, default, 7)), Is.EqualTo("Cpl UR tag 7 from 01:00.1 to 00:00.0"));
            Assert.That(
                Text(TlpWriter.CompletionData(_packet, default, Endpoint, 7, 100, 0x44, new byte[64])),
                Is.EqualTo("CplD SC len 64 of 100 low 0x44 tag 7 from 00:00.0 to 01:00.1"));
            Assert.That(Text(TlpWriter.Message(_packet, Endpoint, MessageCode.DeassertIntA)), Is.EqualTo("Msg Deassert_INTA from 01:00.1"));
            Assert.That(TlpFormatter.Format([1, 2]), Does.StartWith("malformed TLP (shorter"));
        });
    }

    [Test]
    public void MemoryWrite_AnyRange_ReadsBackAsWritten()
    {
        Random random = new(2);
        for (int i = 0; i < 5_000; i++)
        {
            ulong address = (ulong)random.NextInt64() >> random.Next(0, 63);
            int length = random.Next(1, 4097 - (int)(address & 0xFFF));
            byte[] data = new byte[length];
            random.NextBytes(data);
            random.NextBytes(_packet);

            int written = TlpWriter.MemoryWrite(_packet, Endpoint, 5, address, data);

            Assert.That(Tlp.TryParse(_packet.AsSpan(0, written), out Tlp tlp, out string? malformed), Is.True, malformed);
            Assert.That(tlp.ByteAddress, Is.EqualTo(address));
            Assert.That(tlp.RequestBytes, Is.EqualTo(length));
            Assert.That(tlp.HeaderDwords, Is.EqualTo(address >> 32 == 0 ? 3 : 4));
            Assert.That(tlp.Payload.Slice((int)(address & 3), length).SequenceEqual(data), Is.True);
            Assert.That(tlp.Payload[..(int)(address & 3)].IndexOfAnyExcept((byte)0), Is.EqualTo(-1), "padding before");
            Assert.That(tlp.Payload[((int)(address & 3) + length)..].IndexOfAnyExcept((byte)0), Is.EqualTo(-1), "padding after");
        }
    }

    private string Text(int length) => TlpFormatter.Format(_packet.AsSpan(0, length));
}
