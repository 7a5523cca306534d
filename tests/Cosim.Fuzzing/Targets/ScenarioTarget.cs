// SPDX-License-Identifier: Apache-2.0
using System.Text;
using Cosim.Server.Scenarios;
using Cosim.V1;
using Google.Protobuf;

namespace Cosim.Fuzzing.Targets;

/// <summary>Scenario files: refused with their place or read, and what is read is the same after it was written as JSON again.</summary>
public sealed class ScenarioTarget : FuzzTarget
{
    private static readonly byte[][] s_words = AllWords();

    private readonly string _folder = Path.Combine(Path.GetTempPath(), $"cosim-fuzzing-{Environment.ProcessId}");
    private readonly string _file;

    public ScenarioTarget()
    {
        _ = Directory.CreateDirectory(_folder);
        _file = Path.Combine(_folder, "scenario.json");
        File.WriteAllBytes(Path.Combine(_folder, "disk.img"), new byte[1024]);
        File.WriteAllBytes(Path.Combine(_folder, "odd.img"), new byte[100]);
    }

    public override string Name => "scenario";

    public override string What => "scenario files";

    public override IReadOnlyList<string> Classes { get; } = ["Cosim.Server.Scenarios.ScenarioFile", "Cosim.Server.Scenarios.JsonSchema", "Cosim.Server.Scenarios.ScenarioRules", "Cosim.Server.Scenarios.ScenarioViolation"];

    // Messages list the keys of an object; the shortest entry of a list is an object, a path, and a violation, in both readings.
    public override long MostAllocated(int length) => (1 << 18) + (2000L * length);

    public override IReadOnlyList<byte[]> Words => s_words;

    public override void Generate(FuzzInput input, FuzzRandom random)
    {
        _ = input.Add("{\"name\": ").Add(random.Pick("\"main\"", "\"a-1\"", "\"\"", "\"Bad Name\""));
        _ = input.Add(",\n \"fpga\": {\"kind\": ").Add(random.Pick("\"MODEL\"", "\"VERILATOR\"", "\"GHDL\""));
        if (random.OneIn(4))
        {
            _ = input.Add(", \"inProcess\": ").Add(random.Pick("true", "false"));
        }

        if (random.OneIn(4))
        {
            _ = input.Add(", \"clockHz\": ").AddText(random.OneIn(4) ? 0 : random.Boundary());
        }

        if (random.OneIn(4))
        {
            _ = input.Add(", \"queuesPerFunction\": ").AddText((ulong)random.Below(70)).Add(", \"vectorsPerFunction\": ").AddText((ulong)random.Below(300));
        }

        if (random.OneIn(5))
        {
            _ = input.Add(", \"waves\": {\"file\": ").Add(random.Pick("\"w.vcd\"", "\"w.fst\"", "\"w.ghw\"", "\"w.txt\"", "\"\"")).Add(random.Pick("", ", \"format\": \"GHW\"", ", \"format\": \"VCD\"", ", \"format\": \"FST\"")).Add("}");
        }

        bool design = random.OneIn(6);
        if (design)
        {
            _ = input.Add(", \"design\": {\"top\": ").Add(random.Pick("\"top\"", "\"1x\"", "\"\"")).Add(", \"files\": [").Add(random.Pick("\"disk.img\"", "", "\"no.vhd\""))
                .Add("], \"ports\": [").Add(random.Pick("", "{\"functions\": 1}", "{\"functions\": 9}, {}", "{}, {}, {}")).Add("], \"idleCycles\": 10}");
        }

        _ = input.Add("}");
        Host(input, "host1", random);
        Host(input, "host2", random);
        if (!design || random.OneIn(4))
        {
            _ = input.Add(",\n \"devices\": [");
            int devices = random.OneIn(8) ? 9 : random.Below(4);
            for (int i = 0; i < devices; i++)
            {
                _ = input.Add(i > 0 ? ", " : "");
                Device(input, random);
            }

            _ = input.Add("]");
        }

        if (random.OneIn(4))
        {
            _ = input.Add(",\n \"completionLatencyCycles\": ");
            _ = random.OneIn(3) ? input.Add(random.Pick("\"0\"", "\"16\"", "\"016\"", "\"\"", "\"+1\"", "\":\"")) : input.AddText((ulong)random.Below(100));
        }

        if (random.OneIn(3))
        {
            _ = input.Add(",\n \"timeouts\": {\"hostBoot\": ").Add(Time(random)).Add(", \"mailbox\": ").Add(Time(random)).Add(", \"simulator\": ").Add(Time(random)).Add(", \"completionCycles\": ").AddText(random.Boundary()).Add("}");
        }

        if (random.OneIn(4))
        {
            _ = input.Add(",\n \"record\": {\"file\": ").Add(random.Pick("\"a.stim\"", "\"\"", "\"/x/y.stim.gz\"", "null")).Add("}");
        }

        _ = input.Add("}\n");
    }

    public override void Mark(FuzzInput input) => TextMarks.Json(input);

    public override void Execute(ReadOnlySpan<byte> input)
    {
        Scenario scenario;
        try
        {
            scenario = ScenarioFile.Parse(input, "fuzz.json");
        }
        catch (ScenarioException e)
        {
            Require(e.Message.StartsWith("fuzz.json", StringComparison.Ordinal), $"an error does not begin with the file: {Start(e.Message)}");
            return;
        }

        Check(scenario);
        if (scenario.Timeouts?.Mailbox is not null)
        {
            // What no JSON text says, but a request may.
            Scenario other = scenario.Clone();
            other.Timeouts.Mailbox.Nanos = -1;
            Check(other);
            other.Timeouts.Mailbox.Nanos = 1_000_000_000;
            Check(other);
        }

        byte[] json = Encoding.UTF8.GetBytes(JsonFormatter.Default.Format(scenario));
        Scenario again;
        try
        {
            again = ScenarioFile.Parse(json, "again.json");
        }
        catch (ScenarioException e)
        {
            throw new FindingException($"a scenario that was written again is refused: {Start(e.Message)}");
        }

        Require(again.Equals(scenario), "a scenario that was written again is read as another one");

        // From a file, where paths become absolute ones.
        using (FileStream file = new(_file, FileMode.Create, FileAccess.Write, FileShare.Read, bufferSize: 0))
        {
            file.Write(input);
        }

        try
        {
            Check(ScenarioFile.Read(_file));
        }
        catch (ScenarioException e)
        {
            // A path that no file can have.
            Require(e.Message.Contains(_file, StringComparison.Ordinal), $"an error does not name the file: {Start(e.Message)}");
        }
    }

    protected override void Dispose(bool disposing)
    {
        if (Directory.Exists(_folder))
        {
            Directory.Delete(_folder, recursive: true);
        }

        base.Dispose(disposing);
    }

    private static byte[][] AllWords()
    {
        List<string> words =
        [
            "\"MODEL\"", "\"VERILATOR\"", "\"GHDL\"", "\"KIND_UNSPECIFIED\"", "\"VCD\"", "\"GHW\"", "true", "false", "null", "0", "1", "-1", "1.5", "1e2", "4294967295", "4294967296", "18446744073709551615", "18446744073709551616", "4096",
            "\"30s\"", "\"0s\"", "\"0.5s\"", "\"-1s\"", "\"1,000s\"", "\" 1 s\"", "\"99999999999999s\"", "\"1e9s\"", "\"s\"", "\"\"", "\"disk.img\"", "\"odd.img\"", "\"/\"", "\"/dev/null\"", "\"a\\u0000b\"", "\"\\ud800\"", "\"\\u00e9\"", "\"é\"", "{}", "[]", "\"0\"", "\"12\"", "\"4096\"", "\"10.51.0.2/24\"", "\"10.51.0.2/33\"", "\"::1/24\"",
            "\"52:54:00:12:34:56\"", "\"53:54:00:12:34:56\"", "\"w.fst\"", "// x", "\"@type\"", "\"{socket}\"",
        ];
        void Add(Google.Protobuf.Reflection.MessageDescriptor type)
        {
            foreach (Google.Protobuf.Reflection.FieldDescriptor field in type.Fields.InDeclarationOrder())
            {
                if (!words.Contains($"\"{field.JsonName}\""))
                {
                    words.Add($"\"{field.JsonName}\"");
                    words.Add($"\"{field.Name}\"");
                }

                if (field.FieldType == Google.Protobuf.Reflection.FieldType.Message && field.MessageType != type)
                {
                    Add(field.MessageType);
                }
            }
        }

        Add(Scenario.Descriptor);
        return [.. words.Distinct().Select(Encoding.UTF8.GetBytes)];
    }

    private static void Host(FuzzInput input, string name, FuzzRandom random)
    {
        if (random.OneIn(3))
        {
            return;
        }

        _ = input.Add(",\n \"").Add(name).Add("\": {");
        switch (random.Below(5))
        {
            case 0:
                _ = input.Add("\"qemu\": {\"memoryMib\": ").AddText((ulong)random.Below(600)).Add(", \"cpus\": ").AddText((ulong)random.Below(3)).Add(", \"kernel\": ").Add(random.Pick("\"\"", "\"disk.img\"", "\"none\""));
                _ = input.Add(random.Pick("", ", \"append\": \"x\", \"arguments\": [\"-s\"]", ", \"initrd\": \"disk.img\"")).Add(random.Pick("", ", \"files\": [\"disk.img\", \"disk.img\"]", ", \"command\": \"ls\"")).Add("}");
                break;
            case 1:
                _ = input.Add("\"process\": {\"command\": [").Add(random.Pick("", "\"a\", \"{socket}\"")).Add("]}");
                break;
            case 2:
                _ = input.Add("\"socket\": {\"directory\": ").Add(random.Pick("\"\"", "\"/run\"", "\"rel\"", "\"/a-long-path-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789\"")).Add("}");
                break;
            case 3:
                _ = input.Add("\"program\": {").Add(random.Pick("", "\"memoryBytes\": 4096", "\"memoryBytes\": 5000")).Add("}");
                break;
            default:
                break;
        }

        _ = input.Add("}");
    }

    private static void Device(FuzzInput input, FuzzRandom random)
    {
        switch (random.Below(4))
        {
            case 0 or 1:
                _ = input.Add("{\"block\": {\"image\": ").Add(random.Pick("\"disk.img\"", "\"odd.img\"", "\"none.img\"", "\"\"")).Add(random.Pick("", ", \"readOnly\": true", ", \"serial\": \"abc\"", ", \"serial\": \"a,b\"", ", \"serial\": \"é\"", ", \"serial\": \"abcdefghijklmnopqrstuvwxyz\"", ", \"serial\": \"\\u0001\"")).Add("}}");
                break;
            case 2:
                _ = input.Add("{\"net\": {\"mac\": ").Add(random.Pick("\"52:54:00:12:34:56\"", "\"\"", "\"01:00:00:00:00:00\"", "\"x\"")).Add(random.Pick("", ", \"mtu\": 9000", ", \"mtu\": 60")).Add(random.Pick("", ", \"address\": \"10.51.0.2/24\"", ", \"address\": \"10.51/24\"", ", \"address\": \"::1/64\"", ", \"address\": \"10.0.0.1/33\"", ", \"address\": \"10.0.0.1\"", ", \"address\": \"x/24\"", ", \"address\": \"10.0.0.1/x\"", ", \"address\": \"10.0.0.1/0\"", ", \"address\": \"300.0.0.1/24\"")).Add(random.OneIn(16) ? "}, \"block\": {}}" : "}}");
                break;
            default:
                _ = input.Add("{}");
                break;
        }
    }

    private static string Time(FuzzRandom random) => random.Pick("\"30s\"", "\"0.5s\"", "\"0s\"", "\"90000s\"", "\"-1s\"", "\"1h\"", "null", "5");

    private static void Check(Scenario scenario)
    {
        foreach (ScenarioViolation violation in ScenarioRules.Check(scenario))
        {
            Require(violation.Field.Length > 0 && violation.Description.Length > 0, "a violation names no field, or nothing");
        }
    }

    private static string Start(string text) => text[..Math.Min(text.Length, 300)];
}
