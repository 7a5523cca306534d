// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Fpga.Tests.Driver;
using Management = Cosim.Fpga.RegisterMap.Management;
using Opcode = Cosim.Fpga.RegisterMap.Opcode;

namespace Cosim.Waveforms.Tests.Scenarios;

/// <summary>The management port: CONTRACT.md, 4.</summary>
internal static class ManagementWaves
{
    /// <summary>Identification, registers that keep what is written, a write right before a read, places without a register.</summary>
    public static void Registers(Scenario s)
    {
        s.Show("mgmt_inst.state_q", "reg_ack");
        foreach (uint address in new[] { Management.Id, Management.Version, Management.Geometry, Management.Vectors, Management.ScratchSize, Management.DataWidth })
        {
            _ = s.Ports.Command(Opcode.RegRead, dw2: address);
        }

        uint function = PortDriver.FunctionRegister(1, 0);
        foreach (uint offset in new[] { RegisterMap.Function.PciId, RegisterMap.Function.ClassRevision, RegisterMap.Function.Subsystem, RegisterMap.Function.DeviceFeaturesHi })
        {
            s.Ports.WriteRegister(function + offset, 0x1234_5600 + offset);
            _ = s.Ports.Command(Opcode.RegRead, dw2: function + offset);
        }

        foreach (uint address in new uint[] { 0x0018, 0x3FFC, 0x8000, 0x1_0080, 0x3_0000, 0x1_2000, 0x9000_0000 })
        {
            s.Ports.WriteRegister(address, 0xFFFF_FFFF);
            _ = s.Ports.Command(Opcode.RegRead, dw2: address);
        }

        _ = s.Ports.ConfigRead(0, 1, 0x00);
        _ = s.Ports.ConfigRead(0, 1, 0x08);
        _ = s.Ports.ConfigRead(0, 1, 0x2C);
    }

    /// <summary>Scratch: written and read in several lengths, at its end and outside of it.</summary>
    public static void ScratchAccess(Scenario s)
    {
        s.Show("mgmt_inst.state_q", "mgmt_inst.tx_state_q", "mgmt_inst.inside_q");
        byte[] pattern = [.. Enumerable.Range(0, 256).Select(i => (byte)(255 - i))];
        foreach ((uint offset, int length) in new (uint, int)[] { (0, 4), (32, 64), (128, 100), (65472, 64), (65504, 64), (65536, 32), (0xFFFF_FFE0, 64) })
        {
            s.Ports.WriteScratch(offset, pattern.AsSpan(0, length));
            _ = s.Ports.ReadScratch(offset, length);
        }

        Assert.That(s.Ports.ReadScratch(128, 100), Is.EqualTo(pattern[..100]));
    }

    /// <summary>Packets with opcodes that are none, with and without payload, are passed over.</summary>
    public static void UnknownOpcodes(Scenario s)
    {
        s.Show("mgmt_inst.state_q");
        foreach (uint opcode in new uint[] { 0x00, 0x07, 0x82, 0xFF })
        {
            _ = s.Ports.Command(opcode, 64, payload: new byte[64]);
            _ = s.Ports.Command(opcode);
        }

        _ = s.Ports.ReadRegister(Management.Id);
    }

    /// <summary>Answers and events share the stream fairly while it pauses.</summary>
    public static void AnswersBesideEvents(Scenario s)
    {
        s.Pauses = new LinkPauses(0, 100, 21);
        s.Show("mgmt_inst.tx_state_q", "ev_valid", "ev_ready");
        VirtioDriver driver = new VirtioDriver(s.Ports, 0).Start();
        s.EnableBackEnd();
        s.Begin();
        for (uint i = 0; i < 8; i++)
        {
            driver.Notify((int)i, i);
            s.Ports.Write(1, Scenario.BackEndBar0 + RegisterMap.BackEnd.Doorbell + (4 * i), 0, 4);
            _ = s.Ports.Command(Opcode.RegRead, dw2: Management.Id);
        }

        s.Ports.Settle();
    }

    /// <summary>Events of both ports that have waited for a long answer leave by turns.</summary>
    public static void EventsOfBothPorts(Scenario s)
    {
        s.Show("event_arbiter_inst.turn", "event_arbiter_inst.hold", "functions_inst.notify_mark", "backend_inst.bell_mark");
        VirtioDriver driver = new VirtioDriver(s.Ports, 0).Start();
        s.EnableBackEnd();
        s.Begin();
        ulong start = s.Fpga.Cycle + 10;
        s.Ports.NotBefore = start;
        int read = s.Ports.Command(Opcode.MemRead, 4096, 0x1_0000);
        s.Ports.NotBefore = start + 20;
        for (uint i = 0; i < 5; i++)
        {
            driver.Notify((int)i, i);
            s.Ports.Write(1, Scenario.BackEndBar0 + RegisterMap.BackEnd.Doorbell + (4 * i), 0, 4);
        }

        s.Ports.NotBefore = 0;
        _ = s.Ports.AwaitManagement(read);
        uint[] ports = [.. s.Ports.AllEvents().Select(e => (uint)e.Port)];
        Assert.That(ports, Has.Length.EqualTo(10));
        Assert.That(ports.Zip(ports.Skip(1)).Count(p => p.First != p.Second), Is.GreaterThanOrEqualTo(7), "by turns");
    }

    /// <summary>A reset of the whole FPGA in the middle of a copy and with events waiting: everything is forgotten.</summary>
    public static void FpgaReset(Scenario s)
    {
        s.Show("rst", "dma_inst.drain_inst.state_q", "functions_inst.state", "p0_bme");
        VirtioDriver driver = new VirtioDriver(s.Ports, 0).Start();
        s.EnableDma();
        s.Ports.Settle();
        s.Begin();
        s.Ports.Latency = 100;
        _ = s.Ports.Dma(0, HostMemory.Low, 1, HostMemory.Low, 1024);
        driver.Notify(0, 0);
        s.Ports.RunUntil(() => s.Ports.Requests[0].Count > 0, "the first read");
        s.Fpga.Reset();
        Assert.That(s.Ports.ConfigRead(0, 0, 0x04).Dword & 0xFFFF, Is.Zero);
        _ = s.Ports.ConfigRead(0, 0, 0x2C);
        Assert.That(driver.Enable().Status, Is.Zero);
        Assert.That(s.Ports.ReadRegister(Management.F2hControl), Is.Zero);
    }
}
