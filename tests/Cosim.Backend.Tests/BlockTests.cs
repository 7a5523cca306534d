// SPDX-License-Identifier: Apache-2.0
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
    private const int Sectors = 2048;

    private string _folder = string.Empty;
    private string _image = string.Empty;
    private FakeFpga _fpga = null!;
    private BlockBackend _block = null!;
    private RunningBackend _backend = null!;
    private FrontEndQueue _queue = null!;

    [SetUp]
    public void Start()
    {
        _folder = Directory.CreateTempSubdirectory("blk").FullName;
        _image = Path.Combine(_folder, "image");
        byte[] content = new byte[Sectors * 512];
        new Random(11).NextBytes(content);
        File.WriteAllBytes(_image, content);
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
    public void Discard_OneRange_IsAnswered(ulong sector, uint count, uint flags, int status)
    {
        byte[] range = [.. Bytes.U64(sector), .. Bytes.U32(count, flags)];

        Assert.That(_queue.Exchange(Request(Discard, 0, range), 1), Is.EqualTo(new[] { (byte)status }));
    }

    [Test]
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
        _block = new BlockBackend(_image, readOnly, "disk-7", 32 << 20, text => _backend.Reports.Enqueue(text));
        _backend = new RunningBackend(_fpga, _block);
        ulong features = VirtioFeatures.Version1 | VirtioFeatures.RingIndirectDesc | (eventIdx ? VirtioFeatures.RingEventIdx : 0);
        _queue = FrontEndQueue.Enable(_fpga, 0, 0, 128, features);
    }

    private void StopBackend()
    {
        _backend.Dispose();
        _block.Dispose();
        _fpga.Dispose();
    }
}
