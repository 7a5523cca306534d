// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Cosim.Fuzzing.Targets;

/// <summary>Inputs that are a list of steps: a byte that says what, 16 bits of length, and as many bytes.</summary>
internal ref struct Records(ReadOnlySpan<byte> input)
{
    public const int HeaderBytes = 3;

    private ReadOnlySpan<byte> _rest = input;

    public byte Kind { get; private set; }

    public ReadOnlySpan<byte> Payload { get; private set; }

    /// <summary>Goes on to the next step; one whose length lies has what is left.</summary>
    public bool Next()
    {
        if (_rest.Length < HeaderBytes)
        {
            return false;
        }

        Kind = _rest[0];
        int length = Math.Min(BinaryPrimitives.ReadUInt16LittleEndian(_rest[1..]), _rest.Length - HeaderBytes);
        Payload = _rest.Slice(HeaderBytes, length);
        _rest = _rest[(HeaderBytes + length)..];
        return true;
    }

    /// <summary>Begins a step; its length is set by <see cref="End"/>.</summary>
    public static int Begin(FuzzInput input, byte kind)
    {
        int start = input.Length;
        _ = input.Add(kind).Number(0, 2, FieldKind.Length);
        return start;
    }

    public static void End(FuzzInput input, int start)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(input.Bytes[(start + 1)..], (ushort)(input.Length - start - HeaderBytes));
        input.Sections.Add(new Section(start, input.Length));
    }

    /// <summary>Marks steps as sections, and what is in them as 32-bit numbers.</summary>
    /// <param name="input">The input.</param>
    /// <param name="from">Where the first step begins.</param>
    public static void Mark(FuzzInput input, int from)
    {
        for (int at = 0; at < Math.Min(from, input.Length); at++)
        {
            input.Fields.Add(new Field(at, 1, FieldKind.Number));
        }

        int start = from;
        while (start + HeaderBytes <= input.Length)
        {
            int length = Math.Min(BinaryPrimitives.ReadUInt16LittleEndian(input.Bytes[(start + 1)..]), input.Length - start - HeaderBytes);
            int end = start + HeaderBytes + length;
            input.Fields.Add(new Field(start, 1, FieldKind.Number));
            input.Fields.Add(new Field(start + 1, 2, FieldKind.Length));
            for (int at = start + HeaderBytes; at < Math.Min(end, start + 96); at += 4)
            {
                input.Fields.Add(new Field(at, Math.Min(4, end - at), FieldKind.Number));
            }

            input.Sections.Add(new Section(start, end));
            start = end;
        }
    }
}
