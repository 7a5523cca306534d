// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Fuzzing;

/// <summary>Random numbers that a seed repeats (splitmix64).</summary>
public sealed class FuzzRandom(ulong seed)
{
    private ulong _state = seed;

    public ulong Next()
    {
        ulong z = _state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }

    /// <summary>0 to <paramref name="bound"/> - 1; the bound is at least 1.</summary>
    public int Below(int bound) => (int)(((Next() >> 32) * (ulong)bound) >> 32);

    /// <summary>Both ends included.</summary>
    public int Between(int low, int high) => low + Below(high - low + 1);

    /// <summary>True once in so many times.</summary>
    public bool OneIn(int times) => Below(times) == 0;

    public T Pick<T>(params ReadOnlySpan<T> values) => values[Below(values.Length)];

    /// <summary>A number where parsers go wrong: powers of two and what is beside them, ends of ranges, small ones, any.</summary>
    public ulong Boundary()
    {
        ulong value = Below(8) switch
        {
            0 => 0,
            1 => ulong.MaxValue,
            2 or 3 => 1UL << Below(64),
            4 => (1UL << Below(64)) - 1,
            5 => (1UL << Below(64)) + 1,
            6 => (ulong)Below(300),
            _ => Next() >> Below(64),
        };
        return value;
    }
}
