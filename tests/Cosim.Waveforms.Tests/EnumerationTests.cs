// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Pcie;

namespace Cosim.Waveforms.Tests;

/// <summary>A host finds the virtio function 0, sizes its BARs, walks its capabilities and enables it.</summary>
[TestFixture(FpgaKind.Ghdl)]
[TestFixture(FpgaKind.Verilator)]
public sealed class EnumerationTests(FpgaKind kind)
{
    private const uint Window = 0xE000_0000;

    private static readonly WaveSelection Selection = FpgaWaves.Pins(
        "fpga_inst.p0_requester",
        "fpga_inst.p0_bme",
        "fpga_inst.port0_inst.memory_enable",
        "fpga_inst.port0_inst.completer_inst.state");

    [Test]
    public void Enumeration()
    {
        string wave = FpgaWaves.Record(kind, Selection, Enumerate);
        new GoldenFile(FpgaWaves.Folder, "EnumerationTests.Enumeration").Check(wave, WaveComparison.Describe);
    }

    [Test]
    public void Enumeration_OneOtherRequest_IsNamedWithItsCycle()
    {
        string wave = FpgaWaves.Record(kind, Selection, Enumerate);
        string other = FpgaWaves.Record(kind, Selection, fpga => Enumerate(fpga, subsystemOffset: 0x28).Settle());

        Assert.That(
            WaveComparison.Describe(wave, other),
            Does.Match("^cycle [0-9]+, p0_rx: expected 04000001 [0-9a-f]{8} 0100002c last, actual 04000001 [0-9a-f]{8} 01000028 last .last packet: p0_rx CfgRd0 01:00.0 0x028"));
    }

    private static void Enumerate(IFpga fpga) => Enumerate(fpga, subsystemOffset: 0x2C).Settle();

    private static RootPortScript Enumerate(IFpga fpga, int subsystemOffset)
    {
        RootPortScript root = new(fpga);
        Assert.That(root.ConfigRead(0, 0x00) & 0xFFFF, Is.EqualTo(0x1AF4), "vendor");
        uint header = root.ConfigRead(0, 0x0C);
        Assert.That(header & 0x00FF_0000, Is.EqualTo(0x0080_0000), "several functions");
        Assert.That(root.ConfigRead(1, 0x00) & 0xFFFF, Is.EqualTo(0x1AF4), "vendor of function 1");
        _ = root.ConfigRead(2, 0x00);
        Assert.That(root.Status, Is.EqualTo(CompletionStatus.UnsupportedRequest), "there is no function 2");
        _ = root.ConfigRead(0, 0x08);
        _ = root.ConfigRead(0, subsystemOffset);
        _ = root.ConfigRead(0, 0x3C);

        uint address = Window;
        for (int bar = 0x10; bar < 0x28; bar += 4)
        {
            root.ConfigWrite(0, bar, 0xFFFF_FFFF);
            uint size = ~root.ConfigRead(0, bar) + 1;
            if (size != 0)
            {
                root.ConfigWrite(0, bar, address);
                address += size;
            }
        }

        Assert.That(address, Is.EqualTo(Window + 0x8000), "two BARs of 16 KiB");

        int capabilities = 0;
        for (uint at = root.ConfigRead(0, 0x34) & 0xFC; at != 0 && capabilities < 48; capabilities++)
        {
            uint head = root.ConfigRead(0, (int)at);
            int dwords = (head & 0xFF) == 0x09 ? (int)((head >> 16) & 0xFF) / 4 : 3;
            for (int dword = 1; dword < dwords; dword++)
            {
                _ = root.ConfigRead(0, (int)at + (4 * dword));
            }

            at = (head >> 8) & 0xFC;
        }

        Assert.That(capabilities, Is.EqualTo(7));

        _ = root.MemoryRead(Window + 0x12, 2);
        Assert.That(root.Status, Is.EqualTo(CompletionStatus.UnsupportedRequest), "Memory Space is off");
        root.ConfigWrite(0, 0x04, 0x0000_0006, enables: 0b0011);
        Assert.That(root.ConfigRead(0, 0x04) & 0xFFFF, Is.EqualTo(6), "Memory Space and Bus Master");
        Assert.That(root.MemoryRead(Window + 0x12, 2) >> 16, Is.EqualTo(8), "num_queues");
        return root;
    }
}
