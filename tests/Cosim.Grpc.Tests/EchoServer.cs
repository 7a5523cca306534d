// SPDX-License-Identifier: Apache-2.0
using System.Net;
using System.Net.Sockets;
using Grpc.AspNetCore.Server;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Cosim.Grpc.Tests;

public enum Transport
{
    Loopback,
    UnixSocket,
}

/// <summary>A running server with the echo service, on a free port or a socket in a folder of its own.</summary>
public sealed class EchoServer : IAsyncDisposable
{
    private readonly WebApplication _application;
    private readonly DirectoryInfo _folder;
    private readonly Transport _transport;

    private EchoServer(WebApplication application, DirectoryInfo folder, Transport transport)
    {
        _application = application;
        _folder = folder;
        _transport = transport;
    }

    public EchoLog Log => _application.Services.GetRequiredService<EchoLog>();

    public Uri Address => _transport == Transport.UnixSocket ? new Uri("http://localhost") : new Uri(_application.Urls.Single());

    public string SocketPath => Path.Combine(_folder.FullName, "echo.sock");

    /// <summary>The target in the syntax of the gRPC libraries that are not .NET's.</summary>
    public string Target => _transport == Transport.UnixSocket ? "unix:" + SocketPath : Address.Authority;

    public bool IsHealthy { get; set; } = true;

    public static async Task<EchoServer> StartAsync(Transport transport, Action<GrpcServiceOptions>? configure = null, Action<KestrelServerLimits>? limit = null)
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("cosim-grpc-");
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            limit?.Invoke(kestrel.Limits);
            if (transport == Transport.UnixSocket)
            {
                kestrel.ListenUnixSocket(Path.Combine(folder.FullName, "echo.sock"), o => o.Protocols = HttpProtocols.Http2);
            }
            else
            {
                kestrel.Listen(IPAddress.Loopback, 0, o => o.Protocols = HttpProtocols.Http2);
            }
        });
        builder.Services.AddGrpc(configure ?? (_ => { }));
        builder.Services.AddSingleton<EchoLog>();
        builder.Services.AddGrpcReflection();
        EchoServer? server = null;
        builder.Services.Configure<HealthCheckPublisherOptions>(o => o.Period = TimeSpan.FromSeconds(1));
        builder.Services.AddGrpcHealthChecks()
            .AddCheck("switch", () => server!.IsHealthy ? HealthCheckResult.Healthy() : HealthCheckResult.Unhealthy());
        WebApplication application = builder.Build();
        application.MapGrpcService<EchoService>();
        application.MapGrpcHealthChecksService();
        application.MapGrpcReflectionService();
        server = new EchoServer(application, folder, transport);
        await application.StartAsync();
        return server;
    }

    public GrpcChannel Connect(Action<GrpcChannelOptions>? configure = null)
    {
        GrpcChannelOptions options = new() { HttpHandler = MakeHandler(), DisposeHttpClient = true };
        configure?.Invoke(options);
        return GrpcChannel.ForAddress(Address, options);
    }

    public SocketsHttpHandler MakeHandler()
    {
        SocketsHttpHandler handler = new();
        if (_transport == Transport.UnixSocket)
        {
            handler.ConnectCallback = async (_, cancellationToken) =>
            {
                Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(SocketPath), cancellationToken);
                return new NetworkStream(socket, ownsSocket: true);
            };
        }

        return handler;
    }

    public async ValueTask DisposeAsync()
    {
        await _application.StopAsync(new CancellationToken(canceled: true));
        await _application.DisposeAsync();
        _folder.Delete(recursive: true);
    }
}
