// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Cosim.Virtio;

/// <summary>
/// A device's state on its way through a mailbox, in one part or several (<c>hdl/BACKEND.md</c>, "Device state"): each has u32 offset, u32 size and u32 size
/// of the whole state before its bytes. Collects the parts of one state after the other.
/// </summary>
public sealed class DeviceStateParts
{
    /// <summary>Most bytes of a state.</summary>
    public const int MostBytes = 4096;

    private const int HeaderBytes = 12;
    private const int MostPartBytes = MailboxHeader.MaxPayload - HeaderBytes;

    private readonly byte[] _bytes = new byte[MostBytes];
    private uint _received;
    private uint _whole;

    /// <summary>Makes the payloads of a state's messages, at least one.</summary>
    /// <param name="state">At most <see cref="MostBytes"/>.</param>
    public static IReadOnlyList<byte[]> Split(ReadOnlySpan<byte> state)
    {
        List<byte[]> parts = [];
        int offset = 0;
        do
        {
            ReadOnlySpan<byte> bytes = state[offset..Math.Min(offset + MostPartBytes, state.Length)];
            byte[] part = new byte[HeaderBytes + bytes.Length];
            BinaryPrimitives.WriteInt32LittleEndian(part, offset);
            BinaryPrimitives.WriteInt32LittleEndian(part.AsSpan(4), bytes.Length);
            BinaryPrimitives.WriteInt32LittleEndian(part.AsSpan(8), state.Length);
            bytes.CopyTo(part.AsSpan(HeaderBytes));
            parts.Add(part);
            offset += bytes.Length;
        }
        while (offset < state.Length);
        return parts;
    }

    /// <summary>Takes the next part; one with offset 0 begins a new state, whatever came before.</summary>
    /// <param name="payload">Payload of a message.</param>
    /// <param name="state">The whole state with its last part, else null.</param>
    /// <returns>False if the part does not follow the one before, is not as long as it says, or is of too large a state: all parts are forgotten.</returns>
    public bool TryAdd(ReadOnlySpan<byte> payload, out byte[]? state)
    {
        state = null;
        if (payload.Length < HeaderBytes)
        {
            return Refuse();
        }

        uint offset = BinaryPrimitives.ReadUInt32LittleEndian(payload);
        uint size = BinaryPrimitives.ReadUInt32LittleEndian(payload[4..]);
        uint whole = BinaryPrimitives.ReadUInt32LittleEndian(payload[8..]);
        ReadOnlySpan<byte> bytes = payload[HeaderBytes..];
        if (offset == 0)
        {
            Clear();
            _whole = whole;
        }

        bool isEmpty = size == 0 && whole != 0;
        if (whole > MostBytes || whole != _whole || offset != _received || size != (uint)bytes.Length || size > whole - offset || isEmpty)
        {
            return Refuse();
        }

        bytes.CopyTo(_bytes.AsSpan((int)offset));
        _received += size;
        if (_received == whole)
        {
            state = _bytes[..(int)whole];
            Clear();
        }

        return true;
    }

    /// <summary>Forgets the parts of a state that is not whole.</summary>
    public void Clear() => (_received, _whole) = (0, 0);

    private bool Refuse()
    {
        Clear();
        return false;
    }
}
