// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Cosim.VfioUser.Tests;

/// <summary>Messages put together field by field, right ones and wrong ones.</summary>
internal static class Bytes
{
    internal static byte[] U32(params uint[] values)
    {
        byte[] bytes = new byte[values.Length * 4];
        for (int index = 0; index < values.Length; index++)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(index * 4), values[index]);
        }

        return bytes;
    }

    internal static byte[] U64(params ulong[] values)
    {
        byte[] bytes = new byte[values.Length * 8];
        for (int index = 0; index < values.Length; index++)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(index * 8), values[index]);
        }

        return bytes;
    }

    /// <summary>A message: id, command, size, flags, error 0, payload. The size is the real one unless another is given.</summary>
    internal static byte[] Message(ushort id, VfioUserCommand command, byte[] payload, uint flags = 0, uint? size = null)
    {
        byte[] bytes = [.. U32(0, size ?? (uint)(16 + payload.Length), flags, 0), .. payload];
        BinaryPrimitives.WriteUInt16LittleEndian(bytes, id);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(2), (ushort)command);
        return bytes;
    }

    /// <summary>u64 offset, u32 region, u32 count, data.</summary>
    internal static byte[] Access(ulong offset, uint region, uint count, params byte[] data) =>
        [.. U64(offset), .. U32(region, count), .. data];

    /// <summary>u32 argsz, u32 flags, u64 offset, u64 address, u64 size.</summary>
    internal static byte[] Map(uint argsz, uint flags, ulong offset, ulong address, ulong size) =>
        [.. U32(argsz, flags), .. U64(offset, address, size)];

    /// <summary>u32 argsz, u32 flags, u64 address, u64 size.</summary>
    internal static byte[] Unmap(uint argsz, uint flags, ulong address, ulong size) =>
        [.. U32(argsz, flags), .. U64(address, size)];

    /// <summary>u32 argsz, u32 flags, u32 index, u32 start, u32 count, data.</summary>
    internal static byte[] SetIrqs(IrqSetFlags flags, uint index, uint start, uint count, params byte[] data) =>
        [.. U32((uint)(20 + data.Length), (uint)flags, index, start, count), .. data];

    /// <summary>u16 major, u16 minor, text as it is.</summary>
    internal static byte[] Version(ushort major, string text) =>
        [.. U32(major), .. System.Text.Encoding.UTF8.GetBytes(text)];
}
