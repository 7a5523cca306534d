// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Grpc.Net.Client;

namespace Cosim.Server;

/// <summary>Where a service listens: a UNIX socket (<c>unix:/path</c>) or an IP address and port (<c>127.0.0.1:50051</c>).</summary>
public sealed record ServiceAddress
{
    // sun_path of sockaddr_un with its terminating zero.
    private const int MostSocketPathBytes = 107;

    private ServiceAddress(EndPoint endPoint) => EndPoint = endPoint;

    /// <summary>The end point.</summary>
    public EndPoint EndPoint { get; }

    /// <summary>Path of the UNIX socket; null for an IP address.</summary>
    public string? SocketPath => EndPoint is UnixDomainSocketEndPoint ? EndPoint.ToString() : null;

    /// <summary>Only this machine can reach it.</summary>
    public bool IsLocal => EndPoint is not IPEndPoint ip || IPAddress.IsLoopback(ip.Address);

    /// <summary>
    /// The socket of a clone: in its work folder, or in <c>$XDG_RUNTIME_DIR</c> where that path would be too long for a socket.
    /// </summary>
    /// <param name="repository">Folder of the clone.</param>
    /// <exception cref="FormatException">Neither place can hold a socket.</exception>
    public static ServiceAddress DefaultOf(string repository)
    {
        string own = Path.Combine(repository, ".cosim", "run", "cosim.sock");
        if (Encoding.UTF8.GetByteCount(own) <= MostSocketPathBytes)
        {
            return Unix(own);
        }

        string shared = Environment.GetEnvironmentVariable("XDG_RUNTIME_DIR") is { Length: > 0 } folder
            ? folder
            : throw new FormatException($"The path {own} is too long for a socket ({MostSocketPathBytes} bytes), and XDG_RUNTIME_DIR is not set: name a socket with --address.");

        // The clone's path is part of the name, so that two clones do not meet in one service.
        byte[] hash = System.Security.Cryptography.SHA256.HashData(Encoding.UTF8.GetBytes(repository));
        return Unix(Path.Combine(shared, $"cosim-{Convert.ToHexStringLower(hash.AsSpan(0, 6))}.sock"));
    }

    /// <summary>Reads <c>unix:PATH</c>, <c>ADDRESS:PORT</c> or <c>localhost:PORT</c>.</summary>
    /// <exception cref="FormatException">It is neither.</exception>
    public static ServiceAddress Parse(string text)
    {
        if (text.StartsWith("unix:", StringComparison.Ordinal))
        {
            return Unix(Path.GetFullPath(text["unix:".Length..]));
        }

        string number = text.StartsWith("localhost:", StringComparison.Ordinal) ? "127.0.0.1" + text["localhost".Length..] : text;
        return number.Contains(':', StringComparison.Ordinal) && IPEndPoint.TryParse(number, out IPEndPoint? endPoint)
            ? new ServiceAddress(endPoint)
            : throw new FormatException($"The address \"{text}\" is none: expected unix:PATH, IP-ADDRESS:PORT or localhost:PORT.");
    }

    /// <summary>A channel to the service. Dispose of it after use.</summary>
    public GrpcChannel Connect()
    {
        SocketsHttpHandler handler = new()
        {
            ConnectCallback = async (_, cancellation) =>
            {
                Socket socket = EndPoint is IPEndPoint
                    ? new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true }
                    : new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    await socket.ConnectAsync(EndPoint, cancellation);
                    return new NetworkStream(socket, ownsSocket: true);
                }
                catch
                {
                    socket.Dispose();
                    throw;
                }
            },
        };
        return GrpcChannel.ForAddress("http://localhost", new GrpcChannelOptions { HttpHandler = handler, DisposeHttpClient = true });
    }

    /// <inheritdoc/>
    public override string ToString() => SocketPath is { } path ? $"unix:{path}" : EndPoint.ToString()!;

    internal ServiceAddress WithPort(int port) => new(new IPEndPoint(((IPEndPoint)EndPoint).Address, port));

    private static ServiceAddress Unix(string path)
    {
        int bytes = Encoding.UTF8.GetByteCount(path);
        return bytes <= MostSocketPathBytes
            ? new ServiceAddress(new UnixDomainSocketEndPoint(path))
            : throw new FormatException(string.Create(CultureInfo.InvariantCulture, $"The path {path} has {bytes} bytes; a socket's path may have {MostSocketPathBytes}."));
    }
}
