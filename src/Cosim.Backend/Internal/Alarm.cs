// SPDX-License-Identifier: Apache-2.0
using Cosim.VfioUser;

namespace Cosim.Backend.Internal;

/// <summary>Calls back once, some time after it was set (timerfd_create(2)).</summary>
internal sealed unsafe class Alarm : IDisposable
{
    private readonly int _fd;
    private readonly EventRegistration _registration;

    internal Alarm(EventLoop loop, Action elapsed)
    {
        _fd = Linux.CreateTimer(Linux.CLOCK_MONOTONIC, Linux.O_CLOEXEC | Linux.O_NONBLOCK);
        if (_fd < 0)
        {
            throw new BackendException($"A timer cannot be made: {Linux.LastError}.");
        }

        _registration = loop.Register(_fd, PollEvents.In, _ =>
        {
            ulong expirations;
            if (Linux.Read(_fd, &expirations, sizeof(ulong)) > 0)
            {
                IsSet = false;
                elapsed();
            }
        });
    }

    /// <summary>It is yet to elapse.</summary>
    internal bool IsSet { get; private set; }

    public void Dispose()
    {
        _registration.Dispose();
        _ = Linux.Close(_fd);
    }

    /// <summary>Sets it anew.</summary>
    /// <param name="milliseconds">At least 1.</param>
    internal void Set(long milliseconds) => Set(milliseconds, true);

    internal void Stop() => Set(0, false);

    private void Set(long milliseconds, bool set)
    {
        // struct itimerspec: interval, then first expiration; seconds and nanoseconds each.
        long* value = stackalloc long[] { 0, 0, milliseconds / 1000, milliseconds % 1000 * 1_000_000 };
        _ = Linux.SetTimer(_fd, 0, value, null);
        IsSet = set;
    }
}
