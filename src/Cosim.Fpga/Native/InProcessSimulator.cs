// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;
using System.Text;

namespace Cosim.Fpga.Native;

/// <summary>A Verilator model inside this process.</summary>
internal sealed unsafe class InProcessSimulator : ISimulator
{
    private readonly delegate* unmanaged<nint, void> execute;
    private readonly delegate* unmanaged<nint, void> close;
    private nint simulator;

    /// <summary>Loads the model, which stays loaded for the next instance, and makes an instance.</summary>
    public InProcessSimulator(string library, LinkRegion region, string? waveFile)
    {
        nint handle = NativeLibrary.Load(library);
        var open = (delegate* unmanaged<nint, byte*, nint>)NativeLibrary.GetExport(handle, "cosim_open");
        execute = (delegate* unmanaged<nint, void>)NativeLibrary.GetExport(handle, "cosim_execute");
        close = (delegate* unmanaged<nint, void>)NativeLibrary.GetExport(handle, "cosim_close");
        fixed (byte* wave = Encoding.UTF8.GetBytes((waveFile ?? "") + '\0'))
        {
            simulator = open(region.Address, wave);
        }
    }

    public string? Execute()
    {
        execute(simulator);
        return null;
    }

    public void Abandon() => Dispose();

    public void Dispose()
    {
        if (simulator != 0)
        {
            close(simulator);
            simulator = 0;
        }
    }
}
