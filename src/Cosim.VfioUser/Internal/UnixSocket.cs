// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace Cosim.VfioUser.Internal;

/// <summary>UNIX stream sockets that carry descriptors.</summary>
internal static unsafe class UnixSocket
{
    /// <summary>sun_path has 108 bytes, the last of them a NUL.</summary>
    internal const int MaxPathBytes = 107;

    private const int AddressSize = 2 + MaxPathBytes + 1;
    private const int ControlSize = 16 + (Wire.MaxDescriptors * sizeof(int));

    /// <summary>Listens on a path as its owner only; a socket file left by a server that is gone is replaced.</summary>
    /// <exception cref="VfioUserException">The path is too long, in use, or not a socket.</exception>
    internal static int Listen(string path)
    {
        Span<byte> address = stackalloc byte[AddressSize];
        uint length = FillAddress(path, address);
        int socket = Libc.Socket(Libc.AF_UNIX, Libc.SOCK_STREAM | Libc.SOCK_NONBLOCK | Libc.SOCK_CLOEXEC, 0);
        if (socket < 0)
        {
            throw VfioUserException.FromLastError("socket");
        }

        try
        {
            // Linux gives the file the mode of the unbound socket, so it is never open to others, not even for a moment.
            if (Libc.ChangeMode(socket, 0x180) != 0)
            {
                throw VfioUserException.FromLastError("fchmod of a socket");
            }

            fixed (byte* name = address)
            {
                if (Libc.Bind(socket, name, length) != 0)
                {
                    if ((Errno)Marshal.GetLastPInvokeError() != Errno.EADDRINUSE)
                    {
                        throw VfioUserException.FromLastError($"Cannot create the socket {path}");
                    }

                    RemoveStale(path, name, length);
                    if (Libc.Bind(socket, name, length) != 0)
                    {
                        throw VfioUserException.FromLastError($"Cannot create the socket {path}");
                    }
                }
            }

            if (Libc.Listen(socket, 4) != 0)
            {
                throw VfioUserException.FromLastError($"Cannot listen on {path}");
            }

            return socket;
        }
        catch
        {
            _ = Libc.Close(socket);
            throw;
        }
    }

    /// <summary>Connects to a path; the socket blocks.</summary>
    internal static int Connect(string path)
    {
        Span<byte> address = stackalloc byte[AddressSize];
        uint length = FillAddress(path, address);
        int socket = Libc.Socket(Libc.AF_UNIX, Libc.SOCK_STREAM | Libc.SOCK_CLOEXEC, 0);
        if (socket < 0)
        {
            throw VfioUserException.FromLastError("socket");
        }

        fixed (byte* name = address)
        {
            if (Libc.Connect(socket, name, length) != 0)
            {
                VfioUserException error = VfioUserException.FromLastError($"Cannot connect to {path}");
                _ = Libc.Close(socket);
                throw error;
            }
        }

        return socket;
    }

    /// <summary>Two sockets connected with each other: ours, which does not block, and one to be passed on.</summary>
    /// <returns>False when no descriptors were to be had.</returns>
    internal static bool TryCreatePair(out int own, out int other)
    {
        int* pair = stackalloc int[2];
        bool made = Libc.SocketPair(Libc.AF_UNIX, Libc.SOCK_STREAM | Libc.SOCK_CLOEXEC, 0, pair) == 0;
        own = made ? pair[0] : -1;
        other = made ? pair[1] : -1;
        if (made)
        {
            _ = Libc.Control(own, Libc.F_SETFL, Libc.O_NONBLOCK);
        }

        return made;
    }

    /// <summary>Receives what is there into <paramref name="buffer"/>, and descriptors into the queue.</summary>
    /// <returns>Bytes, 0 at the end of the stream, or the error number, negative.</returns>
    internal static nint Receive(int socket, Span<byte> buffer, DescriptorQueue descriptors, bool wait)
    {
        byte* control = stackalloc byte[ControlSize];
        nint received;
        Libc.MessageHeader message;
        fixed (byte* data = buffer)
        {
            Libc.IoVector vector = new() { Base = data, Length = (nuint)buffer.Length };
            message = new Libc.MessageHeader
            {
                Vectors = &vector,
                VectorCount = 1,
                Control = control,
                ControlLength = ControlSize,
            };
            if (wait)
            {
                received = Libc.ReceiveMessage(socket, &message, Libc.MSG_CMSG_CLOEXEC);
                received = received < 0 ? -Marshal.GetLastPInvokeError() : received;
            }
            else
            {
                received = Libc.ReceiveMessageNow(socket, &message, Libc.MSG_CMSG_CLOEXEC | Libc.MSG_DONTWAIT);
                received = received < 0 ? -Marshal.GetLastSystemError() : received;
            }
        }

        if (received >= 0 && message.ControlLength >= (nuint)sizeof(Libc.ControlHeader))
        {
            Libc.ControlHeader* header = (Libc.ControlHeader*)control;
            if (header->Level == Libc.SOL_SOCKET && header->Type == Libc.SCM_RIGHTS)
            {
                int count = (int)((header->Length - (nuint)sizeof(Libc.ControlHeader)) / sizeof(int));
                int* passed = (int*)(header + 1);
                for (int index = 0; index < count; index++)
                {
                    descriptors.Add(passed[index]);
                }
            }

            if ((message.Flags & Libc.MSG_CTRUNC) != 0)
            {
                descriptors.MarkOverflow();
            }
        }

        return received;
    }

    /// <summary>Sends bytes with descriptors.</summary>
    /// <returns>Bytes sent, or -1 with the error number set.</returns>
    internal static nint Send(int socket, ReadOnlySpan<byte> bytes, ReadOnlySpan<int> descriptors, int flags = 0)
    {
        if (descriptors.Length > Wire.MaxDescriptors * 4)
        {
            throw new ArgumentException($"{descriptors.Length} descriptors in one message.", nameof(descriptors));
        }

        int size = sizeof(Libc.ControlHeader) + (((descriptors.Length * sizeof(int)) + 7) & ~7);
        byte* control = stackalloc byte[size];
        fixed (byte* data = bytes)
        {
            Libc.IoVector vector = new() { Base = data, Length = (nuint)bytes.Length };
            Libc.MessageHeader message = new() { Vectors = &vector, VectorCount = 1 };
            if (!descriptors.IsEmpty)
            {
                Libc.ControlHeader* header = (Libc.ControlHeader*)control;
                header->Length = (nuint)(sizeof(Libc.ControlHeader) + (descriptors.Length * sizeof(int)));
                header->Level = Libc.SOL_SOCKET;
                header->Type = Libc.SCM_RIGHTS;
                descriptors.CopyTo(new Span<int>(header + 1, descriptors.Length));
                message.Control = control;
                message.ControlLength = (nuint)size;
            }

            return Libc.SendMessage(socket, &message, Libc.MSG_NOSIGNAL | flags);
        }
    }

    private static uint FillAddress(string path, Span<byte> address)
    {
        int bytes = Encoding.UTF8.GetByteCount(path);
        if (bytes is 0 or > MaxPathBytes)
        {
            throw new VfioUserException(
                $"The socket path {path} has {bytes} bytes; a UNIX socket's has 1 to {MaxPathBytes}.", Errno.EINVAL);
        }

        address.Clear();
        Unsafe.WriteUnaligned(ref address[0], (ushort)Libc.AF_UNIX);
        return (uint)(2 + Encoding.UTF8.GetBytes(path, address[2..]) + 1);
    }

    private static void RemoveStale(string path, byte* address, uint length)
    {
        if (Libc.TryStatus(path, out Libc.FileStatus status) && (status.Mode & Libc.S_IFMT) != Libc.S_IFSOCK)
        {
            throw new VfioUserException($"Cannot create the socket {path}: a file that is no socket is in its place.", Errno.EEXIST);
        }

        int probe = Libc.Socket(Libc.AF_UNIX, Libc.SOCK_STREAM | Libc.SOCK_NONBLOCK | Libc.SOCK_CLOEXEC, 0);
        if (probe < 0)
        {
            throw VfioUserException.FromLastError("socket");
        }

        // Nothing but a refusal says that nobody listens: a full backlog, say, is a server at work.
        bool refused = Libc.Connect(probe, address, length) != 0
            && (Errno)Marshal.GetLastPInvokeError() is Errno.ECONNREFUSED or Errno.ENOENT;
        _ = Libc.Close(probe);
        if (!refused)
        {
            throw new VfioUserException($"The socket {path} is in use: a server is listening on it.", Errno.EADDRINUSE);
        }

        _ = Libc.Unlink(path);
    }
}
