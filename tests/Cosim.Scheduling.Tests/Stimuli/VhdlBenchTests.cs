// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using System.IO.Compression;
using System.Text.Json;
using Cosim.Fpga;
using Cosim.Scheduling.Stimuli;

namespace Cosim.Scheduling.Tests.Stimuli;

/// <summary>Recordings replayed in VHDL alone, by the testbench of hdl/tb and by benches that are made of them.</summary>
public sealed class VhdlBenchTests
{
    private static readonly string s_root = BridgeFixture.RepositoryRoot();
    private string _folder = "";
    private string _ghdl = "";
    private string[] _lines = [];

    /// <summary>Makes a recording with everything that a replay has to follow: pauses both ways, long packets both ways, a reset that drops packets.</summary>
    [OneTimeSetUp]
    public void Record()
    {
        _folder = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"vhdl-{Guid.NewGuid():N}");
        _ = Directory.CreateDirectory(_folder);
        using JsonDocument tools = JsonDocument.Parse(File.ReadAllText(Path.Combine(s_root, ".cosim", "tools.json")));
        _ghdl = tools.RootElement.GetProperty("ghdl").GetString()!;
        using StimuliWriter writer = new(At("good.stim"), RecordingHead.From(Options), new StimuliWriterOptions { Comments = true });
        using IFpga bare = FpgaFactory.Create(Options);
        using LoggedFpga fpga = new(bare, writer);
        for (int round = 0; round < 2; round++)
        {
            for (int i = 0; i < 10; i++)
            {
                fpga.Send(0, Config(0, i % 3, 4 * i)); // function 2 is not there
                fpga.Send(1, Config(1, 0, 4 * i), fpga.Cycle + (ulong)(37 * i));
                fpga.Send(2, Management(RegisterMap.Opcode.RegRead, i, 0, (uint)(4 * i)));
                fpga.Send(2, Management(RegisterMap.Opcode.MemWrite, i, 4 * (40 + i), (uint)(1024 * i), 40 + i));
                fpga.Send(2, Management(RegisterMap.Opcode.MemRead, i, 4 * (64 + i), (uint)(1024 * i)));
                Run(fpga);
            }

            if (round == 0)
            {
                fpga.Send(2, Management(RegisterMap.Opcode.MemRead, 99, 4096, 0));
                fpga.Send(0, Config(0, 0, 0), fpga.Cycle + 1000); // its cycle does not come
                _ = fpga.Run(30);
                fpga.Reset();
            }
        }

        writer.End(fpga.Cycle);
        writer.Dispose();
        Assert.That(writer.Failure, Is.Null);
        _lines = File.ReadAllLines(At("good.stim"));
    }

    [OneTimeTearDown]
    public void Delete() => Directory.Delete(_folder, recursive: true);

    private static FpgaOptions Options => new()
    {
        Kind = FpgaKind.Ghdl,
        HdlDirectory = Path.Combine(s_root, "hdl"),
        BuildDirectory = Path.Combine(s_root, ".cosim", "build"),
        ToolsFile = Path.Combine(s_root, ".cosim", "tools.json"),
        Pauses = new LinkPauses(90, 70, 0xFEDC_BA98_7654_3210),
    };

    [Test]
    public void StimuliBench_OnARecordingAndBrokenCopies_PassesTheRecordingOnly()
    {
        int output = Array.FindLastIndex(_lines, l => l.StartsWith("out 2 ", StringComparison.Ordinal));
        int input = Array.FindIndex(_lines, l => l.StartsWith("in 0 ", StringComparison.Ordinal));
        int end = _lines.Length - 1;
        string cycle = _lines[output].Split(' ')[2];
        using (FileStream file = File.Create(At("good.stim.gz")))
        using (GZipStream zip = new(file, CompressionLevel.Fastest))
        {
            zip.Write(File.ReadAllBytes(At("good.stim")));
        }

        // A file, how it is made of the recording, and what is said of it.
        (string Name, string[] Lines, string Said)[] broken =
        [
            ("changed", Replaced(output, Changed(_lines[output])), $"cycle {cycle}, port 2: another packet than recorded"),
            ("missing", Counted([.. _lines[..output], .. _lines[(output + 1)..]], -1), $"cycle {cycle}, port 2: a packet that is not in the recording"),
            ("late", Replaced(output, Later(_lines[output])), $"cycle {cycle}, port 2: a packet that is not in the recording"),
            ("surplus", [.. _lines[..end], _lines[output].Replace($"out 2 {cycle}", $"out 2 {_lines[end].Split(' ')[1]}", StringComparison.Ordinal), Ended(1)], "expected an end after the cycle of the last output"),
            ("cut", _lines[..end], $"the recording was cut off: no 'end' after line {end}"),
            ("word", Replaced(input, _lines[input].Replace(" : 0", " : x", StringComparison.Ordinal)), $":{input + 1}: expected a word of 8 hexadecimal digits"),
            ("keyword", Replaced(input, "inn" + _lines[input][2..]), $":{input + 1}: expected in, out, reset or end"),
            ("count", Replaced(end, Ended(1)), $":{end + 1}: expected a file with as many outputs"),
            ("generic", [.. _lines.Select(l => l.Replace("generic QUEUES_G 8", "generic QUEUES_G 4", StringComparison.Ordinal))], "another packet than recorded"),
            ("pauses", [.. _lines.Select(l => l.StartsWith("pause ", StringComparison.Ordinal) ? l.Replace("pause 18", "pause 17", StringComparison.Ordinal) : l)], "cycle "),
            ("model", [.. _lines.Select(l => l == "fpga ghdl" ? "fpga model" : l)], ":2: expected a recording of verilator or ghdl"),
        ];
        foreach ((string name, string[] lines, _) in broken)
        {
            File.WriteAllText(At($"{name}.stim"), string.Join('\n', lines) + "\n");
        }

        (int code, string text) = Run(Path.Combine(s_root, "hdl", "tb", "stimuli"), ["good.stim", "good.stim.gz", .. broken.Select(b => $"{b.Name}.stim")]);
        Assert.Multiple(() =>
        {
            string[] counts = _lines[end].Split(' ');
            string passed = $"({counts[2]} inputs, {counts[3]} outputs, {counts[1]} cycles)";
            Assert.That(code, Is.EqualTo(1), text);
            Assert.That(text, Does.Contain($"passed: good.stim {passed}\n").And.Contain($"passed: good.stim.gz {passed}\n"));
            foreach ((string name, _, string said) in broken)
            {
                int from = text.IndexOf($"FAILED: {name}.stim", StringComparison.Ordinal);
                Assert.That(from, Is.GreaterThanOrEqualTo(0), $"{name}: {text}");
                int to = text.IndexOf("FAILED: ", from + 1, StringComparison.Ordinal);
                Assert.That(text[from..(to < 0 ? text.Length : to)], Does.Contain(said), name);
            }
        });
    }

    [Test]
    public void Emit_OfASlice_MakesABenchThatPassesUntilAnExpectationIsChanged()
    {
        ulong to = ulong.Parse(_lines[^1].Split(' ')[1], CultureInfo.InvariantCulture) - 20;
        string[] sources = [.. File.ReadLines(Path.Combine(s_root, "hdl", "sources.txt")).Select(s => Path.Combine(s_root, "hdl", s))];
        Assert.That(Run(_ghdl, ["-a", "--std=08", .. sources]).Code, Is.Zero);
        ulong reset = ulong.Parse(_lines.Last(l => l.StartsWith("reset ", StringComparison.Ordinal)).Split(' ')[1], CultureInfo.InvariantCulture);
        foreach ((string name, ulong from) in new[] { ("whole_tb", 0UL), ("second_tb", reset + 300) })
        {
            string text = Emit(At("good.stim"), name, from, to);
            Assert.That(text, Does.Contain("-- CfgRd0 01:00.0 0x000").Or.Contain("-- MEM_DATA"));
            string said = Simulate(name, text);
            ulong begin = from == 0 ? 0 : reset;
            int outputs = _lines.Count(l => l.StartsWith("out ", StringComparison.Ordinal) && Cycle(l) >= from && Cycle(l) <= to);
            int inputs = _lines.Count(l => l.StartsWith("in ", StringComparison.Ordinal) && Cycle(l) >= begin && Cycle(l) <= to);
            Assert.That(said, Does.Contain($"{name} passed: {inputs} inputs, {outputs} outputs, {to - begin + 1} cycles\n"));

            int packet = text.IndexOf("constant P2_OUT_C", StringComparison.Ordinal);
            int word = text.IndexOf("4 => x\"", packet, StringComparison.Ordinal) + "4 => x\"".Length;
            string changed = text[..word] + "5A5A5A5A" + text[(word + 8)..];
            Assert.That(Simulate(name, changed), Does.Contain("port 2: another packet than P2_OUT_C(0) of cycle").And.Not.Contain("passed"));
        }
    }

    [Test]
    public void Emit_OfAUsersDesignWithOnePort_MakesABenchThatPasses()
    {
        string[] files = [.. new[] { "pkg", "copier", "registers", "device" }.Select(f => Path.Combine(s_root, "hdl", "examples", "dma_device", $"example_{f}.vhd"))];
        FpgaOptions options = Options with { Design = new FpgaDesign("example_device", files, 1, null) };
        using (StimuliWriter writer = new(At("example.stim"), RecordingHead.From(options)))
        using (IFpga bare = FpgaFactory.Create(options))
        using (LoggedFpga fpga = new(bare, writer))
        {
            for (int i = 0; i < 16; i++)
            {
                fpga.Send(0, Config(0, 0, 4 * i));
            }

            Run(fpga);
            writer.End(fpga.Cycle);
        }

        Assert.That(Run(_ghdl, ["-a", "--std=08", .. files]).Code, Is.Zero);
        Assert.That(Simulate("example_tb", Emit(At("example.stim"), "example_tb", 0, ulong.MaxValue)), Does.Contain("example_tb passed: 16 inputs, 16 outputs"));
    }

    [Test]
    public void Emit_OfWhatCannotBeReplayed_SaysWhy()
    {
        const string Head = "cosim-stimuli 1\nfpga ghdl\nports 1\ntop a\n";
        const string Packet = " : 04000001 0000000f 01000000\n";
        Assert.Multiple(() =>
        {
            Assert.That(Refused(Head.Replace("ghdl", "model", StringComparison.Ordinal) + "reset 0\nend 9 0 0\n", 0, 9), Does.Contain("reference model"));
            Assert.That(Refused(Head + "start 5\nin 0 9 0" + Packet + "end 90 1 0\n", 0, 99), Does.Contain("no reset up to cycle"));
            Assert.That(Refused(Head + "reset 0\nin 0 9 0" + Packet, 0, 99), Does.Contain("cut off after line 6"));
            Assert.That(Refused(Head + "reset 0\nend 9 0 0\n", 9, 99), Does.Contain("ends at cycle 9, before the slice from 9"));
            Assert.That(Refused(Head + "reset 0\nend 9 0 0\n", 5, 4), Does.Contain("is empty"));
            Assert.That(Refused(Head + "reset 0\nin 0 4000000000 0" + Packet + "end 4000000001 1 0\n", 0, ulong.MaxValue), Does.Contain("VHDL's integers end"));
            Assert.That(() => Emit(At("good.stim"), "2_tb", 0, 9), Throws.ArgumentException);
        });
    }

    private static string Refused(string recording, ulong from, ulong to)
    {
        using StimuliReader reader = new(new MemoryStream(System.Text.Encoding.ASCII.GetBytes(recording)), "r");
        return Assert.Throws<StimuliException>(() => VhdlBench.Emit(reader, "a_tb", from, to, TextWriter.Null))!.Message;
    }

    private static string Emit(string recording, string entity, ulong from, ulong to)
    {
        using StimuliReader reader = new(recording);
        using StringWriter text = new();
        VhdlBench.Emit(reader, entity, from, to, text);
        return text.ToString();
    }

    private string Simulate(string entity, string text)
    {
        File.WriteAllText(At($"{entity}.vhd"), text);
        (int code, string said) = Run(_ghdl, ["-a", "--std=08", $"{entity}.vhd"]);
        Assert.That(code, Is.Zero, said);
        return Run(_ghdl, ["--elab-run", "--std=08", entity, "--assert-level=error", "--ieee-asserts=disable-at-0"]).Text;
    }

    private (int Code, string Text) Run(string program, string[] arguments)
    {
        ProcessStartInfo start = new(program, arguments) { WorkingDirectory = _folder, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["GHDL"] = _ghdl;
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string text = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, text + errors.Result);
    }

    private static void Run(LoggedFpga fpga)
    {
        while (fpga.Run(1 << 20, 16) == RunResult.Output)
        {
            while (fpga.TryReceive(out _))
            {
            }
        }

        Assert.That(fpga.Failure, Is.Null);
    }

    private static byte[] Config(int tag, int function, int register) =>
        Packet(16, 0x0400_0001, (uint)(tag << 8) | 0xF, 0x0100_0000 | ((uint)function << 16) | (uint)register);

    private static byte[] Management(uint opcode, int tag, int length, uint address, int payload = 0) =>
        Packet(32 + (4 * payload), [opcode | ((uint)tag << 16), (uint)length, address, 0, 0, 0, 0, 0, .. Enumerable.Range(1, payload).Select(i => (uint)(i * 0x01020304))]);

    private static byte[] Packet(int bytes, params ReadOnlySpan<uint> words)
    {
        byte[] packet = new byte[bytes];
        for (int i = 0; i < words.Length; i++)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(packet.AsSpan(4 * i), words[i]);
        }

        return packet;
    }

    private string At(string name) => Path.Combine(_folder, name);

    private static ulong Cycle(string line) => ulong.Parse(line.Split(' ')[2], CultureInfo.InvariantCulture);

    private string[] Replaced(int at, string line) => [.. _lines[..at], line, .. _lines[(at + 1)..]];

    private string[] Counted(string[] lines, int more) => [.. lines[..^1], Ended(more)];

    private string Ended(int more)
    {
        string[] end = _lines[^1].Split(' ');
        return $"end {end[1]} {end[2]} {int.Parse(end[3], CultureInfo.InvariantCulture) + more}";
    }

    // Another last word; what follows it is a comment.
    private static string Changed(string line)
    {
        string packet = line.Split('#')[0].TrimEnd();
        return packet[..^8] + "5a5a5a5a";
    }

    private static string Later(string line)
    {
        string[] fields = line.Split(' ');
        fields[2] = (Cycle(line) + 1).ToString(CultureInfo.InvariantCulture);
        return string.Join(' ', fields);
    }
}
