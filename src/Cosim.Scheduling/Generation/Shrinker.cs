// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Scheduling.Generation;

/// <summary>Makes a sequence of choices that fails smaller: shorter, and then closer to zero, as long as it still fails.</summary>
internal sealed class Shrinker(Func<IReadOnlyList<uint>, (bool Fails, IReadOnlyList<uint> Made)> attempt, int mostAttempts)
{
    private uint[] _best = [];

    /// <summary>Attempts made.</summary>
    public int Attempts { get; private set; }

    /// <summary>Shrinks a sequence that fails.</summary>
    public IReadOnlyList<uint> Shrink(IReadOnlyList<uint> failing)
    {
        _best = Trim(failing);
        bool better = true;
        while (better && Attempts < mostAttempts)
        {
            better = Truncate() | DeleteChunks() | ZeroChunks() | LowerValues();
        }

        return _best;
    }

    private static uint[] Trim(IReadOnlyList<uint> choices)
    {
        int length = choices.Count;
        while (length > 0 && choices[length - 1] == 0)
        {
            length--;
        }

        return [.. choices.Take(length)];
    }

    private static bool IsSmaller(uint[] one, uint[] other) =>
        one.Length != other.Length ? one.Length < other.Length : one.AsSpan().SequenceCompareTo(other) < 0;

    private bool Try(IReadOnlyList<uint> candidate)
    {
        uint[] trimmed = Trim(candidate);
        if (Attempts >= mostAttempts || !IsSmaller(trimmed, _best))
        {
            return false;
        }

        Attempts++;
        (bool fails, IReadOnlyList<uint> made) = attempt(trimmed);
        if (!fails)
        {
            return false;
        }

        // What was drawn is what counts: bounds may have cut a value, and what nobody drew is of no meaning.
        uint[] drawn = Trim(made);
        _best = IsSmaller(drawn, trimmed) ? drawn : trimmed;
        return true;
    }

    private bool Truncate()
    {
        bool better = false;
        for (int keep = 0; keep < _best.Length; keep = Math.Max(keep + 1, (_best.Length + keep) / 2))
        {
            better |= Try([.. _best.Take(keep)]);
        }

        return better;
    }

    private bool DeleteChunks() => Chunks((start, size) => [.. _best.Take(start), .. _best.Skip(start + size)]);

    private bool ZeroChunks() => Chunks((start, size) => _best.AsSpan(start, Math.Min(size, _best.Length - start)).ContainsAnyExcept(0u)
        ? [.. _best.Take(start), .. new uint[Math.Min(size, _best.Length - start)], .. _best.Skip(start + size)]
        : _best);

    private bool Chunks(Func<int, int, uint[]> change)
    {
        bool better = false;
        for (int size = 64; size >= 1; size /= 2)
        {
            for (int start = 0; start < _best.Length && Attempts < mostAttempts;)
            {
                if (Try(change(start, size)))
                {
                    better = true;
                }
                else
                {
                    start += size;
                }
            }
        }

        return better;
    }

    private bool LowerValues()
    {
        bool better = false;
        for (int i = 0; i < _best.Length && Attempts < mostAttempts; i++)
        {
            while (i < _best.Length && _best[i] > 1 && Try([.. _best.Take(i), _best[i] / 2, .. _best.Skip(i + 1)]))
            {
                better = true;
            }
        }

        return better;
    }
}
