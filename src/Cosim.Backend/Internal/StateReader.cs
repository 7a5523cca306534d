// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Cosim.Backend.Internal;

/// <summary>Reads a kept state from its start, little-endian. Where bytes are missing it reads zeros and is <see cref="IsShort"/> from then on.</summary>
internal ref struct StateReader(ReadOnlySpan<byte> state)
{
    private ReadOnlySpan<byte> _left = state;

    internal bool IsShort { get; private set; }

    /// <summary>All bytes were read and none was missing.</summary>
    internal readonly bool IsAtEnd => !IsShort && _left.IsEmpty;

    internal byte Byte() => Bytes(1)[0];

    internal ushort U16() => BinaryPrimitives.ReadUInt16LittleEndian(Bytes(2));

    internal ulong U64() => BinaryPrimitives.ReadUInt64LittleEndian(Bytes(8));

    internal ReadOnlySpan<byte> Bytes(int count)
    {
        if (_left.Length < count)
        {
            IsShort = true;
            _left = [];
            return new byte[count];
        }

        ReadOnlySpan<byte> bytes = _left[..count];
        _left = _left[count..];
        return bytes;
    }
}
