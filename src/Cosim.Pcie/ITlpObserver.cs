// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Pcie;

/// <summary>Which way a TLP goes.</summary>
public enum TlpDirection
{
    /// <summary>From the root port to the FPGA.</summary>
    ToFpga,

    /// <summary>From the FPGA to the root port.</summary>
    FromFpga,
}

/// <summary>Sees each TLP that passes a root port.</summary>
public interface ITlpObserver
{
    /// <summary>A TLP passes.</summary>
    /// <param name="direction">Which way.</param>
    /// <param name="tlp">The packet, malformed ones included; valid during the call.</param>
    /// <param name="cycle">Cycle of its arrival, or the earliest cycle of its first beat.</param>
    void Observed(TlpDirection direction, ReadOnlySpan<byte> tlp, ulong cycle);
}
