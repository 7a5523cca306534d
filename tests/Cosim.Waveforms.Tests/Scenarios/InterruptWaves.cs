// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Fpga.Tests.Driver;

namespace Cosim.Waveforms.Tests.Scenarios;

/// <summary>MSI-X and INTx of virtio functions: CONTRACT.md, 3 and 5; virtio 1.3, 4.1.4.5 and 4.1.5.1.</summary>
internal static class InterruptWaves
{
    private const uint ConfigurationChange = 0xFFFF;

    /// <summary>The vector of each queue, in order and out of it; a queue without one and queues that are not there send nothing.</summary>
    public static void MsixOfQueues(Scenario s)
    {
        VirtioDriver driver = StartMsix(s, 0, "p0_irq_valid", "p0_irq_vector");
        driver.SetQueue(1, VirtioDriver.QueueVector, 0xFFFF, 2);
        s.Begin();
        foreach (uint queue in new uint[] { 0, 3, 1, 2, 8, 0x1234 })
        {
            s.Ports.Interrupt(0, 0, queue);
        }

        s.Ports.Interrupt(0, 2, 0);
        Assert.That(s.Ports.AllInterrupts().Select(i => i.Data), Is.EqualTo(new uint[] { 0x41, 0x44, 0x43 }));
    }

    /// <summary>The configuration vector: by command and by CONFIG_CHANGED; its address above 4 GiB.</summary>
    public static void MsixOfConfiguration(Scenario s)
    {
        VirtioDriver driver = StartMsix(s, 1, "p0_irq_valid", "p0_irq_function", "p0_irq_vector");
        s.Begin();
        s.Ports.Interrupt(0, 1, ConfigurationChange);
        s.SetFunction(1, RegisterMap.Function.Control, 4);
        s.Ports.Settle();
        s.Ports.Write(0, driver.Bar1, unchecked((uint)HostMemory.High), 4);
        s.Ports.Write(0, driver.Bar1 + 4, (uint)(HostMemory.High >> 32), 4);
        s.Ports.Settle();
        s.Ports.Interrupt(0, 1, ConfigurationChange);
        s.Ports.Settle();
        Assert.That(BitConverter.ToUInt32(s.Ports.Memory[0][HostMemory.High, 4]), Is.EqualTo(0x40));
    }

    /// <summary>A used buffer's INTA: asserted once, deasserted before the completion of the ISR read that clears it.</summary>
    public static void IntxOfQueues(Scenario s)
    {
        s.Show("p0_intx", "functions_inst.isr_queue", "port0_inst.intx_inst.told", "port0_inst.tx_inst.source");
        VirtioDriver driver = new VirtioDriver(s.Ports, 1).Start();
        s.Begin();
        s.Ports.Interrupt(0, 1, 0);
        s.Ports.Interrupt(0, 1, 3);
        s.Ports.Settle();
        _ = s.Ports.ConfigRead(0, 1, 0x04);
        Assert.That(s.GetFunction(1, RegisterMap.Function.Isr), Is.EqualTo(1));
        _ = s.Ports.MemoryRead(0, driver.Bar0 + RegisterMap.Bar.VirtioIsr, 0);
        Assert.That(s.Ports.Read(0, driver.Bar0 + RegisterMap.Bar.VirtioIsr, 1), Is.EqualTo(1));
        Assert.That(s.Ports.Read(0, driver.Bar0 + RegisterMap.Bar.VirtioIsr, 1), Is.Zero);
        Assert.That(s.Ports.AllInterrupts(), Has.Length.EqualTo(2));
    }

    /// <summary>A configuration change's INTA beside a queue's, both functions at once, Interrupt Disable.</summary>
    public static void IntxOfConfiguration(Scenario s)
    {
        s.Show("p0_intx", "functions_inst.isr_queue", "functions_inst.isr_config", "port0_inst.intx_disable", "port0_inst.intx_inst.told");
        VirtioDriver first = new VirtioDriver(s.Ports, 0).Start();
        VirtioDriver second = new VirtioDriver(s.Ports, 1).Start();
        s.Begin();
        s.Ports.Interrupt(0, 0, ConfigurationChange);
        s.Ports.Interrupt(0, 0, 0);
        s.Ports.Interrupt(0, 1, ConfigurationChange);
        s.Ports.Settle();
        s.Ports.ConfigWrite(0, 1, 0x04, 0x0406, 0b0011);
        Assert.That(s.Ports.Read(0, first.Bar0 + RegisterMap.Bar.VirtioIsr, 1), Is.EqualTo(3));
        s.Ports.ConfigWrite(0, 1, 0x04, 0x0006, 0b0011);
        Assert.That(s.Ports.Read(0, second.Bar0 + RegisterMap.Bar.VirtioIsr, 1), Is.EqualTo(2));
        s.Ports.Settle();
        Assert.That(s.Ports.Interrupts, Has.Count.EqualTo(6));
    }

    /// <summary>MSI-X Enable takes INTA away and gives it back.</summary>
    public static void MsixSilencesIntx(Scenario s)
    {
        s.Show("p0_intx", "p0_msix", "port0_inst.intx_inst.told");
        VirtioDriver driver = new VirtioDriver(s.Ports, 0).Start();
        s.Ports.Interrupt(0, 0, 0);
        s.Begin();
        driver.SetMsix(true);
        driver.SetMsix(false);
        s.Ports.Settle();
        Assert.That(s.Ports.Interrupts, Has.Count.EqualTo(2));
    }

    /// <summary>A masked vector becomes pending, does not hold up others, and is sent once with what its entry holds when it is unmasked.</summary>
    public static void VectorMask(Scenario s)
    {
        VirtioDriver driver = StartMsix(s, 1);
        driver.SetVector(1, 0x41, masked: true);
        s.Begin();
        s.Ports.Interrupt(0, 1, 0);
        s.Ports.Interrupt(0, 1, 0);
        s.Ports.Interrupt(0, 1, 1);
        s.Ports.Settle();
        s.Ports.Write(0, driver.Bar1 + RegisterMap.Bar.MsixPba, 0, 4);
        Assert.That(s.Ports.Read(0, driver.Bar1 + RegisterMap.Bar.MsixPba, 4), Is.EqualTo(2));
        s.Ports.Write(0, driver.Bar1 + 16 + 8, 0x55, 4);
        s.Ports.Write(0, driver.Bar1 + 16 + 12, 0, 4);
        s.Ports.Settle();
        Assert.That(s.Ports.Read(0, driver.Bar1 + RegisterMap.Bar.MsixPba, 4), Is.Zero);
        Assert.That(s.Ports.AllInterrupts().Select(i => i.Data), Is.EqualTo(new uint[] { 0x42, 0x55 }));
    }

    /// <summary>With the function mask all vectors become pending; clearing it sends them.</summary>
    public static void FunctionMask(Scenario s)
    {
        VirtioDriver driver = StartMsix(s, 0, "port0_inst.msix_mask");
        s.Begin();
        driver.SetMsix(true, functionMask: true);
        s.Ports.Interrupt(0, 0, 1);
        s.Ports.Interrupt(0, 0, ConfigurationChange);
        s.Ports.Settle();
        Assert.That(s.Ports.Read(0, driver.Bar1 + RegisterMap.Bar.MsixPba, 4), Is.EqualTo(5));
        driver.SetMsix(true);
        s.Ports.Settle();
        Assert.That(s.Ports.AllInterrupts(), Has.Length.EqualTo(2));
    }

    /// <summary>Without Bus Master no message leaves; with it again the pending one does.</summary>
    public static void BusMasterOff(Scenario s)
    {
        VirtioDriver driver = StartMsix(s, 0, "p0_bme");
        s.Begin();
        s.Ports.ConfigWrite(0, 0, 0x04, 0x0002, 0b0011);
        s.Ports.Interrupt(0, 0, 0);
        s.Ports.Settle();
        Assert.That(s.Ports.Read(0, driver.Bar1 + RegisterMap.Bar.MsixPba, 4), Is.EqualTo(2));
        s.Ports.ConfigWrite(0, 0, 0x04, 0x0006, 0b0011);
        Assert.That(s.Ports.AllInterrupts().Select(i => i.Data), Is.EqualTo(new uint[] { 0x41 }));
    }

    /// <summary>Every word of some entries, beyond the table, and an entry written with 8 bytes.</summary>
    public static void MsixTable(Scenario s)
    {
        s.Show("port0_inst.msix_inst.state", "port0_inst.acc_bar1");
        VirtioDriver driver = new VirtioDriver(s.Ports, 0).Enable();
        s.Begin();
        foreach (uint vector in new uint[] { 0, 8, 9 })
        {
            for (uint word = 0; word < 4; word++)
            {
                ulong address = driver.Bar1 + (vector * 16) + (4 * word);
                _ = s.Ports.Read(0, address, 4);
                s.Ports.Write(0, address, 0xA0B0_C0D3 + vector + (word << 16), 4);
                _ = s.Ports.Read(0, address, 4);
            }
        }

        s.Ports.WriteBytes(0, driver.Bar1 + 8, [0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0]);
        _ = s.Ports.MemoryRead(0, driver.Bar1 + 8, 8);
        s.Ports.Write(0, driver.Bar1 + 8 + 1, 0xEE, 1);
        _ = s.Ports.Read(0, driver.Bar1 + 8, 4);
    }

    /// <summary>Vector 0 for the configuration, 1 + q for queue q; data 0x40 + vector.</summary>
    private static VirtioDriver StartMsix(Scenario s, int function, params ReadOnlySpan<string> shown)
    {
        s.Show("port0_inst.msix_inst.state");
        s.Show(shown);
        VirtioDriver driver = new VirtioDriver(s.Ports, function).Start();
        for (int vector = 0; vector < 5; vector++)
        {
            driver.SetVector(vector, 0x40 + (uint)vector, masked: false);
        }

        driver.SetCommon(VirtioDriver.ConfigVector, 0, 2);
        for (int queue = 0; queue < 4; queue++)
        {
            driver.SetQueue(queue, VirtioDriver.QueueVector, 1 + (uint)queue, 2);
        }

        driver.SetMsix(true);
        return driver;
    }
}
