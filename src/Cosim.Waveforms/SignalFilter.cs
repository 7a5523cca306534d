// SPDX-License-Identifier: Apache-2.0
using System.IO.Enumeration;

namespace Cosim.Waveforms;

/// <summary>Chooses signals by their hierarchical names.</summary>
/// <remarks>
/// In a pattern <c>*</c> stands for any characters, points too, and <c>?</c> for one; case does not matter. A pattern that begins
/// with <c>!</c> leaves out what it matches. A signal is chosen when a pattern without <c>!</c> matches it, or there is none such,
/// and no pattern with <c>!</c> does.
/// </remarks>
public sealed class SignalFilter
{
    private readonly string[] wanted;
    private readonly string[] unwanted;

    /// <summary>Makes a filter.</summary>
    /// <param name="patterns">Patterns; several may stand in one text with commas between. None: every signal.</param>
    public SignalFilter(params IEnumerable<string> patterns)
    {
        string[] all = [.. patterns.SelectMany(p => p.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))];
        wanted = [.. all.Where(p => p[0] != '!')];
        unwanted = [.. all.Where(p => p[0] == '!').Select(p => p[1..])];
    }

    /// <summary>Chooses every signal.</summary>
    public static SignalFilter All { get; } = new();

    /// <summary>Whether a signal is chosen.</summary>
    public bool Matches(string path)
        => (wanted.Length == 0 || wanted.Any(p => FileSystemName.MatchesSimpleExpression(p, path)))
            && !unwanted.Any(p => FileSystemName.MatchesSimpleExpression(p, path));
}
