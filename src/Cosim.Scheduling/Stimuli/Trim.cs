// SPDX-License-Identifier: Apache-2.0
using System.Text;
using Cosim.Fpga;

namespace Cosim.Scheduling.Stimuli;

/// <summary>How a recording is cut.</summary>
public sealed record TrimOptions
{
    /// <summary>Mode of the replays; null: order mode if it shows the divergence of exact mode, else exact.</summary>
    public ReplayMode? Mode { get; init; }

    /// <summary>Greatest number of replays; the smallest recording found by then counts.</summary>
    public int MaxReplays { get; init; } = 1000;

    /// <summary>
    /// Makes an FPGA that goes as recorded; what is cut must still go as recorded there, so that nothing is kept that is wrong only because
    /// of what was cut away. Null: not asked.
    /// </summary>
    public Func<IFpga>? Reference { get; init; }

    /// <summary>Told of each smaller recording: transactions and replays so far.</summary>
    public Action<int, int>? Progress { get; init; }
}

/// <summary>A recording that was cut.</summary>
/// <param name="Text">The recording, with what each packet is as comments.</param>
/// <param name="Divergence">What it shows; its line numbers are the cut recording's.</param>
/// <param name="Mode">The mode in which it shows it.</param>
/// <param name="Transactions">Transactions kept.</param>
/// <param name="Of">Transactions of the whole recording.</param>
/// <param name="Replays">Replays made.</param>
public sealed record TrimResult(string Text, Divergence Divergence, ReplayMode Mode, int Transactions, int Of, int Replays);

/// <summary>Cuts a recording to the smallest that still shows a divergence: delta debugging over transactions.</summary>
/// <remarks>
/// A transaction is what a host or the scheduler began, with all that follows from it: requests with their completions, DMA commands with
/// their TLPs. Two divergences are the same if kind, port, field and kind of packet are.
/// </remarks>
public sealed class Trim
{
    // After the last line the clock runs on for what a divergence needs to show.
    private const ulong Rest = 2000;

    private readonly RecordingHead _head;
    private readonly List<RecordedLine> _lines = [];
    private readonly Func<IFpga> _make;
    private readonly TrimOptions _options;
    private readonly CancellationToken _cancellation;
    private readonly ulong[] _skipped;
    private readonly int _transactions;
    private ReplayMode _mode;
    private int _replays;

    private Trim(Func<StimuliReader> open, Func<IFpga> make, TrimOptions options, CancellationToken cancellation)
    {
        _make = make;
        _options = options;
        _cancellation = cancellation;
        using StimuliReader reader = open();
        _head = reader.Head;
        RecordedTransactions transactions = new();
        _skipped = new ulong[_head.Ports];
        _ = Replay.SkipToReset(reader, _skipped);
        do
        {
            if (reader.Kind != StimulusKind.End)
            {
                _lines.Add(new RecordedLine(reader.Kind, reader.Port, reader.Cycle, reader.Line, reader.Seen.ToArray(), reader.Packet.ToArray(), transactions.Of(reader)));
            }
        }
        while (reader.Read());

        _transactions = transactions.Count;
    }

    /// <summary>Cuts a recording.</summary>
    /// <param name="open">Opens the recording.</param>
    /// <param name="make">Makes the FPGA that diverges, new each time.</param>
    /// <param name="options">How.</param>
    /// <param name="cancellation">Ends the work.</param>
    /// <exception cref="StimuliException">The recording is malformed, or goes as recorded.</exception>
    public static TrimResult Run(Func<StimuliReader> open, Func<IFpga> make, TrimOptions options, CancellationToken cancellation = default)
    {
        Trim trim = new(open, make, options, cancellation);
        (Divergence divergence, trim._mode) = trim.Choose(open);
        return trim.Cut(divergence);
    }

    private (Divergence Divergence, ReplayMode Mode) Choose(Func<StimuliReader> open)
    {
        Divergence? Whole(ReplayMode mode)
        {
            _replays++;
            using StimuliReader reader = open();
            using IFpga fpga = _make();
            return Replay.Run(reader, fpga, new ReplayOptions { Mode = mode, Last = 0 }, _cancellation).Divergence;
        }

        ReplayMode first;
        using (IFpga fpga = _make())
        {
            first = _options.Mode ?? Replay.ModeFor(_head, fpga.Kind);
        }

        Divergence divergence = Whole(first) ?? throw new StimuliException("the recording goes as recorded on this FPGA: there is nothing to show");
        if (divergence.Kind == DivergenceKind.CutOff)
        {
            throw new StimuliException("the recording was cut off, and goes as recorded up to there: there is nothing to show");
        }

        // Where cycles are free, cutting moves nothing that is compared.
        return _options.Mode is null && first == ReplayMode.Exact && Whole(ReplayMode.Order) is { } free && free.Identity == divergence.Identity
            ? (free, ReplayMode.Order)
            : (divergence, first);
    }

    // The first transaction is the reset that the recording begins with; it stays.
    private List<int> Transactions(int length) => [.. _lines.Take(length).Select(l => l.Transaction).Distinct().Skip(1)];

    private TrimResult Cut(Divergence divergence)
    {
        // What comes after the divergence is not needed, but where packets are too many the end is what shows it.
        int length = divergence.Line > 0 ? _lines.FindIndex(l => l.Line == divergence.Line) + 1 : _lines.Count;
        List<int> kept = Transactions(length);
        (Divergence Divergence, string Text)? best = Shows(kept, length, divergence);
        if (best is null)
        {
            length = _lines.Count;
            kept = Transactions(length);
            best = Shows(kept, length, divergence)
                ?? throw new StimuliException($"the divergence does not show again, or shows on the reference too: {divergence.Summary}");
        }

        int parts = 2;
        while (kept.Count > 1 && parts <= kept.Count && _replays < _options.MaxReplays)
        {
            int size = (kept.Count + parts - 1) / parts;
            bool smaller = false;
            // The newest parts last: what sets an FPGA up stands in front and is needed by all.
            for (int from = (kept.Count - 1) / size * size; from >= 0 && _replays < _options.MaxReplays; from -= size)
            {
                List<int> rest = [.. kept[..from], .. kept[Math.Min(from + size, kept.Count)..]];
                if (Shows(rest, length, divergence) is { } shown)
                {
                    best = shown;
                    kept = rest;
                    smaller = true;
                    _options.Progress?.Invoke(kept.Count + 1, _replays);
                }
            }

            if (size == 1 && !smaller)
            {
                break;
            }

            parts = smaller ? Math.Max(2, Math.Min(kept.Count, parts)) : Math.Min(kept.Count, parts * 2);
        }

        return new TrimResult(best.Value.Text, best.Value.Divergence, _mode, kept.Count + 1, _transactions, _replays);
    }

    // Whether a part of the recording shows the divergence; the recording then.
    private (Divergence Divergence, string Text)? Shows(List<int> kept, int length, Divergence wanted)
    {
        _cancellation.ThrowIfCancellationRequested();
        HashSet<int> transactions = [_lines[0].Transaction, .. kept];
        byte[] text = Write(transactions, length, comments: false);
        _replays++;
        if (Go(text, _make) is not { } divergence || divergence.Identity != wanted.Identity)
        {
            return null;
        }

        if (_options.Reference is { } reference)
        {
            _replays++;
            if (Go(text, reference) is not null)
            {
                return null;
            }
        }

        return (divergence, Encoding.ASCII.GetString(Write(transactions, length, comments: true)));
    }

    private Divergence? Go(byte[] text, Func<IFpga> make)
    {
        using StimuliReader reader = new(new MemoryStream(text), "the cut recording");
        using IFpga fpga = make();
        return Replay.Run(reader, fpga, new ReplayOptions { Mode = _mode }, _cancellation).Divergence;
    }

    private byte[] Write(HashSet<int> transactions, int length, bool comments)
    {
        using MemoryStream file = new();
        byte[] line = new byte[StimuliText.LineRoom];
        file.Write(Encoding.ASCII.GetBytes(StimuliText.Head(_head)));

        // Outputs of a port that are left, by how many there were.
        List<ulong>[] left = [.. Enumerable.Range(0, _head.Ports).Select(_ => new List<ulong> { 0 })];
        ulong inputs = 0;
        ulong outputs = 0;
        ulong cycle = 0;
        ulong first = _lines[0].Cycle;
        ulong[] seen = new ulong[_head.Ports];
        for (int i = 0; i < length; i++)
        {
            RecordedLine recorded = _lines[i];
            bool keep = transactions.Contains(recorded.Transaction);
            if (recorded.Kind == StimulusKind.Output)
            {
                left[recorded.Port].Add(left[recorded.Port][^1] + (keep ? 1UL : 0));
            }

            if (!keep)
            {
                continue;
            }

            cycle = recorded.Cycle - first;
            int bytes;
            switch (recorded.Kind)
            {
                case StimulusKind.Input:
                    for (int port = 0; port < seen.Length; port++)
                    {
                        seen[port] = left[port][(int)(recorded.Seen[port] - Math.Min(recorded.Seen[port], _skipped[port]))];
                    }

                    bytes = StimuliText.Input(line, recorded.Port, cycle, seen, recorded.Packet, comments);
                    inputs++;
                    break;
                case StimulusKind.Output:
                    bytes = StimuliText.Output(line, recorded.Port, cycle, recorded.Packet, comments);
                    outputs++;
                    break;
                default:
                    bytes = StimuliText.Reset(line, cycle);
                    break;
            }

            file.Write(line, 0, bytes);
        }

        file.Write(line, 0, StimuliText.End(line, cycle + Rest, inputs, outputs));
        return file.ToArray();
    }
}
