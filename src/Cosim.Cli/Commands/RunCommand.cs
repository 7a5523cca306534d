// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Cosim.Cli.MainJob;
using Cosim.Fpga;

namespace Cosim.Cli.Commands;

/// <summary><c>cosim run</c>: the main job.</summary>
internal static class RunCommand
{
    private const string HostTwo = "host2";

    internal static Command Create(TextWriter output)
    {
        Option<FpgaKind> fpga = new("--fpga") { Description = "model, verilator (the default) or ghdl.", DefaultValueFactory = _ => FpgaKind.Verilator, HelpName = "KIND" };
        Option<bool> child = new("--child") { Description = "Run Verilator as a process of its own, as bridges of the service do: slower." };
        Option<uint> latency = new("--latency") { Description = "Completion latency in cycles. Default 16.", DefaultValueFactory = _ => 16, HelpName = "CYCLES" };
        Option<string?> disk = new("--disk") { Description = "Image for host 2 to serve; what is in it is lost.", HelpName = "FILE" };
        Option<string?> waves = new("--waves") { Description = "Waveform to write: .vcd, .fst or, with GHDL, .ghw.", HelpName = "FILE" };
        Option<string?> record = new("--record") { Description = "Record what crosses the FPGA's boundary, for cosim replay: .stim or .stim.gz.", HelpName = "FILE" };
        Option<bool> small = new("--small") { Description = "Move as little as with GHDL, whatever the FPGA." };
        Option<string?> shell = new("--shell") { Description = "Leave a console to the user instead: host1 (the default) or host2.", HelpName = "HOST", Arity = ArgumentArity.ZeroOrOne };
        shell.AcceptOnlyFromAmong("host1", HostTwo);
        Command command = new("run", "Join two QEMU hosts and check disk and network through the FPGA.") { fpga, child, latency, disk, waves, record, small, shell };
        command.SetAction((result, cancellation) => new MainJob.MainJob(
            new MainJobOptions
            {
                Fpga = result.GetValue(fpga),
                Child = result.GetValue(child),
                CompletionLatencyCycles = result.GetValue(latency),
                Disk = result.GetValue(disk),
                Waves = result.GetValue(waves),
                Record = result.GetValue(record),
                Sizes = result.GetValue(small) ? MainJobSizes.For(FpgaKind.Ghdl) : null,
                Shell = result.GetResult(shell) is not null,
                ShellOnHostTwo = result.GetValue(shell) == HostTwo,
            },
            Workspace.Find(),
            output).Run(cancellation));
        return command;
    }
}
