// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Pcie;

/// <summary>Writes TLPs for people: <c>MRd 0x1000 len 64 tag 3 from 01:00.1</c>.</summary>
public static class TlpFormatter
{
    /// <summary>One line about a packet, malformed ones included.</summary>
    public static string Format(ReadOnlySpan<byte> packet) =>
        Tlp.TryParse(packet, out Tlp tlp, out string? malformed)
            ? Format(tlp)
            : $"malformed TLP ({malformed}): {Convert.ToHexString(packet[..Math.Min(packet.Length, Tlp.HeaderBytes)])}";

    /// <summary>One line about a TLP.</summary>
    public static string Format(in Tlp tlp)
    {
        string text = tlp.Type switch
        {
            TlpType.MRd => $"MRd 0x{tlp.ByteAddress:x} len {(tlp.FirstByteEnables == 0 ? 0 : tlp.RequestBytes)} tag {tlp.Tag} from {tlp.RequesterId}",
            TlpType.MWr => $"MWr 0x{tlp.ByteAddress:x} len {(tlp.FirstByteEnables == 0 ? 0 : tlp.RequestBytes)} from {tlp.RequesterId}",
            TlpType.CfgRd0 => $"CfgRd0 {tlp.TargetId} 0x{tlp.ConfigRegister:x3} be {tlp.FirstByteEnables:x} tag {tlp.Tag}",
            TlpType.CfgWr0 => $"CfgWr0 {tlp.TargetId} 0x{tlp.ConfigRegister:x3} be {tlp.FirstByteEnables:x} tag {tlp.Tag}",
            TlpType.Cpl => $"Cpl {Name(tlp.CompletionStatus)} tag {tlp.Tag} from {tlp.CompleterId} to {tlp.RequesterId}",
            TlpType.CplD =>
                $"CplD {Name(tlp.CompletionStatus)} len {tlp.Payload.Length} of {tlp.ByteCount} low 0x{tlp.LowerAddress:x2} tag {tlp.Tag} from {tlp.CompleterId} to {tlp.RequesterId}",
            TlpType.Msg or TlpType.MsgD => $"{tlp.Type} {Name(tlp.MessageCode)} from {tlp.RequesterId}",
            _ => $"{tlp.Type} len {tlp.LengthDwords * 4} tag {tlp.Tag} from {tlp.RequesterId}",
        };
        return tlp.Poisoned ? text + " poisoned" : text;
    }

    private static string Name(CompletionStatus status) => status switch
    {
        CompletionStatus.SuccessfulCompletion => "SC",
        CompletionStatus.ConfigurationRequestRetry => "CRS",
        CompletionStatus.CompleterAbort => "CA",
        _ => "UR",
    };

    private static string Name(MessageCode code) => code switch
    {
        >= MessageCode.AssertIntA and <= MessageCode.AssertIntD => $"Assert_INT{(char)('A' + (code - MessageCode.AssertIntA))}",
        >= MessageCode.DeassertIntA and <= MessageCode.DeassertIntD => $"Deassert_INT{(char)('A' + (code - MessageCode.DeassertIntA))}",
        _ => $"code 0x{(byte)code:x2}",
    };
}
