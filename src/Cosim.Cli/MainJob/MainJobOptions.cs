// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;

namespace Cosim.Cli.MainJob;

/// <summary>What of the main job the user may choose.</summary>
public sealed record MainJobOptions
{
    /// <summary>Which FPGA.</summary>
    public FpgaKind Fpga { get; init; } = FpgaKind.Verilator;

    /// <summary>Run Verilator inside this process.</summary>
    public bool InProcess { get; init; }

    /// <summary>Cycles from a request of the FPGA to its completion.</summary>
    public uint CompletionLatencyCycles { get; init; } = 16;

    /// <summary>Image that host 2 serves; a new one in the work folder if null. Its contents are lost.</summary>
    public string? Disk { get; init; }

    /// <summary>Waveform to write, or null; its format follows from the ending.</summary>
    public string? Waves { get; init; }

    /// <summary>Leave host 1's console to the user instead of running the job.</summary>
    public bool Shell { get; init; }

    /// <summary>Leave host 2's console to the user instead of host 1's.</summary>
    public bool ShellOnHostTwo { get; init; }
}
