// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms;

/// <summary>Values in text: hexadecimal digits, the lowest on the right, an underscore every eight; <c>x</c> for a digit with an unknown bit.</summary>
internal static class WaveValue
{
    private const int GroupDigits = 8;

    /// <summary>Writes bits as the literal whose position they are; where there is none, or no enumeration, as a number.</summary>
    public static void Write(ReadOnlySpan<byte> bits, IReadOnlyList<string>? literals, TextWriter output)
    {
        int position = 0;
        for (int i = 0; literals is not null && i < bits.Length && position < literals.Count; i++)
        {
            position = bits[i] is (byte)'0' or (byte)'1' ? (position << 1) | (bits[i] & 1) : literals.Count;
        }

        if (literals is not null && position < literals.Count)
        {
            output.Write(literals[position]);
        }
        else
        {
            Write(bits, output);
        }
    }

    /// <summary>Writes bits given as characters from the left. Groups of zeros on the left are left out.</summary>
    public static void Write(ReadOnlySpan<byte> bits, TextWriter output)
    {
        int digits = (bits.Length + 3) / 4;
        int first = digits;
        while (first > GroupDigits && IsZero(bits, first - ((first - 1) % GroupDigits) - 1, first))
        {
            first -= ((first - 1) % GroupDigits) + 1;
        }

        for (int i = first - 1; i >= 0; i--)
        {
            output.Write(Digit(bits, i));
            if (i > 0 && i % GroupDigits == 0)
            {
                output.Write('_');
            }
        }
    }

    /// <summary>
    /// Whether a value is what is expected; an <c>x</c> in what is expected stands for any digit, and alone for any value. The
    /// words of a stream's beat are matched one by one.
    /// </summary>
    public static bool Matches(ReadOnlySpan<char> expected, ReadOnlySpan<char> actual)
    {
        if (expected.SequenceEqual(actual) || expected is "x")
        {
            return true;
        }

        int expectedWord = expected.IndexOf(' ');
        int actualWord = actual.IndexOf(' ');
        if (expectedWord >= 0 || actualWord >= 0)
        {
            return expectedWord >= 0 && actualWord >= 0 && Matches(expected[..expectedWord], actual[..actualWord])
                && Matches(expected[(expectedWord + 1)..], actual[(actualWord + 1)..]);
        }

        int e = expected.Length;
        int a = actual.Length;
        while (e > 0 || a > 0)
        {
            char wanted = e > 0 ? expected[e - 1] : '0';
            char given = a > 0 ? actual[a - 1] : '0';
            bool separator = wanted == '_' || given == '_';
            if (wanted == '_' || !separator)
            {
                e--;
            }

            if (given == '_' || !separator)
            {
                a--;
            }

            if (!separator && wanted != given && wanted != 'x')
            {
                return false;
            }
        }

        return true;
    }

    private static bool IsZero(ReadOnlySpan<byte> bits, int fromDigit, int toDigit)
    {
        for (int i = fromDigit; i < toDigit; i++)
        {
            if (Digit(bits, i) != '0')
            {
                return false;
            }
        }

        return true;
    }

    private static char Digit(ReadOnlySpan<byte> bits, int digit)
    {
        int value = 0;
        for (int i = 0; i < 4; i++)
        {
            int at = bits.Length - 1 - (digit * 4) - i;
            byte bit = at >= 0 ? bits[at] : (byte)'0';
            if (bit is not ((byte)'0' or (byte)'1'))
            {
                return 'x';
            }

            value |= (bit & 1) << i;
        }

        return "0123456789abcdef"[value];
    }
}
