// SPDX-License-Identifier: Apache-2.0
using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Text;

namespace Cosim.Scheduling.Stimuli;

/// <summary>How a recording is written.</summary>
public sealed record StimuliWriterOptions
{
    /// <summary>Write what each packet is as a comment behind it. For small recordings: it costs more than the rest of the line.</summary>
    public bool Comments { get; init; }

    /// <summary>Cycle in which a recording of a running FPGA begins; null: it begins with the FPGA's first reset.</summary>
    public ulong? Start { get; init; }

    /// <summary>Outputs taken from each port before a recording with <see cref="Start"/> began; they are not counted. Empty: none.</summary>
    public IReadOnlyList<ulong> OutputsBefore { get; init; } = [];

    /// <summary>Bytes between the bridge's thread and the one that writes; at least 64 KiB, a power of two.</summary>
    public int BufferBytes { get; init; } = 4 << 20;

    /// <summary>Greatest number of bytes of inputs whose cycle lies ahead.</summary>
    public int AheadBytes { get; init; } = 64 << 20;

    /// <summary>Told once when the recording ends before its time, on the writer's thread; see <see cref="StimuliWriter.Failure"/>.</summary>
    public Action<string>? Failed { get; init; }
}

/// <summary>Writes what crosses an FPGA's boundary as a recording (<c>hdl/STIMULI.md</c>).</summary>
/// <remarks>
/// <para>
/// The thread that logs only copies packets into a ring; another one sorts, formats and writes them. Nothing is lost: where the ring is
/// full the logging thread waits. An error of the file ends the recording and nothing else: <see cref="Failure"/> says what it was,
/// and what is logged from then on is dropped.
/// </para>
/// <para>
/// A recording is whole once <see cref="End"/> was called, which a bridge does as it stops; then <see cref="Dispose"/> waits until
/// everything is in the file. Without <see cref="End"/> the file has no <c>end</c> line and counts as cut off.
/// To record a running bridge, make a writer with <see cref="StimuliWriterOptions.Start"/> on the bridge's thread, give it every
/// packet from then on, and call <see cref="End"/> on that thread with the FPGA's cycle.
/// </para>
/// </remarks>
public sealed class StimuliWriter : IStimuliLog, IDisposable
{
    private const int RecordBytes = 48;
    private const int WriteBytes = 64 << 10;

    // The writer looks after the ring this often, unless it is woken because the ring fills up.
    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(50);

    private readonly StimuliWriterOptions _options;
    private readonly Stream _stream; // closed by the writer's thread
    private readonly int _ports;
    private readonly byte[] _ring;
    private readonly AutoResetEvent _filled = new(false);
    private readonly AutoResetEvent _emptied = new(false);
    private readonly Thread _thread;
    private readonly byte[] _text = new byte[WriteBytes + StimuliText.LineRoom];
    private readonly PendingInputs _pending;
    private readonly ulong[] _lifted;
    private readonly ulong[] _before = new ulong[StimuliFormat.MaxPorts];

    // Positions in the ring count up for ever. The first is the logging thread's, the second the writer's.
    private ulong _tail;
    private ulong _head;
    private bool _ended;
    private volatile bool _stop;
    private volatile bool _waiting;
    private volatile string? _failure;
    private int _disposed;

    private int _textBytes;
    private ulong _now;
    private ulong _inputs;
    private ulong _outputs;
    private ulong _bytes;
    private bool _complete;

    /// <summary>Begins a recording in a file; gzip where its name ends in <c>.gz</c>. A file that is there is replaced.</summary>
    /// <exception cref="IOException">The file cannot be made.</exception>
    /// <exception cref="UnauthorizedAccessException">The file must not be made.</exception>
    public StimuliWriter(string path, RecordingHead head, StimuliWriterOptions? options = null)
        : this(Open(path), head, options)
    {
    }

    /// <summary>Begins a recording in a stream, which the writer closes.</summary>
    public StimuliWriter(Stream stream, RecordingHead head, StimuliWriterOptions? options = null)
    {
        _options = options ?? new StimuliWriterOptions();
        ArgumentOutOfRangeException.ThrowIfLessThan(_options.BufferBytes, 64 << 10, nameof(options));
        if (!int.IsPow2(_options.BufferBytes))
        {
            throw new ArgumentException($"a buffer of {_options.BufferBytes} bytes: expected a power of two", nameof(options));
        }

        if (head.Ports is < 1 or > StimuliFormat.MaxPorts)
        {
            throw new ArgumentException($"{head.Ports} ports; expected 1 to {StimuliFormat.MaxPorts}", nameof(head));
        }

        _stream = stream;
        _ports = head.Ports;
        _ring = GC.AllocateUninitializedArray<byte>(_options.BufferBytes);
        _pending = new PendingInputs(_options.AheadBytes);
        _lifted = new ulong[_ports * _ports];
        for (int port = 0; port < Math.Min(_ports, _options.OutputsBefore.Count); port++)
        {
            _before[port] = _options.OutputsBefore[port];
        }

        Put(Encoding.ASCII.GetBytes(StimuliText.Head(head)));
        Commit(_options.Start is { } start ? StimuliText.Start(Line(), start) : StimuliText.Reset(Line(), 0));
        _thread = new Thread(Write) { Name = "stimuli writer", IsBackground = true };
        _thread.Start();
    }

    /// <summary>Why the recording ended before its time, or null.</summary>
    public string? Failure => _failure;

    /// <summary>Bytes of text written, before compression.</summary>
    public ulong BytesWritten => Volatile.Read(ref _bytes);

    /// <summary>Packets into the FPGA that stand in the recording so far.</summary>
    public ulong Inputs => Volatile.Read(ref _inputs);

    /// <summary>Packets out of the FPGA that stand in the recording so far.</summary>
    public ulong Outputs => Volatile.Read(ref _outputs);

    /// <inheritdoc/>
    public void Input(int port, ulong cycle, ulong notBefore, ReadOnlySpan<ulong> outputsSeen, ReadOnlySpan<byte> packet)
    {
        if (!TryReserve(packet.Length, out Span<byte> record))
        {
            return;
        }

        RecordHeader header = new() { Kind = RecordKind.Input, Port = (byte)port, Length = (ushort)packet.Length, Cycle = Math.Max(cycle, notBefore), Now = cycle };
        for (int i = 0; i < outputsSeen.Length; i++)
        {
            header.Seen[i] = outputsSeen[i] - _before[i];
        }

        MemoryMarshal.Write(record, header);
        packet.CopyTo(record[RecordBytes..]);
        Publish(packet.Length);
    }

    /// <inheritdoc/>
    public void Output(int port, ulong cycle, ReadOnlySpan<byte> packet)
    {
        if (!TryReserve(packet.Length, out Span<byte> record))
        {
            return;
        }

        MemoryMarshal.Write(record, new RecordHeader { Kind = RecordKind.Output, Port = (byte)port, Length = (ushort)packet.Length, Cycle = cycle });
        packet.CopyTo(record[RecordBytes..]);
        Publish(packet.Length);
    }

    /// <inheritdoc/>
    public void Reset(ulong cycle) => Mark(RecordKind.Reset, cycle);

    /// <inheritdoc/>
    public void End(ulong cycle)
    {
        if (!_ended)
        {
            Mark(RecordKind.End, cycle);
            _ended = true;
            _ = _filled.Set();
        }
    }

    /// <summary>Waits until what was logged is in the file, and closes it. Not to be called while another thread logs.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }

        _ended = true;
        _stop = true;
        _ = _filled.Set();
        _thread.Join();
        _stream.Dispose();
        _filled.Dispose();
        _emptied.Dispose();
    }

    /// <summary>Makes or replaces a file for a recording.</summary>
    internal static Stream Open(string path)
    {
        // Nobody else may write to it: shared for reading, two recordings could have the same file.
        FileStream file = new(path, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        return path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? new GZipStream(file, CompressionLevel.Fastest) : file;
    }

    private static int Aligned(int packetBytes) => (RecordBytes + packetBytes + 7) & ~7;

    private void Mark(RecordKind kind, ulong cycle)
    {
        if (TryReserve(0, out Span<byte> record))
        {
            MemoryMarshal.Write(record, new RecordHeader { Kind = kind, Cycle = cycle });
            Publish(0);
        }
    }

    // The logging thread's half: a record never wraps, the rest of the ring is skipped instead.
    private bool TryReserve(int packetBytes, out Span<byte> record)
    {
        record = default;
        if (_ended || _failure is not null)
        {
            return false;
        }

        if (packetBytes > StimuliFormat.MaxPacketBytes)
        {
            throw new ArgumentException($"a packet of {packetBytes} bytes: at most {StimuliFormat.MaxPacketBytes} can cross the boundary", nameof(packetBytes));
        }

        int size = Aligned(packetBytes);
        int at = (int)(_tail & (ulong)(_ring.Length - 1));
        if (at + size > _ring.Length)
        {
            if (!WaitForRoom(_ring.Length - at))
            {
                return false;
            }

            // Whatever is too short for a record's header is skipped without one.
            if (_ring.Length - at >= RecordBytes)
            {
                MemoryMarshal.Write(_ring.AsSpan(at), new RecordHeader { Kind = RecordKind.Skip });
            }

            Volatile.Write(ref _tail, _tail + (ulong)(_ring.Length - at));
            at = 0;
        }

        if (!WaitForRoom(size))
        {
            return false;
        }

        record = _ring.AsSpan(at, size);
        return true;
    }

    private bool WaitForRoom(int size)
    {
        while ((ulong)_ring.Length - (_tail - Volatile.Read(ref _head)) < (ulong)size)
        {
            if (_failure is not null)
            {
                return false;
            }

            _waiting = true;
            _ = _filled.Set();
            _ = _emptied.WaitOne(s_interval);
            _waiting = false;
        }

        return true;
    }

    private void Publish(int packetBytes)
    {
        ulong used = _tail - Volatile.Read(ref _head);
        ulong tail = _tail + (ulong)Aligned(packetBytes);
        Volatile.Write(ref _tail, tail);
        ulong quarter = (ulong)_ring.Length / 4;
        if (used / quarter != (used + (ulong)Aligned(packetBytes)) / quarter)
        {
            _ = _filled.Set();
        }
    }

    private void Write()
    {
        try
        {
            while (!_complete)
            {
                bool stop = _stop;
                if (!Drain())
                {
                    if (stop)
                    {
                        break;
                    }

                    Flush();
                    _ = _filled.WaitOne(s_interval);
                }
            }

            Flush();
            _stream.Dispose();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException or ObjectDisposedException)
        {
            Fail($"the recording ended after {_inputs} inputs and {_outputs} outputs: {e.Message}");
        }
        catch (Exception e)
        {
            // Nothing of this thread may end the process that is recorded.
            Fail($"the recording ended after {_inputs} inputs and {_outputs} outputs: {e}");
        }
    }

    private void Fail(string reason)
    {
        _failure = reason;
        _ = _emptied.Set();
        try
        {
            _stream.Dispose();
        }
        catch (IOException)
        {
            // What could not be written before cannot be written now; the reason is kept.
        }

        _options.Failed?.Invoke(reason);
    }

    // Writes what is in the ring; false: it was empty.
    private bool Drain()
    {
        ulong tail = Volatile.Read(ref _tail);
        if (_head == tail)
        {
            return false;
        }

        ulong released = _head;
        ulong head = _head;
        while (head < tail && !_complete)
        {
            int at = (int)(head & (ulong)(_ring.Length - 1));
            int left = _ring.Length - at;
            if (left < RecordBytes)
            {
                head += (ulong)left;
                continue;
            }

            RecordHeader header = MemoryMarshal.Read<RecordHeader>(_ring.AsSpan(at));
            if (header.Kind == RecordKind.Skip)
            {
                head += (ulong)left;
                continue;
            }

            Take(header, _ring.AsSpan(at + RecordBytes, header.Length));
            head += (ulong)Aligned(header.Length);
            if (head - released >= (ulong)_ring.Length / 8)
            {
                released = head;
                Release(head);
            }
        }

        Release(head);
        return true;
    }

    private void Release(ulong head)
    {
        Volatile.Write(ref _head, head);
        if (_waiting)
        {
            _ = _emptied.Set();
        }
    }

    private void Take(in RecordHeader header, ReadOnlySpan<byte> packet)
    {
        switch (header.Kind)
        {
            case RecordKind.Input:
                // The clock has run since the former input was given: no output from before that one's time is still to come.
                if (header.Now > _now)
                {
                    WriteInputsBefore(_now);
                    _now = header.Now;
                }

                _pending.Add(header, packet);
                break;
            case RecordKind.Output:
                WriteInputsBefore(header.Cycle);
                Commit(StimuliText.Output(Line(), header.Port, header.Cycle, packet, _options.Comments));
                Volatile.Write(ref _outputs, _outputs + 1);
                break;
            case RecordKind.Reset:
                WriteInputsBefore(header.Cycle);
                _pending.Clear();
                Commit(StimuliText.Reset(Line(), header.Cycle));
                break;
            default:
                WriteInputsBefore(header.Cycle);
                _pending.Clear();
                Commit(StimuliText.End(Line(), header.Cycle, _inputs, _outputs));
                _complete = true;
                break;
        }
    }

    // Outputs of a cycle stand before its inputs, so that those of the cycle itself have to wait.
    private void WriteInputsBefore(ulong cycle)
    {
        while (_pending.TryTake(cycle, out PendingInput? input))
        {
            ref readonly RecordHeader header = ref input.Header;
            // One that was given later may stand earlier in its port; what that one had seen holds for those behind it.
            Span<ulong> seen = _lifted.AsSpan(header.Port * _ports, _ports);
            for (int i = 0; i < seen.Length; i++)
            {
                seen[i] = Math.Max(seen[i], header.Seen[i]);
            }

            Commit(StimuliText.Input(Line(), header.Port, header.Cycle, seen, input.Packet, _options.Comments));
            Volatile.Write(ref _inputs, _inputs + 1);
            _pending.Return(input);
        }
    }

    private Span<byte> Line() => _text.AsSpan(_textBytes);

    private void Commit(int bytes)
    {
        _textBytes += bytes;
        if (_textBytes >= WriteBytes)
        {
            Flush();
        }
    }

    private void Put(ReadOnlySpan<byte> text)
    {
        text.CopyTo(Line());
        Commit(text.Length);
    }

    private void Flush()
    {
        if (_textBytes > 0)
        {
            _stream.Write(_text, 0, _textBytes);
            Volatile.Write(ref _bytes, _bytes + (ulong)_textBytes);
            _textBytes = 0;
        }
    }
}
