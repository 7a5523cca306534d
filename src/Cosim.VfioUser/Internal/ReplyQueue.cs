// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Cosim.VfioUser.Internal;

/// <summary>Replies on their way to a client that may be slow: built in place, sent at once where the socket takes them.</summary>
internal sealed unsafe class ReplyQueue
{
    /// <summary>What is copied in less time than formally leaving managed code takes.</summary>
    private const int ShortFrame = 4096;

    private byte[] _buffer = new byte[64 * 1024];
    private int _head;
    private int _tail;

    /// <summary>Sent bytes of the frame at the head.</summary>
    private int _sent;

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
        return frame;
    }

    /// <summary>Sends what the socket takes without waiting.</summary>
    /// <remarks>One frame per call: a peer that finds only a part of a header in its first read gives up.</remarks>
    /// <returns>EAGAIN when something is left, otherwise what broke the connection.</returns>
    internal Errno Flush(int socket)
    {
        while (_head < _tail)
        {
            int size = BinaryPrimitives.ReadInt32LittleEndian(_buffer.AsSpan(_head + 4));
            int left = size - _sent;
            nint sent;
            int error;
            fixed (byte* data = &_buffer[_head + _sent])
            {
                if (left <= ShortFrame)
                {
                    sent = Libc.SendNow(socket, data, (nuint)left, Libc.MSG_NOSIGNAL | Libc.MSG_DONTWAIT);
                    error = sent < 0 ? Marshal.GetLastSystemError() : 0;
                }
                else
                {
                    sent = Libc.Send(socket, data, (nuint)left, Libc.MSG_NOSIGNAL | Libc.MSG_DONTWAIT);
                    error = Marshal.GetLastPInvokeError();
                }
            }

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
    }
}
