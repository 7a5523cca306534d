// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using Cosim.Server.Internal;
using Cosim.V1;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Cosim.Server;

/// <summary>How a service is to run.</summary>
public sealed record BridgeServerOptions
{
    /// <summary>Where it listens; port 0 takes a free one.</summary>
    public required ServiceAddress Address { get; init; }

    /// <summary>Makes its bridges.</summary>
    public required IBridgeFactory Factory { get; init; }

    /// <summary>Keeps the bridges' scenarios for <see cref="BridgeServer.RestoreAsync"/>; null: nothing outlives the service.</summary>
    public BridgeLedger? Ledger { get; init; }

    /// <summary>Listens on an address that other machines reach. There is neither encryption nor a check of who calls.</summary>
    public bool AllowRemote { get; init; }

    /// <summary>
    /// Folder of the service. Callers who reach it over IP, and so may be anybody, name files below this folder alone, and no programs; null: no
    /// files either. Over a UNIX socket the owner alone can call, who may name what he may touch himself.
    /// </summary>
    public string? WorkFolder { get; init; }

    /// <summary>Callers over IP may name any file and program, as the owner may over the UNIX socket.</summary>
    public bool TrustCallers { get; init; }

    /// <summary>Bridges that may be there at a time, those that are being built among them.</summary>
    public int MostBridges { get; init; } = 64;
}

/// <summary>The gRPC service: bridges, transactions, health and reflection. Disposing it ends all bridges, then the service.</summary>
public sealed class BridgeServer : IAsyncDisposable
{
    private const int MostConnections = 256;

    private readonly WebApplication _application;
    private readonly BridgeTable _table;
    private readonly BridgeLedger? _ledger;

    private BridgeServer(WebApplication application, BridgeTable table, BridgeLedger? ledger, ServiceAddress address)
    {
        _application = application;
        _table = table;
        _ledger = ledger;
        Address = address;
        table.Removed += count =>
        {
            if (count == 0)
            {
                BecameEmpty?.Invoke();
            }
        };
    }

    /// <summary>Raised when the last bridge has gone.</summary>
    public event Action? BecameEmpty;

    /// <summary>Where it listens, with the port that was taken.</summary>
    public ServiceAddress Address { get; }

    /// <summary>Starts a service.</summary>
    /// <exception cref="BridgeException">The address is in use, cannot be bound, or is reachable from other machines without leave.</exception>
    [SuppressMessage("Reliability", "CA2000", Justification = "Kestrel closes the listening socket.")]
    public static async Task<BridgeServer> StartAsync(BridgeServerOptions options)
    {
        if (!options.Address.IsLocal && !options.AllowRemote)
        {
            throw new BridgeException($"Other machines can reach {options.Address}, and the service checks nobody: take a loopback address or a UNIX socket, or allow it with --allow-remote.");
        }

        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        Socket listener = Listen(options.Address);
        builder.WebHost.UseKestrelCore().UseSockets(s => s.CreateBoundListenSocket = _ => listener).ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.MaxConcurrentConnections = MostConnections;

            // The end point is listener's; Kestrel asks for the socket that belongs to it.
            if (options.Address.EndPoint is IPEndPoint ip)
            {
                kestrel.Listen(ip, Http2);
            }
            else
            {
                kestrel.ListenUnixSocket(options.Address.SocketPath!, Http2);
            }

            static void Http2(ListenOptions o) => o.Protocols = HttpProtocols.Http2;
        });

        CallerLimits limits = new(options.TrustCallers || options.Address.SocketPath is not null, options.WorkFolder, options.MostBridges);

        // Whoever calls a local service is its owner, whom the text of an unexpected exception helps.
        builder.Services.AddGrpc(o => o.EnableDetailedErrors = options.Address.IsLocal);
        builder.Services.AddGrpcReflection();
        builder.Services.AddGrpcHealthChecks();
        builder.Services.AddSingleton(TimeProvider.System);
        builder.Services.AddSingleton(options.Factory);
        builder.Services.AddSingleton(s => new BridgeTable(s.GetRequiredService<IBridgeFactory>(), s.GetRequiredService<TimeProvider>(), limits, options.Ledger));

        // By the time the host stops, all bridges are gone and with them the calls that wait for them.
        builder.Services.Configure<HostOptions>(o => o.ShutdownTimeout = TimeSpan.FromSeconds(2));
        WebApplication application = builder.Build();
        application.MapGrpcService<BridgesService>();
        application.MapGrpcService<TransactionsService>();
        application.MapGrpcHealthChecksService();
        application.MapGrpcReflectionService();
        BridgeTable table = application.Services.GetRequiredService<BridgeTable>();
        ServiceAddress address = listener.LocalEndPoint is IPEndPoint bound ? options.Address.WithPort(bound.Port) : options.Address;
        try
        {
            await application.StartAsync();
        }
        catch
        {
            await application.DisposeAsync();
            RemoveSocket(options.Address);
            throw;
        }

        return new BridgeServer(application, table, options.Ledger, address);
    }

    /// <summary>Starts the bridges again, with their hosts, that were running when the service before this one ended, however it did.</summary>
    /// <param name="log">Takes a line for each bridge, and what is left to do for hosts that others have started.</param>
    public async Task RestoreAsync(Action<string> log)
    {
        foreach (Scenario scenario in _ledger?.Read() ?? [])
        {
            try
            {
                BridgeTable.Entry entry = await _table.CreateAsync(scenario, CancellationToken.None);
                log($"bridge {scenario.Name}: started again");
                foreach (FunctionStatus function in (await entry.GetStatusAsync()).Functions.Where(f => IsAttachedByOthers(scenario, f)))
                {
                    log($"bridge {scenario.Name}: port {function.Port} function {function.Function}: a client that was attached to {function.Socket} has to attach anew; QEMU does not by itself: end it and start it again with the same arguments");
                }
            }
            catch (Exception e) when (e is BridgeException or Grpc.Core.RpcException)
            {
                log($"bridge {scenario.Name} cannot be started again: {(e as Grpc.Core.RpcException)?.Status.Detail ?? e.Message}");
            }
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _table.DisposeAsync();
        await _application.StopAsync();
        await _application.DisposeAsync();
        RemoveSocket(Address);
    }

    private static bool IsAttachedByOthers(Scenario scenario, FunctionStatus function)
    {
        HostSpec? host = function.Port == 0 ? scenario.Host1 : scenario.Host2;
        return function.Socket.Length > 0 && host?.KindCase is null or HostSpec.KindOneofCase.None or HostSpec.KindOneofCase.Socket;
    }

    private static Socket Listen(ServiceAddress address)
    {
        try
        {
            if (address.SocketPath is not { } path)
            {
                Socket tcp = new(address.EndPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
                tcp.Bind(address.EndPoint);
                return tcp;
            }

            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            RemoveStaleSocket(address, path);
            Socket unix = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            unix.Bind(address.EndPoint);

            // Nobody can connect before Listen, and from then on the owner alone.
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            return unix;
        }
        catch (Exception e) when (e is SocketException or IOException or UnauthorizedAccessException)
        {
            throw new BridgeException($"The service cannot listen on {address}: {e.Message}.", e);
        }
    }

    private static void RemoveStaleSocket(ServiceAddress address, string path)
    {
        if (!File.Exists(path))
        {
            return;
        }

        using Socket probe = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            probe.Connect(address.EndPoint);
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused)
        {
            // Its service is gone without having removed it.
            File.Delete(path);
            return;
        }

        throw new BridgeException($"A service is running on {address} already.");
    }

    private static void RemoveSocket(ServiceAddress address)
    {
        if (address.SocketPath is { } path)
        {
            File.Delete(path);
        }
    }
}
