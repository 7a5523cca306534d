// SPDX-License-Identifier: Apache-2.0
using Cosim.VfioUser;

namespace Cosim.Backend.Internal;

/// <summary>Hears of changes of network interfaces (rtnetlink's RTMGRP_LINK), whichever they are.</summary>
internal sealed unsafe class LinkMonitor : IDisposable
{
    private const int NETLINK_ROUTE = 0;
    private const uint RTMGRP_LINK = 1;

    private readonly int _socket;
    private readonly EventRegistration _registration;

    internal LinkMonitor(EventLoop loop, Action changed)
    {
        _socket = Linux.Socket(Linux.AF_NETLINK, Linux.SOCK_RAW | Linux.SOCK_CLOEXEC | Linux.SOCK_NONBLOCK, NETLINK_ROUTE);

        // struct sockaddr_nl: family, process id, groups.
        uint* address = stackalloc uint[] { Linux.AF_NETLINK, 0, RTMGRP_LINK };
        if (_socket < 0 || Linux.Bind(_socket, address, 3 * sizeof(uint)) != 0)
        {
            throw new BackendException($"Changes of network interfaces cannot be watched: {Linux.LastError}.");
        }

        _registration = loop.Register(_socket, PollEvents.In, _ =>
        {
            Drain();
            changed();
        });
    }

    public void Dispose()
    {
        _registration.Dispose();
        _ = Linux.Close(_socket);
    }

    // What the messages say is not needed: the state is asked for afterwards, so that none lost matters.
    private void Drain()
    {
        byte* buffer = stackalloc byte[4096];
        nint length;
        do
        {
            length = Linux.Read(_socket, buffer, 4096);
        }
        while (length > 0);
    }
}
