// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga.Tests.Driver;
using Cosim.Pcie;
using BackEnd = Cosim.Fpga.RegisterMap.BackEnd;
using Management = Cosim.Fpga.RegisterMap.Management;

namespace Cosim.Fpga.Tests;

/// <summary><c>rst_i</c> in the middle of work of every kind: CONTRACT.md, 1. What was inside is dropped, everything has its reset value.</summary>
public class ResetTests(FpgaKind kind) : FpgaFixture(kind)
{
    private const uint Bar0 = 0xD000_0000;
    private const uint Bar1 = 0xD010_0000;
    private const int Scratch = 2;

    [TestCase(1, 20)]
    [TestCase(2, 20)]
    public void Reset_InTheMiddleOfWork_LeavesNothingBehind(int seed, int rounds)
    {
        var random = new Random(seed);
        for (int round = 0; round < rounds; round++)
        {
            Fpga.Reset();
            var ports = new PortDriver(Fpga) { Latency = (uint)random.Next(1, 80) };
            Work(ports, random);
            ulong first = ports.NotBefore - Fpga.Cycle; // until the accesses amid the copies begin
            RunFor(ports, round % 2 == 0 ? (ulong)random.Next(1, 250) : first + (ulong)random.Next(1, 50));
            Fpga.Reset();
            Check(new PortDriver(Fpga), $"seed {seed}, round {round}");
        }
    }

    /// <summary>The first packets to the management port after a reset, at every distance.</summary>
    [Test]
    public void Reset_BeforeAnEventAndAnAnswer_GivesBoth()
    {
        for (ulong distance = 0; distance < 24; distance++)
        {
            Fpga.Reset();
            var ports = new PortDriver(Fpga);
            ports.ConfigWrite(1, 0, 0x10, Bar0);
            ports.ConfigWrite(1, 0, 0x04, 0x0006, 0b0011);
            ulong start = Fpga.Cycle + 50;
            ports.NotBefore = start + distance;
            ports.Write(1, Bar0 + BackEnd.Doorbell, 1, 4);
            ports.NotBefore = start + 12;
            int answer = ports.Command(RegisterMap.Opcode.RegRead, dw2: Management.Id);
            Assert.That(ports.AwaitManagement(answer).Dw4, Is.EqualTo(0x4353_494D));
            Assert.That(ports.AllEvents(), Is.EqualTo(new[] { (RegisterMap.Opcode.Doorbell, 1, 0, 0u, 0u) }), $"distance {distance}");
            ports.NotBefore = 0;
            Assert.That(ports.ReadRegister(Management.Id), Is.EqualTo(0x4353_494D), "an answer was last");
        }
    }

    private static void Work(PortDriver ports, Random random)
    {
        VirtioDriver[] drivers = [new VirtioDriver(ports, 0).Start(), new VirtioDriver(ports, 1).Start(VirtioDriver.Version1 | VirtioDriver.RingReset)];
        ports.ConfigWrite(1, 0, 0x10, Bar0);
        ports.ConfigWrite(1, 0, 0x14, Bar1);
        ports.ConfigWrite(1, 0, 0x04, 0x0006, 0b0011);
        ports.ConfigWrite(1, 0, 0x80, 0x8000_0000, 0b1100);
        ports.Write(1, Bar1, (uint)PortDriver.MessageBase, 4);
        ports.Write(1, Bar1 + 12, (uint)random.Next(2), 4);
        drivers[1].SetVector(0, 5, masked: random.Next(2) == 0);
        drivers[1].SetQueue(0, VirtioDriver.QueueVector, 0, 2);
        drivers[1].SetMsix(enable: true, functionMask: random.Next(4) == 0);
        ports.SetLimits(0, 1, 256, 512);
        ports.ConfigWrite(0, 1, 0xDC, 0x3004);
        ports.ConfigWrite(0, 1, 0xE0, 2);
        for (int i = 0; i < 10; i++)
        {
            int source = random.Next(3);
            int destination = random.Next(3);
            ports.Dma(source, Place(source), destination, Place(destination), (uint)random.Next(1, 3000));
        }

        // Everything else comes while the copies go on.
        ports.NotBefore = ports.Fpga.Cycle + (ulong)random.Next(1, 100);
        for (int i = 0; i < 6; i++)
        {
            uint queue = (uint)random.Next(8);
            Action[] one =
            [
                () => drivers[random.Next(2)].Notify((int)queue, (uint)random.Next()),
                () => ports.Write(1, Bar0 + BackEnd.Doorbell + ((uint)random.Next(2) * 0x400) + (queue * 4), 1, 4),
                () => ports.Write(1, Bar0 + BackEnd.H2fPost, 64, 4),
                () => ports.Write(1, Bar0 + BackEnd.Control, (uint)random.Next(), 4),
                () => ports.Interrupt(0, random.Next(2), random.Next(2) == 0 ? 0u : 0xFFFF),
                () => ports.Interrupt(1, 0, queue),
                () => ports.WriteRegister(Management.F2hControl, 32),
                () => ports.Write(0, drivers[0].Bar0 + VirtioDriver.DeviceStatus, 0, 1),
                () => ports.Write(0, drivers[1].Bar0 + VirtioDriver.QueueReset, 1, 2),
                () => ports.Write(0, drivers[0].Bar0 + RegisterMap.Bar.VirtioDevice + queue, 7, 1),
                () => ports.SendRaw(0, 0x4400_0001, 0x0000_0002 | ((uint)ports.NewTag() << 8), 0x0101_0048, 0, 0x8000), // FLR
                () => ports.SendRead(0, ports.NewTag(), drivers[1].Bar0 + (queue * 4), 4),
                () => ports.SendRead(0, ports.NewTag(), drivers[1].Bar1 + (queue * 4), 4),
                () => ports.SendRaw(1, 0x0400_0001, 0x0000_000F | ((uint)ports.NewTag() << 8), 0x0100_0000 + (queue * 4), 0),
                () => ports.Command(RegisterMap.Opcode.MemRead, 256, 0),
            ];
            one[random.Next(one.Length)]();
        }

        ulong Place(int space) => space == Scratch ? (ulong)random.Next(0, 30000) : HostMemory.Low + (ulong)random.Next(0, 60000);
    }

    private static void RunFor(PortDriver ports, ulong cycles)
    {
        ulong end = ports.Fpga.Cycle + cycles;
        while (ports.Fpga.Cycle < end && ports.Fpga.Run(end - ports.Fpga.Cycle, Math.Min(ports.Latency, (uint)(end - ports.Fpga.Cycle)) - 1) == RunResult.Output)
        {
            ports.Collect();
        }
    }

    private static void Check(PortDriver ports, string where)
    {
        ports.Settle();
        Assert.That(ports.Log, Is.Empty, $"nothing leaves by itself after a reset; {where}");
        for (int function = 0; function < 2; function++)
        {
            Assert.That(ports.ConfigRead(0, function, 0x04).Dword & 0xFFFF, Is.Zero, $"Command; {where}");
            Assert.That(ports.ConfigRead(0, function, 0x48).Dword & 0xFFFF, Is.EqualTo(0x2810), $"Device Control; {where}");
            Assert.That(ports.ConfigRead(0, function, 0x2C).Dword, Is.Zero, $"subsystem; {where}");
            Assert.That((ports.ConfigRead(0, function, 0xDC).Dword, ports.ConfigRead(0, function, 0xE0).Dword), Is.EqualTo((0u, 0u)), $"PCI_CFG; {where}");
            Assert.That(ports.ConfigRead(0, function, 0x80).Dword >> 30, Is.Zero, $"MSI-X control; {where}");
            Assert.That(ports.ReadRegister(PortDriver.FunctionRegister(function, RegisterMap.Function.Status)), Is.Zero, where);
            Assert.That(ports.ReadRegister(PortDriver.QueueRegister(function, 0, RegisterMap.Queue.Size)), Is.Zero, where);
        }

        Assert.That(ports.ReadRegister(Management.F2hControl), Is.Zero, where);
        Assert.That(ports.ReadRegister(Management.H2fControl), Is.Zero, where);
        VirtioDriver driver = new VirtioDriver(ports, 1).Start();
        ports.ConfigWrite(1, 0, 0x10, Bar0);
        ports.ConfigWrite(1, 0, 0x04, 0x0006, 0b0011);
        Assert.That(ports.Read(1, Bar0 + BackEnd.Control, 4), Is.Zero, where);
        Assert.That(ports.Read(0, driver.Bar1 + 12, 4), Is.EqualTo(1), $"Vector Control; {where}");
        foreach (int port in new[] { 0, 1 })
        {
            byte[] expected = ports.Memory[port][HostMemory.Low + 7, 700].ToArray();
            int copy = ports.Dma(port, HostMemory.Low + 7, 1 - port, HostMemory.Low + 7000, 700, sourceFunction: 1 - port, destinationFunction: port);
            Assert.That(ports.AwaitManagement(copy).Status, Is.Zero, where);
            Assert.That(ports.Memory[1 - port][HostMemory.Low + 7000, 700].ToArray(), Is.EqualTo(expected), where);
        }

        ports.Interrupt(0, 1, 0);
        ports.Interrupt(1, 0, 0);
        Assert.That(ports.AllInterrupts().Select(i => (i.Output.Port, i.Message)), Is.EquivalentTo(new (int, MessageCode?)[] { (0, MessageCode.AssertIntA), (1, MessageCode.AssertIntA) }), where);
        Assert.That(ports.AllEvents(), Is.Empty, where);
    }
}
