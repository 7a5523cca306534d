// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Cosim.Waveforms;

/// <summary>Reads a canonical waveform cycle by cycle.</summary>
internal sealed class CanonicalReader
{
    // As deep as a VCD file may be: a path's ends take as much memory as it is deep times as it is long.
    private const int MostScopes = 256;

    private readonly TextReader text;
    private readonly Dictionary<string, int> numbers = new(StringComparer.Ordinal);
    private readonly List<string> declarations = [];
    private readonly List<string> paths = [];
    private readonly List<int> changed = [];
    private readonly List<(int Stream, string Text)> packets = [];
    private string? next;
    private long line;

    public CanonicalReader(TextReader text)
    {
        this.text = text;
        Advance();
        if (next != CanonicalWave.Title)
        {
            throw Wrong($"'{next}'; expected '{CanonicalWave.Title}'");
        }

        HashSet<string> known = new(StringComparer.Ordinal);
        for (Advance(); next is not null && (next.StartsWith("signal ", StringComparison.Ordinal) || next.StartsWith("stream ", StringComparison.Ordinal)); Advance())
        {
            string[] parts = next.Split(' ');
            if (parts[1].AsSpan().Count('.') > MostScopes)
            {
                throw Wrong($"a path of more than {MostScopes} scopes");
            }

            if (!known.Add(parts[1]))
            {
                throw Wrong($"{parts[1]} is declared twice");
            }

            paths.Add(parts[1]);
            declarations.Add(next);
        }

        ShortNames = CanonicalWave.ShortNames(paths);
        for (int i = 0; i < paths.Count; i++)
        {
            numbers[ShortNames[i]] = i;
        }

        Values = new string[paths.Count];
        Values.AsSpan().Fill("x");
        Cycle = ReadCycle();
    }

    /// <summary>Lines that declare the streams and signals, in their order.</summary>
    public IReadOnlyList<string> Declarations => declarations;

    /// <summary>Names of the streams and paths of the signals, in their order.</summary>
    public IReadOnlyList<string> Paths => paths;

    /// <summary>What they are called in the lines of changes, in their order.</summary>
    public IReadOnlyList<string> ShortNames { get; }

    /// <summary>The cycle that <see cref="Apply"/> would go to; of the end, the number of cycles.</summary>
    public ulong Cycle { get; private set; }

    /// <summary>Whether no cycle is left.</summary>
    public bool AtEnd { get; private set; }

    /// <summary>Values of the streams and signals.</summary>
    public string[] Values { get; }

    /// <summary>Streams and signals listed in the cycle applied last.</summary>
    public IReadOnlyList<int> Changed => changed;

    /// <summary>Packets described in the cycle applied last.</summary>
    public IReadOnlyList<(int Stream, string Text)> Packets => packets;

    /// <summary>The packet described last.</summary>
    public string? Packet { get; private set; }

    /// <summary>Takes the changes of the cycle.</summary>
    public void Apply()
    {
        changed.Clear();
        packets.Clear();
        ulong cycle = Cycle;
        int start = next!.IndexOf(' ', StringComparison.Ordinal);
        do
        {
            ReadOnlySpan<char> entry = next.AsSpan(start + 1);
            int comment = entry.IndexOf(" # ");
            ReadOnlySpan<char> change = comment < 0 ? entry : entry[..comment];
            int space = change.IndexOf(' ');
            if (space < 0 || !numbers.TryGetValue(change[..space].ToString(), out int number))
            {
                throw Wrong($"'{next}'; expected a declared stream or signal and its value");
            }

            Values[number] = change[(space + 1)..].ToString();
            changed.Add(number);
            if (comment >= 0)
            {
                packets.Add((number, entry[(comment + 3)..].ToString()));
                Packet = string.Create(CultureInfo.InvariantCulture, $"{paths[number]} {entry[(comment + 3)..]} in cycle {cycle}");
            }

            Advance();
            start = 0;
        }
        while (next is not null && next.StartsWith(' '));

        Cycle = ReadCycle();
        if (!AtEnd && Cycle <= cycle)
        {
            throw Wrong($"cycle {Cycle} after cycle {cycle}");
        }
    }

    private ulong ReadCycle()
    {
        AtEnd = next is not null && next.StartsWith("end ", StringComparison.Ordinal);
        ReadOnlySpan<char> number = AtEnd ? next.AsSpan(4) : next.AsSpan(0, Math.Max(0, next?.IndexOf(' ', StringComparison.Ordinal) ?? 0));
        return ulong.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out ulong cycle)
            ? cycle : throw Wrong($"'{next}'; expected a cycle and a change, or 'end N'");
    }

    private void Advance()
    {
        next = text.ReadLine();
        line++;
    }

    private WaveformException Wrong(string reason) => new(line, reason);
}
