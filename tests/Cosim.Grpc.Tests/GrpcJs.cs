// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using NUnit.Framework;

namespace Cosim.Grpc.Tests;

/// <summary>The gRPC library of Node.js, installed into the clone's work folder.</summary>
internal static class GrpcJs
{
    private static readonly string[] s_packages = ["@grpc/grpc-js@1.14.7", "@grpc/proto-loader@0.8.0"];

    /// <summary>Folder of the installed packages. Ignores the test, with the reason, where they cannot be had.</summary>
    public static async Task<string> InstallAsync(CancellationToken token)
    {
        foreach (string program in new[] { "node", "npm" })
        {
            if (Environment.GetEnvironmentVariable("PATH")!.Split(':').All(d => !File.Exists(Path.Combine(d, program))))
            {
                Assert.Ignore($"{program} is not on this machine (Debian packages nodejs and npm).");
            }
        }

        string folder = Path.Combine(FindClone(), ".cosim", "tools", "grpc-js");
        string modules = Path.Combine(folder, "node_modules");
        if (!Directory.Exists(Path.Combine(modules, "@grpc", "proto-loader")))
        {
            Directory.CreateDirectory(folder);
            (int exitCode, string output) =
                await RunProgramAsync("npm", ["install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts", .. s_packages], token);
            if (exitCode != 0)
            {
                Assert.Ignore($"npm cannot install {string.Join(' ', s_packages)}: {output}");
            }
        }

        return modules;
    }

    /// <summary>Runs a script with its arguments.</summary>
    public static Task<(int ExitCode, string Output)> RunAsync(string script, string[] arguments, CancellationToken cancellation) =>
        RunProgramAsync("node", [script, .. arguments], cancellation);

    /// <summary>The clone that the tests run from.</summary>
    public static string FindClone()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "Cosim.sln")))
        {
            folder = folder.Parent;
        }

        return folder?.FullName ?? throw new InvalidOperationException($"{AppContext.BaseDirectory} is not in a clone: no folder above it has Cosim.sln.");
    }

    private static async Task<(int ExitCode, string Output)> RunProgramAsync(string program, string[] arguments, CancellationToken token)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        try
        {
            Task<string> error = process.StandardError.ReadToEndAsync(token);
            string output = await process.StandardOutput.ReadToEndAsync(token);
            await process.WaitForExitAsync(token);
            return (process.ExitCode, await error + output);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }
    }
}
