// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Scheduling.Stimuli;

namespace Cosim.Scheduling;

/// <summary>Sees everything that crosses the FPGA's boundary, in the order in which the scheduler gave or took it.</summary>
/// <remarks>
/// Given the same inputs, each offered first at the greater of its <c>cycle</c> and <c>notBefore</c>, the same FPGA gives the same outputs
/// at the same cycles. The numbers of outputs seen say what an input answers where cycles differ. Called on the bridge's thread.
/// </remarks>
public interface IStimuliLog
{
    /// <summary>A packet was given to the FPGA.</summary>
    /// <param name="port">Port.</param>
    /// <param name="cycle">The FPGA's cycle then.</param>
    /// <param name="notBefore">Earliest cycle of its first beat.</param>
    /// <param name="outputsSeen">Outputs taken before it, by port.</param>
    /// <param name="packet">Header and payload; valid during the call.</param>
    void Input(int port, ulong cycle, ulong notBefore, ReadOnlySpan<ulong> outputsSeen, ReadOnlySpan<byte> packet);

    /// <summary>A packet was taken from the FPGA.</summary>
    /// <param name="port">Port.</param>
    /// <param name="cycle">Cycle of its last beat.</param>
    /// <param name="packet">Header and payload; valid during the call.</param>
    void Output(int port, ulong cycle, ReadOnlySpan<byte> packet);

    /// <summary>The FPGA was reset.</summary>
    /// <param name="cycle">The FPGA's cycle when the reset began.</param>
    void Reset(ulong cycle);

    /// <summary>Nothing more will cross the boundary, or be told.</summary>
    /// <param name="cycle">The FPGA's cycle: those before it have been run.</param>
    void End(ulong cycle)
    {
    }
}

/// <summary>An FPGA whose boundary is logged, and can be recorded from any cycle on.</summary>
internal sealed class LoggedFpga(IFpga fpga, IStimuliLog? log) : IFpga
{
    private readonly ulong[] _outputs = new ulong[fpga.PortCount];
    private StimuliWriter? _recording;

    public string Kind => fpga.Kind;

    public int PortCount => fpga.PortCount;

    public ulong Cycle => fpga.Cycle;

    public string? Failure => fpga.Failure;

    /// <summary>Outputs that were taken, by port.</summary>
    public IReadOnlyList<ulong> Outputs => _outputs;

    public void BeginRecording(StimuliWriter recording) => _recording = recording;

    public void EndRecording()
    {
        _recording?.End(fpga.Cycle);
        _recording = null;
    }

    public void Send(int port, ReadOnlySpan<byte> packet, ulong notBefore = 0)
    {
        log?.Input(port, fpga.Cycle, notBefore, _outputs, packet);
        _recording?.Input(port, fpga.Cycle, notBefore, _outputs, packet);
        fpga.Send(port, packet, notBefore);
    }

    public RunResult Run(ulong maxCycles, uint lookahead = 0) => fpga.Run(maxCycles, lookahead);

    public bool TryReceive(out FpgaPacket packet)
    {
        if (!fpga.TryReceive(out packet))
        {
            return false;
        }

        log?.Output(packet.Port, packet.Cycle, packet.Bytes);
        _recording?.Output(packet.Port, packet.Cycle, packet.Bytes);
        _outputs[packet.Port]++;
        return true;
    }

    public void Reset()
    {
        log?.Reset(fpga.Cycle);
        _recording?.Reset(fpga.Cycle);
        fpga.Reset();
    }

    public void Dispose()
    {
        log?.End(fpga.Cycle);
        EndRecording();
        fpga.Dispose();
    }
}
