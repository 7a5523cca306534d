// SPDX-License-Identifier: Apache-2.0
using System.Text;
using Cosim.Regression.Vhdl;

namespace Cosim.Regression.Mutation;

/// <summary>
/// Which mutants of a design are tried: shares of the files by the size of their code, all operators in turn, the places by
/// chance. The same seed and sources give the same mutants; a change of one source leaves those of the others.
/// </summary>
internal static class MutantSelection
{
    private const int LeastOfFile = 3;
    private const int MostOfLine = 2;

    /// <summary>How many mutants each file is to have.</summary>
    /// <param name="sources">Names and texts.</param>
    /// <param name="count">Mutants in all, about.</param>
    public static IReadOnlyDictionary<string, int> Shares(IReadOnlyList<(string Name, string Text)> sources, int count)
    {
        Dictionary<string, int> sizes = sources.ToDictionary(s => s.Name, s => Size(s.Text));
        double all = Math.Max(1, sizes.Values.Sum());
        return sizes.ToDictionary(s => s.Key, s => Math.Max(LeastOfFile, (int)Math.Round(count * s.Value / all)));
    }

    /// <summary>The mutants of a file in the order in which they are tried, until enough of them analyse.</summary>
    /// <param name="name">Name of the source.</param>
    /// <param name="text">Its text.</param>
    /// <param name="seed">Any number.</param>
    public static IEnumerable<Mutant> Order(string name, string text, ulong seed)
    {
        Dictionary<string, Queue<Mutant>> operators = MutationOperators.Apply(name, text)
            .GroupBy(m => m.Operator).ToDictionary(g => g.Key, g => new Queue<Mutant>(g.OrderBy(m => Hash($"{seed} {m.Id(text)}"))));
        string[] turns = [.. operators.Keys.OrderBy(o => Hash($"{seed} {name} {o}"))];
        Dictionary<int, int> onLine = [];
        while (operators.Values.Any(q => q.Count > 0))
        {
            foreach (string turn in turns)
            {
                while (operators[turn].TryDequeue(out Mutant? mutant))
                {
                    int line = mutant.Line(text);
                    int before = onLine.GetValueOrDefault(line);
                    if (before < MostOfLine)
                    {
                        onLine[line] = before + 1;
                        yield return mutant;
                        break;
                    }
                }
            }
        }
    }

    // What can be changed, in tokens.
    private static int Size(string text)
        => VhdlOutline.Of(text).Expressions.SelectMany(e => Enumerable.Range(e.First, e.Last - e.First + 1)).Distinct().Count();

    // FNV-1a and a final mix: the same on every machine.
    private static ulong Hash(string text)
    {
        ulong hash = 14695981039346656037;
        foreach (byte b in Encoding.UTF8.GetBytes(text))
        {
            hash = (hash ^ b) * 1099511628211;
        }

        hash ^= hash >> 33;
        hash *= 0xFF51AFD7ED558CCD;
        return hash ^ (hash >> 33);
    }
}
