// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Cosim.Regression.Vhdl;

namespace Cosim.Regression.Mutation;

/// <summary>The small changes that a mutation run makes. What does not analyse afterwards is sorted out by GHDL.</summary>
internal static class MutationOperators
{
    private static readonly Dictionary<string, string[]> s_relational = new()
    {
        ["="] = ["/="],
        ["/="] = ["="],
        ["<"] = ["<="],
        ["<="] = ["<"],
        [">"] = [">="],
        [">="] = [">"],
    };

    private static readonly Dictionary<string, string> s_logical = new() { ["and"] = "or", ["or"] = "and", ["xor"] = "or" };

    private static readonly string[] s_always = ["true", "false"];
    private static readonly string[] s_values = ["'0'", "'1'", "(others => '0')"];
    private static readonly string[] s_signs = ["+", "-"];

    private static readonly (string Name, Func<string, VhdlOutline, IEnumerable<Mutant>> Make)[] s_operators =
    [
        ("relation", Relation), // = for /=, < for <= …
        ("logic", Logic), // and for or
        ("not", Not), // dropped
        ("condition", Condition), // negated
        ("stuck condition", StuckCondition), // always or never
        ("off by one", OffByOne), // a number
        ("slice", Slice), // moved by one
        ("literal", Literal), // a bit flipped, true for false
        ("arithmetic", Arithmetic), // + for -
        ("operands", Operands), // swapped
        ("state", State), // another literal of an enumeration
        ("dropped assignment", Dropped),
        ("missing reset", MissingReset), // an assignment of a reset branch dropped
        ("stuck value", StuckValue), // a constant assigned
        ("association", Association), // two actuals of a map swapped
    ];

    /// <summary>Names of all operators.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. s_operators.Select(o => o.Name)];

    /// <summary>Every mutant of a source.</summary>
    /// <param name="file">Name of the source.</param>
    /// <param name="source">Its text.</param>
    public static IReadOnlyList<Mutant> Apply(string file, string source)
    {
        VhdlOutline outline = VhdlOutline.Of(source);
        return [.. s_operators.SelectMany(o => o.Make(file, outline).Select(m => m with { Operator = o.Name }))
            .Where(m => !source.AsSpan(m.Start, m.Length).SequenceEqual(m.Replacement)).DistinctBy(m => (m.Start, m.Length, m.Replacement))];
    }

    private static IEnumerable<Mutant> Relation(string file, VhdlOutline outline)
        => ExpressionTokens(outline).Where(i => outline.Tokens[i].Kind == VhdlTokenKind.Delimiter && s_relational.ContainsKey(outline.Tokens[i].Text))
            .SelectMany(i => s_relational[outline.Tokens[i].Text].Select(t => Replace(file, outline.Tokens[i], t)));

    private static IEnumerable<Mutant> Logic(string file, VhdlOutline outline)
        => ExpressionTokens(outline).Where(i => outline.Tokens[i].Kind == VhdlTokenKind.Keyword && s_logical.ContainsKey(outline.Tokens[i].Text))
            .Select(i => Replace(file, outline.Tokens[i], s_logical[outline.Tokens[i].Text]));

    private static IEnumerable<Mutant> Not(string file, VhdlOutline outline)
        => ExpressionTokens(outline).Where(i => outline.Tokens[i].IsKeyword("not"))
            .Select(i => new Mutant(file, "", outline.Tokens[i].Start, outline.Tokens[i + 1].Start - outline.Tokens[i].Start, ""));

    private static IEnumerable<Mutant> Condition(string file, VhdlOutline outline)
        => outline.Conditions.Where(c => !c.IsEmpty).Select(c => Replace(file, outline, c, $"not ({TextOf(outline, c)})"));

    private static IEnumerable<Mutant> StuckCondition(string file, VhdlOutline outline)
        => outline.Conditions.Where(c => !c.IsEmpty).SelectMany(c => s_always.Select(t => Replace(file, outline, c, t + Lines(outline, c))));

    private static IEnumerable<Mutant> OffByOne(string file, VhdlOutline outline)
    {
        foreach (int i in ExpressionTokens(outline))
        {
            VhdlToken token = outline.Tokens[i];
            if (token.Kind == VhdlTokenKind.Number && Number(token.Text) is (long value, bool hexadecimal))
            {
                yield return Replace(file, token, Format(value + 1, hexadecimal));
                if (value > 0)
                {
                    yield return Replace(file, token, Format(value - 1, hexadecimal));
                }
            }
        }
    }

    private static (long Value, bool Hexadecimal)? Number(string text)
    {
        string digits = text.Replace("_", "", StringComparison.Ordinal);
        if (digits.StartsWith("16#", StringComparison.Ordinal) && digits.EndsWith('#'))
        {
            return long.TryParse(digits.AsSpan(3, digits.Length - 4), NumberStyles.AllowHexSpecifier, null, out long value) ? (value, true) : null;
        }

        return long.TryParse(digits, NumberStyles.None, null, out long number) ? (number, false) : null;
    }

    private static string Format(long value, bool hexadecimal) => hexadecimal ? $"16#{value:X4}#" : value.ToString(CultureInfo.InvariantCulture);

    private static IEnumerable<Mutant> Slice(string file, VhdlOutline outline)
    {
        foreach (int i in ExpressionTokens(outline))
        {
            if (!outline.Tokens[i].IsDelimiter("(") || i == 0 || !(outline.Tokens[i - 1].Kind == VhdlTokenKind.Identifier || outline.Tokens[i - 1].IsDelimiter(")")))
            {
                continue;
            }

            int close = outline.Closing(i);
            int[] top = [.. Top(outline, i + 1, close - 1)];
            int direction = top.FirstOrDefault(k => outline.Tokens[k].Text is "downto" or "to");
            if (direction == 0 || top.Any(k => outline.Tokens[k].Text is "," or "=>"))
            {
                continue;
            }

            VhdlRange inside = new(i + 1, close - 1);
            string left = TextOf(outline, new(i + 1, direction - 1));
            string right = TextOf(outline, new(direction + 1, close - 1));
            foreach (string by in s_signs)
            {
                yield return Replace(file, outline, inside, $"({left}){by}1 {outline.Tokens[direction].Text} ({right}){by}1");
            }
        }
    }

    // Tokens that stand in no parentheses of their own.
    private static IEnumerable<int> Top(VhdlOutline outline, int first, int last)
    {
        for (int i = first; i <= last; i = outline.Tokens[i].IsDelimiter("(") ? outline.Closing(i) + 1 : i + 1)
        {
            yield return i;
        }
    }

    private static IEnumerable<Mutant> Literal(string file, VhdlOutline outline)
    {
        foreach (int i in ExpressionTokens(outline))
        {
            VhdlToken token = outline.Tokens[i];
            switch (token.Kind)
            {
                case VhdlTokenKind.Character when token.Text is "'0'" or "'1'":
                    yield return Replace(file, token, token.Text == "'0'" ? "'1'" : "'0'");
                    break;
                case VhdlTokenKind.Identifier when token.Text is "true" or "false":
                    yield return Replace(file, token, token.Text == "true" ? "false" : "true");
                    break;
                case VhdlTokenKind.Text or VhdlTokenKind.BitText when Flip(token.Text, token.Start) is { } flipped:
                    yield return Replace(file, token, flipped);
                    break;
                default:
                    break;
            }
        }
    }

    // One digit's lowest bit; which digit depends on where the literal stands, so that all come in turn.
    private static string? Flip(string text, int at)
    {
        int first = text.IndexOf('"', StringComparison.Ordinal) + 1;
        int count = text.Length - 1 - first;
        bool hexadecimal = first > 1 && char.ToLowerInvariant(text[first - 2]) == 'x';
        if (count == 0 || text[first..^1].Any(c => hexadecimal ? !char.IsAsciiHexDigit(c) : c is not ('0' or '1')))
        {
            return null;
        }

        int digit = first + (at % count);
        int value = Convert.ToInt32(text[digit].ToString(), 16) ^ 1;
        return string.Concat(text.AsSpan(0, digit), value.ToString("X", CultureInfo.InvariantCulture), text.AsSpan(digit + 1));
    }

    private static IEnumerable<Mutant> Arithmetic(string file, VhdlOutline outline)
        => ExpressionTokens(outline).Where(i => outline.Tokens[i].Text is "+" or "-" && EndsOperand(outline.Tokens[i - 1]))
            .Select(i => Replace(file, outline.Tokens[i], outline.Tokens[i].Text == "+" ? "-" : "+"));

    private static IEnumerable<Mutant> Operands(string file, VhdlOutline outline)
    {
        foreach (int i in ExpressionTokens(outline))
        {
            VhdlToken token = outline.Tokens[i];
            bool swaps = token.Kind == VhdlTokenKind.Delimiter && token.Text is "-" or "&" or "<" or "<=" or ">" or ">=";
            if (swaps && i > 0 && EndsOperand(outline.Tokens[i - 1]))
            {
                VhdlRange left = new(OperandBefore(outline, i), i - 1);
                VhdlRange right = new(i + 1, OperandAfter(outline, i));
                if (!right.IsEmpty)
                {
                    string between = outline.Source[outline.Tokens[left.Last].End..outline.Tokens[right.First].Start];
                    yield return Replace(file, outline, new(left.First, right.Last), TextOf(outline, right) + between + TextOf(outline, left));
                }
            }
        }
    }

    private static bool EndsOperand(VhdlToken token)
        => token.Kind is VhdlTokenKind.Identifier or VhdlTokenKind.Number or VhdlTokenKind.Character or VhdlTokenKind.Text or VhdlTokenKind.BitText || token.IsDelimiter(")");

    // First token of the name, call or literal before a token.
    private static int OperandBefore(VhdlOutline outline, int index)
    {
        int at = index - 1;
        while (true)
        {
            if (outline.Tokens[at].IsDelimiter(")"))
            {
                for (int depth = 0; ;)
                {
                    depth += outline.Tokens[at].IsDelimiter(")") ? 1 : outline.Tokens[at].IsDelimiter("(") ? -1 : 0;
                    if (depth == 0)
                    {
                        break;
                    }

                    at--;
                }
            }

            VhdlToken before = outline.Tokens[at - 1];
            bool name = before.Kind == VhdlTokenKind.Identifier && outline.Tokens[at].IsDelimiter("(");
            if (name || (outline.Tokens[at].IsDelimiter("(") && before.IsDelimiter(")")))
            {
                at--;
            }
            else if (before.Text is "." or "'")
            {
                at -= 2;
            }
            else
            {
                return at;
            }
        }
    }

    private static int OperandAfter(VhdlOutline outline, int index)
    {
        int at = index + 1;
        if (outline.Tokens[at].IsDelimiter("("))
        {
            return outline.Closing(at);
        }

        if (!EndsOperand(outline.Tokens[at]))
        {
            return index;
        }

        while (true)
        {
            if (outline.Tokens[at + 1].IsDelimiter("("))
            {
                at = outline.Closing(at + 1);
            }
            else if (outline.Tokens[at + 1].Text is "." or "'")
            {
                at += 2;
            }
            else
            {
                return at;
            }
        }
    }

    private static IEnumerable<Mutant> State(string file, VhdlOutline outline)
    {
        foreach (int i in ExpressionTokens(outline))
        {
            VhdlToken token = outline.Tokens[i];
            IReadOnlyList<string>? type = token.Kind == VhdlTokenKind.Identifier ? outline.Enumerations.FirstOrDefault(e => e.Contains(token.Text)) : null;
            if (type is { Count: > 1 })
            {
                int at = type.Index().First(e => e.Item == token.Text).Index;
                yield return Replace(file, token, type[(at + 1) % type.Count]);
                if (type.Count > 2)
                {
                    yield return Replace(file, token, type[(at + type.Count - 1) % type.Count]);
                }
            }
        }
    }

    private static IEnumerable<Mutant> Dropped(string file, VhdlOutline outline)
        => outline.Assignments.Where(a => a is { Sequential: true, InReset: false }).Select(a => Replace(file, outline, a.Whole, "null" + Lines(outline, a.Whole)));

    private static IEnumerable<Mutant> MissingReset(string file, VhdlOutline outline)
        => outline.Assignments.Where(a => a.InReset).Select(a => Replace(file, outline, a.Whole, "null" + Lines(outline, a.Whole)));

    private static IEnumerable<Mutant> StuckValue(string file, VhdlOutline outline)
        => outline.Assignments.Where(a => a.Value.Last > a.Value.First && !TextOf(outline, a.Value).StartsWith("(others", StringComparison.Ordinal))
            .SelectMany(a => s_values.Select(t => Replace(file, outline, a.Value, t + Lines(outline, a.Value))));

    private static IEnumerable<Mutant> Association(string file, VhdlOutline outline)
    {
        foreach (VhdlRange map in outline.Maps)
        {
            List<(VhdlRange Formal, VhdlRange Actual)> elements = [];
            for (int first = map.First; first <= map.Last;)
            {
                int arrow = first;
                while (arrow <= map.Last && !outline.Tokens[arrow].IsDelimiter("=>"))
                {
                    arrow++;
                }

                int last = arrow;
                while (last <= map.Last && !outline.Tokens[last].IsDelimiter(","))
                {
                    last = outline.Tokens[last].IsDelimiter("(") ? outline.Closing(last) + 1 : last + 1;
                }

                if (arrow > map.Last)
                {
                    break;
                }

                elements.Add((new(first, arrow - 1), new(arrow + 1, last - 1)));
                first = last + 1;
            }

            foreach ((var a, var b) in elements.Zip(elements.Skip(1)))
            {
                string between = outline.Source[outline.Tokens[a.Actual.Last].End..outline.Tokens[b.Actual.First].Start];
                yield return Replace(file, outline, new(a.Actual.First, b.Actual.Last), TextOf(outline, b.Actual) + between + TextOf(outline, a.Actual));
            }
        }
    }

    private static IEnumerable<int> ExpressionTokens(VhdlOutline outline)
        => outline.Expressions.SelectMany(e => Enumerable.Range(e.First, e.Last - e.First + 1)).Distinct();

    private static string TextOf(VhdlOutline outline, VhdlRange range)
        => outline.Source[outline.Tokens[range.First].Start..outline.Tokens[range.Last].End];

    // Line ends that a replacement has to keep.
    private static string Lines(VhdlOutline outline, VhdlRange range) => new('\n', TextOf(outline, range).Count(c => c == '\n'));

    private static Mutant Replace(string file, VhdlToken token, string text) => new(file, "", token.Start, token.Length, text);

    private static Mutant Replace(string file, VhdlOutline outline, VhdlRange range, string text)
    {
        int start = outline.Tokens[range.First].Start;
        return new(file, "", start, outline.Tokens[range.Last].End - start, text);
    }
}
