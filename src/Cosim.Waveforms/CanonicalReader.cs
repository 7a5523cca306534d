// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Cosim.Waveforms;

/// <summary>Reads a canonical waveform cycle by cycle.</summary>
internal sealed class CanonicalReader
{
    private readonly TextReader text;
    private readonly Dictionary<string, int> numbers = new(StringComparer.Ordinal);
    private readonly List<string> declarations = [];
    private readonly List<string> paths = [];
    private readonly List<int> changed = [];
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

        Advance();
        while (next is not null && next.StartsWith("signal ", StringComparison.Ordinal))
        {
            string declaration = next["signal ".Length..];
            string path = declaration.Split(' ')[0];
            if (!numbers.TryAdd(path, paths.Count))
            {
                throw Wrong($"signal {path} is declared twice");
            }

            paths.Add(path);
            declarations.Add(declaration);
            Advance();
        }

        Values = new string[paths.Count];
        Values.AsSpan().Fill("x");
        Cycle = ReadCycle();
    }

    /// <summary>Declarations of the signals in their order.</summary>
    public IReadOnlyList<string> Declarations => declarations;

    /// <summary>Names of the signals in their order.</summary>
    public IReadOnlyList<string> Paths => paths;

    /// <summary>The cycle that <see cref="Apply"/> would go to; of the end, the number of cycles.</summary>
    public ulong Cycle { get; private set; }

    /// <summary>Whether no cycle is left.</summary>
    public bool AtEnd { get; private set; }

    /// <summary>Values of the signals.</summary>
    public string[] Values { get; }

    /// <summary>Signals listed in the cycle applied last.</summary>
    public IReadOnlyList<int> Changed => changed;

    /// <summary>The packet described last.</summary>
    public string? Packet { get; private set; }

    /// <summary>Takes the changes of the cycle.</summary>
    public void Apply()
    {
        changed.Clear();
        ulong cycle = Cycle;
        for (Advance(); next is not null && next.StartsWith("  ", StringComparison.Ordinal); Advance())
        {
            ReadOnlySpan<char> entry = next.AsSpan(2);
            if (entry.StartsWith("# "))
            {
                Packet = string.Create(CultureInfo.InvariantCulture, $"{entry[2..]} in cycle {cycle}");
                continue;
            }

            int space = entry.IndexOf(' ');
            if (space < 0 || !numbers.TryGetValue(entry[..space].ToString(), out int number))
            {
                throw Wrong($"'{next}'; expected a declared signal and its value");
            }

            Values[number] = entry[(space + 1)..].ToString();
            changed.Add(number);
        }

        Cycle = ReadCycle();
        if (!AtEnd && Cycle <= cycle)
        {
            throw Wrong($"cycle {Cycle} after cycle {cycle}");
        }
    }

    private ulong ReadCycle()
    {
        AtEnd = next is not null && next.StartsWith("end ", StringComparison.Ordinal);
        return next is not null && (AtEnd || next.StartsWith("cycle ", StringComparison.Ordinal))
            && ulong.TryParse(next.AsSpan(next.IndexOf(' ', StringComparison.Ordinal) + 1), NumberStyles.None, CultureInfo.InvariantCulture, out ulong cycle)
                ? cycle : throw Wrong($"'{next}'; expected 'cycle N' or 'end N'");
    }

    private void Advance()
    {
        next = text.ReadLine();
        line++;
    }

    private WaveformException Wrong(string reason) => new(line, reason);
}
