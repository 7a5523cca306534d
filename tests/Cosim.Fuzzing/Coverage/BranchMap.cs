// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Fuzzing.Coverage;

/// <summary>Where instrumented parsers say which way their branches went.</summary>
public static class BranchMap
{
    /// <summary>Most branches of all parsers together.</summary>
    public const int Most = 1 << 15;

    private static readonly bool[] s_seen = new bool[Most];

    /// <summary>Whether a way was gone that had not been gone since <see cref="Forget"/>; set back by whoever looks.</summary>
    public static bool HasNews { get; set; }

    /// <summary>Called by instrumented code.</summary>
    public static void Hit(int number)
    {
        if (!s_seen[number])
        {
            s_seen[number] = true;
            HasNews = true;
        }
    }

    public static bool IsSeen(int number) => s_seen[number];

    /// <summary>All ways gone since <see cref="Forget"/>.</summary>
    public static bool[] Snapshot() => [.. s_seen];

    /// <summary>Puts an earlier snapshot in the place of what was seen.</summary>
    public static void Restore(bool[] snapshot) => snapshot.CopyTo(s_seen, 0);

    public static void Forget() => s_seen.AsSpan().Clear();
}
