// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Cosim.Waveforms;

/// <summary>Where two canonical waveforms part.</summary>
/// <param name="Cycle">Cycle, or null where their signals already differ.</param>
/// <param name="Signal">Signal, or <c>end</c> for the number of cycles.</param>
/// <param name="Expected">Value expected.</param>
/// <param name="Actual">Value found.</param>
/// <param name="Packet">Packet of the actual waveform that moved last before it or with it, or null.</param>
public sealed record WaveDifference(ulong? Cycle, string Signal, string Expected, string Actual, string? Packet)
{
    /// <inheritdoc/>
    public override string ToString()
    {
        string where = Cycle is { } cycle ? string.Create(CultureInfo.InvariantCulture, $"cycle {cycle}, ") : "";
        return $"{where}{Signal}: expected {Expected}, actual {Actual}{(Packet is null ? "" : $" (last packet: {Packet})")}";
    }
}
