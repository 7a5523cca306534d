// SPDX-License-Identifier: Apache-2.0
using System.Text.RegularExpressions;

namespace Cosim.Waveforms;

/// <summary>The enumeration types of a VHDL design: which signal has which literals.</summary>
/// <remarks>
/// Read from the sources, since simulators show a literal's position or its name in other letters. Known are types declared in
/// architectures and packages, signals declared in architectures, and instances of entities; not generics or configurations.
/// </remarks>
public sealed partial class VhdlEnumerations
{
    private readonly Dictionary<string, string[]> types = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> signals = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> instances = new(StringComparer.Ordinal);

    /// <summary>Reads the sources of a design.</summary>
    /// <param name="sources">Texts of its VHDL files.</param>
    public VhdlEnumerations(IEnumerable<string> sources)
    {
        foreach (string source in sources)
        {
            string text = Comment().Replace(source, "");
            MatchCollection architectures = Architecture().Matches(text);
            Read("", text[..(architectures.Count > 0 ? architectures[0].Index : text.Length)]);
            for (int i = 0; i < architectures.Count; i++)
            {
                int end = i + 1 < architectures.Count ? architectures[i + 1].Index : text.Length;
                Read(Name(architectures[i]), text[architectures[i].Index..end]);
            }
        }
    }

    /// <summary>The literals of a signal's type in their order and spelling, or null where it has no known enumeration type.</summary>
    /// <param name="top">Entity that the path begins below.</param>
    /// <param name="path">Hierarchical name, as <see cref="SignalPath"/> writes it.</param>
    public IReadOnlyList<string>? Find(string top, string path)
    {
        string entity = top.ToLowerInvariant();
        string[] parts = path.ToLowerInvariant().Split('.');
        foreach (string part in parts[..^1])
        {
            // A generate statement's scope, or its label before the instance's.
            string label = part;
            while (!instances.ContainsKey($"{entity}.{label}") && label.IndexOf('_', StringComparison.Ordinal) is >= 0 and var cut)
            {
                label = label[(cut + 1)..];
            }

            entity = instances.GetValueOrDefault($"{entity}.{label}", entity);
        }

        return signals.TryGetValue($"{entity}.{parts[^1]}", out string? type)
            ? types.GetValueOrDefault($"{entity}.{type}") ?? types.GetValueOrDefault($".{type}")
            : null;
    }

    private static string Name(Match match) => match.Groups[1].Value.ToLowerInvariant();

    private void Read(string entity, string text)
    {
        foreach (Match match in Enumeration().Matches(text))
        {
            types[$"{entity}.{Name(match)}"] = [.. match.Groups[2].Value.Split(',').Select(l => l.Trim())];
        }

        foreach (Match match in Signal().Matches(text))
        {
            foreach (string name in match.Groups[1].Value.Split(','))
            {
                signals[$"{entity}.{name.Trim().ToLowerInvariant()}"] = match.Groups[2].Value.ToLowerInvariant();
            }
        }

        foreach (Match match in Instance().Matches(text))
        {
            instances[$"{entity}.{Name(match)}"] = match.Groups[2].Value.ToLowerInvariant();
        }
    }

    [GeneratedRegex("--.*")]
    private static partial Regex Comment();

    [GeneratedRegex(@"\barchitecture\s+\w+\s+of\s+(\w+)\s+is\b", RegexOptions.IgnoreCase)]
    private static partial Regex Architecture();

    [GeneratedRegex(@"\btype\s+(\w+)\s+is\s*\(([\w\s,]*)\)\s*;", RegexOptions.IgnoreCase)]
    private static partial Regex Enumeration();

    [GeneratedRegex(@"\bsignal\s+(\w+(?:\s*,\s*\w+)*)\s*:\s*(\w+)\s*(?:;|:=)", RegexOptions.IgnoreCase)]
    private static partial Regex Signal();

    [GeneratedRegex(@"\b(\w+)\s*:\s*entity\s+\w+\.(\w+)", RegexOptions.IgnoreCase)]
    private static partial Regex Instance();
}
