// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga.Tests.Driver;
using Cosim.Pcie;

namespace Cosim.Fpga.Tests;

/// <summary>INTx and MSI-X of virtio functions: CONTRACT.md, 3 and 5; PCI Local Bus 3.0, 6.8.2; virtio 1.3, 4.1.4.5 and 4.1.5.1.</summary>
public class InterruptTests(FpgaKind kind) : FpgaFixture(kind)
{
    private const uint ConfigurationChange = 0xFFFF;

    [Test]
    [Clause("virtio 4.1.4.5.1-3")]
    [Clause("virtio 4.1.4.5.1-4")]
    [Clause("virtio 4.1.4.5.1-5")]
    public void Intx_RaisedAndIsrRead_IsDeassertedBeforeTheCompletion()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 1).Start();
        Ports.Interrupt(0, 1, 0);
        Assert.That(Messages(), Is.EqualTo(new (int, MessageCode?)[] { (1, MessageCode.AssertIntA) }));
        Assert.That(Ports.ConfigRead(0, 1, 0x04).Dword & 0x0008_0000, Is.Not.Zero, "Interrupt Status");
        Assert.That(Ports.ReadRegister(PortDriver.FunctionRegister(1, RegisterMap.Function.Isr)), Is.EqualTo(1), "read without clearing");
        Answer isr = Ports.MemoryRead(0, driver.Bar0 + RegisterMap.Bar.VirtioIsr, 1);
        Assert.That(isr.Dword & 0xFF, Is.EqualTo(1));
        Assert.That(Ports.Interrupts, Has.Count.EqualTo(1));
        Assert.That((Ports.Interrupts[0].Function, Ports.Interrupts[0].Message), Is.EqualTo((1, MessageCode.DeassertIntA)));
        Assert.That(Ports.Interrupts[0].Output.Index, Is.LessThan(isr.Output.Index));
        Assert.That(Ports.ConfigRead(0, 1, 0x04).Dword & 0x0008_0000, Is.Zero);
        Assert.That(Ports.Read(0, driver.Bar0 + RegisterMap.Bar.VirtioIsr, 1), Is.Zero);
    }

    [Test]
    [Clause("virtio 4.1.4.5.1-2")]
    [Clause("virtio 4.1.4.5.1-3")]
    public void Intx_RaisedTwice_IsOneLevelWithBothIsrBits()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Start();
        Ports.Interrupt(0, 0, 0);
        Ports.Interrupt(0, 0, 0);
        Ports.Interrupt(0, 0, ConfigurationChange);
        Assert.That(Messages(), Is.EqualTo(new (int, MessageCode?)[] { (0, MessageCode.AssertIntA) }));
        Assert.That(Ports.Read(0, driver.Bar0 + RegisterMap.Bar.VirtioIsr, 1), Is.EqualTo(3));
        Assert.That(Messages(), Is.EqualTo(new (int, MessageCode?)[] { (0, MessageCode.DeassertIntA) }));
    }

    [Test]
    public void Intx_WithInterruptDisable_WaitsForTheBit()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Start();
        Ports.ConfigWrite(0, 0, 0x04, 0x0406, 0b0011);
        Ports.Interrupt(0, 0, 0);
        Assert.That(Messages(), Is.Empty);
        Assert.That(Ports.ConfigRead(0, 0, 0x04).Dword & 0x0008_0000, Is.Not.Zero, "Interrupt Status shows it all the same");
        Ports.ConfigWrite(0, 0, 0x04, 0x0006, 0b0011);
        Assert.That(Messages(), Is.EqualTo(new (int, MessageCode?)[] { (0, MessageCode.AssertIntA) }));
        Ports.ConfigWrite(0, 0, 0x04, 0x0406, 0b0011);
        Assert.That(Messages(), Is.EqualTo(new (int, MessageCode?)[] { (0, MessageCode.DeassertIntA) }));
        Assert.That(Ports.Read(0, driver.Bar0 + RegisterMap.Bar.VirtioIsr, 1), Is.EqualTo(1));
        Assert.That(Messages(), Is.Empty);
    }

    [Test]
    public void Intx_AtReset_IsDeasserted()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Start();
        Ports.Interrupt(0, 0, 0);
        Ports.Settle();
        Ports.Interrupts.Clear();
        driver.Status = 0;
        Assert.That(Messages(), Is.EqualTo(new (int, MessageCode?)[] { (0, MessageCode.DeassertIntA) }));
        Ports.Interrupt(0, 0, 0);
        Assert.That(Messages(), Is.Empty, "no interrupt while the reset is pending");
        Assert.That(Ports.Read(0, driver.Bar0 + RegisterMap.Bar.VirtioIsr, 1), Is.Zero);
    }

    [Test]
    public void Intx_AtFunctionLevelReset_IsDeasserted()
    {
        new VirtioDriver(Ports, 1).Start();
        Ports.Interrupt(0, 1, 0);
        Ports.Settle();
        Ports.Interrupts.Clear();
        Ports.ConfigWrite(0, 1, 0x48, 0x8000, 0b0010);
        Assert.That(Messages(), Is.EqualTo(new (int, MessageCode?)[] { (1, MessageCode.DeassertIntA) }));
    }

    [Test]
    public void Msix_AtFunctionLevelReset_HasItsResetValues()
    {
        VirtioDriver other = StartMsix(0);
        VirtioDriver driver = StartMsix(1);
        driver.SetMsix(enable: true, functionMask: true);
        Ports.Interrupt(0, 1, 0);
        Ports.Settle();
        Assert.That(Ports.Read(0, driver.Bar1 + RegisterMap.Bar.MsixPba, 4), Is.Not.Zero);
        Ports.ConfigWrite(0, 1, 0x48, 0x8000, 0b0010);
        Ports.Settle();
        driver.Enable();
        Assert.That(Ports.Read(0, driver.Bar1 + RegisterMap.Bar.MsixPba, 4), Is.Zero);
        for (uint vector = 0; vector < 9; vector++)
        {
            Assert.That(Enumerable.Range(0, 4).Select(i => Ports.Read(0, driver.Bar1 + (vector * 16) + (uint)(4 * i), 4)), Is.EqualTo(new uint[] { 0, 0, 0, 1 }));
        }

        Assert.That(Ports.Read(0, other.Bar1 + 16 + 8, 4), Is.EqualTo(0x41), "the other function's");
    }

    [Test]
    public void MsixTable_Written_ReadsBack()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Enable();
        for (uint vector = 0; vector < 9; vector++)
        {
            uint entry = driver.Bar1 + (vector * 16);
            Assert.That(ReadEntry(entry), Is.EqualTo(new uint[] { 0, 0, 0, 1 }), "reset value: masked");
            for (uint i = 0; i < 4; i++)
            {
                Ports.Write(0, entry + (4 * i), 0xA0B0_C0F0 + vector + (i << 16) & ~3u, 4);
            }
        }

        for (uint vector = 0; vector < 9; vector++)
        {
            uint word = (0xA0B0_C0F0 + vector) & ~3u;
            Assert.That(ReadEntry(driver.Bar1 + (vector * 16)), Is.EqualTo(new[] { word, word + 0x1_0000, word + 0x2_0000, 0u }));
        }

        Assert.That(Ports.Read(0, driver.Bar1 + (9 * 16), 4), Is.Zero, "beyond the table");

        uint[] ReadEntry(uint entry) => [.. Enumerable.Range(0, 4).Select(i => Ports.Read(0, entry + (uint)(4 * i), 4))];
    }

    [Test]
    [Clause("virtio 4.1.4.5.1-2")]
    public void Msix_Raised_SendsTheEntryOfTheVector()
    {
        VirtioDriver driver = StartMsix(0);
        Ports.Interrupt(0, 0, 1);
        Ports.Interrupt(0, 0, ConfigurationChange);
        Ports.Interrupt(0, 0, 0);
        Assert.That(Data(), Is.EqualTo(new uint[] { 0x42, 0x40, 0x41 }));
        Assert.That(Ports.ConfigRead(0, 0, 0x04).Dword & 0x0008_0000, Is.Zero, "Interrupt Status is INTx's");
        Assert.That(Ports.Read(0, driver.Bar0 + RegisterMap.Bar.VirtioIsr, 1), Is.EqualTo(2), "of the ISR only the configuration change is told with MSI-X");
    }

    [Test]
    [Clause("virtio 4.1.5.3.1-1")]
    [Clause("virtio 4.1.5.4.1-1")]
    public void Msix_WithoutVector_Vanishes()
    {
        VirtioDriver driver = StartMsix(0);
        driver.SetQueue(1, VirtioDriver.QueueVector, 0xFFFF, 2);
        Ports.Settle();
        Ports.Interrupt(0, 0, 1);
        Ports.Interrupt(0, 0, 8);
        Ports.Interrupt(0, 0, 0x1234);
        Ports.Interrupt(0, 2, 0);
        driver.SetCommon(VirtioDriver.ConfigVector, 0xFFFF, 2);
        Ports.Settle();
        Ports.Interrupt(0, 0, ConfigurationChange);
        Ports.WriteRegister(PortDriver.FunctionRegister(0, RegisterMap.Function.Control), 5);
        Assert.That(Ports.AllInterrupts(), Is.Empty);
        Assert.That(Ports.Read(0, driver.Bar1 + RegisterMap.Bar.MsixPba, 4), Is.Zero);
    }

    [Test]
    public void Msix_WithEntryMasked_IsPendingAndSentOnceWhenUnmasked()
    {
        VirtioDriver driver = StartMsix(1);
        driver.SetVector(1, 0x41, masked: true);
        Ports.Settle();
        Ports.Interrupt(0, 1, 0);
        Ports.Interrupt(0, 1, 0);
        Ports.Interrupt(0, 1, 1);
        Assert.That(Data(), Is.EqualTo(new[] { 0x42u }), "other vectors are not held up");
        Assert.That(Ports.Read(0, driver.Bar1 + RegisterMap.Bar.MsixPba, 4), Is.EqualTo(2));
        Ports.Write(0, driver.Bar1 + RegisterMap.Bar.MsixPba, 0, 4);
        Assert.That(Ports.Read(0, driver.Bar1 + RegisterMap.Bar.MsixPba, 4), Is.EqualTo(2), "pending bits are read-only");
        Ports.Write(0, driver.Bar1 + 16 + 8, 0x55, 4);
        Ports.Write(0, driver.Bar1 + 16 + 12, 0, 4);
        Assert.That(Data(), Is.EqualTo(new[] { 0x55u }), "with what the entry holds then");
        Assert.That(Ports.Read(0, driver.Bar1 + RegisterMap.Bar.MsixPba, 4), Is.Zero);
    }

    [Test]
    public void Msix_WithFunctionMask_IsPendingAndSentWhenItIsCleared()
    {
        VirtioDriver driver = StartMsix(0);
        driver.SetMsix(true, functionMask: true);
        Ports.Interrupt(0, 0, 1);
        Ports.Interrupt(0, 0, ConfigurationChange);
        Assert.That(Ports.AllInterrupts(), Is.Empty);
        Assert.That(Ports.Read(0, driver.Bar1 + RegisterMap.Bar.MsixPba, 4), Is.EqualTo(5));
        driver.SetMsix(true);
        Assert.That(Data(), Is.EquivalentTo(new uint[] { 0x40, 0x42 }));
    }

    [Test]
    public void Msix_WithoutBusMaster_IsPendingAndSentWhenItIsSet()
    {
        VirtioDriver driver = StartMsix(0);
        Ports.ConfigWrite(0, 0, 0x04, 0x0002, 0b0011);
        Ports.Interrupt(0, 0, 0);
        Assert.That(Ports.AllInterrupts(), Is.Empty);
        Assert.That(Ports.Read(0, driver.Bar1 + RegisterMap.Bar.MsixPba, 4), Is.EqualTo(2));
        Ports.ConfigWrite(0, 0, 0x04, 0x0006, 0b0011);
        Assert.That(Data(), Is.EqualTo(new[] { 0x41u }));
    }

    [Test]
    public void Msix_Enabled_SilencesIntx()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Start();
        Ports.Interrupt(0, 0, 0);
        Ports.Settle();
        Ports.Interrupts.Clear();
        driver.SetMsix(true);
        Assert.That(Messages(), Is.EqualTo(new (int, MessageCode?)[] { (0, MessageCode.DeassertIntA) }));
        driver.SetMsix(false);
        Assert.That(Messages(), Is.EqualTo(new (int, MessageCode?)[] { (0, MessageCode.AssertIntA) }));
    }

    [Test]
    public void Msix_ToAddressAbove4GiB_HasALongHeader()
    {
        VirtioDriver driver = StartMsix(0);
        ulong address = HostMemory.High + 0x100;
        Ports.Write(0, driver.Bar1 + 16, (uint)address, 4);
        Ports.Write(0, driver.Bar1 + 16 + 4, (uint)(address >> 32), 4);
        Ports.Write(0, driver.Bar1 + 16 + 8, 0x8765_4321, 4);
        Ports.Settle();
        Ports.Interrupt(0, 0, 0);
        Ports.Settle();
        Assert.That(BitConverter.ToUInt32(Ports.Memory[0][address, 4]), Is.EqualTo(0x8765_4321));
    }

    [Test]
    public void ConfigChanged_WithDriverOk_RaisesTheConfigurationVector()
    {
        StartMsix(1);
        Ports.WriteRegister(PortDriver.FunctionRegister(1, RegisterMap.Function.Control), 4);
        Assert.That(Data(), Is.EqualTo(new[] { 0x40u }));
    }

    /// <summary>Vector 0 for the configuration, 1 + q for queue q; data 0x40 + vector.</summary>
    private VirtioDriver StartMsix(int function)
    {
        VirtioDriver driver = new VirtioDriver(Ports, function).Start();
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
        Ports.Settle();
        return driver;
    }

    private (int Function, MessageCode? Message)[] Messages() => [.. Ports.AllInterrupts().Select(i => (i.Function, i.Message))];

    private uint[] Data()
    {
        InterruptSignal[] all = Ports.AllInterrupts();
        Assert.That(all.Select(i => (i.Address, i.Message)), Is.All.EqualTo((PortDriver.MessageBase, (MessageCode?)null)));
        return [.. all.Select(i => i.Data)];
    }
}
