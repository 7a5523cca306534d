// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Cosim.Pcie;
using Cosim.V1;
using Grpc.Core;

namespace Cosim.Cli.Commands;

/// <summary><c>cosim watch</c>: a bridge's state and counters, or its TLPs, until it ends or Ctrl-C.</summary>
internal static class WatchCommand
{
    internal static Command Create(TextWriter output)
    {
        BridgeArgument bridge = new();
        Option<bool> tlps = new("--tlps") { Description = "Show every TLP with its cycle instead of the counters." };
        Option<uint[]> ports = new("--port") { Description = "With --tlps: only this port.", HelpName = "PORT" };
        AddressOption address = new();
        Command command = new("watch", "Follow a bridge until it ends or Ctrl-C.") { bridge, tlps, ports, address };
        command.SetAction(async (result, cancellation) =>
        {
            using ServiceConnection service = await ServiceConnection.OpenAsync(address.From(result), cancellation);
            string name = await bridge.FromAsync(result, service, cancellation);
            await (result.GetValue(tlps)
                ? ShowTlpsAsync(service, new WatchTlpsRequest { Bridge = name, Ports = { result.GetValue(ports) ?? [] } }, output, cancellation)
                : ShowStatusAsync(service, name, output, cancellation));
            return 0;
        });
        return command;
    }

    private static async Task ShowStatusAsync(ServiceConnection service, string name, TextWriter output, CancellationToken cancellation)
    {
        using AsyncServerStreamingCall<BridgeStatus> call = service.Bridges.Watch(new WatchBridgeRequest { Name = name }, cancellationToken: cancellation);
        await foreach (BridgeStatus status in call.ResponseStream.ReadAllAsync(cancellation))
        {
            await output.WriteLineAsync($"{DateTime.Now:HH:mm:ss.fff} {StatusText.Summary(status)} {StatusText.Figures(status.Counters)}");
        }
    }

    private static async Task ShowTlpsAsync(ServiceConnection service, WatchTlpsRequest request, TextWriter output, CancellationToken cancellation)
    {
        using AsyncServerStreamingCall<TlpRecord> call = service.Transactions.WatchTlps(request, cancellationToken: cancellation);
        await foreach (TlpRecord record in call.ResponseStream.ReadAllAsync(cancellation))
        {
            if (record.LostBefore > 0)
            {
                await output.WriteLineAsync($"({record.LostBefore} TLPs were not shown: this terminal is too slow)");
            }

            byte[] packet = [.. record.Header.Span, .. record.Payload.Span];
            string way = record.Direction == TlpRecord.Types.Direction.ToFpga ? "->" : "<-";
            await output.WriteLineAsync($"{record.Cycle,12} port {record.Port} {way} {TlpFormatter.Format(packet)}");
        }
    }
}
