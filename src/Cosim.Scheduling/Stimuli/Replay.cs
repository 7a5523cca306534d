// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;

namespace Cosim.Scheduling.Stimuli;

/// <summary>What a replay demands (<c>hdl/STIMULI.md</c>, section "Replay").</summary>
public enum ReplayMode
{
    /// <summary>Every input at its cycle, every output at its cycle.</summary>
    Exact,

    /// <summary>Cycles are free: inputs wait for the outputs that they had seen, outputs are compared in the order of their kind.</summary>
    Order,
}

/// <summary>How a recording is replayed.</summary>
public sealed record ReplayOptions
{
    /// <summary>Mode.</summary>
    public required ReplayMode Mode { get; init; }

    /// <summary>Transactions that are shown before a divergence.</summary>
    public int Last { get; init; } = 16;

    /// <summary>
    /// Order mode: cycles without an output after which an input is given though a recorded output before it has not come. Where that
    /// output took longer in the recording, four times as long is waited.
    /// </summary>
    public ulong PatienceCycles { get; init; } = 4000;
}

/// <summary>What came of a replay.</summary>
public sealed record ReplayResult
{
    /// <summary>The first divergence, or null: the replay went as recorded.</summary>
    public Divergence? Divergence { get; init; }

    /// <summary>Inputs given.</summary>
    public ulong Inputs { get; init; }

    /// <summary>Outputs that were as recorded.</summary>
    public ulong Outputs { get; init; }

    /// <summary>Resets after the one that the FPGA began with.</summary>
    public ulong Resets { get; init; }

    /// <summary>Cycles run.</summary>
    public ulong Cycles { get; init; }

    /// <summary>Order mode: outputs of this FPGA or of the recording that stand for several causes in one and for one in the other.</summary>
    public ulong Merged { get; init; }

    /// <summary>Order mode: inputs given before an output that came before them in the recording.</summary>
    public ulong Early { get; init; }

    /// <summary>Order mode: outputs of which the recording cannot say what is right: cut by a reset or its end, or values of raced reads.</summary>
    public ulong NotCompared { get; init; }
}

/// <summary>Replays recordings.</summary>
public static class Replay
{
    /// <summary>The mode that fits: exact between simulators of the VHDL and for the model's own recordings on the model, else order.</summary>
    public static ReplayMode ModeFor(RecordingHead head, string fpgaKind) =>
        head.IsHardware == (fpgaKind != "model") ? ReplayMode.Exact : ReplayMode.Order;

    /// <summary>Replays a recording on an FPGA that was just made.</summary>
    /// <param name="recording">The recording, from its begin.</param>
    /// <param name="fpga">An FPGA that has done nothing yet; best made with <see cref="RecordingHead.Apply"/>.</param>
    /// <param name="options">How.</param>
    /// <param name="cancellation">Ends the replay.</param>
    /// <exception cref="StimuliException">The recording is malformed, or this FPGA cannot replay it.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static ReplayResult Run(StimuliReader recording, IFpga fpga, ReplayOptions options, CancellationToken cancellation = default)
    {
        if (fpga.PortCount != recording.Head.Ports)
        {
            throw new StimuliException($"{recording.Name} is of {recording.Head.Ports} ports; this FPGA has {fpga.PortCount}");
        }

        ulong begin = fpga.Cycle;
        ulong[] skipped = new ulong[fpga.PortCount];
        ulong first = SkipToReset(recording, skipped);
        if (options.Mode == ReplayMode.Exact && first != 0 && recording.Head.Pauses != default)
        {
            throw new StimuliException($"{recording.Name} was begun while the FPGA ran, with back-pressure that depends on the cycle: it can be replayed in order mode only");
        }

        ReplayResult result = options.Mode == ReplayMode.Exact
            ? new ExactReplay(recording, fpga, options, first).Run(cancellation)
            : new OrderReplay(recording, fpga, options, skipped).Run(cancellation);
        return result with { Cycles = fpga.Cycle - begin };
    }

    /// <summary>Reads up to the first reset: what a recording of a running FPGA holds before it cannot be replayed.</summary>
    /// <param name="recording">The recording, from its begin.</param>
    /// <param name="skipped">Counts the outputs that were skipped, by port.</param>
    /// <returns>Cycle of the reset.</returns>
    internal static ulong SkipToReset(StimuliReader recording, ulong[] skipped)
    {
        while (recording.Read())
        {
            if (recording.Kind == StimulusKind.Output)
            {
                skipped[recording.Port]++;
            }

            if (recording.Kind == StimulusKind.Reset)
            {
                return recording.Cycle;
            }
        }

        throw new StimuliException($"{recording.Name} was begun while the FPGA ran and has no reset: it can be read, but not replayed");
    }
}
