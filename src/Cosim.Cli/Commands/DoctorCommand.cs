// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using System.Diagnostics;
using Cosim.Cli.MainJob;

namespace Cosim.Cli.Commands;

/// <summary><c>cosim doctor</c>: what is missing, what is too old, what to type.</summary>
internal static class DoctorCommand
{
    internal static Command Create(TextWriter output)
    {
        AddressOption address = new();
        Command command = new("doctor", "Say what is missing or too old, and what to type.") { address };
        command.SetAction(async (result, cancellation) =>
        {
            int status = await CheckAsync(Path.Combine(Workspace.Find().Root, "sim-scripts", "setup"), output, cancellation);
            using ServiceConnection? service = await ServiceConnection.TryOpenAsync(address.From(result), cancellation);
            await output.WriteLineAsync(service is null ? "No service runs; cosim up starts one." : $"A service runs on {address.From(result)}.");
            return status;
        });
        return command;
    }

    private static async Task<int> CheckAsync(string setUp, TextWriter output, CancellationToken cancellation)
    {
        using Process process = Process.Start(new ProcessStartInfo(setUp, ["--check"]) { RedirectStandardOutput = true })!;
        try
        {
            while (await process.StandardOutput.ReadLineAsync(cancellation) is { } line)
            {
                await output.WriteLineAsync(line);
            }

            await process.WaitForExitAsync(cancellation);
            return process.ExitCode;
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }
    }
}
