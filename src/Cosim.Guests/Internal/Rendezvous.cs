// SPDX-License-Identifier: Apache-2.0
using System.Net.Sockets;
using System.Text;

namespace Cosim.Guests.Internal;

/// <summary>
/// A UNIX socket on which exactly one program that is just being started is awaited. Being the side that listens, we
/// miss nothing that it says from its first moment. The socket's file is gone once the program has connected.
/// </summary>
internal sealed class Rendezvous : IDisposable
{
    // sun_path of unix(7), less its NUL.
    private const int LongestPath = 107;

    private readonly Socket _listener;

    public Rendezvous(string path)
    {
        Path = path;
        if (Encoding.UTF8.GetByteCount(path) > LongestPath)
        {
            throw new GuestException($"The socket path {path} is longer than the {LongestPath} bytes that the system allows: use a shorter run-time folder.");
        }

        File.Delete(path);
        _listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            _listener.Bind(new UnixDomainSocketEndPoint(path));
            _listener.Listen(1);
        }
        catch (SocketException e)
        {
            _listener.Dispose();
            throw new GuestException($"The socket {path} cannot be opened: {e.Message}", e);
        }
    }

    public string Path { get; }

    public async Task<Socket> AcceptAsync(CancellationToken cancellation)
    {
        Socket socket = await _listener.AcceptAsync(cancellation);
        Dispose();
        return socket;
    }

    public void Dispose()
    {
        _listener.Dispose();
        File.Delete(Path);
    }
}
