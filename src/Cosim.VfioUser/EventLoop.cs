// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Cosim.VfioUser.Internal;

namespace Cosim.VfioUser;

/// <summary>
/// Waits in poll(2) on any number of descriptors and calls their handlers, all on the one thread that runs it.
/// Only <see cref="Wake"/> may be called from another thread.
/// </summary>
/// <remarks>Rounds allocate nothing. Handlers may register and dispose freely, themselves included.</remarks>
public sealed unsafe class EventLoop : IDisposable
{
    private readonly EventFd _wake = new();
    private Libc.PollFd[] _descriptors;
    private EventRegistration?[] _registrations;
    private int _count;
    private int _pending;
    private bool _dispatching;
    private bool _removedWhileDispatching;

    /// <summary>Creates a loop that watches nothing but its wake-up event.</summary>
    public EventLoop()
    {
        _descriptors = GC.AllocateArray<Libc.PollFd>(16, pinned: true);
        _registrations = new EventRegistration?[16];
        Register(_wake.Fd, PollEvents.In, _ => _wake.TryTake(out ulong _));
    }

    /// <summary>Number of watched descriptors, the loop's own wake-up event not counted.</summary>
    public int Count => _count - 1;

    /// <summary>Starts to watch a descriptor.</summary>
    /// <param name="fd">An open descriptor, normally non-blocking.</param>
    /// <param name="events">What to wait for.</param>
    /// <param name="handler">Called on the loop's thread with what was found.</param>
    public EventRegistration Register(int fd, PollEvents events, Action<PollEvents> handler)
    {
        ArgumentNullException.ThrowIfNull(handler);
        if (_count == _descriptors.Length)
        {
            Libc.PollFd[] descriptors = GC.AllocateArray<Libc.PollFd>(_count * 2, pinned: true);
            _descriptors.CopyTo(descriptors, 0);
            _descriptors = descriptors;
            Array.Resize(ref _registrations, _count * 2);
        }

        EventRegistration registration = new(this, fd, events, handler) { Index = _count };
        _descriptors[_count] = new Libc.PollFd { Fd = fd, Events = (short)events };
        _registrations[_count] = registration;
        _count++;
        return registration;
    }

    /// <summary>Makes the present or the next <see cref="RunOnce"/> return at once. May be called from any thread.</summary>
    public void Wake() => _wake.Signal();

    /// <summary>Waits until a descriptor is ready, the loop is woken or the time is over, and calls the handlers of what is ready.</summary>
    /// <param name="timeoutMilliseconds">How long to wait at most: 0 only looks, -1 waits without limit.</param>
    /// <returns>How many descriptors were ready, the wake-up event included; 0 after the time is over or after a signal.</returns>
    /// <exception cref="VfioUserException">poll(2) failed.</exception>
    public int RunOnce(int timeoutMilliseconds)
    {
        int count = _count;
        int ready = Libc.Poll(
            (Libc.PollFd*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_descriptors)),
            (nuint)count,
            _pending > 0 ? 0 : timeoutMilliseconds);
        if (ready < 0)
        {
            if (Marshal.GetLastPInvokeError() != Libc.EINTR)
            {
                throw VfioUserException.FromLastError("poll");
            }

            ready = 0;
        }

        if (ready == 0 && _pending == 0)
        {
            return 0;
        }

        Dispatch(count, ready);
        return ready;
    }

    /// <summary>Closes the wake-up event. Watched descriptors stay their owners'.</summary>
    public void Dispose() => _wake.Dispose();

    internal void Changed(EventRegistration registration)
    {
        if (registration.Index >= 0)
        {
            _descriptors[registration.Index].Events = (short)registration.Events;
        }
    }

    internal void Pend(EventRegistration registration)
    {
        if (registration.Index >= 0 && !registration.Pending)
        {
            registration.Pending = true;
            _pending++;
        }
    }

    internal void Remove(EventRegistration registration)
    {
        int index = registration.Index;
        if (index < 0)
        {
            return;
        }

        registration.Index = -1;
        if (registration.Pending)
        {
            registration.Pending = false;
            _pending--;
        }

        _registrations[index] = null;
        _descriptors[index] = new Libc.PollFd { Fd = -1 };
        if (_dispatching)
        {
            _removedWhileDispatching = true;
        }
        else
        {
            Compact();
        }
    }

    private void Dispatch(int count, int ready)
    {
        // Those pended by a handler of this round wait for the next one.
        int pending = _pending;
        _dispatching = true;
        try
        {
            for (int index = 0; index < count && (ready > 0 || pending > 0); index++)
            {
                PollEvents events = (PollEvents)_descriptors[index].Returned;
                EventRegistration? registration = _registrations[index];
                if (registration is null)
                {
                    continue;
                }

                bool wasPending = registration.Pending;
                if (events == PollEvents.None && !wasPending)
                {
                    continue;
                }

                _descriptors[index].Returned = 0;
                if (events != PollEvents.None)
                {
                    ready--;
                }

                if (wasPending)
                {
                    registration.Pending = false;
                    _pending--;
                    pending--;
                }

                registration.Handler(events);
            }
        }
        finally
        {
            _dispatching = false;
            if (_removedWhileDispatching)
            {
                _removedWhileDispatching = false;
                Compact();
            }
        }
    }

    private void Compact()
    {
        int kept = 0;
        for (int index = 0; index < _count; index++)
        {
            EventRegistration? registration = _registrations[index];
            if (registration is null)
            {
                continue;
            }

            registration.Index = kept;
            _registrations[kept] = registration;
            _descriptors[kept] = _descriptors[index];
            kept++;
        }

        Array.Clear(_registrations, kept, _count - kept);
        _count = kept;
    }
}
