// SPDX-License-Identifier: Apache-2.0
using Cosim.Cli.MainJob;
using Cosim.Server.Scenarios;
using Cosim.V1;
using NUnit.Framework;

namespace Cosim.Cli.Tests;

[CancelAfter(120_000)]
public sealed class CommandLineTests
{
    private DirectoryInfo _folder = null!;

    private string Address => $"unix:{_folder.FullName}/s.sock";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("cosim-cli-");

    [TearDown]
    public void RemoveFolder() => _folder.Delete(recursive: true);

    [Test]
    public async Task Up_PsResetDown_TheServiceComesAndGoesWithItsBridge(CancellationToken token)
    {
        string scenario = Write("""{ "name": "x", "fpga": { "kind": "MODEL" }, "host1": { "program": {} }, "host2": { "program": {} }, "devices": [{ "net": {} }] }""");
        string name = $"cli-{Environment.ProcessId}";
        (int up, string upText) = await RunAsync("up", scenario, "--name", name, "--address", Address);
        (int again, string againText) = await RunAsync("up", scenario, "--name", name, "--address", Address);
        (int ps, string psText) = await RunAsync("ps", "--address", Address);
        (int reset, string resetText) = await RunAsync("reset", "--address", Address);
        (int down, string downText) = await RunAsync("down", name, "--address", Address);
        Assert.Multiple(() =>
        {
            Assert.That((up, again, ps, reset, down), Is.EqualTo((0, 1, 0, 0, 0)), upText + againText + psText + resetText + downText);
            Assert.That(againText, Does.Contain($"\"{name}\" already"));
            Assert.That(psText, Does.Match($"NAME +FPGA +STATE.*\n{name} +model +link down .* program +program\n"));
            Assert.That(resetText, Does.Contain("link down"));
        });

        // Started by up, the service ends with its last bridge and takes its socket along.
        while (File.Exists(Path.Combine(_folder.FullName, "s.sock")))
        {
            await Task.Delay(20, token);
        }
    }

    [Test]
    public async Task Record_StartStopDownload_AndUpWithRecord_MakeRecordings()
    {
        string scenario = Write("""{ "name": "x", "fpga": { "kind": "MODEL" }, "host1": { "program": {} }, "host2": { "program": {} }, "devices": [{ "net": {} }] }""");
        string name = $"rec-{Environment.ProcessId}";
        string own = Path.Combine(_folder.FullName, "own.stim");
        string copy = Path.Combine(_folder.FullName, "copy.stim.gz");
        string stored = Path.Combine(Workspace.Find().Recordings, $"{name}.stim.gz");
        string[] rest = [name, "--address", Address];
        (int Status, string Text)[] done =
        [
            await RunAsync(["up", scenario, "--record", own, "--name", .. rest]),
            await RunAsync(["record", "start", .. rest]),
            await RunAsync(["record", "stop", .. rest]),
            await RunAsync(["record", "start", "--reset", "--file", $"{name}.stim.gz", .. rest]),
            await RunAsync(["record", "start", "--file", "../x.stim", .. rest]),
            await RunAsync(["record", "stop", .. rest]),
            await RunAsync(["record", "stop", .. rest]),
            await RunAsync(["record", "download", "-o", copy, .. rest]),
            await RunAsync(["record", "download", "-o", stored, .. rest]),
            await RunAsync(["down", .. rest]),
        ];
        byte[] storedBytes = await File.ReadAllBytesAsync(stored);
        File.Delete(stored);
        Assert.Multiple(() =>
        {
            Assert.That(done.Select(d => d.Status), Is.EqualTo(new[] { 0, 1, 0, 0, 1, 0, 1, 0, 0, 0 }), string.Concat(done.Select(d => d.Text)));
            Assert.That(done[0].Text, Does.Contain($"recording: {own}"));
            Assert.That(done[1].Text, Does.Contain(own).And.Contain("already"));
            Assert.That(done[2].Text, Does.Match($"{own}: [1-9][0-9]* inputs, [1-9][0-9]* outputs"));
            Assert.That(done[3].Text, Does.Contain(stored));
            Assert.That(done[4].Text, Does.Contain("../x.stim"));
            Assert.That(File.ReadLines(own).Last(), Does.StartWith("end "));
            Assert.That(File.ReadAllBytes(copy), Is.EqualTo(storedBytes));
            Assert.That(storedBytes.Take(2), Is.EqualTo(new byte[] { 0x1f, 0x8b }), "gzip");
        });
    }

    [Test]
    public async Task StimuliGenerate_OneSeedOnTheModel_PrintsTheTableAndWritesTheRecording()
    {
        string file = Path.Combine(_folder.FullName, "generated.stim");
        (int status, string text) = await RunAsync("stimuli", "generate", "--fpga", "model", "--seed", "6", "-o", file);
        Assert.Multiple(() =>
        {
            Assert.That(status, Is.Zero, text);
            Assert.That(text, Does.Contain("DriverEventIdx").And.Contain("holes: "));
            Assert.That(text.TrimEnd().Split('\n')[^1], Does.StartWith("generate ok fpga=model seeds=6..6 "));
            Assert.That(File.ReadAllText(file), Does.StartWith("cosim-stimuli 1\nfpga model\n"));
        });
    }

    private static IEnumerable<TestCaseData> BadScenarios()
    {
        yield return new TestCaseData("""{ "nmae": "x" }""", "unknown key \"nmae\"").SetArgDisplayNames("unknown key");
        yield return new TestCaseData("{", "not JSON").SetArgDisplayNames("no JSON");
        yield return new TestCaseData("""{ "name": "x", "fpga": { "kind": "MODEL" } }""", "devices has 0 entries").SetArgDisplayNames("no devices");
        yield return new TestCaseData(
            """{ "name": "x", "fpga": { "kind": "MODEL" }, "devices": [{ "block": { "image": "none.img" } }] }""", "none.img, which is no file").SetArgDisplayNames("no image");
    }

    [TestCaseSource(nameof(BadScenarios))]
    public async Task Up_BadScenario_IsOneParagraphAndNoServiceIsStarted(string json, string expected)
    {
        (int status, string text) = await RunAsync("up", Write(json), "--address", Address);
        Assert.Multiple(() =>
        {
            Assert.That(status, Is.EqualTo(1));
            Assert.That(text, Does.StartWith("cosim: ").And.Contain(expected));
            Assert.That(text.TrimEnd(), Does.Not.Contain("\n"));
            Assert.That(File.Exists(Path.Combine(_folder.FullName, "s.sock")), Is.False);
        });
    }

    [Test]
    public async Task Up_DiskNoMultipleOfASector_NamesItAndItsLength()
    {
        string disk = Path.Combine(_folder.FullName, "odd.img");
        await File.WriteAllBytesAsync(disk, new byte[513]);
        string scenario = Write("""{ "name": "x", "fpga": { "kind": "MODEL" }, "devices": [{ "block": { "image": "d.img" } }] }""");
        (int status, string text) = await RunAsync("up", scenario, "--disk", disk, "--address", Address);
        Assert.That(status, Is.EqualTo(1));
        Assert.That(text, Does.Contain(disk).And.Contain("513 bytes").And.Contain("512"));
    }

    [TestCase("down")]
    [TestCase("reset")]
    [TestCase("watch")]
    public async Task Command_NoServiceRuns_SaysHowToStartOne(string command)
    {
        (int status, string text) = await RunAsync(command, "--address", Address);
        Assert.That((status, text.Contains("cosim up", StringComparison.Ordinal)), Is.EqualTo((1, true)), text);
    }

    [Test]
    public async Task Ps_NoServiceRuns_ListsNothing()
    {
        (int status, string text) = await RunAsync("ps", "--address", Address);
        Assert.That((status, text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length), Is.EqualTo((0, 1)), text);
    }

    [TestCase("up")]
    [TestCase("fly")]
    [TestCase("run", "--fpga", "quartus")]
    [TestCase("serve", "--address", "nonsense")]
    public async Task Command_BadArguments_ExitsWithAnError(params string[] arguments)
    {
        (int status, string text) = await RunAsync(arguments);
        Assert.That((status, text.Length > 0), Is.EqualTo((1, true)));
    }

    [Test]
    public void Scenarios_OfTheClone_AreGoodButForTheFilesThatTheUserMakes()
    {
        Workspace workspace = Workspace.Find();
        string folder = Path.Combine(workspace.Root, "sim-scripts", "scenarios");
        string[] files = Directory.GetFiles(folder, "*.json");
        Assert.That(files, Has.Length.AtLeast(4));
        foreach (string file in files)
        {
            Scenario scenario = ScenarioFile.Read(file);
            IEnumerable<ScenarioViolation> violations = ScenarioRules.Check(scenario)
                .Where(v => !v.Field.EndsWith("block.image", StringComparison.Ordinal) && !v.Description.Contains($" {workspace.Build}/", StringComparison.Ordinal));
            Assert.That(violations, Is.Empty, file);
        }
    }

    private static async Task<(int Status, string Text)> RunAsync(params string[] arguments)
    {
        using StringWriter text = new();
        int status = await CommandLine.RunAsync(arguments, text, text);
        return (status, text.ToString());
    }

    private string Write(string json)
    {
        string path = Path.Combine(_folder.FullName, "scenario.json");
        File.WriteAllText(path, json);
        return path;
    }
}
