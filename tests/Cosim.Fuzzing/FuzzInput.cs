// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace Cosim.Fuzzing;

/// <summary>What a field of an input is, for those who change it.</summary>
public enum FieldKind : byte
{
    /// <summary>A little-endian number.</summary>
    Number,

    /// <summary>A little-endian number that says how long something is, or how many there are.</summary>
    Length,

    /// <summary>Characters: a decimal or hexadecimal number, or a word.</summary>
    Text,
}

/// <summary>A field of an input.</summary>
public readonly record struct Field(int Offset, int Size, FieldKind Kind);

/// <summary>A part of an input that can be left out, repeated or moved.</summary>
public readonly record struct Section(int Start, int End)
{
    public int Length => End - Start;
}

/// <summary>Bytes of an input with what is known of their structure. One is used again and again: nothing is allocated per execution.</summary>
public sealed class FuzzInput
{
    /// <summary>Greatest input in bytes.</summary>
    public const int MostBytes = 1 << 18;

    private readonly byte[] _bytes = new byte[MostBytes];

    public int Length { get; private set; }

    public Span<byte> Bytes => _bytes.AsSpan(0, Length);

    public List<Field> Fields { get; } = [];

    public List<Section> Sections { get; } = [];

    /// <summary>What stands between two sections of the same list and in no section, or 0.</summary>
    public byte Separator { get; set; }

    /// <summary>Whether a grammar or a marker has described these bytes as they are now.</summary>
    public bool IsMarked { get; set; }

    public void Clear()
    {
        Length = 0;
        Unmark();
    }

    public void Unmark()
    {
        Fields.Clear();
        Sections.Clear();
        IsMarked = false;
    }

    public void Set(ReadOnlySpan<byte> bytes)
    {
        Clear();
        Add(bytes);
    }

    public FuzzInput Add(byte value)
    {
        if (Length < MostBytes)
        {
            _bytes[Length++] = value;
        }

        return this;
    }

    public FuzzInput Add(ReadOnlySpan<byte> bytes)
    {
        int count = Math.Min(bytes.Length, MostBytes - Length);
        bytes[..count].CopyTo(_bytes.AsSpan(Length));
        Length += count;
        return this;
    }

    public FuzzInput Add(string text)
    {
        if (Encoding.UTF8.TryGetBytes(text, _bytes.AsSpan(Length), out int written))
        {
            Length += written;
        }

        return this;
    }

    public FuzzInput AddText(ulong number)
    {
        if (number.TryFormat(_bytes.AsSpan(Length), out int written, default, CultureInfo.InvariantCulture))
        {
            Length += written;
        }

        return this;
    }

    public FuzzInput AddHex(uint word)
    {
        if (word.TryFormat(_bytes.AsSpan(Length), out int written, "x8", CultureInfo.InvariantCulture))
        {
            Length += written;
        }

        return this;
    }

    /// <summary>Adds a little-endian number and its field.</summary>
    public FuzzInput Number(ulong value, int size, FieldKind kind = FieldKind.Number)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        Fields.Add(new Field(Length, size, kind));
        return Add(bytes[..size]);
    }

    public void Truncate(int length) => Length = Math.Min(length, Length);

    /// <summary>Puts bytes in the place of others.</summary>
    public void Replace(int start, int length, ReadOnlySpan<byte> bytes)
    {
        int tail = Length - start - length;
        int count = Math.Min(bytes.Length, MostBytes - start - tail);
        Buffer.BlockCopy(_bytes, start + length, _bytes, start + count, tail);
        bytes[..count].CopyTo(_bytes.AsSpan(start));
        Length = start + count + tail;
    }
}
