// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Pcie;

/// <summary>One Base Address Register as sizing found it (PCI Express Base Specification, 7.5.1.2.1).</summary>
/// <param name="Size">Bytes; 0: not there, or the upper half of a 64-bit BAR.</param>
/// <param name="IsIo">I/O space instead of memory; such a BAR cannot be reached through the root port.</param>
/// <param name="Is64Bit">The next register holds the upper half of the address.</param>
/// <param name="IsPrefetchable">Prefetchable.</param>
public readonly record struct BarLayout(ulong Size, bool IsIo, bool Is64Bit, bool IsPrefetchable)
{
    /// <summary>Whether it is a memory BAR.</summary>
    public bool IsMemory => Size != 0 && !IsIo;
}

/// <summary>What a function has, as found in its configuration space.</summary>
public sealed record FunctionLayout
{
    /// <summary>Number of BARs of a type 0 header.</summary>
    public const int BarCount = 6;

    /// <summary>Whether the function answers at all.</summary>
    public bool IsPresent { get; init; }

    /// <summary>Vendor ID; 0xFFFF if not present.</summary>
    public ushort VendorId { get; init; } = 0xFFFF;

    /// <summary>Device ID.</summary>
    public ushort DeviceId { get; init; } = 0xFFFF;

    /// <summary>The six BARs.</summary>
    public IReadOnlyList<BarLayout> Bars { get; init; } = new BarLayout[BarCount];

    /// <summary>Interrupt Pin: 0 none, 1 INTA to 4 INTD.</summary>
    public int InterruptPin { get; init; }

    /// <summary>Offset of the PCI Express capability; 0: none.</summary>
    public int PcieCapability { get; init; }

    /// <summary>Max_Payload_Size Supported in bytes.</summary>
    public int MaxPayloadSupported { get; init; } = 128;

    /// <summary>Whether Function Level Reset is there.</summary>
    public bool HasFunctionLevelReset { get; init; }

    /// <summary>Offset of the MSI-X capability; 0: none.</summary>
    public int MsixCapability { get; init; }

    /// <summary>Size of the MSI-X table in vectors; 0: none.</summary>
    public int MsixVectors { get; init; }

    /// <summary>BAR that holds the MSI-X table.</summary>
    public int MsixTableBar { get; init; }

    /// <summary>Offset of the MSI-X table in its BAR.</summary>
    public uint MsixTableOffset { get; init; }
}
