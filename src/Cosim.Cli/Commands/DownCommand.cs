// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Cosim.V1;

namespace Cosim.Cli.Commands;

/// <summary><c>cosim down</c>: ends a bridge with its hosts.</summary>
internal static class DownCommand
{
    internal static Command Create(TextWriter output)
    {
        BridgeArgument bridge = new();
        AddressOption address = new();
        Command command = new("down", "End a bridge with its hosts and its simulator.") { bridge, address };
        command.SetAction(async (result, cancellation) =>
        {
            using ServiceConnection service = await ServiceConnection.OpenAsync(address.From(result), cancellation);
            string name = await bridge.FromAsync(result, service, cancellation);
            await service.Bridges.DeleteAsync(new DeleteBridgeRequest { Name = name }, cancellationToken: cancellation);
            await output.WriteLineAsync($"bridge {name}: ended");
            return 0;
        });
        return command;
    }
}
