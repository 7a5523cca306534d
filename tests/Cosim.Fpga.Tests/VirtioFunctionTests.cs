// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga.Tests.Driver;
using Function = Cosim.Fpga.RegisterMap.Function;
using Opcode = Cosim.Fpga.RegisterMap.Opcode;
using Queue = Cosim.Fpga.RegisterMap.Queue;

namespace Cosim.Fpga.Tests;

/// <summary>A virtio function as its driver sees it: CONTRACT.md, 3; virtio 1.3, 2 and 4.1.</summary>
public class VirtioFunctionTests(FpgaKind kind) : FpgaFixture(kind)
{
    private const ulong Offered = VirtioDriver.Version1 | VirtioDriver.RingReset | 0x2000_0003;

    [Test]
    [Clause("virtio 4.1.4.3.1-3")]
    public void DeviceFeature_BySelect_ReadsTheOffer()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 1).Describe(Offered).Enable();
        uint[] read = [.. new uint[] { 0, 1, 2, 0xFFFF_FFFF, 1 }.Select(select =>
        {
            driver.SetCommon(VirtioDriver.DeviceFeatureSelect, select, 4);
            Assert.That(driver.Common(VirtioDriver.DeviceFeatureSelect, 4), Is.EqualTo(select));
            return driver.Common(VirtioDriver.DeviceFeature, 4);
        })];
        Assert.That(read, Is.EqualTo(new uint[] { 0x2000_0003, 0x101, 0, 0, 0x101 }));
    }

    [Test]
    public void QueueVector_WrittenByBytes_KeepsTheOtherOne()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 1).Describe(Offered).Enable();
        driver.SetQueue(1, VirtioDriver.QueueVector, 5, 2);
        driver.SetQueue(1, VirtioDriver.QueueVector + 1, 0, 1);
        Assert.That(driver.Queue(1, VirtioDriver.QueueVector, 2), Is.EqualTo(5));
        driver.SetQueue(1, VirtioDriver.QueueVector, 3, 1);
        Assert.That(driver.Queue(1, VirtioDriver.QueueVector, 2), Is.EqualTo(3));
        driver.SetQueue(1, VirtioDriver.QueueVector + 1, 1, 1);
        Assert.That(driver.Queue(1, VirtioDriver.QueueVector, 2), Is.EqualTo(0xFFFF), "0x103 is not below the table size");
    }

    [Test]
    public void Reset_WithConfigurationWritesWaiting_DropsThem()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 1).Start(Offered);
        Ports.Command(Opcode.MemRead, 4096, 0);
        Ports.Command(Opcode.MemRead, 4096, 0);
        Ports.NotBefore = Ports.Fpga.Cycle + 40; // an answer is leaving: events wait
        for (uint offset = 0; offset < 4; offset++)
        {
            Ports.Write(0, driver.Bar0 + RegisterMap.Bar.VirtioDevice + offset, offset, 1);
        }

        driver.Status = 0;
        (uint Opcode, int Port, int Function, uint Dw3, uint Dw4)[] events = Ports.AllEvents();
        Assert.That(events[^1], Is.EqualTo((Opcode.Status, 0, 1, 0u, 0u)));
        Assert.That(events.SkipLast(1).Select(e => e.Opcode), Is.All.EqualTo(Opcode.ConfigWrite));
        Ports.NotBefore = Ports.Fpga.Cycle + 100;
        Assert.That(ReadFunction(1, Function.Status) & 0x1FF, Is.EqualTo(0x100), "the reset is pending");
        Assert.That(Ports.AllEvents(), Is.Empty, "nothing comes after it");
    }

    [Test]
    [Clause("virtio 4.1.4.3.1-4")]
    public void DriverFeature_BySelect_IsTold()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 1).Describe(Offered).Enable();
        driver.AcceptFeatures(0x0000_0001_2000_0001);
        driver.SetCommon(VirtioDriver.DriverFeatureSelect, 2, 4);
        driver.SetCommon(VirtioDriver.DriverFeature, 0xFFFF_FFFF, 4);
        foreach ((uint select, uint read) in new (uint, uint)[] { (2, 0), (1, 1), (0, 0x2000_0001) })
        {
            driver.SetCommon(VirtioDriver.DriverFeatureSelect, select, 4);
            Assert.That(driver.Common(VirtioDriver.DriverFeature, 4), Is.EqualTo(read), $"select {select}");
        }

        Assert.That(ReadFunction(1, Function.DriverFeaturesLo), Is.EqualTo(0x2000_0001));
        Assert.That(ReadFunction(1, Function.DriverFeaturesHi), Is.EqualTo(1));
    }

    [TestCase(VirtioDriver.Version1, true)]
    [TestCase(Offered, true)]
    [TestCase(0x2000_0003ul, false, Description = "without VERSION_1")]
    [TestCase(VirtioDriver.Version1 | 4, false, Description = "a bit that is not offered")]
    [TestCase(VirtioDriver.Version1 | (1ul << 63), false)]
    [TestCase(0ul, false)]
    [Clause("virtio 2.2.2-2")]
    public void FeaturesOk_Written_SticksIfTheFeaturesAreAcceptable(ulong features, bool accepted)
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Describe(Offered).Enable();
        driver.Status = 3;
        driver.AcceptFeatures(features);
        driver.Status = 11;
        uint expected = accepted ? 11u : 3u;
        Assert.That(driver.Status, Is.EqualTo(expected));
        Assert.That(Ports.AllEvents()[^1], Is.EqualTo((Opcode.Status, 0, 0, expected, 0u)));
        driver.AcceptFeatures(VirtioDriver.Version1);
        Assert.That(
            (ReadFunction(0, Function.DriverFeaturesLo), ReadFunction(0, Function.DriverFeaturesHi)),
            Is.EqualTo(accepted ? ((uint)features, (uint)(features >> 32)) : (0u, 1u)),
            "read-only while FEATURES_OK is set");
    }

    [Test]
    public void DeviceStatus_Written_CollectsBitsAndTellsThem()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 1).Describe(Offered).Enable();
        List<uint> read = [];
        foreach (uint value in new uint[] { 1, 2, 0x41, 0x80 })
        {
            driver.Status = value;
            read.Add(driver.Status);
            Assert.That(Ports.NextEvent().Event, Is.EqualTo((Opcode.Status, 0, 1, driver.Status, 0u)));
        }

        Assert.That(read, Is.EqualTo(new uint[] { 1, 3, 3, 0x83 }), "bits stay, and the driver cannot set DEVICE_NEEDS_RESET");
        Assert.That(ReadFunction(1, Function.Status) & 0xFF, Is.EqualTo(0x83));
    }

    [Test]
    public void DeviceStatus_WrittenQuickly_TellsTheNewestValue()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Describe(Offered).Enable();
        for (uint bits = 1; bits <= 3; bits += 2)
        {
            driver.Status = bits;
        }

        var events = Ports.AllEvents();
        Assert.That(events, Has.Length.InRange(1, 2));
        Assert.That(events[^1], Is.EqualTo((Opcode.Status, 0, 0, 3u, 0u)));
    }

    [Test]
    [Clause("virtio 2.4.1-1")]
    [Clause("virtio 4.1.4.3.1-6")]
    [Clause("virtio 4.1.4.3.1-7")]
    [Clause("virtio 4.1.5.1.2.1-7")]
    public void Reset_ByStatusZero_ForgetsTheDriverAndWaitsForTheAcknowledgement()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 1).Start(Offered);
        driver.SetQueue(2, VirtioDriver.QueueSize, 64, 2);
        driver.SetQueue(2, VirtioDriver.QueueVector, 3, 2);
        driver.SetQueue(2, VirtioDriver.QueueDesc, 0x1000, 4);
        driver.SetQueue(2, VirtioDriver.QueueEnable, 1, 2);
        driver.SetCommon(VirtioDriver.ConfigVector, 1, 2);
        Assert.That(driver.Common(VirtioDriver.ConfigVector, 2), Is.EqualTo(1));
        driver.Status = 0;
        Assert.That(driver.Status, Is.EqualTo(0x40), "not 0 before the acknowledgement");
        driver.Status = 1;
        Assert.That(driver.Status, Is.EqualTo(0x40), "writes are ignored meanwhile");
        Assert.That(Ports.AllEvents(), Is.EqualTo(new[] { (Opcode.Status, 0, 1, 0u, 0u) }));
        Assert.That(ReadFunction(1, Function.Status) & 0x1FF, Is.EqualTo(0x100));
        Assert.That(ReadFunction(1, Function.DriverFeaturesHi), Is.Zero);
        Assert.That(
            (ReadQueue(1, 2, Queue.Enable), ReadQueue(1, 2, Queue.Size), ReadQueue(1, 2, Queue.Vector), ReadQueue(1, 2, Queue.DescLo)),
            Is.EqualTo((0u, 256u, 0xFFFFu, 0u)));
        Assert.That(ReadFunction(1, Function.ConfigVector), Is.EqualTo(0xFFFF));
        Control(1, 2);
        Assert.That(driver.Status, Is.Zero);
        driver.Status = 1;
        Assert.That(driver.Status, Is.EqualTo(1));
        Assert.That(Ports.AllEvents(), Is.EqualTo(new[] { (Opcode.Status, 0, 1, 1u, 0u) }));
    }

    [Test]
    public void Reset_OfOneFunction_LeavesTheOther()
    {
        VirtioDriver other = new VirtioDriver(Ports, 0).Start();
        VirtioDriver driver = new VirtioDriver(Ports, 1).Start();
        driver.Status = 0;
        Ports.Settle();
        Assert.That(other.Status, Is.EqualTo(15));
        Assert.That(ReadQueue(0, 0, Queue.Enable), Is.EqualTo(1));
        Assert.That(ReadQueue(1, 0, Queue.Enable), Is.Zero);
    }

    [Test]
    public void QueueRegisters_OfAnyQueue_KeepWhatIsWritten()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 1).Describe(Offered).Enable();
        for (int queue = 0; queue < 4; queue++)
        {
            for (uint i = 0; i < 6; i++)
            {
                driver.SetQueue(queue, VirtioDriver.QueueDesc + (4 * i), Address(queue, i), 4);
            }

            driver.SetQueue(queue, VirtioDriver.QueueVector, (uint)queue + 1, 2);
        }

        for (int queue = 0; queue < 4; queue++)
        {
            for (uint i = 0; i < 6; i++)
            {
                Assert.That(driver.Queue(queue, VirtioDriver.QueueDesc + (4 * i), 4), Is.EqualTo(Address(queue, i)));
                Assert.That(ReadQueue(1, queue, Queue.DescLo + (4 * i)), Is.EqualTo(Address(queue, i)));
            }

            Assert.That(driver.Queue(queue, VirtioDriver.QueueVector, 2), Is.EqualTo(queue + 1));
            Assert.That(ReadQueue(1, queue, Queue.Vector), Is.EqualTo(queue + 1));
            Assert.That(driver.Queue(queue, VirtioDriver.QueueNotifyOffset, 2), Is.EqualTo(queue));
        }

        static uint Address(int queue, uint i) => 0x1000_0000u + ((uint)queue << 16) + (i << 4);
    }

    [Test]
    [Clause("virtio 4.1.4.3.1-14")]
    public void QueueSize_Written_IsALimitedPowerOfTwo()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Describe(Offered).Enable();
        Assert.That(driver.Queue(0, VirtioDriver.QueueSize, 2), Is.EqualTo(256), "the limit until it is written");
        foreach ((uint written, uint read) in new (uint, uint)[] { (128u, 128u), (512, 128), (3, 128), (0, 128), (0x8000, 128), (1, 1), (256, 256), (100, 256) })
        {
            driver.SetQueue(0, VirtioDriver.QueueSize, written, 2);
            Assert.That(driver.Common(VirtioDriver.QueueSize, 2), Is.EqualTo(read), $"{written} written");
        }

        Assert.That(ReadQueue(0, 0, Queue.Size), Is.EqualTo(256));
    }

    [Test]
    public void QueueSize_WrittenByTheByte_IsMergedWithTheRest()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Describe(Offered).Enable();
        Ports.WriteRegister(PortDriver.QueueRegister(0, 0, Queue.SizeLimit), 1024);
        foreach ((uint written, int bytes, uint at, uint read) in new (uint, int, uint, uint)[] { (16, 2, 0, 16), (64, 1, 0, 64), (1, 1, 1, 64), (512, 2, 0, 512), (4, 1, 1, 1024), (1, 1, 0, 1024) })
        {
            driver.SetQueue(0, VirtioDriver.QueueSize + at, written, bytes);
            Assert.That(driver.Common(VirtioDriver.QueueSize, 2), Is.EqualTo(read), $"{written} written to byte {at}, {bytes} bytes");
        }
    }

    [Test]
    public void QueueEnable_Written_OnlyOneCounts()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Describe(Offered).Enable();
        foreach ((uint written, uint read) in new (uint, uint)[] { (0u, 0u), (1, 1), (0, 1) })
        {
            driver.SetQueue(1, VirtioDriver.QueueEnable, written, 2);
            Assert.That(driver.Common(VirtioDriver.QueueEnable, 2), Is.EqualTo(read));
        }

        Assert.That(ReadQueue(0, 1, Queue.Enable), Is.EqualTo(1));
    }

    [TestCase(5, Description = "limit 0")]
    [TestCase(8, Description = "beyond the last queue")]
    [TestCase(0xFFFF)]
    [Clause("virtio 4.1.4.3.1-13")]
    public void QueueRegisters_OfMissingQueue_ReadZero(int queue)
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Describe(Offered).Enable();
        driver.SetQueue(queue, VirtioDriver.QueueSize, 16, 2);
        driver.SetQueue(queue, VirtioDriver.QueueEnable, 1, 2);
        driver.SetQueue(queue, VirtioDriver.QueueDesc, 0x1000, 4);
        for (uint offset = 0x18; offset < 0x3C; offset += 4)
        {
            Assert.That(driver.Queue(queue, offset, 4), Is.Zero, $"offset 0x{offset:x}");
        }

        Assert.That(driver.Common(VirtioDriver.QueueSelect, 2), Is.EqualTo(queue));
    }

    [Test]
    public void NumQueues_Written_LimitsTheQueues()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Describe(Offered).Enable();
        Assert.That(driver.Common(VirtioDriver.NumQueues, 2), Is.EqualTo(8));
        Ports.WriteRegister(PortDriver.FunctionRegister(0, Function.NumQueues), 2);
        Ports.Settle();
        Assert.That(driver.Common(VirtioDriver.NumQueues, 2), Is.EqualTo(2));
        Assert.That(driver.Queue(1, VirtioDriver.QueueSize, 2), Is.EqualTo(256));
        Assert.That(driver.Queue(2, VirtioDriver.QueueSize, 2), Is.Zero);
        driver.Notify(2, 2);
        Assert.That(Ports.AllEvents(), Is.Empty);
        Ports.WriteRegister(PortDriver.FunctionRegister(0, Function.NumQueues), 999);
        Assert.That(ReadFunction(0, Function.NumQueues), Is.EqualTo(8));
    }

    [Test]
    [Clause("virtio 4.1.4.3.1-10")]
    [Clause("virtio 4.1.4.3.1-11")]
    [Clause("virtio 4.1.4.3.1-12")]
    public void QueueReset_WithRingReset_WaitsForTheAcknowledgement()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Start(Offered);
        driver.SetQueue(1, VirtioDriver.QueueSize, 32, 2);
        driver.SetQueue(1, VirtioDriver.QueueDesc, 0x4000, 4);
        driver.SetQueue(1, VirtioDriver.QueueEnable, 1, 2);
        driver.SetQueue(1, VirtioDriver.QueueReset, 1, 2);
        Assert.That(driver.Common(VirtioDriver.QueueReset, 2), Is.EqualTo(1));
        Assert.That(Ports.AllEvents(), Is.EqualTo(new[] { (Opcode.QueueReset, 0, 0, 1u, 0u) }));
        Assert.That(ReadQueue(0, 1, Queue.Reset), Is.EqualTo(1));
        Ports.WriteRegister(PortDriver.QueueRegister(0, 1, Queue.Reset), 1);
        Ports.Settle();
        Assert.That(driver.Common(VirtioDriver.QueueReset, 2), Is.Zero);
        Assert.That(driver.Common(VirtioDriver.QueueEnable, 2), Is.Zero);
        Assert.That((driver.Common(VirtioDriver.QueueSize, 2), driver.Common(VirtioDriver.QueueDesc, 4)), Is.EqualTo((256u, 0u)));
        Assert.That(driver.Queue(0, VirtioDriver.QueueEnable, 2), Is.EqualTo(1), "the other queue goes on");
    }

    [Test]
    public void QueueReset_WithoutRingReset_IsIgnored()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Start();
        driver.SetQueue(0, VirtioDriver.QueueReset, 1, 2);
        Assert.That(driver.Common(VirtioDriver.QueueReset, 2), Is.Zero);
        Assert.That(Ports.AllEvents(), Is.Empty);
    }

    [Test]
    [Clause("virtio 4.1.5.1.2.1-9")]
    public void Vectors_NotBelowTheTableSize_ReadNoVector()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Describe(Offered).Enable();
        Assert.That(driver.Common(VirtioDriver.ConfigVector, 2), Is.EqualTo(0xFFFF), "reset value");
        Assert.That(driver.Queue(0, VirtioDriver.QueueVector, 2), Is.EqualTo(0xFFFF), "reset value");
        foreach ((uint written, uint read) in new (uint, uint)[] { (8u, 8u), (9u, 0xFFFFu), (0, 0), (0xFFFF, 0xFFFF), (0x100, 0xFFFF) })
        {
            driver.SetCommon(VirtioDriver.ConfigVector, written, 2);
            driver.SetQueue(0, VirtioDriver.QueueVector, written, 2);
            Assert.That((driver.Common(VirtioDriver.ConfigVector, 2), driver.Common(VirtioDriver.QueueVector, 2)), Is.EqualTo((read, read)));
        }
    }

    [Test]
    public void Notify_Written_TellsQueueAndValue()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 1).Start();
        driver.Notify(3, 3);
        Assert.That(Ports.AllEvents(), Is.EqualTo(new[] { (Opcode.Notify, 0, 1, 3u, 3u) }));
        driver.Notify(7, 0x1234_0007, 4);
        Assert.That(Ports.AllEvents(), Is.EqualTo(new[] { (Opcode.Notify, 0, 1, 7u, 0x1234_0007u) }));
        driver.Notify(8, 8);
        Assert.That(Ports.AllEvents(), Is.Empty, "no such queue");
    }

    [Test]
    public void Notify_ManyTimes_IsMergedAndNeverLost()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Start();
        for (uint i = 1; i <= 64; i++)
        {
            driver.Notify((int)(i % 4), i, 4);
        }

        var events = Ports.AllEvents();
        Assert.That(events, Has.Length.InRange(4, 64));
        for (uint queue = 0; queue < 4; queue++)
        {
            uint[] values = [.. events.Where(e => e.Dw3 == queue).Select(e => e.Dw4)];
            Assert.That(values, Is.Ordered.And.Unique);
            Assert.That(values[^1], Is.EqualTo(queue == 0 ? 64 : 60 + queue), "the last write is always told");
        }
    }

    [Test]
    public void Notify_WhileTheManagementStreamIsBusy_IsMerged()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Start();
        ulong start = Ports.Fpga.Cycle + 10;
        Ports.NotBefore = start;
        int read = Ports.Command(Opcode.MemRead, 4096, 0);
        Ports.NotBefore = start + 20;
        for (uint i = 1; i <= 10; i++)
        {
            driver.Notify(0, i);
        }

        Ports.NotBefore = 0;
        Ports.AwaitManagement(read);
        var events = Ports.AllEvents();
        Assert.That(events, Has.Length.LessThanOrEqualTo(4), "those on their way when the stream stopped, and one for all later writes");
        Assert.That(events[^1], Is.EqualTo((Opcode.Notify, 0, 0, 0u, 10u)));
    }

    [Test]
    [Clause("virtio 2.5.2-1")]
    public void DeviceConfig_WrittenByManagement_IsReadInAnySize()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 1).Describe(Offered).Enable();
        for (uint i = 0; i < 64; i++)
        {
            Ports.WriteRegister(PortDriver.FunctionRegister(1, Function.DeviceConfig + (4 * i)), 0x0302_0100 + (0x0404_0404 * i));
        }

        Ports.Settle();
        for (uint i = 0; i < 256; i++)
        {
            Assert.That(Ports.Read(0, driver.Bar0 + 0x2000 + i, 1), Is.EqualTo((byte)i));
        }

        Assert.That(Ports.Read(0, driver.Bar0 + 0x2002, 2), Is.EqualTo(0x0302));
        Assert.That(ReadFunction(1, Function.DeviceConfig + 0xFC), Is.EqualTo(0xFFFE_FDFC));
    }

    [Test]
    public void DeviceConfig_WrittenByTheDriver_IsToldAndUnchanged()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Start();
        Ports.Write(0, driver.Bar0 + 0x2003, 0xAB, 1);
        Ports.Write(0, driver.Bar0 + 0x2012, 0x1234, 2);
        Ports.Write(0, driver.Bar0 + 0x20FC, 0x8765_4321, 4);
        Assert.That(Ports.AllEvents(), Is.EqualTo(new[]
        {
            (Opcode.ConfigWrite, 0, 0, 0x0001_0003u, 0xABu),
            (Opcode.ConfigWrite, 0, 0, 0x0002_0012u, 0x1234u),
            (Opcode.ConfigWrite, 0, 0, 0x0004_00FCu, 0x8765_4321u),
        }));
        Assert.That(Ports.Read(0, driver.Bar0 + 0x20FC, 4), Is.Zero);
    }

    [Test]
    [Clause("virtio 4.1.4.3.1-5")]
    public void ConfigGeneration_AfterAnyNumberOfChanges_DiffersFromTheOneBefore()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Describe(Offered).Enable();
        uint value = Ports.Read(0, driver.Bar0 + 0x2008, 4);
        foreach (int changes in new[] { 1, 255, 256, 257 })
        {
            uint before = driver.Common(VirtioDriver.ConfigGeneration, 1);
            for (int i = 0; i < changes; i++)
            {
                Ports.WriteRegister(PortDriver.FunctionRegister(0, Function.DeviceConfig + 8), ++value);
                Ports.WriteRegister(PortDriver.FunctionRegister(0, Function.Control), 4);
            }

            Ports.Settle();
            Assert.That(Ports.Read(0, driver.Bar0 + 0x2008, 4), Is.EqualTo(value));
            uint after = driver.Common(VirtioDriver.ConfigGeneration, 1);
            Assert.That(after, Is.Not.EqualTo(before), $"{changes} changes");
            Assert.That(ReadFunction(0, Function.ConfigGeneration), Is.EqualTo(after));
            Assert.That(Ports.Read(0, driver.Bar0 + 0x2008, 4), Is.EqualTo(value));
            Assert.That(driver.Common(VirtioDriver.ConfigGeneration, 1), Is.EqualTo(after), "nothing has changed since");
        }

        Assert.That(Ports.AllInterrupts(), Is.Empty, "no interrupt without DRIVER_OK");
    }

    /// <summary>A driver reads generation, both halves of a 64-bit field, generation, while the field changes at any time against that.</summary>
    [Test]
    [Clause("virtio 4.1.4.3.1-5")]
    [Clause("virtio 4.1.3.2-1")]
    public void DeviceConfig_ChangedWhileItIsRead_IsReadAsAWholeUnderOneGeneration()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Start();
        uint[] offsets = [VirtioDriver.ConfigGeneration, 0x2000, 0x2004, VirtioDriver.ConfigGeneration];
        uint halves = 0;
        int changed = 0;
        for (uint distance = 0; distance < 90; distance++)
        {
            Ports.Settle();
            ulong start = Fpga.Cycle + 100;
            Ports.NotBefore = start + distance;
            halves += 0x0101_0101;
            Ports.WriteRegister(PortDriver.FunctionRegister(0, Function.DeviceConfig), halves);
            Ports.WriteRegister(PortDriver.FunctionRegister(0, Function.DeviceConfig + 4), halves);
            Ports.WriteRegister(PortDriver.FunctionRegister(0, Function.Control), 4);
            Ports.NotBefore = start + 30;
            byte[] tags = [.. offsets.Select(_ => Ports.NewTag())];
            for (int i = 0; i < offsets.Length; i++)
            {
                Ports.SendRead(0, tags[i], driver.Bar0 + offsets[i], i is 0 or 3 ? 1 : 4);
            }

            Ports.NotBefore = 0;
            uint[] read = [.. tags.Select(t => Ports.Await(0, t).Dword)];
            bool isSame = (byte)(read[0] >> 8) == (byte)(read[3] >> 8);
            Assert.That(!isSame || read[1] == read[2], Is.True, $"distance {distance}: 0x{read[2]:x8}_{read[1]:x8} under one generation");
            changed += isSame ? 0 : 1;
        }

        Assert.That(changed, Is.InRange(1, 89), "the changes came before, amid and after the reads");
    }

    [Test]
    [Clause("virtio 2.4.1-2")]
    [Clause("virtio 2.1.2-1")]
    public void Notifications_WithoutDriverOk_AreNotSent()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Start();
        foreach (uint status in new uint[] { 0, 1, 3, 11 })
        {
            driver.AcceptFeatures(VirtioDriver.Version1);
            driver.Status = status;
            Ports.Settle();
            Control(0, 2);
            Assert.That(driver.Status, Is.EqualTo(status));
            Ports.Interrupt(0, 0, 0);
            Ports.Interrupt(0, 0, 0xFFFF);
            Control(0, 4);
            Assert.That(Ports.AllInterrupts(), Is.Empty, $"status {status}");
            Assert.That(Ports.Read(0, driver.Bar0 + 0x1000, 1), Is.Zero, $"status {status}");
        }

        driver.Status = 15;
        Ports.Settle();
        Ports.Interrupt(0, 0, 0);
        Assert.That(Ports.AllInterrupts(), Has.Length.EqualTo(1));
    }

    [Test]
    [Clause("virtio 2.2.2-4")]
    public void Features_AcceptedOnce_AreAcceptedAfterEveryReset()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 1).Start(Offered);
        for (int round = 0; round < 3; round++)
        {
            if (round == 1)
            {
                Ports.ConfigWrite(0, 1, 0x48, 0x8000, 0b0010);
                driver.Enable();
            }
            else
            {
                driver.Status = 0;
            }

            Ports.Settle();
            Control(1, 2);
            Assert.That(driver.Status, Is.Zero);
            driver.AcceptFeatures(Offered);
            driver.Status = 11;
            Assert.That(driver.Status, Is.EqualTo(11));
        }
    }

    [Test]
    [Clause("virtio 4.1.4.3.1-14")]
    public void QueueSize_WithRingPacked_IsAnyNumberUpToTheLimit()
    {
        const ulong packed = VirtioDriver.Version1 | (1ul << 34);
        VirtioDriver driver = new VirtioDriver(Ports, 0).Describe(packed, 32768).Enable();
        driver.AcceptFeatures(packed);
        driver.SetQueue(0, VirtioDriver.QueueSize, 100, 2);
        Assert.That(driver.Common(VirtioDriver.QueueSize, 2), Is.EqualTo(32768), "nothing is negotiated before FEATURES_OK");
        driver.Status = 11;
        foreach ((uint written, uint read) in new (uint, uint)[] { (100u, 100u), (0, 100), (32769, 100), (3, 3), (32768, 32768), (32767, 32767), (1, 1), (0xFFFF, 1) })
        {
            driver.SetQueue(0, VirtioDriver.QueueSize, written, 2);
            Assert.That(driver.Common(VirtioDriver.QueueSize, 2), Is.EqualTo(read), $"{written} written");
        }
    }

    [Test]
    [Clause("virtio 4.1.4.3.1-8")]
    [Clause("virtio 4.1.4.3.1-9")]
    [Clause("virtio 4.1.4.3.1-7")]
    public void QueueReset_AfterDeviceResetAndAfterEnabling_ReadsZero()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Start(Offered);
        driver.SetQueue(0, VirtioDriver.QueueReset, 1, 2);
        Assert.That(driver.Common(VirtioDriver.QueueReset, 2), Is.EqualTo(1));
        driver.Status = 0;
        Ports.Settle();
        Control(0, 2);
        Assert.That((driver.Queue(0, VirtioDriver.QueueReset, 2), driver.Queue(0, VirtioDriver.QueueEnable, 2)), Is.EqualTo((0u, 0u)), "after the device's reset");
        driver.AcceptFeatures(Offered);
        driver.Status = 15;
        driver.SetQueue(0, VirtioDriver.QueueEnable, 1, 2);
        driver.SetQueue(0, VirtioDriver.QueueReset, 1, 2);
        Ports.Settle();
        Ports.WriteRegister(PortDriver.QueueRegister(0, 0, Queue.Reset), 1);
        Ports.Settle();
        driver.SetQueue(0, VirtioDriver.QueueEnable, 1, 2);
        Assert.That((driver.Queue(0, VirtioDriver.QueueReset, 2), driver.Queue(0, VirtioDriver.QueueEnable, 2)), Is.EqualTo((0u, 1u)), "enabled again");
        driver.SetQueue(0, VirtioDriver.QueueReset, 1, 2);
        Assert.That(driver.Common(VirtioDriver.QueueReset, 2), Is.EqualTo(1), "and reset again");
    }

    [Test]
    [Clause("virtio 4.1.5.1.2.1-4")]
    [Clause("virtio 4.1.5.1.2.1-5")]
    [Clause("virtio 4.1.5.1.2.1-6")]
    [Clause("virtio 4.1.5.1.2.1-8")]
    public void Vectors_OfAnyEvent_MapToAnyVectorAndToNone()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 1).Start();
        driver.SetMsix(true);
        for (int vector = 0; vector < 9; vector++)
        {
            driver.SetVector(vector, 0x40 + (uint)vector, masked: false);
        }

        for (uint vector = 0; vector < 9; vector++)
        {
            // All events share one vector; queue 1 has none.
            driver.SetCommon(VirtioDriver.ConfigVector, vector, 2);
            Assert.That(driver.Common(VirtioDriver.ConfigVector, 2), Is.EqualTo(vector));
            for (int queue = 0; queue < 4; queue++)
            {
                uint mapped = queue == 1 ? 0xFFFF : vector;
                driver.SetQueue(queue, VirtioDriver.QueueVector, mapped, 2);
                Assert.That(driver.Common(VirtioDriver.QueueVector, 2), Is.EqualTo(mapped));
            }

            Ports.Settle();
            foreach (uint index in new uint[] { 0, 1, 2, 3, 0xFFFF })
            {
                Ports.Interrupt(0, 1, index);
            }

            Assert.That(Ports.AllInterrupts().Select(i => i.Data), Is.EqualTo(Enumerable.Repeat(0x40 + vector, 4)));
        }
    }

    [Test]
    [Clause("virtio 4.1.4.9.1-2")]
    [Clause("virtio 4.1.4.9.1-3")]
    [Clause("virtio 4.1.4.5.1-5")]
    public void PciCfg_AccessOfEveryWidth_IsTheAccessItself()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Start();
        for (uint i = 0; i < 4; i++)
        {
            Ports.WriteRegister(PortDriver.FunctionRegister(0, Function.DeviceConfig + (4 * i)), 0x0302_0100 + (0x0404_0404 * i));
        }

        Ports.Settle();
        foreach (uint length in new uint[] { 1, 2, 4 })
        {
            for (uint offset = 0; offset < 16; offset += length)
            {
                Access(0x2000 + offset, length);
                uint expected = 0;
                for (uint i = 0; i < length; i++)
                {
                    expected |= (offset + i) << (int)(8 * i);
                }

                Assert.That(Ports.ConfigRead(0, 0, 0xE4).Dword, Is.EqualTo(expected), $"{length} at {offset}");
                Ports.ConfigWrite(0, 0, 0xE4, 0xA1B2_C3D4);
                uint mask = length == 4 ? 0xFFFF_FFFF : (1u << (int)(8 * length)) - 1;
                Assert.That(Ports.AllEvents(), Is.EqualTo(new[] { (Opcode.ConfigWrite, 0, 0, offset | (length << 16), 0xA1B2_C3D4 & mask) }));
            }
        }

        Ports.Interrupt(0, 0, 0);
        Ports.Settle();
        Access(0x1000, 1);
        Assert.That(Ports.ConfigRead(0, 0, 0xE4).Dword, Is.EqualTo(1), "ISR");
        Assert.That(Ports.ConfigRead(0, 0, 0xE4).Dword, Is.Zero, "which the read has cleared");
        Access(VirtioDriver.QueueDesc, 4);
        Ports.ConfigWrite(0, 0, 0xE4, 0x1234_5678, 0b0011);
        Assert.That(driver.Queue(0, VirtioDriver.QueueDesc, 4), Is.EqualTo(0x5678), "byte enables of the configuration write hold");

        void Access(uint offset, uint length)
        {
            Ports.ConfigWrite(0, 0, 0xD8, 0, 0b0001);
            Ports.ConfigWrite(0, 0, 0xDC, offset);
            Ports.ConfigWrite(0, 0, 0xE0, length);
        }
    }

    /// <summary>64-bit fields as their halves (4.1.3.1), or in one access of 8 bytes; 16-bit and 8-bit ones beside others in one DW.</summary>
    [Test]
    public void CommonConfiguration_InAccessesOfEveryWidth_KeepsItsFields()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 1).Describe(Offered).Enable();
        driver.SetCommon(VirtioDriver.QueueSelect, 2, 2);
        for (uint offset = VirtioDriver.QueueDesc; offset < 0x38; offset += 8)
        {
            Ports.WriteBytes(0, driver.Bar0 + offset, [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
            Assert.That(BitConverter.ToUInt64(Ports.MemoryRead(0, driver.Bar0 + offset, 8).Payload), Is.EqualTo(0x8877_6655_4433_2211));
            driver.SetCommon(offset + 4, 0x0A0B_0C0D, 4);
            Assert.That((driver.Common(offset, 4), driver.Common(offset + 4, 4)), Is.EqualTo((0x4433_2211u, 0x0A0B_0C0Du)), "one half");
            driver.SetCommon(offset + 2, 0xEE, 1);
            driver.SetCommon(offset + 6, 0x1234, 2);
            Assert.That((driver.Common(offset, 4), driver.Common(offset + 4, 4)), Is.EqualTo((0x44EE_2211u, 0x1234_0C0Du)), "bytes and words of it");
            Assert.That((driver.Common(offset + 1, 1), driver.Common(offset + 6, 2)), Is.EqualTo((0x22u, 0x1234u)));
        }

        driver.SetCommon(VirtioDriver.QueueSize, 0x0003_0020, 4);
        Assert.That((driver.Common(VirtioDriver.QueueSize, 2), driver.Common(VirtioDriver.QueueVector, 2)), Is.EqualTo((32u, 3u)), "two fields in one access");
        driver.SetCommon(VirtioDriver.DeviceStatus, 0x0003_0001, 4);
        Assert.That(driver.Common(VirtioDriver.DeviceStatus, 4), Is.EqualTo(0x0003_0001u), "device_status and queue_select; config_generation is read-only");
    }

    [Test]
    [Clause("virtio 2.1.2-3")]
    public void NeedsReset_WithDriverOk_SetsTheBitAndInterrupts()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Start();
        Control(0, 1);
        Assert.That(driver.Status, Is.EqualTo(0x4F));
        Assert.That(Ports.AllInterrupts().Select(i => i.Message), Is.EqualTo(new[] { (Cosim.Pcie.MessageCode?)Cosim.Pcie.MessageCode.AssertIntA }));
        Assert.That(Ports.Read(0, driver.Bar0 + 0x1000, 1), Is.EqualTo(2), "configuration change");
        driver.Status = 0;
        Control(0, 1);
        Control(0, 2);
        Assert.That(driver.Status, Is.Zero, "ignored while the reset was pending");
    }

    [Test]
    [Clause("virtio 4.1.4.9.1-2")]
    [Clause("virtio 4.1.4.9.1-3")]
    public void PciCfg_Access_ReachesBar0WithoutMemorySpace()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 1).Describe(Offered);
        Access(0x18, 2);
        Assert.That(Ports.ConfigRead(0, 1, 0xE4).Dword & 0xFFFF, Is.EqualTo(256), "queue_size");
        Access(0x14, 1);
        Ports.ConfigWrite(0, 1, 0xE4, 0x01, 0b0001);
        Access(0x16, 2);
        Ports.ConfigWrite(0, 1, 0xE4, 0x0002, 0b0011);
        Access(0x24, 4);
        Ports.ConfigWrite(0, 1, 0xE4, 0x1234_5678);
        Access(0x15, 1);
        Assert.That(Ports.ConfigRead(0, 1, 0xE4).Dword & 0xFF, Is.Zero, "config_generation");
        Access(0x3000 + 12, 2);
        Ports.ConfigWrite(0, 1, 0xE4, 3, 0b0011);
        Assert.That(Ports.AllEvents(), Is.EqualTo(new[] { (Opcode.Status, 0, 1, 1u, 0u), (Opcode.Notify, 0, 1, 3u, 3u) }));
        driver.Enable();
        Assert.That(driver.Status, Is.EqualTo(1));
        Assert.That(driver.Common(VirtioDriver.QueueSelect, 2), Is.EqualTo(2));
        Assert.That(driver.Common(0x24, 4), Is.EqualTo(0x1234_5678));

        void Access(uint offset, uint length)
        {
            Ports.ConfigWrite(0, 1, 0xD8, 0, 0b0001);
            Ports.ConfigWrite(0, 1, 0xDC, offset);
            Ports.ConfigWrite(0, 1, 0xE0, length);
        }
    }

    [TestCase(1u, 0x14u, 4u, Description = "not BAR0")]
    [TestCase(0u, 0x14u, 3u, Description = "length 3")]
    [TestCase(0u, 0x14u, 8u, Description = "length 8")]
    [TestCase(0u, 0x15u, 2u, Description = "not aligned")]
    [TestCase(0u, 0x4014u, 4u, Description = "beyond the BAR")]
    public void PciCfg_WithBadFields_ReadsZeroAndIgnoresWrites(uint bar, uint offset, uint length)
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Start();
        Ports.ConfigWrite(0, 0, 0xD8, bar, 0b0001);
        Ports.ConfigWrite(0, 0, 0xDC, offset);
        Ports.ConfigWrite(0, 0, 0xE0, length);
        Assert.That(Ports.ConfigRead(0, 0, 0xE4).Dword, Is.Zero);
        Ports.ConfigWrite(0, 0, 0xE4, 0x8080_8080);
        Assert.That(driver.Status, Is.EqualTo(15));
    }

    private uint ReadFunction(int function, uint offset) => Ports.ReadRegister(PortDriver.FunctionRegister(function, offset));

    private uint ReadQueue(int function, int queue, uint offset) => Ports.ReadRegister(PortDriver.QueueRegister(function, queue, offset));

    private void Control(int function, uint value)
    {
        Ports.WriteRegister(PortDriver.FunctionRegister(function, Function.Control), value);
        Ports.Settle();
    }
}
