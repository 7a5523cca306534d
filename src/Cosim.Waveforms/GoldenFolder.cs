// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms;

/// <summary>A text that a test has received beside the one that is kept.</summary>
/// <param name="VerifiedPath">Path of what is kept; it need not be there yet.</param>
/// <param name="ReceivedPath">Path of what was received.</param>
public sealed record GoldenPair(string VerifiedPath, string ReceivedPath)
{
    /// <summary>The first difference, or null where there is none.</summary>
    /// <exception cref="WaveformException">They begin as canonical waveforms, but are none.</exception>
    public string? Difference() => !File.Exists(VerifiedPath)
        ? "nothing is kept yet"
        : GoldenFile.Difference(File.ReadAllText(VerifiedPath).ReplaceLineEndings("\n"), File.ReadAllText(ReceivedPath).ReplaceLineEndings("\n"));
}

/// <summary>Golden files (<see cref="GoldenFile"/>) of whole folders.</summary>
public static class GoldenFolder
{
    private static readonly EnumerationOptions s_everywhere = new() { RecurseSubdirectories = true, MatchCasing = MatchCasing.CaseSensitive };

    /// <summary>Finds what was received and not accepted.</summary>
    /// <param name="paths">Folders, which are searched with all below them but for <c>bin</c>, <c>obj</c> and hidden ones; or files, verified or received.</param>
    /// <returns>Pairs in order of their paths.</returns>
    /// <exception cref="FileNotFoundException">A path is neither a folder nor one of a golden file.</exception>
    public static IReadOnlyList<GoldenPair> Received(IEnumerable<string> paths)
    {
        SortedSet<string> stems = new(StringComparer.Ordinal);
        foreach (string path in paths)
        {
            if (Directory.Exists(path))
            {
                stems.UnionWith(Directory.EnumerateFiles(path, "*" + GoldenFile.ReceivedEnding, s_everywhere)
                    .Where(f => !Path.GetRelativePath(path, f).Split('/').SkipLast(1).Any(p => p is "bin" or "obj"))
                    .Select(f => f[..^GoldenFile.ReceivedEnding.Length]));
                continue;
            }

            string? ending = new[] { GoldenFile.VerifiedEnding, GoldenFile.ReceivedEnding }.FirstOrDefault(e => path.EndsWith(e, StringComparison.Ordinal));
            string stem = ending is null ? path : path[..^ending.Length];
            if (ending is null || !(File.Exists(stem + GoldenFile.VerifiedEnding) || File.Exists(stem + GoldenFile.ReceivedEnding)))
            {
                throw new FileNotFoundException($"{path} is neither a folder nor a golden file; expected a file that ends with {GoldenFile.VerifiedEnding} or {GoldenFile.ReceivedEnding}.");
            }

            if (File.Exists(stem + GoldenFile.ReceivedEnding))
            {
                stems.Add(stem);
            }
        }

        return [.. stems.Select(s => new GoldenPair(s + GoldenFile.VerifiedEnding, s + GoldenFile.ReceivedEnding))];
    }

    /// <summary>Makes what was received what is kept.</summary>
    /// <param name="pairs">What to accept.</param>
    /// <param name="environment">Reads an environment variable; null: the process's own.</param>
    /// <exception cref="GoldenMismatchException">This is CI.</exception>
    public static void Accept(IEnumerable<GoldenPair> pairs, Func<string, string?>? environment = null)
    {
        if (GoldenFile.InCi(environment))
        {
            throw new GoldenMismatchException("the variable CI is set, and nothing is accepted in CI; accept where the change is made, and commit it.");
        }

        foreach (GoldenPair pair in pairs)
        {
            File.Move(pair.ReceivedPath, pair.VerifiedPath, overwrite: true);
            File.Delete(pair.ReceivedPath[..^GoldenFile.ReceivedEnding.Length] + GoldenFile.PictureEnding);
        }
    }
}
