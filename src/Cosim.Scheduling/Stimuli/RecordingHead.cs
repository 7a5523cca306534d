// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;

namespace Cosim.Scheduling.Stimuli;

/// <summary>The head of a recording: on what it was made (<c>hdl/STIMULI.md</c>).</summary>
public sealed record RecordingHead
{
    /// <summary>Top of this project's own FPGA.</summary>
    public const string OwnTop = "cosim_top";

    private const string Functions = "FUNCTIONS_G";
    private const string Queues = "QUEUES_G";
    private const string Vectors = "VECTORS_G";
    private const string Scratch = "SCRATCH_BYTES_G";

    /// <summary>What it was recorded on: <c>model</c>, <c>verilator</c> or <c>ghdl</c>.</summary>
    public required string Fpga { get; init; }

    /// <summary>Number of ports, 1 to 3.</summary>
    public required int Ports { get; init; }

    /// <summary>Name of the top entity.</summary>
    public required string Top { get; init; }

    /// <summary>Generics of the top with their values, in the order of the file.</summary>
    public IReadOnlyList<(string Name, uint Value)> Generics { get; init; } = [];

    /// <summary>Back-pressure on the streams.</summary>
    public LinkPauses Pauses { get; init; }

    /// <summary>Whether it was recorded on hardware and not on the reference model.</summary>
    public bool IsHardware => Fpga != "model";

    /// <summary>The head of a recording of the FPGA that these options make.</summary>
    public static RecordingHead From(FpgaOptions options) => new()
    {
        Fpga = Name(options.Kind),
        Ports = options.Design?.Ports ?? StimuliFormat.MaxPorts,
        Top = options.Design?.Top.ToLowerInvariant() ?? OwnTop,
        Generics = options.Design is not null ? [] :
        [
            (Functions, (uint)options.Functions),
            (Queues, (uint)options.QueuesPerFunction),
            (Vectors, (uint)(options.VectorsPerFunction ?? options.QueuesPerFunction + 1)),
            (Scratch, (uint)options.ScratchBytes),
        ],
        Pauses = options.Pauses,
    };

    /// <summary>Options for an FPGA on which the recording can be replayed.</summary>
    /// <param name="options">Kind, folders and tools; also the design, for a top that is not this project's own.</param>
    /// <exception cref="StimuliException">The recording is of another design, or has generics that are not known here.</exception>
    public FpgaOptions Apply(FpgaOptions options)
    {
        if (options.Kind != FpgaKind.Model)
        {
            options = options with { Pauses = Pauses };
        }

        if (Top != OwnTop)
        {
            FpgaDesign design = options.Design
                ?? throw new StimuliException($"the recording is of the design '{Top}': name its VHDL files");
            return string.Equals(design.Top, Top, StringComparison.OrdinalIgnoreCase) && design.Ports == Ports
                ? options
                : throw new StimuliException($"the recording is of '{Top}' with {Ports} ports, and not of '{design.Top}' with {design.Ports}");
        }

        foreach ((string name, uint value) in Generics)
        {
            int number = value <= int.MaxValue ? (int)value : throw new StimuliException($"generic {name} is {value}; at most {int.MaxValue} can be");
            options = name switch
            {
                Functions => options with { Functions = number },
                Queues => options with { QueuesPerFunction = number },
                Vectors => options with { VectorsPerFunction = number },
                Scratch => options with { ScratchBytes = number },
                _ => throw new StimuliException($"{OwnTop} has no generic {name}; it has {Functions}, {Queues}, {Vectors} and {Scratch}"),
            };
        }

        return options;
    }

    /// <summary>An FPGA's name as in <see cref="IFpga.Kind"/>.</summary>
    public static string Name(FpgaKind kind) => kind switch
    {
        FpgaKind.Model => "model",
        FpgaKind.Verilator => "verilator",
        _ => "ghdl",
    };
}
