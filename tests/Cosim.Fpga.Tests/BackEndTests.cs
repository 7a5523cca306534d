// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga.Tests.Driver;
using Cosim.Pcie;
using BackEnd = Cosim.Fpga.RegisterMap.BackEnd;
using Management = Cosim.Fpga.RegisterMap.Management;
using Opcode = Cosim.Fpga.RegisterMap.Opcode;

namespace Cosim.Fpga.Tests;

/// <summary>The back-end endpoint on port 1: CONTRACT.md, 3.</summary>
public class BackEndTests(FpgaKind kind) : FpgaFixture(kind)
{
    private const uint Bar0 = 0xD000_0000;
    private const uint Bar1 = 0xD010_0000;

    [SetUp]
    public void Enable()
    {
        Ports.ConfigWrite(1, 0, 0x10, Bar0);
        Ports.ConfigWrite(1, 0, 0x14, Bar1);
        Ports.ConfigWrite(1, 0, 0x04, 0x0006, 0b0011);
    }

    [Test]
    public void Identification_Read_TellsTheGeometry()
    {
        Assert.That(Read(BackEnd.Id), Is.EqualTo(0x4353_494D));
        Assert.That(Read(BackEnd.Version), Is.EqualTo(0x0001_0000));
        Assert.That(Read(BackEnd.Geometry), Is.EqualTo(2 | (8 << 8)));
        Assert.That(Read(BackEnd.Vectors), Is.EqualTo(17));
        Assert.That(Ports.ReadRegister(Management.Vectors), Is.EqualTo(9 | (17 << 16)));
    }

    [Test]
    public void Control_Written_IsToldAndKept()
    {
        Write(BackEnd.Control, 1);
        Assert.That(Ports.AllEvents(), Is.EqualTo(new[] { (Opcode.Backend, 1, 0, 1u, 0u) }));
        Write(BackEnd.Control, 1);
        Assert.That(Ports.AllEvents(), Is.EqualTo(new[] { (Opcode.Backend, 1, 0, 1u, 0u) }), "the same value again is told too");
        Write(BackEnd.Control, 0xABCD_0000);
        Assert.That(Ports.AllEvents(), Is.EqualTo(new[] { (Opcode.Backend, 1, 0, 0xABCD_0000u, 0u) }));
        Assert.That(Read(BackEnd.Control), Is.EqualTo(0xABCD_0000));
        Assert.That(Ports.ReadRegister(Management.BeControl), Is.EqualTo(0xABCD_0000));
    }

    [Test]
    public void Status_WrittenByManagement_IsReadByHost2()
    {
        Ports.WriteRegister(Management.BeStatus, 0x1234_5671);
        Ports.Settle();
        Assert.That(Read(BackEnd.Status), Is.EqualTo(0x1234_5671));
        Write(BackEnd.Status, 0);
        Assert.That(Ports.ReadRegister(Management.BeStatus), Is.EqualTo(0x1234_5671));
    }

    [Test]
    public void FpgaToHostMailbox_Filled_IsReadAndAcknowledged()
    {
        for (uint offset = 0; offset < 1024; offset += 4)
        {
            Ports.WriteRegister(Management.F2hData + offset, 0x5A00_0000 + offset);
        }

        Assert.That(Read(BackEnd.F2hStatus), Is.Zero);
        Ports.WriteRegister(Management.F2hControl, 1024);
        Ports.Settle();
        Assert.That(Read(BackEnd.F2hStatus), Is.EqualTo(1024));
        for (uint offset = 0; offset < 1024; offset += 4)
        {
            Assert.That(Read(BackEnd.F2hData + offset), Is.EqualTo(0x5A00_0000 + offset));
        }

        Write(BackEnd.F2hData, 0);
        Assert.That(Read(BackEnd.F2hData), Is.EqualTo(0x5A00_0000), "read-only here");
        Write(BackEnd.F2hAck, 0);
        Assert.That(Read(BackEnd.F2hStatus), Is.Zero);
        Assert.That(Ports.AllEvents(), Is.EqualTo(new[] { (Opcode.Mailbox, 1, 0, 0u, 0u) }));
        Assert.That(Ports.ReadRegister(Management.F2hControl), Is.Zero);
        Write(BackEnd.F2hAck, 1);
        Assert.That(Ports.AllEvents(), Is.Empty, "it was empty");
    }

    [Test]
    public void HostToFpgaMailbox_Posted_IsToldReadAndCleared()
    {
        for (uint offset = 0; offset < 1024; offset += 4)
        {
            Write(BackEnd.H2fData + offset, 0xC300_0000 + offset);
        }

        Ports.Write(1, Bar0 + BackEnd.H2fData + 5, 0xEE, 1);
        Write(BackEnd.H2fPost, 0);
        Write(BackEnd.H2fPost, 1025);
        Assert.That(Ports.AllEvents(), Is.Empty, "0 and more than 1024 are ignored");
        Write(BackEnd.H2fPost, 1024);
        Write(BackEnd.H2fPost, 8);
        Assert.That(Ports.AllEvents(), Is.EqualTo(new[] { (Opcode.Mailbox, 1, 0, 1u, 1024u) }), "ignored while it is full");
        Assert.That(Read(BackEnd.H2fStatus), Is.EqualTo(1024));
        Assert.That(Ports.ReadRegister(Management.H2fControl), Is.EqualTo(1024));
        Assert.That(Ports.ReadRegister(Management.H2fData), Is.EqualTo(0xC300_0000));
        Assert.That(Ports.ReadRegister(Management.H2fData + 4), Is.EqualTo(0xC300_EE04));
        Assert.That(Ports.ReadRegister(Management.H2fData + 1020), Is.EqualTo(0xC300_03FC));
        Assert.That(Read(BackEnd.H2fData + 4), Is.EqualTo(0xC300_EE04));
        Ports.WriteRegister(Management.H2fControl, 1);
        Ports.Settle();
        Assert.That(Read(BackEnd.H2fStatus), Is.Zero);
        Write(BackEnd.H2fPost, 12);
        Assert.That(Ports.AllEvents(), Is.EqualTo(new[] { (Opcode.Mailbox, 1, 0, 1u, 12u) }));
    }

    [Test]
    public void Doorbell_Written_IsToldByDeviceAndQueue()
    {
        Write(BackEnd.Doorbell, 0);
        Assert.That(Ports.AllEvents(), Is.EqualTo(new[] { (Opcode.Doorbell, 1, 0, 0u, 0u) }));
        Write(BackEnd.Doorbell + 0x400 + (7 * 4), 5);
        Assert.That(Ports.AllEvents(), Is.EqualTo(new[] { (Opcode.Doorbell, 1, 1, 7u, 0u) }));
        foreach (uint missing in new uint[] { 8 * 4, 0x3FC, 0x420, 0x800, 0x1000, 0xDFFC })
        {
            Write(BackEnd.Doorbell + missing, 0);
        }

        Assert.That(Ports.AllEvents(), Is.Empty, "no such device or queue");
    }

    [Test]
    public void Doorbell_ManyTimes_IsMergedAndNeverLost()
    {
        for (uint i = 0; i < 64; i++)
        {
            Write(BackEnd.Doorbell + (i % 2 * 0x400) + (i / 2 % 4 * 4), i);
        }

        var events = Ports.AllEvents();
        Assert.That(events, Has.Length.InRange(8, 64));
        Assert.That(events.Distinct(), Is.EquivalentTo(
            from device in Enumerable.Range(0, 2)
            from queue in Enumerable.Range(0, 4)
            select (Opcode.Doorbell, 1, device, (uint)queue, 0u)));
    }

    [Test]
    public void Doorbells_AmidNotifications_AreAllTold()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 0).Start();
        Ports.Command(Opcode.MemRead, 4096, 0);
        Ports.Command(Opcode.MemRead, 4096, 0);
        Ports.NotBefore = Ports.Fpga.Cycle + 40; // an answer is leaving: events wait
        for (int queue = 0; queue < 8; queue++)
        {
            driver.Notify(queue, (uint)queue);
            Write(BackEnd.Doorbell + ((uint)queue * 4), 1);
            Write(BackEnd.Doorbell + 0x400 + ((uint)queue * 4), 1);
        }

        Assert.That(Ports.AllEvents(), Is.EquivalentTo(Enumerable.Range(0, 8).SelectMany(q => new[]
        {
            (Opcode.Notify, 0, 0, (uint)q, (uint)q), (Opcode.Doorbell, 1, 0, (uint)q, 0u), (Opcode.Doorbell, 1, 1, (uint)q, 0u),
        })));
    }

    [Test]
    public void Msix_OfEveryVector_IsRaisedByCommand()
    {
        for (uint vector = 0; vector < 17; vector++)
        {
            uint entry = Bar1 + (vector * 16);
            Ports.Write(1, entry, (uint)PortDriver.MessageBase, 4);
            Ports.Write(1, entry + 8, 0x100 + vector, 4);
            Ports.Write(1, entry + 12, vector == 16 ? 1u : 0, 4);
        }

        Ports.ConfigWrite(1, 0, 0x80, 0x8000_0000, 0b1100);
        for (uint vector = 0; vector < 19; vector++)
        {
            Ports.Interrupt(1, 0, vector);
        }

        Ports.Interrupt(1, 1, 0);
        Assert.That(Ports.AllInterrupts().Select(i => (i.Output.Port, i.Data)), Is.EqualTo(Enumerable.Range(0, 16).Select(v => (1, 0x100u + (uint)v))));
        Assert.That(Ports.Read(1, Bar1 + RegisterMap.Bar.MsixPba, 4), Is.EqualTo(1 << 16));
    }

    [Test]
    public void Intx_OfVectors_IsALevelUntilTheStatusIsRead()
    {
        Ports.Interrupt(1, 0, 0);
        Ports.Interrupt(1, 0, 16);
        Assert.That(Ports.AllInterrupts().Select(i => (i.Output.Port, i.Message)), Is.EqualTo(new (int, MessageCode?)[] { (1, MessageCode.AssertIntA) }));
        Answer zeroLength = Ports.MemoryRead(1, Bar0 + BackEnd.IntxStatus, 0);
        Assert.That(zeroLength.ByteCount, Is.EqualTo(1));
        Answer answer = Ports.MemoryRead(1, Bar0 + BackEnd.IntxStatus, 4);
        Assert.That(answer.Dword, Is.EqualTo(0x1_0001));
        InterruptSignal[] signals = Ports.AllInterrupts();
        Assert.That(signals.Select(i => i.Message), Is.EqualTo(new MessageCode?[] { MessageCode.DeassertIntA }));
        Assert.That(signals[0].Output.Index, Is.LessThan(answer.Output.Index));
        Assert.That(Read(BackEnd.IntxStatus), Is.Zero);
    }

    [Test]
    public void FunctionLevelReset_OfBackEnd_ForgetsMailboxesAndControl()
    {
        Write(BackEnd.Control, 1);
        Write(BackEnd.H2fPost, 16);
        Ports.WriteRegister(Management.F2hControl, 32);
        Ports.WriteRegister(Management.BeStatus, 1);
        Ports.Interrupt(1, 0, 3);
        Ports.AllEvents();
        Ports.Interrupts.Clear();
        Ports.ConfigWrite(1, 0, 0x48, 0x8000, 0b0010);
        Assert.That(Ports.AllEvents(), Is.EqualTo(new[] { (Opcode.Flr, 1, 0, 0u, 0u) }));
        Assert.That(Ports.AllInterrupts().Select(i => i.Message), Is.EqualTo(new MessageCode?[] { MessageCode.DeassertIntA }));
        Assert.That(Ports.ReadRegister(Management.BeControl), Is.Zero);
        Assert.That(Ports.ReadRegister(Management.F2hControl), Is.Zero);
        Assert.That(Ports.ReadRegister(Management.H2fControl), Is.Zero);
        Assert.That(Ports.ReadRegister(Management.BeStatus), Is.EqualTo(1), "the management port's");
        Assert.That(Ports.ConfigRead(1, 0, 0x10).Dword, Is.Zero);
        Enable();
        Assert.That((Read(BackEnd.Control), Read(BackEnd.F2hStatus), Read(BackEnd.H2fStatus)), Is.EqualTo((0u, 0u, 0u)));
    }

    private uint Read(uint offset) => Ports.Read(1, Bar0 + offset, 4);

    private void Write(uint offset, uint value) => Ports.Write(1, Bar0 + offset, value, 4);
}
