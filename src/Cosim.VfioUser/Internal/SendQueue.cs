// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Cosim.VfioUser.Internal;

/// <summary>Messages on their way to a client that may be slow: built in place, sent at once where the socket takes them.</summary>
internal sealed unsafe class SendQueue
{
    /// <summary>What is copied in less time than formally leaving managed code takes.</summary>
    private const int ShortFrame = 4096;

    /// <summary>A buffer that has grown beyond this is given back once it is empty.</summary>
    private const int KeptBuffer = 1024 * 1024;

    private readonly Queue<Attachment> _attachments = new();
    private byte[] _buffer = new byte[64 * 1024];
    private int _head;
    private int _tail;

    /// <summary>Sent bytes of the frame at the head.</summary>
    private int _sent;

    /// <summary>Frames ever queued, and frames sent: names a frame wherever it lies.</summary>
    private long _queuedFrames;
    private long _sentFrames;

    /// <summary>Bytes not yet taken by the socket.</summary>
    internal int Length => _tail - _head - _sent;

    /// <summary>Room for one whole frame, zeroed. It is queued from now on; its size field is set.</summary>
    internal Span<byte> Add(int size)
    {
        if (_tail + size > _buffer.Length)
        {
            int held = _tail - _head;
            byte[] target = held + size > _buffer.Length
                ? new byte[(int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)(held + size))]
                : _buffer;
            Buffer.BlockCopy(_buffer, _head, target, 0, held);
            _buffer = target;
            _head = 0;
            _tail = held;
        }

        Span<byte> frame = _buffer.AsSpan(_tail, size);
        frame.Clear();
        BinaryPrimitives.WriteInt32LittleEndian(frame[4..], size);
        _tail += size;
        _queuedFrames++;
        return frame;
    }

    /// <summary>Sends descriptors with the frame that was added last. They must stay open until it is sent.</summary>
    /// <param name="descriptors">At least one.</param>
    /// <param name="close">They are closed once they are sent, or when the queue is cleared.</param>
    internal void Attach(int[] descriptors, bool close) => _attachments.Enqueue(new Attachment(_queuedFrames, descriptors, close));

    /// <summary>Sends what the socket takes without waiting.</summary>
    /// <remarks>One frame per call: a peer that finds only a part of a header in its first read gives up.</remarks>
    /// <returns>EAGAIN when something is left, otherwise what broke the connection.</returns>
    internal Errno Flush(int socket)
    {
        while (_head < _tail)
        {
            int size = BinaryPrimitives.ReadInt32LittleEndian(_buffer.AsSpan(_head + 4));
            nint sent = SendPart(socket, _buffer.AsSpan(_head + _sent, size - _sent), out int error);
            if (sent < 0)
            {
                if (error == Libc.EINTR)
                {
                    continue;
                }

                return (Errno)error;
            }

            _sent += (int)sent;
            if (_sent == size)
            {
                _head += size;
                _sent = 0;
                _sentFrames++;
            }
        }

        Clear();
        return Errno.None;
    }

    internal void Clear()
    {
        _head = 0;
        _tail = 0;
        _sent = 0;
        _sentFrames = _queuedFrames;
        while (_attachments.TryDequeue(out Attachment attachment))
        {
            attachment.Close();
        }

        if (_buffer.Length > KeptBuffer)
        {
            _buffer = new byte[64 * 1024];
        }
    }

    private nint SendPart(int socket, ReadOnlySpan<byte> part, out int error)
    {
        nint sent;
        if (_sent == 0 && _attachments.TryPeek(out Attachment attachment) && attachment.Frame == _sentFrames + 1)
        {
            sent = UnixSocket.Send(socket, part, attachment.Descriptors, Libc.MSG_DONTWAIT);
            error = Marshal.GetLastPInvokeError();
            if (sent > 0)
            {
                _attachments.Dequeue().Close();
            }

            return sent;
        }

        fixed (byte* data = part)
        {
            if (part.Length <= ShortFrame)
            {
                sent = Libc.SendNow(socket, data, (nuint)part.Length, Libc.MSG_NOSIGNAL | Libc.MSG_DONTWAIT);
                error = sent < 0 ? Marshal.GetLastSystemError() : 0;
            }
            else
            {
                sent = Libc.Send(socket, data, (nuint)part.Length, Libc.MSG_NOSIGNAL | Libc.MSG_DONTWAIT);
                error = Marshal.GetLastPInvokeError();
            }
        }

        return sent;
    }

    private readonly record struct Attachment(long Frame, int[] Descriptors, bool Owned)
    {
        internal void Close()
        {
            foreach (int fd in Owned ? Descriptors : [])
            {
                _ = Libc.Close(fd);
            }
        }
    }
}
