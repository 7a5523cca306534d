// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Cosim.Fuzzing.Targets;

/// <summary>Little-endian arguments of a step; those that are missing are 0.</summary>
internal ref struct StepArguments(ReadOnlySpan<byte> bytes)
{
    private ReadOnlySpan<byte> _bytes = bytes;

    public byte U8() => (byte)Take(1);

    public ushort U16() => (ushort)Take(2);

    public uint U32() => (uint)Take(4);

    public ulong U64() => Take(8);

    /// <summary>One of two.</summary>
    public int Queue() => (int)(Take(1) & 1);

    public ReadOnlySpan<byte> Rest()
    {
        ReadOnlySpan<byte> rest = _bytes;
        _bytes = default;
        return rest;
    }

    private ulong Take(int size)
    {
        Span<byte> value = stackalloc byte[8];
        value.Clear();
        int there = Math.Min(size, _bytes.Length);
        _bytes[..there].CopyTo(value);
        _bytes = _bytes[there..];
        return BinaryPrimitives.ReadUInt64LittleEndian(value);
    }
}
