// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms;

/// <summary>What a variable's changes look like.</summary>
public enum VcdValueKind
{
    /// <summary>Bits: every variable type but those below.</summary>
    Bits,

    /// <summary><c>real</c> and <c>realtime</c>.</summary>
    Real,

    /// <summary><c>string</c>, an extension that simulators use for enumerations.</summary>
    Text,
}

/// <summary>A declared variable (IEEE 1364-2005, 18.2.3.8). Several may share one identifier code.</summary>
/// <param name="Path">Hierarchical name as <see cref="SignalPath"/> writes it.</param>
/// <param name="Kind">What its changes look like.</param>
/// <param name="Width">Bits.</param>
/// <param name="Code">Number of its identifier code, counted from 0 in order of first declaration.</param>
/// <param name="Written">Hierarchical name as the file has it, with points between scopes and with its range.</param>
public sealed record VcdVariable(string Path, VcdValueKind Kind, int Width, int Code, string Written);
