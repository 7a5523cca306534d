// SPDX-License-Identifier: Apache-2.0
using Cosim.VfioUser.Internal;

namespace Cosim.VfioUser;

/// <summary>An eventfd(2): a counter that another process can raise and that can be waited for.</summary>
public sealed unsafe class EventFd : IDisposable
{
    private int _fd;

    /// <summary>Creates a non-blocking eventfd with count 0.</summary>
    /// <exception cref="VfioUserException">No descriptor was to be had.</exception>
    public EventFd()
    {
        _fd = Libc.CreateEvent(0, Libc.EFD_CLOEXEC | Libc.EFD_NONBLOCK);
        if (_fd < 0)
        {
            throw VfioUserException.FromLastError("eventfd");
        }
    }

    /// <summary>The descriptor; owned by this object.</summary>
    public int Fd => _fd;

    /// <summary>Adds 1 to the count. Safe on any thread.</summary>
    public void Signal() => Signal(_fd);

    /// <summary>Takes the count and leaves 0.</summary>
    /// <param name="count">How often the event was signalled since it was last taken.</param>
    /// <returns>False when it was not.</returns>
    public bool TryTake(out ulong count)
    {
        ulong value = 0;
        bool taken = Libc.Read(_fd, &value, sizeof(ulong)) == sizeof(ulong);
        count = taken ? value : 0;
        return taken;
    }

    /// <summary>Waits for the event and takes it.</summary>
    /// <param name="timeoutMilliseconds">How long to wait at most; -1 is without limit.</param>
    /// <returns>False when the time was over first.</returns>
    public bool Wait(int timeoutMilliseconds)
    {
        Libc.PollFd descriptor = new() { Fd = _fd, Events = (short)PollEvents.In };
        _ = Libc.Poll(&descriptor, 1, timeoutMilliseconds);
        return TryTake(out ulong _);
    }

    /// <summary>Closes the descriptor.</summary>
    public void Dispose()
    {
        int fd = Interlocked.Exchange(ref _fd, -1);
        if (fd >= 0)
        {
            _ = Libc.Close(fd);
        }
    }

    /// <summary>Adds 1 to an eventfd that is not ours. A count already at its limit stays signalled, which is all that matters.</summary>
    internal static void Signal(int fd)
    {
        ulong one = 1;
        _ = Libc.WriteNow(fd, &one, sizeof(ulong));
    }

    /// <summary>Takes the count of an eventfd that is not ours.</summary>
    internal static void Take(int fd)
    {
        ulong value = 0;
        _ = Libc.Read(fd, &value, sizeof(ulong));
    }

    /// <summary>Whether a descriptor someone sent is an eventfd at all, and not a pipe or socket that could block the writer.</summary>
    internal static bool IsEventFd(int fd)
    {
        ReadOnlySpan<byte> expected = "anon_inode:[eventfd]"u8;
        Span<byte> target = stackalloc byte[64];
        fixed (byte* buffer = target)
        {
            nint length = Libc.ReadLink($"/proc/self/fd/{fd}", buffer, (nuint)target.Length);
            return length == expected.Length && target[..(int)length].SequenceEqual(expected);
        }
    }

    /// <summary>Makes writes to the descriptor fail instead of waiting when the count is at its limit.</summary>
    internal static void MakeNonBlocking(int fd)
    {
        int flags = Libc.Control(fd, Libc.F_GETFL, 0);
        if ((flags & Libc.O_NONBLOCK) == 0)
        {
            _ = Libc.Control(fd, Libc.F_SETFL, flags | Libc.O_NONBLOCK);
        }
    }
}
