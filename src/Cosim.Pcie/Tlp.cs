// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Cosim.Pcie;

/// <summary>
/// One transaction layer packet, read in place: 16 bytes of header (four little-endian DWs, the fourth 0 where the header has
/// three) and the payload in memory order.
/// </summary>
/// <remarks>
/// PCI Express Base Specification, 2.2. A header DW has byte 0 of the specification's figures in bits 31:24. Fields that a
/// TLP's type does not have read what stands in their place.
/// </remarks>
public readonly ref struct Tlp
{
    /// <summary>Bytes of the header, three DWs or four.</summary>
    public const int HeaderBytes = 16;

    /// <summary>Greatest payload of a TLP in bytes.</summary>
    public const int MaxPayloadBytes = 4096;

    /// <summary>Greatest packet in bytes.</summary>
    public const int MaxBytes = HeaderBytes + MaxPayloadBytes;

    private readonly uint _dw0;
    private readonly uint _dw1;
    private readonly uint _dw2;
    private readonly uint _dw3;

    private Tlp(ReadOnlySpan<byte> packet, TlpType type)
    {
        _dw0 = BinaryPrimitives.ReadUInt32LittleEndian(packet);
        _dw1 = BinaryPrimitives.ReadUInt32LittleEndian(packet[4..]);
        _dw2 = BinaryPrimitives.ReadUInt32LittleEndian(packet[8..]);
        _dw3 = BinaryPrimitives.ReadUInt32LittleEndian(packet[12..]);
        Type = type;
        Payload = packet[HeaderBytes..];
    }

    /// <summary>Kind of TLP.</summary>
    public TlpType Type { get; }

    /// <summary>Fmt: bit 0 four header DWs, bit 1 with data.</summary>
    public int Fmt => (int)(_dw0 >> 29);

    /// <summary>Header DWs, 3 or 4.</summary>
    public int HeaderDwords => 3 + (Fmt & 1);

    /// <summary>Whether a payload follows.</summary>
    public bool HasData => (Fmt & 2) != 0;

    /// <summary>Whether it is a request that is answered by no completion.</summary>
    public bool IsPosted => Type is TlpType.MWr or TlpType.Msg or TlpType.MsgD;

    /// <summary>Whether it is a completion of any kind.</summary>
    public bool IsCompletion => Type is TlpType.Cpl or TlpType.CplD or TlpType.CplLk or TlpType.CplDLk;

    /// <summary>Whether it is a request that must be answered by a completion.</summary>
    public bool IsNonPosted => !IsPosted && !IsCompletion;

    /// <summary>Length of the data, asked for or contained, in DWs: 1 to 1024.</summary>
    public int LengthDwords => (_dw0 & 0x3FF) == 0 ? 1024 : (int)(_dw0 & 0x3FF);

    /// <summary>Traffic Class.</summary>
    public int TrafficClass => (int)(_dw0 >> 20) & 7;

    /// <summary>EP: the data is poisoned.</summary>
    public bool Poisoned => (_dw0 & 0x4000) != 0;

    /// <summary>Attr 1:0 (bit 1 relaxed ordering, bit 0 no snoop).</summary>
    public int Attributes => (int)(_dw0 >> 12) & 3;

    /// <summary>Requester ID; of a completion, that of the request it answers.</summary>
    public RoutingId RequesterId => new((ushort)((IsCompletion ? _dw2 : _dw1) >> 16));

    /// <summary>Tag; of a completion, that of the request it answers.</summary>
    public byte Tag => (byte)((IsCompletion ? _dw2 : _dw1) >> 8);

    /// <summary>1st DW BE of a request.</summary>
    public byte FirstByteEnables => (byte)(_dw1 & 0xF);

    /// <summary>Last DW BE of a request.</summary>
    public byte LastByteEnables => (byte)((_dw1 >> 4) & 0xF);

    /// <summary>Address of the first DW of a memory request; a multiple of 4.</summary>
    public ulong Address => HeaderDwords == 4 ? ((ulong)_dw2 << 32) | (_dw3 & ~3u) : _dw2 & ~3u;

    /// <summary>Address of the first enabled byte of a memory request.</summary>
    public ulong ByteAddress => Address + (uint)ByteEnables.Offset(FirstByteEnables);

    /// <summary>Bytes of a memory request from the first to the last enabled one; 1 for a zero-length read.</summary>
    public int RequestBytes => ByteEnables.ByteCount(LengthDwords, FirstByteEnables, LastByteEnables);

    /// <summary>Function a configuration request is for.</summary>
    public RoutingId TargetId => new((ushort)(_dw2 >> 16));

    /// <summary>Byte offset of the DW a configuration request is for: a multiple of 4 up to 0xFFC.</summary>
    public int ConfigRegister => (int)(_dw2 & 0xFFC);

    /// <summary>Completer ID of a completion.</summary>
    public RoutingId CompleterId => new((ushort)(_dw1 >> 16));

    /// <summary>Status of a completion; reserved values stand for UR (2.3.2).</summary>
    public CompletionStatus CompletionStatus => (_dw1 >> 13 & 7) switch
    {
        0 => CompletionStatus.SuccessfulCompletion,
        2 => CompletionStatus.ConfigurationRequestRetry,
        4 => CompletionStatus.CompleterAbort,
        _ => CompletionStatus.UnsupportedRequest,
    };

    /// <summary>Byte Count of a completion: bytes left of its request, this one included; 1 to 4096.</summary>
    public int ByteCount => (_dw1 & 0xFFF) == 0 ? 4096 : (int)(_dw1 & 0xFFF);

    /// <summary>Lower Address of a completion: lowest 7 bits of the address of its first byte.</summary>
    public byte LowerAddress => (byte)(_dw2 & 0x7F);

    /// <summary>Code of a message.</summary>
    public MessageCode MessageCode => (MessageCode)(byte)_dw1;

    /// <summary>Routing of a message, r[2:0] (2.2.8); 4: local, terminate at receiver.</summary>
    public int MessageRouting => (int)(_dw0 >> 24) & 7;

    /// <summary>The payload: whole DWs in memory order, empty without data.</summary>
    public ReadOnlySpan<byte> Payload { get; }

    /// <summary>
    /// The bytes of a completion with data that were asked for: <see cref="Payload"/> from <see cref="LowerAddress"/> on,
    /// not more than <see cref="ByteCount"/>; empty without data.
    /// </summary>
    public ReadOnlySpan<byte> CompletionBytes
    {
        get
        {
            ReadOnlySpan<byte> bytes = HasData ? Payload[(LowerAddress & 3)..] : default;
            return bytes.Length > ByteCount ? bytes[..ByteCount] : bytes;
        }
    }

    /// <summary>Reads a packet.</summary>
    /// <param name="packet">The packet; the result refers to it.</param>
    /// <param name="tlp">The TLP, if it is well formed.</param>
    /// <param name="malformed">Null, or what is wrong with it (a Malformed TLP, 2.3).</param>
    public static bool TryParse(ReadOnlySpan<byte> packet, out Tlp tlp, out string? malformed)
    {
        tlp = default;
        if (packet.Length < HeaderBytes)
        {
            malformed = "shorter than a header of 16 bytes";
            return false;
        }

        uint dw0 = BinaryPrimitives.ReadUInt32LittleEndian(packet);
        if (!TryGetType((int)(dw0 >> 24), out TlpType type))
        {
            malformed = "Fmt and Type name no TLP";
            return false;
        }

        tlp = new Tlp(packet, type);
        malformed = tlp.Check();
        return malformed is null;
    }

    private string? Check()
    {
        if ((_dw0 & 0x8000) != 0)
        {
            return "TLP digest present";
        }

        if (Payload.Length != (HasData ? LengthDwords * 4 : 0))
        {
            return HasData ? "payload is not as long as Length says" : "payload in a TLP without data";
        }

        return Type switch
        {
            TlpType.MRd or TlpType.MWr => CheckMemory(),
            TlpType.CfgRd0 or TlpType.CfgWr0 or TlpType.CfgRd1 or TlpType.CfgWr1 or TlpType.IORd or TlpType.IOWr =>
                LengthDwords != 1 ? "Length of a configuration or I/O request is not 1"
                : LastByteEnables != 0 ? "Last DW BE of a configuration or I/O request is not 0"
                : null,
            TlpType.CplD => CompletionStatus == CompletionStatus.SuccessfulCompletion ? CheckCompletionData() : null,
            _ => null,
        };
    }

    private string? CheckMemory()
    {
        if (LengthDwords == 1)
        {
            return LastByteEnables != 0 ? "Last DW BE is not 0 with a Length of 1" : null;
        }

        if (FirstByteEnables == 0 || LastByteEnables == 0)
        {
            return "a byte enable field is 0 with a Length above 1";
        }

        return (int)(Address & 0xFFF) + (LengthDwords * 4) > TlpSplit.PageBytes ? "crosses a 4 KiB boundary" : null;
    }

    private string? CheckCompletionData() =>
        LengthDwords > ByteEnables.Dwords((ulong)LowerAddress, ByteCount) ? "more data than Byte Count says" : null;

    private static bool TryGetType(int fmtType, out TlpType type)
    {
        TlpType? found = fmtType switch
        {
            0x00 or 0x20 => TlpType.MRd,
            0x01 or 0x21 => TlpType.MRdLk,
            0x40 or 0x60 => TlpType.MWr,
            0x02 => TlpType.IORd,
            0x42 => TlpType.IOWr,
            0x04 => TlpType.CfgRd0,
            0x44 => TlpType.CfgWr0,
            0x05 => TlpType.CfgRd1,
            0x45 => TlpType.CfgWr1,
            0x0A => TlpType.Cpl,
            0x4A => TlpType.CplD,
            0x0B => TlpType.CplLk,
            0x4B => TlpType.CplDLk,
            0x4C or 0x6C or 0x4D or 0x6D or 0x4E or 0x6E => TlpType.AtomicOp,
            >= 0x30 and <= 0x37 => TlpType.Msg,
            >= 0x70 and <= 0x77 => TlpType.MsgD,
            _ => null,
        };
        type = found.GetValueOrDefault();
        return found is not null;
    }
}
