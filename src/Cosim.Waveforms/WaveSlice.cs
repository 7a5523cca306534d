// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms;

/// <summary>Some cycles and some signals of a canonical waveform.</summary>
public sealed class WaveSlice
{
    /// <summary>Most changes that a slice holds.</summary>
    public const int ChangesMax = 1 << 20;

    // The first cycle that the waveform lists.
    private readonly ulong first;

    private WaveSlice(IReadOnlyList<WaveTrack> tracks, IReadOnlyList<WavePacket> packets, ulong from, ulong to, ulong cycles, ulong first)
    {
        this.first = first;
        Tracks = tracks;
        Packets = packets;
        From = from;
        To = to;
        Cycles = cycles;
    }

    /// <summary>Streams and signals in their order.</summary>
    public IReadOnlyList<WaveTrack> Tracks { get; }

    /// <summary>Packets whose last beat moves in the slice.</summary>
    public IReadOnlyList<WavePacket> Packets { get; }

    /// <summary>First cycle.</summary>
    public ulong From { get; }

    /// <summary>Cycle after the last one.</summary>
    public ulong To { get; }

    /// <summary>Cycles of the whole waveform.</summary>
    public ulong Cycles { get; }

    /// <summary>Reads a slice; memory grows with it and not with the waveform.</summary>
    /// <param name="canonical">The waveform.</param>
    /// <param name="from">First cycle; cycles before the first one that is listed are left out.</param>
    /// <param name="to">Cycle after the last one.</param>
    /// <param name="signals">Which signals; null: all.</param>
    /// <exception cref="WaveformException">It is no canonical form, or nothing or too much of it was chosen.</exception>
    public static WaveSlice Read(TextReader canonical, ulong from = 0, ulong to = ulong.MaxValue, SignalFilter? signals = null)
    {
        WaveSlice slice = ReadAny(canonical, from, to, signals);
        return slice.From < slice.To ? slice
            : throw new WaveformException(0, $"no cycle from {from} to before {to} was found; the waveform lists cycles {slice.first} to {slice.Cycles - 1}.");
    }

    /// <summary>The same, but a slice behind the waveform's end is empty and holds the last values.</summary>
    internal static WaveSlice ReadAny(TextReader canonical, ulong from, ulong to, SignalFilter? signals = null)
    {
        CanonicalReader reader = new(canonical);
        signals ??= SignalFilter.All;
        CanonicalSignal[] declared = [.. reader.Declarations.Select(CanonicalSignal.Parse)];
        Dictionary<string, WaveTrack> conditions = new(StringComparer.Ordinal);
        WaveTrack?[] followed = new WaveTrack?[declared.Length];
        foreach (string? path in declared.Select(d => d.When).Where(w => w is not null).Distinct())
        {
            int number = Array.FindIndex(declared, d => d.Path == path);
            if (number >= 0)
            {
                conditions.Add(path!, new WaveTrack(declared[number], null));
                followed[number] = conditions[path!];
            }
        }

        List<WaveTrack> tracks = [];
        for (int i = 0; i < declared.Length; i++)
        {
            if (signals.Matches(declared[i].Path))
            {
                if (!conditions.TryGetValue(declared[i].Path, out WaveTrack? track))
                {
                    track = new WaveTrack(declared[i], declared[i].When is { } when ? conditions.GetValueOrDefault(when) : null);
                    followed[i] = track;
                }

                tracks.Add(track);
            }
        }

        if (tracks.Count == 0)
        {
            throw new WaveformException(0, $"none of the {declared.Length} streams and signals was chosen{(declared.Length > 0 ? $"; the first ones are {string.Join(", ", declared.Take(5).Select(d => d.Path))}" : "")}.");
        }

        HashSet<string> chosen = [.. tracks.Where(t => t.IsStream).Select(t => t.Path)];
        List<WavePacket> packets = [];
        ulong listed = reader.Cycle;
        ulong first = Math.Max(from, listed);
        int changes = 0;
        while (!reader.AtEnd)
        {
            ulong cycle = reader.Cycle;
            reader.Apply();
            if (cycle >= to)
            {
                continue;
            }

            foreach (int number in reader.Changed)
            {
                changes += followed[number]?.Take(Math.Max(cycle, first), reader.Values[number]) == true ? 1 : 0;
            }

            foreach ((int stream, string text) in cycle < first ? [] : reader.Packets)
            {
                if (chosen.Contains(declared[stream].Path))
                {
                    packets.Add(new WavePacket(cycle, declared[stream].Path, text));
                    changes++;
                }
            }

            if (changes > ChangesMax)
            {
                throw new WaveformException(0, $"more than {ChangesMax} changes were chosen, up to cycle {cycle}; expected fewer cycles or signals.");
            }
        }

        return new WaveSlice(tracks, packets, first, Math.Min(to, reader.Cycle), reader.Cycle, listed);
    }
}
