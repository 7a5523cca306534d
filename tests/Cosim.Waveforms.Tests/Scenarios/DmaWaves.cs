// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Fpga.Tests.Driver;
using Cosim.Pcie;
using Opcode = Cosim.Fpga.RegisterMap.Opcode;

namespace Cosim.Waveforms.Tests.Scenarios;

/// <summary>DMA between the hosts and scratch: CONTRACT.md, 4.</summary>
internal static class DmaWaves
{
    private const int Scratch = 2;

    /// <summary>All 32 byte offsets of the source, each with another of the destination, lengths 1 to 63, from host 1 to host 2.</summary>
    public static void Alignments(Scenario s)
    {
        Start(s, "dma_inst.drain_inst.state_q");
        List<int> tags = [];
        for (uint i = 0; i < 32; i++)
        {
            tags.Add(s.Ports.Dma(0, HostMemory.Low + (64 * i) + i, 1, HostMemory.Low + (128 * i) + (i * 11 % 32), 1 + (i * 37 % 63)));
        }

        Finish(s, tags);
        for (uint i = 0; i < 32; i++)
        {
            int length = 1 + (int)(i * 37 % 63);
            Assert.That(
                s.Ports.Memory[1][HostMemory.Low + (128 * i) + (i * 11 % 32), length].ToArray(),
                Is.EqualTo(s.Ports.Memory[0][HostMemory.Low + (64 * i) + i, length].ToArray()));
        }
    }

    /// <summary>Into scratch at every offset of a row and out of it.</summary>
    public static void ScratchAlignments(Scenario s)
    {
        Start(s, "dma_inst.align_inst.valid_q", "scratch_we");
        List<int> tags = [];
        for (uint i = 0; i < 32; i += 3)
        {
            tags.Add(s.Ports.Dma(0, HostMemory.Low + (100 * i), Scratch, (64 * i) + i, 40));
            tags.Add(s.Ports.Dma(Scratch, (64 * i) + i, Scratch, 4096 + (64 * i) + (31 - i), 40));
            tags.Add(s.Ports.Dma(Scratch, 4096 + (64 * i) + (31 - i), 1, HostMemory.Low + (100 * i), 40));
        }

        Finish(s, tags);
        for (uint i = 0; i < 32; i += 3)
        {
            Assert.That(s.Ports.Memory[1][HostMemory.Low + (100 * i), 40].ToArray(), Is.EqualTo(s.Ports.Memory[0][HostMemory.Low + (100 * i), 40].ToArray()));
        }
    }

    /// <summary>No read and no write crosses 4 KiB: just before, across and just behind the boundary.</summary>
    public static void PageBoundary(Scenario s)
    {
        Start(s, "dma_inst.issue_inst.state_q", "dma_inst.drain_inst.state_q");
        Finish(s,
        [
            s.Ports.Dma(0, HostMemory.Low + 4096 - 5, 1, HostMemory.Low + 8192 - 3, 11),
            s.Ports.Dma(0, HostMemory.Low + 4096 - 64, 1, HostMemory.Low + 100, 64),
            s.Ports.Dma(0, HostMemory.Low + 4096, 1, HostMemory.Low + 12288 - 64, 128),
            s.Ports.Dma(1, HostMemory.High + 4096 - 33, 0, HostMemory.High + 4096 - 1, 70),
        ]);
    }

    /// <summary>Max_Payload_Size and Max_Read_Request_Size cut requests: small and large of each; both headers.</summary>
    public static void PayloadLimits(Scenario s)
    {
        Start(s, "dma_inst.issue_inst.state_q");
        foreach ((int payload, int readRequest) in new[] { (128, 128), (256, 256), (1024, 512) })
        {
            s.Ports.SetLimits(0, 0, payload, readRequest);
            s.Ports.SetLimits(1, 0, payload, readRequest);
            Finish(s, [s.Ports.Dma(0, HostMemory.Low + 4, 1, HostMemory.High + 8, 600)]);
        }
    }

    /// <summary>Completions of different requests change places and come in pieces of 64 bytes; the data leaves in order.</summary>
    public static void CompletionsOutOfOrder(Scenario s)
    {
        Start(s, "dma_inst.p0_reorder_inst.state_q", "dma_inst.p0_reorder_inst.head_q");
        s.Ports.CompletionBytes = 64;
        s.Ports.Jitter = 60;
        Finish(s, [s.Ports.Dma(0, HostMemory.Low + 40, 1, HostMemory.Low + 3, 900), s.Ports.Dma(0, HostMemory.Low + 2000, Scratch, 5, 300)]);
        Assert.That(s.Ports.Memory[1][HostMemory.Low + 3, 900].ToArray(), Is.EqualTo(s.Ports.Memory[0][HostMemory.Low + 40, 900].ToArray()));
    }

    /// <summary>More reads than there are tags: 32 in flight, each tag used again only when its read has ended.</summary>
    public static void ThirtyTwoReads(Scenario s)
    {
        Start(s, "dma_inst.p0_reorder_inst.head_q");
        s.Ports.SetLimits(0, 0, 128, 128);
        s.Ports.Latency = 200;
        List<int> tags = [];
        for (uint i = 0; i < 40; i++)
        {
            tags.Add(s.Ports.Dma(0, HostMemory.Low + (256 * i), Scratch, 64 * i, 20));
        }

        Finish(s, tags);
        Assert.That(s.Ports.MostReads[0], Is.EqualTo(32));
    }

    /// <summary>UR in the middle of a copy, CA, and a place without memory: nothing is written from there on, the next command goes on.</summary>
    public static void Refused(Scenario s)
    {
        Start(s, "dma_inst.drain_inst.state_q", "dma_inst.p0_reorder_inst.state_q");
        s.Ports.SetLimits(0, 0, 128, 128);
        s.Ports.Refuse = (port, address) => address switch
        {
            HostMemory.Low + 256 => (false, CompletionStatus.UnsupportedRequest),
            HostMemory.Low + 4096 => (false, CompletionStatus.CompleterAbort),
            _ => (true, null),
        };
        int[] tags =
        [
            s.Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low, 512),
            s.Ports.Dma(0, HostMemory.Low + 4096, 1, HostMemory.Low + 4096, 16),
            s.Ports.Dma(0, 0x7000_0000, Scratch, 0, 16),
            s.Ports.Dma(0, HostMemory.Low + 8192, 1, HostMemory.Low + 8192, 16),
        ];
        Assert.That(tags.Select(t => s.Ports.AwaitManagement(t).Status), Is.EqualTo(new[] { 1, 1, 1, 0 }));
    }

    /// <summary>A read that is never answered ends with the timeout; the next command goes on.</summary>
    public static void Timeout(Scenario s)
    {
        Start(s, "dma_inst.drain_inst.state_q", "dma_inst.p0_reorder_inst.state_q");
        s.Ports.Refuse = (_, address) => (address != HostMemory.Low + 512, null);
        int[] tags = [s.Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low, 600), s.Ports.Dma(0, HostMemory.Low + 4096, 1, HostMemory.Low + 4096, 16)];
        Assert.That(tags.Select(t => s.Ports.AwaitManagement(t).Status), Is.EqualTo(new[] { 2, 0 }));
    }

    /// <summary>Without Bus Master of the function a command moves nothing; taken away in the middle of a copy it ends it.</summary>
    public static void BusMasterOff(Scenario s)
    {
        Start(s, "p0_bme", "p1_bme", "dma_inst.issue_inst.state_q", "dma_inst.drain_inst.state_q");
        s.Ports.ConfigWrite(0, 1, 0x04, 0, 0b0011);
        int[] tags =
        [
            s.Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low, 100, sourceFunction: 1),
            s.Ports.Dma(1, HostMemory.Low, 0, HostMemory.Low, 100, destinationFunction: 1),
            s.Ports.Dma(Scratch, 0, 0, HostMemory.Low, 100, destinationFunction: 1),
        ];
        Assert.That(tags.Select(t => s.Ports.AwaitManagement(t).Status), Is.All.EqualTo(3));
        int cut = s.Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low, 3000);
        s.Ports.RunUntil(() => s.Ports.Requests[1].Count > 2, "the first writes");
        s.Ports.ConfigWrite(0, 0, 0x04, 0, 0b0011);
        s.Ports.ConfigWrite(1, 0, 0x04, 0, 0b0011);
        Assert.That(s.Ports.AwaitManagement(cut).Status, Is.EqualTo(3));
    }

    /// <summary>Bus Master of the source goes while reads wait for tags: those in flight end, no further one leaves.</summary>
    public static void BusMasterOffWhileReading(Scenario s)
    {
        Start(s, "p0_bme", "dma_inst.issue_inst.state_q", "dma_inst.alloc_refuse", "dma_inst.drain_inst.state_q");
        s.Ports.SetLimits(0, 0, 128, 128);
        s.Begin();
        s.Ports.Latency = 100;
        int cut = s.Ports.Dma(0, HostMemory.Low, Scratch, 0, 40 * 128);
        s.Ports.RunUntil(() => s.Ports.Requests[0].Count > 20, "the reads");
        s.Ports.ConfigWrite(0, 0, 0x04, 0, 0b0011);
        Assert.That(s.Ports.AwaitManagement(cut).Status, Is.EqualTo(3));
        Assert.That(s.Ports.Requests[0], Has.Count.InRange(32, 39));
    }

    /// <summary>Commands that are wrong, each followed by one that is right.</summary>
    public static void WrongCommands(Scenario s)
    {
        Start(s, "dma_inst.issue_inst.state_q", "dma_inst.drain_inst.state_q");
        int[] tags =
        [
            s.Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low, 0),
            s.Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low, 0x10_0001),
            s.Ports.Dma(3, HostMemory.Low, 1, HostMemory.Low, 16),
            s.Ports.Dma(0, HostMemory.Low, 7, HostMemory.Low, 16),
            s.Ports.Dma(Scratch, 65521, 1, HostMemory.Low, 16),
            s.Ports.Dma(0, HostMemory.Low, Scratch, 65536, 16),
            s.Ports.Dma(Scratch, 0x1_0000_0000, 1, HostMemory.Low, 16),
            s.Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low, 16, returns: true),
            s.Ports.Dma(0, HostMemory.Low, Scratch, 16, 16, returns: true),
            s.Ports.Dma(0, HostMemory.Low, Scratch, 0, 4097, returns: true),
            s.Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low, 16, sourceFunction: 2),
            s.Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low, 16, destinationFunction: 1),
        ];
        int good = s.Ports.Dma(Scratch, 65520, 1, HostMemory.Low + 64, 16);
        Assert.That(tags.Select(t => s.Ports.AwaitManagement(t).Status), Is.All.EqualTo(4));
        Assert.That(s.Ports.AwaitManagement(good).Status, Is.Zero);
    }

    /// <summary>RETURN: the data behind DMA_DONE, padded with what follows in scratch.</summary>
    public static void Return(Scenario s)
    {
        s.Show("mgmt_inst.tx_state_q", "done_valid", "done_ready");
        s.EnableDma();
        byte[] pattern = [.. Enumerable.Range(0, 512).Select(i => (byte)i)];
        s.Ports.WriteScratch(0, pattern);
        s.Begin();
        foreach ((uint offset, uint length) in new (uint, uint)[] { (32, 4), (0, 1), (64, 33), (128, 256) })
        {
            Finish(s, [s.Ports.Dma(1, HostMemory.Low + 3, Scratch, offset, length, returns: true)]);
        }
    }

    /// <summary>Copies within one host, both ways at once, with completions and registers read between.</summary>
    public static void BothPortsAtOnce(Scenario s)
    {
        Start(s, "port0_inst.tx_inst.source", "port1_inst.tx_inst.source");
        List<int> tags = [];
        for (uint i = 0; i < 3; i++)
        {
            tags.Add(s.Ports.Dma(0, HostMemory.Low + (300 * i), 1, HostMemory.Low + (300 * i), 150));
            tags.Add(s.Ports.Dma(1, HostMemory.High + (300 * i), 0, HostMemory.High + (300 * i), 150));
            tags.Add(s.Ports.Dma(0, HostMemory.Low + (300 * i), 0, HostMemory.High + 8192 + (300 * i), 70));
        }

        for (int i = 0; i < 4; i++)
        {
            _ = s.Ports.ConfigRead(0, 0, 0x00);
            _ = s.Ports.ConfigRead(1, 0, 0x00);
        }

        Finish(s, tags);
    }

    /// <summary>Completions of tags that are not in use, of another port and malformed ones are dropped.</summary>
    public static void UnexpectedCompletions(Scenario s)
    {
        Start(s, "port0_inst.rx_inst.state", "dma_inst.p0_reorder_inst.state_q");
        s.Ports.Latency = 120;
        int tag = s.Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low, 64);
        s.Ports.RunUntil(() => s.Ports.Requests[0].Count == 1, "the read");
        s.Ports.SendRaw(0, 0x4A00_0001, 0x0000_0004, 0x0100_1F00, 0, 0xBAD0_BAD0);
        s.Ports.SendRaw(0, 0x4A00_0001, 0x0000_0004, 0x0100_4000, 0, 0xBAD0_BAD0);
        s.Ports.SendRaw(1, 0x4A00_0010, 0x0000_0040, 0x0100_0000, 0, new uint[16]);
        s.Ports.SendRaw(0, 0x0A00_0000, 0x0000_2004, 0x0100_0300, 0);
        Finish(s, [tag]);
        Assert.That(s.Ports.Memory[1][HostMemory.Low, 64].ToArray(), Is.EqualTo(s.Ports.Memory[0][HostMemory.Low, 64].ToArray()));
    }

    /// <summary>The streams pause in the middle of packets, both ways.</summary>
    public static void BackPressure(Scenario s)
    {
        s.Pauses = new LinkPauses(90, 140, 5);
        Start(s, "dma_inst.write_valid", "dma_inst.write_ready");
        List<int> tags = [];
        for (uint i = 0; i < 4; i++)
        {
            tags.Add(s.Ports.Dma(0, HostMemory.Low + (200 * i) + i, 1, HostMemory.Low + (200 * i), 180));
            tags.Add(s.Ports.Dma(1, HostMemory.Low + 4096 + (200 * i), Scratch, 256 * i, 100, returns: true));
        }

        _ = s.Ports.ConfigRead(0, 0, 0x00);
        _ = s.Ports.ConfigRead(1, 0, 0x00);
        _ = s.Ports.Command(Opcode.RegRead, dw2: RegisterMap.Management.Id);
        Finish(s, tags);
    }

    private static void Start(Scenario s, params ReadOnlySpan<string> shown)
    {
        s.Show(shown);
        s.EnableDma();
        s.Begin();
    }

    private static void Finish(Scenario s, IEnumerable<int> tags)
        => Assert.That(tags.Select(t => s.Ports.AwaitManagement(t).Status), Is.All.Zero);
}
