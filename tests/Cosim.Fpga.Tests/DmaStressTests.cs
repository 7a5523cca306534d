// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga.Tests.Driver;
using Cosim.Pcie;
using Opcode = Cosim.Fpga.RegisterMap.Opcode;

namespace Cosim.Fpga.Tests;

/// <summary>Batches of random DMA commands, some with reads that are refused, amid register accesses, events and interrupts.</summary>
[TestFixture(FpgaKind.Model, 60, 0)]
[TestFixture(FpgaKind.Verilator, 60, 0)]
[TestFixture(FpgaKind.Verilator, 30, 100)]
[TestFixture(FpgaKind.Ghdl, 4, 0)]
public class DmaStressTests(FpgaKind kind, int batches, int pauses)
{
    private const int Scratch = 2;
    private const int Commands = 24;

    // Each command of a batch has places of its own, so that the order of the copies does not matter to the data.
    private const int Place = 0x800;
    private const int ScratchPlace = 0x400;

    private IFpga? fpga;

    [OneTimeSetUp]
    public void MakeFpga() => fpga = RecordedFpga.Create(
        FpgaFixture.Options(kind) with { Pauses = kind == FpgaKind.Model ? default : new LinkPauses((byte)pauses, (byte)pauses, 11) },
        $"{nameof(DmaStressTests)}{pauses}");

    [OneTimeTearDown]
    public void DisposeFpga() => fpga?.Dispose();

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    public void Commands_AtRandom_MoveExactlyTheirBytes(int seed)
    {
        fpga!.Reset();
        var ports = new PortDriver(fpga) { Jitter = 60, CompletionBytes = 128 };
        var random = new Random(seed);
        VirtioDriver driver = new VirtioDriver(ports, 0).Start();
        ports.ConfigWrite(0, 1, 0x04, 0x0004, 0b0011);
        ports.ConfigWrite(1, 0, 0x04, 0x0004, 0b0011);
        for (int batch = 0; batch < batches; batch++)
        {
            ports.Latency = (uint)random.Next(1, 200);
            ports.SetLimits(0, 0, 128 << random.Next(2), 128 << random.Next(4));
            ports.SetLimits(0, 1, 128 << random.Next(2), 128 << random.Next(4));
            ports.SetLimits(1, 0, 128 << random.Next(2), 128 << random.Next(4));
            Batch(ports, driver, random, $"seed {seed}, batch {batch}");
        }
    }

    private static void Batch(PortDriver ports, VirtioDriver driver, Random random, string where)
    {
        ports.Memory[0].Refill();
        ports.Memory[1].Refill();
        byte[] scratch = new byte[65536];
        random.NextBytes(scratch);
        for (int offset = 0; offset < scratch.Length; offset += 4096)
        {
            ports.WriteScratch((uint)offset, scratch.AsSpan(offset, 4096));
        }

        // What each memory holds afterwards. Sources are the first halves, destinations the second ones.
        byte[][] expected = [Half(ports, 0), Half(ports, 1), scratch[32768..]];
        List<(int Tag, int Status, string What, uint Length)> sent = [];
        HashSet<(int Port, ulong Address)> refused = [];
        for (int i = 0; i < Commands; i++)
        {
            int source = random.Next(3);
            int destination = random.Next(3);
            int place = source == Scratch || destination == Scratch ? ScratchPlace : Place;
            int from = random.Next(64);
            int to = random.Next(64);
            int length = random.Next(4) == 0 ? random.Next(1, 9) : random.Next(1, place - 64);
            ulong fromAddress = source == Scratch ? (ulong)((i * ScratchPlace) + from) : HostMemory.Low + (ulong)((i * Place) + from);
            ulong toAddress = destination == Scratch ? (ulong)(32768 + (i * ScratchPlace) + to) : HostMemory.Low + 0x2_0000 + (ulong)((i * Place) + to);
            bool fails = source != Scratch && random.Next(6) == 0;
            if (fails)
            {
                // The first read of a command starts at its source address, whatever the limits are.
                refused.Add((source, fromAddress));
            }
            else
            {
                ReadOnlySpan<byte> data = source == Scratch ? scratch.AsSpan((int)fromAddress, length) : ports.Memory[source][fromAddress, length];
                data.CopyTo(expected[destination].AsSpan(destination == Scratch ? (i * ScratchPlace) + to : (i * Place) + to));
            }

            int function = source == 0 ? random.Next(2) : 0;
            int tag = ports.Dma(source, fromAddress, destination, toAddress, (uint)length, function, destination == 0 ? random.Next(2) : 0);
            sent.Add((tag, fails ? 1 : 0, $"space {source} 0x{fromAddress:x} to space {destination} 0x{toAddress:x}, {length} bytes", (uint)length));
        }

        ports.Refuse = (port, address) => refused.Contains((port, address)) ? (false, CompletionStatus.UnsupportedRequest) : (true, null);
        int done = 0;
        while (done < Commands)
        {
            driver.Notify(random.Next(4), (uint)done);
            Assert.That(ports.Read(0, driver.Bar0 + VirtioDriver.DeviceStatus, 1), Is.EqualTo(15), where);
            ports.Interrupt(0, 0, 0);
            ManagementPacket answer = ports.AwaitManagement(sent[done].Tag);
            Assert.That((answer.Opcode, answer.Status, answer.Length), Is.EqualTo((Opcode.DmaDone, sent[done].Status, sent[done].Length)), $"{where}: {sent[done].What}");
            done++;
        }

        ports.Refuse = null;
        _ = ports.AllEvents();
        for (int host = 0; host < 2; host++)
        {
            Assert.That(Half(ports, host).AsSpan().SequenceEqual(expected[host]), Is.True, $"{where}: memory of host {host}");
        }

        for (int offset = 0; offset < 32768; offset += 4096)
        {
            Assert.That(ports.ReadScratch((uint)(32768 + offset), 4096).AsSpan().SequenceEqual(expected[Scratch].AsSpan(offset, 4096)), Is.True, $"{where}: scratch");
        }
    }

    private static byte[] Half(PortDriver ports, int host) => ports.Memory[host][HostMemory.Low + 0x2_0000, 0x2_0000].ToArray();
}
