// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Fpga.Tests.Driver;
using Cosim.Pcie;

namespace Cosim.Waveforms.Tests.Scenarios;

/// <summary>Configuration space: CONTRACT.md, 2 and 3.</summary>
internal static class ConfigurationWaves
{
    /// <summary>A host finds the functions of port 0, sizes the BARs of function 0, places them and switches it on.</summary>
    public static void Enumeration(Scenario s)
    {
        s.Show("p0_requester", "p0_bme", "port0_inst.memory_enable", "port0_inst.completer_inst.state");
        Enumerate(s.Ports, revisionOffset: 0x08);
    }

    /// <summary>The same, with another register read in one place.</summary>
    internal static void Enumerate(PortDriver ports, int revisionOffset)
    {
        const uint Window = 0xE000_0000;
        Assert.That(ports.ConfigRead(0, 0, 0x00).Dword & 0xFFFF, Is.EqualTo(0x1AF4), "vendor");
        Assert.That(ports.ConfigRead(0, 0, 0x0C).Dword & 0x00FF_0000, Is.EqualTo(0x0080_0000), "several functions");
        Assert.That(ports.ConfigRead(0, 1, 0x00).Dword & 0xFFFF, Is.EqualTo(0x1AF4), "vendor of function 1");
        Assert.That(ports.ConfigRead(0, 2, 0x00).Status, Is.EqualTo(CompletionStatus.UnsupportedRequest), "there is no function 2");
        foreach (int offset in new[] { revisionOffset, 0x2C, 0x3C })
        {
            _ = ports.ConfigRead(0, 0, offset);
        }

        uint address = Window;
        for (int bar = 0x10; bar < 0x28; bar += 4)
        {
            ports.ConfigWrite(0, 0, bar, 0xFFFF_FFFF);
            uint size = ~ports.ConfigRead(0, 0, bar).Dword + 1;
            if (size != 0)
            {
                ports.ConfigWrite(0, 0, bar, address);
                address += size;
            }
        }

        Assert.That(address, Is.EqualTo(Window + 0x8000), "two BARs of 16 KiB");
        Assert.That(ports.MemoryRead(0, Window + 0x12, 2).Status, Is.EqualTo(CompletionStatus.UnsupportedRequest), "Memory Space is off");
        ports.ConfigWrite(0, 0, 0x04, 0x0000_0006, 0b0011);
        Assert.That(ports.ConfigRead(0, 0, 0x04).Dword & 0xFFFF, Is.EqualTo(6), "Memory Space and Bus Master");
        Assert.That(ports.Read(0, Window + 0x12, 2), Is.EqualTo(8), "num_queues");
    }

    /// <summary>The capability lists of virtio function 1 and of the back-end endpoint, each capability whole.</summary>
    public static void CapabilityWalk(Scenario s)
    {
        s.Show("port0_inst.completer_inst.state", "port1_inst.completer_inst.state");
        Assert.That(Walk(s.Ports, port: 0, function: 1), Is.EqualTo(7));
        Assert.That(Walk(s.Ports, port: 1, function: 0), Is.EqualTo(2));
    }

    /// <summary>Which bits of which registers a host can write, with all byte enables and with some.</summary>
    public static void WritableBits(Scenario s)
    {
        s.Show("p0_bme", "p0_msix", "port0_inst.memory_enable", "port0_inst.intx_disable", "port0_inst.msix_mask");
        foreach (int offset in new[] { 0x00, 0x04, 0x0C, 0x10, 0x14, 0x18, 0x30, 0x34, 0x3C, 0x48, 0x50, 0x80, 0x84, 0xD8, 0xDC, 0xE0, 0x100 })
        {
            // FLR, bit 15 of Device Control, is another scenario's.
            s.Ports.ConfigWrite(0, 0, offset, offset == 0x48 ? 0xFFFF_7FFF : 0xFFFF_FFFF);
            _ = s.Ports.ConfigRead(0, 0, offset);
            s.Ports.ConfigWrite(0, 0, offset, 0);
            _ = s.Ports.ConfigRead(0, 0, offset);
        }

        for (int enables = 0; enables < 16; enables += 3)
        {
            s.Ports.ConfigWrite(0, 0, 0x10, 0xFFFF_FFFF, (byte)enables);
            _ = s.Ports.ConfigRead(0, 0, 0x10, (byte)enables);
            s.Ports.ConfigWrite(0, 0, 0x10, 0);
        }
    }

    /// <summary>The device takes bus and device number from a CfgWr0; functions that do not exist are refused under the number asked for.</summary>
    public static void CapturedBusNumber(Scenario s)
    {
        s.Show("p0_requester", "port0_inst.completer_inst.bus_device");
        Assert.That(Raw(s.Ports, 0x0400_0001, 0x0518, 0x00).Completer, Is.EqualTo(RoutingId.Fpga(0)), "a read captures nothing");
        Assert.That(Raw(s.Ports, 0x4400_0001, 0x0518, 0x3C, 0x2A).Completer, Is.EqualTo(new RoutingId(5, 3, 0)));
        Assert.That(Raw(s.Ports, 0x0400_0001, 0x0519, 0x3C).Completer, Is.EqualTo(new RoutingId(5, 3, 1)));
        Assert.That(Raw(s.Ports, 0x0400_0001, 0x051F, 0x00).Status, Is.EqualTo(CompletionStatus.UnsupportedRequest));
        Assert.That(Raw(s.Ports, 0x4400_0001, 0x0722, 0x3C, 0).Status, Is.EqualTo(CompletionStatus.UnsupportedRequest));
        _ = s.Ports.MemoryRead(0, 0x1000, 4);
        _ = s.Ports.ConfigWrite(0, 0, 0x3C, 0);
    }

    /// <summary>BAR0 through the window in configuration space, with Memory Space off; bad bars, lengths and offsets.</summary>
    public static void PciCfgAccess(Scenario s)
    {
        s.Show("functions_inst.state", "p0_acc_enable", "p0_acc_address", "p0_acc_be");
        new VirtioDriver(s.Ports, 1).Describe(VirtioDriver.Version1);
        s.Begin();
        foreach ((uint bar, uint offset, uint length) in new (uint, uint, uint)[]
        {
            (0, 0x12, 2), (0, 0x14, 1), (0, 0x16, 2), (0, 0x24, 4), (0, 0x300C, 2), (1, 0x14, 4), (0, 0x14, 3), (0, 0x14, 8), (0, 0x15, 2), (0, 0x4014, 4),
        })
        {
            s.Ports.ConfigWrite(0, 1, 0xD8, bar, 0b0001);
            s.Ports.ConfigWrite(0, 1, 0xDC, offset);
            s.Ports.ConfigWrite(0, 1, 0xE0, length);
            s.Ports.ConfigWrite(0, 1, 0xE4, 0x0000_0003);
            _ = s.Ports.ConfigRead(0, 1, 0xE4);
        }
    }

    /// <summary>FLR of a virtio function with an interrupt asserted and queues enabled, and of the back-end endpoint with both mailboxes full.</summary>
    public static void FunctionLevelReset(Scenario s)
    {
        s.Show("functions_inst.state", "functions_inst.reset_pending", "p0_flr", "p0_intx", "backend_inst.state", "p1_flr", "port0_inst.msix_inst.state");
        VirtioDriver driver = new VirtioDriver(s.Ports, 1).Start();
        s.EnableBackEnd();
        s.Ports.Write(1, Scenario.BackEndBar0 + RegisterMap.BackEnd.H2fPost, 16, 4);
        s.Ports.WriteRegister(RegisterMap.Management.F2hControl, 32);
        s.Ports.Interrupt(0, 1, 0);
        s.Begin();
        s.Ports.ConfigWrite(0, 1, 0x48, 0x8000, 0b0010);
        _ = s.Ports.ConfigRead(0, 1, 0x48);
        driver.Enable();
        Assert.That(driver.Status, Is.EqualTo(0x40));
        Assert.That(s.Ports.AllEvents().Select(e => e.Opcode), Is.EqualTo(new[] { RegisterMap.Opcode.Flr, RegisterMap.Opcode.Status }));
        s.SetFunction(1, RegisterMap.Function.Control, 2);
        s.Ports.Settle();
        Assert.That(driver.Status, Is.Zero);
        s.Ports.ConfigWrite(1, 0, 0x48, 0x8000, 0b0010);
        s.EnableBackEnd();
        _ = s.Ports.Read(1, Scenario.BackEndBar0 + RegisterMap.BackEnd.H2fStatus, 4);
        _ = s.Ports.Read(1, Scenario.BackEndBar0 + RegisterMap.BackEnd.F2hStatus, 4);
    }

    private static int Walk(PortDriver ports, int port, int function)
    {
        int count = 0;
        for (uint at = ports.ConfigRead(port, function, 0x34).Dword & 0xFC; at != 0; count++)
        {
            uint head = ports.ConfigRead(port, function, (int)at).Dword;
            int dwords = (head & 0xFF) switch { 0x10 => 15, 0x09 => (int)((head >> 16) & 0xFF) / 4, _ => 3 };
            for (int dword = 1; dword < dwords; dword++)
            {
                _ = ports.ConfigRead(port, function, (int)at + (4 * dword));
            }

            at = (head >> 8) & 0xFC;
        }

        return count;
    }

    private static Answer Raw(PortDriver ports, uint dw0, uint target, uint register, params ReadOnlySpan<uint> data)
    {
        byte tag = ports.NewTag();
        ports.SendRaw(0, dw0, ((uint)tag << 8) | 0xF, (target << 16) | register, 0, data);
        return ports.Await(0, tag);
    }
}
