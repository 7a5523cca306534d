// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga.Model;
using Cosim.Fpga.Tests.Driver;
using Function = Cosim.Fpga.RegisterMap.Function;
using Management = Cosim.Fpga.RegisterMap.Management;

namespace Cosim.Fpga.Tests;

/// <summary>
/// Random accesses, one at a time, to the VHDL and to the reference model: every packet that leaves is the same, also with
/// valid and ready pausing at random.
/// </summary>
[TestFixture(FpgaKind.Verilator, 3000, 0)]
[TestFixture(FpgaKind.Verilator, 1000, 128)]
[TestFixture(FpgaKind.Ghdl, 600, 0)]
public class DifferentialTests(FpgaKind kind, int accesses, int pauses)
{
    private const uint BackEndBar = 0xD000_0000;

    private static readonly int[] ConfigOffsets =
        [0x00, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x18, 0x2C, 0x30, 0x34, 0x3C, 0x40, 0x48, 0x80, 0x84, 0x90, 0xD8, 0xDC, 0xE0, 0xE4, 0xE8, 0x100];

    private static readonly uint[] ManagementOffsets =
    [
        Management.Id, Management.F2hControl, Management.H2fControl, Management.BeStatus, Management.BeControl, Management.F2hData, Management.F2hData + 1020,
        Management.H2fData + 8,
    ];

    private static readonly uint[] FunctionOffsets =
    [
        Function.PciId, Function.ClassRevision, Function.Subsystem, Function.Control, Function.DeviceFeaturesLo, Function.DeviceFeaturesHi,
        Function.DriverFeaturesLo, Function.DriverFeaturesHi, Function.Status, Function.NumQueues, Function.ConfigVector, Function.ConfigGeneration,
        Function.Isr, Function.DeviceConfig, Function.DeviceConfig + 252,
    ];

    private readonly List<string> history = [];
    private IFpga? design;
    private ReferenceModel? model;

    private PortDriver[] sides = null!;
    private Random random = null!;

    [OneTimeSetUp]
    public void Make()
    {
        design = RecordedFpga.Create(FpgaFixture.Options(kind) with { Pauses = new LinkPauses((byte)pauses, (byte)pauses, 5) }, $"{nameof(DifferentialTests)}{pauses}");
        model = new ReferenceModel(new FpgaOptions());
    }

    [OneTimeTearDown]
    public void Dispose()
    {
        design?.Dispose();
        model?.Dispose();
    }

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    [TestCase(4)]
    [TestCase(5)]
    [TestCase(6)]
    [TestCase(7)]
    public void Accesses_AtRandom_GiveTheSamePackets(int seed)
    {
        design!.Reset();
        model!.Reset();
        sides = [new PortDriver(design), new PortDriver(model)];
        random = new Random(seed);
        history.Clear();
        for (int i = 0; i < accesses; i++)
        {
            if (i % 40 == 0)
            {
                Enable();
            }

            int[] before = [.. sides.Select(side => side.Log.Count)];
            Access();
            foreach (PortDriver side in sides)
            {
                side.Settle();
            }

            string[][] packets = [.. sides.Select((side, s) => Describe(side.Log.Skip(before[s])))];
            if (!packets[0].SequenceEqual(packets[1]))
            {
                Assert.Fail(
                    $"seed {seed}, access {i}:\n{string.Join('\n', history.TakeLast(60))}\n{kind}:\n{string.Join('\n', packets[0])}\nmodel:\n{string.Join('\n', packets[1])}");
            }
        }
    }

    /// <summary>The packets of one access; in which order they may leave is other tests' matter.</summary>
    private static string[] Describe(IEnumerable<Output> outputs) =>
        [.. outputs.Select(o => $"p{o.Port} {Convert.ToHexString(o.Bytes)}").Order(StringComparer.Ordinal)];

    /// <summary>Brings the functions back to where accesses reach something.</summary>
    private void Enable()
    {
        for (int function = 0; function < 2; function++)
        {
            uint bar = FunctionBar(function);
            All($"enable function {function}", side =>
            {
                side.ConfigWrite(0, function, 0x10, bar);
                side.ConfigWrite(0, function, 0x14, bar + 0x1_0000);
                side.ConfigWrite(0, function, 0x04, 0x0006);
                side.WriteRegister(PortDriver.FunctionRegister(function, Function.Control), 2);
                side.WriteRegister(PortDriver.FunctionRegister(function, Function.DeviceFeaturesHi), 0x101);
                side.WriteRegister(PortDriver.QueueRegister(function, 0, RegisterMap.Queue.SizeLimit), 256);
                side.WriteRegister(PortDriver.QueueRegister(function, 3, RegisterMap.Queue.SizeLimit), 1024);
            });
        }

        All("enable the back end", side =>
        {
            side.ConfigWrite(1, 0, 0x10, BackEndBar);
            side.ConfigWrite(1, 0, 0x14, BackEndBar + 0x1_0000);
            side.ConfigWrite(1, 0, 0x04, 0x0006);
            side.Settle();
        });
    }

    private void Access()
    {
        switch (random.Next(10))
        {
            case 0:
                int port = random.Next(2);
                int function = random.Next(3);
                int offset = Pick(ConfigOffsets);
                byte enables = (byte)random.Next(16);
                All($"CfgRd p{port} f{function} 0x{offset:x} {enables:x}", side => side.ConfigRead(port, function, offset, enables));
                break;
            case 1:
                WriteConfig();
                break;
            case 2 or 3:
                ReadMemory();
                break;
            case 4 or 5 or 6:
                WriteMemory();
                break;
            case 7:
                uint read = ManagementAddress();
                All($"REG_READ 0x{read:x}", side => side.ReadRegister(read));
                break;
            case 8:
                uint written = ManagementAddress();
                uint value = ManagementValue(written);
                All($"REG_WRITE 0x{written:x} 0x{value:x}", side => side.WriteRegister(written, value));
                break;
            default:
                int target = random.Next(2);
                int raised = random.Next(3);
                uint index = random.Next(4) == 0 ? 0xFFFF : (uint)random.Next(20);
                All($"INTERRUPT p{target} f{raised} {index}", side => side.Interrupt(target, raised, index));
                break;
        }
    }

    private void WriteConfig()
    {
        int port = random.Next(2);
        int function = random.Next(3);
        int offset = Pick(ConfigOffsets);
        byte enables = random.Next(2) == 0 ? (byte)15 : (byte)random.Next(16);
        uint value = offset switch
        {
            0x04 => 0x0006u | (random.Next(4) == 0 ? 0x0400u : 0),
            0x10 or 0x14 => 0xE000_0000u + ((uint)random.Next(16) << 14),
            0x48 => random.Next(8) == 0 ? 0x8000u : 0x2810,
            0x80 => (uint)random.Next(4) << 30,
            0xD8 => (uint)random.Next(8) / 7,
            0xDC => CommonOffset() & (uint)(random.Next(2) == 0 ? ~3 : ~0),
            0xE0 => (uint)(1 << random.Next(4)) - (uint)(random.Next(5) / 4),
            _ => (uint)random.NextInt64(1L << 32),
        };
        All($"CfgWr p{port} f{function} 0x{offset:x} {enables:x} 0x{value:x}", side => side.ConfigWrite(port, function, offset, value, enables));
    }

    private void ReadMemory()
    {
        (int port, ulong address) = Address();
        bool two = random.Next(4) == 0;
        uint first = two ? (uint)random.Next(1, 16) : (uint)random.Next(16);
        uint last = two ? (uint)random.Next(1, 16) : 0;
        All($"MRd p{port} 0x{address:x} {first:x} {last:x}", side =>
        {
            byte tag = side.NewTag();
            side.SendRaw(port, two ? 2u : 1, ((uint)tag << 8) | (last << 4) | first, (uint)address, 0);
            side.Await(port, tag);
        });
    }

    private void WriteMemory()
    {
        (int port, ulong address) = Address();
        bool two = random.Next(6) == 0;
        uint first = random.Next(3) == 0 && !two ? (uint)random.Next(16) : 15;
        uint last = two ? (uint)random.Next(1, 16) : 0;
        uint value = random.Next(3) == 0 ? (uint)random.NextInt64(1L << 32) : (uint)random.Next(16) | ((uint)random.Next(4) << 16);
        All($"MWr p{port} 0x{address:x} {first:x} {last:x} 0x{value:x}", side =>
            side.SendRaw(port, 0x4000_0000u | (two ? 2u : 1), (last << 4) | first, (uint)address, 0, two ? [value, ~value] : [value]));
    }

    private (int Port, ulong Address) Address()
    {
        if (random.Next(3) == 0)
        {
            uint offset = random.Next(6) switch
            {
                0 => RegisterMap.BackEnd.F2hData + (uint)(random.Next(256) * 4),
                1 => RegisterMap.BackEnd.H2fData + (uint)(random.Next(258) * 4),
                2 => RegisterMap.BackEnd.Doorbell + ((uint)random.Next(3) * 0x400) + ((uint)random.Next(9) * 4),
                3 => 0x1_0000u + ((uint)random.Next(18 * 4) * 4),
                4 => 0x1_2000u,
                _ => (uint)random.Next(14) * 4,
            };
            return (1, BackEndBar + offset);
        }

        uint at = random.Next(8) switch
        {
            0 => RegisterMap.Bar.VirtioIsr,
            1 => RegisterMap.Bar.VirtioDevice + ((uint)random.Next(65) * 4),
            2 => RegisterMap.Bar.VirtioNotify + ((uint)random.Next(9) * 4),
            3 => 0x1_0000u + ((uint)random.Next(10 * 4) * 4),
            4 => 0x1_2000u,
            _ => CommonOffset() & ~3u,
        };
        return (0, FunctionBar(random.Next(2)) + at);
    }

    private uint CommonOffset() => (uint)random.Next(0x40);

    private uint ManagementAddress() => random.Next(4) switch
    {
        0 => Pick(ManagementOffsets),
        1 => PortDriver.QueueRegister(random.Next(3), random.Next(9), (uint)random.Next(12) * 4),
        _ => PortDriver.FunctionRegister(random.Next(3), Pick(FunctionOffsets)),
    };

    private uint ManagementValue(uint address) => (address & 0xFFFF) switch
    {
        _ when address >= Management.Function && (address & 0xFFFF) >= Function.Queue => 1u << random.Next(12),
        Function.Control => (uint)random.Next(8),
        Management.F2hControl when address < Management.Function => (uint)random.Next(1025),
        _ => (uint)random.NextInt64(1L << 32),
    };

    private static uint FunctionBar(int function) => 0xC000_0000 + ((uint)function * 0x10_0000);

    private T Pick<T>(T[] from) => from[random.Next(from.Length)];

    private void All(string what, Action<PortDriver> access)
    {
        history.Add(what);
        foreach (PortDriver side in sides)
        {
            access(side);
        }
    }
}
