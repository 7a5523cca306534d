// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga.Tests.Driver;
using Cosim.Pcie;
using BackEnd = Cosim.Fpga.RegisterMap.BackEnd;
using Management = Cosim.Fpga.RegisterMap.Management;
using Opcode = Cosim.Fpga.RegisterMap.Opcode;

namespace Cosim.Fpga.Tests;

/// <summary>An FPGA of another size than usual: three functions of twelve queues and five vectors, little scratch; what leaves it is held back.</summary>
[TestFixture(FpgaKind.Model)]
[TestFixture(FpgaKind.Ghdl)]
public class GeometryTests(FpgaKind kind)
{
    private const int Functions = 3;
    private const int Queues = 12;
    private const int Vectors = 5;
    private const int BackEndVectors = 1 + (Functions * Queues);
    private const uint Bar0 = 0xD000_0000;
    private const uint Bar1 = 0xD010_0000;

    private IFpga fpga = null!;
    private PortDriver ports = null!;

    [OneTimeSetUp]
    public void Make() => fpga = RecordedFpga.Create(
        FpgaFixture.Options(kind) with { Functions = Functions, QueuesPerFunction = Queues, VectorsPerFunction = Vectors, ScratchBytes = 8192, Pauses = kind == FpgaKind.Model ? default : new LinkPauses(0, 200, 9) },
        nameof(GeometryTests));

    [OneTimeTearDown]
    public void Dispose() => fpga.Dispose();

    [SetUp]
    public void Reset()
    {
        fpga.Reset();
        ports = new PortDriver(fpga);
        ports.ConfigWrite(1, 0, 0x10, Bar0);
        ports.ConfigWrite(1, 0, 0x14, Bar1);
        ports.ConfigWrite(1, 0, 0x04, 0x0006, 0b0011);
    }

    [Test]
    public void Identification_Read_TellsTheGeometry()
    {
        Assert.That(ports.ReadRegister(Management.Geometry), Is.EqualTo(Functions | (Queues << 8)));
        Assert.That(ports.ReadRegister(Management.Vectors), Is.EqualTo(Vectors | (BackEndVectors << 16)));
        Assert.That(ports.ReadRegister(Management.ScratchSize), Is.EqualTo(8192));
        Assert.That(ports.Read(1, Bar0 + BackEnd.Geometry, 4), Is.EqualTo(Functions | (Queues << 8)));
        Assert.That(ports.Read(1, Bar0 + BackEnd.Vectors, 4), Is.EqualTo(BackEndVectors));
        Assert.That(ports.ConfigRead(0, 2, 0x80).Dword >> 16 & 0x7FF, Is.EqualTo(Vectors - 1), "MSI-X table size");
        Assert.That(ports.ConfigRead(1, 0, 0x80).Dword >> 16 & 0x7FF, Is.EqualTo(BackEndVectors - 1));
        Assert.That(ports.ConfigRead(0, 3, 0).Status, Is.EqualTo(CompletionStatus.UnsupportedRequest));
    }

    [Test]
    public void BackEndIntx_OfVectorsFrom31On_ShareABit()
    {
        ports.Interrupt(1, 0, 30);
        ports.Settle();
        Assert.That(ports.Read(1, Bar0 + BackEnd.IntxStatus, 4), Is.EqualTo(1u << 30));
        foreach (uint vector in new uint[] { 31, 32, BackEndVectors - 1 })
        {
            ports.Interrupt(1, 0, vector);
            ports.Settle();
            Assert.That(ports.Read(1, Bar0 + BackEnd.IntxStatus, 4), Is.EqualTo(1u << 31), $"vector {vector}");
        }

        ports.Interrupt(1, 0, BackEndVectors);
        ports.Settle();
        Assert.That(ports.Read(1, Bar0 + BackEnd.IntxStatus, 4), Is.Zero);
    }

    [Test]
    public void BackEndPba_OfMoreThan32Vectors_HasTwoWords()
    {
        ports.ConfigWrite(1, 0, 0x80, 0x8000_0000, 0b1100);
        foreach (uint vector in new uint[] { 0, 31, 32, BackEndVectors - 1 })
        {
            ports.Interrupt(1, 0, vector);
        }

        ports.Settle();
        Assert.That(ports.Read(1, Bar1 + RegisterMap.Bar.MsixPba, 4), Is.EqualTo(0x8000_0001));
        Assert.That(ports.Read(1, Bar1 + RegisterMap.Bar.MsixPba + 4, 4), Is.EqualTo(0x11));
        Assert.That(ports.Read(1, Bar1 + RegisterMap.Bar.MsixPba + 8, 4), Is.Zero);
    }

    [Test]
    public void Doorbells_OfEveryQueue_AreToldInTurn()
    {
        for (uint device = 0; device < Functions + 1; device++)
        {
            for (uint queue = 0; queue < Queues + 1; queue++)
            {
                ports.Write(1, Bar0 + BackEnd.Doorbell + (device * 0x400) + (queue * 4), 1, 4);
            }
        }

        Assert.That(ports.AllEvents().Order(), Is.EqualTo(
            from device in Enumerable.Range(0, Functions)
            from queue in Enumerable.Range(0, Queues)
            select (Opcode.Doorbell, 1, device, (uint)queue, 0u)));
    }

    [Test]
    public void Events_OfBothPorts_AreAllTold()
    {
        VirtioDriver driver = new VirtioDriver(ports, 1).Start();
        ports.NotBefore = fpga.Cycle + 200;
        for (int queue = 0; queue < Queues; queue++)
        {
            driver.Notify(queue, (uint)queue);
            ports.Write(1, Bar0 + BackEnd.Doorbell + ((uint)queue * 4), 1, 4);
            ports.Write(1, Bar0 + BackEnd.Doorbell + 0x400 + ((uint)queue * 4), 1, 4);
        }

        Assert.That(ports.AllEvents(), Is.EquivalentTo(Enumerable.Range(0, Queues).SelectMany(q => new[]
        {
            (Opcode.Notify, 0, 1, (uint)q, (uint)q), (Opcode.Doorbell, 1, 0, (uint)q, 0u), (Opcode.Doorbell, 1, 1, (uint)q, 0u),
        })));
    }

    [Test]
    public void LastFunction_ItsLastQueueAndVector_Work()
    {
        VirtioDriver driver = new VirtioDriver(ports, Functions - 1).Start();
        ports.WriteRegister(PortDriver.QueueRegister(Functions - 1, Queues - 1, RegisterMap.Queue.SizeLimit), 32);
        ports.Settle();
        Assert.That(driver.Queue(Queues - 1, VirtioDriver.QueueSize, 2), Is.EqualTo(32));
        Assert.That(driver.Queue(Queues, VirtioDriver.QueueSize, 2), Is.Zero, "beyond the last queue");
        driver.SetQueue(Queues - 1, VirtioDriver.QueueVector, Vectors, 2);
        Assert.That(driver.Queue(Queues - 1, VirtioDriver.QueueVector, 2), Is.EqualTo(0xFFFF), "not below the table size");
        driver.SetQueue(Queues - 1, VirtioDriver.QueueVector, Vectors - 1, 2);
        Assert.That(driver.Queue(Queues - 1, VirtioDriver.QueueVector, 2), Is.EqualTo(Vectors - 1));
        driver.SetVector(Vectors - 1, 0x77, masked: false);
        driver.SetMsix(enable: true);
        ports.Interrupt(0, Functions - 1, Queues - 1);
        Assert.That(ports.AllInterrupts().Select(i => (i.Function, i.Data)), Is.EqualTo(new[] { (Functions - 1, 0x77u) }));
        driver.Notify(Queues - 1, 0x1234);
        driver.Notify(Queues, 1);
        Assert.That(ports.AllEvents(), Is.EqualTo(new[] { (Opcode.Notify, 0, Functions - 1, (uint)Queues - 1, 0x1234u) }));
    }

    [Test]
    public void QueueRegisters_OfAQueueThatDoesNotExist_ReadZero()
    {
        new VirtioDriver(ports, 1).Describe(VirtioDriver.Version1, limit: 64);
        Assert.That(ports.ReadRegister(PortDriver.QueueRegister(1, 0, RegisterMap.Queue.Size)), Is.EqualTo(64));
        ports.WriteRegister(PortDriver.QueueRegister(1, 0, RegisterMap.Queue.SizeLimit), 0);
        Assert.That(ports.ReadRegister(PortDriver.QueueRegister(1, 0, RegisterMap.Queue.Size)), Is.Zero);
        Assert.That(ports.ReadRegister(PortDriver.QueueRegister(1, Queues, RegisterMap.Queue.Size)), Is.Zero);
    }

    [Test]
    public void Scratch_AtItsEnd_IsTheLimit()
    {
        byte[] data = [.. Enumerable.Range(1, 64).Select(i => (byte)i)];
        ports.WriteScratch(8192 - 64, data);
        ports.WriteScratch(8192 - 32, data); // outside: ignored
        Assert.That(ports.ReadScratch(8192 - 64, 64), Is.EqualTo(data));
        Assert.That(ports.ReadScratch(8192 - 32, 64), Is.EqualTo(new byte[64]));
    }
}
