// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Pcie;

namespace Cosim.Waveforms.Tests;

/// <summary>
/// Plays the root port of port 0 for a waveform: one request at a time, each a fixed number of cycles after the completion of
/// the one before, so that the cycles depend on the FPGA alone.
/// </summary>
internal sealed class RootPortScript(IFpga fpga)
{
    private const int Port = 0;
    private const uint Gap = 4;
    private const ulong CompletionCycles = 1000;

    private readonly byte[] packet = new byte[Tlp.MaxBytes];
    private byte tag;
    private ulong next = fpga.Cycle + Gap;

    /// <summary>Status of the last completion.</summary>
    public CompletionStatus Status { get; private set; }

    public uint ConfigRead(int function, int offset)
        => Request(TlpWriter.ConfigRead0(packet, RoutingId.RootPort, tag, RoutingId.Fpga(function), offset, 0xF));

    public void ConfigWrite(int function, int offset, uint value, byte enables = 0xF)
        => Request(TlpWriter.ConfigWrite0(packet, RoutingId.RootPort, tag, RoutingId.Fpga(function), offset, enables, value));

    public uint MemoryRead(ulong address, int length) => Request(TlpWriter.MemoryRead(packet, RoutingId.RootPort, tag, address, length));

    /// <summary>Runs until the FPGA has nothing left to do.</summary>
    public void Settle() => Assert.That(fpga.Run(CompletionCycles), Is.EqualTo(RunResult.Idle), fpga.Failure);

    private uint Request(int length)
    {
        fpga.Send(Port, packet.AsSpan(0, length), next);
        Assert.That(fpga.Run(CompletionCycles, Gap - 1), Is.EqualTo(RunResult.Output), fpga.Failure ?? $"the completion of tag {tag}");
        Assert.That(fpga.TryReceive(out FpgaPacket output), Is.True);
        Assert.That(Tlp.TryParse(output.Bytes, out Tlp completion, out string? malformed), Is.True, malformed);
        Assert.That((output.Port, completion.IsCompletion, completion.Tag), Is.EqualTo((Port, true, tag)));
        Status = completion.CompletionStatus;
        next = output.Cycle + Gap;
        tag++;
        uint value = completion.Payload.Length >= 4 ? BinaryPrimitives.ReadUInt32LittleEndian(completion.Payload) : 0;
        Assert.That(fpga.TryReceive(out _), Is.False, "one request, one completion");
        return value;
    }
}
