// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga.Tests.Driver;
using Cosim.Pcie;
using Opcode = Cosim.Fpga.RegisterMap.Opcode;

namespace Cosim.Fpga.Tests;

/// <summary>How an FPGA runs: what <see cref="IFpga"/> promises of time, order and determinism.</summary>
public class ClockTests(FpgaKind kind) : FpgaFixture(kind)
{
    [Test]
    public void Run_WithNothingToDo_IsIdleAtOnce()
    {
        Assert.That(Fpga.Run(1_000_000), Is.EqualTo(RunResult.Idle));
        ulong cycle = Fpga.Cycle;
        Assert.That(Fpga.Run(1_000_000), Is.EqualTo(RunResult.Idle));
        Assert.That(Fpga.Cycle - cycle, Is.LessThan(100));
        Assert.That((Fpga.TryReceive(out _), Fpga.Failure), Is.EqualTo((false, (string?)null)));
    }

    [Test]
    public void Run_WithPacketsWaiting_ReturnsAtOnce()
    {
        SendConfigRead(Ports.NewTag());
        Assert.That(Fpga.Run(1000), Is.EqualTo(RunResult.Output));
        ulong cycle = Fpga.Cycle;
        Assert.That(Fpga.Run(1000), Is.EqualTo(RunResult.Output));
        Assert.That(Fpga.Cycle, Is.EqualTo(cycle));
        Assert.That(Fpga.TryReceive(out FpgaPacket packet), Is.True);
        Assert.That((packet.Port, packet.Cycle < Fpga.Cycle, packet.Bytes.Length), Is.EqualTo((0, true, 20)));
        Assert.That(Fpga.TryReceive(out _), Is.False);
    }

    [Test]
    public void Run_UpToALimit_StopsThere()
    {
        Fpga.Run(1000);
        ulong start = Fpga.Cycle;
        SendConfigRead(Ports.NewTag(), start + 50);
        Assert.That(Fpga.Run(20), Is.EqualTo(RunResult.Limit));
        Assert.That(Fpga.Cycle, Is.EqualTo(start + 20));
        Assert.That(Fpga.Run(0), Is.EqualTo(RunResult.Limit));
        Assert.That(Fpga.Cycle, Is.EqualTo(start + 20));
        Assert.That(Fpga.Run(1000), Is.EqualTo(RunResult.Output));
        Assert.That(Fpga.TryReceive(out FpgaPacket packet), Is.True);
        Assert.That(packet.Cycle, Is.GreaterThan(start + 50));
    }

    [TestCase(0u, 1u)]
    [TestCase(1u, 1u)]
    [TestCase(10u, 10u)]
    public void Run_WithLookahead_StopsInTimeForTheAnswer(uint lookahead, uint cycles)
    {
        Fpga.Run(1000);
        SendConfigRead(1);
        SendConfigRead(2, Fpga.Cycle + 500);
        Assert.That(Fpga.Run(1000, lookahead), Is.EqualTo(RunResult.Output));
        Assert.That(Fpga.TryReceive(out FpgaPacket packet), Is.True);
        Assert.That(Fpga.Cycle, Is.EqualTo(packet.Cycle + cycles));
    }

    [Test]
    public void Send_ForTheFuture_IsOfferedThen()
    {
        Fpga.Run(1000);
        ulong start = Fpga.Cycle;
        SendConfigRead(1, start + 30_000);
        SendConfigRead(2, start + 10_000);
        SendConfigRead(3, start + 10_000);
        SendConfigRead(4);
        List<(byte Tag, ulong Delay)> seen = [];
        while (seen.Count < 4)
        {
            Assert.That(Fpga.Run(100_000), Is.EqualTo(RunResult.Output));
            while (Fpga.TryReceive(out FpgaPacket packet))
            {
                Assert.That(Tlp.TryParse(packet.Bytes, out Tlp tlp, out _), Is.True);
                seen.Add((tlp.Tag, packet.Cycle - start));
            }
        }

        Assert.That(seen.Select(s => s.Tag), Is.EqualTo(new byte[] { 4, 2, 3, 1 }));
        ulong latency = seen[0].Delay;
        Assert.That(latency, Is.InRange(1, 100));
        Assert.That((seen[1].Delay - 10_000, seen[3].Delay - 30_000), Is.EqualTo((latency, latency)), "the same time after the offer");
    }

    [Test]
    public void Reset_WithPacketsInside_DropsThemAndGoesOnInTime()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Start();
        driver.Notify(0, 0);
        SendConfigRead(Ports.NewTag());
        SendConfigRead(Ports.NewTag(), Fpga.Cycle + 1000);
        Fpga.Run(5);
        ulong cycle = Fpga.Cycle;
        Fpga.Reset();
        Assert.That(Fpga.Cycle, Is.GreaterThan(cycle));
        Assert.That(Fpga.Run(10_000), Is.EqualTo(RunResult.Idle));
        Assert.That(Fpga.TryReceive(out _), Is.False);
        Assert.That(Ports.ConfigRead(0, 0, 0x10).Dword, Is.Zero, "BAR0");
        Assert.That(Ports.ConfigRead(0, 0, 0x00).Dword, Is.EqualTo(0x1040_1AF4));
        Assert.That(Ports.ReadRegister(PortDriver.FunctionRegister(0, RegisterMap.Function.Status)), Is.Zero, "no reset pending");
    }

    [TestCase(1, 3)]
    [TestCase(3, 3)]
    public void Send_OfNoPacket_Throws(int port, int length)
    {
        Assert.That(() => Fpga.Send(port, new byte[length]), Throws.InstanceOf<ArgumentException>());
    }

    [Test]
    public void Traffic_Repeated_GivesTheSameOutputsAtTheSameCycles()
    {
        string[] first = Traffic(ulong.MaxValue);
        string[] second = Traffic(ulong.MaxValue);
        Assert.That(first, Has.Length.GreaterThan(100));
        Assert.That(second, Is.EqualTo(first));
    }

    [TestCase(1ul)]
    [TestCase(7ul)]
    [TestCase(64ul)]
    public void Traffic_RunInSlices_GivesTheSameOutputsAtTheSameCycles(ulong slice)
    {
        Assert.That(Traffic(slice), Is.EqualTo(Traffic(ulong.MaxValue)));
    }

    /// <summary>A fixed mix of traffic on all ports, every packet with its cycle; outputs as text, cycles counted from the start.</summary>
    private string[] Traffic(ulong slice)
    {
        const ulong Latency = 40;
        Fpga.Reset();
        ulong start = Fpga.Cycle + 100;
        byte[] packet = new byte[Tlp.MaxBytes];
        ConfigWrite(0, 0x04, 0x0006, 1);
        ConfigWrite(0, 0x10, 0xC000_0000, 5);
        ConfigWrite(1, 0x04, 0x0004, 9);
        for (uint i = 0; i < 30; i++)
        {
            Fpga.Send(0, packet.AsSpan(0, TlpWriter.MemoryWrite(packet, default, 0, 0xC000_3000 + (i % 3 * 4), [(byte)i, 0])), start + 100 + (i * i));
            Fpga.Send(0, packet.AsSpan(0, TlpWriter.MemoryRead(packet, default, (byte)i, 0xC000_0014, 4)), start + 101 + (i * 7));
        }

        for (uint i = 0; i < 12; i++)
        {
            byte[] command = new byte[32];
            uint[] words = [Opcode.Dma | (i << 16), 100 + (i * 57), (i % 2 == 0 ? 0x10u : 0x01) | 0, 0, 0x1000_0000 + (i * 61), 0, 0x1000_8000 + (i * 1001), 0];
            Buffer.BlockCopy(words, 0, command, 0, 32);
            Fpga.Send(2, command, start + 120 + (i * 30));
        }

        HostMemory[] memory = [new(1), new(2)];
        List<string> seen = [];
        int done = 0;
        while (true)
        {
            RunResult result = Fpga.Run(slice, (uint)Latency - 1);
            if (result == RunResult.Idle)
            {
                break;
            }

            Assert.That(result, Is.Not.EqualTo(RunResult.Failed), Fpga.Failure);
            Assert.That(Fpga.Cycle, Is.LessThan(start + 20_000), $"{done} DMA commands of 12 are done");
            while (Fpga.TryReceive(out FpgaPacket output))
            {
                seen.Add($"{output.Cycle - start} {output.Port} {Convert.ToHexString(output.Bytes)}");
                done += output.Port == 2 && output.Bytes[0] == Opcode.DmaDone ? 1 : 0;
                if (output.Port != 2 && Tlp.TryParse(output.Bytes, out Tlp tlp, out _) && tlp.Type == TlpType.MRd)
                {
                    Span<byte> data = memory[output.Port][tlp.ByteAddress, tlp.RequestBytes];
                    ulong at = output.Cycle + Latency + (tlp.Tag * 3ul % 11);
                    for (int sent = 0; sent < data.Length;)
                    {
                        int length = TlpSplit.NextCompletion(tlp.ByteAddress + (ulong)sent, data.Length - sent, 128);
                        int bytes = TlpWriter.CompletionData(
                            packet, default, tlp.RequesterId, tlp.Tag, data.Length - sent, (byte)((tlp.ByteAddress + (ulong)sent) & 0x7F), data.Slice(sent, length));
                        Fpga.Send(output.Port, packet.AsSpan(0, bytes), at);
                        sent += length;
                    }
                }
            }
        }

        Assert.That(done, Is.EqualTo(12));
        return [.. seen];

        void ConfigWrite(int port, int offset, uint value, ulong at) =>
            Fpga.Send(port, packet.AsSpan(0, TlpWriter.ConfigWrite0(packet, default, 0, RoutingId.Fpga(0), offset, 0xF, value)), start + at);
    }

    [Test]
    public void Send_WithoutATimeWhileOthersAreDue_ComesAfterThem()
    {
        Fpga.Run(1000);
        ulong due = Fpga.Cycle + 10;
        for (byte tag = 1; tag <= 4; tag++)
        {
            SendConfigRead(tag, due);
        }

        Assert.That(Fpga.Run(12), Is.EqualTo(RunResult.Limit), "the first one is at work, the others wait");
        SendConfigRead(5);

        List<byte> tags = [];
        while (Fpga.Run(1000) == RunResult.Output)
        {
            while (Fpga.TryReceive(out FpgaPacket output))
            {
                Assert.That(Tlp.TryParse(output.Bytes, out Tlp completion, out _), Is.True);
                tags.Add(completion.Tag);
            }
        }

        Assert.That(tags, Is.EqualTo(new byte[] { 1, 2, 3, 4, 5 }));
    }

    private void SendConfigRead(byte tag, ulong notBefore = 0)
    {
        Span<byte> packet = stackalloc byte[Tlp.HeaderBytes];
        TlpWriter.ConfigRead0(packet, RoutingId.RootPort, tag, RoutingId.Fpga(0), 0, 0xF);
        Fpga.Send(0, packet, notBefore);
    }
}
