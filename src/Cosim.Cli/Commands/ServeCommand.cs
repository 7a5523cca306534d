// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Cosim.Cli.MainJob;
using Cosim.Server;
using Cosim.Server.Scheduled;

namespace Cosim.Cli.Commands;

/// <summary><c>cosim serve</c>: the service, until Ctrl-C.</summary>
internal static class ServeCommand
{
    internal static Command Create(TextWriter output)
    {
        AddressOption address = new();
        Option<bool> allowRemote = new("--allow-remote") { Description = "Allow an address that other machines reach. The service checks nobody." };
        Option<bool> untilIdle = new("--until-idle") { Description = "End with the last bridge." };
        Command command = new("serve", "Run the service until Ctrl-C.") { address, allowRemote, untilIdle };
        command.SetAction((result, cancellation) =>
            RunAsync(address.From(result), result.GetValue(allowRemote), result.GetValue(untilIdle), output, cancellation));
        return command;
    }

    private static async Task<int> RunAsync(ServiceAddress address, bool allowRemote, bool untilIdle, TextWriter output, CancellationToken cancellation)
    {
        TextWriter log = TextWriter.Synchronized(output);
        TaskCompletionSource end = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await using CancellationTokenRegistration interrupt = cancellation.Register(() => end.TrySetResult());
        await using BridgeServer server = await BridgeServer.StartAsync(new BridgeServerOptions
        {
            Address = address,
            AllowRemote = allowRemote,
            Factory = new ScheduledBridgeFactory(Folders(Workspace.Find()), log.WriteLine),
        });
        if (untilIdle)
        {
            server.BecameEmpty += () => end.TrySetResult();
        }

        await log.WriteLineAsync($"listening on {server.Address}");
        await log.FlushAsync(CancellationToken.None);
        await end.Task;
        await log.WriteLineAsync("stopping");
        return 0;
    }

    private static BridgeFolders Folders(Workspace workspace) => new()
    {
        Hdl = workspace.Hdl,
        Build = workspace.Build,
        Tools = workspace.Tools,
        BackEnd = workspace.BackEnd,
        Run = workspace.Run,
        Recordings = workspace.Recordings,
    };
}
