// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;

namespace Cosim.Scheduling.Tests;

/// <summary>An FPGA whose simulator ends when the test says so, and that a reset brings back.</summary>
internal sealed class MortalFpga(FpgaOptions options) : IFpga
{
    public const string Cause = "the simulator ended by signal 9";

    private readonly IFpga _fpga = FpgaFactory.Create(options);
    private volatile bool _ended;

    public string Kind => _fpga.Kind;

    public int PortCount => _fpga.PortCount;

    public ulong Cycle => _fpga.Cycle;

    public string? Failure => _ended ? Cause : _fpga.Failure;

    public void End()
    {
        _ended = true;
        options.SimulatorEnded!();
    }

    public void Send(int port, ReadOnlySpan<byte> packet, ulong notBefore = 0)
    {
        if (!_ended)
        {
            _fpga.Send(port, packet, notBefore);
        }
    }

    public RunResult Run(ulong maxCycles, uint lookahead = 0) => _ended ? RunResult.Failed : _fpga.Run(maxCycles, lookahead);

    public bool TryReceive(out FpgaPacket packet)
    {
        packet = default;
        return !_ended && _fpga.TryReceive(out packet);
    }

    public void Reset()
    {
        _fpga.Reset();
        _ended = false;
    }

    public void Dispose() => _fpga.Dispose();
}
