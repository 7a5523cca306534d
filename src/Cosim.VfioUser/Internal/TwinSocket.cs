// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Cosim.VfioUser.Internal;

/// <summary>Our end of the socket on which commands go to the client and its replies come back (twin-socket mode).</summary>
internal sealed class TwinSocket : IDisposable
{
    private readonly int _socket;
    private readonly int _maxFrameSize;
    private readonly MessageHandler _received;
    private readonly Action _ended;
    private readonly EventRegistration _registration;
    private readonly DescriptorQueue _descriptors = new();
    private byte[] _buffer = new byte[16 * 1024];
    private int _tail;
    private bool _disposed;

    /// <summary>Starts to listen to a socket, which it then owns.</summary>
    /// <param name="loop">Runs it.</param>
    /// <param name="socket">A connected socket that does not block.</param>
    /// <param name="maxFrameSize">Greatest message.</param>
    /// <param name="received">Takes each whole message.</param>
    /// <param name="ended">The client closed it, or sent what is no message.</param>
    internal TwinSocket(EventLoop loop, int socket, int maxFrameSize, MessageHandler received, Action ended)
    {
        _socket = socket;
        _maxFrameSize = maxFrameSize;
        _received = received;
        _ended = ended;
        _registration = loop.Register(socket, PollEvents.In, OnEvents);
    }

    /// <summary>Takes a whole message; it is valid during the call.</summary>
    internal delegate void MessageHandler(ReadOnlySpan<byte> message);

    internal SendQueue Outgoing { get; } = new();

    /// <summary>Sends what the socket takes.</summary>
    /// <returns>False when the connection has ended, or more than so many bytes wait for the client.</returns>
    internal bool Flush(int mostQueued)
    {
        Errno error = Outgoing.Flush(_socket);
        _registration.Events = PollEvents.In | (Outgoing.Length > 0 ? PollEvents.Out : PollEvents.None);
        return error == Errno.None || (error == Errno.EAGAIN && Outgoing.Length <= mostQueued);
    }

    public void Dispose()
    {
        if (!_disposed)
        {
            _disposed = true;
            _registration.Dispose();
            _descriptors.CloseAll();
            Outgoing.Clear();
            _ = Libc.Close(_socket);
        }
    }

    private void OnEvents(PollEvents events)
    {
        if ((events & PollEvents.Out) != 0 && !Flush(int.MaxValue))
        {
            _ended();
            return;
        }

        if ((events & ~PollEvents.Out) == PollEvents.None)
        {
            return;
        }

        nint received = UnixSocket.Receive(_socket, _buffer.AsSpan(_tail), _descriptors, wait: false);

        // Nothing that comes here passes descriptors.
        _descriptors.CloseAll();
        if (received > 0)
        {
            _tail += (int)received;
            Process();
        }
        else if (received != -(nint)Errno.EAGAIN && received != -Libc.EINTR)
        {
            _registration.Events = PollEvents.None;
            _ended();
        }
    }

    private void Process()
    {
        int head = 0;
        while (!_disposed && _tail - head >= Wire.HeaderSize)
        {
            uint size = BinaryPrimitives.ReadUInt32LittleEndian(_buffer.AsSpan(head + 4));
            if (size < Wire.HeaderSize || size > (uint)_maxFrameSize)
            {
                _ended();
                head = _tail;
                break;
            }

            if (_tail - head < (int)size)
            {
                break;
            }

            _received(_buffer.AsSpan(head, (int)size));
            head += (int)size;
        }

        Buffer.BlockCopy(_buffer, head, _buffer, 0, _tail - head);
        _tail -= head;
        if (_tail >= Wire.HeaderSize)
        {
            int size = BinaryPrimitives.ReadInt32LittleEndian(_buffer.AsSpan(4));
            if (size > _buffer.Length)
            {
                Array.Resize(ref _buffer, _maxFrameSize);
            }
        }
    }
}
