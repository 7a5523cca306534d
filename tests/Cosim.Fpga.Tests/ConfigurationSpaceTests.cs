// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga.Tests.Driver;
using Cosim.Pcie;

namespace Cosim.Fpga.Tests;

/// <summary>Configuration space: CONTRACT.md, 2 and 3.</summary>
public class ConfigurationSpaceTests(FpgaKind kind) : FpgaFixture(kind)
{
    [Test]
    public void Header_OfVirtioFunction_CarriesWhatTheManagementPortWrote()
    {
        _ = new VirtioDriver(Ports, 1).Describe(VirtioDriver.Version1);
        Assert.Multiple(() =>
        {
            Assert.That(Ports.ConfigRead(0, 1, 0x00).Dword, Is.EqualTo(0x1042_1AF4), "device and vendor id");
            Assert.That(Ports.ConfigRead(0, 0, 0x00).Dword, Is.EqualTo(0x1040_1AF4), "reset value");
            Assert.That(Ports.ConfigRead(0, 1, 0x08).Dword, Is.EqualTo(0x0180_0001), "class and revision");
            Assert.That(Ports.ConfigRead(0, 1, 0x2C).Dword, Is.EqualTo(0x1100_1AF4), "subsystem");
            Assert.That(Ports.ConfigRead(0, 1, 0x04).Dword, Is.EqualTo(0x0010_0000), "capabilities list, nothing enabled");
            Assert.That(Ports.ConfigRead(0, 1, 0x0C).Dword, Is.EqualTo(0x0080_0000), "type 0 header of several functions");
            Assert.That(Ports.ConfigRead(0, 1, 0x34).Dword & 0xFF, Is.EqualTo(0x40), "capabilities pointer");
            Assert.That(Ports.ConfigRead(0, 1, 0x3C).Dword, Is.EqualTo(0x100), "INTA");
        });
    }

    [Test]
    public void Header_OfBackEnd_HasItsOwnIds()
    {
        Assert.Multiple(() =>
        {
            Assert.That(Ports.ConfigRead(1, 0, 0x00).Dword, Is.EqualTo(0x5101_0C05));
            Assert.That(Ports.ConfigRead(1, 0, 0x08).Dword >> 8, Is.EqualTo(0xFF0000));
            Assert.That(Ports.ConfigRead(1, 0, 0x2C).Dword, Is.EqualTo(0x5101_0C05));
            Assert.That(Ports.ConfigRead(1, 0, 0x0C).Dword, Is.Zero, "one function");
        });
    }

    [Test]
    [Clause("virtio 4.1.4.2-1")]
    [Clause("virtio 4.1.4.3.1-1")]
    [Clause("virtio 4.1.4.3.1-2")]
    [Clause("virtio 4.1.4.4.1-1")]
    [Clause("virtio 4.1.4.5.1-1")]
    [Clause("virtio 4.1.4.6.1-1")]
    [Clause("virtio 4.1.4.9.1-1")]
    [Clause("virtio 4.1.5.1.2.1-1")]
    [Clause("virtio 4.1.5.1.2.1-2")]
    public void Capabilities_OfVirtioFunction_AreThoseOfTheContract()
    {
        Assert.That(Walk(0, 1), Is.EqualTo(new[]
        {
            (0x40, 0x10, new uint[] { 0x0002_0000, 0x1000_8001, 0x0000_2810, 0x0000_0083, 0x0083_0000 }),
            (0x80, 0x11, [8u << 16, 0x0000_0001, 0x0000_2001]),
            (0x90, 0x09, [0x0110_0000, 0x0000_0000, 0x0000_0000, 0x0000_003C]),
            (0xA0, 0x09, [0x0214_0000, 0x0000_0000, 0x0000_3000, 32, 4]),
            (0xB4, 0x09, [0x0310_0000, 0x0000_0000, 0x0000_1000, 1]),
            (0xC4, 0x09, [0x0410_0000, 0x0000_0000, 0x0000_2000, 0x100]),
            (0xD4, 0x09, [0x0514_0000, 0, 0, 0, 0]),
        }));
    }

    [Test]
    public void Capabilities_OfBackEnd_EndWithMsix()
    {
        (int Offset, int Id, uint[] Words)[] found = Walk(1, 0);
        Assert.That(found.Select(c => (c.Offset, c.Id)), Is.EqualTo(new[] { (0x40, 0x10), (0x80, 0x11) }));
        Assert.That(found[1].Words[0] >> 16, Is.EqualTo(16), "17 vectors: the mailbox and one per queue");
    }

    [TestCase(0, 1, 0x10, 0x4000u)]
    [TestCase(0, 0, 0x14, 0x4000u)]
    [TestCase(1, 0, 0x10, 0x1_0000u)]
    [TestCase(1, 0, 0x14, 0x4000u)]
    [Clause("virtio 4.1.1-1")]
    public void Bar_AllOnesWritten_ReadsItsSize(int port, int function, int offset, uint size)
    {
        Ports.ConfigWrite(port, function, offset, 0xFFFF_FFFF);
        Assert.That(Ports.ConfigRead(port, function, offset).Dword, Is.EqualTo(~(size - 1)), "32-bit, non-prefetchable memory");
        Ports.ConfigWrite(port, function, offset, 0x1234_5678);
        Assert.That(Ports.ConfigRead(port, function, offset).Dword, Is.EqualTo(0x1234_5678 & ~(size - 1)));
    }

    [Test]
    [Clause("virtio 4.1.1-1")]
    public void ConfigurationWrite_ToWhatCannotBeWritten_IsWithoutEffect()
    {
        int[] writable = [0x04, 0x10, 0x14, 0x3C, 0x48, 0x80, 0xD8, 0xDC, 0xE0, 0xE4];
        for (int offset = 0; offset < 0x100; offset += 4)
        {
            if (!writable.Contains(offset))
            {
                uint before = Ports.ConfigRead(0, 0, offset).Dword;
                Ports.ConfigWrite(0, 0, offset, ~before);
                Assert.That(Ports.ConfigRead(0, 0, offset).Dword, Is.EqualTo(before), $"offset 0x{offset:x}");
            }
        }

        Ports.ConfigWrite(0, 0, 0x04, 0xFFFF_FFFF);
        Assert.That(Ports.ConfigRead(0, 0, 0x04).Dword, Is.EqualTo(0x0010_0547), "command");
        Ports.ConfigWrite(0, 0, 0x3C, 0xFFFF_FFFF);
        Assert.That(Ports.ConfigRead(0, 0, 0x3C).Dword, Is.EqualTo(0x1FF), "interrupt line");
        Ports.ConfigWrite(0, 0, 0x48, 0xFFFF_7FFF);
        Assert.That(Ports.ConfigRead(0, 0, 0x48).Dword & 0xFFFF, Is.EqualTo(0x78FF), "device control");
        Ports.ConfigWrite(0, 0, 0x80, 0xFFFF_FFFF);
        Assert.That(Ports.ConfigRead(0, 0, 0x80).Dword, Is.EqualTo(0xC008_9011), "MSI-X message control");
    }

    [Test]
    public void ConfigurationWrite_WithByteEnables_ChangesThoseBytesOnly()
    {
        Ports.ConfigWrite(0, 0, 0xDC, 0x1122_3344);
        for (byte enables = 0; enables < 16; enables++)
        {
            Ports.ConfigWrite(0, 0, 0xDC, 0x1122_3344);
            Ports.ConfigWrite(0, 0, 0xDC, 0xAABB_CCDD, enables);
            uint mask = 0;
            for (int i = 0; i < 4; i++)
            {
                mask |= (enables & (1 << i)) != 0 ? 0xFFu << (8 * i) : 0;
            }

            Assert.That(Ports.ConfigRead(0, 0, 0xDC).Dword, Is.EqualTo((0x1122_3344 & ~mask) | (0xAABB_CCDD & mask)), $"enables {enables:x}");
        }
    }

    [Test]
    public void ConfigurationRead_Beyond256Bytes_ReadsZero()
    {
        foreach (int offset in new[] { 0x100, 0x104, 0x200, 0x7FC, 0xFFC })
        {
            Ports.ConfigWrite(0, 0, offset, 0xFFFF_FFFF);
            Answer answer = Ports.ConfigRead(0, 0, offset);
            Assert.That((answer.Status, answer.Dword), Is.EqualTo((CompletionStatus.SuccessfulCompletion, 0u)));
        }
    }

    [TestCase(0, 2)]
    [TestCase(0, 7)]
    [TestCase(1, 1)]
    [Clause("virtio 4.1.1-1")]
    public void ConfigurationRequest_ToMissingFunction_IsUnsupported(int port, int function)
    {
        Answer read = Ports.ConfigRead(port, function, 0);
        Assert.That(
            (read.Status, read.Payload.Length, read.ByteCount, read.LowerAddress, read.Completer),
            Is.EqualTo((CompletionStatus.UnsupportedRequest, 0, 4, (byte)0, RoutingId.Fpga(function))));
        Assert.That(Ports.ConfigWrite(port, function, 0x10, 0).Status, Is.EqualTo(CompletionStatus.UnsupportedRequest));
    }

    [Test]
    public void CompleterId_AfterConfigurationWrite_IsTheCapturedOne()
    {
        Span<byte> packet = stackalloc byte[32];
        byte tag = Ports.NewTag();
        int length = TlpWriter.ConfigWrite0(packet, new RoutingId(0x12), tag, new RoutingId(5, 3, 1), 0x3C, 0xF, 0);
        Ports.Send(0, packet[..length]);
        Answer written = Ports.Await(0, tag);
        Answer read = Ports.ConfigRead(0, 1, 0x3C);
        Assert.That((written.Completer, written.ByteCount, written.LowerAddress), Is.EqualTo((new RoutingId(5, 3, 1), 4, (byte)0)));
        Assert.That((read.Completer, read.ByteCount, read.LowerAddress), Is.EqualTo((new RoutingId(5, 3, 1), 4, (byte)0)));
    }

    [Test]
    public void FunctionLevelReset_OfVirtioFunction_RestoresPciAndKeepsTheDescription()
    {
        VirtioDriver driver = new VirtioDriver(Ports, 1).Start();
        driver.SetMsix(true);
        Ports.SetLimits(0, 1, 256, 4096);
        Ports.ConfigWrite(0, 1, 0xDC, 0x1000);
        Ports.ConfigWrite(0, 1, 0x48, 0x8000, 0b0010);
        Assert.That(Ports.AllEvents(), Is.EqualTo(new[]
        {
            (RegisterMap.Opcode.Flr, 0, 1, 0u, 0u),
            (RegisterMap.Opcode.Status, 0, 1, 0u, 0u),
        }));
        Assert.Multiple(() =>
        {
            Assert.That(Ports.ConfigRead(0, 1, 0x04).Dword, Is.EqualTo(0x0010_0000), "command");
            Assert.That(Ports.ConfigRead(0, 1, 0x10).Dword, Is.Zero, "BAR0");
            Assert.That(Ports.ConfigRead(0, 1, 0x14).Dword, Is.Zero, "BAR1");
            Assert.That(Ports.ConfigRead(0, 1, 0x48).Dword, Is.EqualTo(0x2810), "device control; FLR reads 0");
            Assert.That(Ports.ConfigRead(0, 1, 0x80).Dword >> 30, Is.Zero, "MSI-X");
            Assert.That(Ports.ConfigRead(0, 1, 0xDC).Dword, Is.Zero, "PCI_CFG");
            Assert.That(Ports.ConfigRead(0, 1, 0x00).Dword, Is.EqualTo(0x1042_1AF4), "ids stay");
            Assert.That(Ports.ReadRegister(PortDriver.FunctionRegister(1, RegisterMap.Function.DeviceFeaturesHi)), Is.EqualTo(1), "features stay");
            Assert.That(Ports.ReadRegister(PortDriver.QueueRegister(1, 3, RegisterMap.Queue.SizeLimit)), Is.EqualTo(256), "limits stay");
            Assert.That(Ports.ReadRegister(PortDriver.FunctionRegister(1, RegisterMap.Function.Status)), Is.EqualTo(0x100), "reset pending");
        });
        driver.Enable();
        Assert.That(driver.Status, Is.EqualTo(0x40));
        Ports.WriteRegister(PortDriver.FunctionRegister(1, RegisterMap.Function.Control), 2);
        Ports.Settle();
        Assert.That(driver.Status, Is.Zero);
    }

    private (int Offset, int Id, uint[] Words)[] Walk(int port, int function)
    {
        int[] ends = [0x54, 0x8C, 0xA0, 0xB4, 0xC4, 0xD4, 0xE8];
        List<(int, int, uint[])> found = [];
        int at = (int)Ports.ConfigRead(port, function, 0x34).Dword & 0xFF;
        while (at != 0 && found.Count < 10)
        {
            uint head = Ports.ConfigRead(port, function, at).Dword;
            List<uint> words = [head & 0xFFFF_0000];
            int end = ends.First(e => e > at);
            for (int offset = at + 4; offset < end; offset += 4)
            {
                words.Add(Ports.ConfigRead(port, function, offset).Dword);
            }

            found.Add((at, (int)(head & 0xFF), [.. words]));
            at = (int)(head >> 8) & 0xFF;
        }

        return [.. found];
    }
}
