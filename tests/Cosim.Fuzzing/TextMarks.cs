// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Fuzzing;

/// <summary>Finds the structure of texts.</summary>
internal static class TextMarks
{
    private const int MostMarks = 4096;

    /// <summary>Lines are sections, words between white space are fields.</summary>
    public static void Lines(FuzzInput input)
    {
        ReadOnlySpan<byte> text = input.Bytes;
        int line = 0;
        int word = -1;
        for (int i = 0; i < text.Length && input.Fields.Count < MostMarks; i++)
        {
            if (text[i] > ' ')
            {
                word = word < 0 ? i : word;
                continue;
            }

            if (word >= 0)
            {
                input.Fields.Add(new Field(word, i - word, FieldKind.Text));
                word = -1;
            }

            if (text[i] == '\n')
            {
                input.Sections.Add(new Section(line, i + 1));
                line = i + 1;
            }
        }

        input.IsMarked = true;
    }

    /// <summary>Members of objects and arrays are sections, strings, numbers and literals are fields.</summary>
    public static void Json(FuzzInput input)
    {
        Span<int> starts = stackalloc int[64];
        int depth = 0;
        starts[0] = -1;
        ReadOnlySpan<byte> text = input.Bytes;
        input.Separator = (byte)',';
        for (int i = 0; i < text.Length && input.Fields.Count < MostMarks; i++)
        {
            switch (text[i])
            {
                case (byte)'"':
                    int quote = i;
                    for (i++; i < text.Length && text[i] != '"'; i++)
                    {
                        i += text[i] == '\\' ? 1 : 0;
                    }

                    i = Math.Min(i, text.Length - 1);
                    input.Fields.Add(new Field(quote, i + 1 - quote, FieldKind.Text));
                    break;
                case (byte)'{' or (byte)'[':
                    depth++;
                    starts[depth & 63] = i + 1;
                    break;
                case (byte)',' or (byte)'}' or (byte)']':
                    if (depth > 0 && starts[depth & 63] < i)
                    {
                        input.Sections.Add(new Section(starts[depth & 63], i));
                    }

                    starts[depth & 63] = i + 1;
                    depth -= text[i] != ',' && depth > 0 ? 1 : 0;
                    break;
                case (byte)'-' or (>= (byte)'0' and <= (byte)'9') or (>= (byte)'a' and <= (byte)'z'):
                    int start = i;
                    while (i + 1 < text.Length && (text[i + 1] is (byte)'.' or (byte)'-' or (byte)'+' || char.IsAsciiLetterOrDigit((char)text[i + 1])))
                    {
                        i++;
                    }

                    input.Fields.Add(new Field(start, i + 1 - start, FieldKind.Text));
                    break;
                default:
                    break;
            }
        }

        input.IsMarked = true;
    }
}
