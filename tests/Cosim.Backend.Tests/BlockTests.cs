// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;
using Cosim.Virtio;
using NUnit.Framework;

namespace Cosim.Backend.Tests;

/// <summary>virtio-blk through the whole back end: mailbox, ring, image.</summary>
[TestFixture(false)]
[TestFixture(true)]
public sealed class BlockTests(bool eventIdx)
{
    private const uint In = 0;
    private const uint Out = 1;
    private const uint Flush = 4;
    private const uint GetId = 8;
    private const uint Discard = 11;
    private const uint WriteZeroes = 13;
    private const uint SecureErase = 14;
    private const int Sectors = 2048;

    private string _folder = string.Empty;
    private string _image = string.Empty;
    private FakeFpga _fpga = null!;
    private BlockBackend _block = null!;
    private RunningBackend _backend = null!;
    private FrontEndQueue _queue = null!;
    private BlockOptions _options = null!;

    [SetUp]
    public void Start()
    {
        _folder = Directory.CreateTempSubdirectory("blk").FullName;
        _image = Path.Combine(_folder, "image");
        byte[] content = new byte[Sectors * 512];
        new Random(11).NextBytes(content);
        File.WriteAllBytes(_image, content);
        _options = new BlockOptions { Path = _image };
        Start(readOnly: false);
    }

    [TearDown]
    public void Stop()
    {
        StopBackend();
        Directory.Delete(_folder, recursive: true);
    }

    [Test]
    public void Read_Sectors_GivesWhatTheImageHolds()
    {
        byte[] answer = _queue.Exchange(Request(In, 5), 1024 + 1);

        Assert.That(answer[^1], Is.Zero);
        Assert.That(answer.AsSpan(0, 1024).SequenceEqual(File.ReadAllBytes(_image).AsSpan(5 * 512, 1024)), Is.True);
    }

    [Test]
    public void Write_ThenFlush_IsInTheImage()
    {
        byte[] data = new byte[64 * 512];
        new Random(12).NextBytes(data);

        Assert.That(_queue.Exchange(Request(Out, 100, data), 1), Is.EqualTo(new byte[] { 0 }));
        Assert.That(_queue.Exchange(Request(Flush, 0), 1), Is.EqualTo(new byte[] { 0 }));

        Assert.That(File.ReadAllBytes(_image).AsSpan(100 * 512, data.Length).SequenceEqual(data), Is.True);
        Assert.That(new FileInfo(_image).Length, Is.EqualTo(Sectors * 512));
    }

    [Test]
    public void Request_InManyOddPieces_IsTheSameRequest()
    {
        byte[] data = new byte[512];
        Array.Fill(data, (byte)0x5A);
        byte[] message = Request(Out, 7, data);
        FrontEndQueue.Write(_fpga, _queue.Buffers, message);
        ulong status = _queue.Buffers + 0x1000;
        ushort[] cuts = [0, 3, 16, 17, 300, (ushort)message.Length];
        for (ushort piece = 0; piece < 5; piece++)
        {
            _queue.Describe(piece, _queue.Buffers + cuts[piece], (uint)(cuts[piece + 1] - cuts[piece]), DescriptorFlags.Next, (ushort)(piece + 1));
        }

        _queue.Describe(5, status, 1, DescriptorFlags.Write);
        _queue.Offer(0);

        Assert.That(_queue.WaitUsed(), Is.EqualTo((0u, 1u)));
        Assert.That(File.ReadAllBytes(_image).AsSpan(7 * 512, 512).SequenceEqual(data), Is.True);
    }

    [Test]
    public void Request_InAnIndirectTable_IsServed()
    {
        ulong table = _queue.Buffers + 0x2000;
        byte[] entries = new byte[3 * Descriptor.Size];
        new Descriptor(_queue.Buffers, 16, DescriptorFlags.Next, 1).Write(entries);
        new Descriptor(_queue.Buffers + 0x4000, 512, DescriptorFlags.Next | DescriptorFlags.Write, 2).Write(entries.AsSpan(16));
        new Descriptor(_queue.Buffers + 0x5000, 1, DescriptorFlags.Write, 0).Write(entries.AsSpan(32));
        FrontEndQueue.Write(_fpga, table, entries);
        FrontEndQueue.Write(_fpga, _queue.Buffers, Request(In, 3));
        _queue.Describe(9, table, (uint)entries.Length, DescriptorFlags.Indirect);

        _queue.Offer(9);

        Assert.That(_queue.WaitUsed(), Is.EqualTo((9u, 513u)));
        Assert.That(
            FrontEndQueue.Read(_fpga, _queue.Buffers + 0x4000, 512).AsSpan().SequenceEqual(File.ReadAllBytes(_image).AsSpan(3 * 512, 512)), Is.True);
    }

    [TestCase(In, (ulong)Sectors, 512, 1, TestName = "Read_BeyondTheEnd_IsAnIoError")]
    [TestCase(In, (ulong)Sectors - 1, 1024, 1, TestName = "Read_AcrossTheEnd_IsAnIoError")]
    [TestCase(In, ulong.MaxValue, 512, 1, TestName = "Read_SectorNear2To64_IsAnIoError")]
    [TestCase(In, 0x0080_0000_0000_0000ul, 512, 1, TestName = "Read_SectorThatOverflowsBytes_IsAnIoError")]
    [TestCase(In, 0ul, 100, 1, TestName = "Read_PartOfASector_IsAnIoError")]
    [TestCase(77u, 0ul, 512, 2, TestName = "Request_Unknown_IsUnsupported")]
    public void Request_Wrong_IsAnsweredWithoutStaleData(uint type, ulong sector, int room, int status)
    {
        byte[] answer = _queue.Exchange(Request(type, sector), room + 1);

        Assert.That(answer, Has.Length.EqualTo(room + 1));
        Assert.That(answer[^1], Is.EqualTo(status));
        Assert.That(answer.AsSpan(0, room).IndexOfAnyExcept((byte)0), Is.Negative, "nothing of what lay in the buffer before");
    }

    [Test]
    public void Write_BeyondTheEnd_IsAnIoErrorAndTheImageKeepsItsSize()
    {
        Assert.That(_queue.Exchange(Request(Out, Sectors - 1, new byte[1024]), 1), Is.EqualTo(new byte[] { 1 }));
        Assert.That(new FileInfo(_image).Length, Is.EqualTo(Sectors * 512));
    }

    [Test]
    public void Read_OfAnImageThatShrank_IsAnIoErrorAndReported()
    {
        using (FileStream stream = new(_image, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            stream.SetLength(512);
        }

        Assert.That(_queue.Exchange(Request(In, 10), 513)[^1], Is.EqualTo(1));
        Assert.That(_backend.Reports, Has.Some.Contains("sector 10"));
        Assert.That(_queue.Exchange(Request(In, 0), 513)[^1], Is.Zero, "the rest goes on");
    }

    [Test]
    public void GetId_Always_GivesTheSerial()
    {
        byte[] answer = _queue.Exchange(Request(GetId, 0), 21);

        Assert.That(answer, Is.EqualTo((byte[])[.. "disk-7"u8, .. new byte[15]]));
    }

    [TestCase(0u)]
    [TestCase(1u)]
    [Clause("virtio 5.2.6.2-5")]
    public void WriteZeroes_TwoRanges_AreZeroAndNothingElse(uint flags)
    {
        byte[] before = File.ReadAllBytes(_image);
        byte[] ranges = [.. Bytes.U64(8), .. Bytes.U32(16, flags), .. Bytes.U64(1000), .. Bytes.U32(1, flags)];

        Assert.That(_queue.Exchange(Request(WriteZeroes, 0, ranges), 1), Is.EqualTo(new byte[] { 0 }));

        before.AsSpan(8 * 512, 16 * 512).Clear();
        before.AsSpan(1000 * 512, 512).Clear();
        Assert.That(File.ReadAllBytes(_image).AsSpan().SequenceEqual(before), Is.True);
    }

    [TestCase(8ul, 16u, 0u, 0)]
    [TestCase(8ul, 16u, 1u, 2, Description = "unmap is not for discard")]
    [TestCase(8ul, 16u, 2u, 2, Description = "reserved flag")]
    [TestCase((ulong)Sectors, 1u, 0u, 1)]
    [TestCase(0ul, 100_000u, 0u, 1)]
    [Clause("virtio 5.2.6.2-4")]
    public void Discard_OneRange_IsAnswered(ulong sector, uint count, uint flags, int status)
    {
        byte[] range = [.. Bytes.U64(sector), .. Bytes.U32(count, flags)];

        Assert.That(_queue.Exchange(Request(Discard, 0, range), 1), Is.EqualTo(new[] { (byte)status }));
    }

    [Test]
    [Clause("virtio 5.2.6.2-2")]
    public void ReadOnly_Writes_AreRefusedAndTheFeatureIsOffered()
    {
        StopBackend();
        Start(readOnly: true);
        byte[] before = File.ReadAllBytes(_image);

        Assert.That(BitConverter.ToUInt64(_fpga.Ask(MailboxRequest.GetFeatures)) & (1 << 5), Is.Not.Zero);
        Assert.That(_queue.Exchange(Request(Out, 0, new byte[512]), 1), Is.EqualTo(new byte[] { 1 }));
        Assert.That(_queue.Exchange(Request(WriteZeroes, 0, [.. Bytes.U64(0), .. Bytes.U32(1, 0)]), 1), Is.EqualTo(new byte[] { 1 }));
        Assert.That(_queue.Exchange(Request(In, 0), 513)[^1], Is.Zero);
        Assert.That(File.ReadAllBytes(_image).AsSpan().SequenceEqual(before), Is.True);
    }

    [TestCase(Discard, 2u)]
    [TestCase(Discard, 0x8000_0000u)]
    [TestCase(SecureErase, 0u)]
    [TestCase(SecureErase, 1u)]
    [TestCase(WriteZeroes, 2u)]
    [TestCase(WriteZeroes, 0x8000_0001u)]
    [Clause("virtio 5.2.6.2-3")]
    public void Ranges_OneWithAnUnknownFlag_AreUnsupportedAndNothingIsDone(uint type, uint flags)
    {
        byte[] before = File.ReadAllBytes(_image);
        byte[] ranges = [.. Bytes.U64(8), .. Bytes.U32(16, 0), .. Bytes.U64(100), .. Bytes.U32(1, flags)];

        Assert.That(_queue.Exchange(Request(type, 0, ranges), 1), Is.EqualTo(new byte[] { 2 }));
        Assert.That(File.ReadAllBytes(_image).AsSpan().SequenceEqual(before), Is.True);
    }

    [TestCase(0, 2, TestName = "Ranges_None_AreUnsupported")]
    [TestCase(15, 2, TestName = "Ranges_NotWhole_AreUnsupported")]
    [TestCase(17 * 16, 2, TestName = "Ranges_MoreThanAllowed_AreUnsupported")]
    [TestCase(16 * 16, 0, TestName = "Ranges_AsManyAsAllowed_AreCarriedOut")]
    public void Ranges_OfSomeLength_AreAnswered(int bytes, int status) =>
        Assert.That(_queue.Exchange(Request(WriteZeroes, 0, new byte[bytes]), 1), Is.EqualTo(new[] { (byte)status }));

    [TestCase(10u, TestName = "Request_Lifetime_IsUnsupported")]
    [TestCase(15u, TestName = "Request_ZoneAppend_IsUnsupported")]
    [TestCase(16u, TestName = "Request_ZoneReport_IsUnsupported")]
    [TestCase(18u, TestName = "Request_ZoneOpen_IsUnsupported")]
    [TestCase(20u, TestName = "Request_ZoneClose_IsUnsupported")]
    [TestCase(22u, TestName = "Request_ZoneFinish_IsUnsupported")]
    [TestCase(24u, TestName = "Request_ZoneReset_IsUnsupported")]
    [TestCase(26u, TestName = "Request_ZoneResetAll_IsUnsupported")]
    [Clause("virtio 5.2.6.2-12")]
    public void Request_OfAFeatureNotOffered_IsUnsupported(uint type) =>
        Assert.That(_queue.Exchange(Request(type, 0), 513)[^1], Is.EqualTo(2));

    [Test]
    public void Request_ShorterThanItsHeader_IsAnIoError() =>
        Assert.That(_queue.Exchange(Request(In, 0)[..15], 513)[^1], Is.EqualTo(1));

    [Test]
    public void Request_WithoutRoomForItsStatus_IsUsedWithNothingWritten()
    {
        byte[] before = File.ReadAllBytes(_image);

        Assert.That(_queue.Exchange(Request(77, 0), 0), Is.Empty);
        Assert.That(_queue.Exchange(Request(Flush, 0), 1), Is.EqualTo(new byte[] { 0 }), "the queue goes on");
        Assert.That(File.ReadAllBytes(_image).AsSpan().SequenceEqual(before), Is.True);
    }

    [Test]
    [Clause("virtio 5.2.5.2-1")]
    [Clause("virtio 5.2.5.2-3")]
    [Clause("virtio 5.2.5.2-4")]
    [Clause("virtio 5.2.6.2-10")]
    public void Configuration_OfADiskWithTopology_SaysIt()
    {
        Restart(_options with { LogicalBlockSize = 1024, PhysicalBlockSize = 4096, OptimalSize = 65536, Queues = 3 });

        ulong features = BitConverter.ToUInt64(_fpga.Ask(MailboxRequest.GetFeatures));
        byte[] configuration = Configuration();

        // SIZE_MAX, SEG_MAX, GEOMETRY, BLK_SIZE, FLUSH, TOPOLOGY, CONFIG_WCE, MQ, DISCARD, WRITE_ZEROES; no RO, LIFETIME, SECURE_ERASE, ZONED.
        Assert.That(features & 0xFF_FFFF, Is.EqualTo(0x7E56));
        Assert.That(configuration, Is.EqualTo((byte[])
        [
            .. Bytes.U64(Sectors), // capacity
            .. Bytes.U32(32768, 126), // size_max, seg_max
            .. Bytes.U16(Sectors / (16 * 63)), 16, 63, // cylinders, heads, sectors
            .. Bytes.U32(1024), // blk_size
            2, 0, .. Bytes.U16(4), .. Bytes.U32(64), // physical_block_exp, alignment_offset, min_io_size, opt_io_size
            1, 0, .. Bytes.U16(3), // writeback, unused0, num_queues
            .. Bytes.U32(8192, 16, 8), // max_discard_sectors, max_discard_seg, discard_sector_alignment
            .. Bytes.U32(8192, 16), // max_write_zeroes_sectors, max_write_zeroes_seg
            configuration[56], 0, 0, 0, // write_zeroes_may_unmap, unused1
        ]));
    }

    [Test]
    public void Configuration_WithoutDiscard_OffersNoneAndRefusesIt()
    {
        Restart(_options with { Discard = false });

        Assert.That(BitConverter.ToUInt64(_fpga.Ask(MailboxRequest.GetFeatures)) & (1 << 13), Is.Zero);
        Assert.That(Configuration()[36..48], Is.EqualTo(new byte[12]));
        Assert.That(_queue.Exchange(Request(Discard, 0, [.. Bytes.U64(8), .. Bytes.U32(16, 0)]), 1), Is.EqualTo(new byte[] { 2 }));
    }

    [Test]
    [Clause("virtio 5.2.6.2-6")]
    public void WriteZeroes_WithUnmap_DeallocatesAsTheConfigurationSays()
    {
        long before = AllocatedBlocks();

        Assert.That(_queue.Exchange(Request(WriteZeroes, 0, [.. Bytes.U64(0), .. Bytes.U32(Sectors, 0)]), 1), Is.EqualTo(new byte[] { 0 }));
        long zeroed = AllocatedBlocks();
        Assert.That(_queue.Exchange(Request(WriteZeroes, 0, [.. Bytes.U64(0), .. Bytes.U32(Sectors, 1)]), 1), Is.EqualTo(new byte[] { 0 }));

        Assert.That(zeroed, Is.EqualTo(before), "without the flag the storage stays allocated");
        Assert.That(AllocatedBlocks() < before, Is.EqualTo(Configuration()[56] == 1));
    }

    [Test]
    public void Discard_OfHalfTheImage_GivesItsStorageBack()
    {
        long before = AllocatedBlocks();

        Assert.That(_queue.Exchange(Request(Discard, 0, [.. Bytes.U64(0), .. Bytes.U32(Sectors / 2, 0)]), 1), Is.EqualTo(new byte[] { 0 }));

        Assert.That(AllocatedBlocks(), Is.EqualTo(Configuration()[56] == 1 ? before / 2 : before));
        Assert.That(new FileInfo(_image).Length, Is.EqualTo(Sectors * 512));
    }

    // The features beyond VERSION_1 and the ring's: FLUSH and CONFIG_WCE, or one of them.
    [TestCase((1ul << 9) | (1 << 11), 1, 0, Description = "write-back: at the flush alone")]
    [TestCase((1ul << 9) | (1 << 11), 0, 3, Description = "write-through by the driver's choice")]
    [TestCase(1ul << 9, 1, 0, Description = "a driver that can flush")]
    [TestCase(0ul, 1, 3, Description = "a driver that can do neither")]
    [TestCase(1ul << 11, 1, 3, Description = "a driver that cannot flush")]
    [Clause("virtio 5.2.6.2-8")]
    public void Write_Done_IsOnTheStorageWhenItHasToBe(ulong features, byte writeback, int flushes)
    {
        Renegotiate(features);
        if (writeback == 0)
        {
            Assert.That(_fpga.Tell(MailboxRequest.SetConfig, 0, [.. Bytes.U32(32, 1, 0), 0]), Is.Zero);
        }

        long before = _block.Flushes;
        for (int request = 0; request < 2; request++)
        {
            Assert.That(_queue.Exchange(Request(Out, 0, new byte[512]), 1), Is.EqualTo(new byte[] { 0 }));
        }

        Assert.That(_queue.Exchange(Request(WriteZeroes, 0, [.. Bytes.U64(8), .. Bytes.U32(1, 0)]), 1), Is.EqualTo(new byte[] { 0 }));
        Assert.That(_block.Flushes - before, Is.EqualTo(flushes));
        Assert.That(_queue.Exchange(Request(Flush, 0), 1), Is.EqualTo(new byte[] { 0 }));
        Assert.That(_block.Flushes - before, Is.EqualTo(flushes + 1));
    }

    [Test]
    public void Writeback_SwitchedOff_FlushesWhatWasWritten()
    {
        Renegotiate((1ul << 9) | (1 << 11));
        Assert.That(_queue.Exchange(Request(Out, 0, new byte[512]), 1), Is.EqualTo(new byte[] { 0 }));
        long before = _block.Flushes;

        Assert.That(_fpga.Tell(MailboxRequest.SetConfig, 0, [.. Bytes.U32(32, 1, 0), 0]), Is.Zero);

        Assert.That(_block.Flushes, Is.EqualTo(before + 1));
        Assert.That(Configuration()[32], Is.Zero);
    }

    [Test]
    public void Writeback_AsTheDriverHadItOfAnotherBackEnd_HoldsAgain()
    {
        Assert.That(_fpga.Tell(MailboxRequest.SetFeatures, 0, Bytes.U64(VirtioFeatures.Version1 | (1ul << 9) | (1 << 11))), Is.Zero);
        Assert.That(_fpga.Tell(MailboxRequest.SetConfig, 0, [.. Bytes.U32(32, 1, 1), 0]), Is.Zero);
        long before = _block.Flushes;

        Assert.That(_queue.Exchange(Request(Out, 0, new byte[512]), 1), Is.EqualTo(new byte[] { 0 }));

        Assert.That(_block.Flushes, Is.EqualTo(before + 1), "written through");
    }

    [TestCase(32, new byte[] { 2 }, TestName = "Configuration_WritebackOfTwo_IsRefused")]
    [TestCase(0, new byte[] { 0xFF }, TestName = "Configuration_CapacityWritten_IsRefused")]
    [TestCase(32, new byte[] { 0, 1 }, TestName = "Configuration_BytesBehindWritebackWritten_AreRefused")]
    public void Configuration_WrongWrite_IsRefusedAndChangesNothing(int offset, byte[] data)
    {
        byte[] before = Configuration();

        Assert.That(_fpga.Tell(MailboxRequest.SetConfig, 0, [.. Bytes.U32((uint)offset, (uint)data.Length, 0), .. data]), Is.EqualTo(22));
        Assert.That(Configuration(), Is.EqualTo(before));
    }

    [Test]
    [Clause("virtio 5.2.5.2-2")]
    public void Negotiated_WriteBackSwitchWithoutFlush_StartsAsWriteThrough()
    {
        Assert.That(Configuration()[32], Is.EqualTo(1));

        _fpga.Send(MailboxRequest.SetFeatures, MailboxHeader.Version | MailboxHeader.NeedReply, 0, Bytes.U64(VirtioFeatures.Version1 | (1 << 11)));

        Assert.That(_fpga.NextMessage()[..8], Is.EqualTo(Bytes.U32(2, 1)), "CONFIG_CHANGE_MSG");
        Assert.That(_fpga.NextMessage()[16..], Is.EqualTo(new byte[8]));
        Assert.That(Configuration()[32], Is.Zero);
    }

    [Test]
    [Clause("virtio 5.2.6.2-1")]
    [Clause("virtio 5.2.6.2-7")]
    public void Capacity_OfAnImageThatGrowsAndShrinks_IsToldAndUsed()
    {
        byte before = Configuration()[56];
        foreach (int sectors in new[] { Sectors + 800, Sectors / 2 })
        {
            using (FileStream stream = new(_image, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
            {
                stream.SetLength(sectors * 512L);
            }

            Assert.That(_queue.Exchange(Request(In, Sectors), 513)[^1], Is.EqualTo(1), "not before the driver is told");
            Assert.That(_backend.Do(() => _block.Command(["capacity"])), Does.Contain($"{sectors} sectors"));
            Assert.That(_fpga.NextMessage()[0], Is.EqualTo(2), "CONFIG_CHANGE_MSG");
            byte[] configuration = Configuration();
            Assert.That(BitConverter.ToUInt64(configuration), Is.EqualTo(sectors));
            Assert.That(configuration[56], Is.EqualTo(before), "write_zeroes_may_unmap stays, and so is nothing to be told");
            Assert.That(_queue.Exchange(Request(In, (ulong)sectors - 1), 513)[^1], Is.Zero);
            Assert.That(_queue.Exchange(Request(In, (ulong)sectors), 513)[^1], Is.EqualTo(1));
        }

        Assert.That(_backend.Do(() => _block.Command(["capacity"])), Does.Contain("sectors"));
        _fpga.RunFor(20);
        Assert.That(_fpga.HasMessage, Is.False, "nothing has changed");
    }

    [Test]
    public void Capacity_OfAnImageWithABrokenSector_IsRefusedAndTheOldOneStays()
    {
        using (FileStream stream = new(_image, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            stream.SetLength((Sectors * 512) + 100);
        }

        Assert.That(
            _backend.Do(() => Assert.Throws<BackendException>(() => _block.Command(["capacity"]))!.Message), Does.Contain($"{(Sectors * 512) + 100} bytes"));
        Assert.That(BitConverter.ToUInt64(Configuration()), Is.EqualTo(Sectors));
    }

    [Test]
    public void Queues_OneOfThemBroken_TheOthersGoOn()
    {
        Restart(_options with { Queues = 3 });
        FrontEndQueue second = Enable(1, 0);
        FrontEndQueue third = Enable(2, 0);
        second.Describe(0, second.Buffers, 16, DescriptorFlags.Next, 0); // a loop
        second.Offer(0);
        _fpga.RunUntil(() => _backend.Reports.Any(report => report.Contains("queue 1", StringComparison.OrdinalIgnoreCase)), "the broken queue is reported");

        byte[] one = _queue.Exchange(Request(In, 1), 513);
        byte[] other = third.Exchange(Request(In, 1), 513);

        Assert.That(other.AsSpan().SequenceEqual(one), Is.True);
        Assert.That(other.AsSpan(0, 512).SequenceEqual(File.ReadAllBytes(_image).AsSpan(512, 512)), Is.True);
        Assert.That(second.HasUsed, Is.False);
    }

    [Test]
    public void Queue_MoreThan65536Buffers_GoesOn()
    {
        FrontEndQueue.Write(_fpga, _queue.Buffers, Request(In, 1));
        for (ushort pair = 0; pair < 64; pair++)
        {
            _queue.Describe((ushort)(2 * pair), _queue.Buffers, 16, DescriptorFlags.Next, (ushort)((2 * pair) + 1));
            _queue.Describe((ushort)((2 * pair) + 1), _queue.Buffers + 0x1000, 513, DescriptorFlags.Write);
        }

        int used = 0;
        for (int offered = 0; offered < 66_000;)
        {
            for (int burst = 0; burst < 64 && offered < 66_000; burst++, offered++)
            {
                _queue.Offer((ushort)(2 * (offered % 64)));
            }

            while (used < offered)
            {
                (uint id, uint length) = _queue.WaitUsed();
                Assert.That((id, length), Is.EqualTo(((uint)(2 * (used % 64)), 513u)));
                used++;
            }
        }

        Assert.That(used, Is.EqualTo(66_000));
    }

    [Test]
    public void Call_WhenTheFrontEndWantsNone_IsLeftOut()
    {
        _queue.Exchange(Request(Flush, 0), 1);
        _fpga.RunFor(20);
        _ = _fpga.TakeDoorbells(0, 0);
        if (eventIdx)
        {
            // used_event far ahead of what will be used next.
            FrontEndQueue.Write(_fpga, _queue.Layout.UsedEvent, Bytes.U16(1000));
        }
        else
        {
            FrontEndQueue.Write(_fpga, _queue.Layout.Available, Bytes.U16(SplitVirtqueue.AvailableNoInterrupt));
        }

        _queue.Exchange(Request(Flush, 0), 1);
        _fpga.RunFor(20);

        Assert.That(_fpga.TakeDoorbells(0, 0), Is.Zero);
    }

    [Test]
    public void Call_AfterEachUsedBuffer_RingsTheDoorbell()
    {
        _queue.Exchange(Request(Flush, 0), 1);

        int rung = 0;
        _fpga.RunUntil(() => (rung += _fpga.TakeDoorbells(0, 0)) > 0, "the doorbell rings");
    }

    private static byte[] Request(uint type, ulong sector, byte[]? data = null) =>
        [.. Bytes.U32(type, 0), .. Bytes.U64(sector), .. data ?? []];

    private void Start(bool readOnly)
    {
        _fpga = new FakeFpga();
        _block = new BlockBackend(_options with { ReadOnly = readOnly, Serial = "disk-7" }, 32 << 20, text => _backend.Reports.Enqueue(text));
        _backend = new RunningBackend(_fpga, _block);
        _queue = Enable(0, 1 << 9);
    }

    private FrontEndQueue Enable(int queue, ulong features) => FrontEndQueue.Enable(
        _fpga, 0, queue, 128, VirtioFeatures.Version1 | VirtioFeatures.RingIndirectDesc | (eventIdx ? VirtioFeatures.RingEventIdx : 0) | features);

    // Another driver, after a reset.
    private void Renegotiate(ulong features)
    {
        Assert.That(_fpga.Tell(MailboxRequest.ResetDevice, 0, []), Is.Zero);
        _fpga.Send(MailboxRequest.SetFeatures, MailboxHeader.Version | MailboxHeader.NeedReply, 0, Bytes.U64(VirtioFeatures.Version1 | features));
        while (_fpga.NextMessage()[4] == 1)
        {
            // CONFIG_CHANGE_MSG, without REPLY: the reply is next.
        }

        _queue = Enable(0, features);
    }

    private void Restart(BlockOptions options)
    {
        StopBackend();
        _options = options;
        Start(readOnly: false);
    }

    private byte[] Configuration() => _fpga.Ask(MailboxRequest.GetConfig, 0, [.. Bytes.U32(0, 60, 0), .. new byte[60]])[12..];

    // What the file takes of its file system, in units of 512 bytes (stat(1), %b).
    private long AllocatedBlocks()
    {
        using Process stat = Process.Start(new ProcessStartInfo("stat", ["-c", "%b", _image]) { RedirectStandardOutput = true })!;
        return long.Parse(stat.StandardOutput.ReadToEnd(), CultureInfo.InvariantCulture);
    }

    private void StopBackend()
    {
        _backend.Dispose();
        _block.Dispose();
        _fpga.Dispose();
    }
}
