// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Cosim.Server;
using Cosim.V1;
using Google.Protobuf.Collections;

namespace Cosim.Cli.Commands;

/// <summary>The bridge that a command is about: may be left out where there is only one.</summary>
internal sealed class BridgeArgument : Argument<string?>
{
    internal BridgeArgument()
        : base("NAME")
    {
        Description = "The bridge; may be left out where there is only one.";
        Arity = ArgumentArity.ZeroOrOne;
    }

    internal async Task<string> FromAsync(ParseResult result, ServiceConnection service, CancellationToken cancellation)
    {
        if (result.GetValue(this) is { } name)
        {
            return name;
        }

        RepeatedField<BridgeStatus> bridges = (await service.Bridges.ListAsync(new ListBridgesRequest(), cancellationToken: cancellation)).Bridges;
        return bridges.Count switch
        {
            0 => throw new BridgeException("There is no bridge: start one with cosim up SCENARIO."),
            1 => bridges[0].Name,
            _ => throw new BridgeException($"There are {bridges.Count} bridges, so name one: {string.Join(", ", bridges.Select(b => b.Name))}."),
        };
    }
}
