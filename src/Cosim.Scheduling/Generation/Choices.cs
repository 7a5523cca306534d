// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Scheduling.Generation;

/// <summary>
/// Where everything random comes from: numbers drawn one after the other, each below a bound, 0 being the simplest choice. What was
/// drawn is kept, and drawn again from what was kept; a sequence that was cut goes on with zeros.
/// </summary>
/// <remarks>Shrinking works on the sequence alone, so that whatever is made of it is legal by construction.</remarks>
internal sealed class Choices
{
    private const uint Of = 256;

    private readonly IReadOnlyList<uint>? _given;
    private readonly List<uint> _made = [];
    private ulong _state;

    private Choices(IReadOnlyList<uint>? given, ulong seed)
    {
        _given = given;
        _state = seed;
    }

    /// <summary>What has been drawn.</summary>
    public IReadOnlyList<uint> Made => _made;

    /// <summary>Draws at random.</summary>
    public static Choices FromSeed(ulong seed) => new(null, seed);

    /// <summary>Draws what is given, then zeros.</summary>
    public static Choices Replay(IReadOnlyList<uint> given) => new(given, 0);

    /// <summary>A number from 0 to <paramref name="bound"/> - 1.</summary>
    public int Below(int bound)
    {
        uint value = _given is null
            ? (uint)(Mix.Next(ref _state) % (uint)bound)
            : _made.Count < _given.Count ? Math.Min(_given[_made.Count], (uint)bound - 1) : 0;
        _made.Add(value);
        return (int)value;
    }

    /// <summary>A number from <paramref name="low"/> to <paramref name="high"/>, the low one being the simplest.</summary>
    public int Between(int low, int high) => low + Below(high - low + 1);

    /// <summary>True in <paramref name="share"/> of 256 cases.</summary>
    public bool Chance(int share) => Below((int)Of) >= Of - share;

    /// <summary>One of the values, the first being the simplest.</summary>
    public T Pick<T>(params ReadOnlySpan<T> values) => values[Below(values.Length)];
}
