// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms;

/// <summary>How much memory a VCD file may make its reader take; a file beyond a limit is refused.</summary>
public sealed record VcdLimits
{
    /// <summary>Greatest number of declared variables.</summary>
    public int Variables { get; init; } = 1_000_000;

    /// <summary>Greatest width of a variable in bits.</summary>
    public int Bits { get; init; } = 1 << 20;

    /// <summary>Greatest depth of nested scopes.</summary>
    public int Depth { get; init; } = 256;

    /// <summary>Greatest total length of the declared hierarchical names in characters.</summary>
    public long NameCharacters { get; init; } = 1 << 27;
}
