// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Fpga.Tests.Driver;
using Function = Cosim.Fpga.RegisterMap.Function;
using Opcode = Cosim.Fpga.RegisterMap.Opcode;
using Queue = Cosim.Fpga.RegisterMap.Queue;

namespace Cosim.Waveforms.Tests.Scenarios;

/// <summary>A virtio function as its driver sets it up, uses and resets it: CONTRACT.md, 3; virtio 1.3, 2, 3.1 and 4.1.4.</summary>
internal static class VirtioWaves
{
    /// <summary>A long read from here keeps the management stream busy with zeros.</summary>
    private const uint OutsideScratch = 0x1_0000;

    private const ulong Offered = VirtioDriver.Version1 | VirtioDriver.RingReset | 0x2000_0003;

    /// <summary>ACKNOWLEDGE, DRIVER, the offer in both halves, the choice, FEATURES_OK, DRIVER_OK.</summary>
    public static void FeatureNegotiation(Scenario s)
    {
        s.Show("functions_inst.state", "functions_inst.status_mark", "mgmt_inst.state_q");
        VirtioDriver driver = new VirtioDriver(s.Ports, 1).Describe(Offered).Enable();
        s.Begin();
        driver.Status = 1;
        driver.Status = 3;
        foreach (uint select in new uint[] { 0, 1, 2 })
        {
            driver.SetCommon(VirtioDriver.DeviceFeatureSelect, select, 4);
            _ = driver.Common(VirtioDriver.DeviceFeatureSelect, 4);
            _ = driver.Common(VirtioDriver.DeviceFeature, 4);
        }

        driver.AcceptFeatures(Offered & ~2ul);
        _ = driver.Common(VirtioDriver.DriverFeature, 4);
        driver.Status = 11;
        Assert.That(driver.Status, Is.EqualTo(11));
        driver.AcceptFeatures(0);
        driver.Status = 15;
        Assert.That(driver.Status, Is.EqualTo(15));
        Assert.That((s.GetFunction(1, Function.DriverFeaturesLo), s.GetFunction(1, Function.DriverFeaturesHi)), Is.EqualTo((0x2000_0001u, 0x101u)), "read-only by then");
    }

    /// <summary>FEATURES_OK does not stick: a bit not offered, VERSION_1 missing, nothing at all; then it does.</summary>
    public static void FeatureRefusal(Scenario s)
    {
        s.Show("functions_inst.state", "functions_inst.status_mark");
        VirtioDriver driver = new VirtioDriver(s.Ports, 0).Describe(Offered).Enable();
        driver.Status = 3;
        s.Begin();
        foreach (ulong features in new[] { VirtioDriver.Version1 | 4, Offered | (1ul << 63), Offered & ~VirtioDriver.Version1, 0ul })
        {
            driver.AcceptFeatures(features);
            driver.Status = 11;
            Assert.That(driver.Status, Is.EqualTo(3));
        }

        driver.AcceptFeatures(VirtioDriver.Version1);
        driver.Status = 11;
        Assert.That(driver.Status, Is.EqualTo(11));
    }

    /// <summary>Every field of a queue; sizes that are taken and that are not; queue_enable; a queue with limit 0 and one beyond the last.</summary>
    public static void QueueSetUp(Scenario s)
    {
        s.Show("functions_inst.state");
        VirtioDriver driver = new VirtioDriver(s.Ports, 0).Describe(Offered).Enable();
        s.Begin();
        driver.SetCommon(VirtioDriver.QueueSelect, 2, 2);
        foreach (uint size in new uint[] { 128, 512, 3, 0, 1, 256, 100 })
        {
            driver.SetCommon(VirtioDriver.QueueSize, size, 2);
            _ = driver.Common(VirtioDriver.QueueSize, 2);
        }

        for (uint field = 0; field < 6; field++)
        {
            driver.SetCommon(VirtioDriver.QueueDesc + (4 * field), 0x1000_0000 + (field << 12), 4);
        }

        foreach (uint vector in new uint[] { 9, 3 })
        {
            driver.SetCommon(VirtioDriver.QueueVector, vector, 2);
            _ = driver.Common(VirtioDriver.QueueVector, 2);
        }

        foreach (uint enable in new uint[] { 0, 1, 0 })
        {
            driver.SetCommon(VirtioDriver.QueueEnable, enable, 2);
            _ = driver.Common(VirtioDriver.QueueEnable, 2);
        }

        foreach (uint queue in new uint[] { 2, 5, 8 })
        {
            driver.SetCommon(VirtioDriver.QueueSelect, queue, 2);
            driver.SetCommon(VirtioDriver.QueueNotifyOffset, 0xFFFF, 2);
            for (uint field = 0x18; field < 0x3C; field += 4)
            {
                _ = driver.Common(field, 4);
            }
        }

        for (uint register = 0; register <= Queue.Reset; register += 4)
        {
            _ = s.Ports.ReadRegister(PortDriver.QueueRegister(0, 2, register));
        }
    }

    /// <summary>num_queues is lowered by the management port; limits per queue.</summary>
    public static void QueueLimits(Scenario s)
    {
        s.Show("functions_inst.state");
        VirtioDriver driver = new VirtioDriver(s.Ports, 0).Describe(Offered).Enable();
        s.Begin();
        s.SetFunction(0, Function.NumQueues, 2);
        s.Ports.WriteRegister(PortDriver.QueueRegister(0, 1, Queue.SizeLimit), 16);
        s.Ports.WriteRegister(PortDriver.QueueRegister(0, 0, Queue.SizeLimit), 0);
        s.Ports.Settle();
        _ = driver.Common(VirtioDriver.NumQueues, 2);
        for (int queue = 0; queue < 3; queue++)
        {
            driver.SetQueue(queue, VirtioDriver.QueueSize, 8, 2);
            _ = driver.Common(VirtioDriver.QueueSize, 2);
            driver.SetQueue(queue, VirtioDriver.QueueSize, 32, 2);
            _ = driver.Common(VirtioDriver.QueueSize, 2);
            driver.Notify(queue, (uint)queue);
        }

        s.SetFunction(0, Function.NumQueues, 999);
        Assert.That(s.GetFunction(0, Function.NumQueues), Is.EqualTo(8));
    }

    /// <summary>queue_reset with RING_RESET, acknowledged by the management port; without it nothing happens.</summary>
    public static void QueueReset(Scenario s)
    {
        s.Show("functions_inst.state", "functions_inst.q_reset_mark");
        VirtioDriver driver = new VirtioDriver(s.Ports, 0).Start(Offered);
        VirtioDriver without = new VirtioDriver(s.Ports, 1).Start();
        driver.SetQueue(1, VirtioDriver.QueueSize, 32, 2);
        driver.SetQueue(1, VirtioDriver.QueueDesc, 0x4000, 4);
        driver.SetQueue(1, VirtioDriver.QueueEnable, 1, 2);
        s.Begin();
        driver.SetCommon(VirtioDriver.QueueReset, 1, 2);
        Assert.That(driver.Common(VirtioDriver.QueueReset, 2), Is.EqualTo(1));
        Assert.That(s.Ports.AllEvents(), Is.EqualTo(new[] { (Opcode.QueueReset, 0, 0, 1u, 0u) }));
        _ = s.Ports.ReadRegister(PortDriver.QueueRegister(0, 1, Queue.Reset));
        s.Ports.WriteRegister(PortDriver.QueueRegister(0, 1, Queue.Reset), 1);
        s.Ports.Settle();
        for (uint field = 0x18; field < 0x3C; field += 4)
        {
            _ = driver.Common(field, 4);
        }

        Assert.That(driver.Queue(0, VirtioDriver.QueueEnable, 2), Is.EqualTo(1), "the other queue goes on");
        without.SetQueue(0, VirtioDriver.QueueReset, 1, 2);
        Assert.That(without.Common(VirtioDriver.QueueReset, 2), Is.Zero);
    }

    /// <summary>Bits of device_status collect; bit 6 is not the driver's; quick writes merge to the newest value.</summary>
    public static void StatusSequence(Scenario s)
    {
        s.Show("functions_inst.state", "functions_inst.status_mark", "functions_inst.ev_valid");
        VirtioDriver driver = new VirtioDriver(s.Ports, 1).Describe(Offered).Enable();
        s.Begin();
        foreach (uint value in new uint[] { 1, 2, 0x41, 0x80 })
        {
            driver.Status = value;
            _ = driver.Status;
        }

        driver.Status = 0;
        s.Ports.Settle();
        s.SetFunction(1, Function.Control, 2);
        s.Ports.Settle();
        for (uint value = 1; value < 8; value = (2 * value) + 1)
        {
            driver.Status = value;
        }

        Assert.That(driver.Status, Is.EqualTo(7));
    }

    /// <summary>Writing 0 forgets everything of the driver's; 0x40 until RESET_ACK; the other function does not notice.</summary>
    public static void DeviceReset(Scenario s)
    {
        s.Show("functions_inst.state", "functions_inst.reset_pending", "functions_inst.reset_mark");
        VirtioDriver other = new VirtioDriver(s.Ports, 0).Start(Offered);
        VirtioDriver driver = new VirtioDriver(s.Ports, 1).Start(Offered);
        driver.SetQueue(2, VirtioDriver.QueueSize, 64, 2);
        driver.SetQueue(2, VirtioDriver.QueueVector, 3, 2);
        driver.SetQueue(2, VirtioDriver.QueueDesc, 0x1000, 4);
        driver.SetQueue(2, VirtioDriver.QueueEnable, 1, 2);
        driver.SetCommon(VirtioDriver.ConfigVector, 1, 2);
        s.Begin();
        driver.Status = 0;
        Assert.That(driver.Status, Is.EqualTo(0x40));
        driver.Status = 1;
        Assert.That(driver.Status, Is.EqualTo(0x40));
        Assert.That(s.GetFunction(1, Function.Status) & 0x1FF, Is.EqualTo(0x100));
        _ = driver.Queue(2, VirtioDriver.QueueSize, 4);
        _ = driver.Common(VirtioDriver.QueueEnable, 2);
        _ = driver.Common(VirtioDriver.QueueDesc, 4);
        _ = driver.Common(VirtioDriver.ConfigVector, 2);
        s.SetFunction(1, Function.Control, 2);
        s.Ports.Settle();
        Assert.That(driver.Status, Is.Zero);
        driver.Status = 1;
        Assert.That((driver.Status, other.Status), Is.EqualTo((1u, 15u)));
    }

    /// <summary>A reset is written while notifications, an interrupt and a status wait for a management port that is busy: what was before it is dropped.</summary>
    public static void ResetInFlight(Scenario s)
    {
        s.Show("functions_inst.state", "functions_inst.reset_mark", "functions_inst.status_mark", "functions_inst.notify_mark", "mgmt_inst.tx_state_q");
        VirtioDriver driver = new VirtioDriver(s.Ports, 0).Start();
        s.Begin();
        ulong start = s.Fpga.Cycle + 10;
        s.Ports.NotBefore = start;
        int read = s.Ports.Command(Opcode.MemRead, 2048, OutsideScratch);
        s.Ports.NotBefore = start + 20;
        driver.Notify(0, 1);
        driver.Notify(1, 2);
        s.Ports.Write(0, driver.Bar0 + 0x2000, 0x55, 1);
        driver.Status = 0x80;
        driver.Status = 0;
        driver.Notify(2, 3);
        s.Ports.Interrupt(0, 0, 0);
        s.Ports.NotBefore = 0;
        _ = s.Ports.AwaitManagement(read);
        s.Ports.Settle();
        s.SetFunction(0, Function.Control, 2);
        s.Ports.Settle();
        Assert.That(driver.Status, Is.Zero);
    }

    /// <summary>DEVICE_CONFIG read in every size, written by the driver, config_generation, and the change's interrupt.</summary>
    public static void DeviceConfiguration(Scenario s)
    {
        s.Show("functions_inst.state", "functions_inst.config_mark", "functions_inst.isr_config");
        VirtioDriver driver = new VirtioDriver(s.Ports, 1).Start();
        for (uint i = 0; i < 64; i++)
        {
            s.SetFunction(1, Function.DeviceConfig + (4 * i), 0x0302_0100 + (0x0404_0404 * i));
        }

        s.Begin();
        foreach ((uint offset, int size) in new (uint, int)[] { (0, 1), (3, 1), (2, 2), (8, 4), (0xFC, 4), (0xFF, 1) })
        {
            _ = s.Ports.Read(0, driver.Bar0 + 0x2000 + offset, size);
        }

        _ = s.Ports.MemoryRead(0, driver.Bar0 + 0x2010, 8);
        s.Ports.Write(0, driver.Bar0 + 0x2003, 0xAB, 1);
        s.Ports.Write(0, driver.Bar0 + 0x2012, 0x1234, 2);
        s.Ports.Write(0, driver.Bar0 + 0x20FC, 0x8765_4321, 4);
        s.Ports.Settle();
        _ = driver.Common(VirtioDriver.ConfigGeneration, 1);
        s.SetFunction(1, Function.DeviceConfig + 0xFC, 0x8765_4321);
        s.SetFunction(1, Function.Control, 4);
        s.Ports.Settle();
        Assert.That(driver.Common(VirtioDriver.ConfigGeneration, 1), Is.EqualTo(1));
        _ = s.Ports.Read(0, driver.Bar0 + 0x20FC, 4);
        _ = s.Ports.Read(0, driver.Bar0 + RegisterMap.Bar.VirtioIsr, 1);
    }

    /// <summary>More writes to DEVICE_CONFIG than the FIFO of 16 holds while the management stream is busy.</summary>
    public static void DeviceConfigurationOverflow(Scenario s)
    {
        s.Show("functions_inst.config_mark", "mgmt_inst.tx_state_q");
        VirtioDriver driver = new VirtioDriver(s.Ports, 0).Start();
        s.Begin();
        ulong start = s.Fpga.Cycle + 10;
        s.Ports.NotBefore = start;
        int read = s.Ports.Command(Opcode.MemRead, 4096, OutsideScratch);
        s.Ports.NotBefore = start + 20;
        for (uint i = 0; i < 20; i++)
        {
            s.Ports.Write(0, driver.Bar0 + 0x2000 + i, i, 1);
        }

        s.Ports.NotBefore = 0;
        _ = s.Ports.AwaitManagement(read);
        s.Ports.Settle();
    }

    /// <summary>DEVICE_NEEDS_RESET with and without DRIVER_OK, and while a reset is pending.</summary>
    public static void NeedsReset(Scenario s)
    {
        s.Show("functions_inst.state", "functions_inst.isr_config", "functions_inst.reset_pending", "p0_intx");
        VirtioDriver driver = new VirtioDriver(s.Ports, 0).Start();
        s.Begin();
        s.SetFunction(0, Function.Control, 1);
        s.Ports.Settle();
        Assert.That(driver.Status, Is.EqualTo(0x4F));
        _ = s.Ports.Read(0, driver.Bar0 + RegisterMap.Bar.VirtioIsr, 1);
        driver.Status = 0;
        s.Ports.Settle();
        s.SetFunction(0, Function.Control, 1);
        s.SetFunction(0, Function.Control, 2);
        s.Ports.Settle();
        Assert.That(driver.Status, Is.Zero);
        s.SetFunction(0, Function.Control, 1);
        s.Ports.Settle();
        Assert.That(driver.Status, Is.EqualTo(0x40));
    }

    /// <summary>Notifications of all queues one by one, with 16 and 32 bits, and of a queue that is not there.</summary>
    public static void Notify(Scenario s)
    {
        s.Show("functions_inst.notify_mark", "functions_inst.ev_notify");
        VirtioDriver driver = new VirtioDriver(s.Ports, 1).Start();
        s.Begin();
        for (int queue = 0; queue <= 8; queue++)
        {
            driver.Notify(queue, 0x1000_0000 + (uint)queue, queue % 2 == 0 ? 2 : 4);
            s.Ports.Settle();
        }
    }

    /// <summary>48 notifications of three queues as fast as the port takes them, told slowly: merged, the last value of each is told.</summary>
    public static void NotifyStorm(Scenario s)
    {
        s.Pauses = new LinkPauses(0, 244, 7);
        s.Show("functions_inst.notify_mark");
        VirtioDriver driver = new VirtioDriver(s.Ports, 0).Start();
        s.Begin();
        for (uint i = 1; i <= 48; i++)
        {
            driver.Notify((int)(i % 3), i, 4);
        }

        uint[] last = [.. s.Ports.AllEvents().GroupBy(e => e.Dw3).OrderBy(g => g.Key).Select(g => g.Last().Dw4)];
        Assert.That(last, Is.EqualTo(new uint[] { 48, 46, 47 }));
    }

    /// <summary>Queues notified again while the management stream is busy: each gets its turn before one has a second.</summary>
    public static void NotifyTurns(Scenario s)
    {
        s.Show("functions_inst.notify_mark", "functions_inst.ev_valid");
        VirtioDriver driver = new VirtioDriver(s.Ports, 0).Start();
        VirtioDriver other = new VirtioDriver(s.Ports, 1).Start();
        s.Begin();
        ulong start = s.Fpga.Cycle + 10;
        s.Ports.NotBefore = start;
        int read = s.Ports.Command(Opcode.MemRead, 4096, OutsideScratch);
        s.Ports.NotBefore = start + 20;
        for (uint i = 0; i < 9; i++)
        {
            driver.Notify((int)(i % 4), i);
            other.Notify((int)(i % 2), i);
        }

        s.Ports.NotBefore = 0;
        _ = s.Ports.AwaitManagement(read);
        s.Ports.Settle();
    }
}
