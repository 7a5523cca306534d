// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Cosim.VfioUser.Internal;

namespace Cosim.VfioUser;

/// <content>The server's requests: DMA_READ and DMA_WRITE.</content>
public sealed unsafe partial class VfioUserClient
{
    private readonly IVfioUserClientMemory? _memory;
    private readonly int _timeoutMilliseconds;
    private byte[] _answer = new byte[4096];
    private int _twin = -1;

    /// <summary>The server's requests come on a socket of their own.</summary>
    public bool HasTwinSocket => _twin >= 0;

    /// <summary>Waits for requests of the server and answers one.</summary>
    /// <param name="timeoutMilliseconds">How long to wait at most; 0 only looks, -1 waits without limit.</param>
    /// <returns>False when none came in time.</returns>
    /// <exception cref="VfioUserException">The server left, or sent something else than a request.</exception>
    public bool Serve(int timeoutMilliseconds)
    {
        int ready = WaitForInput(timeoutMilliseconds);
        if (ready < 0)
        {
            return false;
        }

        ReadOnlySpan<byte> message = ReceiveFrame(ready);
        if (!TryServe(ready, message))
        {
            throw new VfioUserException("The server sent a reply where nothing was asked.", Errno.EINVAL);
        }

        return true;
    }

    /// <summary>The descriptors that came with the last message; the caller closes them. Those not taken are closed when the next message comes.</summary>
    public int[] TakeDescriptors()
    {
        int[] descriptors = new int[_received.Count];
        for (int index = 0; index < descriptors.Length; index++)
        {
            descriptors[index] = _received.Take(index);
        }

        _received.CloseAll();
        return descriptors;
    }

    private void TakeTwin()
    {
        int[] descriptors = TakeDescriptors();
        if (descriptors.Length != 1)
        {
            foreach (int fd in descriptors)
            {
                _ = Libc.Close(fd);
            }

            throw new VfioUserException($"The server offers a twin socket and passes {descriptors.Length} descriptors; expected one.", Errno.EINVAL);
        }

        _twin = descriptors[0];
    }

    /// <summary>The socket on which something came, or -1 when the time was over first.</summary>
    private int WaitForInput(int timeoutMilliseconds)
    {
        Libc.PollFd* descriptors = stackalloc Libc.PollFd[2];
        descriptors[0] = new Libc.PollFd { Fd = _socket, Events = (short)PollEvents.In };
        descriptors[1] = new Libc.PollFd { Fd = _twin, Events = (short)PollEvents.In };
        while (Libc.Poll(descriptors, 2, timeoutMilliseconds) < 0)
        {
            if (Marshal.GetLastPInvokeError() != Libc.EINTR)
            {
                throw VfioUserException.FromLastError("poll");
            }
        }

        return descriptors[1].Returned != 0 ? _twin : descriptors[0].Returned != 0 ? _socket : -1;
    }

    /// <summary>Answers a request of the server on the socket it came on.</summary>
    /// <returns>False when the message is none, or there is no memory to answer from.</returns>
    private bool TryServe(int socket, ReadOnlySpan<byte> message)
    {
        uint flags = BinaryPrimitives.ReadUInt32LittleEndian(message[8..]);
        if ((flags & Wire.TypeMask) != Wire.TypeCommand || _memory is null)
        {
            return false;
        }

        Errno error = Carry(message, out int length);
        if ((flags & Wire.NoReply) != 0)
        {
            return true;
        }

        Span<byte> answer = _answer.AsSpan(0, error == Errno.None ? length : Wire.HeaderSize);
        message[..4].CopyTo(answer);
        BinaryPrimitives.WriteInt32LittleEndian(answer[4..], answer.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(answer[8..], Wire.TypeReply | (error == Errno.None ? 0 : Wire.Error));
        BinaryPrimitives.WriteInt32LittleEndian(answer[12..], (int)error);
        SendAll(socket, answer, []);
        return true;
    }

    /// <summary>Carries a request out and puts what follows the header of its answer in place.</summary>
    private Errno Carry(ReadOnlySpan<byte> message, out int length)
    {
        length = Wire.HeaderSize;
        VfioUserCommand command = (VfioUserCommand)BinaryPrimitives.ReadUInt16LittleEndian(message[2..]);
        ReadOnlySpan<byte> payload = message[Wire.HeaderSize..];
        if (command is not (VfioUserCommand.DmaRead or VfioUserCommand.DmaWrite) || payload.Length < Wire.DmaAccessSize || _received.Count != 0)
        {
            return Errno.EINVAL;
        }

        ulong address = BinaryPrimitives.ReadUInt64LittleEndian(payload);
        ulong count = BinaryPrimitives.ReadUInt64LittleEndian(payload[8..]);
        int data = payload.Length - Wire.DmaAccessSize;
        bool isRead = command == VfioUserCommand.DmaRead;
        if (count > (ulong)_ownDataLimit || data != (isRead ? 0 : (int)count))
        {
            return Errno.EINVAL;
        }

        length += isRead ? Wire.DmaAccessSize + (int)count : Wire.DmaWriteReplySize;
        if (_answer.Length < length)
        {
            _answer = new byte[(int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)length)];
        }

        Span<byte> answer = _answer.AsSpan(Wire.HeaderSize);
        payload[..(isRead ? Wire.DmaAccessSize : Wire.DmaWriteReplySize)].CopyTo(answer);
        return isRead
            ? _memory!.Read(address, answer.Slice(Wire.DmaAccessSize, (int)count))
            : _memory!.Write(address, payload[Wire.DmaAccessSize..]);
    }
}
