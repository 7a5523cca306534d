// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms;

/// <summary>Chooses what goes into a canonical waveform by what a file has, for files whose signals are not listed one by one.</summary>
public sealed record SignalQuery
{
    // In the order of preference; the names of clocks that designs have most.
    private static readonly string[] s_clocks = ["clk", "clk_i", "clock", "i_clk", "clk_in", "aclk", "sys_clk", "sysclk", "clk0", "clock_i", "hclk", "pclk", "ck"];

    /// <summary>Scope that all names are relative to; null: the outermost scope with the clock.</summary>
    public string? Top { get; init; }

    /// <summary>Name of the clock below the top; null: the only signal there with a usual name of a clock.</summary>
    public string? Clock { get; init; }

    /// <summary>Reset, active high, below the top; null: there is none.</summary>
    public string? Reset { get; init; }

    /// <summary>Which signals, by their names below the top.</summary>
    public SignalFilter Signals { get; init; } = SignalFilter.All;

    /// <summary>First cycle that is listed.</summary>
    public ulong From { get; init; }

    /// <summary>The cycle that the form ends before, if the file goes on so long.</summary>
    public ulong To { get; init; } = ulong.MaxValue;

    /// <summary>Chooses among the variables of a file. Signals come by scope and name, however the file has them.</summary>
    /// <exception cref="WaveformException">The file has no such scope, clock or signals.</exception>
    public SignalChoice Resolve(VcdReader reader)
    {
        VcdVariable clock = FindClock(reader.Variables, out string top);
        string prefix = top.Length > 0 ? top + "." : "";
        List<VcdVariable> chosen = [];
        List<VcdVariable> leftOut = [];
        HashSet<string> names = new(StringComparer.Ordinal);
        foreach (VcdVariable variable in reader.Variables)
        {
            if (!variable.Path.StartsWith(prefix, StringComparison.Ordinal) || variable.Path == clock.Path || !Signals.Matches(variable.Path[prefix.Length..]))
            {
                continue;
            }

            (variable.Kind == VcdValueKind.Bits && names.Add(variable.Path) ? chosen : leftOut).Add(variable);
        }

        if (chosen.Count == 0)
        {
            throw new WaveformException(0, $"the waveform has no other signal than the clock {clock.Path} that was asked for.");
        }

        static string Scope(VcdVariable variable) => variable.Path[..Math.Max(0, variable.Path.LastIndexOf('.'))];
        chosen.Sort((a, b) => string.CompareOrdinal(Scope(a), Scope(b)) is var scopes and not 0 ? scopes : string.CompareOrdinal(a.Path, b.Path));
        WaveSelection selection = new()
        {
            Top = top,
            Clock = clock.Path[prefix.Length..],
            Reset = Reset?.ToLowerInvariant(),
            Signals = [.. chosen.Select(v => new WaveSignal(v.Path[prefix.Length..]))],
            From = From,
            To = To,
        };
        return new SignalChoice(selection, [clock, .. chosen], leftOut);
    }

    private VcdVariable FindClock(IReadOnlyList<VcdVariable> variables, out string top)
    {
        string? scope = Top?.ToLowerInvariant();
        if (scope is not null)
        {
            scope = Enclosing(variables, scope) ?? throw new WaveformException(0, $"the waveform has no scope {Top} with signals; it has {Scopes(variables)}.");
        }

        string[] names = Clock is null ? s_clocks : [Clock.ToLowerInvariant()];
        foreach (string name in names)
        {
            // Of several scopes the outermost counts; of several of those the first in the file.
            VcdVariable? clock = variables.Where(v => v is { Width: 1, Kind: VcdValueKind.Bits } && (scope is null
                    ? v.Path == name || v.Path.EndsWith("." + name, StringComparison.Ordinal)
                    : v.Path == (scope.Length > 0 ? $"{scope}.{name}" : name)))
                .MinBy(v => v.Path.Count(c => c == '.'));
            if (clock is not null)
            {
                top = scope ?? clock.Path[..Math.Max(0, clock.Path.Length - name.Length - 1)];
                return clock;
            }
        }

        string where = scope is null ? "the waveform" : $"scope {scope}";
        string[] bits = [.. variables.Where(v => v is { Width: 1, Kind: VcdValueKind.Bits } && (scope is null || v.Path.StartsWith(scope, StringComparison.Ordinal))).Select(v => v.Path).Take(8)];
        throw new WaveformException(0, $"{where} has no {(Clock is null ? $"signal with a name as clocks have ({string.Join(", ", s_clocks)}); say which is the clock" : $"clock {Clock}")}{(bits.Length > 0 ? $"; signals of one bit: {string.Join(", ", bits)}" : "")}.");
    }

    /// <summary>The whole path of a scope that is given from any place in the hierarchy on.</summary>
    private static string? Enclosing(IReadOnlyList<VcdVariable> variables, string scope)
    {
        foreach (VcdVariable variable in variables)
        {
            string padded = "." + variable.Path;
            int at = padded.IndexOf($".{scope}.", StringComparison.Ordinal);
            if (at >= 0)
            {
                return variable.Path[..(at + scope.Length)];
            }
        }

        return null;
    }

    private static string Scopes(IReadOnlyList<VcdVariable> variables)
        => string.Join(", ", variables.Select(v => v.Path[..Math.Max(0, v.Path.LastIndexOf('.'))]).Distinct(StringComparer.Ordinal).Take(8));
}

/// <summary>What a <see cref="SignalQuery"/> has chosen.</summary>
/// <param name="Selection">What goes into the canonical form.</param>
/// <param name="Variables">The clock and the signals as the file declares them.</param>
/// <param name="LeftOut">What was asked for and is not to be had: reals, texts, and the second of two equal names.</param>
public sealed record SignalChoice(WaveSelection Selection, IReadOnlyList<VcdVariable> Variables, IReadOnlyList<VcdVariable> LeftOut);
