// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;

namespace Cosim.Scheduling.Stimuli;

/// <summary>Cycles are free: inputs wait for the outputs that they had seen, outputs are compared in the order of their kind.</summary>
/// <param name="recording">The recording; the reset that it begins with was read.</param>
/// <param name="fpga">The FPGA, reset.</param>
/// <param name="options">How.</param>
/// <param name="skipped">Outputs that stand before that reset, by port; SEEN counts them.</param>
/// <remarks>
/// The recording is read ahead of the replay, up to the next reset or the end: a section. Inputs are given in the order of the file and
/// not closer together than they were recorded; an input that followed an output keeps its distance from that.
/// </remarks>
internal sealed class OrderReplay(StimuliReader recording, IFpga fpga, ReplayOptions options, ulong[] skipped)
{
    // Lines that are read ahead of what was given and matched.
    private const int Window = 1 << 16;

    // Inputs are given for so many cycles ahead.
    private const uint Lookahead = 15;

    // An idle FPGA's clock stands still, so that distances are its working time; one that waited for a timeout is no measure.
    private const ulong MostSpacing = 1 << 17;

    // A host's read and a command closer before it than this may take effect in either order: commands queue up behind others.
    private const ulong RaceCycles = 256;

    // An output that stands for several causes is looked for so many recorded cycles ahead of the inputs given.
    private const ulong MergeHorizon = 256;

    // After the last line of a section, the clock runs on for what is still to come.
    private const ulong Rest = 1 << 20;

    private readonly PortProgress[] _ports = [.. skipped.Select(outputs => new PortProgress(outputs))];
    private readonly Dictionary<OrderStream, StreamProgress> _streams = [];
    private readonly Dictionary<(int Port, uint Requester, byte Tag), RecordedOutput> _requests = [];
    private readonly Queue<RecordedInput> _inputs = new();
    private readonly ReplayHistory _history = new(options.Last);
    private readonly Balance _balance = new(fpga.PortCount);
    private readonly MergedCauses _causes = new();

    // Recorded cycles of hosts' reads in flight, and of the last REG_WRITE or INTERRUPT.
    private readonly Dictionary<(int Port, uint Requester, byte Tag), ulong> _reads = [];
    private ulong? _lastControl;

    // Anchor of the distances between lines: a recorded cycle and the replay's cycle that stands for it.
    private ulong _lastGiven;
    private ulong? _lastInputCycle;
    private bool _sectionRead;
    private bool _over;
    private RecordedOutput? _formerOutput;
    private bool _formerWasInput;
    private Divergence? _surplus;
    private int _readAhead;
    private ulong _given;
    private ulong _matched;
    private ulong _merged;
    private ulong _early;
    private ulong _notCompared;
    private ulong _sectionSurplus;
    private ulong _resets;

    public ReplayResult Run(CancellationToken cancellation)
    {
        Divergence? divergence = fpga.Failure is null ? null : Lost();
        while (divergence is null && !_over)
        {
            divergence = RunSection(cancellation);
            if (divergence is null && !_over)
            {
                fpga.Reset();
                _resets++;
                divergence = fpga.Failure is null ? null : Lost();
                _lastGiven = fpga.Cycle;
            }
        }

        return new ReplayResult
        {
            Divergence = divergence ?? (recording.IsComplete ? null : new Divergence { Kind = DivergenceKind.CutOff, Cycle = fpga.Cycle, Line = recording.Line }),
            Inputs = _given,
            Outputs = _matched,
            Resets = _resets,
            Merged = _merged,
            Early = _early,
            NotCompared = _notCompared,
        };
    }

    private Divergence? RunSection(CancellationToken cancellation)
    {
        _sectionRead = false;
        _formerOutput = null;
        _formerWasInput = false;
        _lastInputCycle = null;
        _surplus = null;
        _sectionSurplus = 0;
        _balance.Clear();
        ulong quietSince = fpga.Cycle;
        while (true)
        {
            cancellation.ThrowIfCancellationRequested();
            ReadAhead();
            Give();
            if (_inputs.Count == 0 && _sectionRead && Waiting() is null)
            {
                return EndSection();
            }

            RecordedOutput? awaited = Waiting();
            ulong deadline = Math.Max(quietSince, _lastGiven) + options.PatienceCycles + (4 * (awaited?.Gap ?? 0));
            RunResult result = fpga.Run(deadline > fpga.Cycle ? deadline - fpga.Cycle : 1, Lookahead);
            bool came = false;
            while (fpga.TryReceive(out FpgaPacket packet))
            {
                came = true;
                if (Match(packet) is { } divergence)
                {
                    return divergence;
                }
            }

            if (result == RunResult.Failed)
            {
                return Lost();
            }

            quietSince = came ? fpga.Cycle : quietSince;
            if (came || (result != RunResult.Idle && fpga.Cycle < deadline) || awaited is null)
            {
                continue;
            }

            // Nothing comes any more: neither what is awaited nor anything else.
            quietSince = fpga.Cycle;
            if (awaited.Stream.Merges && awaited.Progress.Matched > 0)
            {
                Resolve(awaited, merged: true);
            }
            else if (result != RunResult.Idle && _inputs.Count > 0)
            {
                awaited.Overdue = true;
                _early++;
                Advance(awaited.Port);
            }
            else
            {
                return Missing(awaited, result == RunResult.Idle ? DivergenceKind.Missing : DivergenceKind.Hang);
            }
        }
    }

    // Reads lines up to the end of the section or of the window.
    private void ReadAhead()
    {
        while (!_sectionRead && _readAhead < Window)
        {
            if (!recording.Read() || recording.Kind is StimulusKind.End)
            {
                _over = _sectionRead = true;
                return;
            }

            switch (recording.Kind)
            {
                case StimulusKind.Reset:
                    _sectionRead = true;
                    return;
                case StimulusKind.Input:
                    ReadInput();
                    break;
                default:
                    ReadOutput();
                    break;
            }

            _readAhead++;
        }
    }

    private void ReadInput()
    {
        RecordedInput input = new(recording.Port, recording.Cycle, recording.Packet, recording.Seen);
        _balance.Input(recording.Port, recording.Packet);
        if (recording.Port != StimuliFormat.ManagementPort && PacketClass.IsCompletion(recording.Packet))
        {
            input.IsCompletion = true;
            (int, uint, byte) key = (recording.Port, PacketClass.CompletionRequester(recording.Packet), PacketClass.CompletionTag(recording.Packet));
            if (_requests.TryGetValue(key, out RecordedOutput? request))
            {
                input.Request = request;
                if (PacketClass.IsLastCompletion(recording.Packet))
                {
                    _ = _requests.Remove(key);
                    _balance.Completed(recording.Port);
                }
            }
        }

        else if (recording.Port == StimuliFormat.ManagementPort)
        {
            uint opcode = recording.Packet[0];
            _lastControl = opcode is RegisterMap.Opcode.RegWrite or RegisterMap.Opcode.Interrupt ? recording.Cycle : _lastControl;
        }
        else if (PacketClass.IsNonPosted(recording.Port, recording.Packet))
        {
            _reads[(recording.Port, PacketClass.Requester(recording.Packet), PacketClass.RequestTag(recording.Packet))] = recording.Cycle;
        }

        // Distances are kept: from the input before, and from the output that this one may answer.
        input.Spacing = Math.Min(MostSpacing, recording.Cycle - (_lastInputCycle ?? recording.Cycle));
        input.Latency = Math.Min(MostSpacing, recording.Cycle - (_formerOutput?.Cycle ?? recording.Cycle));
        input.After = _formerWasInput ? null : _formerOutput;
        _lastInputCycle = recording.Cycle;
        _formerWasInput = true;
        _inputs.Enqueue(input);
    }

    private void ReadOutput()
    {
        OrderStream key = PacketClass.StreamOf(recording.Port, recording.Packet);
        StreamProgress stream = Stream(key);
        ulong former = Math.Max(_lastInputCycle ?? 0, _formerOutput?.Cycle ?? 0);
        RecordedOutput output = new(key, stream, recording.Cycle, recording.Line, recording.Packet)
        {
            Gap = recording.Cycle > former ? recording.Cycle - former : 0,
            IsRaced = IsRaced(key),
        };
        stream.Expected.Add(output);
        _ports[recording.Port].Outputs.Enqueue(output);
        _balance.Output(recording.Port, recording.Packet);
        if (key.Class == OrderClass.NonPosted)
        {
            _requests[(recording.Port, PacketClass.Requester(recording.Packet), PacketClass.RequestTag(recording.Packet))] = output;
        }

        _formerOutput = output;
        _formerWasInput = false;
    }

    // Whether the output read last answers a read whose value the scheduler may have changed meanwhile.
    private bool IsRaced(in OrderStream key) =>
        key.Class == OrderClass.Completion
        && _reads.Remove((recording.Port, PacketClass.CompletionRequester(recording.Packet), PacketClass.CompletionTag(recording.Packet)), out ulong asked)
        && _lastControl + RaceCycles >= asked;

    private StreamProgress Stream(in OrderStream key)
    {
        if (!_streams.TryGetValue(key, out StreamProgress? stream))
        {
            _streams[key] = stream = new StreamProgress();
        }

        return stream;
    }

    // Gives every input whose outputs have come.
    private void Give()
    {
        while (_inputs.TryPeek(out RecordedInput? input) && Blocking(input) is null)
        {
            _ = _inputs.Dequeue();
            _readAhead--;
            if (input.IsCompletion && input.Request is { Actual: false })
            {
                // Its request was never made here, and nobody waits for it.
                _notCompared++;
                continue;
            }

            if (input.Request is { } request)
            {
                input.Packet[9] = request.Tag;
            }

            ulong cycle = Math.Max(fpga.Cycle, _lastGiven + input.Spacing);
            cycle = input.After is { Actual: true } after ? Math.Max(cycle, after.ActualCycle + input.Latency) : cycle;
            fpga.Send(input.Port, input.Packet, cycle);
            _lastGiven = cycle;
            _given++;
            _causes.Given(input.Port, input.Packet);
            _history.Add(into: true, input.Port, cycle, input.Packet);
        }
    }

    // The output that the next input waits for; without inputs, the first that has not come.
    private RecordedOutput? Waiting()
    {
        if (_inputs.TryPeek(out RecordedInput? input))
        {
            return Blocking(input);
        }

        return _ports.Select(port => port.Outputs.FirstOrDefault()).Where(output => output is not null).MinBy(output => output!.Line);
    }

    private RecordedOutput? Blocking(RecordedInput input)
    {
        RecordedOutput? first = null;
        for (int i = 0; i < _ports.Length; i++)
        {
            RecordedOutput? output = _ports[i].FirstOpen(input.Seen[i]);
            first = output is null || output.Line > first?.Line ? first : output;
        }

        return first;
    }

    private Divergence? Match(in FpgaPacket packet)
    {
        OrderStream key = PacketClass.StreamOf(packet.Port, packet.Bytes);
        StreamProgress stream = Stream(key);
        int at = 0;
        ulong horizon = _inputs.TryPeek(out RecordedInput? next) ? next.Cycle + MergeHorizon : ulong.MaxValue;
        while (key.Merges && at < stream.Expected.Count && stream.Expected[at].Cycle <= horizon && !Same(stream.Expected[at], packet))
        {
            at++;
        }

        if (at < stream.Expected.Count && Same(stream.Expected[at], packet))
        {
            for (; at > 0; at--)
            {
                // This FPGA has merged what it was told one by one in the recording.
                Resolve(stream.Expected[0], merged: true);
            }

            RecordedOutput output = stream.Expected[0];
            output.Actual = true;
            output.ActualCycle = packet.Cycle;
            output.Tag = key.Class == OrderClass.NonPosted ? PacketClass.RequestTag(packet.Bytes) : (byte)0;
            _matched++;
            stream.Matched++;
            stream.Events++;
            Resolve(output, merged: false);
            _history.Add(into: false, packet.Port, packet.Cycle, packet.Bytes);
            return null;
        }

        if (key.Merges && stream.Matched > 0 && stream.Events < _causes.Of(key))
        {
            // The recorded FPGA may have merged it.
            stream.Events++;
            _merged++;
            _history.Add(into: false, packet.Port, packet.Cycle, packet.Bytes);
            return null;
        }

        if (stream.Expected.Count > 0 && stream.Expected[0] is { IsRaced: true } raced
            && PacketDifference.Find(packet.Port, raced.Packet, packet.Bytes) is { } value && value.Field.StartsWith("payload DW", StringComparison.Ordinal))
        {
            _notCompared++;
            Resolve(raced, merged: false);
            _history.Add(into: false, packet.Port, packet.Cycle, packet.Bytes);
            return null;
        }

        Divergence? divergence = stream.Expected.Count == 0 ? null : Differs(stream, packet);
        if (divergence is null)
        {
            Surplus(packet);
        }

        _history.Add(into: false, packet.Port, packet.Cycle, packet.Bytes);
        return divergence;
    }

    private static bool Same(RecordedOutput output, in FpgaPacket packet) => PacketDifference.Same(packet.Port, output.Packet, packet.Bytes, anyTag: true);

    // Whether it is one is known at the end of the section: a reset or the end may have cut what the recorded FPGA was about to send.
    private void Surplus(in FpgaPacket packet)
    {
        _sectionSurplus++;
        _surplus ??= new Divergence
        {
            Kind = DivergenceKind.Surplus,
            Cycle = packet.Cycle,
            Port = packet.Port,
            ActualPacket = PacketText.Format(packet.Port, packet.Bytes),
            Before = _history.Before(ulong.MaxValue, options.Last),
        };
    }

    private Divergence Differs(StreamProgress stream, in FpgaPacket packet)
    {
        RecordedOutput expected = stream.Expected[0];
        if (stream.Expected.Count > 1 && Same(stream.Expected[1], packet))
        {
            return Missing(expected, DivergenceKind.Missing);
        }

        PacketDifference difference = PacketDifference.Find(packet.Port, expected.Packet, packet.Bytes, anyTag: true)!;
        return new Divergence
        {
            Kind = DivergenceKind.Packet,
            Cycle = packet.Cycle,
            Port = packet.Port,
            Field = difference.Field,
            Expected = difference.Expected,
            Actual = difference.Actual,
            ExpectedPacket = PacketText.Format(packet.Port, expected.Packet),
            ActualPacket = PacketText.Format(packet.Port, packet.Bytes),
            Line = expected.Line,
            RecordedCycle = expected.Cycle,
            Before = _history.Before(ulong.MaxValue, options.Last),
        };
    }

    // An output that came, or that is known not to come by itself.
    private void Resolve(RecordedOutput output, bool merged)
    {
        output.Done = true;
        _ = output.Progress.Expected.Remove(output);
        if (merged)
        {
            _merged++;
        }

        Advance(output.Port);
    }

    private void Advance(int port) => _readAhead -= _ports[port].Advance();

    private Divergence? EndSection()
    {
        // What is still on its way belongs to the section, where nothing cut it.
        bool cut = !_over || !recording.IsComplete || !_balance.IsEven;
        if (!cut)
        {
            ulong end = fpga.Cycle + Rest;
            RunResult result = RunResult.Output;
            while (fpga.Cycle < end && result is RunResult.Output or RunResult.Limit)
            {
                result = fpga.Run(end - fpga.Cycle, Lookahead);
                while (fpga.TryReceive(out FpgaPacket packet))
                {
                    if (Match(packet) is { } divergence)
                    {
                        return divergence;
                    }
                }
            }

            if (result == RunResult.Failed)
            {
                return Lost();
            }
        }

        if (_surplus is not null && !cut)
        {
            return _surplus;
        }

        _notCompared += _sectionSurplus;
        _requests.Clear();
        _reads.Clear();
        _lastControl = null;
        _causes.Clear();
        foreach (StreamProgress stream in _streams.Values)
        {
            stream.Expected.Clear();
            stream.Events = 0;
        }

        foreach (PortProgress port in _ports)
        {
            port.EndSection();
        }

        return null;
    }

    // A packet of another kind that came on the port may stand in its place.
    private Divergence Missing(RecordedOutput output, DivergenceKind kind) => new()
    {
        Kind = kind,
        Cycle = _surplus is { } surplus && surplus.Port == output.Port ? surplus.Cycle : fpga.Cycle,
        Port = output.Port,
        ActualPacket = _surplus?.Port == output.Port ? _surplus.ActualPacket : "",
        ExpectedPacket = PacketText.Format(output.Port, output.Packet),
        Line = output.Line,
        RecordedCycle = output.Cycle,
        Before = _history.Before(ulong.MaxValue, options.Last),
    };

    private Divergence Lost() => new()
    {
        Kind = DivergenceKind.Failed,
        Cycle = fpga.Cycle,
        Actual = fpga.Failure ?? "no reason is known",
        Before = _history.Before(ulong.MaxValue, options.Last),
    };

    private sealed class RecordedInput(int port, ulong cycle, ReadOnlySpan<byte> packet, ReadOnlySpan<ulong> seen)
    {
        public int Port { get; } = port;

        public ulong Cycle { get; } = cycle;

        public byte[] Packet { get; } = packet.ToArray();

        public ulong[] Seen { get; } = seen.ToArray();

        public bool IsCompletion { get; set; }

        public RecordedOutput? Request { get; set; }

        public RecordedOutput? After { get; set; }

        public ulong Spacing { get; set; }

        public ulong Latency { get; set; }
    }

    private sealed class RecordedOutput(OrderStream stream, StreamProgress progress, ulong cycle, long line, ReadOnlySpan<byte> packet)
    {
        public OrderStream Stream { get; } = stream;

        public StreamProgress Progress { get; } = progress;

        public int Port => Stream.Port;

        public ulong Cycle { get; } = cycle;

        public long Line { get; } = line;

        public byte[] Packet { get; } = packet.ToArray();

        /// <summary>Cycles since the line before, in the recording.</summary>
        public ulong Gap { get; init; }

        /// <summary>The answer to a read whose value the scheduler may have changed meanwhile.</summary>
        public bool IsRaced { get; init; }

        /// <summary>It came, or stands for no packet of its own here.</summary>
        public bool Done { get; set; }

        /// <summary>Inputs do not wait for it any more.</summary>
        public bool Overdue { get; set; }

        /// <summary>It came as a packet.</summary>
        public bool Actual { get; set; }

        public ulong ActualCycle { get; set; }

        public byte Tag { get; set; }
    }

    private sealed class StreamProgress
    {
        public List<RecordedOutput> Expected { get; } = [];

        public ulong Matched { get; set; }

        /// <summary>Packets that came.</summary>
        public ulong Events { get; set; }
    }

    /// <summary>The recorded outputs of a port that have not all come.</summary>
    private sealed class PortProgress(ulong skipped)
    {
        private ulong _done = skipped;

        public Queue<RecordedOutput> Outputs { get; } = new();

        /// <summary>The first of this many outputs that has not come and is not overdue, or null.</summary>
        public RecordedOutput? FirstOpen(ulong count)
        {
            ulong number = _done;
            foreach (RecordedOutput output in Outputs)
            {
                if (number++ >= count)
                {
                    return null;
                }

                if (!output.Done && !output.Overdue)
                {
                    return output;
                }
            }

            return null;
        }

        /// <summary>Forgets those at the front that have come; their number.</summary>
        public int Advance()
        {
            int number = 0;
            while (Outputs.TryPeek(out RecordedOutput? output) && output.Done)
            {
                _ = Outputs.Dequeue();
                number++;
            }

            _done += (ulong)number;
            return number;
        }

        public void EndSection()
        {
            _done += (ulong)Outputs.Count;
            Outputs.Clear();
        }
    }

    /// <summary>Whether everything that was asked in the recording was answered there: only then does nothing come after its end.</summary>
    private sealed class Balance(int ports)
    {
        private readonly long[] _open = new long[ports];
        private readonly long[] _requested = new long[ports];

        public bool IsEven => Array.TrueForAll(_open, n => n == 0) && Array.TrueForAll(_requested, n => n == 0);

        public void Clear()
        {
            Array.Clear(_open);
            Array.Clear(_requested);
        }

        public void Input(int port, ReadOnlySpan<byte> packet)
        {
            if (port == StimuliFormat.ManagementPort)
            {
                _open[port] += BinaryPrimitives.ReadUInt32LittleEndian(packet) switch
                {
                    var word when (word & 0xFF) is RegisterMap.Opcode.RegRead or RegisterMap.Opcode.MemRead or RegisterMap.Opcode.Dma => 1,
                    _ => 0,
                };
            }
            else if (PacketClass.IsNonPosted(port, packet))
            {
                _open[port]++;
            }
        }

        public void Output(int port, ReadOnlySpan<byte> packet)
        {
            if (port == StimuliFormat.ManagementPort)
            {
                _open[port] -= (packet[0] & 0xFFu) is RegisterMap.Opcode.RegData or RegisterMap.Opcode.MemData or RegisterMap.Opcode.DmaDone ? 1 : 0;
            }
            else if (PacketClass.IsCompletion(packet))
            {
                _open[port] -= PacketClass.IsLastCompletion(packet) ? 1 : 0;
            }
            else if (PacketClass.IsNonPosted(port, packet))
            {
                _requested[port]++;
            }
        }

        public void Completed(int port) => _requested[port]--;
    }
}
