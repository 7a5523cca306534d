// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Pcie;

namespace Cosim.Scheduling.Stimuli;

/// <summary>Writes packets of any port for people.</summary>
public static class PacketText
{
    /// <summary>One line about a packet: a TLP, or a packet of the management port.</summary>
    /// <param name="port">Port it crossed.</param>
    /// <param name="packet">Header and payload.</param>
    public static string Format(int port, ReadOnlySpan<byte> packet) =>
        port == StimuliFormat.ManagementPort ? ManagementFormatter.Format(packet) : TlpFormatter.Format(packet);
}
