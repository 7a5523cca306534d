// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms;

/// <summary>A packet of a stream, as the canonical form describes it.</summary>
/// <param name="Cycle">Cycle in which its last beat moves.</param>
/// <param name="Stream">Name of the stream.</param>
/// <param name="Text">Description.</param>
public sealed record WavePacket(ulong Cycle, string Stream, string Text);

/// <summary>One stream or signal of a <see cref="WaveSlice"/>.</summary>
public sealed class WaveTrack
{
    private readonly List<(ulong Cycle, string Value)> changes = [];

    internal WaveTrack(CanonicalSignal declared, WaveTrack? when)
    {
        Path = declared.Path;
        Width = declared.Width;
        Group = declared.Group;
        IsStream = declared.IsStream;
        When = when;
    }

    /// <summary>Name of the stream, or hierarchical name of the signal.</summary>
    public string Path { get; }

    /// <summary>Whether it is a stream.</summary>
    public bool IsStream { get; }

    /// <summary>Bits of a signal; 0: it is an enumeration, or a stream.</summary>
    public int Width { get; }

    /// <summary>The stream itself, or the scope that the signal stands in; empty at the top.</summary>
    public string Group { get; }

    /// <summary>Signal that says when this one means anything, or null.</summary>
    public WaveTrack? When { get; }

    /// <summary>Values, each with the cycle from which on it holds; of a stream each beat that moves, also when it is the same again.</summary>
    public IReadOnlyList<(ulong Cycle, string Value)> Changes => changes;

    /// <summary>Value in a cycle; null where it has none or means nothing.</summary>
    public string? At(ulong cycle)
    {
        if (When is not null && When.At(cycle) != "1")
        {
            return null;
        }

        int low = 0;
        int high = changes.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (changes[middle].Cycle <= cycle)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low == 0 ? null : changes[low - 1].Value;
    }

    /// <summary>Takes a value; false if it is the one before.</summary>
    internal bool Take(ulong cycle, string value)
    {
        if (changes.Count > 0 && changes[^1].Value == value && !IsStream)
        {
            return false;
        }

        if (changes.Count > 0 && changes[^1].Cycle == cycle)
        {
            changes.RemoveAt(changes.Count - 1);
        }

        changes.Add((cycle, value));
        return true;
    }
}
