// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga.Tests.Driver;
using Cosim.Pcie;

namespace Cosim.Fpga.Tests;

/// <summary>Requests to BARs and what is refused: CONTRACT.md, 2.</summary>
public class MemoryRequestTests(FpgaKind kind) : FpgaFixture(kind)
{
    private const ulong BackEndBar = 0xD000_0000;

    [Test]
    public void Read_OutsideEveryBar_IsUnsupported()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Enable();
        foreach (ulong address in new[] { 0ul, driver.Bar0 - 4, driver.Bar0 + 0x4000, driver.Bar1 + 0x4000, (1ul << 32) + driver.Bar0, ulong.MaxValue & ~7ul })
        {
            Answer answer = Ports.MemoryRead(0, address, 4);
            Assert.That(
                (answer.Status, answer.Payload.Length, answer.ByteCount, answer.LowerAddress, answer.Completer),
                Is.EqualTo((CompletionStatus.UnsupportedRequest, 0, 4, (byte)(address & 0x7C), RoutingId.Fpga(0))),
                $"0x{address:x}");
        }
    }

    [Test]
    public void Request_WithoutMemorySpaceEnable_IsUnsupported()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Describe(VirtioDriver.Version1).Enable();
        Ports.ConfigWrite(0, 0, 0x04, 0x0004, 0b0011);
        Ports.Write(0, driver.Bar0 + VirtioDriver.DeviceStatus, 1, 1);
        Assert.That(Ports.MemoryRead(0, driver.Bar0, 4).Status, Is.EqualTo(CompletionStatus.UnsupportedRequest));
        Ports.ConfigWrite(0, 0, 0x04, 0x0006, 0b0011);
        Assert.That(driver.Status, Is.Zero, "the write was dropped");
    }

    [Test]
    public void Request_ByAddress_ReachesTheFunctionItIsFor()
    {
        VirtioDriver first = new VirtioDriver(Ports, 0).Enable();
        VirtioDriver second = new VirtioDriver(Ports, 1).Enable();
        second.Status = 1;
        Assert.That((first.Status, second.Status), Is.EqualTo((0u, 1u)));
        Assert.That(Ports.MemoryRead(0, second.Bar0, 4).Completer, Is.EqualTo(RoutingId.Fpga(1)));
    }

    [Test]
    public void Read_OfMoreThanTwoDwords_IsAborted()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Enable();
        foreach (int length in new[] { 12, 64, 4096 })
        {
            Answer answer = Ports.MemoryRead(0, driver.Bar0, length);
            Assert.That((answer.Status, answer.ByteCount, answer.Payload.Length), Is.EqualTo((CompletionStatus.CompleterAbort, length, 0)));
        }
    }

    [Test]
    public void Write_OfMoreThanTwoDwords_IsDropped()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Describe(VirtioDriver.Version1).Enable();
        Ports.WriteBytes(0, driver.Bar0 + VirtioDriver.QueueDesc, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        Ports.WriteBytes(0, driver.Bar0 + VirtioDriver.QueueDesc + 8, new byte[256]);
        Assert.That(driver.Common(VirtioDriver.QueueDesc, 4), Is.Zero);
        Assert.That(driver.Common(VirtioDriver.QueueDesc + 8, 4), Is.Zero);
    }

    [Test]
    public void Access_OfEightBytes_CarriesBothDwords()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Describe(VirtioDriver.Version1).Enable();
        Ports.WriteBytes(0, driver.Bar0 + VirtioDriver.QueueDesc, [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
        Answer answer = Ports.MemoryRead(0, driver.Bar0 + VirtioDriver.QueueDesc, 8);
        Assert.That(answer.Payload, Is.EqualTo(new byte[] { 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88 }));
        Assert.That((answer.ByteCount, answer.LowerAddress), Is.EqualTo((8, (byte)0x20)));
    }

    [Test]
    public void Write_WithByteEnables_ChangesThoseBytesOnly()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Describe(VirtioDriver.Version1).Enable();
        for (uint enables = 0; enables < 16; enables++)
        {
            driver.SetCommon(VirtioDriver.QueueDesc, 0x1122_3344, 4);
            Ports.SendRaw(0, 0x4000_0001, enables, driver.Bar0 + VirtioDriver.QueueDesc, 0, 0xAABB_CCDD);
            uint mask = 0;
            for (int i = 0; i < 4; i++)
            {
                mask |= (enables & (1 << i)) != 0 ? 0xFFu << (8 * i) : 0;
            }

            Assert.That(driver.Common(VirtioDriver.QueueDesc, 4), Is.EqualTo((0x1122_3344 & ~mask) | (0xAABB_CCDD & mask)), $"enables {enables:x}");
        }
    }

    [Test]
    public void Completion_OfAnyByteEnables_CarriesByteCountAndLowerAddress()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Enable();
        for (uint first = 0; first < 16; first++)
        {
            Check(1, first, 0);
            if (first != 0)
            {
                for (uint last = 1; last < 16; last++)
                {
                    Check(2, first, last);
                }
            }
        }

        void Check(uint dwords, uint first, uint last)
        {
            byte tag = Ports.NewTag();
            Ports.SendRaw(0, dwords, ((uint)tag << 8) | (last << 4) | first, driver.Bar0 + 0x28, 0);
            Answer answer = Ports.Await(0, tag);
            int offset = first == 0 ? 0 : System.Numerics.BitOperations.TrailingZeroCount(first);
            int end = dwords == 1 ? (first == 0 ? 1 : 32 - System.Numerics.BitOperations.LeadingZeroCount(first)) : 4 + 32 - System.Numerics.BitOperations.LeadingZeroCount(last);
            Assert.That(
                (answer.Status, answer.Payload.Length, answer.ByteCount, answer.LowerAddress),
                Is.EqualTo((CompletionStatus.SuccessfulCompletion, 4 * (int)dwords, end - offset, (byte)(0x28 + offset))),
                $"{dwords} DW, enables {first:x}, {last:x}");
        }
    }

    [Test]
    public void ZeroLengthRead_OfIsr_HasNoSideEffect()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Start();
        Ports.Interrupt(0, 0, 0);
        Ports.Settle();
        Answer answer = Ports.MemoryRead(0, driver.Bar0 + RegisterMap.Bar.VirtioIsr, 0);
        Assert.That((answer.Status, answer.Payload.Length, answer.ByteCount), Is.EqualTo((CompletionStatus.SuccessfulCompletion, 4, 1)));
        Assert.That(Ports.Read(0, driver.Bar0 + RegisterMap.Bar.VirtioIsr, 1), Is.EqualTo(1));
        Assert.That(Ports.Read(0, driver.Bar0 + RegisterMap.Bar.VirtioIsr, 1), Is.Zero);
    }

    [Test]
    public void Access_ToNoRegister_ReadsZeroAndIgnoresWrites()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Enable();
        foreach (uint offset in new uint[] { 0x3C, 0x100, 0xFFC, 0x1004, 0x1FFC, 0x2100, 0x2FFC, 0x3100, 0x3FFC })
        {
            Ports.Write(0, driver.Bar0 + offset, 0xFFFF_FFFF, 4);
            Assert.That(Ports.Read(0, driver.Bar0 + offset, 4), Is.Zero, $"BAR0 + 0x{offset:x}");
        }

        foreach (uint offset in new uint[] { 0x1FFC, 0x2000, 0x2FFC, 0x3FFC })
        {
            Ports.Write(0, driver.Bar1 + offset, 0xFFFF_FFFF, 4);
            Assert.That(Ports.Read(0, driver.Bar1 + offset, 4), Is.Zero, $"BAR1 + 0x{offset:x}");
        }

        Assert.That(Ports.AllEvents(), Is.Empty);
    }

    // I/O, locked reads, type 1 configuration, AtomicOps.
    [TestCase(0x02u, 0)]
    [TestCase(0x42u, 1)]
    [TestCase(0x01u, 0)]
    [TestCase(0x21u, 0)]
    [TestCase(0x05u, 0)]
    [TestCase(0x45u, 1)]
    [TestCase(0x4Cu, 1)]
    [TestCase(0x6Du, 1)]
    public void NonPostedRequest_OfAnotherKind_IsUnsupported(uint fmtType, int payload)
    {
        new VirtioDriver(Ports, 0).Enable();
        byte tag = Ports.NewTag();
        Ports.SendRaw(0, (fmtType << 24) | 1, 0xAB00_000F | ((uint)tag << 8), 0x0100_0000, 0, new uint[payload]);
        Answer answer = Ports.Await(0, tag);
        Assert.That(
            (answer.Status, answer.Payload.Length, answer.ByteCount, answer.LowerAddress),
            Is.EqualTo((CompletionStatus.UnsupportedRequest, 0, 4, (byte)0)));
        Assert.That(Tlp.TryParse(answer.Output.Bytes, out Tlp tlp, out _), Is.True);
        Assert.That(tlp.RequesterId.Value, Is.EqualTo(0xAB00), "the completion goes to the requester");
    }

    [Test]
    public void Packet_ThatIsPostedOrMalformedOrUnexpected_IsDropped()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Describe(VirtioDriver.Version1).Enable();
        int before = Ports.Log.Count;
        Ports.SendRaw(0, 0x3400_0000, 0x0000_0019, 0, 0);               // Msg PME_TO_Ack
        Ports.SendRaw(0, 0x7400_0001, 0x0000_007F, 0, 0, 0x1234);       // MsgD, vendor defined
        Ports.SendRaw(0, 0x4A00_0001, 0x0000_0004, 0x0100_0500, 0, 7);  // CplD that nobody waits for
        Ports.SendRaw(0, 0x0A00_0000, 0x0000_2004, 0x0100_FF00, 0);     // Cpl UR with a tag out of range
        Ports.SendRaw(0, 0x4000_0002, 0x0000_000F, driver.Bar0 + VirtioDriver.QueueDesc, 0, 0xDEAD);  // MWr shorter than Length
        Ports.SendRaw(0, 0x4000_0001, 0x0000_000F, driver.Bar0 + VirtioDriver.QueueDesc, 0, 0xDEAD, 0xBEEF);  // and longer
        Ports.SendRaw(0, 0x8000_0000, 0, 0, 0);                         // a prefix
        Ports.SendRaw(0, 0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF);
        Ports.Settle();
        Assert.That(Ports.Log.Skip(before), Is.Empty);
        Assert.That(driver.Common(VirtioDriver.QueueDesc, 4), Is.Zero);
        Assert.That(Ports.ConfigRead(0, 0, 0).Dword, Is.EqualTo(0x1042_1AF4), "alive");
    }

    // Byte enables of 2.2.5, a boundary of 4 KiB with a short and with a long address, a digest.
    [TestCase(0x0000_0001u, 0x1Fu, 0u, 0x20u)]
    [TestCase(0x0000_0002u, 0x0Fu, 0u, 0x20u)]
    [TestCase(0x0000_0002u, 0xF0u, 0u, 0x20u)]
    [TestCase(0x0000_0002u, 0xFFu, 0u, 0xFFCu)]
    [TestCase(0x2000_0002u, 0xFFu, 1u, 0xFFCu)]
    [TestCase(0x0000_0000u, 0xFFu, 0u, 0x004u)]
    [TestCase(0x0000_8001u, 0x0Fu, 0u, 0x20u)]
    [TestCase(0x0400_0001u, 0xF0u, 0u, 0x100u)]
    public void Read_ThatIsMalformed_IsDropped(uint dw0, uint enables, uint high, uint offset)
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Enable();
        Ports.Settle();
        int before = Ports.Log.Count;
        uint low = dw0 >> 24 == 4 ? 0x0100_0000 : driver.Bar0 + offset;
        Ports.SendRaw(0, dw0, 0x0000_5500 | enables, high == 0 ? low : high, high == 0 ? 0 : low);
        Ports.Settle();
        Assert.That(Ports.Log.Skip(before), Is.Empty);
        Ports.SendRaw(0, dw0, 0x0000_5500 | enables, high == 0 ? low : high, high == 0 ? 0 : low);
        Assert.That(Ports.MemoryRead(0, driver.Bar0 + 0xFF8, 8).Status, Is.EqualTo(CompletionStatus.SuccessfulCompletion), "up to the boundary");
    }

    [Test]
    public void Read_OfTwoDwordsAtALongAddress_IsUnsupported()
    {
        new VirtioDriver(Ports, 0).Enable();
        foreach (ulong address in new[] { 0x1_0000_0FF8ul, 0xC000_0020_0000_0008ul })
        {
            Assert.That(Ports.MemoryRead(0, address, 8).Status, Is.EqualTo(CompletionStatus.UnsupportedRequest), $"0x{address:x}");
        }
    }

    [Test]
    public void Requests_BackToBack_AreAnsweredInOrder()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Describe(VirtioDriver.Version1).Enable();
        byte[] tags = new byte[32];
        for (int i = 0; i < tags.Length; i++)
        {
            driver.SetCommon(VirtioDriver.QueueDesc, (uint)i, 4);
            tags[i] = Ports.NewTag();
            Ports.SendRead(0, tags[i], driver.Bar0 + VirtioDriver.QueueDesc, 4);
        }

        Answer[] answers = [.. tags.Select(tag => Ports.Await(0, tag))];
        Assert.That(answers.Select(a => a.Dword), Is.EqualTo(Enumerable.Range(0, 32).Select(i => (uint)i)), "a read sees the writes before it");
        Assert.That(answers.Select(a => a.Output.Cycle), Is.Ordered);
    }

    [Test]
    public void BackEndBar_AtItsEdges_IsDecoded()
    {
        Ports.ConfigWrite(1, 0, 0x10, (uint)BackEndBar);
        Ports.ConfigWrite(1, 0, 0x14, (uint)BackEndBar + 0x10000);
        Ports.ConfigWrite(1, 0, 0x04, 2, 0b0011);
        Assert.That(Ports.Read(1, BackEndBar, 4), Is.EqualTo(0x4353_494D));
        Assert.That(Ports.Read(1, BackEndBar + 0xFFFC, 4), Is.Zero);
        Assert.That(Ports.Read(1, BackEndBar + 0x8000, 4), Is.Zero, "not the first register again");
        Assert.That(Ports.Read(1, BackEndBar + 0x4000, 4), Is.Zero);
        Assert.That(Ports.Read(1, BackEndBar + 0x1000C, 4), Is.EqualTo(1), "Vector Control");
        Assert.That(Ports.MemoryRead(1, BackEndBar - 4, 4).Status, Is.EqualTo(CompletionStatus.UnsupportedRequest));
        Assert.That(Ports.MemoryRead(1, BackEndBar + 0x14000, 4).Status, Is.EqualTo(CompletionStatus.UnsupportedRequest));
    }
}
