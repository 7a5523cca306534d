// SPDX-License-Identifier: Apache-2.0
using System.Collections.Frozen;

namespace Cosim.Regression.Vhdl;

/// <summary>Cuts VHDL into lexical elements (IEEE 1076-2008, chapter 15), as synthesis reads it.</summary>
internal static class VhdlTokenizer
{
    private static readonly FrozenSet<string> s_keywords = FrozenSet.ToFrozenSet((
        "abs access after alias all and architecture array assert assume attribute begin block body buffer bus case component configuration constant "
        + "context cover default disconnect downto else elsif end entity exit fairness file for force function generate generic group guarded if "
        + "impure in inertial inout is label library linkage literal loop map mod nand new next nor not null of on open or others out package "
        + "parameter port postponed procedure process property protected pure range record register reject release rem report restrict return rol "
        + "ror select sequence severity shared signal sla sll sra srl strong subtype then to transport type unaffected units until use variable "
        + "vmode vprop vunit wait when while with xnor xor").Split(' '));

    private static readonly string[] s_compound = ["?/=", "?<=", "?>=", "=>", "**", ":=", "/=", ">=", "<=", "<>", "??", "?=", "?<", "?>", "<<", ">>"];

    /// <summary>The lexical elements of a source, in order.</summary>
    /// <exception cref="FormatException">A literal or a comment has no end.</exception>
    public static IReadOnlyList<VhdlToken> Read(string source)
    {
        List<VhdlToken> tokens = [];
        int at = 0;
        while (at < source.Length)
        {
            char c = source[at];
            if (char.IsWhiteSpace(c))
            {
                at++;
            }
            else if (c == '-' && Next(source, at) == '-')
            {
                at = AfterComment(source, at);
            }
            else if (c == '/' && Next(source, at) == '*')
            {
                at = After(source, "*/", at + 2, "comment");
            }
            else
            {
                VhdlToken token = One(source, at, tokens.Count == 0 ? null : tokens[^1]);
                tokens.Add(token);
                at = token.End;
            }
        }

        return tokens;
    }

    private static VhdlToken One(string source, int at, VhdlToken? before)
    {
        char c = source[at];
        if (c == '\'' && at + 2 < source.Length && source[at + 2] == '\'' && !EndsName(before))
        {
            return new(VhdlTokenKind.Character, at, 3, source.Substring(at, 3));
        }

        if (c == '"')
        {
            return Literal(source, VhdlTokenKind.Text, at, QuoteEnd(source, at));
        }

        if (c == '\\')
        {
            return Literal(source, VhdlTokenKind.Identifier, at, After(source, "\\", at + 1, "extended identifier"));
        }

        if (char.IsAsciiLetter(c) || char.IsAsciiDigit(c))
        {
            return Word(source, at);
        }

        string text = s_compound.FirstOrDefault(d => string.CompareOrdinal(source, at, d, 0, d.Length) == 0) ?? source.Substring(at, 1);
        return new(VhdlTokenKind.Delimiter, at, text.Length, text);
    }

    // After a name a tick begins an attribute or a qualified expression: `slv'('1', …)`.
    private static bool EndsName(VhdlToken? token)
        => token is not null && (token.Kind is VhdlTokenKind.Identifier or VhdlTokenKind.Character or VhdlTokenKind.Text || token.Text is ")" or "]" or "all");

    private static VhdlToken Word(string source, int at)
    {
        bool number = char.IsAsciiDigit(source[at]);
        int end = at;
        while (end < source.Length && (char.IsAsciiLetterOrDigit(source[end]) || source[end] == '_'))
        {
            end++;
        }

        // x"00", 32d"5": a base, perhaps after a length
        if (end < source.Length && source[end] == '"' && BitBase(source.AsSpan(at, end - at)))
        {
            return Literal(source, VhdlTokenKind.BitText, at, QuoteEnd(source, end));
        }

        if (number)
        {
            return Literal(source, VhdlTokenKind.Number, at, NumberEnd(source, end));
        }

        string text = source[at..end].ToLowerInvariant();
        return new(s_keywords.Contains(text) ? VhdlTokenKind.Keyword : VhdlTokenKind.Identifier, at, end - at, text);
    }

    private static bool BitBase(ReadOnlySpan<char> text)
        => text.TrimStart("0123456789_").ToString().ToLowerInvariant() is "b" or "o" or "x" or "d" or "ub" or "uo" or "ux" or "sb" or "so" or "sx";

    private static int NumberEnd(string source, int end)
    {
        if (end < source.Length && source[end] == '#')
        {
            return After(source, "#", end + 1, "based literal");
        }

        if (end + 1 < source.Length && source[end] == '.' && char.IsAsciiDigit(source[end + 1]))
        {
            end++;
            while (end < source.Length && (char.IsAsciiLetterOrDigit(source[end]) || source[end] == '_'))
            {
                end++;
            }
        }

        return end;
    }

    private static int QuoteEnd(string source, int quote)
    {
        int end = After(source, "\"", quote + 1, "string");
        while (end < source.Length && source[end] == '"')
        {
            end = After(source, "\"", end + 1, "string");
        }

        return end;
    }

    private static VhdlToken Literal(string source, VhdlTokenKind kind, int start, int end) => new(kind, start, end - start, source[start..end]);

    // What synthesis leaves out is a comment here, too.
    private static int AfterComment(string source, int at)
    {
        int end = LineEnd(source, at);
        return source.AsSpan(at + 2, end - at - 2).Trim() is "pragma translate_off" ? After(source, "pragma translate_on", end, "part without synthesis") : end;
    }

    private static char Next(string source, int at) => at + 1 < source.Length ? source[at + 1] : '\0';

    private static int LineEnd(string source, int at)
    {
        int end = source.IndexOf('\n', at);
        return end < 0 ? source.Length : end;
    }

    private static int After(string source, string what, int from, string name)
    {
        int found = source.IndexOf(what, from, StringComparison.Ordinal);
        return found < 0 ? throw new FormatException($"a {name} before character {from} has no end") : found + what.Length;
    }
}
