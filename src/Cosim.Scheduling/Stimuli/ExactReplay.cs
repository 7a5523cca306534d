// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;

namespace Cosim.Scheduling.Stimuli;

/// <summary>Every input at its cycle, and every output expected at its cycle.</summary>
/// <param name="recording">The recording; the reset that it begins with was read.</param>
/// <param name="fpga">The FPGA, reset.</param>
/// <param name="options">How.</param>
/// <param name="first">Recorded cycle of that reset: where the FPGA's cycle count begins.</param>
internal sealed class ExactReplay(StimuliReader recording, IFpga fpga, ReplayOptions options, ulong first)
{
    // Lines that are read before the clock is run up to the last of them.
    private const int Batch = 512;

    // An output that is late by less is said to be late, not missing.
    private const ulong Late = 1000;

    // Lines looked through for the recorded twin of a packet that nobody expects yet.
    private const int LookAhead = 1000;

    private readonly Queue<Expected>[] _expected = [.. Enumerable.Range(0, fpga.PortCount).Select(_ => new Queue<Expected>())];
    private readonly Stack<Expected> _free = new();
    private readonly byte[] _filler = new byte[StimuliFormat.HeaderBytes(0)];
    private readonly ReplayHistory _history = new(options.Last + Batch + LookAhead);
    private ulong _inputs;
    private ulong _outputs;
    private ulong _resets;

    public ReplayResult Run(CancellationToken cancellation)
    {
        Divergence? divergence = fpga.Failure is null ? null : Lost();
        bool over = false;
        while (divergence is null && !over)
        {
            cancellation.ThrowIfCancellationRequested();
            bool reset = false;
            int lines = 0;
            while (lines++ < Batch && !reset && !over)
            {
                over = !recording.Read() || recording.Kind == StimulusKind.End;
                switch (recording.Kind)
                {
                    case StimulusKind.Input:
                        fpga.Send(recording.Port, recording.Packet, Here);
                        _history.Add(into: true, recording.Port, Here, recording.Packet);
                        _inputs++;
                        break;
                    case StimulusKind.Output:
                        Expect();
                        break;
                    case StimulusKind.Reset:
                        reset = true;
                        // An idle FPGA's clock stands still; this packet makes it run up to the reset, which drops it.
                        fpga.Send(0, _filler, Here);
                        break;
                    default:
                        break;
                }
            }

            divergence = Advance(Here) ?? Overdue(reset || recording.IsComplete ? Here : Here > Late ? Here - Late : 0, Here);
            if (divergence is null && reset)
            {
                fpga.Reset();
                _resets++;
                divergence = fpga.Failure is null ? null : Lost();
            }
        }

        return new ReplayResult
        {
            Divergence = divergence ?? (recording.IsComplete ? null : new Divergence { Kind = DivergenceKind.CutOff, Cycle = fpga.Cycle, Line = recording.Line }),
            Inputs = _inputs,
            Outputs = _outputs,
            Resets = _resets,
        };
    }

    // The cycle of the line read last, as this FPGA counts.
    private ulong Here => recording.Cycle - first;

    private void Expect()
    {
        if (!_free.TryPop(out Expected? expected))
        {
            expected = new Expected();
        }

        expected.Set(Here, recording.Line, recording.Packet);
        _history.Add(into: false, recording.Port, Here, recording.Packet);
        _expected[recording.Port].Enqueue(expected);
    }

    private Divergence? Advance(ulong until)
    {
        while (fpga.Cycle < until)
        {
            RunResult result = fpga.Run(until - fpga.Cycle, uint.MaxValue);
            while (fpga.TryReceive(out FpgaPacket packet))
            {
                if (Compare(packet) is { } divergence)
                {
                    return divergence;
                }
            }

            if (result == RunResult.Failed)
            {
                return Overdue(fpga.Cycle, fpga.Cycle) ?? Lost();
            }

            if (result == RunResult.Idle)
            {
                break;
            }
        }

        return null;
    }

    private Divergence? Compare(in FpgaPacket packet)
    {
        Queue<Expected> queue = _expected[packet.Port];
        if (queue.TryPeek(out Expected? expected) && expected.Cycle == packet.Cycle && expected.Packet.SequenceEqual(packet.Bytes))
        {
            _outputs++;
            _free.Push(queue.Dequeue());
            return null;
        }

        // What had to come before this packet on another port is the first that differs.
        ulong before = expected is null ? packet.Cycle : Math.Min(packet.Cycle, expected.Cycle);
        if (Overdue(before, packet.Cycle) is { } earlier)
        {
            return earlier;
        }

        if (expected is null)
        {
            if (!FindLater(packet))
            {
                return Surplus(packet);
            }

            expected = queue.Peek();
        }

        PacketDifference? difference = PacketDifference.Find(packet.Port, expected.Packet, packet.Bytes);
        if (difference is { Field: "Fmt and Type" or "opcode" })
        {
            // Packets of different kinds: one of them is there and the other is not.
            return expected.Cycle <= packet.Cycle || (queue.Count > 1 && queue.ElementAt(1).Packet.SequenceEqual(packet.Bytes))
                ? Missing(packet.Port, expected, packet.Cycle, packet)
                : Surplus(packet);
        }

        if (difference is not null && queue.Count > 1 && queue.ElementAt(1).Packet.SequenceEqual(packet.Bytes))
        {
            return Missing(packet.Port, expected, packet.Cycle, packet);
        }

        return new Divergence
        {
            Kind = DivergenceKind.Packet,
            Cycle = packet.Cycle,
            Port = packet.Port,
            Field = difference?.Field ?? "cycle",
            Expected = difference?.Expected ?? $"{expected.Cycle}",
            Actual = difference?.Actual ?? $"{packet.Cycle}",
            ExpectedPacket = PacketText.Format(packet.Port, expected.Packet),
            ActualPacket = PacketText.Format(packet.Port, packet.Bytes),
            Line = expected.Line,
            RecordedCycle = expected.Cycle + first,
            Before = _history.Before(Math.Min(packet.Cycle, expected.Cycle), options.Last),
        };
    }

    // Nothing is given any more: reads on for the next recorded output of the packet's port, if it is the packet that came too early.
    private bool FindLater(in FpgaPacket packet)
    {
        for (int i = 0; i < LookAhead && recording.Read() && recording.Kind is StimulusKind.Input or StimulusKind.Output; i++)
        {
            if (recording.Kind == StimulusKind.Output && recording.Port == packet.Port)
            {
                Expect();
                return recording.Packet.SequenceEqual(packet.Bytes);
            }
        }

        return false;
    }

    // The earliest recorded output before a cycle that has not come.
    private Divergence? Overdue(ulong before, ulong now)
    {
        int port = -1;
        for (int i = 0; i < _expected.Length; i++)
        {
            if (_expected[i].TryPeek(out Expected? expected) && expected.Cycle < before && (port < 0 || expected.Cycle < _expected[port].Peek().Cycle))
            {
                port = i;
            }
        }

        return port < 0 ? null : Missing(port, _expected[port].Peek(), now, default);
    }

    private Divergence Missing(int port, Expected expected, ulong now, in FpgaPacket instead) => new()
    {
        Kind = DivergenceKind.Missing,
        Cycle = now,
        Port = port,
        ExpectedPacket = PacketText.Format(port, expected.Packet),
        ActualPacket = instead.Bytes.IsEmpty ? "" : PacketText.Format(instead.Port, instead.Bytes),
        Line = expected.Line,
        RecordedCycle = expected.Cycle + first,
        Before = _history.Before(expected.Cycle, options.Last),
    };

    private Divergence Surplus(in FpgaPacket packet) => new()
    {
        Kind = DivergenceKind.Surplus,
        Cycle = packet.Cycle,
        Port = packet.Port,
        ActualPacket = PacketText.Format(packet.Port, packet.Bytes),
        Before = _history.Before(packet.Cycle, options.Last),
    };

    private Divergence Lost() => new()
    {
        Kind = DivergenceKind.Failed,
        Cycle = fpga.Cycle,
        Actual = fpga.Failure ?? "no reason is known",
        Before = _history.Before(fpga.Cycle, options.Last),
    };

    private sealed class Expected
    {
        private byte[] _bytes = [];
        private int _length;

        public ulong Cycle { get; private set; }

        public long Line { get; private set; }

        public ReadOnlySpan<byte> Packet => _bytes.AsSpan(0, _length);

        public void Set(ulong cycle, long line, ReadOnlySpan<byte> packet)
        {
            (Cycle, Line, _length) = (cycle, line, packet.Length);
            if (_bytes.Length < packet.Length)
            {
                _bytes = new byte[packet.Length];
            }

            packet.CopyTo(_bytes);
        }
    }
}
