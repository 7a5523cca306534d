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
        Option<bool> restore = new("--restore") { Description = "Start the bridges again, with their hosts, that the last service on this address had when it ended or was killed." };
        Command command = new("serve", "Run the service until Ctrl-C.") { address, allowRemote, trustCallers, mostBridges, untilIdle, restore };
        command.SetAction((result, cancellation) =>
        {
            Workspace workspace = Workspace.Find();
            TextWriter log = TextWriter.Synchronized(output);
            ServiceAddress where = address.From(result);
            BridgeServerOptions options = new()
            {
                Address = where,
                AllowRemote = result.GetValue(allowRemote),
                TrustCallers = result.GetValue(trustCallers),
                WorkFolder = workspace.WorkFolder,
                MostBridges = result.GetValue(mostBridges),
                Factory = new ScheduledBridgeFactory(Folders(workspace), log.WriteLine),
                Ledger = BridgeLedger.For(where, Path.Combine(workspace.Run, ".bridges")),
            };
            return RunAsync(options, result.GetValue(untilIdle), result.GetValue(restore), log, cancellation);
        });
        return command;
    }

    private static async Task<int> RunAsync(BridgeServerOptions options, bool untilIdle, bool restore, TextWriter log, CancellationToken cancellation)
    {
        TaskCompletionSource end = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await using CancellationTokenRegistration interrupt = cancellation.Register(() => end.TrySetResult());
        await using BridgeServer server = await BridgeServer.StartAsync(options);
        options.Factory.ClearLeftovers();
        if (untilIdle)
        {
            server.BecameEmpty += () => end.TrySetResult();
        }

        await log.WriteLineAsync($"listening on {server.Address}");
        await log.FlushAsync(CancellationToken.None);
        if (restore)
        {
            await server.RestoreAsync(log.WriteLine);
        }
        else if (options.Ledger?.Read() is { Count: > 0 } left)
        {
            await log.WriteLineAsync($"the last service had the bridges {string.Join(", ", left.Select(s => s.Name))}: cosim serve --restore starts them again");
        }

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
