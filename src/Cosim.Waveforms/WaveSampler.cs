// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Cosim.Waveforms;

/// <summary>Follows a VCD file from clock edge to clock edge and lists what has changed.</summary>
internal sealed class WaveSampler
{
    private readonly VcdReader reader;
    private readonly WaveSelection selection;
    private readonly TextWriter output;
    private readonly SampledVariable?[] byCode;
    private readonly List<SampledVariable> changed = [];
    private readonly SampledVariable clock;
    private readonly SampledVariable? reset;
    private readonly ListedStream[] streams;
    private readonly ListedSignal[] signals;
    private ulong cycle;

    public WaveSampler(VcdReader reader, WaveSelection selection, TextWriter output)
    {
        this.reader = reader;
        this.selection = selection;
        this.output = output;
        byCode = new SampledVariable?[reader.Codes];
        Dictionary<string, VcdVariable> found = Find();
        clock = Sampled(found, selection.Clock);
        reset = selection.Reset is null ? null : Sampled(found, selection.Reset);
        Dictionary<string, SampledVariable> byPath = new(StringComparer.Ordinal);
        foreach (WaveSignal signal in selection.Signals)
        {
            if (!byPath.TryAdd(signal.Path, Sampled(found, signal.Path, signal.Literals)))
            {
                throw new WaveformException(0, $"signal {signal.Path} is selected twice.");
            }
        }

        SampledVariable Chosen(string path) => byPath.TryGetValue(path, out SampledVariable? variable)
            ? variable : throw new WaveformException(0, $"{path} is named by another signal, but is none of the signals selected.");
        SampledVariable Part(string path) => Sampled(found, path);
        string[] names = CanonicalWave.ShortNames([.. selection.Streams.Select(s => s.Name), .. selection.Signals.Select(s => s.Path)]);
        streams = [.. selection.Streams.Select((s, i) => new ListedStream(
            names[i], new PacketGatherer(s, Part(s.Data), Part(s.Keep), Part(s.Last), Part(s.Valid), Part(s.Ready))))];
        signals = [.. selection.Signals.Select((s, i) => new ListedSignal(
            s, names[streams.Length + i], byPath[s.Path], s.When is null ? null : Chosen(s.When)))];
    }

    public void Run()
    {
        reader.Follow(Enumerable.Range(0, byCode.Length).Where(c => byCode[c] is not null));
        Line(CanonicalWave.Title);
        foreach (WaveStream stream in selection.Streams)
        {
            Line($"stream {stream.Name} {stream.Data} {stream.Keep} {stream.Last} {stream.Valid} {stream.Ready}");
        }

        foreach (ListedSignal signal in signals)
        {
            string type = signal.Signal.Literals is { } literals ? string.Join(' ', literals) : signal.Variable.Bits.Length.ToString(CultureInfo.InvariantCulture);
            string when = signal.Signal.When is { } condition ? $" when {condition}" : "";
            Line($"signal {signal.Signal.Path} {type}{when}");
        }

        while (cycle < selection.To && reader.Read())
        {
            if (reader.Item == VcdItem.Time)
            {
                EndStep();
            }
            else if (byCode[reader.Code] is { } variable)
            {
                if (!variable.Changed)
                {
                    variable.Changed = true;
                    variable.Bits.CopyTo(variable.Before.AsSpan());
                    changed.Add(variable);
                }

                if (reader.Item == VcdItem.TextChange)
                {
                    variable.SetLiteral(reader.Value);
                }
                else
                {
                    reader.Value.CopyTo(variable.Bits);
                }
            }
        }

        EndStep();
        Line(string.Create(CultureInfo.InvariantCulture, $"end {cycle}"));
    }

    /// <summary>All changes of one time are known: the values before them are what a rising edge among them sees.</summary>
    private void EndStep()
    {
        if (cycle < selection.To && clock.Changed && clock.Before[^1] == '0' && clock.Bits[^1] == '1')
        {
            Sample();
            cycle++;
        }

        foreach (SampledVariable variable in changed)
        {
            variable.Changed = false;
        }

        changed.Clear();
    }

    private void Sample()
    {
        if (reset is not null && !reset.Is('0'))
        {
            return;
        }

        bool listed = cycle >= selection.From;
        bool first = true;
        foreach (ListedStream stream in streams)
        {
            // What moves before the first cycle listed belongs to the packets, too.
            bool moves = stream.Packets.Moves;
            string? packet = stream.Packets.Take();
            if (!listed)
            {
                continue;
            }

            string state = stream.Packets.State();
            if (moves || state != stream.Last)
            {
                stream.Last = state;
                Begin(stream.Name, ref first);
                output.Write(state);
                if (packet is not null)
                {
                    output.Write(" # ");
                    output.Write(packet);
                }

                output.Write('\n');
            }
        }

        if (!listed)
        {
            return;
        }

        foreach (ListedSignal signal in signals)
        {
            if ((signal.When is { } when && !when.Is('1')) || (signal.Given && signal.Variable.Settled.SequenceEqual(signal.Last)))
            {
                continue;
            }

            signal.Variable.Settled.CopyTo(signal.Last);
            signal.Given = true;
            Begin(signal.Name, ref first);
            WaveValue.Write(signal.Last, signal.Signal.Literals, output);
            output.Write('\n');
        }
    }

    private void Begin(string name, ref bool first)
    {
        if (first)
        {
            output.Write(cycle.ToString(CultureInfo.InvariantCulture));
            first = false;
        }

        output.Write(' ');
        output.Write(name);
        output.Write(' ');
    }

    private void Line(string text)
    {
        output.Write(text);
        output.Write('\n');
    }

    /// <summary>The variables below the first scope of the top's name.</summary>
    private Dictionary<string, VcdVariable> Find()
    {
        string top = selection.Top.ToLowerInvariant();
        Dictionary<string, VcdVariable> found = new(StringComparer.Ordinal);
        string? prefix = top.Length == 0 ? "" : null;
        foreach (VcdVariable variable in reader.Variables)
        {
            prefix ??= Prefix(variable.Path, top);
            if (prefix is not null && variable.Path.StartsWith(prefix, StringComparison.Ordinal))
            {
                // A name can come twice: a flattened record's element and a signal of that spelling. The first one is meant.
                _ = found.TryAdd(variable.Path[prefix.Length..], variable);
            }
        }

        return prefix is null ? throw new WaveformException(0, $"the waveform has no scope {top} with signals.") : found;
    }

    private static string? Prefix(string path, string top)
    {
        for (int at = 0; (at = path.IndexOf(top, at, StringComparison.Ordinal)) >= 0; at++)
        {
            int after = at + top.Length;
            if ((at == 0 || path[at - 1] == '.') && after < path.Length && path[after] == '.')
            {
                return path[..(after + 1)];
            }
        }

        return null;
    }

    private SampledVariable Sampled(Dictionary<string, VcdVariable> found, string path, IReadOnlyList<string>? literals = null)
    {
        if (!found.TryGetValue(path, out VcdVariable? variable))
        {
            string leaf = path[(path.LastIndexOf('.') + 1)..];
            string[] others = [.. found.Keys.Where(p => p.EndsWith(leaf, StringComparison.Ordinal)).Order(StringComparer.Ordinal).Take(5)];
            throw new WaveformException(0, $"the waveform has no signal {selection.Top}.{path}{(others.Length > 0 ? $"; it has {string.Join(", ", others)}" : "")}.");
        }

        return variable.Kind switch
        {
            VcdValueKind.Bits when literals is null || variable.Width == SampledVariable.Width(literals)
                => byCode[variable.Code] ??= new SampledVariable(variable.Width),
            VcdValueKind.Bits => throw new WaveformException(0, $"signal {path} has {variable.Width} bits; expected {SampledVariable.Width(literals)} for {literals.Count} literals."),
            VcdValueKind.Text when literals is not null => byCode[variable.Code] ??= new SampledVariable(SampledVariable.Width(literals), literals),
            _ => throw new WaveformException(0, $"signal {path} is a {variable.Kind}; expected {(literals is null ? "bits" : "an enumeration")}."),
        };
    }

    private sealed class ListedStream(string name, PacketGatherer packets)
    {
        public string Name { get; } = name;

        public PacketGatherer Packets { get; } = packets;

        /// <summary>State listed last.</summary>
        public string? Last { get; set; }
    }

    private sealed class ListedSignal(WaveSignal signal, string name, SampledVariable variable, SampledVariable? when)
    {
        public WaveSignal Signal { get; } = signal;

        public string Name { get; } = name;

        public SampledVariable Variable { get; } = variable;

        public SampledVariable? When { get; } = when;

        /// <summary>Value listed last.</summary>
        public byte[] Last { get; } = new byte[variable.Bits.Length];

        public bool Given { get; set; }
    }
}
