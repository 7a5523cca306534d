// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms.Drawing;

/// <summary>Texts that fit.</summary>
internal static class WaveLabel
{
    private const int ValueCharacters = 20;
    private const int LeadCharacters = 4;
    private const int CardCharacters = 26;
    private const int CardLines = 4;
    private const string Omitted = "…";

    /// <summary>A value, or the end of it where its lowest digits are: the right one, but of a beat the left one.</summary>
    public static string Short(string value, int most = ValueCharacters)
    {
        if (value.Length <= most || most < 2)
        {
            return value.Length <= most ? value : Omitted[..Math.Max(0, most)];
        }

        return value.Contains(' ', StringComparison.Ordinal)
            ? string.Concat(value.AsSpan(0, most - 1), Omitted)
            : string.Concat(Omitted, value.AsSpan(value.Length - most + 1));
    }

    /// <summary>The part of a value around the leftmost digit in which it differs from another; both are taken to end at the same digit, or to begin with the same DW.</summary>
    public static string Around(string value, string other)
    {
        if (value.Length <= ValueCharacters)
        {
            return value;
        }

        int length = Math.Max(value.Length, other.Length);
        bool beat = value.Contains(' ', StringComparison.Ordinal);
        string left = beat ? value.PadRight(length) : value.PadLeft(length);
        string right = beat ? other.PadRight(length) : other.PadLeft(length);
        int at = left.AsSpan().CommonPrefixLength(right);
        int start = Math.Clamp(at - LeadCharacters, 0, length - ValueCharacters);
        int end = start + ValueCharacters;
        int first = beat ? 0 : length - value.Length;
        return (start > first ? Omitted : "") + left[start..end].Trim() + (end < first + value.Length ? Omitted : "");
    }

    /// <summary>A description in a few lines of about the same length.</summary>
    public static string[] Lines(string text)
    {
        List<string> lines = [];
        string line = "";
        foreach (string word in text.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            string longer = line.Length == 0 ? word : $"{line} {word}";
            if (longer.Length <= CardCharacters)
            {
                line = longer;
                continue;
            }

            if (lines.Count == CardLines - 1)
            {
                line = string.Concat(longer.AsSpan(0, CardCharacters - 1), Omitted);
                break;
            }

            if (line.Length > 0)
            {
                lines.Add(line);
            }

            line = word.Length <= CardCharacters ? word : string.Concat(word.AsSpan(0, CardCharacters - 1), Omitted);
        }

        lines.Add(line);
        return [.. lines];
    }
}
