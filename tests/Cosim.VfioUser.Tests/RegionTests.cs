// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using NUnit.Framework;

namespace Cosim.VfioUser.Tests;

/// <summary>What a region offers beside messages: memory to map, and events in place of writes.</summary>
public sealed class RegionTests
{
    private const int Region = TestDevice.LargeRegion;
    private const ulong Page = 4096;

    private ServerHost _host = null!;
    private SharedMemory _memory = null!;

    [SetUp]
    public void Start()
    {
        _host = new ServerHost();
        _memory = new SharedMemory(TestDevice.LargeSize + (2 * (long)Page));
    }

    [TearDown]
    public void End()
    {
        _host.Dispose();
        _memory.Dispose();
    }

    [Test]
    [Clause("vfio-user GET_REGION_INFO-3")]
    [Clause("vfio-user GET_REGION_INFO-8")]
    [Clause("vfio-user GET_REGION_INFO-11")]
    public void GetRegionInfo_MemoryBehindAllOfIt_PassesADescriptor()
    {
        _host.Device.Memory = new RegionMemory(_memory.Fd, 2 * Page, []);
        using VfioUserClient client = _host.Connect();

        byte[] reply = client.Request(VfioUserCommand.DeviceGetRegionInfo, Request(32)).Payload;

        // argsz 32, flags read, write and mmap, index, cap_offset 0, size, offset
        Assert.That(reply, Is.EqualTo((byte[])[.. Bytes.U32(32, 7, Region, 0), .. Bytes.U64(TestDevice.LargeSize, 2 * Page)]));
        AssertIsTheMemory(client.TakeDescriptors());
        client.WriteUInt32(Region, 0, 7);
        Assert.That(client.ReadUInt32(Region, 0), Is.EqualTo(7), "by messages as well");
    }

    [Test]
    [Clause("vfio-user GET_REGION_INFO-4")]
    [Clause("vfio-user GET_REGION_INFO-6")]
    [Clause("vfio-user GET_REGION_INFO-9")]
    [Clause("vfio-user GET_REGION_INFO-10")]
    public void GetRegionInfo_MemoryBehindParts_ListsTheParts()
    {
        _host.Device.Memory = new RegionMemory(_memory.Fd, 0, [new RegionArea(Page, Page), new RegionArea(4 * Page, 2 * Page)]);
        using VfioUserClient client = _host.Connect();

        byte[] reply = client.Request(VfioUserCommand.DeviceGetRegionInfo, Request(200)).Payload;

        byte[] expected =
        [
            .. Bytes.U32(80, 15, Region, 32), // argsz, flags with mmap and caps, index, cap_offset
            .. Bytes.U64(TestDevice.LargeSize, 0), // size, offset
            .. Bytes.U32(0x0001_0001, 0), // sparse mmap, version 1; next: none
            .. Bytes.U32(2, 0), // areas, reserved
            .. Bytes.U64(Page, Page, 4 * Page, 2 * Page),
        ];
        Assert.That(reply, Is.EqualTo(expected));
        AssertIsTheMemory(client.TakeDescriptors());
    }

    [Test]
    [Clause("vfio-user Sizes-2")]
    [Clause("vfio-user Sizes-3")]
    [Clause("vfio-user GET_REGION_INFO-1")]
    public void GetRegionInfo_WithoutRoomForTheParts_SaysHowMuchIsNeeded()
    {
        _host.Device.Memory = new RegionMemory(_memory.Fd, 0, [new RegionArea(Page, Page)]);
        using VfioUserClient client = _host.Connect();

        byte[] reply = client.Request(VfioUserCommand.DeviceGetRegionInfo, Request(63)).Payload;

        Assert.That(reply, Is.EqualTo((byte[])[.. Bytes.U32(64, 3, Region, 0), .. Bytes.U64(TestDevice.LargeSize, 0)]));
        Assert.That(client.TakeDescriptors(), Is.Empty);
    }

    [Test]
    [Clause("vfio-user VERSION-8")]
    public void GetRegionInfo_ClientThatTakesNoDescriptors_IsOfferedNoMemory()
    {
        _host.Device.Memory = new RegionMemory(_memory.Fd, 0, []);
        using VfioUserClient client = _host.ConnectRaw();
        _ = client.Request(VfioUserCommand.Version, Bytes.Version(0, "{\"capabilities\":{\"max_msg_fds\":0}}\0"));

        Assert.That(client.GetRegion(Region).Flags, Is.EqualTo(RegionFlags.Read | RegionFlags.Write));
        Assert.That(client.TakeDescriptors(), Is.Empty);
    }

    [TestCase(0u)]
    [TestCase(1u)]
    [Clause("vfio-user IO_FDS-4")]
    public void GetRegionIoFds_NoDoorbells_HasNone(uint region)
    {
        using VfioUserClient client = _host.Connect();

        Assert.That(client.Request(VfioUserCommand.DeviceGetRegionIoFds, Bytes.U32(512, 0, region, 0)).Payload, Is.EqualTo(Bytes.U32(16, 0, region, 0)));
    }

    [Test]
    [Clause("vfio-user IO_FDS-1")]
    [Clause("vfio-user IO_FDS-3")]
    [Clause("vfio-user IO_FDS-5")]
    [Clause("vfio-user IO_FDS-6")]
    public void GetRegionIoFds_Doorbells_AreWrittenByTheirEvents()
    {
        _host.Device.Doorbells = [new Doorbell(0x10, 2, 0), new Doorbell(0x14, 4, 0x0A0B0C0D)];
        using VfioUserClient client = _host.Connect();

        byte[] reply = client.Request(VfioUserCommand.DeviceGetRegionIoFds, Bytes.U32(512, 0, 0, 0)).Payload;
        int[] events = client.TakeDescriptors();

        byte[] expected =
        [
            .. Bytes.U32(96, 0, 0, 2),
            .. Bytes.U64(0x10, 2), .. Bytes.U32(0, 0, 1, 0), .. Bytes.U64(0),
            .. Bytes.U64(0x14, 4), .. Bytes.U32(1, 0, 1, 0), .. Bytes.U64(0x0A0B0C0D),
        ];
        Assert.That(reply, Is.EqualTo(expected));
        EventFd.Signal(events[1]);
        Assert.That(_host.Device.Next(), Is.EqualTo("write 0+14:4 posted"));
        EventFd.Signal(events[0]);
        Assert.That(_host.Device.Next(), Is.EqualTo("write 0+10:2 posted"));
        Assert.That(client.ReadUInt32(0, 0x14), Is.EqualTo(0x0A0B0C0D));
        Close(events);
    }

    [Test]
    [Clause("vfio-user IO_FDS-6")]
    public void Doorbell_WhileRequestsHaveToWait_WaitsToo()
    {
        _host.Device.Doorbells = [new Doorbell(0x10, 2, 5)];
        _host.Device.HoldResets = true;
        using VfioUserClient client = _host.Connect();
        _ = client.Request(VfioUserCommand.DeviceGetRegionIoFds, Bytes.U32(512, 0, 0, 0));
        int[] events = client.TakeDescriptors();
        client.Send(VfioUserCommand.DeviceReset, []);
        RequestToken reset = _host.Device.NextHeld();
        Assert.That(_host.Device.Next(), Is.EqualTo("reset"));

        EventFd.Signal(events[0]);
        EventFd.Signal(events[0]);
        _host.OnLoop(() => { });
        Assert.That(_host.Device.Events, Is.Empty);
        _host.OnLoop(() => _host.Server.CompleteReset(reset));

        Assert.That(_host.Device.Next(), Is.EqualTo("write 0+10:2 posted"));
        Close(events);
    }

    [Test]
    [Clause("vfio-user Sizes-3")]
    public void GetRegionIoFds_WithoutRoom_SaysHowMuchIsNeeded()
    {
        _host.Device.Doorbells = [new Doorbell(0x10, 2, 0)];
        using VfioUserClient client = _host.Connect();

        Assert.That(client.Request(VfioUserCommand.DeviceGetRegionIoFds, Bytes.U32(55, 0, 0, 0)).Payload, Is.EqualTo(Bytes.U32(56, 0, 0, 0)));
        Assert.That(client.TakeDescriptors(), Is.Empty);
    }

    [Test]
    [Clause("vfio-user IO_FDS-7")]
    public void GetRegionIoFds_MoreThanTheClientTakes_OffersThoseItTakes()
    {
        _host.Device.Doorbells = [.. Enumerable.Range(0, 20).Select(queue => new Doorbell((ulong)queue * 4, 2, (ulong)queue))];
        using VfioUserClient client = _host.ConnectRaw();
        _ = client.Request(VfioUserCommand.Version, Bytes.Version(0, "{\"capabilities\":{\"max_msg_fds\":3}}\0"));

        byte[] reply = client.Request(VfioUserCommand.DeviceGetRegionIoFds, Bytes.U32(4096, 0, 0, 0)).Payload;

        Assert.That(BinaryPrimitives.ReadUInt32LittleEndian(reply.AsSpan(12)), Is.EqualTo(3));
        Close(client.TakeDescriptors());
    }

    [Test]
    public void GetRegionIoFds_AskedOverAndOver_KeepsNothing()
    {
        _host.Device.Doorbells = [new Doorbell(0x10, 2, 0), new Doorbell(0x14, 2, 1)];
        using VfioUserClient client = _host.Connect();
        _ = client.Request(VfioUserCommand.DeviceGetRegionIoFds, Bytes.U32(512, 0, 0, 0));
        Close(client.TakeDescriptors());
        int before = ConnectionTests.OpenDescriptors();
        for (int round = 0; round < 50; round++)
        {
            _ = client.Request(VfioUserCommand.DeviceGetRegionIoFds, Bytes.U32(512, 0, 0, 0));
            Close(client.TakeDescriptors());
        }

        Assert.That(ConnectionTests.OpenDescriptors(), Is.EqualTo(before));
    }

    private static byte[] Request(uint argsz) => [.. Bytes.U32(argsz, 0, Region, 0), .. Bytes.U64(0, 0)];

    private static void Close(int[] descriptors)
    {
        foreach (int fd in descriptors)
        {
            _ = Internal.Libc.Close(fd);
        }
    }

    private void AssertIsTheMemory(int[] descriptors)
    {
        Assert.That(descriptors, Has.Length.EqualTo(1));
        bool found = Internal.Libc.TryStatus(descriptors[0], out Internal.Libc.FileStatus passed);
        Close(descriptors);
        Assert.That(found && Internal.Libc.TryStatus(_memory.Fd, out Internal.Libc.FileStatus own) && own.Inode == passed.Inode, Is.True);
    }
}
