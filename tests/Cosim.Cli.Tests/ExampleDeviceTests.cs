// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Cosim.Cli.MainJob;
using Cosim.Server;
using Cosim.Server.Scenarios;
using Cosim.Server.Scheduled;
using Cosim.V1;
using NUnit.Framework;

namespace Cosim.Cli.Tests;

/// <summary>A user's own design, brought up by its scenario, and driven by a program in the user space of a guest in a real QEMU.</summary>
[Category("qemu")]
public sealed class ExampleDeviceTests
{
    private readonly Workspace _workspace = Workspace.Find();
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("example").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [TestCase(FpgaSpec.Types.Kind.Verilator)]
    [TestCase(FpgaSpec.Types.Kind.Ghdl)]
    [CancelAfter(300_000)]
    public async Task Scenario_ExampleDriver_CopiesAndTakesItsInterruptsInTheGuest(FpgaSpec.Types.Kind kind, CancellationToken token)
    {
        Scenario scenario = ScenarioFile.Read(Path.Combine(_workspace.Root, "sim-scripts", "scenarios", "example-driver.json"));
        scenario.Fpga.Kind = kind;
        string driver = Path.Combine(_folder, Path.GetFileName(scenario.Host1.Qemu.Files[0]));
        await Compile(Path.Combine(_workspace.Hdl, "examples", "dma_device", "driver.c"), driver, token);
        scenario.Host1.Qemu.Files[0] = driver;
        Assert.That(ScenarioRules.Check(scenario), Is.Empty);

        ScheduledBridgeFactory factory = new(
            new BridgeFolders
            {
                Hdl = _workspace.Hdl,
                Build = _workspace.Build,
                Tools = _workspace.Tools,
                BackEnd = _workspace.BackEnd,
                Run = Path.Combine(_folder, "run"),
                Recordings = Path.Combine(_folder, "recordings"),
            },
            TestContext.Out.WriteLine);
        await using IBridge bridge = await factory.CreateAsync(scenario, token);
        HostStatus host = await WaitUntilHostRuns(bridge, token);
        string console = await WaitForConsole(host.Console, "cosim: the command ended with status", token);
        Assert.That(console, Does.Contain("example driver ok: 4 copies, 8232 bytes, 4 interrupts").And.Contain("cosim: the command ended with status 0"));
        BridgeStatus status = await bridge.GetStatusAsync();
        Assert.That(status.Counters.Ports[0].Interrupts, Is.EqualTo(4));
    }

    private static async Task Compile(string source, string program, CancellationToken token)
    {
        using Process compiler = Process.Start("g++", ["-x", "c", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", program, source]);
        await compiler.WaitForExitAsync(token);
        Assert.That(compiler.ExitCode, Is.Zero, $"{source} does not compile");
    }

    private static async Task<HostStatus> WaitUntilHostRuns(IBridge bridge, CancellationToken token)
    {
        using SemaphoreSlim changed = new(1);
        void Note() => changed.Release();
        bridge.Changed += Note;
        try
        {
            while (true)
            {
                await changed.WaitAsync(token);
                BridgeStatus status = await bridge.GetStatusAsync();
                Assert.That(status.Error, Is.Empty);
                if (status.Hosts.SingleOrDefault() is { State: HostStatus.Types.State.Running } host)
                {
                    return host;
                }
            }
        }
        finally
        {
            bridge.Changed -= Note;
        }
    }

    // The whole console, once the text stands in it.
    private static async Task<string> WaitForConsole(string file, string text, CancellationToken token)
    {
        string seen = "";
        using StreamReader reader = new(new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
        try
        {
            do
            {
                seen += await reader.ReadToEndAsync(token);
                await Task.Delay(50, token);
            }
            while (!seen.Contains(text, StringComparison.Ordinal));
        }
        finally
        {
            await TestContext.Out.WriteLineAsync(seen);
        }

        return seen;
    }
}
