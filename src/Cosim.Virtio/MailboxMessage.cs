// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Cosim.Virtio;

/// <summary>Requests of the back-end protocol (<c>hdl/BACKEND.md</c>); below 0x1000 they are vhost-user's.</summary>
public enum MailboxRequest : uint
{
    /// <summary>VHOST_USER_GET_FEATURES.</summary>
    GetFeatures = 1,

    /// <summary>VHOST_USER_SET_FEATURES.</summary>
    SetFeatures = 2,

    /// <summary>VHOST_USER_SET_OWNER.</summary>
    SetOwner = 3,

    /// <summary>VHOST_USER_SET_MEM_TABLE.</summary>
    SetMemTable = 5,

    /// <summary>VHOST_USER_SET_VRING_NUM.</summary>
    SetVringNum = 8,

    /// <summary>VHOST_USER_SET_VRING_ADDR.</summary>
    SetVringAddr = 9,

    /// <summary>VHOST_USER_SET_VRING_BASE.</summary>
    SetVringBase = 10,

    /// <summary>VHOST_USER_GET_VRING_BASE.</summary>
    GetVringBase = 11,

    /// <summary>VHOST_USER_GET_PROTOCOL_FEATURES.</summary>
    GetProtocolFeatures = 15,

    /// <summary>VHOST_USER_SET_PROTOCOL_FEATURES.</summary>
    SetProtocolFeatures = 16,

    /// <summary>VHOST_USER_SET_VRING_ENABLE.</summary>
    SetVringEnable = 18,

    /// <summary>VHOST_USER_GET_CONFIG.</summary>
    GetConfig = 24,

    /// <summary>VHOST_USER_SET_CONFIG.</summary>
    SetConfig = 25,

    /// <summary>VHOST_USER_RESET_DEVICE.</summary>
    ResetDevice = 34,

    /// <summary>VHOST_USER_SET_STATUS.</summary>
    SetStatus = 39,

    /// <summary>GET_BACKEND: protocol version, devices, pool.</summary>
    GetBackend = 0x1001,

    /// <summary>GET_DEVICE: type, queues, PCI class and subsystem.</summary>
    GetDevice = 0x1002,

    /// <summary>SET_DEVICE_STATE: a part of the state that was kept of a device.</summary>
    SetDeviceState = 0x1003,
}

/// <summary>Protocol features of vhost-user that both sides need (<c>hdl/BACKEND.md</c>).</summary>
public static class VhostUserProtocolFeatures
{
    /// <summary>MQ (0), REPLY_ACK (3), CONFIG (9), RESET_DEVICE (13) and STATUS (16).</summary>
    public const ulong Required = (1UL << 0) | (1UL << 3) | (1UL << 9) | (1UL << 13) | (1UL << 16);

    /// <summary>VHOST_USER_PROTOCOL_F_DEVICE_STATE: the front end keeps a state for the device.</summary>
    public const ulong DeviceState = 1UL << 19;
}

/// <summary>Header of a mailbox message: 16 bytes, little-endian (<c>hdl/BACKEND.md</c>).</summary>
/// <param name="Request">Request number.</param>
/// <param name="Flags">Version 1 in bits 1:0, <see cref="Reply"/>, <see cref="NeedReply"/>.</param>
/// <param name="Size">Bytes of payload.</param>
/// <param name="Device">Number of the device.</param>
public readonly record struct MailboxHeader(MailboxRequest Request, uint Flags, uint Size, uint Device)
{
    /// <summary>Size of the header in bytes.</summary>
    public const int Bytes = 16;

    /// <summary>Greatest payload in bytes.</summary>
    public const int MaxPayload = 1024 - Bytes;

    /// <summary>Version in bits 1:0 of the flags.</summary>
    public const uint Version = 1;

    /// <summary>REPLY flag.</summary>
    public const uint Reply = 1 << 2;

    /// <summary>NEED_REPLY flag.</summary>
    public const uint NeedReply = 1 << 3;

    /// <summary>CONFIG_CHANGE_MSG: a message that a back end sends on its own.</summary>
    public const uint ConfigChange = 2;

    /// <summary>DEVICE_STATE_MSG: a message that a back end sends on its own, with a part of a device's state; it is answered.</summary>
    public const uint DeviceState = 0x1004;

    /// <summary>Whether <see cref="Reply"/> is set.</summary>
    public bool IsReply => (Flags & Reply) != 0;

    /// <summary>
    /// Reads a header and checks version and size against the message's length.
    /// </summary>
    /// <returns>False if the message is shorter than its header says or has another version.</returns>
    public static bool TryRead(ReadOnlySpan<byte> message, out MailboxHeader header)
    {
        header = default;
        if (message.Length < Bytes)
        {
            return false;
        }

        header = new MailboxHeader(
            (MailboxRequest)BinaryPrimitives.ReadUInt32LittleEndian(message),
            BinaryPrimitives.ReadUInt32LittleEndian(message[4..]),
            BinaryPrimitives.ReadUInt32LittleEndian(message[8..]),
            BinaryPrimitives.ReadUInt32LittleEndian(message[12..]));
        return (header.Flags & 3) == Version && header.Size <= MaxPayload && Bytes + header.Size <= message.Length;
    }

    /// <summary>Writes the header's 16 bytes.</summary>
    public void Write(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(destination, (uint)Request);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[4..], Flags);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[8..], Size);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[12..], Device);
    }
}
