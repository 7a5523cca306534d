// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Pcie;

/// <summary>Bus, device and function number of a requester, completer or target (PCI Express Base Specification, 2.2.6.2).</summary>
/// <param name="Value">The 16 bits as they stand in a header: bus 15:8, device 7:3, function 2:0.</param>
public readonly record struct RoutingId(ushort Value)
{
    /// <summary>Makes an id of its parts.</summary>
    /// <param name="bus">Bus number, 8 bits.</param>
    /// <param name="device">Device number, 5 bits.</param>
    /// <param name="function">Function number, 3 bits.</param>
    public RoutingId(int bus, int device, int function)
        : this((ushort)(((bus & 0xFF) << 8) | ((device & 0x1F) << 3) | (function & 7)))
    {
    }

    /// <summary>The root port's own id, 00:00.0.</summary>
    public static RoutingId RootPort => default;

    /// <summary>Bus number.</summary>
    public int Bus => Value >> 8;

    /// <summary>Device number.</summary>
    public int Device => (Value >> 3) & 0x1F;

    /// <summary>Function number.</summary>
    public int Function => Value & 7;

    /// <summary>Id of a function of the FPGA, which is device 0 of bus 1.</summary>
    public static RoutingId Fpga(int function) => new(1, 0, function);

    /// <summary>The id as <c>lspci</c> writes it: <c>01:00.1</c>.</summary>
    public override string ToString() => $"{Bus:x2}:{Device:x2}.{Function}";
}
