// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Fpga.Tests.Driver;
using BackEnd = Cosim.Fpga.RegisterMap.BackEnd;
using Management = Cosim.Fpga.RegisterMap.Management;

namespace Cosim.Waveforms.Tests.Scenarios;

/// <summary>The back-end endpoint on port 1: CONTRACT.md, 3.</summary>
internal static class BackEndWaves
{
    /// <summary>Enumeration of the endpoint, its identification, CONTROL told as an event, STATUS, and offsets without a register.</summary>
    public static void Registers(Scenario s)
    {
        s.Show("backend_inst.state", "backend_inst.control_mark");
        foreach (int offset in new[] { 0x00, 0x08, 0x0C, 0x2C })
        {
            _ = s.Ports.ConfigRead(1, 0, offset);
        }

        Assert.That(s.Ports.ConfigRead(1, 1, 0x00).Status, Is.EqualTo(Pcie.CompletionStatus.UnsupportedRequest));
        foreach (int bar in new[] { 0x10, 0x14, 0x18 })
        {
            s.Ports.ConfigWrite(1, 0, bar, 0xFFFF_FFFF);
            _ = s.Ports.ConfigRead(1, 0, bar);
        }

        s.EnableBackEnd();
        foreach (uint register in new[] { BackEnd.Id, BackEnd.Version, BackEnd.Geometry, BackEnd.Vectors, 0x30u, 0x0FFCu, 0x1800u, 0xFFFCu })
        {
            _ = Read(s, register);
        }

        Write(s, BackEnd.Control, 1);
        s.Ports.Settle();
        Write(s, BackEnd.Control, 1);
        Write(s, BackEnd.Control, 0xABCD_0000);
        s.Ports.Settle();
        _ = Read(s, BackEnd.Control);
        _ = s.Ports.ReadRegister(Management.BeControl);
        s.Ports.WriteRegister(Management.BeStatus, 0x1234_5671);
        s.Ports.Settle();
        Write(s, BackEnd.Status, 0);
        Assert.That(Read(s, BackEnd.Status), Is.EqualTo(0x1234_5671));
    }

    /// <summary>A message into host 2's mailbox: filled, told, read, acknowledged; an acknowledgement of nothing.</summary>
    public static void MailboxToHost(Scenario s)
    {
        s.Show("backend_inst.state", "backend_inst.f2h_length", "backend_inst.ack_mark");
        s.EnableBackEnd();
        s.Begin();
        for (uint offset = 0; offset < 16; offset += 4)
        {
            s.Ports.WriteRegister(Management.F2hData + offset, 0x5A00_0000 + offset);
        }

        s.Ports.WriteRegister(Management.F2hData + 1020, 0x5A00_03FC);
        s.Ports.WriteRegister(Management.F2hControl, 1024);
        s.Ports.Interrupt(1, 0, 0);
        s.Ports.Settle();
        Assert.That(Read(s, BackEnd.F2hStatus), Is.EqualTo(1024));
        Write(s, BackEnd.F2hData, 0);
        foreach (uint offset in new uint[] { 0, 4, 8, 12, 1020 })
        {
            Assert.That(Read(s, BackEnd.F2hData + offset), Is.EqualTo(0x5A00_0000 + offset));
        }

        Write(s, BackEnd.F2hAck, 0);
        s.Ports.Settle();
        Assert.That(Read(s, BackEnd.F2hStatus), Is.Zero);
        Assert.That(s.Ports.ReadRegister(Management.F2hControl), Is.Zero);
        Write(s, BackEnd.F2hAck, 1);
        s.Ports.Settle();
    }

    /// <summary>A message from host 2: lengths that are ignored, posted once, read and cleared by the management port.</summary>
    public static void MailboxFromHost(Scenario s)
    {
        s.Show("backend_inst.state", "backend_inst.h2f_length", "backend_inst.post_mark");
        s.EnableBackEnd();
        s.Begin();
        for (uint offset = 0; offset < 16; offset += 4)
        {
            Write(s, BackEnd.H2fData + offset, 0xC300_0000 + offset);
        }

        s.Ports.Write(1, Scenario.BackEndBar0 + BackEnd.H2fData + 5, 0xEE, 1);
        Write(s, BackEnd.H2fPost, 0);
        Write(s, BackEnd.H2fPost, 1025);
        s.Ports.Settle();
        Write(s, BackEnd.H2fPost, 1024);
        Write(s, BackEnd.H2fPost, 8);
        s.Ports.Settle();
        Assert.That(Read(s, BackEnd.H2fStatus), Is.EqualTo(1024));
        Assert.That(s.Ports.ReadRegister(Management.H2fControl), Is.EqualTo(1024));
        Assert.That(s.Ports.ReadRegister(Management.H2fData), Is.EqualTo(0xC300_0000));
        Assert.That(s.Ports.ReadRegister(Management.H2fData + 4), Is.EqualTo(0xC300_EE04));
        Assert.That(Read(s, BackEnd.H2fData + 4), Is.EqualTo(0xC300_EE04));
        s.Ports.WriteRegister(Management.H2fControl, 1);
        s.Ports.Settle();
        Assert.That(Read(s, BackEnd.H2fStatus), Is.Zero);
        Write(s, BackEnd.H2fPost, 12);
        s.Ports.Settle();
    }

    /// <summary>Doorbells of both devices as fast as the port takes them, merged; and those that are not there.</summary>
    public static void DoorbellStorm(Scenario s)
    {
        s.Show("backend_inst.bell_mark", "backend_inst.ev_valid");
        s.EnableBackEnd();
        s.Begin();
        for (uint i = 0; i < 32; i++)
        {
            Write(s, BackEnd.Doorbell + (i % 2 * 0x400) + (i / 2 % 4 * 4), i);
        }

        Assert.That(s.Ports.AllEvents().Distinct().Count(), Is.EqualTo(8));
        foreach (uint offset in new uint[] { 0x1C, 0x20, 0x3FC, 0x41C, 0x420, 0x800, 0xDFFC })
        {
            Write(s, BackEnd.Doorbell + offset, 0);
        }

        Assert.That(s.Ports.AllEvents(), Has.Length.EqualTo(2));
    }

    /// <summary>MSI-X of the first, a masked and the last vector, and of vectors beyond the table.</summary>
    public static void Msix(Scenario s)
    {
        s.Show("port1_inst.msix_inst.state", "p1_irq_valid", "p1_irq_vector");
        s.EnableBackEnd();
        foreach (uint vector in new uint[] { 0, 1, 16 })
        {
            uint entry = Scenario.BackEndBar1 + (vector * 16);
            s.Ports.Write(1, entry, (uint)PortDriver.MessageBase, 4);
            s.Ports.Write(1, entry + 8, 0x100 + vector, 4);
            s.Ports.Write(1, entry + 12, vector == 1 ? 1u : 0, 4);
        }

        s.Ports.ConfigWrite(1, 0, 0x80, 0x8000_0000, 0b1100);
        s.Begin();
        foreach (uint vector in new uint[] { 0, 1, 16, 17, 18 })
        {
            s.Ports.Interrupt(1, 0, vector);
        }

        s.Ports.Interrupt(1, 1, 0);
        s.Ports.Settle();
        Assert.That(s.Ports.Read(1, Scenario.BackEndBar1 + RegisterMap.Bar.MsixPba, 4), Is.EqualTo(2));
        s.Ports.Write(1, Scenario.BackEndBar1 + 16 + 12, 0, 4);
        Assert.That(s.Ports.AllInterrupts().Select(i => i.Data), Is.EqualTo(new uint[] { 0x100, 0x110, 0x101 }));
    }

    /// <summary>INTA of the endpoint: a level of all vectors until INTX_STATUS is read; a zero-length read does not clear it.</summary>
    public static void Intx(Scenario s)
    {
        s.Show("p1_intx", "backend_inst.intx_status", "port1_inst.intx_inst.told");
        s.EnableBackEnd();
        s.Begin();
        s.Ports.Interrupt(1, 0, 0);
        s.Ports.Interrupt(1, 0, 16);
        s.Ports.Settle();
        _ = s.Ports.MemoryRead(1, Scenario.BackEndBar0 + BackEnd.IntxStatus, 0);
        Assert.That(Read(s, BackEnd.IntxStatus), Is.EqualTo(0x1_0001));
        Assert.That(Read(s, BackEnd.IntxStatus), Is.Zero);
        Assert.That(s.Ports.AllInterrupts(), Has.Length.EqualTo(2));
    }

    private static uint Read(Scenario s, uint offset) => s.Ports.Read(1, Scenario.BackEndBar0 + offset, 4);

    private static void Write(Scenario s, uint offset, uint value) => s.Ports.Write(1, Scenario.BackEndBar0 + offset, value, 4);
}
