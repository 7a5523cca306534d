// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Cosim.V1;

namespace Cosim.Cli.Commands;

/// <summary><c>cosim ps</c>: the bridges of the service.</summary>
internal static class PsCommand
{
    internal static Command Create(TextWriter output)
    {
        AddressOption address = new();
        Command command = new("ps", "List the bridges.") { address };
        command.SetAction(async (result, cancellation) =>
        {
            using ServiceConnection? service = await ServiceConnection.TryOpenAsync(address.From(result), cancellation);
            IReadOnlyList<BridgeStatus> bridges = service is null
                ? []
                : [.. (await service.Bridges.ListAsync(new ListBridgesRequest(), cancellationToken: cancellation)).Bridges];
            foreach (string line in StatusText.Table(bridges))
            {
                await output.WriteLineAsync(line);
            }

            return 0;
        });
        return command;
    }
}
