// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json;
using Cosim.Cli.MainJob;
using Cosim.Fpga;

namespace Cosim.Benchmarks;

/// <summary>The clone that is measured and the machine that measures.</summary>
internal sealed class Surroundings
{
    private readonly Dictionary<string, string> _tools;

    public Surroundings(string folder)
    {
        Workspace = Workspace.Find();
        Folder = folder;
        using FileStream list = File.OpenRead(Workspace.Tools);
        _tools = JsonSerializer.Deserialize<Dictionary<string, string>>(list) ?? [];
    }

    public Workspace Workspace { get; }

    /// <summary>Folder of this run: sockets, images, small programs. It is removed at the end.</summary>
    public string Folder { get; }

    /// <summary>What makes an FPGA of a kind from the clone's sources.</summary>
    public FpgaOptions Fpga(FpgaKind kind, bool inProcess = false) => new()
    {
        Kind = kind,
        InProcess = inProcess,
        HdlDirectory = Workspace.Hdl,
        BuildDirectory = Workspace.Build,
        ToolsFile = Workspace.Tools,
    };

    /// <summary>The machine in a few lines.</summary>
    public IEnumerable<string> Describe()
    {
        string processor = Value("/proc/cpuinfo", "model name", ':');
        long memory = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        string system = Value("/etc/os-release", "PRETTY_NAME", '=').Trim('"');
        yield return $"{processor}, {Environment.ProcessorCount} cores, {memory >> 20} MiB";
        yield return $"{system}, Linux {Environment.OSVersion.Version}, {RuntimeInformation.FrameworkDescription}";
        yield return $"QEMU {Tool("qemuVersion")}, GHDL {Tool("ghdlVersion")}, Verilator {Tool("verilatorVersion")}, guest kernel {Tool("kernelVersion")}";
        yield return $"load average at the start {File.ReadAllText("/proc/loadavg").Split(' ')[0]}";
    }

    /// <summary>Starts a program of this bench. Its output is read by the caller; it ends when its input is closed or it is killed.</summary>
    public static Process Start(string program, params string[] arguments)
    {
        ProcessStartInfo start = new(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true };
        return Process.Start(start) ?? throw new InvalidOperationException($"{program} was not started");
    }

    /// <summary>Runs a program to its end and gives its output.</summary>
    public static async Task<string> Run(string program, params string[] arguments)
    {
        using Process process = Start(program, arguments);
        process.StandardInput.Close();
        string output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return process.ExitCode == 0 ? output : throw new InvalidOperationException($"{program} {string.Join(' ', arguments)} ended with status {process.ExitCode}: {output}");
    }

    /// <summary>Waits until a program says that it is ready.</summary>
    public static async Task WaitUntilReady(Process process)
    {
        string? line = await process.StandardOutput.ReadLineAsync();
        if (line != "ready")
        {
            throw new InvalidOperationException($"{process.StartInfo.FileName} {string.Join(' ', process.StartInfo.ArgumentList)} did not become ready; it said: {line}");
        }
    }

    /// <summary>Ends a program.</summary>
    public static async Task End(Process process)
    {
        process.StandardInput.Close();
        using CancellationTokenSource patience = new(TimeSpan.FromSeconds(10));
        try
        {
            await process.WaitForExitAsync(patience.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            await process.WaitForExitAsync(CancellationToken.None);
        }
    }

    private static string Value(string file, string key, char separator) =>
        File.ReadLines(file).FirstOrDefault(line => line.StartsWith(key, StringComparison.Ordinal))?.Split(separator, 2)[1].Trim() ?? "unknown";

    private string Tool(string key) => _tools.GetValueOrDefault(key, "unknown");
}
