// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Cosim.Cli.MainJob;
using Cosim.Fpga;
using Cosim.Scheduling.Stimuli;

namespace Cosim.Cli.Commands;

/// <summary>Options that say on what a recording is replayed; its head says the rest.</summary>
internal sealed class ReplayFpgaOptions
{
    private readonly Option<FpgaKind?> _fpga = new("--fpga") { Description = "model, verilator or ghdl. Default: what it was recorded on.", HelpName = "KIND" };

    private readonly Option<string[]> _design = new("--design")
    {
        Description = "VHDL files of the user's own design in order of analysis; the recording names its top.",
        HelpName = "FILE",
        AllowMultipleArgumentsPerToken = true,
    };

    private readonly Option<uint?> _idleCycles = new("--idle-cycles") { Description = "With --design: the top has no busy_o and is idle after so many quiet cycles.", HelpName = "N" };

    internal void AddTo(Command command)
    {
        command.Options.Add(_fpga);
        command.Options.Add(_design);
        command.Options.Add(_idleCycles);
    }

    internal FpgaKind Kind(ParseResult result, RecordingHead head) => result.GetValue(_fpga) ?? Enum.Parse<FpgaKind>(head.Fpga, ignoreCase: true);

    /// <summary>Options of the FPGA.</summary>
    internal FpgaOptions From(ParseResult result, RecordingHead head) => From(result, head, Kind(result, head));

    /// <summary>Options of an FPGA of another kind with the same design.</summary>
    internal FpgaOptions From(ParseResult result, RecordingHead head, FpgaKind kind)
    {
        Workspace workspace = Workspace.Find();
        string[] files = result.GetValue(_design) ?? [];
        return head.Apply(new FpgaOptions
        {
            Kind = kind,
            Design = files.Length == 0 ? null : new FpgaDesign(head.Top, files, head.Ports, result.GetValue(_idleCycles)),
            HdlDirectory = workspace.Hdl,
            BuildDirectory = workspace.Build,
            ToolsFile = workspace.Tools,
        });
    }
}
