// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Globalization;

namespace Cosim.Fuzzing;

/// <summary>Changes inputs where their structure is: fields get values at the ends of ranges, lengths lie, sections are left out, repeated or moved.</summary>
internal sealed class Mutator
{
    private const int MostGrowth = 4096;
    private const int LongWord = 70_000;

    private readonly byte[] _scratch = new byte[FuzzInput.MostBytes];

    /// <summary>Changes an input once or a few times.</summary>
    /// <param name="input">The input.</param>
    /// <param name="target">Whose input it is.</param>
    /// <param name="corpus">Other inputs of the target.</param>
    /// <param name="random">Chooses.</param>
    public void Mutate(FuzzInput input, FuzzTarget target, IReadOnlyList<byte[]> corpus, FuzzRandom random)
    {
        for (int times = 1 + random.Below(random.OneIn(4) ? 6 : 2); times > 0; times--)
        {
            if (!input.IsMarked)
            {
                byte separator = input.Separator;
                input.Unmark();
                input.Separator = separator;
                target.Mark(input);
                input.IsMarked = true;
            }

            Once(input, target, corpus, random);
        }
    }

    private void Once(FuzzInput input, FuzzTarget target, IReadOnlyList<byte[]> corpus, FuzzRandom random)
    {
        switch (random.Below(16))
        {
            case <= 4 when input.Fields.Count > 0:
                Change(input, input.Fields[random.Below(input.Fields.Count)], target, random);
                break;
            case 5 when input.Fields.Count > 0:
                Lie(input, random);
                break;
            case 6 when input.Length > 0:
                input.Bytes[random.Below(input.Length)] ^= (byte)(1 << random.Below(8));
                break;
            case 7 when input.Length > 0:
                input.Bytes[random.Below(input.Length)] = (byte)random.Next();
                break;
            case 8 when input.Length > 0:
                input.Truncate(input.Sections.Count > 0 && random.OneIn(2) ? input.Sections[random.Below(input.Sections.Count)].End : random.Below(input.Length));
                input.IsMarked = false;
                break;
            case 9 or 10 when corpus.Count > 0:
                Splice(input, corpus[random.Below(corpus.Count)], random);
                break;
            case 11 when input.Sections.Count > 0:
                Repeat(input, input.Sections[random.Below(input.Sections.Count)], random);
                break;
            case 12 when input.Sections.Count > 0:
                Drop(input, input.Sections[random.Below(input.Sections.Count)]);
                break;
            case 13 when input.Sections.Count > 1:
                Swap(input, random);
                break;
            case 14 when input.Length > 0:
                // Bytes that nothing announced.
                Span<byte> some = _scratch.AsSpan(0, 1 + random.Below(8));
                for (int i = 0; i < some.Length; i++)
                {
                    some[i] = (byte)random.Next();
                }

                input.Replace(random.Below(input.Length + 1), 0, some);
                input.IsMarked = false;
                break;
            default:
                if (input.Fields.Count > 0)
                {
                    Change(input, input.Fields[random.Below(input.Fields.Count)], target, random);
                }

                break;
        }
    }

    private static void Write(Span<byte> field, ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        bytes[..Math.Min(8, field.Length)].CopyTo(field);
    }

    private void Change(FuzzInput input, Field field, FuzzTarget target, FuzzRandom random)
    {
        if (field.Offset + field.Size > input.Length)
        {
            return;
        }

        if (field.Kind != FieldKind.Text)
        {
            Write(input.Bytes.Slice(field.Offset, field.Size), random.Boundary());
            return;
        }

        int choice = random.Below(8);
        if (choice < 3 && target.Words.Count > 0)
        {
            input.Replace(field.Offset, field.Size, target.Words[random.Below(target.Words.Count)]);
        }
        else if (choice < 6)
        {
            _ = random.Boundary().TryFormat(_scratch, out int written, random.OneIn(4) ? "x8" : default, CultureInfo.InvariantCulture);
            input.Replace(field.Offset, field.Size, _scratch.AsSpan(0, written));
        }
        else if (choice == 6 && input.Fields.Count > 1)
        {
            // The word of another place.
            Field other = input.Fields[random.Below(input.Fields.Count)];
            if (other.Offset + other.Size <= input.Length && other.Size <= MostGrowth)
            {
                input.Bytes.Slice(other.Offset, other.Size).CopyTo(_scratch);
                input.Replace(field.Offset, field.Size, _scratch.AsSpan(0, other.Size));
            }
        }
        else
        {
            // A word that is longer than anybody thought of; seldom one longer than any buffer.
            int length = random.OneIn(400) ? LongWord : 1 + random.Below(600);
            _scratch.AsSpan(0, length).Fill(field.Size > 0 ? input.Bytes[field.Offset + random.Below(field.Size)] : (byte)'x');
            input.Replace(field.Offset + field.Size, 0, _scratch.AsSpan(0, length));
        }

        input.IsMarked = false;
    }

    private static void Lie(FuzzInput input, FuzzRandom random)
    {
        // Length fields are few; a number that is none takes its place.
        Field field = input.Fields[random.Below(input.Fields.Count)];
        for (int i = 0; i < 8 && field.Kind != FieldKind.Length; i++)
        {
            field = input.Fields[random.Below(input.Fields.Count)];
        }

        if (field.Kind == FieldKind.Text || field.Offset + field.Size > input.Length)
        {
            return;
        }

        Span<byte> bytes = stackalloc byte[8];
        bytes.Clear();
        Span<byte> place = input.Bytes.Slice(field.Offset, field.Size);
        place[..Math.Min(8, field.Size)].CopyTo(bytes);
        ulong value = BinaryPrimitives.ReadUInt64LittleEndian(bytes);
        Write(place, random.Below(6) switch
        {
            0 => value + 1,
            1 => value - 1,
            2 => value * 2,
            3 => value / 2,
            4 => value + (ulong)random.Below(64),
            _ => 0,
        });
    }

    private static void Splice(FuzzInput input, byte[] other, FuzzRandom random)
    {
        // Heads end and tails begin where a section does; the other one's sections are not known, so its tail is as long from its end.
        int cut = input.Sections.Count > 0 ? input.Sections[random.Below(input.Sections.Count)].Start : random.Below(input.Length + 1);
        int from = Math.Min(other.Length, random.OneIn(2) ? cut : random.Below(other.Length + 1));
        if (input.Separator == 0 && other.AsSpan(from).IndexOf((byte)'\n') is >= 0 and int line && random.OneIn(2))
        {
            from += line + 1;
        }

        input.Replace(cut, input.Length - cut, other.AsSpan(from));
        input.IsMarked = false;
    }

    private void Repeat(FuzzInput input, Section section, FuzzRandom random)
    {
        if (section.End > input.Length || section.Length is 0 or > MostGrowth)
        {
            return;
        }

        int separator = input.Separator != 0 ? 1 : 0;
        int copies = random.OneIn(8) ? 1 + random.Below(Math.Max(1, MostGrowth / section.Length)) : 1;
        int length = section.Length + separator;
        for (int i = 0; i < copies; i++)
        {
            input.Bytes.Slice(section.Start, section.Length).CopyTo(_scratch.AsSpan(i * length));
            _scratch[(i * length) + section.Length] = input.Separator;
        }

        input.Replace(section.Start, 0, _scratch.AsSpan(0, copies * length));
        input.IsMarked = false;
    }

    private static void Drop(FuzzInput input, Section section)
    {
        if (section.End <= input.Length)
        {
            bool separated = input.Separator != 0 && section.End < input.Length && input.Bytes[section.End] == input.Separator;
            input.Replace(section.Start, section.Length + (separated ? 1 : 0), default);
            input.IsMarked = false;
        }
    }

    private void Swap(FuzzInput input, FuzzRandom random)
    {
        Section first = input.Sections[random.Below(input.Sections.Count)];
        Section second = input.Sections[random.Below(input.Sections.Count)];
        if (first.Start > second.Start)
        {
            (first, second) = (second, first);
        }

        if (first.End > second.Start || second.End > input.Length)
        {
            return;
        }

        Span<byte> bytes = input.Bytes[first.Start..second.End];
        Span<byte> scratch = _scratch.AsSpan(0, bytes.Length);
        int middle = second.Start - first.End;
        bytes[^second.Length..].CopyTo(scratch);
        bytes.Slice(first.Length, middle).CopyTo(scratch[second.Length..]);
        bytes[..first.Length].CopyTo(scratch[(second.Length + middle)..]);
        scratch.CopyTo(bytes);
        input.IsMarked = false;
    }
}
