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
        Option<bool> trustCallers = new("--trust-callers")
        {
            Description = "Let callers over IP name any file and program, as the owner may over the UNIX socket; else files below .cosim alone.",
        };
        Option<int> mostBridges = new("--most-bridges") { Description = "Bridges that may be there at a time.", HelpName = "COUNT", DefaultValueFactory = _ => 64 };
        Option<bool> untilIdle = new("--until-idle") { Description = "End with the last bridge." };
        Command command = new("serve", "Run the service until Ctrl-C.") { address, allowRemote, trustCallers, mostBridges, untilIdle };
        command.SetAction((result, cancellation) =>
        {
            Workspace workspace = Workspace.Find();
            TextWriter log = TextWriter.Synchronized(output);
            BridgeServerOptions options = new()
            {
                Address = address.From(result),
                AllowRemote = result.GetValue(allowRemote),
                TrustCallers = result.GetValue(trustCallers),
                WorkFolder = workspace.WorkFolder,
                MostBridges = result.GetValue(mostBridges),
                Factory = new ScheduledBridgeFactory(Folders(workspace), log.WriteLine),
            };
            return RunAsync(options, result.GetValue(untilIdle), log, cancellation);
        });
        return command;
    }

    private static async Task<int> RunAsync(BridgeServerOptions options, bool untilIdle, TextWriter log, CancellationToken cancellation)
    {
        TaskCompletionSource end = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await using CancellationTokenRegistration interrupt = cancellation.Register(() => end.TrySetResult());
        await using BridgeServer server = await BridgeServer.StartAsync(options);
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
