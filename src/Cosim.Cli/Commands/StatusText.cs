// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Cosim.V1;

namespace Cosim.Cli.Commands;

/// <summary>Statuses as people read them.</summary>
internal static class StatusText
{
    /// <summary>State of the bridge, of the hosts that were started for it and of its recording, without counters.</summary>
    internal static string Summary(BridgeStatus status)
    {
        string recording = status.Recording switch
        {
            { Running: true } => ", recording",
            { Failure.Length: > 0 } => ", recording failed",
            _ => "",
        };
        string hosts = string.Concat(status.Hosts.Select(h => $", host {h.Port + 1} {Lower(h.State)}"));
        string error = status.Error.Length > 0 ? $": {status.Error}" : "";
        return $"{Lower(status.State)}{hosts}{recording}{error}";
    }

    /// <summary>Counters in one line.</summary>
    internal static string Figures(Counters? counters)
    {
        counters ??= new Counters();
        return string.Create(
            CultureInfo.InvariantCulture,
            $"cycles={counters.Cycles} simulated={counters.SimulatedNs / 1e6:0.000}ms tlps={Tlps(counters)} bytes={Bytes(counters)} interrupts={Interrupts(counters)} errors={Errors(counters)}");
    }

    /// <summary>What a recording has, in one line.</summary>
    internal static string Recorded(RecordingStatus recording)
    {
        string failure = recording.Failure.Length > 0 ? $": {recording.Failure}" : "";
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{recording.File}: {recording.Inputs} inputs, {recording.Outputs} outputs, {recording.Bytes / 1e6:0.0} MB of text{failure}");
    }

    /// <summary>A table with one row a bridge.</summary>
    internal static IEnumerable<string> Table(IReadOnlyList<BridgeStatus> bridges)
    {
        string[][] rows =
        [
            ["NAME", "FPGA", "STATE", "CYCLES", "TLPS", "INTERRUPTS", "HOST 1", "HOST 2"],
            .. bridges.Select(b => new[]
            {
                b.Name,
                Lower(b.Scenario.Fpga.Kind),
                Lower(b.State),
                Number(b.Counters?.Cycles ?? 0),
                Number(Tlps(b.Counters ?? new Counters())),
                Number(Interrupts(b.Counters ?? new Counters())),
                Host(b, 0),
                Host(b, 1),
            }),
        ];
        int[] widths = [.. Enumerable.Range(0, rows[0].Length).Select(column => rows.Max(row => row[column].Length))];
        return rows.Select(row => string.Join("  ", row.Select((cell, column) => cell.PadRight(widths[column]))).TrimEnd());
    }

    private static string Host(BridgeStatus bridge, uint port) =>
        bridge.Hosts.FirstOrDefault(h => h.Port == port) is { } host ? Lower(host.State)
        : !bridge.Functions.Any(f => f.Port == port) ? "-"
        : bridge.Functions.All(f => f.Port != port || f.Socket.Length == 0) ? "program"
        : bridge.Functions.Any(f => f.Port == port && f.Attached) ? "attached"
        : "socket";

    private static string Number(ulong value) => value.ToString(CultureInfo.InvariantCulture);

    private static ulong Tlps(Counters counters) => counters.Ports.Aggregate(0UL, (sum, p) => sum + p.TlpsToFpga + p.TlpsToHost);

    private static ulong Bytes(Counters counters) => counters.Ports.Aggregate(0UL, (sum, p) => sum + p.BytesToFpga + p.BytesToHost);

    private static ulong Interrupts(Counters counters) => counters.Ports.Aggregate(0UL, (sum, p) => sum + p.Interrupts);

    private static ulong Errors(Counters counters) => counters.Ports.Aggregate(0UL, (sum, p) => sum + p.Errors);

    private static string Lower(Enum value) => string.Concat(value.ToString().Select((c, i) => char.IsUpper(c) && i > 0 ? $" {char.ToLowerInvariant(c)}" : $"{char.ToLowerInvariant(c)}"));
}
