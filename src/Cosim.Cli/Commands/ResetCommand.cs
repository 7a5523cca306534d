// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Cosim.V1;

namespace Cosim.Cli.Commands;

/// <summary><c>cosim reset</c>: brings a bridge's FPGA back to its state after power-on.</summary>
internal static class ResetCommand
{
    internal static Command Create(TextWriter output)
    {
        BridgeArgument bridge = new();
        AddressOption address = new();
        Command command = new("reset", "Bring the FPGA back to its state after power-on, also after its simulator was lost.") { bridge, address };
        command.SetAction(async (result, cancellation) =>
        {
            using ServiceConnection service = await ServiceConnection.OpenAsync(address.From(result), cancellation);
            string name = await bridge.FromAsync(result, service, cancellation);
            BridgeStatus status = await service.Bridges.ResetAsync(new ResetBridgeRequest { Name = name }, cancellationToken: cancellation);
            await output.WriteLineAsync($"bridge {name}: {StatusText.Summary(status)}");
            return 0;
        });
        return command;
    }
}
