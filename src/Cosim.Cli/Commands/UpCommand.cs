// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using System.Diagnostics;
using Cosim.Cli.MainJob;
using Cosim.Server;
using Cosim.Server.Scenarios;
using Cosim.V1;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;

namespace Cosim.Cli.Commands;

/// <summary><c>cosim up SCENARIO</c>: a bridge with its hosts, in the background.</summary>
internal static class UpCommand
{
    internal static Command Create(TextWriter output)
    {
        Argument<string> scenario = new("SCENARIO") { Description = "The scenario file." };
        Option<string?> disk = new("--disk") { Description = "Image for the scenario's first block device.", HelpName = "FILE" };
        Option<string?> name = new("--name") { Description = "Name of the bridge instead of the scenario's.", HelpName = "NAME" };
        Option<string?> record = new("--record") { Description = "File for a recording from the FPGA's first cycle on, .stim or .stim.gz; one that is there is replaced.", HelpName = "FILE" };
        AddressOption address = new();
        Command command = new("up", "Start a bridge with its hosts; starts the service if none runs.") { scenario, disk, name, record, address };
        command.SetAction((result, cancellation) => RunAsync(
            Read(result.GetValue(scenario)!, result.GetValue(disk), result.GetValue(name), result.GetValue(record)), address.From(result), output, cancellation));
        return command;
    }

    /// <summary>The scenario with what the command line puts in place of its own.</summary>
    internal static Scenario Read(string path, string? disk, string? name, string? record)
    {
        Scenario scenario = ScenarioFile.Read(path);
        if (name is not null)
        {
            scenario.Name = name;
        }

        if (disk is not null)
        {
            BlockDevice block = scenario.Devices.FirstOrDefault(d => d.Block is not null)?.Block
                ?? throw new ScenarioException($"--disk {disk}: the scenario {path} has no block device.");
            block.Image = Path.GetFullPath(disk);
        }

        if (record is not null)
        {
            scenario.Record = new RecordSpec { File = Path.GetFullPath(record) };
        }

        IReadOnlyList<ScenarioViolation> violations = ScenarioRules.Check(scenario);
        return violations.Count == 0
            ? scenario
            : throw new ScenarioException($"The scenario {path} cannot be used: {string.Join("; ", violations.Select(v => $"{v.Field} {v.Description}"))}.");
    }

    private static async Task<int> RunAsync(Scenario scenario, ServiceAddress address, TextWriter output, CancellationToken cancellation)
    {
        Stopwatch clock = Stopwatch.StartNew();
        using ServiceConnection service = await ServiceConnection.OpenOrStartAsync(address, Workspace.Find(), cancellation);
        await SayAsync($"bridge {scenario.Name}: starting on {scenario.Fpga.Kind}; a simulator that is new or has changed is built first");
        BridgeStatus status = await service.Bridges.CreateAsync(scenario, cancellationToken: cancellation);
        try
        {
            status = await WaitUntilUpAsync(service, status, text => SayAsync($"bridge {scenario.Name}: {text}"), cancellation);
        }
        catch
        {
            // Ctrl-C and a host that does not come up leave nothing behind.
            await service.Bridges.DeleteAsync(new DeleteBridgeRequest { Name = scenario.Name }, cancellationToken: CancellationToken.None);
            throw;
        }

        foreach (FunctionStatus function in status.Functions.Where(f => f.Socket.Length > 0))
        {
            await output.WriteLineAsync($"port {function.Port} function {function.Function}: {function.Socket}{(function.Attached ? " (attached)" : "")}");
        }

        foreach (HostStatus host in status.Hosts)
        {
            await output.WriteLineAsync($"host {host.Port + 1} console: {host.Console}");
        }

        if (status.Recording is { } recording)
        {
            await output.WriteLineAsync($"recording: {recording.File}");
        }

        return 0;

        Task SayAsync(string text) => output.WriteLineAsync($"[{clock.Elapsed.TotalSeconds,5:0.0} s] {text}");
    }

    // Follows the bridge until the hosts that the service starts are running, and a host 2 among them has described its devices.
    // What others attach is not waited for.
    private static async Task<BridgeStatus> WaitUntilUpAsync(
        ServiceConnection service, BridgeStatus status, Func<string, Task> say, CancellationToken cancellation)
    {
        string last = string.Empty;
        using AsyncServerStreamingCall<BridgeStatus> watch = service.Bridges.Watch(
            new WatchBridgeRequest { Name = status.Name, Interval = Duration.FromTimeSpan(TimeSpan.FromSeconds(1)) }, cancellationToken: cancellation);
        do
        {
            string text = StatusText.Summary(status);
            if (text != last)
            {
                await say(text);
                last = text;
            }

            if (status.State == BridgeStatus.Types.State.Failed)
            {
                throw new BridgeException($"The bridge {status.Name} did not come up: {status.Error}");
            }

            if (status.Hosts.FirstOrDefault(h => h.State == HostStatus.Types.State.Ended) is { } ended)
            {
                throw new BridgeException($"The bridge {status.Name} did not come up: host {ended.Port + 1} has ended.");
            }

            bool linked = status.State == BridgeStatus.Types.State.LinkUp || !status.Hosts.Any(h => h.Port == 1);
            if (linked && status.Hosts.All(h => h.State == HostStatus.Types.State.Running))
            {
                return status;
            }

            if (!await watch.ResponseStream.MoveNext(cancellation))
            {
                throw new BridgeException($"The bridge {status.Name} was ended before it came up.");
            }

            status = watch.ResponseStream.Current;
        }
        while (true);
    }
}
