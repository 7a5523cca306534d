// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Fpga.Tests.Driver;
using Cosim.Pcie;

namespace Cosim.Waveforms.Tests.Scenarios;

/// <summary>Requests of a root port and what is refused: CONTRACT.md, 2.</summary>
internal static class RequestWaves
{
    /// <summary>UR: no BAR there, Memory Space off, requests of kinds that the FPGA does not know; CA: reads of more than 2 DWs.</summary>
    public static void Refused(Scenario s)
    {
        s.Show("port0_inst.rx_inst.state", "port0_inst.completer_inst.state", "port0_inst.completer_inst.status");
        VirtioDriver driver = new VirtioDriver(s.Ports, 0).Enable();
        s.Begin();
        foreach (ulong address in new[] { 0ul, driver.Bar0 - 4, driver.Bar0 + 0x4000, driver.Bar1 + 0x4000, (1ul << 32) + driver.Bar0 })
        {
            Assert.That(s.Ports.MemoryRead(0, address, 4).Status, Is.EqualTo(CompletionStatus.UnsupportedRequest));
        }

        foreach (int length in new[] { 12, 64, 4096 })
        {
            Assert.That(s.Ports.MemoryRead(0, driver.Bar0, length).Status, Is.EqualTo(CompletionStatus.CompleterAbort));
        }

        // MRdLk, IORd, CfgRd1, IOWr, CfgWr1 and an AtomicOp.
        foreach ((uint type, uint[] data) in new (uint, uint[])[]
        {
            (0x0100_0001, []), (0x0200_0001, []), (0x0500_0001, []), (0x4200_0001, [1]), (0x4500_0001, [1]), (0x4C00_0001, [1]),
        })
        {
            byte tag = s.Ports.NewTag();
            s.Ports.SendRaw(0, type, ((uint)tag << 8) | 0xF, driver.Bar0, 0, data);
            Assert.That(s.Ports.Await(0, tag).Status, Is.EqualTo(CompletionStatus.UnsupportedRequest));
        }

        s.Ports.ConfigWrite(0, 0, 0x04, 0x0004, 0b0011);
        s.Ports.Write(0, driver.Bar0 + VirtioDriver.DeviceStatus, 1, 1);
        Assert.That(s.Ports.MemoryRead(0, driver.Bar0, 4).Status, Is.EqualTo(CompletionStatus.UnsupportedRequest));
    }

    /// <summary>Posted packets that are dropped: long writes, writes with more data than their Length says, writes beside the BARs, messages.</summary>
    public static void Dropped(Scenario s)
    {
        s.Show("port0_inst.rx_inst.state", "port0_inst.completer_inst.state");
        VirtioDriver driver = new VirtioDriver(s.Ports, 0).Describe(VirtioDriver.Version1).Enable();
        s.Begin();
        s.Ports.WriteBytes(0, driver.Bar0 + VirtioDriver.QueueDesc, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        s.Ports.WriteBytes(0, driver.Bar0 + VirtioDriver.QueueDesc + 8, new byte[128]);
        s.Ports.SendRaw(0, 0x4000_0002, 0xFF, driver.Bar0 + VirtioDriver.QueueDesc, 0, 1, 2, 3);
        s.Ports.SendRaw(0, 0x4000_0001, 0x0F, driver.Bar0 + VirtioDriver.QueueDesc, 0, 1, 2);
        s.Ports.Write(0, driver.Bar0 + 0x4000, 1, 4);
        s.Ports.SendRaw(0, 0x3400_0000, 0x0000_0019, 0, 0);
        s.Ports.SendRaw(0, 0x7400_0002, 0x0000_0050, 0, 0, 1, 2);
        Assert.That(driver.Common(VirtioDriver.QueueDesc, 4), Is.Zero);
        Assert.That(driver.Common(VirtioDriver.QueueDesc + 8, 4), Is.Zero);
    }

    /// <summary>Writes and reads with every set of byte enables, of one and of two DWs; a zero-length read of ISR clears nothing.</summary>
    public static void ByteEnables(Scenario s)
    {
        s.Show("p0_acc_enable", "p0_acc_be", "port0_inst.completer_inst.byte_count", "port0_inst.completer_inst.lower_address");
        VirtioDriver driver = new VirtioDriver(s.Ports, 0).Start();
        s.Ports.Interrupt(0, 0, 0);
        s.Begin();
        for (uint enables = 0; enables < 16; enables++)
        {
            s.Ports.SendRaw(0, 0x4000_0001, enables, driver.Bar0 + VirtioDriver.QueueDesc, 0, 0x1111_1111 * enables);
            Read(s, 1, driver.Bar0 + VirtioDriver.QueueDesc, enables);
        }

        foreach (uint enables in new uint[] { 0x1F, 0xF1, 0x88, 0x48, 0x3C, 0x69 })
        {
            Read(s, 2, driver.Bar0 + VirtioDriver.QueueDesc, enables);
        }

        _ = s.Ports.MemoryRead(0, driver.Bar0 + RegisterMap.Bar.VirtioIsr, 0);
        Assert.That(s.Ports.Read(0, driver.Bar0 + RegisterMap.Bar.VirtioIsr, 1), Is.EqualTo(1));
    }

    /// <summary>Accesses of 8 bytes to registers, offsets without a register, requests that follow each other at once.</summary>
    public static void Accesses(Scenario s)
    {
        s.Show("port0_inst.completer_inst.state", "p0_acc_enable", "p0_acc_write", "p0_acc_address");
        VirtioDriver driver = new VirtioDriver(s.Ports, 0).Describe(VirtioDriver.Version1).Enable();
        s.Begin();
        s.Ports.WriteBytes(0, driver.Bar0 + VirtioDriver.QueueDesc, [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
        _ = s.Ports.MemoryRead(0, driver.Bar0 + VirtioDriver.QueueDesc, 8);
        foreach (uint offset in new uint[] { 0x3C, 0xFFC, 0x1004, 0x2100, 0x3020, 0x3FFC })
        {
            s.Ports.Write(0, driver.Bar0 + offset, 0xFFFF_FFFF, 4);
            _ = s.Ports.Read(0, driver.Bar0 + offset, 4);
        }

        byte[] tags = [.. Enumerable.Range(0, 6).Select(_ => s.Ports.NewTag())];
        foreach (byte tag in tags)
        {
            s.Ports.SendRead(0, tag, driver.Bar0 + VirtioDriver.QueueDesc, 8);
            s.Ports.Write(0, driver.Bar0 + VirtioDriver.QueueDesc, tag, 1);
        }

        foreach (byte tag in tags)
        {
            _ = s.Ports.Await(0, tag);
        }
    }

    /// <summary>Requests while the streams pause, both ways: a virtio set-up and an interrupt.</summary>
    public static void BackPressure(Scenario s)
    {
        s.Pauses = new LinkPauses(110, 110, 9);
        s.Show("port0_inst.completer_inst.state", "p0_rx_valid", "p0_rx_ready");
        VirtioDriver driver = new VirtioDriver(s.Ports, 0).Start();
        driver.SetVector(1, 0x41, masked: false);
        driver.SetQueue(0, VirtioDriver.QueueVector, 1, 2);
        driver.SetMsix(true);
        s.Begin();
        for (int i = 0; i < 4; i++)
        {
            driver.Notify(i, (uint)i);
            s.Ports.Interrupt(0, 0, 0);
            _ = driver.Common(VirtioDriver.QueueDesc, 4);
            s.Ports.Write(0, driver.Bar0 + 0x2000, (uint)i, 1);
        }

        s.Ports.Settle();
    }

    private static void Read(Scenario s, uint dwords, ulong address, uint enables)
    {
        byte tag = s.Ports.NewTag();
        s.Ports.SendRaw(0, dwords, ((uint)tag << 8) | enables, (uint)address, 0);
        _ = s.Ports.Await(0, tag);
    }
}
