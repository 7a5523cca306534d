// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>A message received by a <see cref="VfioUserClient"/>, as it came.</summary>
/// <param name="MessageId">That of the request it answers.</param>
/// <param name="Command">That of the request it answers.</param>
/// <param name="Flags">Header flags: type in bits 0 to 3, No_reply in bit 4, Error in bit 5.</param>
/// <param name="Error">Valid when the Error bit is set.</param>
/// <param name="Payload">What follows the header.</param>
public sealed record VfioUserReply(ushort MessageId, VfioUserCommand Command, uint Flags, Errno Error, byte[] Payload)
{
    /// <summary>The request was refused.</summary>
    public bool IsError => (Flags & Internal.Wire.Error) != 0;
}
