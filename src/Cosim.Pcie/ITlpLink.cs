// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Pcie;

/// <summary>The way from a root port to the FPGA's port, and the clock it is measured by.</summary>
public interface ITlpLink
{
    /// <summary>The FPGA's cycle count; never goes back.</summary>
    ulong Cycle { get; }

    /// <summary>Sends a TLP to the FPGA, after all TLPs given before with an earlier or equal <paramref name="notBefore"/>.</summary>
    /// <param name="tlp">The packet (see <see cref="Tlp"/>); to be copied before the call returns.</param>
    /// <param name="notBefore">Earliest cycle of its first beat; 0: as soon as possible.</param>
    void Send(ReadOnlySpan<byte> tlp, ulong notBefore);
}
