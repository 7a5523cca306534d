// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Cosim.Cli.MainJob;
using Cosim.Fpga;
using Cosim.Scheduling.Stimuli;
using NUnit.Framework;

namespace Cosim.Cli.Tests;

/// <summary>The main job with two real QEMU hosts, smaller than what <c>sim-scripts/run</c> does.</summary>
public sealed class MainJobTests
{
    private static async Task<string> Run(MainJobOptions options, int expected)
    {
        using StringWriter output = new(CultureInfo.InvariantCulture);
        int status = await new MainJob.MainJob(options, Workspace.Find(), output).Run(CancellationToken.None);
        string text = output.ToString();
        await TestContext.Out.WriteLineAsync(text);
        Assert.That(status, Is.EqualTo(expected), text);
        return text.TrimEnd().Split('\n')[^1];
    }

    [TestCase(FpgaKind.Model, 2, 8 << 20, 4 << 20, 10, 1 << 20)]
    [TestCase(FpgaKind.Ghdl, 1, 8 << 20, 64 << 10, 1, 64 << 10)]
    public async Task Run_TwoQemuHosts_BlockAndNetAreRight(FpgaKind fpga, int processors, long disk, long file, int pings, long transfer)
    {
        string last = await Run(
            new MainJobOptions { Fpga = fpga, HostOneProcessors = processors, Sizes = new MainJobSizes(disk, file, Journal: false, pings, transfer, TimeSpan.FromMinutes(10)) },
            expected: 0);
        Assert.That(last, Does.Match($"^bridge ok fpga={fpga.ToString().ToLowerInvariant()} tlps=[1-9][0-9]* cycles=[1-9][0-9]* simulated=[0-9.]+ms interrupts=[1-9][0-9]* wall="));
    }

    [Test]
    public async Task Run_RecordedOnVerilator_TheReplayAgreesOnAllFpgas()
    {
        string file = Path.Combine(TestContext.CurrentContext.WorkDirectory, "main.stim");
        string last = await Run(
            new MainJobOptions { Record = file, Sizes = new MainJobSizes(8 << 20, 1 << 20, Journal: false, 10, 1 << 20, TimeSpan.FromMinutes(10)) },
            expected: 0);
        ReplayResult model = Replayed(file, FpgaKind.Model);
        Assert.Multiple(() =>
        {
            Assert.That(last, Does.StartWith("bridge ok fpga=verilator "));
            Assert.That(model.Divergence, Is.Null, model.Divergence?.ToString());
            Assert.That(model.Outputs, Is.GreaterThan(10_000));
        });

        // GHDL is slow: the begin, with both enumerations, features and queues.
        string begin = Path.ChangeExtension(file, ".begin.stim");
        await File.WriteAllLinesAsync(begin, (await File.ReadAllLinesAsync(file)).Take(6000));
        foreach (FpgaKind kind in new[] { FpgaKind.Verilator, FpgaKind.Ghdl })
        {
            ReplayResult result = Replayed(begin, kind);
            Assert.That(result.Divergence?.Kind, Is.EqualTo(DivergenceKind.CutOff), result.Divergence?.ToString());
            Assert.That(result.Inputs + result.Outputs, Is.GreaterThan(5900));
        }

        File.Delete(file);
        File.Delete(begin);
    }

    private static ReplayResult Replayed(string file, FpgaKind kind)
    {
        Workspace workspace = Workspace.Find();
        using StimuliReader reader = new(file);
        FpgaOptions options = new() { Kind = kind, HdlDirectory = workspace.Hdl, BuildDirectory = workspace.Build, ToolsFile = workspace.Tools };
        using IFpga fpga = FpgaFactory.Create(reader.Head.Apply(options));
        return Replay.Run(reader, fpga, new ReplayOptions { Mode = Replay.ModeFor(reader.Head, fpga.Kind) });
    }

    [Test]
    public async Task Run_DiskIsMissing_SaysSo()
    {
        string last = await Run(new MainJobOptions { Fpga = FpgaKind.Model, Disk = "/nowhere/disk.img" }, expected: 1);
        Assert.That(last, Does.StartWith("bridge failed: ").And.Contain("/nowhere/disk.img"));
    }
}
