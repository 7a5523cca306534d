// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Cosim.Cli.MainJob;
using Cosim.Server;
using Cosim.V1;
using Grpc.Core;
using Grpc.Health.V1;
using Grpc.Net.Client;

namespace Cosim.Cli;

/// <summary>A connection to a running service.</summary>
internal sealed class ServiceConnection : IDisposable
{
    private static readonly TimeSpan s_startPatience = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_startPoll = TimeSpan.FromMilliseconds(50);

    private readonly GrpcChannel _channel;

    private ServiceConnection(GrpcChannel channel)
    {
        _channel = channel;
        Bridges = new Bridges.BridgesClient(channel);
        Transactions = new Transactions.TransactionsClient(channel);
    }

    internal Bridges.BridgesClient Bridges { get; }

    internal Transactions.TransactionsClient Transactions { get; }

    public void Dispose() => _channel.Dispose();

    /// <summary>Connects; null where no service runs.</summary>
    internal static async Task<ServiceConnection?> TryOpenAsync(ServiceAddress address, CancellationToken cancellation)
    {
        GrpcChannel channel = address.Connect();
        try
        {
            await new Health.HealthClient(channel).CheckAsync(new HealthCheckRequest(), cancellationToken: cancellation);
            return new ServiceConnection(channel);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.Unavailable)
        {
            channel.Dispose();
            return null;
        }
        catch
        {
            channel.Dispose();
            throw;
        }
    }

    /// <summary>Connects.</summary>
    /// <exception cref="BridgeException">No service runs.</exception>
    internal static async Task<ServiceConnection> OpenAsync(ServiceAddress address, CancellationToken cancellation) =>
        await TryOpenAsync(address, cancellation) ?? throw new BridgeException($"No service runs on {address}: start one with cosim up or cosim serve.");

    /// <summary>Connects; starts a service in the background where none runs. That one ends by itself with its last bridge.</summary>
    /// <exception cref="BridgeException">The service does not start.</exception>
    internal static async Task<ServiceConnection> OpenOrStartAsync(ServiceAddress address, Workspace workspace, CancellationToken cancellation)
    {
        if (await TryOpenAsync(address, cancellation) is { } running)
        {
            return running;
        }

        Directory.CreateDirectory(workspace.Run);
        string log = Path.Combine(workspace.Run, "service.log");
        using Process service = Start(address, log);
        long start = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(start) < s_startPatience)
        {
            // Asked before the look at the socket, so that a service that has ended is not missed.
            bool hasEnded = service.HasExited;
            if (await TryOpenAsync(address, cancellation) is { } started)
            {
                return started;
            }

            if (hasEnded)
            {
                throw new BridgeException($"The service ended with status {service.ExitCode} while starting. {LastLine(log)}");
            }

            await Task.Delay(s_startPoll, cancellation);
        }

        service.Kill(entireProcessTree: true);
        throw new BridgeException($"The service did not answer on {address} within {s_startPatience.TotalSeconds} s. Its log is {log}.");
    }

    // In a session of its own, so that Ctrl-C in this terminal does not reach it.
    private static Process Start(ServiceAddress address, string log)
    {
        string self = Environment.ProcessPath!;
        string[] program = Path.GetFileNameWithoutExtension(self) == "dotnet" ? [self, Path.Combine(AppContext.BaseDirectory, "cosim.dll")] : [self];
        string[] words = ["-c", "log=$1; shift; exec setsid \"$@\" <\"/dev/null\" >\"$log\" 2>&1", "sh", log, .. program, "serve", "--until-idle", "--address", address.ToString()];
        return Process.Start(new ProcessStartInfo("/bin/sh", words))!;
    }

    private static string LastLine(string log) =>
        File.Exists(log) && File.ReadLines(log).LastOrDefault(l => l.Length > 0) is { } line ? $"It said: {line}" : "It said nothing.";
}
