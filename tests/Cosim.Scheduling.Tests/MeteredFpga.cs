// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;

namespace Cosim.Scheduling.Tests;

/// <summary>
/// Stands between a bridge and its FPGA and counts the bytes that the bridge's thread allocates on the managed heap while it serves
/// the FPGA's memory requests and the ends of its DMA commands: from the moment it takes such a packet until it asks for the next one.
/// </summary>
public sealed class MeteredFpga(IFpga inner) : IFpga
{
    private const uint InterruptWindow = 0xFEE;

    private bool _serving;
    private long _allocated;

    /// <summary>Memory requests (TLPs) and ends of DMA commands served since <see cref="Restart"/>.</summary>
    public int Packets { get; private set; }

    /// <summary>Bytes allocated while they were served.</summary>
    public long Bytes { get; private set; }

    public string Kind => inner.Kind;

    public int PortCount => inner.PortCount;

    public ulong Cycle => inner.Cycle;

    public string? Failure => inner.Failure;

    /// <summary>Counts from 0. To be called on the bridge's thread.</summary>
    public void Restart() => (Packets, Bytes) = (0, 0);

    public void Send(int port, ReadOnlySpan<byte> packet, ulong notBefore = 0) => inner.Send(port, packet, notBefore);

    public RunResult Run(ulong maxCycles, uint lookahead = 0)
    {
        Served();
        return inner.Run(maxCycles, lookahead);
    }

    public bool TryReceive(out FpgaPacket packet)
    {
        Served();
        if (!inner.TryReceive(out packet))
        {
            return false;
        }

        if (packet.Port == 2 ? packet.Bytes[0] == RegisterMap.Opcode.DmaDone : IsMemoryRequest(packet.Bytes))
        {
            Packets++;
            _serving = true;
            _allocated = GC.GetAllocatedBytesForCurrentThread();
        }

        return true;
    }

    public void Reset() => inner.Reset();

    public void Dispose() => inner.Dispose();

    // Interrupts wake whoever waits for them, which is no part of the data path.
    private static bool IsMemoryRequest(ReadOnlySpan<byte> tlp)
    {
        uint word0 = BinaryPrimitives.ReadUInt32LittleEndian(tlp);
        bool write = (word0 & 0x4000_0000) != 0;
        bool fourWords = (word0 & 0x2000_0000) != 0;
        uint address = BinaryPrimitives.ReadUInt32LittleEndian(tlp[8..]);
        return ((word0 >> 24) & 0x1F) == 0 && !(write && !fourWords && address >> 20 == InterruptWindow);
    }

    private void Served()
    {
        if (_serving)
        {
            _serving = false;
            Bytes += GC.GetAllocatedBytesForCurrentThread() - _allocated;
        }
    }
}
