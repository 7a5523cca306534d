// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Security.Cryptography;
using Cosim.Cli.MainJob;
using Cosim.Server;
using Cosim.V1;
using Grpc.Core;
using Grpc.Net.Client;

namespace Cosim.Lifecycle;

/// <summary>
/// A service in a process of its own, with a bridge whose host 1 is a QEMU: it is ended by a signal, and the next one brings bridge and hosts back.
/// Host 1 prints the sha256 of its disk whenever it has booted.
/// </summary>
public sealed class ServiceRun(Action<string> log) : IDisposable
{
    private const string Bridge = "lifecycle";
    private const int Sigterm = 15;
    private const int Sigkill = 9;

    private readonly Workspace _workspace = Workspace.Find();
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("cosim-service-");
    private Process? _service;

    private ServiceAddress Address => ServiceAddress.Parse($"unix:{_folder.FullName}/s.sock");

    /// <summary>SIGKILL, then SIGTERM, each followed by <c>cosim serve --restore</c>.</summary>
    /// <returns>A result for each signal.</returns>
    public async Task<IReadOnlyList<FaultResult>> RunAsync()
    {
        string image = Path.Combine(_folder.FullName, "disk.img");
        byte[] disk = RandomNumberGenerator.GetBytes(4 << 20);
        await File.WriteAllBytesAsync(image, disk);
        string expected = Convert.ToHexStringLower(SHA256.HashData(disk));

        // What an earlier run that was itself killed has left is nobody's any more.
        await StartServiceAsync([]);
        using (GrpcChannel channel = Address.Connect())
        {
            _ = await new Bridges.BridgesClient(channel).CreateAsync(MakeScenario(image));
        }

        await ReadDiskAsync(expected);
        List<FaultResult> results = [];
        foreach ((string name, int signal) in new[] { ("kill -9 of the service", Sigkill), ("SIGTERM to the service", Sigterm) })
        {
            long begin = Stopwatch.GetTimestamp();
            string outcome = "ok";
            try
            {
                await EndServiceAsync(signal);
                await StartServiceAsync(["--restore"]);
                await ReadDiskAsync(expected);
            }
            catch (Exception e)
            {
                outcome = $"FAILED: {e.Message}";
            }

            results.Add(new FaultResult($"{name}, cosim serve --restore", 1, "Model", Stopwatch.GetElapsedTime(begin).TotalSeconds, 0, disk.Length, outcome));
        }

        using (GrpcChannel channel = Address.Connect())
        {
            _ = await new Bridges.BridgesClient(channel).DeleteAsync(new DeleteBridgeRequest { Name = Bridge });
        }

        await EndServiceAsync(Sigterm);
        return results;
    }

    public void Dispose()
    {
        if (_service is { HasExited: false })
        {
            _service.Kill();
            _service.WaitForExit();
        }

        _service?.Dispose();
        _folder.Delete(recursive: true);
    }

    private static Scenario MakeScenario(string image) => new()
    {
        Name = Bridge,
        Fpga = new FpgaSpec { Kind = FpgaSpec.Types.Kind.Model },
        Host1 = new HostSpec { Qemu = new QemuHost { MemoryMib = 256, Command = "echo disk $(sha256sum </dev/vda)" } },
        Host2 = new HostSpec { Process = new ProcessHost() },
        Devices = { new DeviceSpec { Block = new BlockDevice { Image = image } } },
    };

    // Waits until host 1 has booted and read its disk, by what is on its console.
    private async Task ReadDiskAsync(string expected)
    {
        using GrpcChannel channel = Address.Connect();
        Bridges.BridgesClient bridges = new(channel);
        long begin = Stopwatch.GetTimestamp();
        while (true)
        {
            string console = "";
            try
            {
                BridgeStatus status = await bridges.GetAsync(new GetBridgeRequest { Name = Bridge });
                if (status.State == BridgeStatus.Types.State.Failed)
                {
                    throw new InvalidDataException($"the bridge failed: {status.Error}");
                }

                console = status.Hosts.FirstOrDefault(h => h.Port == 0)?.Console ?? "";
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
            {
                // It is being started again.
            }

            string text = File.Exists(console) ? await File.ReadAllTextAsync(console) : "";
            int at = text.IndexOf("disk ", StringComparison.Ordinal);
            if (at >= 0 && text.Length > at + 5 + expected.Length)
            {
                string seen = text.Substring(at + 5, expected.Length);
                if (seen == expected)
                {
                    return;
                }

                throw new InvalidDataException($"host 1 reads a disk with sha256 {seen}; the image's is {expected}");
            }

            if (Stopwatch.GetElapsedTime(begin) > Rig.Deadline)
            {
                throw new TimeoutException($"host 1 has not read its disk within {Rig.Deadline.TotalSeconds} s; its console: {text}");
            }

            await Task.Delay(50);
        }
    }

    private async Task StartServiceAsync(string[] arguments)
    {
        ProcessStartInfo start = new("dotnet", [Path.Combine(AppContext.BaseDirectory, "cosim.dll"), "serve", "--address", Address.ToString(), .. arguments])
        {
            RedirectStandardOutput = true,
            WorkingDirectory = _workspace.Root,
        };
        _service?.Dispose();
        _service = Process.Start(start)!;
        TaskCompletionSource listening = new(TaskCreationOptions.RunContinuationsAsynchronously);
        _service.OutputDataReceived += (_, e) =>
        {
            if (e.Data is { } line)
            {
                log($"service: {line}");
                if (line.StartsWith("listening on ", StringComparison.Ordinal))
                {
                    _ = listening.TrySetResult();
                }
            }
        };
        _service.BeginOutputReadLine();
        await listening.Task.WaitAsync(Rig.Deadline);
    }

    // By a signal; then all that it has started is to be gone.
    private async Task EndServiceAsync(int signal)
    {
        int[] started = [.. Directory.GetDirectories($"/proc/{_service!.Id}/task")
            .SelectMany(thread => File.ReadAllText(Path.Combine(thread, "children")).Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Select(int.Parse)];
        using (Process kill = Process.Start("kill", [$"-{signal}", $"{_service.Id}"]))
        {
            await kill.WaitForExitAsync();
        }

        await _service.WaitForExitAsync().WaitAsync(Rig.Deadline);
        long begin = Stopwatch.GetTimestamp();
        while (started.Where(id => Directory.Exists($"/proc/{id}")).ToArray() is { Length: > 0 } left)
        {
            if (Stopwatch.GetElapsedTime(begin).TotalSeconds > 20)
            {
                throw new InvalidDataException($"processes {string.Join(", ", left)} have outlived the service");
            }

            await Task.Delay(20);
        }
    }
}
