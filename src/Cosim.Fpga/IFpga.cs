// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Fpga;

/// <summary>Why <see cref="IFpga.Run"/> came back.</summary>
public enum RunResult
{
    /// <summary>Nothing is left to do: no input waits, <c>busy_o</c> is 0 and no output came.</summary>
    Idle,

    /// <summary>At least one packet waits for <see cref="IFpga.TryReceive"/>.</summary>
    Output,

    /// <summary>The cycles asked for have been run without an output.</summary>
    Limit,

    /// <summary>The FPGA is lost (a simulator died, failed an assertion or hangs); <see cref="IFpga.Failure"/> says why.</summary>
    Failed,
}

/// <summary>One packet that left the FPGA.</summary>
public readonly ref struct FpgaPacket
{
    /// <summary>Makes a packet.</summary>
    public FpgaPacket(int port, ulong cycle, ReadOnlySpan<byte> bytes)
    {
        Port = port;
        Cycle = cycle;
        Bytes = bytes;
    }

    /// <summary>Port number: 0 host 1, 1 host 2, 2 management.</summary>
    public int Port { get; }

    /// <summary>Cycle in which the last beat was taken from the FPGA.</summary>
    public ulong Cycle { get; }

    /// <summary>Header (16 bytes on PCIe ports, 32 on the management port) and payload; valid until the next call on the FPGA.</summary>
    public ReadOnlySpan<byte> Bytes { get; }
}

/// <summary>The FPGA: packet streams and a clock. Its contract is <c>hdl/CONTRACT.md</c>.</summary>
/// <remarks>
/// One thread owns an instance. The same packets with the same cycles give the same outputs at the same cycles, however
/// the calls of <see cref="Run"/> are cut. After a failure every call but <see cref="Reset"/> and <see cref="IDisposable.Dispose"/>
/// is without effect and <see cref="Run"/> returns <see cref="RunResult.Failed"/>.
/// </remarks>
public interface IFpga : IDisposable
{
    /// <summary>Name of the implementation: <c>model</c>, <c>verilator</c> or <c>ghdl</c>.</summary>
    string Kind { get; }

    /// <summary>Number of ports; the last one is the management port when there are three.</summary>
    int PortCount { get; }

    /// <summary>Cycles since the instance was made; never goes back, not even at a reset.</summary>
    ulong Cycle { get; }

    /// <summary>Why the FPGA is lost, or null while it is alive.</summary>
    string? Failure { get; }

    /// <summary>
    /// Gives a packet to a port. It is offered to the FPGA in the first cycle that is not before <paramref name="notBefore"/>,
    /// after all packets of this port with an earlier or equal <paramref name="notBefore"/> that were given before; one in the past counts as now.
    /// </summary>
    /// <param name="port">Port number.</param>
    /// <param name="packet">Header and payload, see <see cref="FpgaPacket.Bytes"/>; copied before the call returns.</param>
    /// <param name="notBefore">Earliest cycle of the first beat; 0: as soon as possible.</param>
    void Send(int port, ReadOnlySpan<byte> packet, ulong notBefore = 0);

    /// <summary>
    /// Runs the clock until the FPGA is idle, or <paramref name="lookahead"/> cycles after the cycle of the first output, or for
    /// <paramref name="maxCycles"/> cycles, whichever comes first. Idle stops at once only while no output has come in this call
    /// or nothing could come any more. With packets still waiting for <see cref="TryReceive"/> it returns at once.
    /// </summary>
    /// <param name="maxCycles">Greatest number of cycles.</param>
    /// <param name="lookahead">
    /// Cycles that may be run after an output before its receiver has seen it: at most the shortest time in which that
    /// receiver can answer (the completion latency). An answer offered that many cycles after the output's cycle is not late.
    /// </param>
    RunResult Run(ulong maxCycles, uint lookahead = 0);

    /// <summary>Takes the next output, in the order of cycles and, within a cycle, of ports.</summary>
    bool TryReceive(out FpgaPacket packet);

    /// <summary>Holds the reset for some cycles; drops all packets inside and around the FPGA. Revives a failed FPGA (a new simulator process).</summary>
    void Reset();
}
