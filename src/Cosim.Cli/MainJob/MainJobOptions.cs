// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;

namespace Cosim.Cli.MainJob;

/// <summary>How much the main job moves.</summary>
/// <param name="Disk">Size of a new disk in bytes.</param>
/// <param name="File">Size of the file in bytes.</param>
/// <param name="Journal">Whether its file system has a journal.</param>
/// <param name="Pings">Echo requests.</param>
/// <param name="Transfer">Bytes sent by TCP each way.</param>
/// <param name="Deadline">For each step in a guest.</param>
public sealed record MainJobSizes(long Disk, long File, bool Journal, int Pings, long Transfer, TimeSpan Deadline)
{
    /// <summary>The main job's own sizes: smaller ones for GHDL, which is some hundred times slower.</summary>
    public static MainJobSizes For(FpgaKind fpga) => fpga == FpgaKind.Ghdl
        ? new MainJobSizes(8 << 20, 1 << 20, Journal: false, 5, 64 << 10, TimeSpan.FromMinutes(20))
        : new MainJobSizes(128 << 20, 64 << 20, Journal: true, 100, 4 << 20, TimeSpan.FromMinutes(10));
}

/// <summary>What of the main job the user may choose.</summary>
public sealed record MainJobOptions
{
    /// <summary>Which FPGA.</summary>
    public FpgaKind Fpga { get; init; } = FpgaKind.Verilator;

    /// <summary>Run Verilator as a process of its own. Inside this one it need not share two cores with a scheduler that waits for it.</summary>
    public bool Child { get; init; }

    /// <summary>Cycles from a request of the FPGA to its completion.</summary>
    public uint CompletionLatencyCycles { get; init; } = 16;

    /// <summary>Processors of host 1, which uses as many pairs of queues as it has, at most two.</summary>
    public int HostOneProcessors { get; init; } = 1;

    /// <summary>Image that host 2 serves; a new one in the work folder if null. Its contents are lost.</summary>
    public string? Disk { get; init; }

    /// <summary>Waveform to write, or null; its format follows from the ending.</summary>
    public string? Waves { get; init; }

    /// <summary>File for a recording of all that crosses the FPGA's boundary, or null.</summary>
    public string? Record { get; init; }

    /// <summary>How much is moved; <see cref="MainJobSizes.For"/> if null.</summary>
    public MainJobSizes? Sizes { get; init; }

    /// <summary>Leave host 1's console to the user instead of running the job.</summary>
    public bool Shell { get; init; }

    /// <summary>Leave host 2's console to the user instead of host 1's.</summary>
    public bool ShellOnHostTwo { get; init; }
}
