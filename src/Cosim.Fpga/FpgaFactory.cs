// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga.Model;
using Cosim.Fpga.Native;

namespace Cosim.Fpga;

/// <summary>Makes the FPGA that the options name.</summary>
public static class FpgaFactory
{
    /// <summary>Makes an FPGA; building and starting a simulator belongs to it.</summary>
    /// <param name="options">What to make.</param>
    /// <exception cref="ArgumentException">The options ask for what the implementation does not have.</exception>
    /// <exception cref="FpgaBuildException">A simulator does not build or does not start.</exception>
    public static IFpga Create(FpgaOptions options) => options.Kind switch
    {
        FpgaKind.Model => CreateModel(options),
        FpgaKind.Verilator or FpgaKind.Ghdl => NativeFpga.Create(options),
        _ => throw new ArgumentException($"There is no FPGA of kind {options.Kind}.", nameof(options)),
    };

    private static ReferenceModel CreateModel(FpgaOptions options)
    {
        if (options.Design is { } design)
        {
            throw new ArgumentException($"The reference model cannot run the design '{design.Top}': choose Verilator or GHDL.", nameof(options));
        }

        if (options.WaveFile is { } file)
        {
            throw new ArgumentException($"The reference model has no signals for the waveform '{file}': choose Verilator or GHDL.", nameof(options));
        }

        if (options.Pauses != default)
        {
            throw new ArgumentException("The reference model makes no pauses on its streams: choose Verilator or GHDL.", nameof(options));
        }

        return new ReferenceModel(options);
    }
}
