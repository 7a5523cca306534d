// SPDX-License-Identifier: Apache-2.0
using System.Net.Sockets;
using System.Text;

namespace Cosim.Guests;

/// <summary>
/// One serial line of a guest, from our end. Everything that the guest says is kept for <see cref="Transcript"/>, is
/// copied to whoever listens, and can be waited for. Bytes are shown as Latin-1: each byte is one character.
/// </summary>
/// <remarks>One caller at a time may wait; writing and listening are free for all.</remarks>
public sealed class SerialLine : IAsyncDisposable
{
    private const int TranscriptLength = 64 * 1024;

    private readonly Socket _socket;
    private readonly Task _reader;
    private readonly Lock _gate = new();
    private readonly StringBuilder _text = new();
    private int _read; // what waiters have consumed of _text
    private TaskCompletionSource _arrived = NewSignal();
    private bool _ended;

    /// <summary>Takes over a connected socket.</summary>
    /// <param name="name">What the line is called in errors.</param>
    /// <param name="socket">The line; closed with this object.</param>
    public SerialLine(string name, Socket socket)
    {
        Name = name;
        _socket = socket;
        _reader = Task.Run(ReadAsync);
    }

    /// <summary>Called with each piece that the guest says, in order, on the reading thread.</summary>
    public event Action<ReadOnlyMemory<byte>>? Received;

    /// <summary>What the line is called in errors.</summary>
    public string Name { get; }

    /// <summary>The last 64 KiB that the guest said.</summary>
    public string Transcript
    {
        get
        {
            lock (_gate)
            {
                int start = Math.Max(0, _text.Length - TranscriptLength);
                return _text.ToString(start, _text.Length - start);
            }
        }
    }

    /// <summary>Sends bytes to the guest.</summary>
    /// <exception cref="GuestException">The guest is gone.</exception>
    public async Task WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellation = default)
    {
        try
        {
            while (bytes.Length > 0)
            {
                bytes = bytes[await _socket.SendAsync(bytes, cancellation)..];
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            throw Gone(e);
        }
    }

    /// <summary>Waits until the guest has said <paramref name="text"/> and consumes all up to its end.</summary>
    /// <returns>What was said before it, since the last wait.</returns>
    /// <exception cref="GuestException">The deadline has passed or the guest is gone; the message has the transcript's end.</exception>
    public async Task<string> WaitForAsync(string text, TimeSpan deadline, CancellationToken cancellation = default)
    {
        using var timer = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        timer.CancelAfter(deadline);
        int searched = 0;
        while (true)
        {
            Task arrived;
            lock (_gate)
            {
                string pending = _text.ToString(_read, _text.Length - _read);
                int at = pending.IndexOf(text, searched, StringComparison.Ordinal);
                if (at >= 0)
                {
                    _read += at + text.Length;
                    return pending[..at];
                }

                if (_ended)
                {
                    throw Gone(null);
                }

                searched = Math.Max(0, pending.Length - text.Length + 1);
                arrived = _arrived.Task;
            }

            try
            {
                await arrived.WaitAsync(timer.Token);
            }
            catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
            {
                throw new GuestException($"{Name}: \"{text.Trim()}\" was expected within {deadline.TotalSeconds:0.#} s and did not come. {Ending()}");
            }
        }
    }

    /// <summary>Joins a terminal to this line until its input ends, the guest is gone or <paramref name="cancellation"/> comes.</summary>
    /// <param name="input">What the user types, byte by byte.</param>
    /// <param name="output">What the user sees.</param>
    /// <param name="cancellation">Ends the session.</param>
    public async Task AttachAsync(Stream input, Stream output, CancellationToken cancellation)
    {
        void Show(ReadOnlyMemory<byte> piece)
        {
            output.Write(piece.Span);
            output.Flush();
        }

        Received += Show;
        try
        {
            var buffer = new byte[1024];
            while (true)
            {
                // A terminal's stream cannot be cancelled: the wait for it can.
                Task<int> typed = input.ReadAsync(buffer, cancellation).AsTask();
                await Task.WhenAny(typed, _reader).WaitAsync(cancellation);
                int length = _reader.IsCompleted ? 0 : await typed;
                if (length == 0)
                {
                    return;
                }

                await WriteAsync(buffer.AsMemory(0, length), cancellation);
            }
        }
        catch (OperationCanceledException)
        {
            // The session was ended from outside, as announced.
        }
        finally
        {
            Received -= Show;
        }
    }

    /// <summary>Closes the line.</summary>
    public async ValueTask DisposeAsync()
    {
        _socket.Dispose();
        await _reader;
    }

    internal string Ending()
    {
        string transcript = Transcript.TrimEnd();
        string[] lines = transcript.Split('\n');
        return transcript.Length == 0
            ? "The guest has said nothing on it."
            : "The last it said:\n" + string.Join('\n', lines[Math.Max(0, lines.Length - 20)..]).Replace("\r", "", StringComparison.Ordinal);
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private GuestException Gone(Exception? cause) => cause is null
        ? new GuestException($"{Name}: the guest is gone. {Ending()}")
        : new GuestException($"{Name}: the guest is gone. {Ending()}", cause);

    private async Task ReadAsync()
    {
        var buffer = new byte[16 * 1024];
        while (true)
        {
            int length;
            try
            {
                length = await _socket.ReceiveAsync(buffer);
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                length = 0; // QEMU was killed, or we are closing: both end the line.
            }

            Received?.Invoke(buffer.AsMemory(0, length));
            TaskCompletionSource signal;
            lock (_gate)
            {
                _text.Append(Encoding.Latin1.GetString(buffer, 0, length));

                // What was waited for and lies further back than the transcript goes is of no more use.
                int stale = Math.Min(_read, _text.Length - TranscriptLength);
                if (stale > TranscriptLength)
                {
                    _text.Remove(0, stale);
                    _read -= stale;
                }

                _ended = length == 0;
                signal = _arrived;
                _arrived = NewSignal();
            }

            signal.SetResult();
            if (length == 0)
            {
                return;
            }
        }
    }
}
