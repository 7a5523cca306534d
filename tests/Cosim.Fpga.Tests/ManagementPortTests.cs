// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga.Tests.Driver;
using Management = Cosim.Fpga.RegisterMap.Management;
using Opcode = Cosim.Fpga.RegisterMap.Opcode;

namespace Cosim.Fpga.Tests;

/// <summary>The management port: CONTRACT.md, 4.</summary>
public class ManagementPortTests(FpgaKind kind) : FpgaFixture(kind)
{
    [Test]
    public void Registers_OfIdentification_TellWhatIsBuilt()
    {
        uint[] addresses = [Management.Id, Management.Version, Management.Geometry, Management.Vectors, Management.ScratchSize, Management.DataWidth];
        foreach (uint address in addresses)
        {
            Ports.WriteRegister(address, 0);
        }

        Assert.That(
            addresses.Select(Ports.ReadRegister),
            Is.EqualTo(new uint[] { 0x4353_494D, 0x0001_0000, 2 | (8 << 8), 9 | (17 << 16), 65536, 256 }));
    }

    [TestCase(0x0100u)]
    [TestCase(0x3FFCu)]
    [TestCase(0x4800u)]
    [TestCase(0x0003_0000u, Description = "no third function")]
    [TestCase(0x0001_0200u)]
    [TestCase(0x0001_1030u)]
    [TestCase(0x0001_1200u, Description = "no ninth queue")]
    [TestCase(0xFFFF_FFFCu)]
    public void Register_ThatDoesNotExist_ReadsZero(uint address)
    {
        Ports.WriteRegister(address, 0xFFFF_FFFF);
        Assert.That(Ports.ReadRegister(address), Is.Zero);
    }

    [Test]
    public void RegisterWrite_IsEffectiveBeforeTheNextCommand()
    {
        int[] tags = new int[20];
        for (uint i = 0; i < tags.Length; i++)
        {
            Ports.WriteRegister(PortDriver.FunctionRegister(1, RegisterMap.Function.DeviceFeaturesLo), i);
            tags[i] = Ports.Command(Opcode.RegRead, dw2: PortDriver.FunctionRegister(1, RegisterMap.Function.DeviceFeaturesLo));
        }

        Assert.That(tags.Select(tag => Ports.AwaitManagement(tag).Dw4), Is.EqualTo(Enumerable.Range(0, 20).Select(i => (uint)i)));
    }

    [TestCase(0u, 4)]
    [TestCase(32u, 36)]
    [TestCase(4064u, 4096)]
    [TestCase(65536u - 4096, 4096)]
    [TestCase(65504u, 32)]
    public void Scratch_Written_ReadsBack(uint offset, int length)
    {
        byte[] data = [.. Enumerable.Range(1, length).Select(i => (byte)(i * 7))];
        Ports.WriteScratch(offset, data);
        Assert.That(Ports.ReadScratch(offset, length), Is.EqualTo(data));
    }

    [Test]
    public void Scratch_WrittenInPart_KeepsTheRest()
    {
        Ports.WriteScratch(0, Filled(128, 0xAA));
        Ports.WriteScratch(32, Filled(36, 0x55));
        byte[] read = Ports.ReadScratch(0, 128);
        Assert.That(read, Is.EqualTo(Filled(32, 0xAA).Concat(Filled(36, 0x55)).Concat(Filled(60, 0xAA))));
    }

    [Test]
    public void Scratch_OutsideItsSize_ReadsZeroAndIgnoresWrites()
    {
        Ports.WriteScratch(65504, Filled(32, 1));
        Ports.WriteScratch(0, Filled(64, 2));
        Ports.WriteScratch(65504, Filled(64, 3));
        Ports.WriteScratch(65536, Filled(32, 4));
        Ports.WriteScratch(0xFFFF_FFE0, Filled(64, 5));
        Assert.That(Ports.ReadScratch(65504, 32), Is.EqualTo(Filled(32, 1)));
        Assert.That(Ports.ReadScratch(0, 64), Is.EqualTo(Filled(64, 2)));
        Assert.That(Ports.ReadScratch(65536, 64), Is.EqualTo(Filled(64, 0)));
        Assert.That(Ports.ReadScratch(65504, 64), Is.EqualTo(Filled(64, 0)));
    }

    [TestCase(0x00u)]
    [TestCase(0x07u)]
    [TestCase(0x90u)]
    [TestCase(0xFFu)]
    public void Command_Unknown_IsIgnored(uint opcode)
    {
        Ports.Command(opcode, 16, 1, 2, 3);
        Ports.Command(opcode, 64, 1, 2, 3, payload: Filled(64, 0xFF));
        Ports.Settle();
        Assert.That(Ports.Log, Is.Empty);
        Assert.That(Ports.ReadRegister(Management.Id), Is.EqualTo(0x4353_494D));
    }

    [TestCase(2)]
    [TestCase(15)]
    public void Interrupt_OfAPortThatIsNotThere_VanishesAndHoldsUpNothing(int port)
    {
        Ports.Interrupt(port, 0, 0);
        Ports.Interrupt(port, 0, 1);
        Ports.Settle();
        Assert.That(Ports.Log, Is.Empty);
        Assert.That(Ports.ReadRegister(Management.Id), Is.EqualTo(0x4353_494D));
    }

    private static byte[] Filled(int length, byte value)
    {
        byte[] bytes = new byte[length];
        Array.Fill(bytes, value);
        return bytes;
    }
}
