// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;

namespace Cosim.Scheduling.Tests.Stimuli;

/// <summary>An FPGA with an error: what leaves it is altered on the way.</summary>
/// <param name="options">The FPGA.</param>
/// <param name="alter">Given port and a copy of the packet; what leaves instead, or null for nothing.</param>
internal sealed class AlteredFpga(FpgaOptions options, Func<int, byte[], byte[]?> alter) : IFpga
{
    private readonly IFpga _fpga = FpgaFactory.Create(options);
    private string? _failure;
    private ulong _hungCycles;

    public string Kind => _fpga.Kind;

    public int PortCount => _fpga.PortCount;

    public ulong Cycle => _fpga.Cycle + _hungCycles;

    public string? Failure => _failure ?? _fpga.Failure;

    /// <summary>Why the FPGA is to be lost in the next run; null: it is not.</summary>
    public string? FailWith { get; set; }

    /// <summary>Busy for ever from the next run on: the clock runs, nothing comes.</summary>
    public bool Hangs { get; set; }

    public void Send(int port, ReadOnlySpan<byte> packet, ulong notBefore = 0) => _fpga.Send(port, packet, notBefore);

    public RunResult Run(ulong maxCycles, uint lookahead = 0)
    {
        _failure ??= FailWith;
        if (Hangs)
        {
            _hungCycles += maxCycles;
            return RunResult.Limit;
        }

        return _failure is null ? _fpga.Run(maxCycles, lookahead) : RunResult.Failed;
    }

    public bool TryReceive(out FpgaPacket packet)
    {
        while (_fpga.TryReceive(out packet))
        {
            if (alter(packet.Port, packet.Bytes.ToArray()) is { } altered)
            {
                packet = new FpgaPacket(packet.Port, packet.Cycle, altered);
                return true;
            }
        }

        return false;
    }

    public void Reset() => _fpga.Reset();

    public void Dispose() => _fpga.Dispose();
}
