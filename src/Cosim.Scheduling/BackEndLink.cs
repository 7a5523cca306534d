// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling;

/// <summary>The back end does not answer, answers wrongly, or is gone.</summary>
public sealed class BackEndException : Exception
{
    /// <summary>Makes the exception.</summary>
    /// <param name="message">Which message, what was expected, what came.</param>
    public BackEndException(string message)
        : base(message)
    {
    }
}

/// <summary>The front end's side of the mailboxes (<c>hdl/BACKEND.md</c>): one request at a time, each with its one reply.</summary>
/// <remarks>Owned by the bridge's thread; its tasks end there.</remarks>
internal sealed class BackEndLink
{
    // A back end has few messages of its own out at a time; one that takes no reply is not kept replies for without end.
    private const int MostReplies = 256;
    private const ulong Unsupported = 95;

    private readonly ManagementPort _port;
    private readonly TimeProvider _time;
    private readonly TimeSpan _timeout;
    private readonly Queue<Pending> _waiting = new();
    private readonly Queue<(MailboxHeader Header, ulong Status)> _replies = new();
    private Pending? _current;
    private bool _mailboxFull;
    private int _reading;
    private bool _callWhenRead;
    private long _deadline;

    public BackEndLink(ManagementPort port, TimeSpan timeout, TimeProvider time)
    {
        _port = port;
        _timeout = timeout;
        _time = time;
    }

    /// <summary>Told when the back end says that a device's configuration space has changed.</summary>
    public Action<uint>? ConfigurationChanged { get; set; }

    /// <summary>Given a part of a device's state; says 0 or the error that the back end is answered.</summary>
    public Func<uint, ReadOnlyMemory<byte>, ulong>? StateReceived { get; set; }

    /// <summary>Told when the back end broke the protocol or fell silent.</summary>
    public Action<string>? Lost { get; set; }

    /// <summary>Reports what is dropped.</summary>
    public Action<string>? Report { get; set; }

    /// <summary>Timestamp at which <see cref="CheckDeadline"/> has to be called, or null.</summary>
    public long? Deadline => _current is null && _waiting.Count == 0 ? null : _deadline;

    /// <summary>Sends a request and waits for its reply.</summary>
    /// <param name="device">Device number.</param>
    /// <param name="request">Request.</param>
    /// <param name="payload">Its payload.</param>
    /// <param name="replySize">Expected payload of the reply in bytes.</param>
    /// <exception cref="BackEndException">The back end is lost or has refused the request.</exception>
    public Task<byte[]> Request(int device, MailboxRequest request, byte[] payload, int replySize)
    {
        Pending pending = new(device, request, payload, replySize);
        if (_current is null && _waiting.Count == 0)
        {
            StartClock();
        }

        _waiting.Enqueue(pending);
        SendNext();
        return pending.Done.Task;
    }

    /// <summary>Sends a request whose reply is a status.</summary>
    /// <exception cref="BackEndException">The back end is lost or has answered an error.</exception>
    public async Task Command(int device, MailboxRequest request, byte[] payload)
    {
        byte[] reply = await Request(device, request, payload, 8);
        ulong error = BinaryPrimitives.ReadUInt64LittleEndian(reply);
        if (error != 0)
        {
            throw new BackEndException($"the back end refused {request} for device {device} with error {error}");
        }
    }

    /// <summary>Ends every request that waits, because the session is over.</summary>
    public void Abandon(string reason)
    {
        List<Pending> pending = [.. _waiting];
        _waiting.Clear();
        _replies.Clear();
        if (_current is not null)
        {
            pending.Insert(0, _current);
            _current = null;
        }

        _mailboxFull = false;
        _callWhenRead = false;
        foreach (Pending one in pending)
        {
            one.Done.SetException(new BackEndException($"{one.Request} for device {one.Device}: {reason}"));
        }
    }

    /// <summary>Tells <see cref="Lost"/> if the reply that is waited for is overdue.</summary>
    public void CheckDeadline()
    {
        if (Deadline is { } deadline && _time.GetTimestamp() >= deadline)
        {
            string what = _current is null ? "it does not acknowledge a message" : $"no reply to {_current.Request} for device {_current.Device}";
            Lost?.Invoke($"host 2 does not answer its mailbox: {what} within {_timeout.TotalSeconds:0.#} s");
        }
    }

    /// <summary>Host 2 has taken the message out of the mailbox.</summary>
    public void Acknowledged()
    {
        _mailboxFull = false;
        SendNext();
    }

    /// <summary>Host 2 has something to post and has found its mailbox full: it is called when that is empty.</summary>
    public void CallWhenEmpty()
    {
        _callWhenRead = true;
        CallIfEmpty();
    }

    /// <summary>Host 2 has posted a message of <paramref name="length"/> bytes: reads it, empties the mailbox and acts on it.</summary>
    public async Task Posted(uint length)
    {
        _reading++;
        byte[] message = new byte[(length + 3) & ~3u];
        List<Task<uint>> words = [];
        for (uint offset = 0; offset < message.Length; offset += 4)
        {
            words.Add(_port.ReadRegister(RegisterMap.Management.H2fData + offset));
        }

        for (int i = 0; i < words.Count; i++)
        {
            uint word = await words[i];
            BinaryPrimitives.WriteUInt32LittleEndian(message.AsSpan(4 * i), word);
        }

        _port.WriteRegister(RegisterMap.Management.H2fControl, 0);
        _reading--;
        CallIfEmpty();
        Received(message.AsMemory(0, (int)length));
    }

    private void CallIfEmpty()
    {
        if (_callWhenRead && _reading == 0)
        {
            _callWhenRead = false;
            _port.Interrupt(1, 0, 0);
        }
    }

    private void Received(ReadOnlyMemory<byte> message)
    {
        if (!MailboxHeader.TryRead(message.Span, out MailboxHeader header))
        {
            Report?.Invoke($"mailbox message of {message.Length} bytes with a bad header");
            return;
        }

        if (!header.IsReply)
        {
            if ((uint)header.Request == MailboxHeader.ConfigChange)
            {
                ConfigurationChanged?.Invoke(header.Device);
            }
            else if ((uint)header.Request == MailboxHeader.DeviceState)
            {
                Reply(header, StateReceived?.Invoke(header.Device, message.Slice(MailboxHeader.Bytes, (int)header.Size)) ?? Unsupported);
            }
            else
            {
                Report?.Invoke($"the back end sent message {(uint)header.Request}, which is none of its own");
            }

            return;
        }

        Pending? pending = _current;
        if (pending is null || pending.Request != header.Request || (uint)pending.Device != header.Device)
        {
            Report?.Invoke($"the back end answered {header.Request} for device {header.Device}, which was not asked");
            return;
        }

        _current = null;
        StartClock();
        ReadOnlySpan<byte> payload = message.Span.Slice(MailboxHeader.Bytes, (int)header.Size);
        if (payload.Length == pending.ReplySize)
        {
            pending.Done.SetResult(payload.ToArray());
        }
        else if (payload.Length == 8)
        {
            pending.Done.SetException(new BackEndException(
                $"the back end refused {pending.Request} for device {pending.Device} with error {BinaryPrimitives.ReadUInt64LittleEndian(payload)}"));
        }
        else
        {
            pending.Done.SetException(new BackEndException(
                $"the back end answered {pending.Request} for device {pending.Device} with {payload.Length} bytes; expected {pending.ReplySize}"));
        }

        SendNext();
    }

    private void Reply(in MailboxHeader header, ulong status)
    {
        if ((header.Flags & MailboxHeader.NeedReply) == 0)
        {
            return;
        }

        if (_replies.Count == MostReplies)
        {
            Lost?.Invoke($"host 2 does not take the replies to its messages from its mailbox: {MostReplies} wait");
            return;
        }

        _replies.Enqueue((header, status));
        SendNext();
    }

    private void SendNext()
    {
        if (_mailboxFull)
        {
            return;
        }

        if (_replies.TryDequeue(out (MailboxHeader Header, ulong Status) reply))
        {
            Put(reply.Header.Request, MailboxHeader.Reply, reply.Header.Device, BackEnd.U64(reply.Status));
        }
        else if (_current is null && _waiting.TryDequeue(out Pending? pending))
        {
            _current = pending;
            StartClock();
            Put(pending.Request, MailboxHeader.NeedReply, (uint)pending.Device, pending.Payload);
        }
    }

    private void Put(MailboxRequest request, uint flags, uint device, ReadOnlySpan<byte> payload)
    {
        _mailboxFull = true;
        byte[] message = new byte[MailboxHeader.Bytes + ((payload.Length + 3) & ~3)];
        new MailboxHeader(request, MailboxHeader.Version | flags, (uint)payload.Length, device).Write(message);
        payload.CopyTo(message.AsSpan(MailboxHeader.Bytes));
        for (int offset = 0; offset < message.Length; offset += 4)
        {
            _port.WriteRegister(RegisterMap.Management.F2hData + (uint)offset, BinaryPrimitives.ReadUInt32LittleEndian(message.AsSpan(offset)));
        }

        _port.WriteRegister(RegisterMap.Management.F2hControl, (uint)(MailboxHeader.Bytes + payload.Length));
        _port.Interrupt(1, 0, 0);
    }

    private void StartClock() => _deadline = _time.GetTimestamp() + (long)(_timeout.TotalSeconds * _time.TimestampFrequency);

    private sealed record Pending(int Device, MailboxRequest Request, byte[] Payload, int ReplySize)
    {
        public TaskCompletionSource<byte[]> Done { get; } = new();
    }
}
