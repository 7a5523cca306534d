// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.VfioUser;
using Cosim.Virtio;

namespace Cosim.Backend.Internal;

/// <summary>
/// The back end's side of the host-to-FPGA mailbox: messages in their order. One that finds the mailbox full waits for the front end's call, which it
/// asks for (hdl/BACKEND.md, "Carriers").
/// </summary>
internal sealed class Outbox : IDisposable
{
    private const uint ReadyAndWaiting = 3;
    private const int UsualPatience = 10_000;

    private readonly IEndpoint _endpoint;
    private readonly Queue<(byte[] Message, Action? Posted)> _waiting = new();
    private readonly Alarm _patience;
    private readonly int _milliseconds;
    private bool _disposed;

    /// <summary>Makes it.</summary>
    /// <param name="loop">Runs the session.</param>
    /// <param name="endpoint">The FPGA.</param>
    /// <param name="patience">Milliseconds after which a front end that leaves the mailbox full counts as gone.</param>
    internal Outbox(EventLoop loop, IEndpoint endpoint, int patience = UsualPatience)
    {
        _milliseconds = patience;
        _endpoint = endpoint;
        _patience = new Alarm(loop, GiveUp);
    }

    public void Dispose()
    {
        if (!_disposed)
        {
            _disposed = true;
            _patience.Dispose();
        }
    }

    /// <summary>Sends a message as soon as the mailbox is empty and those before it are out.</summary>
    /// <param name="request">What it is.</param>
    /// <param name="flags">Flags besides the version.</param>
    /// <param name="device">Number of the device.</param>
    /// <param name="payload">At most <see cref="MailboxHeader.MaxPayload"/> bytes.</param>
    /// <param name="posted">Called when it is in the mailbox.</param>
    internal void Send(MailboxRequest request, uint flags, uint device, ReadOnlySpan<byte> payload, Action? posted = null)
    {
        byte[] message = new byte[MailboxHeader.Bytes + payload.Length];
        new MailboxHeader(request, MailboxHeader.Version | flags, (uint)payload.Length, device).Write(message);
        payload.CopyTo(message.AsSpan(MailboxHeader.Bytes));
        _waiting.Enqueue((message, posted));
        if (_waiting.Count == 1)
        {
            PostNext();
        }
    }

    /// <summary>The front end may have emptied the mailbox.</summary>
    internal void PostNext()
    {
        while (_waiting.TryPeek(out (byte[] Message, Action? Posted) next))
        {
            if (_endpoint.Read(BackendRegisters.H2fStatus) != 0)
            {
                _endpoint.Write(BackendRegisters.Control, ReadyAndWaiting);
                if (!_patience.IsSet)
                {
                    _patience.Set(_milliseconds);
                }

                return;
            }

            _patience.Stop();
            _ = _waiting.Dequeue();
            Post(next.Message);
            next.Posted?.Invoke();
        }
    }

    /// <summary>Forgets what waits: the session is over.</summary>
    internal void Clear()
    {
        _patience.Stop();
        _waiting.Clear();
    }

    private void Post(ReadOnlySpan<byte> message)
    {
        Span<byte> word = stackalloc byte[4];
        for (int offset = 0; offset < message.Length; offset += 4)
        {
            word.Clear();
            message[offset..Math.Min(offset + 4, message.Length)].CopyTo(word);
            _endpoint.Write(BackendRegisters.H2fData + (uint)offset, BinaryPrimitives.ReadUInt32LittleEndian(word));
        }

        _endpoint.Write(BackendRegisters.H2fPost, (uint)message.Length);
    }

    private void GiveUp() => throw new BackendException(
        $"The front end has not emptied the host-to-FPGA mailbox for {_milliseconds / 1000.0:0.###} s, and {_waiting.Count} messages cannot be sent.");
}
