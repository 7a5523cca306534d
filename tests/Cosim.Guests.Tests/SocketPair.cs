// SPDX-License-Identifier: Apache-2.0
using System.Net.Sockets;

namespace Cosim.Guests.Tests;

/// <summary>Two connected sockets.</summary>
internal static class SocketPair
{
    internal static (Socket Ours, Socket Peer) Create()
    {
        string path = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen(1);
        var ours = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        ours.Connect(new UnixDomainSocketEndPoint(path));
        Socket peer = listener.Accept();
        File.Delete(path);
        return (ours, peer);
    }
}
