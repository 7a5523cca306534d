// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Regression.Vhdl;

/// <summary>Tokens from <paramref name="First"/> to <paramref name="Last"/>, both included.</summary>
internal readonly record struct VhdlRange(int First, int Last)
{
    public bool IsEmpty => Last < First;
}

/// <summary>A signal or variable assignment.</summary>
/// <param name="Whole">Target to the last token before the semicolon.</param>
/// <param name="Value">What is assigned.</param>
/// <param name="Sequential">It stands in a process or a subprogram.</param>
/// <param name="InReset">It stands in a branch that is taken while the reset is active.</param>
internal sealed record VhdlAssignment(VhdlRange Whole, VhdlRange Value, bool Sequential, bool InReset);

/// <summary>
/// What of a source is hardware, as far as statements go: expressions, conditions, assignments. Types, ports, assertions,
/// reports, properties, use clauses and labels are in none of them.
/// </summary>
internal sealed class VhdlOutline
{
    /// <summary>End of the names of entities that assert rules and are no hardware.</summary>
    public const string Rules = "_assert";

    private const string Reset = "rst_i";

    private readonly List<VhdlRange> _expressions = [];
    private readonly List<VhdlRange> _conditions = [];
    private readonly List<VhdlAssignment> _assignments = [];
    private readonly List<VhdlRange> _maps = [];
    private readonly List<IReadOnlyList<string>> _enumerations = [];
    private readonly Stack<Scope> _scopes = new();
    private readonly Stack<bool> _branches = new(); // of each open `if`: the reset is active in this branch
    private int _at;

    private VhdlOutline(string source)
    {
        Source = source;
        Tokens = VhdlTokenizer.Read(source);
        while (_at < Tokens.Count)
        {
            Statement();
        }
    }

    private enum ScopeKind
    {
        Other,
        Sequential,
    }

    public string Source { get; }

    public IReadOnlyList<VhdlToken> Tokens { get; }

    /// <summary>Everything that is computed, conditions included; targets of assignments for their indices.</summary>
    public IReadOnlyList<VhdlRange> Expressions => _expressions;

    /// <summary>Conditions of branches, loops, generates and conditional assignments.</summary>
    public IReadOnlyList<VhdlRange> Conditions => _conditions;

    public IReadOnlyList<VhdlAssignment> Assignments => _assignments;

    /// <summary>Generic and port maps, without the parentheses around them.</summary>
    public IReadOnlyList<VhdlRange> Maps => _maps;

    /// <summary>Literals of each enumeration type, in order.</summary>
    public IReadOnlyList<IReadOnlyList<string>> Enumerations => _enumerations;

    /// <summary>The outline of a source.</summary>
    public static VhdlOutline Of(string source) => new(source);

    /// <summary>Index of the parenthesis that closes the one at <paramref name="open"/>.</summary>
    public int Closing(int open)
    {
        int depth = 0;
        for (int i = open; i < Tokens.Count; i++)
        {
            depth += Tokens[i].IsDelimiter("(") ? 1 : Tokens[i].IsDelimiter(")") ? -1 : 0;
            if (depth == 0)
            {
                return i;
            }
        }

        return Tokens.Count - 1;
    }

    private bool Is(int index, string text)
        => index < Tokens.Count && Tokens[index].Kind is VhdlTokenKind.Keyword or VhdlTokenKind.Delimiter && Tokens[index].Text == text;

    // First token from `from` on, outside parentheses, that is one of these.
    private int Find(int from, params ReadOnlySpan<string> texts)
    {
        for (int i = from; i < Tokens.Count; i++)
        {
            if (Is(i, "("))
            {
                i = Closing(i);
            }
            else if (Tokens[i].Kind is VhdlTokenKind.Keyword or VhdlTokenKind.Delimiter && texts.Contains(Tokens[i].Text))
            {
                return i;
            }
        }

        return Tokens.Count;
    }

    private void Statement()
    {
        bool label = Tokens[_at].Kind == VhdlTokenKind.Identifier && Is(_at + 1, ":");
        if (label)
        {
            _at += 2;
        }

        if (Is(_at, "postponed"))
        {
            _at++;
        }

        string word = Tokens[_at].Kind == VhdlTokenKind.Keyword ? Tokens[_at].Text : "";
        switch (word)
        {
            case "if" or "elsif":
                Branch(word);
                break;
            case "else":
                TurnBranch(false);
                _at++;
                break;
            case "case" or "for":
                Head(Find(_at, "is", "loop", "generate"));
                break;
            case "while":
                Condition(_at + 1, Find(_at, "loop") - 1);
                _at = Find(_at, "loop") + 1;
                break;
            case "when":
                Expression(_at + 1, Find(_at, "=>") - 1);
                _at = Find(_at, "=>") + 1;
                break;
            case "begin":
                if (_scopes.TryPop(out Scope? scope))
                {
                    _scopes.Push(scope with { Begun = true });
                }

                _at++;
                break;
            case "then" or "loop" or "generate" or "is":
                _at++;
                break;
            case "end":
                End();
                break;
            case "process":
                _scopes.Push(new Scope(ScopeKind.Sequential, false));
                _at = Is(_at + 1, "(") ? Closing(_at + 1) + 1 : _at + 1;
                break;
            case "entity" or "architecture" or "package" or "block" or "component" when !label || word == "block":
                _scopes.Push(new Scope(ScopeKind.Other, false));
                _at = Find(_at, "is", ";", "begin");
                break;
            case "function" or "procedure" or "pure" or "impure":
                Subprogram();
                break;
            case "port" or "generic" or "signal" or "constant" or "variable" or "shared":
                Declaration();
                break;
            case "type":
                Type();
                break;
            case "return" or "exit" or "next":
                Leave(word);
                break;
            case "assert" or "report" or "assume" or "cover" or "restrict" or "property" or "sequence" or "default" or "library" or "use" or "subtype"
                or "attribute" or "alias" or "file" or "context" or "null" or "wait":
                _at = Find(_at, ";") + 1;
                break;
            case "with":
                Expression(_at + 1, Find(_at, "select") - 1);
                _at = Find(_at, "select") + 1;
                Assign();
                break;
            default:
                Assign();
                break;
        }
    }

    private void Branch(string word)
    {
        int end = Find(_at, "then", "generate");
        Condition(_at + 1, end - 1);
        bool reset = IsReset(_at + 1, end - 1);
        if (word == "elsif")
        {
            TurnBranch(reset);
        }
        else if (Is(end, "then"))
        {
            _branches.Push(reset);
        }

        _at = end + 1;
    }

    private void TurnBranch(bool reset)
    {
        if (_branches.TryPop(out _))
        {
            _branches.Push(reset);
        }
    }

    private bool IsReset(int first, int last)
    {
        for (int i = first; i <= last; i++)
        {
            if (Tokens[i].Text == Reset && !Is(i - 1, "not"))
            {
                return !(Is(i + 1, "=") && Tokens[i + 2].Text == "'0'");
            }
        }

        return false;
    }

    private void Head(int end)
    {
        Expression(_at + 1, end - 1);
        _at = end + 1;
    }

    private void End()
    {
        if (Is(_at + 1, "if"))
        {
            _branches.TryPop(out _);
        }
        else if (!(Is(_at + 1, "case") || Is(_at + 1, "loop") || Is(_at + 1, "generate") || Is(_at + 1, "record")))
        {
            _scopes.TryPop(out _);
        }

        _at = Find(_at, ";") + 1;
    }

    private void Subprogram()
    {
        int end = Find(_at, "is", ";");
        if (Is(end, "is") && !Is(end + 1, "new"))
        {
            _scopes.Push(new Scope(ScopeKind.Sequential, false));
        }
        else
        {
            end = Find(end, ";");
        }

        _at = end + 1;
    }

    // Only initial values are computed; at any depth, as a port clause has them inside.
    private void Declaration()
    {
        int end = Find(_at, ";");
        for (int i = _at; i < end; i++)
        {
            if (Is(i, ":="))
            {
                int last = i + 1;
                for (int depth = 0; last < end && !(depth == 0 && (Is(last, ";") || Is(last, ")"))); last++)
                {
                    depth += Is(last, "(") ? 1 : Is(last, ")") ? -1 : 0;
                }

                Expression(i + 1, last - 1);
                i = last;
            }
        }

        _at = end + 1;
    }

    private void Type()
    {
        int end = Find(_at, ";");
        if (Is(_at + 2, "is") && Is(_at + 3, "("))
        {
            _enumerations.Add([.. Tokens.Skip(_at + 4).Take(Closing(_at + 3) - _at - 4).Where(t => t.Kind == VhdlTokenKind.Identifier).Select(t => t.Text)]);
        }
        else if (Is(_at + 2, "is") && Is(_at + 3, "record"))
        {
            int close = Find(_at, "end");
            end = Find(close, ";");
        }

        _at = end + 1;
    }

    private void Leave(string word)
    {
        int end = Find(_at, ";");
        int when = Find(_at, "when", ";");
        if (word == "return")
        {
            Expression(_at + 1, end - 1);
        }
        else if (when < end)
        {
            Condition(when + 1, end - 1);
        }

        _at = end + 1;
    }

    // An assignment, or an instance or call. An instance that asserts rules is no hardware.
    private void Assign()
    {
        int start = _at;
        int end = Find(start, ";");
        if (Is(start, "entity") && Tokens[start + 3].Text.EndsWith(Rules, StringComparison.Ordinal))
        {
            _at = end + 1;
            return;
        }

        int sign = Find(start, "<=", ":=", ";");
        if (sign < end)
        {
            bool sequential = _scopes.TryPeek(out Scope? scope) && scope is { Kind: ScopeKind.Sequential, Begun: true };
            _assignments.Add(new(new(start, end - 1), new(sign + 1, end - 1), sequential, sequential && _branches.Contains(true)));
            Expression(start, sign - 1);
            Expression(sign + 1, end - 1);
            for (int when = Find(sign, "when", ";"); when < end; when = Find(when + 1, "when", ";"))
            {
                if (!Is(start - 1, "select"))
                {
                    _conditions.Add(new(when + 1, Find(when, "else", ";") - 1));
                }
            }
        }
        else
        {
            for (int i = start; i < end; i++)
            {
                if (Is(i, "map") && Is(i + 1, "("))
                {
                    _maps.Add(new(i + 2, Closing(i + 1) - 1));
                }
            }

            Expression(start, end - 1);
        }

        _at = end + 1;
    }

    private void Condition(int first, int last)
    {
        _conditions.Add(new(first, last));
        Expression(first, last);
    }

    private void Expression(int first, int last)
    {
        if (last >= first)
        {
            _expressions.Add(new(first, last));
        }
    }

    private sealed record Scope(ScopeKind Kind, bool Begun);
}
