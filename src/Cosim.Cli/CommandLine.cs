// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Cosim.Cli.Commands;
using Cosim.Cli.Commands.Wave;
using Cosim.Guests;
using Cosim.Server;
using Cosim.Server.Scenarios;
using Cosim.Waveforms;
using Grpc.Core;

namespace Cosim.Cli;

/// <summary>The commands of <c>cosim</c>. What goes wrong is told in one paragraph on the error stream.</summary>
public static class CommandLine
{
    /// <summary>Exit status after Ctrl-C, as shells have it for SIGINT.</summary>
    public const int Interrupted = 130;

    // Ending a bridge with two guests is a matter of seconds; after this the process is ended the hard way.
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(1);

    /// <summary>Runs one command line.</summary>
    /// <returns>Exit status: 0 where all went well.</returns>
    public static async Task<int> RunAsync(IReadOnlyList<string> arguments, TextWriter output, TextWriter error)
    {
        RootCommand root = new("Joins hosts through a simulated FPGA.")
        {
            ServeCommand.Create(output),
            UpCommand.Create(output),
            DownCommand.Create(output),
            ResetCommand.Create(output),
            PsCommand.Create(output),
            WatchCommand.Create(output),
            DoctorCommand.Create(output),
            RunCommand.Create(output),
            WaveCommand.Create(output),
            ReplayCommand.Create(output),
            StimuliCommand.Create(output),
            RecordCommand.Create(output),
        };
        InvocationConfiguration configuration = new()
        {
            Output = output,
            Error = error,
            EnableDefaultExceptionHandler = false,
            ProcessTerminationTimeout = s_patience,
        };
        try
        {
            return await root.Parse(arguments).InvokeAsync(configuration);
        }
        catch (Exception e) when (e is OperationCanceledException or RpcException { StatusCode: StatusCode.Cancelled })
        {
            await error.WriteLineAsync("cosim: interrupted");
            return Interrupted;
        }
        catch (RpcException e)
        {
            await error.WriteLineAsync($"cosim: {e.Status.Detail}");
            return 1;
        }
        catch (Exception e) when (e is ScenarioException or BridgeException or GuestException or WaveformException or GoldenMismatchException or FormatException or IOException or UnauthorizedAccessException)
        {
            await error.WriteLineAsync($"cosim: {e.Message}");
            return 1;
        }
    }
}
