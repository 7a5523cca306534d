// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga.Tests.Driver;
using BackEnd = Cosim.Fpga.RegisterMap.BackEnd;
using Management = Cosim.Fpga.RegisterMap.Management;
using Opcode = Cosim.Fpga.RegisterMap.Opcode;

namespace Cosim.Fpga.Tests;

/// <summary>Two functions of 64 queues each, with a vector per queue: what is per queue, is so for all of them.</summary>
[TestFixture(FpgaKind.Model)]
[TestFixture(FpgaKind.Verilator)]
[TestFixture(FpgaKind.Ghdl)]
public class ManyQueuesTests(FpgaKind kind)
{
    private const int Functions = 2;
    private const int Queues = 64;
    private const int Vectors = Queues + 1;
    private const int BackEndVectors = 1 + (Functions * Queues);
    private const uint BackEndBar0 = 0xD000_0000;
    private const uint BackEndBar1 = 0xD010_0000;

    private IFpga fpga = null!;
    private PortDriver ports = null!;

    [OneTimeSetUp]
    public void Make() => fpga = RecordedFpga.Create(FpgaFixture.Options(kind) with { Functions = Functions, QueuesPerFunction = Queues }, nameof(ManyQueuesTests));

    [OneTimeTearDown]
    public void Dispose() => fpga.Dispose();

    [SetUp]
    public void Reset()
    {
        fpga.Reset();
        ports = new PortDriver(fpga);
    }

    [Test]
    [Clause("virtio 4.1.5.1.2.1-2")]
    [Clause("virtio 4.1.5.1.2.1-3")]
    public void Identification_Read_TellsTheGeometry()
    {
        ports.ConfigWrite(1, 0, 0x10, BackEndBar0);
        ports.ConfigWrite(1, 0, 0x04, 0x0006, 0b0011);
        Assert.That(ports.ReadRegister(Management.Geometry), Is.EqualTo(Functions | (Queues << 8)));
        Assert.That(ports.ReadRegister(Management.Vectors), Is.EqualTo(Vectors | (BackEndVectors << 16)));
        Assert.That(ports.Read(1, BackEndBar0 + BackEnd.Vectors, 4), Is.EqualTo(BackEndVectors));
        Assert.That((ports.ConfigRead(0, 1, 0x80).Dword >> 16) & 0x7FF, Is.EqualTo(Vectors - 1), "a vector per queue and one for the configuration");
        Assert.That((ports.ConfigRead(1, 0, 0x80).Dword >> 16) & 0x7FF, Is.EqualTo(BackEndVectors - 1));
    }

    /// <summary>The rules hold with VIRTIO_F_NOTIFICATION_DATA offered and without.</summary>
    [Test]
    [Clause("virtio 4.1.4.4.1-2")]
    [Clause("virtio 4.1.4.4.1-3")]
    [Clause("virtio 4.1.4.4.1-4")]
    [Clause("virtio 4.1.4.4.1-5")]
    [Clause("virtio 4.1.4.4.1-6")]
    [Clause("virtio 4.1.4.4.1-7")]
    [Clause("virtio 4.1.4.4.1-8")]
    [Clause("virtio 4.1.4.4.1-9")]
    public void NotifyCapability_OfEveryQueue_HoldsItsAddress()
    {
        VirtioDriver driver = Start(1);
        uint offset = ports.ConfigRead(0, 1, 0xA8).Dword;
        uint length = ports.ConfigRead(0, 1, 0xAC).Dword;
        uint multiplier = ports.ConfigRead(0, 1, 0xB0).Dword;
        Assert.That(offset % 4, Is.Zero);
        Assert.That(multiplier, Is.EqualTo(4), "a power of two, even, and a multiple of 4");
        for (int queue = 0; queue < Queues; queue++)
        {
            uint at = driver.Queue(queue, VirtioDriver.QueueNotifyOffset, 2) * multiplier;
            Assert.That(at + 4, Is.LessThanOrEqualTo(length), $"queue {queue}");
            ports.Write(0, driver.Bar0 + offset + at, (uint)queue << 4, 4);
            Assert.That(ports.AllEvents(), Is.EqualTo(new[] { (Opcode.Notify, 0, 1, (uint)queue, (uint)queue << 4) }), "and another queue's address is another one");
        }

        driver.Notify(Queues, 1);
        Assert.That(ports.AllEvents(), Is.Empty);
    }

    [Test]
    [Clause("virtio 4.1.4.3.1-13")]
    public void QueueRegisters_OfEveryQueue_AreItsOwn()
    {
        VirtioDriver driver = Start(0);
        Assert.That(driver.Common(VirtioDriver.NumQueues, 2), Is.EqualTo(Queues));
        for (int queue = 0; queue < Queues; queue++)
        {
            driver.SetQueue(queue, VirtioDriver.QueueSize, 1u << (queue % 9), 2);
            driver.SetQueue(queue, VirtioDriver.QueueVector, (uint)(Queues - queue), 2);
            for (uint i = 0; i < 6; i++)
            {
                driver.SetQueue(queue, VirtioDriver.QueueDesc + (4 * i), Address(queue, i), 4);
            }

            if (queue % 3 == 0)
            {
                driver.SetQueue(queue, VirtioDriver.QueueEnable, 1, 2);
            }
        }

        for (int queue = 0; queue < Queues; queue++)
        {
            Assert.That(driver.Queue(queue, VirtioDriver.QueueSize, 2), Is.EqualTo(1u << (queue % 9)));
            Assert.That(driver.Common(VirtioDriver.QueueVector, 2), Is.EqualTo(Queues - queue));
            Assert.That(driver.Common(VirtioDriver.QueueEnable, 2), Is.EqualTo(queue % 3 == 0 ? 1 : 0));
            Assert.That(Enumerable.Range(0, 6).Select(i => driver.Common(VirtioDriver.QueueDesc + (4 * (uint)i), 4)), Is.EqualTo(Enumerable.Range(0, 6).Select(i => Address(queue, (uint)i))));
            Assert.That(ports.ReadRegister(PortDriver.QueueRegister(0, queue, RegisterMap.Queue.DeviceHi)), Is.EqualTo(Address(queue, 5)));
        }

        Assert.That(driver.Queue(Queues, VirtioDriver.QueueSize, 2), Is.Zero);
        driver.Status = 0;
        ports.Settle();
        ports.WriteRegister(PortDriver.FunctionRegister(0, RegisterMap.Function.Control), 2);
        ports.Settle();
        for (int queue = 0; queue < Queues; queue++)
        {
            Assert.That(
                (driver.Queue(queue, VirtioDriver.QueueSize, 2), driver.Common(VirtioDriver.QueueVector, 2), driver.Common(VirtioDriver.QueueEnable, 2), driver.Common(VirtioDriver.QueueDesc, 4)),
                Is.EqualTo((256u, 0xFFFFu, 0u, 0u)),
                $"queue {queue} after a reset");
        }

        static uint Address(int queue, uint i) => 0x1000_0000u + ((uint)queue << 16) + (i << 4);
    }

    [Test]
    [Clause("virtio 4.1.5.1.2.1-4")]
    public void Vectors_PerQueueAndShared_AreSent()
    {
        VirtioDriver driver = Start(1);
        for (int vector = 0; vector < Vectors; vector++)
        {
            driver.SetVector(vector, 0x100 + (uint)vector, masked: false);
        }

        driver.SetMsix(enable: true);
        driver.SetCommon(VirtioDriver.ConfigVector, 0, 2);
        Map(queue => 1 + (uint)queue);
        RaiseAll();
        Assert.That(ports.AllInterrupts().Select(i => i.Data), Is.EqualTo(Enumerable.Range(0x101, Queues).Append(0x100)), "a vector per queue");
        Map(queue => (uint)queue % 3);
        RaiseAll();
        Assert.That(ports.AllInterrupts().Select(i => i.Data), Is.EqualTo(Enumerable.Range(0, Queues).Select(q => 0x100 + (q % 3)).Append(0x100)), "three vectors for all");

        void Map(Func<int, uint> vector)
        {
            for (int queue = 0; queue < Queues; queue++)
            {
                driver.SetQueue(queue, VirtioDriver.QueueVector, vector(queue), 2);
            }

            ports.Settle();
        }

        void RaiseAll()
        {
            for (uint queue = 0; queue < Queues; queue++)
            {
                ports.Interrupt(0, 1, queue);
            }

            ports.Interrupt(0, 1, 0xFFFF);
        }
    }

    [Test]
    public void PendingBits_OfMaskedVectors_AreReadAndSentOnce()
    {
        VirtioDriver driver = Start(1);
        for (int vector = 0; vector < Vectors; vector++)
        {
            driver.SetVector(vector, 0x100 + (uint)vector, masked: vector % 2 == 0);
        }

        driver.SetMsix(enable: true);
        for (int queue = 0; queue < Queues; queue++)
        {
            driver.SetQueue(queue, VirtioDriver.QueueVector, 1 + (uint)queue, 2);
        }

        ports.Settle();
        for (uint queue = 0; queue < Queues; queue++)
        {
            ports.Interrupt(0, 1, queue);
            ports.Interrupt(0, 1, queue);
        }

        Assert.That(ports.AllInterrupts().Select(i => i.Data), Is.EqualTo(Enumerable.Range(1, Queues).Where(v => v % 2 == 1).SelectMany(v => new[] { 0x100 + v, 0x100 + v })));
        Assert.That(Enumerable.Range(0, 4).Select(i => ports.Read(0, driver.Bar1 + RegisterMap.Bar.MsixPba + (4 * (uint)i), 4)), Is.EqualTo(new uint[] { 0x5555_5554, 0x5555_5555, 1, 0 }));
        driver.SetMsix(enable: true, functionMask: true);
        for (int vector = 0; vector < Vectors; vector += 2)
        {
            driver.SetVector(vector, 0x200 + (uint)vector, masked: false);
        }

        Assert.That(ports.AllInterrupts(), Is.Empty, "the function is masked");
        driver.SetMsix(enable: true);
        Assert.That(ports.AllInterrupts().Select(i => i.Data).Order(), Is.EqualTo(Enumerable.Range(1, Queues).Where(v => v % 2 == 0).Select(v => 0x200 + v)), "once each, with what the entry holds then");
        Assert.That(Enumerable.Range(0, 4).Select(i => ports.Read(0, driver.Bar1 + RegisterMap.Bar.MsixPba + (4 * (uint)i), 4)), Is.All.Zero);
    }

    [Test]
    public void KicksAndCalls_OfEveryQueueOfBothFunctions_ArriveAsTheirOwn()
    {
        ports.ConfigWrite(1, 0, 0x10, BackEndBar0);
        ports.ConfigWrite(1, 0, 0x14, BackEndBar1);
        ports.ConfigWrite(1, 0, 0x04, 0x0006, 0b0011);
        for (uint vector = 0; vector < BackEndVectors; vector++)
        {
            ports.Write(1, BackEndBar1 + (vector * 16), (uint)PortDriver.MessageBase, 4);
            ports.Write(1, BackEndBar1 + (vector * 16) + 8, 0x300 + vector, 4);
            ports.Write(1, BackEndBar1 + (vector * 16) + 12, 0, 4);
        }

        ports.ConfigWrite(1, 0, 0x80, 0x8000_0000, 0b1100);
        ports.Settle();
        for (uint vector = 0; vector < BackEndVectors + 1; vector++)
        {
            ports.Interrupt(1, 0, vector);
        }

        Assert.That(ports.AllInterrupts().Select(i => i.Data), Is.EqualTo(Enumerable.Range(0x300, BackEndVectors)));
        for (uint device = 0; device < Functions; device++)
        {
            for (uint queue = 0; queue < Queues + 1; queue++)
            {
                ports.Write(1, BackEndBar0 + BackEnd.Doorbell + (device * 0x400) + (queue * 4), 1, 4);
            }
        }

        Assert.That(ports.AllEvents().Order(), Is.EqualTo(
            from device in Enumerable.Range(0, Functions)
            from queue in Enumerable.Range(0, Queues)
            select (Opcode.Doorbell, 1, device, (uint)queue, 0u)));
    }

    private VirtioDriver Start(int function)
    {
        VirtioDriver driver = new VirtioDriver(ports, function).Start();
        for (int queue = 0; queue < Queues; queue++)
        {
            ports.WriteRegister(PortDriver.QueueRegister(function, queue, RegisterMap.Queue.SizeLimit), 256);
        }

        ports.Settle();
        return driver;
    }
}
