// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Regression.Vhdl;

/// <summary>Lexical elements of VHDL (IEEE 1076-2008, 15.3); comments and white space are none.</summary>
internal enum VhdlTokenKind
{
    /// <summary>A name, extended names included.</summary>
    Identifier,

    /// <summary>A reserved word.</summary>
    Keyword,

    /// <summary>A decimal or based literal.</summary>
    Number,

    /// <summary>A character literal.</summary>
    Character,

    /// <summary>A string literal.</summary>
    Text,

    /// <summary>A bit string literal.</summary>
    BitText,

    /// <summary>Everything else.</summary>
    Delimiter,
}

/// <summary>One lexical element and its place.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Start">Index of its first character in the source.</param>
/// <param name="Length">Characters.</param>
/// <param name="Text">Its characters; names and reserved words in lower case, as VHDL compares them.</param>
internal sealed record VhdlToken(VhdlTokenKind Kind, int Start, int Length, string Text)
{
    /// <summary>Index of the character after it.</summary>
    public int End => Start + Length;

    public bool IsKeyword(string word) => Kind == VhdlTokenKind.Keyword && Text == word;

    public bool IsDelimiter(string text) => Kind == VhdlTokenKind.Delimiter && Text == text;
}
