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
    private readonly Listed[] signals;
    private readonly PacketGatherer[] streams;
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
            if (!byPath.TryAdd(signal.Path, Sampled(found, signal.Path)))
            {
                throw new WaveformException(0, $"signal {signal.Path} is selected twice.");
            }
        }

        SampledVariable Chosen(string path) => byPath.TryGetValue(path, out SampledVariable? variable)
            ? variable : throw new WaveformException(0, $"{path} is named by another signal or a stream, but is none of the signals selected.");
        signals = [.. selection.Signals.Select(s => new Listed(s, byPath[s.Path], s.When is null ? null : Chosen(s.When)))];
        streams = [.. selection.Streams.Select(s => new PacketGatherer(s, Chosen(s.Data), Chosen(s.Keep), Chosen(s.Last), Chosen(s.Valid), Chosen(s.Ready)))];
    }

    public void Run()
    {
        Line(CanonicalWave.Title);
        foreach (Listed signal in signals)
        {
            string when = signal.Signal.When is { } condition ? $" when {condition}" : "";
            Line(string.Create(CultureInfo.InvariantCulture, $"signal {signal.Signal.Path} {signal.Variable.Bits.Length}{when}"));
        }

        while (reader.Read())
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

                reader.Value.CopyTo(variable.Bits);
            }
        }

        EndStep();
        Line(string.Create(CultureInfo.InvariantCulture, $"end {cycle}"));
    }

    /// <summary>All changes of one time are known: the values before them are what a rising edge among them sees.</summary>
    private void EndStep()
    {
        if (clock.Changed && clock.Before[^1] == '0' && clock.Bits[^1] == '1')
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

        bool titled = false;
        foreach (Listed signal in signals)
        {
            if (signal.When is { } when && !when.Is('1'))
            {
                continue;
            }

            if (signal.Given && signal.Variable.Settled.SequenceEqual(signal.Last))
            {
                continue;
            }

            signal.Variable.Settled.CopyTo(signal.Last);
            signal.Given = true;
            Title(ref titled);
            output.Write("  ");
            output.Write(signal.Signal.Path);
            output.Write(' ');
            WaveValue.Write(signal.Last, output);
            output.Write('\n');
        }

        foreach (PacketGatherer stream in streams)
        {
            if (stream.Take() is { } text)
            {
                Title(ref titled);
                Line($"  # {stream.Name} {text}");
            }
        }
    }

    private void Title(ref bool titled)
    {
        if (!titled)
        {
            Line(string.Create(CultureInfo.InvariantCulture, $"cycle {cycle}"));
            titled = true;
        }
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
        string? prefix = null;
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

    private SampledVariable Sampled(Dictionary<string, VcdVariable> found, string path)
    {
        if (!found.TryGetValue(path, out VcdVariable? variable))
        {
            string leaf = path[(path.LastIndexOf('.') + 1)..];
            string[] others = [.. found.Keys.Where(p => p.EndsWith(leaf, StringComparison.Ordinal)).Order(StringComparer.Ordinal).Take(5)];
            throw new WaveformException(0, $"the waveform has no signal {selection.Top}.{path}{(others.Length > 0 ? $"; it has {string.Join(", ", others)}" : "")}.");
        }

        return variable.Kind != VcdValueKind.Bits
            ? throw new WaveformException(0, $"signal {path} is a {variable.Kind}; expected bits.")
            : byCode[variable.Code] ??= new SampledVariable(variable.Width);
    }

    private sealed class Listed(WaveSignal signal, SampledVariable variable, SampledVariable? when)
    {
        public WaveSignal Signal { get; } = signal;

        public SampledVariable Variable { get; } = variable;

        public SampledVariable? When { get; } = when;

        /// <summary>Value listed last.</summary>
        public byte[] Last { get; } = new byte[variable.Bits.Length];

        public bool Given { get; set; }
    }
}
