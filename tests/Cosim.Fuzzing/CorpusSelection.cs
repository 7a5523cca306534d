// SPDX-License-Identifier: Apache-2.0
using Cosim.Fuzzing.Coverage;

namespace Cosim.Fuzzing;

/// <summary>Chooses few and small inputs that together go all the ways that many went.</summary>
internal static class CorpusSelection
{
    /// <summary>The chosen inputs.</summary>
    /// <param name="fuzzer">Runs them.</param>
    /// <param name="inputs">What is chosen from.</param>
    /// <param name="branches">Numbers of the branches that count.</param>
    /// <param name="most">Greatest number of inputs.</param>
    public static List<byte[]> Choose(Fuzzer fuzzer, IReadOnlyList<byte[]> inputs, IReadOnlyList<int> branches, int most)
    {
        bool[] before = BranchMap.Snapshot();
        List<(byte[] Input, HashSet<int> Ways)> all = [.. inputs.DistinctBy(Corpus.NameOfArray).Select(i => (i, Ways(fuzzer, i, branches)))];
        HashSet<int> left = [.. all.SelectMany(a => a.Ways)];
        List<byte[]> chosen = [];
        while (left.Count > 0 && chosen.Count < most)
        {
            (byte[] input, HashSet<int> ways) = all.MaxBy(a => (a.Ways.Count(left.Contains), -a.Input.Length));
            HashSet<int> wanted = [.. ways.Where(left.Contains)];
            byte[] small = Minimiser.Minimise(input, candidate => fuzzer.Try(candidate) is null && wanted.IsSubsetOf(Ways(fuzzer, candidate, branches)));
            left.ExceptWith(Ways(fuzzer, small, branches));
            chosen.Add(small);
        }

        BranchMap.Restore(before);
        BranchMap.HasNews = false;
        return chosen;
    }

    private static HashSet<int> Ways(Fuzzer fuzzer, byte[] input, IReadOnlyList<int> branches)
    {
        BranchMap.Forget();
        _ = fuzzer.Try(input);
        return [.. branches.Where(BranchMap.IsSeen)];
    }
}
