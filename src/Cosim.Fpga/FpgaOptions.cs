// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Fpga;

/// <summary>Which implementation takes the FPGA's place.</summary>
public enum FpgaKind
{
    /// <summary>The reference model in C#.</summary>
    Model,

    /// <summary>The VHDL, synthesised by GHDL to Verilog and compiled by Verilator.</summary>
    Verilator,

    /// <summary>The VHDL, run by GHDL.</summary>
    Ghdl,
}

/// <summary>Format of a waveform file.</summary>
public enum WaveFormat
{
    /// <summary>Value change dump (IEEE 1364).</summary>
    Vcd,

    /// <summary>GTKWave's FST.</summary>
    Fst,

    /// <summary>GHDL's GHW; only there.</summary>
    Ghw,
}

/// <summary>A user's own design in the FPGA's place.</summary>
/// <param name="Top">Name of the top entity; its ports are those of <c>hdl/CONTRACT.md</c>.</param>
/// <param name="Files">VHDL files in order of analysis.</param>
/// <param name="Ports">Number of PCIe ports and, when 3, the management port.</param>
/// <param name="IdleCycles">For a top without <c>busy_o</c>: cycles without traffic after which it counts as idle; null: it has <c>busy_o</c>.</param>
public sealed record FpgaDesign(string Top, IReadOnlyList<string> Files, int Ports, uint? IdleCycles);

/// <summary>Pauses on the streams, in cycles out of 256; in fixed cycles that depend on the seed only (<c>hdl/STIMULI.md</c>, "Back-pressure").</summary>
/// <param name="Into">Cycles in which no beat is offered to the FPGA.</param>
/// <param name="OutOf">Cycles in which no beat is taken from it.</param>
/// <param name="Seed">Chooses the cycles.</param>
public readonly record struct LinkPauses(byte Into, byte OutOf, ulong Seed);

/// <summary>What is needed to make an FPGA.</summary>
public sealed record FpgaOptions
{
    /// <summary>Which implementation.</summary>
    public FpgaKind Kind { get; init; }

    /// <summary>Run Verilator inside this process instead of as a child.</summary>
    public bool InProcess { get; init; }

    /// <summary>The user's own design, or null for the virtio FPGA of <c>hdl/</c>.</summary>
    public FpgaDesign? Design { get; init; }

    /// <summary>Number of virtio functions on port 0, 1 to 8.</summary>
    public int Functions { get; init; } = 2;

    /// <summary>Queues of each function, 1 to 64, and of all functions together at most 511.</summary>
    public int QueuesPerFunction { get; init; } = 8;

    /// <summary>MSI-X vectors of each function; queues + 1 unless given.</summary>
    public int? VectorsPerFunction { get; init; }

    /// <summary>Size of the scratch memory in bytes, a power of two.</summary>
    public int ScratchBytes { get; init; } = 65536;

    /// <summary>Pauses on the streams of a simulator; none unless given. The reference model makes none.</summary>
    public LinkPauses Pauses { get; init; }

    /// <summary>
    /// Verilator in a process of its own: what has no initial value, and what is unknown, is random by this seed (1 or more). Null: it is
    /// what Verilator finds fastest.
    /// </summary>
    public int? RandomSeed { get; init; }

    /// <summary>Waveform file to write, or null.</summary>
    public string? WaveFile { get; init; }

    /// <summary>Format of <see cref="WaveFile"/>.</summary>
    public WaveFormat WaveFormat { get; init; }

    /// <summary>Folder with the HDL sources (<c>hdl/</c> of the clone).</summary>
    public string HdlDirectory { get; init; } = "";

    /// <summary>Folder for builds (<c>.cosim/build</c> of the clone); a build is reused while its sources are unchanged.</summary>
    public string BuildDirectory { get; init; } = "";

    /// <summary>The set-up's list of tools (<c>.cosim/tools.json</c>).</summary>
    public string ToolsFile { get; init; } = "";

    /// <summary>Seconds without an answer after which a simulator counts as hanging.</summary>
    public double HangSeconds { get; init; } = 30;

    /// <summary>
    /// Called, on a thread of the pool, when a simulator's process has ended without being asked to: the next <see cref="IFpga.Run"/> fails.
    /// </summary>
    public Action? SimulatorEnded { get; init; }

    /// <summary>Takes, on a thread of the pool, a line about what a simulator's process has given up without failing, such as a waveform on a full disk.</summary>
    public Action<string>? Report { get; init; }
}
