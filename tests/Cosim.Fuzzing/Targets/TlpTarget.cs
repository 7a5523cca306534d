// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Pcie;

namespace Cosim.Fuzzing.Targets;

/// <summary>Transaction layer packets: what a packet says is the same after it was written again, and what is written can be read.</summary>
/// <remarks>Byte 0: 0 a packet follows; otherwise arguments for <see cref="TlpWriter"/> follow, of the kind that it names.</remarks>
public sealed class TlpTarget : FuzzTarget
{
    private const int Kinds = 8;

    // Fmt and Type (PCI Express Base Specification, 2.2.1), the used ones more than once.
    private static readonly byte[] s_fmtTypes =
    [
        0x00, 0x20, 0x40, 0x60, 0x04, 0x44, 0x0A, 0x4A, 0x34, 0x74, 0x00, 0x40, 0x4A, 0x20, 0x60,
        0x01, 0x21, 0x02, 0x42, 0x05, 0x45, 0x0B, 0x4B, 0x4C, 0x6C, 0x4D, 0x6D, 0x4E, 0x6E, 0x30, 0x37, 0x70, 0x77, 0x03, 0x1F, 0x80,
    ];

    private readonly byte[] _packet = new byte[Tlp.MaxBytes];
    private readonly byte[] _data = new byte[Tlp.MaxPayloadBytes + 4];

    public override string Name => "tlp";

    public override string What => "transaction layer packets";

    public override IReadOnlyList<string> Classes { get; } =
        ["Cosim.Pcie.Tlp", "Cosim.Pcie.TlpWriter", "Cosim.Pcie.TlpFormatter", "Cosim.Pcie.TlpSplit", "Cosim.Pcie.ByteEnables"];

    // One line of text for people.
    public override long MostAllocated(int length) => 2048;

    public override void Generate(FuzzInput input, FuzzRandom random)
    {
        if (random.OneIn(4))
        {
            _ = input.Number((ulong)random.Between(1, Kinds), 1).Number(random.Next(), 2).Number(random.Next(), 1).Number(random.Boundary(), 8)
                .Number((ulong)random.Between(1, random.Pick(8, 300, 4096)), 2, FieldKind.Length).Number(random.Next(), 1).Number(random.Boundary(), 2, FieldKind.Length).Number(random.Next(), 2);
            input.IsMarked = true;
            return;
        }

        byte fmtType = random.Pick(s_fmtTypes);
        int dwords = random.OneIn(16) ? random.Between(1, 1024) : random.Between(1, 8);
        bool single = (fmtType & 0x1F) is 2 or 4 or 5;
        dwords = single ? 1 : dwords;
        uint dw0 = ((uint)fmtType << 24) | (uint)(dwords & 0x3FF);
        uint enables = single ? (uint)random.Below(16) : dwords == 1 ? (uint)random.Below(16) : ((uint)random.Between(1, 15) << 4) | (uint)random.Between(1, 15);
        uint dw1 = ((uint)random.Next() & 0xFFFF_FF00) | enables;
        uint dw2 = (uint)random.Next();
        if ((fmtType & 0x1F) is 0x0A or 0x0B)
        {
            dw1 = ((uint)random.Next() & 0xFFFF_0000) | (random.OneIn(4) ? (uint)random.Below(8) << 13 : 0) | ((uint)(dwords * 4) & 0xFFF);
        }
        else if (!random.OneIn(8))
        {
            // Within a page.
            dw2 &= ~0xFFFu;
        }

        _ = input.Add(0).Number(dw0, 4, FieldKind.Length).Number(dw1, 4).Number(dw2, 4).Number((fmtType & 0x20) != 0 ? (uint)random.Next() & ~0xFFFu : 0, 4);
        if ((fmtType & 0x40) != 0)
        {
            int start = input.Length;
            for (int i = 0; i < dwords; i++)
            {
                _ = input.Add((byte)random.Next()).Add((byte)i).Add((byte)(i >> 8)).Add(0x5A);
            }

            input.Sections.Add(new Section(start, input.Length));
        }

        input.IsMarked = true;
    }

    public override void Mark(FuzzInput input)
    {
        for (int at = 1; at + 4 <= Math.Min(input.Length, 17); at += 4)
        {
            input.Fields.Add(new Field(at, 4, at == 1 ? FieldKind.Length : FieldKind.Number));
        }

        for (int at = 0; at < Math.Min(input.Length, 20); at++)
        {
            input.Fields.Add(new Field(at, 1, FieldKind.Number));
        }

        for (int at = 17; at + 4 <= Math.Min(input.Length, 64); at += 4)
        {
            input.Sections.Add(new Section(at, at + 4));
        }
    }

    public override void Execute(ReadOnlySpan<byte> input)
    {
        if (input.IsEmpty || input[0] == 0)
        {
            Decode(input.IsEmpty ? input : input[1..]);
        }
        else
        {
            Span<byte> arguments = stackalloc byte[20];
            arguments.Clear();
            input[..Math.Min(input.Length, arguments.Length)].CopyTo(arguments);
            Encode(arguments);
        }
    }

    private void Decode(ReadOnlySpan<byte> packet)
    {
        bool parsed = Tlp.TryParse(packet, out Tlp tlp, out string? malformed);
        Require(parsed == malformed is null && malformed?.Length != 0, "a packet is refused without a reason, or taken with one");
        uint sum = 0;
        foreach (byte b in packet[..Math.Min(packet.Length, 24)])
        {
            sum = (sum * 31) + b;
        }

        if (sum % 16 == 0)
        {
            Require(TlpFormatter.Format(packet).Length is > 0 and < 400, "the line about a packet is empty, or too long");
        }

        if (!parsed)
        {
            return;
        }

        Require(tlp.LengthDwords is >= 1 and <= 1024, $"Length is {tlp.LengthDwords}");
        Require(tlp.Payload.Length == (tlp.HasData ? tlp.LengthDwords * 4 : 0), "the payload is not as long as Length says");
        Require((tlp.IsPosted ? 1 : 0) + (tlp.IsNonPosted ? 1 : 0) + (tlp.IsCompletion ? 1 : 0) == 1, "a TLP is posted, non-posted or a completion: one of them");
        Require(tlp.CompletionBytes.Length <= tlp.Payload.Length, "a completion has more bytes than its payload");
        Require(tlp.RequestBytes is >= -8 and <= 4096, $"a request has {tlp.RequestBytes} bytes");
        Require(tlp.ByteCount is >= 1 and <= 4096, $"Byte Count is {tlp.ByteCount}");
        Require((tlp.Address & 3) == 0 && tlp.ByteAddress - tlp.Address < 4, "an address is not that of its DW");
        Require(tlp.ConfigRegister is >= 0 and <= 0xFFC && (tlp.ConfigRegister & 3) == 0, "a register is not in configuration space");
        switch (tlp.Type)
        {
            case TlpType.MRd:
                DecodeMemoryRead(tlp);
                break;
            case TlpType.MWr:
                DecodeMemoryWrite(tlp);
                break;
            case TlpType.CfgRd0:
                int length = TlpWriter.ConfigRead0(_packet, tlp.RequesterId, tlp.Tag, tlp.TargetId, tlp.ConfigRegister, tlp.FirstByteEnables);
                Same(length, tlp);
                break;
            case TlpType.CfgWr0:
                length = TlpWriter.ConfigWrite0(
                    _packet, tlp.RequesterId, tlp.Tag, tlp.TargetId, tlp.ConfigRegister, tlp.FirstByteEnables, BinaryPrimitives.ReadUInt32LittleEndian(tlp.Payload));
                Same(length, tlp);
                Require(_packet.AsSpan(Tlp.HeaderBytes, 4).SequenceEqual(tlp.Payload), "a configuration write has another payload when it is written again");
                break;
            case TlpType.Cpl:
                length = TlpWriter.Completion(_packet, tlp.CompleterId, tlp.CompletionStatus, tlp.RequesterId, tlp.Tag, tlp.ByteCount, tlp.LowerAddress);
                Same(length, tlp);
                break;
            case TlpType.CplD when tlp.CompletionStatus == CompletionStatus.SuccessfulCompletion:
                ReadOnlySpan<byte> bytes = tlp.CompletionBytes;
                Require(!bytes.IsEmpty, "a completion with data has no byte");
                length = TlpWriter.CompletionData(_packet, tlp.CompleterId, tlp.RequesterId, tlp.Tag, tlp.ByteCount, tlp.LowerAddress, bytes);
                Require(Tlp.TryParse(_packet.AsSpan(0, length), out Tlp again, out malformed), $"a completion that is written again is malformed: {malformed}");
                Require(again.CompletionBytes.SequenceEqual(bytes), "a completion has other bytes when it is written again");
                break;
            case TlpType.Msg when tlp.MessageRouting == 4:
                length = TlpWriter.Message(_packet, tlp.RequesterId, tlp.MessageCode);
                Require(Tlp.TryParse(_packet.AsSpan(0, length), out again, out malformed) && again.MessageCode == tlp.MessageCode && again.RequesterId == tlp.RequesterId, "a message is another one when it is written again");
                break;
            default:
                break;
        }
    }

    private void DecodeMemoryRead(in Tlp tlp)
    {
        int length = TlpWriter.MemoryRead(_packet, tlp.RequesterId, tlp.Tag, tlp.Address, tlp.LengthDwords, tlp.FirstByteEnables, tlp.LastByteEnables);
        Same(length, tlp);
        Split(tlp.ByteAddress, tlp.RequestBytes, 128 << (tlp.Tag % 6));
    }

    private void DecodeMemoryWrite(in Tlp tlp)
    {
        Require(tlp.RequestBytes <= tlp.Payload.Length, "a write has more bytes than its payload");
        bool isRange = tlp.FirstByteEnables == ByteEnables.First(tlp.ByteAddress, tlp.RequestBytes) && tlp.LastByteEnables == ByteEnables.Last(tlp.ByteAddress, tlp.RequestBytes);
        if (isRange)
        {
            ReadOnlySpan<byte> data = tlp.Payload.Slice((int)(tlp.ByteAddress & 3), tlp.RequestBytes);
            int length = TlpWriter.MemoryWrite(_packet, tlp.RequesterId, tlp.Tag, tlp.ByteAddress, data);
            Same(length, tlp);
            Require(_packet.AsSpan(Tlp.HeaderBytes + (int)(tlp.ByteAddress & 3), data.Length).SequenceEqual(data), "a write has other bytes when it is written again");
        }
    }

    // What was written again says the same in every field of its type.
    private void Same(int length, in Tlp tlp)
    {
        Require(Tlp.TryParse(_packet.AsSpan(0, length), out Tlp again, out string? malformed), $"a {tlp.Type} that is written again is malformed: {malformed}");
        Require(
            again.Type == tlp.Type && again.RequesterId == tlp.RequesterId && again.Tag == tlp.Tag && again.Payload.Length == tlp.Payload.Length,
            $"a {tlp.Type} is another one when it is written again");
        bool same = tlp.Type switch
        {
            TlpType.MRd or TlpType.MWr => again.Address == tlp.Address && again.FirstByteEnables == tlp.FirstByteEnables && again.LastByteEnables == tlp.LastByteEnables
                && again.LengthDwords == tlp.LengthDwords && again.ByteAddress == tlp.ByteAddress && again.RequestBytes == tlp.RequestBytes,
            TlpType.CfgRd0 or TlpType.CfgWr0 => again.TargetId == tlp.TargetId && again.ConfigRegister == tlp.ConfigRegister && again.FirstByteEnables == tlp.FirstByteEnables,
            _ => again.CompleterId == tlp.CompleterId && again.CompletionStatus == tlp.CompletionStatus && again.ByteCount == tlp.ByteCount && again.LowerAddress == tlp.LowerAddress,
        };
        Require(same, $"a {tlp.Type} has another field when it is written again");
    }

    private void Encode(ReadOnlySpan<byte> arguments)
    {
        RoutingId id = new(BinaryPrimitives.ReadUInt16LittleEndian(arguments[1..]));
        byte tag = arguments[3];
        ulong address = BinaryPrimitives.ReadUInt64LittleEndian(arguments[4..]);
        int length = 1 + (BinaryPrimitives.ReadUInt16LittleEndian(arguments[12..]) % Tlp.MaxPayloadBytes);
        byte enables = arguments[14];
        int byteCount = 1 + (BinaryPrimitives.ReadUInt16LittleEndian(arguments[15..]) % 4096);
        ushort target = BinaryPrimitives.ReadUInt16LittleEndian(arguments[17..]);
        int inPage = Math.Min(length, TlpSplit.PageBytes - (int)(address & 0xFFF));
        int written;
        switch (arguments[0] % Kinds)
        {
            case 0:
                written = TlpWriter.MemoryRead(_packet, id, tag, address, (enables & 7) == 0 ? 0 : inPage);
                Parsed(written, TlpType.MRd, id, tag, out Tlp tlp);
                Require((enables & 7) == 0 ? tlp.FirstByteEnables == 0 : tlp.ByteAddress == address && tlp.RequestBytes == inPage, "a read is of another range than was asked for");
                break;
            case 1:
                Random(length);
                written = TlpWriter.MemoryWrite(_packet, id, tag, address, _data.AsSpan(0, inPage));
                Parsed(written, TlpType.MWr, id, tag, out tlp);
                Require(tlp.ByteAddress == address && tlp.RequestBytes == inPage && tlp.Payload.Slice((int)(address & 3), inPage).SequenceEqual(_data.AsSpan(0, inPage)), "a write is of another range than was asked for");
                break;
            case 2:
                written = TlpWriter.ConfigRead0(_packet, id, tag, new RoutingId(target), (int)(address & 0xFFF), (byte)(enables & 0xF));
                Parsed(written, TlpType.CfgRd0, id, tag, out tlp);
                Require(tlp.TargetId.Value == target && tlp.ConfigRegister == (int)(address & 0xFFC) && tlp.FirstByteEnables == (enables & 0xF), "a configuration read is of another register");
                break;
            case 3:
                written = TlpWriter.ConfigWrite0(_packet, id, tag, new RoutingId(target), (int)(address & 0xFFF), (byte)(enables & 0xF), (uint)(address >> 16));
                Parsed(written, TlpType.CfgWr0, id, tag, out tlp);
                Require(BinaryPrimitives.ReadUInt32LittleEndian(tlp.Payload) == (uint)(address >> 16), "a configuration write has another value");
                break;
            case 4:
                CompletionStatus status = (enables & 3) switch { 0 => CompletionStatus.SuccessfulCompletion, 1 => CompletionStatus.UnsupportedRequest, 2 => CompletionStatus.ConfigurationRequestRetry, _ => CompletionStatus.CompleterAbort };
                written = TlpWriter.Completion(_packet, new RoutingId(target), status, id, tag, byteCount, (byte)(address & 0x7F));
                Parsed(written, TlpType.Cpl, id, tag, out tlp);
                Require(tlp.CompletionStatus == status && tlp.ByteCount == byteCount && tlp.CompleterId.Value == target, "a completion says something else");
                break;
            case 5:
                byte lower = (byte)(address & 0x7F);
                int part = Math.Min(Math.Min(length, byteCount), Tlp.MaxPayloadBytes - (lower & 3));
                Random(part);
                written = TlpWriter.CompletionData(_packet, new RoutingId(target), id, tag, byteCount, lower, _data.AsSpan(0, part));
                Parsed(written, TlpType.CplD, id, tag, out tlp);
                Require(tlp.LowerAddress == lower && tlp.ByteCount == byteCount && tlp.CompletionBytes.Length >= part && tlp.CompletionBytes[..part].SequenceEqual(_data.AsSpan(0, part)), "a completion has other bytes");
                break;
            case 6:
                written = TlpWriter.Message(_packet, id, (MessageCode)tag);
                Require(Tlp.TryParse(_packet.AsSpan(0, written), out tlp, out _) && tlp.MessageCode == (MessageCode)tag && tlp.MessageRouting == 4 && tlp.RequesterId == id, "a message says something else");
                break;
            default:
                Split(address, length, 128 << (tag % 6));
                break;
        }
    }

    private void Parsed(int written, TlpType type, RoutingId id, byte tag, out Tlp tlp)
    {
        Require(Tlp.TryParse(_packet.AsSpan(0, written), out tlp, out string? malformed), $"a {type} that was written is malformed: {malformed}");
        Require(tlp.Type == type && tlp.RequesterId == id && tlp.Tag == tag, $"a {type} that was written is read as a {tlp.Type}");
    }

    private void Random(int length)
    {
        for (int i = 0; i < length; i++)
        {
            _data[i] = (byte)((i * 7) + 1);
        }
    }

    // The parts of a transfer make up the whole, and none crosses what it must not cross.
    private static void Split(ulong address, int length, int limit)
    {
        if (address + (uint)length < address)
        {
            return;
        }

        ulong at = address;
        int left = length;
        for (int steps = 0; left > 0; steps++)
        {
            int part = TlpSplit.NextRequest(at, left, limit);
            Require(steps <= (length / limit) + 1 && part >= 1 && part <= left && (at / (uint)limit) == ((at + (uint)part - 1) / (uint)limit), "requests of a transfer are cut in a wrong place");
            at += (uint)part;
            left -= part;
        }

        at = address;
        left = Math.Min(length, 4096);
        for (int steps = 0; left > 0; steps++)
        {
            int part = TlpSplit.NextCompletion(at, left, limit);
            bool aligned = part == left || ((at + (uint)part) % TlpSplit.ReadCompletionBoundary) == 0;
            Require(steps <= 34 && part >= 1 && part <= left && (int)(at & 3) + part <= limit && aligned, "completions of a read are cut in a wrong place");
            at += (uint)part;
            left -= part;
        }

        at = address;
        left = Math.Min(length, 64);
        while (left > 0)
        {
            int part = TlpSplit.NextAccess(at, left);
            Require(part is 1 or 2 or 4 or 8 && part <= left && at % (uint)part == 0, "accesses to a range are not aligned");
            at += (uint)part;
            left -= part;
        }
    }
}
