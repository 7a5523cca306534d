// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.VfioUser.Tests;

/// <summary>DMA_MAP and DMA_UNMAP, and access to what they lend.</summary>
public sealed class DmaTests
{
    private const ulong Page = 4096;

    private ServerHost _host = null!;
    private VfioUserClient _client = null!;
    private SharedMemory _memory = null!;

    [SetUp]
    public void Connect()
    {
        _host = new ServerHost();
        _client = _host.Connect();
        _memory = new SharedMemory(16 * (long)Page);
    }

    [TearDown]
    public void Leave()
    {
        _client.Dispose();
        _host.Dispose();
        _memory.Dispose();
    }

    [Test]
    [Clause("vfio-user DMA_MAP-3")]
    [Clause("vfio-user DMA_MAP-5")]
    [Clause("vfio-user DMA_MAP-8")]
    public void Map_WithDescriptor_IsReadAndWrittenDirectly()
    {
        _client.Map(_memory, Page, 0x10_0000, Page);
        "there"u8.CopyTo(_memory.Span((long)Page + 10, 5));

        Assert.That(Write(0x10_0000, "here"), Is.EqualTo(DmaResult.Ok));
        byte[] read = new byte[5];
        Assert.That(Read(0x10_000A, read), Is.EqualTo(DmaResult.Ok));

        Assert.That(read, Is.EqualTo("there"u8.ToArray()));
        Assert.That(_memory.Span((long)Page, 4).ToArray(), Is.EqualTo("here"u8.ToArray()));
        Assert.That(_host.Device.Next(), Is.EqualTo("map 100000-100fff"));
    }

    [Test]
    public void Map_Adjacent_AreCrossedByOneAccess()
    {
        _client.Map(_memory, 4 * Page, 0x1000, Page);
        _client.Map(_memory, 0, 0x2000, 2 * Page);
        _client.Map(_memory, 8 * Page, 0x4000, Page);
        byte[] data = new byte[4 * Page];
        new Random(3).NextBytes(data);

        Assert.That(Write(0x1000, data), Is.EqualTo(DmaResult.Ok));
        byte[] read = new byte[data.Length - 2];
        Assert.That(Read(0x1001, read), Is.EqualTo(DmaResult.Ok));

        Assert.That(read.AsSpan().SequenceEqual(data.AsSpan(1, read.Length)), Is.True);
        Assert.That(_memory.Span(0, (int)(2 * Page)).SequenceEqual(data.AsSpan((int)Page, (int)(2 * Page))), Is.True);
    }

    [TestCase(0xFFFul, 2, DmaResult.Unmapped)]
    [TestCase(0x1FFFul, 2, DmaResult.Unmapped)]
    [TestCase(0x1FFFul, 1, DmaResult.Ok)]
    [TestCase(0x0ul, 1, DmaResult.Unmapped)]
    [TestCase(ulong.MaxValue, 1, DmaResult.Unmapped)]
    [TestCase(ulong.MaxValue, 2, DmaResult.Unmapped)]
    [TestCase(0x1800ul, 0, DmaResult.Ok)]
    [Clause("vfio-user DMA_MAP-4")]
    public void Access_AtTheEdges_IsCheckedAgainstTheMap(ulong address, int length, DmaResult expected)
    {
        _client.Map(_memory, 0, 0x1000, Page);
        byte[] data = [.. Enumerable.Repeat((byte)0xEE, length)];

        Assert.That(Write(address, data), Is.EqualTo(expected));
        Assert.That(Read(address, data), Is.EqualTo(expected));
        Assert.That(_memory.Span(0, (int)Page).IndexOf((byte)0xEE) >= 0, Is.EqualTo(expected == DmaResult.Ok && length > 0), "nothing touched unless Ok");
    }

    [Test]
    [Clause("vfio-user DMA_MAP-2")]
    public void Access_AgainstThePermission_IsDenied()
    {
        _client.Map(_memory, 0, 0x1000, Page, DmaAccess.Read);
        _client.Map(_memory, Page, 0x2000, Page, DmaAccess.Write);

        Assert.That(Write(0x1000, new byte[4]), Is.EqualTo(DmaResult.Denied));
        Assert.That(Read(0x1000, new byte[4]), Is.EqualTo(DmaResult.Ok));
        Assert.That(Read(0x2000, new byte[4]), Is.EqualTo(DmaResult.Denied));
        Assert.That(Write(0x2000, new byte[4]), Is.EqualTo(DmaResult.Ok));
        Assert.That(Read(0x1FFE, new byte[4]), Is.EqualTo(DmaResult.Denied));
    }

    [Test]
    [Clause("vfio-user DMA_MAP-6")]
    public void Access_MappedWithoutDescriptor_IsRemote()
    {
        _client.Map(-1, 0, 0x1000, Page);

        Assert.That(Read(0x1000, new byte[4]), Is.EqualTo(DmaResult.Remote));
        Assert.That(Write(0x1000, new byte[4]), Is.EqualTo(DmaResult.Remote));
    }

    [Test]
    [Clause("vfio-user DMA_MAP-13")]
    public void Access_AfterTheFileShrank_Faults()
    {
        _client.Map(_memory, 0, 0x1000, 4 * Page);
        byte[] data = new byte[2 * Page];
        Assert.That(Read(0x1000, data), Is.EqualTo(DmaResult.Ok));

        _memory.Truncate((long)Page);

        Assert.That(Read(0x1000, data), Is.EqualTo(DmaResult.Faulted));
        Assert.That(Write(0x3000, new byte[4]), Is.EqualTo(DmaResult.Faulted));
        Assert.That(Read(0x1000, new byte[16]), Is.EqualTo(DmaResult.Ok), "what is left still works");
        _memory.Truncate(4 * (long)Page);
        Assert.That(Write(0x3000, new byte[4]), Is.EqualTo(DmaResult.Ok), "and the rest when it is back");
    }

    [TestCase(0ul, 17ul, TestName = "Map_LongerThanTheFile_IsRefused")]
    [TestCase(16ul, 1ul, TestName = "Map_OffsetAtTheEndOfTheFile_IsRefused")]
    [TestCase(0xF_FFFF_FFFF_FFFFul, 1ul, TestName = "Map_OffsetNear2To64_IsRefused")]
    [TestCase(1ul, 0xF_FFFF_FFFF_FFFEul, TestName = "Map_SizeNear2To64_IsRefused")]
    [Clause("vfio-user DMA_MAP-9")]
    public void Map_BeyondTheFile_IsRefused(ulong offsetPages, ulong pages)
    {
        int before = ConnectionTests.OpenDescriptors();

        AssertRefused(() => _client.Map(_memory, offsetPages * Page, 0, pages * Page), Errno.EINVAL);

        Assert.That(_host.OnLoop(() => _host.Server.Memory.Count), Is.Zero);
        Assert.That(ConnectionTests.OpenDescriptors(), Is.EqualTo(before));
    }

    [TestCase(0ul, 0x1001ul, Page)]
    [TestCase(0ul, 0x1000ul, 100ul)]
    [TestCase(1ul, 0x1000ul, Page)]
    [Clause("vfio-user DMA_MAP-10")]
    public void Map_NotOfWholePages_IsRefused(ulong offset, ulong address, ulong size) =>
        AssertRefused(() => _client.Map(_memory, offset, address, size), Errno.EINVAL);

    [Test]
    [Clause("vfio-user DMA_MAP-9")]
    public void Map_NoFile_IsRefused()
    {
        using EventFd other = new();

        AssertRefused(() => _client.Map(other.Fd, 0, 0x1000, Page), Errno.EINVAL);
    }

    [Test]
    [Clause("vfio-user DMA_MAP-9")]
    public void Map_TwoDescriptors_IsRefused() =>
        AssertRefused(() => _client.Request(VfioUserCommand.DmaMap, Bytes.Map(32, 3, 0, 0x1000, Page), [_memory.Fd, _memory.Fd]), Errno.EINVAL);

    [TestCase(0x1000ul, 1ul)]
    [TestCase(0x0ul, 2ul)]
    [TestCase(0x2000ul, 3ul)]
    [TestCase(0x0ul, 10ul)]
    [Clause("vfio-user DMA_MAP-7")]
    public void Map_OverAnotherRange_IsRefused(ulong address, ulong pages)
    {
        _client.Map(_memory, 0, 0x1000, 2 * Page);

        AssertRefused(() => _client.Map(_memory, 0, address, pages * Page), Errno.EEXIST);
    }

    [Test]
    [Clause("vfio-user DMA_MAP-11")]
    [Clause("vfio-user VERSION-10")]
    public void Map_BeyondMaxDmaMaps_IsRefused()
    {
        using ServerHost host = new(new VfioUserServerOptions { MaxDmaMaps = 2 });
        using VfioUserClient client = host.Connect();
        client.Map(_memory, 0, 0, Page);
        client.Map(_memory, 0, Page, Page);

        AssertRefused(() => client.Map(_memory, 0, 2 * Page, Page), Errno.ENOSPC);
    }

    [Test]
    [Clause("vfio-user DMA_MAP-4")]
    public void Map_UpTo2To64_IsMapped()
    {
        _client.Map(_memory, 0, unchecked(0ul - Page), Page);

        Assert.That(Write(ulong.MaxValue, [7]), Is.EqualTo(DmaResult.Ok));
        Assert.That(_memory.Span((long)Page - 1, 1)[0], Is.EqualTo(7));
        Assert.That(Write(ulong.MaxValue, [7, 8]), Is.EqualTo(DmaResult.Unmapped));
    }

    [Test]
    [Clause("vfio-user DMA_UNMAP-3")]
    public void Unmap_UpTo2To64HoldingNothing_Succeeds()
    {
        _client.Map(_memory, 0, 0x1000, Page);

        _client.Unmap(0xFEF0_0000, 0xFFFF_FFFF_0110_0000);

        Assert.That(Read(0x1000, new byte[1]), Is.EqualTo(DmaResult.Ok));
    }

    [Test]
    [Clause("vfio-user DMA_UNMAP-4")]
    [Clause("vfio-user DMA_UNMAP-6")]
    public void Unmap_RangeHoldingSeveral_RemovesThose()
    {
        for (ulong page = 0; page < 8; page++)
        {
            _client.Map(_memory, page * Page, page * 2 * Page, Page);
        }

        VfioUserReply reply = _client.Request(VfioUserCommand.DmaUnmap, Bytes.Unmap(24, 0, 3 * Page, 7 * Page));

        Assert.That(reply.Payload, Is.EqualTo(Bytes.Unmap(24, 0, 3 * Page, 7 * Page)));
        Assert.That(
            Enumerable.Range(0, 8).Select(page => Read((ulong)page * 2 * Page, new byte[1]) == DmaResult.Ok),
            Is.EqualTo(new[] { true, true, false, false, false, true, true, true }));
    }

    [TestCase(0x1000ul, 1ul)]
    [TestCase(0x2000ul, 1ul)]
    [TestCase(0x0ul, 2ul)]
    [TestCase(0x2000ul, 5ul)]
    [Clause("vfio-user DMA_UNMAP-4")]
    public void Unmap_CuttingARangeInTwo_IsRefusedAndChangesNothing(ulong address, ulong pages)
    {
        _client.Map(_memory, 0, 0x1000, 3 * Page);

        AssertRefused(() => _client.Unmap(address, pages * Page), Errno.EINVAL);

        Assert.That(Read(0x1000, new byte[3 * Page]), Is.EqualTo(DmaResult.Ok));
    }

    [Test]
    [Clause("vfio-user DMA_UNMAP-2")]
    public void UnmapAll_Always_LeavesNothing()
    {
        _client.Map(_memory, 0, 0, Page);
        _client.Map(_memory, 0, unchecked(0ul - Page), Page);

        _client.UnmapAll();

        Assert.That(_host.OnLoop(() => _host.Server.Memory.Count), Is.Zero);
        _client.Map(_memory, 0, 0, Page);
    }

    [Test]
    [Clause("vfio-user DMA_UNMAP-5")]
    public void Unmap_HeldByTheDevice_KeepsTheRangeUntilCompleted()
    {
        _client.Map(_memory, 0, 0x1000, Page);
        _host.Device.HoldUnmaps = true;
        _client.Send(VfioUserCommand.DmaUnmap, Bytes.Unmap(24, 0, 0x1000, Page));
        _client.Send(VfioUserCommand.DmaMap, Bytes.Map(32, 3, Page, 0x1000, Page), [_memory.Fd]);
        RequestToken token = _host.Device.NextHeld();

        Assert.That(Write(0x1000, "late"), Is.EqualTo(DmaResult.Ok));
        _host.OnLoop(() => _host.Server.CompleteUnmap(token));

        Assert.That(_client.Receive().Command, Is.EqualTo(VfioUserCommand.DmaUnmap));
        Assert.That(_client.Receive().IsError, Is.False, "the map that waited behind it");
        Assert.That(Write(0x1000, "next"), Is.EqualTo(DmaResult.Ok));
        Assert.That(_memory.Span(0, 4).ToArray(), Is.EqualTo("late"u8.ToArray()));
        Assert.That(_memory.Span((long)Page, 4).ToArray(), Is.EqualTo("next"u8.ToArray()));
    }

    [Test]
    [Clause("vfio-user DMA_UNMAP-5")]
    public void MapAndUnmap_Repeated_KeepNoDescriptorAndNoMapping()
    {
        int descriptors = ConnectionTests.OpenDescriptors();
        int Mappings() => File.ReadLines("/proc/self/maps").Count(line => line.Contains("memfd:shared", StringComparison.Ordinal));
        int mappings = Mappings();
        for (int round = 0; round < 100; round++)
        {
            _client.Map(_memory, 0, 0x1000, 2 * Page);
            _client.Unmap(0x1000, 2 * Page);
        }

        Assert.That(ConnectionTests.OpenDescriptors(), Is.EqualTo(descriptors));
        Assert.That(Mappings(), Is.EqualTo(mappings));
    }

    private static void AssertRefused(Action action, Errno expected) =>
        Assert.That(action, Throws.TypeOf<VfioUserException>().With.Property("Error").EqualTo(expected));

    private DmaResult Write(ulong address, string text) => Write(address, System.Text.Encoding.ASCII.GetBytes(text));

    private DmaResult Write(ulong address, byte[] data) => _host.OnLoop(() => _host.Server.Memory.Write(address, data));

    private DmaResult Read(ulong address, byte[] data) => _host.OnLoop(() => _host.Server.Memory.Read(address, data));
}
