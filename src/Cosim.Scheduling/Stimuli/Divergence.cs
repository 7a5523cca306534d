// SPDX-License-Identifier: Apache-2.0
using System.Text;

namespace Cosim.Scheduling.Stimuli;

/// <summary>In what way a replay went another way than its recording.</summary>
public enum DivergenceKind
{
    /// <summary>A packet is not as recorded, in a field or in its cycle.</summary>
    Packet,

    /// <summary>A recorded packet did not come.</summary>
    Missing,

    /// <summary>A packet came that was not recorded.</summary>
    Surplus,

    /// <summary>The FPGA was lost.</summary>
    Failed,

    /// <summary>The FPGA works on and on without what was recorded.</summary>
    Hang,

    /// <summary>The recording has no end; up to where it was cut off it was replayed alike.</summary>
    CutOff,
}

/// <summary>The first difference between a replay and its recording.</summary>
public sealed record Divergence
{
    /// <summary>In what way.</summary>
    public required DivergenceKind Kind { get; init; }

    /// <summary>Cycle of the replay.</summary>
    public required ulong Cycle { get; init; }

    /// <summary>Port, or -1 where it is about none.</summary>
    public int Port { get; init; } = -1;

    /// <summary>What differs: a field of the packet, <c>payload DW n</c> or <c>cycle</c>; empty for a whole packet.</summary>
    public string Field { get; init; } = "";

    /// <summary>What the recording has in the field, or what happened to the FPGA.</summary>
    public string Expected { get; init; } = "";

    /// <summary>What came instead.</summary>
    public string Actual { get; init; } = "";

    /// <summary>The recorded packet, decoded; empty for none.</summary>
    public string ExpectedPacket { get; init; } = "";

    /// <summary>The packet that came, decoded; empty for none.</summary>
    public string ActualPacket { get; init; } = "";

    /// <summary>Line of the recording with the packet expected, 0 for none.</summary>
    public long Line { get; init; }

    /// <summary>Recorded cycle of the packet expected.</summary>
    public ulong RecordedCycle { get; init; }

    /// <summary>The transactions before it, decoded, oldest first.</summary>
    public IReadOnlyList<string> Before { get; init; } = [];

    /// <summary>
    /// What makes it the same as a divergence of another recording: kind, port, kind of packet and field. DWs of the payload count as one field.
    /// </summary>
    public (DivergenceKind Kind, int Port, string Packet, string Field) Identity =>
        (Kind, Port, (ExpectedPacket.Length > 0 ? ExpectedPacket : ActualPacket).Split(' ')[0], Field.StartsWith("payload DW", StringComparison.Ordinal) ? "payload" : Field);

    /// <summary>One line.</summary>
    public string Summary => Kind switch
    {
        DivergenceKind.Packet when Field == "cycle" => $"cycle {Cycle} port {Port}: {ExpectedPacket}: came in cycle {Actual}, expected in cycle {Expected} (line {Line})",
        DivergenceKind.Packet => $"cycle {Cycle} port {Port}: {ActualPacket}: {Field} is {Actual}, expected {Expected} (line {Line})",
        DivergenceKind.Missing => $"cycle {Cycle} port {Port}: {ExpectedPacket} did not come, recorded in cycle {RecordedCycle} (line {Line})",
        DivergenceKind.Surplus => $"cycle {Cycle} port {Port}: {ActualPacket} was not recorded",
        DivergenceKind.Failed => $"cycle {Cycle}: the FPGA is lost: {Actual}",
        DivergenceKind.Hang => $"cycle {Cycle} port {Port}: the FPGA is busy, and {ExpectedPacket} did not come, recorded in cycle {RecordedCycle} (line {Line})",
        _ => $"cycle {Cycle}: the recording was cut off after line {Line}; up to there it was replayed alike",
    };

    /// <summary>Several lines: the transactions before it, what was expected and what came.</summary>
    public override string ToString()
    {
        StringBuilder text = new();
        foreach (string line in Before)
        {
            _ = text.Append("  ").AppendLine(line);
        }

        if (ExpectedPacket.Length > 0)
        {
            _ = text.Append("  expected (line ").Append(Line).Append(", cycle ").Append(RecordedCycle).Append("): ").AppendLine(ExpectedPacket);
        }

        if (ActualPacket.Length > 0)
        {
            _ = text.Append("  actual   (cycle ").Append(Cycle).Append("): ").AppendLine(ActualPacket);
        }

        if (Field.Length > 0)
        {
            _ = text.Append("  ").Append(Field).Append(": expected ").Append(Expected).Append(", actual ").AppendLine(Actual);
        }

        return text.ToString();
    }
}
