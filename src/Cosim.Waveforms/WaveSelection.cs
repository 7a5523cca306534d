// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms;

/// <summary>Describes a packet in one line.</summary>
/// <param name="packet">Header, filled up with zeros to <see cref="WaveStream.HeaderBytes"/>, and payload.</param>
public delegate string PacketText(ReadOnlySpan<byte> packet);

/// <summary>A signal of a canonical waveform.</summary>
/// <param name="Path">Hierarchical name below the top, as <see cref="SignalPath"/> writes it.</param>
/// <param name="When">Signal of the same waveform that says when this one means anything; it is listed only while that is 1. Null: always.</param>
/// <param name="Literals">Literals of the signal's enumeration type in their order, see <see cref="VhdlEnumerations"/>; null: its values are numbers.</param>
public sealed record WaveSignal(string Path, string? When = null, IReadOnlyList<string>? Literals = null);

/// <summary>A packet stream with a ready/valid handshake, listed beat by beat; its packets are described beside their last beats.</summary>
/// <param name="Name">Name for people, without white space.</param>
/// <param name="Data">Path of a beat of data, DW k in bits 32k+31..32k.</param>
/// <param name="Keep">Path: one bit per DW of the beat.</param>
/// <param name="Last">Path: the last beat of the packet.</param>
/// <param name="Valid">Path: a beat is offered.</param>
/// <param name="Ready">Path: a beat is taken.</param>
/// <param name="HeaderBytes">Bytes that the first beat stands for in the packet given to <paramref name="Describe"/>; its payload follows.</param>
/// <param name="Describe">Describes a packet; null: packets are not described.</param>
public sealed record WaveStream(string Name, string Data, string Keep, string Last, string Valid, string Ready, int HeaderBytes = 0, PacketText? Describe = null);

/// <summary>What of a waveform goes into its canonical form.</summary>
public sealed record WaveSelection
{
    /// <summary>Scope that all names are relative to, wherever it stands in the file.</summary>
    public required string Top { get; init; }

    /// <summary>The clock; one cycle ends with each rising edge.</summary>
    public required string Clock { get; init; }

    /// <summary>Reset, active high: nothing is listed before it is 0 for the first time or while it is 1. Null: there is none.</summary>
    public string? Reset { get; init; }

    /// <summary>Signals in the order they are listed in.</summary>
    public required IReadOnlyList<WaveSignal> Signals { get; init; }

    /// <summary>Streams in the order they are listed in.</summary>
    public IReadOnlyList<WaveStream> Streams { get; init; } = [];

    /// <summary>First cycle that is listed.</summary>
    public ulong From { get; init; }

    /// <summary>The cycle that the form ends before, if the file goes on so long.</summary>
    public ulong To { get; init; } = ulong.MaxValue;
}
