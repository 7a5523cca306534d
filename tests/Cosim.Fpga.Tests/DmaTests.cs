// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga.Tests.Driver;
using Cosim.Pcie;

namespace Cosim.Fpga.Tests;

/// <summary>The DMA engine: CONTRACT.md, 2 and 4. Every TLP is checked by <see cref="PortDriver"/> on its way.</summary>
public class DmaTests(FpgaKind kind) : FpgaFixture(kind)
{
    private const int Scratch = 2;
    private const int Ok = 0;
    private const int Refused = 1;
    private const int Timeout = 2;
    private const int NoBusMaster = 3;
    private const int Wrong = 4;

    // Lengths and address offsets around DWs, beats, payload and read request sizes, and pages.
    private static readonly int[] Offsets = [0, 1, 2, 3, 5, 31, 63, 126, 255, 4093];
    private static readonly int[] Lengths = [1, 2, 3, 4, 5, 8, 31, 33, 127, 129, 511, 700];

    [SetUp]
    public void EnableBusMasters()
    {
        Ports.ConfigWrite(0, 0, 0x04, 0x0004, 0b0011);
        Ports.ConfigWrite(0, 1, 0x04, 0x0004, 0b0011);
        Ports.ConfigWrite(1, 0, 0x04, 0x0004, 0b0011);
    }

    [TestCase(0, 1)]
    [TestCase(1, 0)]
    [TestCase(0, 0)]
    [TestCase(1, 1)]
    [TestCase(0, 2)]
    [TestCase(2, 0)]
    [TestCase(2, 2)]
    [TestCase(1, 2)]
    [TestCase(2, 1)]
    public void Copy_BetweenAnySpaces_MovesExactlyTheBytes(int source, int destination)
    {
        PrepareScratch();
        Ports.Jitter = 20;
        int turn = 0;
        foreach (int length in Lengths)
        {
            foreach (int from in Offsets)
            {
                int to = Offsets[turn++ % Offsets.Length];
                if (turn % (length > 200 ? 5 : 3) == 0)
                {
                    Check(source, from, destination, to, length);
                }
            }
        }
    }

    [Test]
    public void Copy_OfEveryAlignment_MovesExactlyTheBytes()
    {
        for (int from = 0; from < 4; from++)
        {
            for (int to = 0; to < 4; to++)
            {
                foreach (int length in new[] { 1, 4, 6, 37 })
                {
                    Check(0, 64 + from, 1, 128 + to, length);
                }
            }
        }
    }

    [TestCase(128, 128)]
    [TestCase(256, 128)]
    [TestCase(128, 512)]
    [TestCase(256, 4096)]
    [TestCase(4096, 4096)]
    public void Copy_WithAnyLimits_KeepsThem(int payload, int readRequest)
    {
        Ports.SetLimits(0, 1, payload, readRequest);
        Ports.SetLimits(1, 0, payload, readRequest);
        Ports.Jitter = 30;
        Check(0, 4000, 1, 4090, 5000, sourceFunction: 1);
        Check(1, 3, 0, 1, 4500, destinationFunction: 1);
        int longest = Ports.Requests[0].Where(r => !r.IsRead).Max(r => r.Length);
        Assert.That(longest, Is.EqualTo(Math.Min(payload, 256)), "full payloads are used");
        // An implementation may have less room for one read than Max_Read_Request_Size allows, but 512 bytes it has.
        int longestRead = Ports.Requests[0].Where(r => r.IsRead).Max(r => r.Length);
        Assert.That(longestRead, Is.InRange(Math.Min(readRequest, 512), readRequest), "full read requests are used");
    }

    [TestCase(HostMemory.Low, HostMemory.High)]
    [TestCase(HostMemory.High, HostMemory.Low)]
    [TestCase(HostMemory.High, HostMemory.High)]
    public void Copy_AcrossAddressSpaces_UsesTheRightHeaders(ulong from, ulong to)
    {
        byte[] expected = Ports.Memory[0][from + 77, 900].ToArray();
        ManagementPacket done = Ports.AwaitManagement(Ports.Dma(0, from + 77, 1, to + 4001, 900));
        Assert.That((done.Status, done.Length), Is.EqualTo((Ok, 900u)));
        Assert.That(Ports.Memory[1][to + 4001, 900].ToArray(), Is.EqualTo(expected));
    }

    [Test]
    public void Copy_OfALargeBlock_KeepsThirtyTwoReadsInFlight()
    {
        Ports.Latency = 250;
        Ports.SetLimits(0, 0, 256, 512);
        Ports.SetLimits(1, 0, 256, 512);
        Check(0, 0, 1, 0, 65536);
        Assert.That(Ports.MostReads[0], Is.EqualTo(32));
        ulong first = Ports.Requests[0].First(r => r.IsRead).Output.Cycle;
        ulong last = Ports.Requests[1].Last(r => !r.IsRead).Output.Cycle;
        // 40 Gb/s at 250 MHz is 20 bytes a cycle.
        Assert.That(65536.0 / (last - first), Is.GreaterThanOrEqualTo(20), "bytes a cycle");
    }

    [Test]
    public void Commands_InFlightTogether_ReadAheadAndFinishInOrder()
    {
        Ports.Latency = 200;
        Ports.Jitter = 100;
        List<int> tags = [];
        for (int i = 0; i < 16; i++)
        {
            tags.Add(Ports.Dma(0, HostMemory.Low + (ulong)(i * 100), 1, HostMemory.Low + (ulong)(i * 128) + 1, 64));
        }

        ManagementPacket[] done = [.. tags.Select(Ports.AwaitManagement)];
        Assert.That(done.Select(d => d.Status), Is.All.EqualTo(Ok));
        Assert.That(done.Select(d => d.Output.Index), Is.Ordered);
        Assert.That(Ports.MostReads[0], Is.GreaterThanOrEqualTo(16), "reads of later commands do not wait for earlier ones");
        for (int i = 0; i < 16; i++)
        {
            Assert.That(
                Ports.Memory[1][HostMemory.Low + (ulong)(i * 128) + 1, 64].ToArray(),
                Is.EqualTo(Ports.Memory[0][HostMemory.Low + (ulong)(i * 100), 64].ToArray()));
        }
    }

    [Test]
    public void Commands_ManyAtOnce_AreAllTaken()
    {
        List<int> tags = [];
        for (int i = 0; i < 100; i++)
        {
            tags.Add(Ports.Dma(i % 3, i % 3 == Scratch ? 0 : HostMemory.Low, (i + 1) % 3, (i + 1) % 3 == Scratch ? 256 : HostMemory.Low + 4096, 40));
        }

        Assert.That(tags.Select(tag => Ports.AwaitManagement(tag)).Select(d => d.Status), Is.All.EqualTo(Ok));
    }

    [Test]
    public void Commands_MoreThanAreTaken_HoldBackWhatFollows()
    {
        Ports.Latency = 2000;
        List<int> tags = [];
        for (int i = 0; i < 80; i++)
        {
            tags.Add(Ports.Dma(0, HostMemory.Low + (ulong)(i * 16), 1, HostMemory.Low + (ulong)(i * 32), 16));
        }

        int register = Ports.Command(RegisterMap.Opcode.RegRead, dw2: RegisterMap.Management.Id);
        ManagementPacket answer = Ports.AwaitManagement(register);
        Assert.That(answer.Dw4, Is.EqualTo(0x4353_494D));
        Assert.That(tags.Select(tag => Ports.AwaitManagement(tag)).Select(d => d.Status), Is.All.EqualTo(Ok));
        Assert.That(Ports.MostReads[0], Is.EqualTo(32));
    }

    [Test]
    public void Commands_ThroughScratch_SeeWhatTheEarlierOneWrote()
    {
        byte[] expected = Ports.Memory[0][HostMemory.Low + 5, 300].ToArray();
        Ports.Dma(0, HostMemory.Low + 5, Scratch, 77, 300);
        int last = Ports.Dma(Scratch, 77, 1, HostMemory.Low + 9, 300);
        Assert.That(Ports.AwaitManagement(last).Status, Is.EqualTo(Ok));
        Assert.That(Ports.Memory[1][HostMemory.Low + 9, 300].ToArray(), Is.EqualTo(expected));
    }

    [Test]
    public void Done_OfAWriteToAHost_LeavesAfterTheLastWrite()
    {
        foreach (int length in new[] { 1, 128, 1000 })
        {
            int before = Ports.Requests[1].Count;
            ManagementPacket done = Ports.AwaitManagement(Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low + 2, (uint)length));
            Assert.That(Ports.Requests[1], Has.Count.GreaterThan(before));
            Assert.That(Ports.Requests[1][^1].Output.Index, Is.LessThan(done.Output.Index));
        }
    }

    [Test]
    public void Interrupt_AfterDone_FollowsTheData()
    {
        Ports.ConfigWrite(1, 0, 0x10, 0xD000_0000);
        Ports.ConfigWrite(1, 0, 0x14, 0xD010_0000);
        Ports.ConfigWrite(1, 0, 0x04, 0x0006, 0b0011);
        Ports.Write(1, 0xD010_0000, (uint)PortDriver.MessageBase, 4);
        Ports.Write(1, 0xD010_000C, 0, 4);
        Ports.ConfigWrite(1, 0, 0x80, 0x8000_0000, 0b1100);
        for (int i = 0; i < 5; i++)
        {
            Ports.AwaitManagement(Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low, 512));
            Ports.Interrupt(1, 0, 0);
            InterruptSignal signal = Ports.AllInterrupts().Single();
            Assert.That(signal.Output.Index, Is.GreaterThan(Ports.Requests[1][^1].Output.Index));
        }
    }

    [TestCase(32, 4)]
    [TestCase(0, 1)]
    [TestCase(64, 33)]
    [TestCase(1024, 4096)]
    public void Return_OfDataInScratch_CarriesItPadded(int offset, int length)
    {
        PrepareScratch();
        byte[] scratch = Ports.ReadScratch(0, 4096).Concat(Ports.ReadScratch(4096, 4096)).ToArray();
        byte[] data = Ports.Memory[1][HostMemory.Low + 3, length].ToArray();
        ManagementPacket done = Ports.AwaitManagement(Ports.Dma(1, HostMemory.Low + 3, Scratch, (ulong)offset, (uint)length, returns: true));
        Assert.That((done.Status, done.Length), Is.EqualTo((Ok, (uint)length)));
        data.CopyTo(scratch, offset);
        Assert.That(done.Payload, Is.EqualTo(scratch[offset..(offset + ((length + 3) & ~3))]));
    }

    [TestCase(0u, 0, 0ul, 1, 0ul, false, Description = "length 0")]
    [TestCase(0x10_0001u, 0, 0ul, 1, 0ul, false, Description = "above 1 MiB")]
    [TestCase(16u, 3, 0ul, 1, 0ul, false, Description = "no such source")]
    [TestCase(16u, 0, 0ul, 7, 0ul, false, Description = "no such destination")]
    [TestCase(16u, 2, 65521ul, 1, 0ul, false, Description = "beyond scratch")]
    [TestCase(16u, 0, 0ul, 2, 65536ul, false, Description = "beyond scratch")]
    [TestCase(16u, 2, 0x1_0000_0000ul, 1, 0ul, false, Description = "far beyond scratch")]
    [TestCase(16u, 2, 0x8000_0000_0000_0000ul, 1, 0ul, false, Description = "far beyond scratch")]
    [TestCase(16u, 0, 0ul, 2, 0x10_0000ul, false, Description = "beyond 1 MiB")]
    [TestCase(16u, 0, 0ul, 2, 0x8_0000ul, false, Description = "beyond 512 KiB")]
    [TestCase(16u, 0, 0ul, 1, 0ul, true, Description = "RETURN from a host")]
    [TestCase(16u, 0, 0ul, 2, 16ul, true, Description = "RETURN at an odd offset")]
    [TestCase(4097u, 0, 0ul, 2, 0ul, true, Description = "RETURN of more than 4 KiB")]
    public void Command_ThatIsWrong_MovesNothingAndTheNextOneGoesOn(uint length, int source, ulong from, int destination, ulong to, bool returns)
    {
        int bad = Ports.Dma(source, Place(source, from), destination, Place(destination, to), length, returns: returns);
        int good = Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low + 64, 16);
        ManagementPacket done = Ports.AwaitManagement(bad);
        Assert.That((done.Status, done.Length), Is.EqualTo((Wrong, length)));
        Assert.That(Ports.AwaitManagement(good).Status, Is.EqualTo(Ok));
        Assert.That((Ports.Requests[0].Count, Ports.Requests[1].Count), Is.EqualTo((1, 1)));

        static ulong Place(int space, ulong at) => space is 0 or 1 ? HostMemory.Low + at : at;
    }

    [TestCase(2, 0)]
    [TestCase(0, 1)]
    public void Command_ForMissingFunction_IsWrong(int sourceFunction, int destinationFunction)
    {
        ManagementPacket done = Ports.AwaitManagement(
            Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low, 4, sourceFunction, destinationFunction));
        Assert.That(done.Status, Is.EqualTo(Wrong));
        Assert.That((Ports.Requests[0].Count, Ports.Requests[1].Count), Is.EqualTo((0, 0)));
    }

    [TestCase(CompletionStatus.UnsupportedRequest)]
    [TestCase(CompletionStatus.CompleterAbort)]
    public void Copy_WithARefusedRead_WritesNothingFromThereOn(CompletionStatus status)
    {
        Ports.Jitter = 40;
        const ulong Bad = HostMemory.Low + 2048;
        Ports.Refuse = (port, address) => port == 0 && address == Bad ? (false, status) : (true, null);
        ManagementPacket done = Ports.AwaitManagement(Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low, 8192));
        Assert.That((done.Status, done.Length), Is.EqualTo((Refused, 8192u)));
        Ports.Refuse = null;
        Assert.That(Ports.Memory[1][HostMemory.Low, 2048].ToArray(), Is.EqualTo(Ports.Memory[0][HostMemory.Low, 2048].ToArray()), "what came before");
        AssertUntouched(1, Bad, 8192);
        Check(0, 0, 1, 0x2_0000, 6000);
    }

    [Test]
    public void Copy_FromWhereNoMemoryIs_IsRefusedAndTheNextOneGoesOn()
    {
        int[] tags =
        [
            Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low, 100),
            Ports.Dma(0, 0x7000_0000, 1, HostMemory.Low + 4096, 3000),
            Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low + 8192, 100),
        ];
        Assert.That(tags.Select(tag => Ports.AwaitManagement(tag).Status), Is.EqualTo(new[] { Ok, Refused, Ok }));
        AssertUntouched(1, HostMemory.Low + 4096, 4096);
        Assert.That(Ports.Memory[1][HostMemory.Low + 8192, 100].ToArray(), Is.EqualTo(Ports.Memory[0][HostMemory.Low, 100].ToArray()));
    }

    [Test]
    public void Copy_WithAReadNeverAnswered_TimesOut()
    {
        const ulong Lost = HostMemory.Low + 1024;
        Ports.Refuse = (_, address) => (address != Lost, null);
        ulong start = Ports.Fpga.Cycle;
        ManagementPacket done = Ports.AwaitManagement(Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low, 4096));
        Assert.That(done.Status, Is.EqualTo(Timeout));
        Assert.That(done.Output.Cycle - start, Is.InRange(65536, 65536 * 3 / 2), "the timer may be coarse, but not early");
        AssertUntouched(1, Lost, 4096);
        Ports.Refuse = null;
        Check(0, 0, 1, 0x2_0000, 2000);
    }

    [Test]
    public void Copy_WithoutBusMaster_SendsNothing()
    {
        Ports.ConfigWrite(0, 1, 0x04, 0, 0b0011);
        int[] tags =
        [
            Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low, 100, sourceFunction: 1),
            Ports.Dma(1, HostMemory.Low, 0, HostMemory.Low, 100, destinationFunction: 1),
            Ports.Dma(Scratch, 0, 0, HostMemory.Low, 100, destinationFunction: 1),
        ];
        Assert.That(tags.Select(tag => Ports.AwaitManagement(tag).Status), Is.All.EqualTo(NoBusMaster));
        Ports.Settle();
        Assert.That(Ports.Requests[0], Is.Empty);
        AssertUntouched(0, HostMemory.Low, 256);
    }

    [Test]
    public void BusMaster_ClearedDuringACopy_EndsIt()
    {
        Ports.Latency = 100;
        int tag = Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low, 65536, sourceFunction: 1);
        Ports.RunUntil(() => Ports.Requests[1].Count > 4, "the first writes");
        Ports.ConfigWrite(0, 1, 0x04, 0, 0b0011);
        int requests = Ports.Requests[0].Count;
        Assert.That(Ports.AwaitManagement(tag).Status, Is.EqualTo(NoBusMaster));
        Assert.That(Ports.Requests[0], Has.Count.LessThanOrEqualTo(requests + 1), "none leaves behind the completion of the write to Command");
        Ports.Settle();
        Check(0, 0, 1, 0x2_0000, 1000);
    }

    [Test]
    public void BusMaster_ClearedDuringACopyOutOfScratch_EndsIt()
    {
        int tag = Ports.Dma(Scratch, 0, 0, HostMemory.Low, 65536, destinationFunction: 1);
        int next = Ports.Dma(Scratch, 0, 1, HostMemory.Low, 64);
        Ports.RunUntil(() => Ports.Requests[0].Count > 4, "the first writes");
        Ports.ConfigWrite(0, 1, 0x04, 0, 0b0011);
        int requests = Ports.Requests[0].Count;
        Assert.That(Ports.AwaitManagement(tag).Status, Is.EqualTo(NoBusMaster));
        Assert.That(Ports.Requests[0], Has.Count.LessThanOrEqualTo(requests + 1), "none leaves behind the completion of the write to Command");
        Assert.That(Ports.AwaitManagement(next).Status, Is.EqualTo(Ok));
    }

    [Test]
    public void Completions_ThatFitNoRequest_AreDropped()
    {
        Ports.Latency = 300;
        int tag = Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low, 64);
        Ports.RunUntil(() => Ports.Requests[0].Count == 1, "the read");
        Ports.SendRaw(0, 0x4A00_0001, 0x0000_0004, 0x0100_1F00, 0, 0xBAD0_BAD0);  // tag 31
        Ports.SendRaw(0, 0x4A00_0001, 0x0000_0004, 0x0100_4000, 0, 0xBAD0_BAD0);  // tag 64
        Ports.SendRaw(1, 0x4A00_0010, 0x0000_0040, 0x0100_0000, 0, new uint[16]);  // the other port
        Assert.That(Ports.AwaitManagement(tag).Status, Is.EqualTo(Ok));
        Assert.That(Ports.Memory[1][HostMemory.Low, 64].ToArray(), Is.EqualTo(Ports.Memory[0][HostMemory.Low, 64].ToArray()));
    }

    [Test]
    public void Registers_DuringACopy_AreAnswered()
    {
        Ports.SetLimits(1, 0, 256, 512);
        int tag = Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low, 32768);
        Ports.RunUntil(() => Ports.Requests[1].Count > 4, "the first writes");
        ulong start = Ports.Fpga.Cycle;
        Answer answer = Ports.ConfigRead(1, 0, 0);
        Assert.That(Ports.HasAnswer(tag), Is.False);
        Assert.That(answer.Output.Cycle - start, Is.LessThan(100), "completions are not starved by the stream of writes");
        Assert.That(Ports.AwaitManagement(tag).Status, Is.EqualTo(Ok));
    }

    /// <summary>Copies, and compares the destination and 64 bytes on each side of it.</summary>
    private void Check(int source, int from, int destination, int to, int length, int sourceFunction = 0, int destinationFunction = 0)
    {
        const int Guard = 64;
        string what = $"space {source} + {from} to space {destination} + {to}, {length} bytes";
        ulong fromAddress = source == Scratch ? (ulong)from : HostMemory.Low + (ulong)from;
        ulong toAddress = destination == Scratch ? 8192 + (ulong)to : HostMemory.Low + 0x1_0000 + (ulong)to;
        byte[] data = source == Scratch ? Part(from, length) : Ports.Memory[source][fromAddress, length].ToArray();
        byte[] around = Around();
        ManagementPacket done = Ports.AwaitManagement(Ports.Dma(source, fromAddress, destination, toAddress, (uint)length, sourceFunction, destinationFunction));
        Assert.That((done.Status, done.Length, done.Payload.Length), Is.EqualTo((Ok, (uint)length, 0)), what);
        data.CopyTo(around, Guard);
        Assert.That(Around().AsSpan().SequenceEqual(around), Is.True, what);

        byte[] Around() => destination == Scratch
            ? Part((int)toAddress - Guard, length + (2 * Guard))
            : Ports.Memory[destination][toAddress - Guard, length + (2 * Guard)].ToArray();

        byte[] Part(int at, int count)
        {
            int start = at & ~31;
            return Ports.ReadScratch((uint)start, (at - start + count + 3) & ~3)[(at - start)..(at - start + count)];
        }
    }

    private void AssertUntouched(int host, ulong from, int length)
    {
        HostMemory memory = Ports.Memory[host];
        for (int i = 0; i < length; i++)
        {
            if (memory[from, length][i] != memory.Pattern(from + (ulong)i))
            {
                Assert.Fail($"host {host}'s byte at 0x{from + (ulong)i:x} was written");
            }
        }
    }

    private void PrepareScratch()
    {
        byte[] page = new byte[4096];
        for (uint offset = 0; offset < 16384; offset += 4096)
        {
            new Random((int)offset).NextBytes(page);
            Ports.WriteScratch(offset, page);
        }
    }
}
