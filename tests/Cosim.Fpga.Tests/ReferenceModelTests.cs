// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga.Model;
using Cosim.Pcie;
using Opcode = Cosim.Fpga.RegisterMap.Opcode;

namespace Cosim.Fpga.Tests;

/// <summary>What only the reference model promises.</summary>
[TestFixture]
public class ReferenceModelTests
{
    [Test]
    public void Traffic_InSteadyState_AllocatesNothing()
    {
        using var fpga = new ReferenceModel(new FpgaOptions());
        Start(fpga);
        for (int i = 0; i < 50; i++)
        {
            Round(fpga);
        }

        // The runtime itself allocates now and then while it compiles hot code anew; a packet that allocates does so in every window.
        int packets = 0;
        long allocated = long.MaxValue;
        for (int window = 0; window < 5 && allocated != 0; window++)
        {
            packets = 0;
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 200; i++)
            {
                packets += Round(fpga);
            }

            allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        }

        Assert.That(packets, Is.GreaterThan(10_000));
        Assert.That(allocated, Is.Zero);
    }

    [TestCase(8, 63, 64, 505u)]
    [TestCase(1, 1, 2, 2u)]
    public void Geometry_OfAnySize_IsTold(int functions, int queues, int vectors, uint backEndVectors)
    {
        using var fpga = new ReferenceModel(new FpgaOptions { Functions = functions, QueuesPerFunction = queues, VectorsPerFunction = vectors });
        var ports = new Driver.PortDriver(fpga);
        Assert.That(ports.ReadRegister(RegisterMap.Management.Geometry), Is.EqualTo((uint)functions | ((uint)queues << 8)));
        Assert.That(ports.ReadRegister(RegisterMap.Management.Vectors), Is.EqualTo((uint)vectors | (backEndVectors << 16)));
        Assert.That(ports.ConfigRead(0, functions - 1, 0x80).Dword >> 16, Is.EqualTo(vectors - 1));
    }

    [Test]
    public void Create_WithWhatTheModelHasNot_Throws()
    {
        Assert.That(() => FpgaFactory.Create(new FpgaOptions { WaveFile = "x.vcd" }), Throws.ArgumentException);
        Assert.That(() => FpgaFactory.Create(new FpgaOptions { Design = new FpgaDesign("top", [], 1, null) }), Throws.ArgumentException);
    }

    private static void Start(ReferenceModel fpga)
    {
        Span<byte> packet = stackalloc byte[64];
        for (int port = 0; port < 2; port++)
        {
            fpga.Send(port, packet[..TlpWriter.ConfigWrite0(packet, default, 0, RoutingId.Fpga(0), 0x04, 0xF, 6)]);
            fpga.Send(port, packet[..TlpWriter.ConfigWrite0(packet, default, 0, RoutingId.Fpga(0), 0x10, 0xF, 0xC000_0000)]);
        }

        while (fpga.Run(1000) == RunResult.Output)
        {
            while (fpga.TryReceive(out _))
            {
            }
        }
    }

    /// <summary>Register reads and writes with events, and a 4 KiB copy; the packets that moved.</summary>
    private static int Round(ReferenceModel fpga)
    {
        Span<byte> packet = stackalloc byte[Tlp.HeaderBytes + 512];
        Span<uint> command = [Opcode.Dma, 4096, 0x10, 0, 0x1000_0003, 0, 0x2000_0001, 0];
        int packets = 21;
        fpga.Send(2, System.Runtime.InteropServices.MemoryMarshal.AsBytes(command));
        for (uint i = 0; i < 10; i++)
        {
            fpga.Send(0, packet[..TlpWriter.MemoryWrite(packet, default, 0, 0xC000_3000, [1, 0])]);
            fpga.Send(0, packet[..TlpWriter.MemoryRead(packet, default, (byte)i, 0xC000_0014, 1)]);
        }

        while (fpga.Run(100_000, 15) == RunResult.Output)
        {
            while (fpga.TryReceive(out FpgaPacket output))
            {
                packets++;
                if (output.Port != 2 && Tlp.TryParse(output.Bytes, out Tlp tlp, out _) && tlp.Type == TlpType.MRd)
                {
                    int length = TlpWriter.CompletionData(
                        packet, default, tlp.RequesterId, tlp.Tag, tlp.RequestBytes, (byte)(tlp.ByteAddress & 0x7F), tlp.RequestBytes, out _);
                    fpga.Send(output.Port, packet[..length], output.Cycle + 16);
                    packets++;
                }
            }
        }

        return packets;
    }
}
