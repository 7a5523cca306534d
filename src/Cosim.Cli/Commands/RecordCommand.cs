// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Cosim.V1;
using Grpc.Core;

namespace Cosim.Cli.Commands;

/// <summary><c>cosim record</c>: recordings of a bridge while it runs.</summary>
internal static class RecordCommand
{
    internal static Command Create(TextWriter output) => new("record", "Record what crosses the FPGA's boundary, while a bridge runs.")
    {
        CreateStart(output),
        CreateStop(output),
        CreateDownload(output),
    };

    private static Command CreateStart(TextWriter output)
    {
        BridgeArgument bridge = new();
        Option<string> file = new("--file")
        {
            Description = "Name of a file in the service's folder of recordings, NAME.stim or NAME.stim.gz; one that is there is replaced. Default: a new one.",
            DefaultValueFactory = _ => "",
            HelpName = "NAME",
        };
        Option<bool> reset = new("--reset") { Description = "Reset the FPGA first, so that all of the recording can be replayed." };
        AddressOption address = new();
        Command command = new("start", "Begin a recording.") { bridge, file, reset, address };
        command.SetAction(async (result, cancellation) =>
        {
            using ServiceConnection service = await ServiceConnection.OpenAsync(address.From(result), cancellation);
            string name = await bridge.FromAsync(result, service, cancellation);
            StartRecordingRequest request = new() { Name = name, File = result.GetValue(file), Reset = result.GetValue(reset) };
            RecordingStatus status = await service.Bridges.StartRecordingAsync(request, cancellationToken: cancellation);
            await output.WriteLineAsync($"bridge {name}: recording into {status.File}");
            return 0;
        });
        return command;
    }

    private static Command CreateStop(TextWriter output)
    {
        BridgeArgument bridge = new();
        AddressOption address = new();
        Command command = new("stop", "End the recording.") { bridge, address };
        command.SetAction(async (result, cancellation) =>
        {
            using ServiceConnection service = await ServiceConnection.OpenAsync(address.From(result), cancellation);
            string name = await bridge.FromAsync(result, service, cancellation);
            RecordingStatus status = await service.Bridges.StopRecordingAsync(new StopRecordingRequest { Name = name }, cancellationToken: cancellation);
            await output.WriteLineAsync($"bridge {name}: {StatusText.Recorded(status)}");
            return status.Failure.Length == 0 ? 0 : 1;
        });
        return command;
    }

    private static Command CreateDownload(TextWriter output)
    {
        BridgeArgument bridge = new();
        Option<string> to = new("--output", "-o") { Description = "The file to write.", HelpName = "FILE", Required = true };
        AddressOption address = new();
        Command command = new("download", "Fetch the recording that goes on, as far as it is written, or the last one.") { bridge, to, address };
        command.SetAction(async (result, cancellation) =>
        {
            using ServiceConnection service = await ServiceConnection.OpenAsync(address.From(result), cancellation);
            string name = await bridge.FromAsync(result, service, cancellation);
            string file = result.GetValue(to)!;
            long bytes = await DownloadAsync(service, name, file, cancellation);
            await output.WriteLineAsync($"bridge {name}: {file}, {bytes} bytes");
            return 0;
        });
        return command;
    }

    private static async Task<long> DownloadAsync(ServiceConnection service, string name, string path, CancellationToken cancellation)
    {
        using AsyncServerStreamingCall<RecordingChunk> call = service.Bridges.DownloadRecording(new DownloadRecordingRequest { Name = name }, cancellationToken: cancellation);

        // What is there is replaced by the whole, or not at all; it may be the recording itself.
        string partial = $"{path}.partial";
        long bytes;
        try
        {
            await using FileStream file = File.Create(partial);
            await foreach (RecordingChunk chunk in call.ResponseStream.ReadAllAsync(cancellation))
            {
                await file.WriteAsync(chunk.Data.Memory, cancellation);
            }

            bytes = file.Length;
        }
        catch
        {
            File.Delete(partial);
            throw;
        }

        File.Move(partial, path, overwrite: true);
        return bytes;
    }
}
