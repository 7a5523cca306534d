// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.VfioUser.Tests;

/// <summary>What a client must not send: refused with the right error, no descriptor kept, and the next request is served.</summary>
public sealed class MalformedRequestTests
{
    private const IrqSetFlags Trigger = IrqSetFlags.ActionTrigger;
    private const uint ReadWrite = 3;

    private static IEnumerable<TestCaseData> Requests()
    {
        yield return Case("GetInfo_Empty", VfioUserCommand.DeviceGetInfo, []);
        yield return Case("GetInfo_ArgszTooSmall", VfioUserCommand.DeviceGetInfo, Bytes.U32(15, 0, 0, 0));
        yield return Case("GetRegionInfo_Short", VfioUserCommand.DeviceGetRegionInfo, Bytes.U32(32, 0, 0, 0));
        yield return Case("GetRegionInfo_ArgszTooSmall", VfioUserCommand.DeviceGetRegionInfo, [.. Bytes.U32(31, 0, 0, 0), .. Bytes.U64(0, 0)]);
        yield return Case("GetRegionInfo_NoSuchRegion", VfioUserCommand.DeviceGetRegionInfo, [.. Bytes.U32(32, 0, 9, 0), .. Bytes.U64(0, 0)]);
        yield return Case("GetIrqInfo_Short", VfioUserCommand.DeviceGetIrqInfo, Bytes.U32(16, 0));
        yield return Case("GetIrqInfo_NoSuchIndex", VfioUserCommand.DeviceGetIrqInfo, Bytes.U32(16, 0, 5, 0));
        yield return Case("RegionRead_Short", VfioUserCommand.RegionRead, Bytes.U64(0));
        yield return Case("RegionRead_TrailingBytes", VfioUserCommand.RegionRead, Bytes.Access(0, 0, 4, 1));
        yield return Case("RegionRead_NoSuchRegion", VfioUserCommand.RegionRead, Bytes.Access(0, 9, 4));
        yield return Case("RegionRead_RegionOfNoSize", VfioUserCommand.RegionRead, Bytes.Access(0, 6, 1));
        yield return Case("RegionRead_BeyondTheEnd", VfioUserCommand.RegionRead, Bytes.Access(4093, 0, 4));
        yield return Case("RegionRead_OffsetOverflows", VfioUserCommand.RegionRead, Bytes.Access(ulong.MaxValue, 0, 4));
        yield return Case("RegionRead_TooMuch", VfioUserCommand.RegionRead, Bytes.Access(0, TestDevice.LargeRegion, (1024 * 1024) + 1));
        yield return Case("RegionRead_WriteOnlyRegion", VfioUserCommand.RegionRead, Bytes.Access(0, 3, 4), Errno.EACCES);
        yield return Case("RegionWrite_ReadOnlyRegion", VfioUserCommand.RegionWrite, Bytes.Access(0, 1, 1, 1), Errno.EACCES);
        yield return Case("RegionWrite_FewerBytes", VfioUserCommand.RegionWrite, Bytes.Access(0, 0, 4, 1));
        yield return Case("RegionWrite_MoreBytes", VfioUserCommand.RegionWrite, Bytes.Access(0, 0, 1, 1, 2));
        yield return Case("RegionWrite_HugeCount", VfioUserCommand.RegionWrite, Bytes.Access(0, 0, uint.MaxValue, 1));
        yield return Case("WriteMulti_Empty", VfioUserCommand.RegionWriteMulti, []);
        yield return Case("WriteMulti_NoWrites", VfioUserCommand.RegionWriteMulti, Bytes.U64(0));
        yield return Case("WriteMulti_FewerThanCounted", VfioUserCommand.RegionWriteMulti, [.. Bytes.U64(2), .. Bytes.Access(0, 0, 1, new byte[8])]);
        yield return Case("WriteMulti_HugeCount", VfioUserCommand.RegionWriteMulti, Bytes.U64(ulong.MaxValue));
        yield return Case("WriteMulti_EntryTooLong", VfioUserCommand.RegionWriteMulti, [.. Bytes.U64(1), .. Bytes.Access(0, 0, 9, new byte[8])]);
        yield return Case("WriteMulti_SecondEntryBeyondTheEnd", VfioUserCommand.RegionWriteMulti, [.. Bytes.U64(2), .. Bytes.Access(0, 0, 1, new byte[8]), .. Bytes.Access(4096, 0, 1, new byte[8])]);
        yield return Case("DmaMap_Short", VfioUserCommand.DmaMap, Bytes.U32(32, 3));
        yield return Case("DmaMap_ArgszTooSmall", VfioUserCommand.DmaMap, Bytes.Map(31, ReadWrite, 0, 0, 4096));
        yield return Case("DmaMap_UnknownFlag", VfioUserCommand.DmaMap, Bytes.Map(32, 0x13, 0, 0, 4096));
        yield return Case("DmaMap_NoAccess", VfioUserCommand.DmaMap, Bytes.Map(32, 0, 0, 0, 4096));
        yield return Case("DmaMap_NoSize", VfioUserCommand.DmaMap, Bytes.Map(32, ReadWrite, 0, 0, 0));
        yield return Case("DmaMap_RangeOverflows", VfioUserCommand.DmaMap, Bytes.Map(32, ReadWrite, 0, 0x2000, ulong.MaxValue - 0xFFF));
        yield return Case("DmaUnmap_Short", VfioUserCommand.DmaUnmap, Bytes.U32(24, 0));
        yield return Case("DmaUnmap_ArgszTooSmall", VfioUserCommand.DmaUnmap, Bytes.Unmap(8, 0, 0, 4096));
        yield return Case("DmaUnmap_UnknownFlag", VfioUserCommand.DmaUnmap, Bytes.Unmap(24, 4, 0, 4096));
        yield return Case("DmaUnmap_NoSize", VfioUserCommand.DmaUnmap, Bytes.Unmap(24, 0, 0, 0));
        yield return Case("DmaUnmap_RangeOverflows", VfioUserCommand.DmaUnmap, Bytes.Unmap(24, 0, 4096, ulong.MaxValue));
        yield return Case("DmaUnmap_AllWithAnAddress", VfioUserCommand.DmaUnmap, Bytes.Unmap(24, 2, 4096, 0));
        yield return Case("DmaUnmap_AllWithDirtyBitmap", VfioUserCommand.DmaUnmap, Bytes.Unmap(24, 3, 0, 0));
        yield return Case("DmaUnmap_DirtyBitmap", VfioUserCommand.DmaUnmap, Bytes.Unmap(24, 1, 0, 4096), Errno.ENOTSUP);
        yield return Case("SetIrqs_Empty", VfioUserCommand.DeviceSetIrqs, []);
        yield return Case("SetIrqs_Short", VfioUserCommand.DeviceSetIrqs, Bytes.U32(0, 0));
        yield return Case("SetIrqs_ArgszTooSmall", VfioUserCommand.DeviceSetIrqs, Bytes.U32(3, (uint)(Trigger | IrqSetFlags.DataNone), 2, 0, 0));
        yield return Irq("NoSuchIndex", Trigger | IrqSetFlags.DataNone, 5, 0, 0);
        yield return Irq("IndexWithoutInterrupts", Trigger | IrqSetFlags.DataNone, VfioPci.MsiIrqIndex, 0, 1);
        yield return Irq("TwoActions", IrqSetFlags.ActionMask | IrqSetFlags.ActionUnmask | IrqSetFlags.DataNone, 0, 0, 1);
        yield return Irq("NoAction", IrqSetFlags.DataNone, 0, 0, 1);
        yield return Irq("TwoKindsOfData", Trigger | IrqSetFlags.DataNone | IrqSetFlags.DataBool, 2, 0, 1);
        yield return Irq("NoKindOfData", Trigger, 2, 0, 1);
        yield return Irq("UnknownFlag", Trigger | IrqSetFlags.DataNone | (IrqSetFlags)0x40, 2, 0, 1);
        yield return Irq("RangeBeyondTheEnd", Trigger | IrqSetFlags.DataNone, 2, TestDevice.Vectors - 1, 2);
        yield return Irq("StartBeyondTheEnd", Trigger | IrqSetFlags.DataNone, 2, TestDevice.Vectors, 1);
        yield return Irq("CountOverflows", Trigger | IrqSetFlags.DataEventFd, 2, 5, uint.MaxValue);
        yield return Irq("MaskMsix", IrqSetFlags.ActionMask | IrqSetFlags.DataNone, 2, 0, 1);
        yield return Irq("MaskRequest", IrqSetFlags.ActionMask | IrqSetFlags.DataNone, VfioPci.ReqIrqIndex, 0, 1);
        yield return Irq("CountZeroWithStart", Trigger | IrqSetFlags.DataNone, 2, 1, 0);
        yield return Irq("CountZeroMask", IrqSetFlags.ActionMask | IrqSetFlags.DataNone, 0, 0, 0);
        yield return Irq("CountZeroBool", Trigger | IrqSetFlags.DataBool, 2, 0, 0);
        yield return Irq("FewerBools", Trigger | IrqSetFlags.DataBool, 2, 0, 2, 1);
        yield return Irq("MoreBools", Trigger | IrqSetFlags.DataBool, 2, 0, 2, 1, 1, 1);
        yield return Irq("DataWithNone", Trigger | IrqSetFlags.DataNone, 2, 0, 1, 1);
        yield return Case("SetIrqs_MaskEventFd", VfioUserCommand.DeviceSetIrqs, Bytes.SetIrqs(IrqSetFlags.ActionMask | IrqSetFlags.DataEventFd, 0, 0, 1), Errno.ENOTSUP);
        yield return Case("Reset_WithPayload", VfioUserCommand.DeviceReset, [1]);
        yield return Case("Version_Again", VfioUserCommand.Version, Bytes.Version(0, "{}\0"));
        yield return Case("DmaRead_WrongDirection", VfioUserCommand.DmaRead, Bytes.U64(0, 4));
        yield return Case("DmaWrite_WrongDirection", VfioUserCommand.DmaWrite, Bytes.U64(0, 4, 0));
        yield return Case("Command_Zero", 0, []);
        yield return Case("Command_Unknown", (VfioUserCommand)19, [1]);
        yield return Case("GetRegionIoFds_Empty", VfioUserCommand.DeviceGetRegionIoFds, []);
        yield return Case("GetRegionIoFds_Long", VfioUserCommand.DeviceGetRegionIoFds, Bytes.U32(20, 0, 0, 0, 0));
        yield return Case("GetRegionIoFds_ArgszTooSmall", VfioUserCommand.DeviceGetRegionIoFds, Bytes.U32(15, 0, 0, 0));
        yield return Case("GetRegionIoFds_ArgszTooLarge", VfioUserCommand.DeviceGetRegionIoFds, Bytes.U32((1024 * 1024) + 1, 0, 0, 0));
        yield return Case("GetRegionIoFds_Flags", VfioUserCommand.DeviceGetRegionIoFds, Bytes.U32(16, 1, 0, 0));
        yield return Case("GetRegionIoFds_Count", VfioUserCommand.DeviceGetRegionIoFds, Bytes.U32(16, 0, 0, 1));
        yield return Case("GetRegionIoFds_NoSuchRegion", VfioUserCommand.DeviceGetRegionIoFds, Bytes.U32(16, 0, 512, 0));
        yield return Case("GetRegionIoFds_RegionOfNoSize", VfioUserCommand.DeviceGetRegionIoFds, Bytes.U32(16, 0, 6, 0));
        yield return Case("DirtyPages", VfioUserCommand.DirtyPages, Bytes.U32(8, 1), Errno.ENOTSUP);
        yield return Case("DeviceFeature_Short", VfioUserCommand.DeviceFeature, Bytes.U32(8));
        yield return Case("DeviceFeature_ArgszTooSmall", VfioUserCommand.DeviceFeature, Bytes.U32(7, 0x2_0007));
        yield return Case("DeviceFeature_UnknownFlag", VfioUserCommand.DeviceFeature, Bytes.U32(8, 0xC_0006));
        yield return Case("DeviceFeature_NoMethod", VfioUserCommand.DeviceFeature, Bytes.U32(8, 6));
        yield return Case("DeviceFeature_GetAndSet", VfioUserCommand.DeviceFeature, Bytes.U32(8, 0x3_0006));
        yield return Case("DeviceFeature_ProbeMigration", VfioUserCommand.DeviceFeature, Bytes.U32(8, 0x5_0001), Errno.ENOTSUP);
        yield return Case("DeviceFeature_GetMigration", VfioUserCommand.DeviceFeature, Bytes.U32(16, 0x1_0001), Errno.ENOTSUP);
        yield return Case("DeviceFeature_SetDeviceState", VfioUserCommand.DeviceFeature, Bytes.U32(16, 0x2_0002, 1, 0), Errno.ENOTSUP);
        yield return Case("DeviceFeature_ProbeGetOfStart", VfioUserCommand.DeviceFeature, Bytes.U32(8, 0x5_0006), Errno.ENOTSUP);
        yield return Case("DeviceFeature_ProbeBothOfReport", VfioUserCommand.DeviceFeature, Bytes.U32(8, 0x7_0008), Errno.ENOTSUP);
        yield return Case("DeviceFeature_SetReport", VfioUserCommand.DeviceFeature, Bytes.U32(8, 0x2_0008), Errno.ENOTSUP);
        yield return Case("DeviceFeature_Unknown", VfioUserCommand.DeviceFeature, Bytes.U32(8, 0x5_FFFF), Errno.ENOTSUP);
        yield return Case("LoggingStart_NoData", VfioUserCommand.DeviceFeature, Bytes.U32(8, 0x2_0006));
        yield return Case("LoggingStart_FewerRangesThanCounted", VfioUserCommand.DeviceFeature, [.. Bytes.U32(8, 0x2_0006), .. Bytes.U64(4096), .. Bytes.U32(1, 0)]);
        yield return Case("LoggingStart_HugeCount", VfioUserCommand.DeviceFeature, [.. Bytes.U32(8, 0x2_0006), .. Bytes.U64(4096), .. Bytes.U32(0xF000_0001, 0), .. Bytes.U64(0, 4096)]);
        yield return Case("LoggingStart_Reserved", VfioUserCommand.DeviceFeature, [.. Bytes.U32(8, 0x2_0006), .. Bytes.U64(4096), .. Bytes.U32(0, 1)]);
        yield return Case("LoggingStart_EmptyRange", VfioUserCommand.DeviceFeature, [.. Bytes.U32(8, 0x2_0006), .. Bytes.U64(4096), .. Bytes.U32(1, 0), .. Bytes.U64(0, 0)]);
        yield return Case("LoggingStart_RangeOverflows", VfioUserCommand.DeviceFeature, [.. Bytes.U32(8, 0x2_0006), .. Bytes.U64(4096), .. Bytes.U32(1, 0), .. Bytes.U64(4096, ulong.MaxValue)]);
        yield return Case("LoggingStop_NotStarted", VfioUserCommand.DeviceFeature, Bytes.U32(8, 0x2_0007));
        yield return Case("LoggingReport_NotStarted", VfioUserCommand.DeviceFeature, [.. Bytes.U32(64, 0x1_0008), .. Bytes.U64(0, 4096, 4096)]);
        yield return Case("MigDataRead_NoMigration", VfioUserCommand.MigDataRead, Bytes.U32(8, 0), Errno.ENOTSUP);
        yield return Case("MigDataWrite_NoMigration", VfioUserCommand.MigDataWrite, Bytes.U32(8, 0), Errno.ENOTSUP);
    }

    [TestCaseSource(nameof(Requests))]
    [Clause("vfio-user Sizes-1")]
    [Clause("vfio-user Sizes-4")]
    [Clause("vfio-user Header-4")]
    [Clause("vfio-user Header-16")]
    [Clause("vfio-user VERSION-16")]
    [Clause("vfio-user DMA_MAP-1")]
    [Clause("vfio-user DMA_MAP-2")]
    [Clause("vfio-user DMA_MAP-4")]
    [Clause("vfio-user DMA_MAP-14")]
    [Clause("vfio-user DMA_UNMAP-1")]
    [Clause("vfio-user DMA_UNMAP-2")]
    [Clause("vfio-user DMA_UNMAP-3")]
    [Clause("vfio-user DMA_UNMAP-7")]
    [Clause("vfio-user GET_INFO-5")]
    [Clause("vfio-user GET_REGION_INFO-5")]
    [Clause("vfio-user GET_REGION_INFO-13")]
    [Clause("vfio-user IO_FDS-2")]
    [Clause("vfio-user IO_FDS-3")]
    [Clause("vfio-user IO_FDS-9")]
    [Clause("vfio-user GET_IRQ_INFO-3")]
    [Clause("vfio-user GET_IRQ_INFO-5")]
    [Clause("vfio-user SET_IRQS-1")]
    [Clause("vfio-user SET_IRQS-2")]
    [Clause("vfio-user SET_IRQS-3")]
    [Clause("vfio-user SET_IRQS-4")]
    [Clause("vfio-user SET_IRQS-7")]
    [Clause("vfio-user SET_IRQS-11")]
    [Clause("vfio-user SET_IRQS-12")]
    [Clause("vfio-user SET_IRQS-18")]
    [Clause("vfio-user REGION_READ-1")]
    [Clause("vfio-user REGION_READ-2")]
    [Clause("vfio-user REGION_READ-3")]
    [Clause("vfio-user REGION_READ-5")]
    [Clause("vfio-user REGION_READ-6")]
    [Clause("vfio-user REGION_WRITE-1")]
    [Clause("vfio-user REGION_WRITE-3")]
    [Clause("vfio-user REGION_WRITE-4")]
    [Clause("vfio-user RESET-2")]
    [Clause("vfio-user WRITE_MULTI-1")]
    [Clause("vfio-user WRITE_MULTI-2")]
    [Clause("vfio-user WRITE_MULTI-3")]
    [Clause("vfio-user FEATURE-2")]
    [Clause("vfio-user FEATURE-4")]
    [Clause("vfio-user FEATURE-8")]
    [Clause("vfio-user FEATURE-12")]
    [Clause("vfio-user MIG_DATA-1")]
    [Clause("vfio-user DIRTY_PAGES-1")]
    public void Request_Malformed_IsRefused(VfioUserCommand command, byte[] payload, Errno expected)
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();
        using EventFd passed = new();
        int before = ConnectionTests.OpenDescriptors();

        VfioUserException error = Assert.Throws<VfioUserException>(() => client.Request(command, payload))!;
        Assert.That(error.Error, Is.EqualTo(expected));

        // The same once more with descriptors nobody asked for, and once more without wanting an answer.
        Assert.That(() => client.Request(command, payload, [passed.Fd, passed.Fd, passed.Fd]), Throws.TypeOf<VfioUserException>());
        client.Send(command, payload, [passed.Fd, passed.Fd, passed.Fd], noReply: true);
        Assert.That(client.GetRegion(0).Size, Is.EqualTo(4096));
        Assert.That(host.Device.Events, Is.Empty);
        Assert.That(ConnectionTests.OpenDescriptors(), Is.EqualTo(before));
    }

    [TestCase(0u)]
    [TestCase(15u)]
    [TestCase(0x200000u)]
    [TestCase(uint.MaxValue)]
    [Clause("vfio-user Header-5")]
    [Clause("vfio-user Header-6")]
    public void Header_SizeOutOfRange_IsRefusedAndTheClientCutOff(uint size)
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();

        client.SendRaw(Bytes.Message(0xBAD1, VfioUserCommand.DeviceSetIrqs, [], size: size));

        VfioUserReply reply = client.Receive();
        Assert.That((reply.MessageId, reply.Error), Is.EqualTo(((ushort)0xBAD1, Errno.EINVAL)));
        ConnectionTests.AssertClosed(client);
    }

    [TestCase(1u)]
    [TestCase(2u)]
    [TestCase(15u)]
    [Clause("vfio-user Header-8")]
    public void Header_NoCommand_IsRefused(uint type)
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();

        client.SendRaw(Bytes.Message(7, VfioUserCommand.RegionRead, Bytes.Access(0, 0, 4), flags: type));

        Assert.That(client.Receive().Error, Is.EqualTo(Errno.EINVAL));
        Assert.That(client.GetRegion(0).Size, Is.EqualTo(4096));
    }

    [Test]
    [Clause("vfio-user Security-1")]
    public void Stream_RandomBytes_NeverBreaksTheServer()
    {
        using ServerHost host = new();
        Random random = new(20261120);
        using EventFd passed = new();
        int before = ConnectionTests.OpenDescriptors();
        for (int round = 0; round < 300; round++)
        {
            using VfioUserClient client = host.ConnectRaw();
            client.SendRaw(Bytes.Message(1, VfioUserCommand.Version, Bytes.Version(0, string.Empty)));
            for (int message = 0; message < 20; message++)
            {
                byte[] payload = new byte[random.Next(0, 60)];
                random.NextBytes(payload);

                // Small numbers in the fields reach further into the server than large ones.
                for (int index = 0; index < payload.Length; index++)
                {
                    payload[index] = random.Next(3) == 0 ? payload[index] : (byte)random.Next(0, 4);
                }

                int[] descriptors = [.. Enumerable.Repeat(passed.Fd, random.Next(0, 3))];
                client.SendRaw(Bytes.Message(2, (VfioUserCommand)random.Next(0, 20), payload, flags: 0x10), descriptors);
            }
        }

        Assert.That(
            SpinWait.SpinUntil(() => host.OnLoop(() => !host.Server.ClientConnected && ConnectionTests.OpenDescriptors() == before), ServerHost.Deadline),
            Is.True);
    }

    private static TestCaseData Case(string name, VfioUserCommand command, byte[] payload, Errno expected = Errno.EINVAL) =>
        new TestCaseData(command, payload, expected).SetName($"{name}_IsRefused");

    private static TestCaseData Irq(string name, IrqSetFlags flags, uint index, uint start, uint count, params byte[] data) =>
        Case($"SetIrqs_{name}", VfioUserCommand.DeviceSetIrqs, Bytes.SetIrqs(flags, index, start, count, data));
}
