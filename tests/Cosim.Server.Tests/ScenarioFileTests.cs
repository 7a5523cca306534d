// SPDX-License-Identifier: Apache-2.0
using Cosim.Server.Scenarios;
using Cosim.V1;
using NUnit.Framework;

namespace Cosim.Server.Tests;

public sealed class ScenarioFileTests
{
    private static IEnumerable<TestCaseData> BadTexts()
    {
        yield return Case("{\n  \"nam\": \"x\"\n}", "line 2, column 3", "unknown key \"nam\" in the scenario", "name, fpga, host1");
        yield return Case("{\"fpga\": {\"kind\": \"MODEL\",\n\"speed\": 1}}", "line 2, column 1", "unknown key \"speed\" in \"fpga\"");
        yield return Case("{\"devices\": [{\"block\": {}}, {\"disk\": {}}]}", "unknown key \"disk\" in \"devices[1]\"", "block, net");
        yield return Case("{\"fpga\": {\"kind\": \"QUARTUS\"}}", "\"fpga.kind\" is \"QUARTUS\"", "MODEL, VERILATOR, GHDL");
        yield return Case("{\"completionLatencyCycles\": \"4294967296\"}", "\"completionLatencyCycles\" is \"4294967296\"", "whole number");
        yield return Case("{\"name\": \"\\ud800\"}", "line 1, column", "a string is not valid Unicode text");
        yield return Case("{\"\\ud800\": 1}", "line 1, column", "a string is not valid Unicode text");
        yield return Case("{\"record\": {\"file\": \"a\\u0000b\"}}", "\"record.file\" holds a NUL");
        yield return Case("{\"completionLatencyCycles\": \"big\"}", "\"completionLatencyCycles\" is \"big\"", "whole number");
        yield return Case("{\"completionLatencyCycles\": -1}", "\"completionLatencyCycles\" is -1");
        yield return Case("{\"completionLatencyCycles\": 4294967296}", "4294967295");
        yield return Case("{\"fpga\": []}", "\"fpga\" is an array; expected an object");
        yield return Case("{\"devices\": {}}", "\"devices\" is an object; expected an array");
        yield return Case("{\"fpga\": {\"inProcess\": 1}}", "expected true or false");
        yield return Case("{\"name\": \"a\", \"name\": \"b\"}", "\"name\" stands there twice");
        yield return Case("{\"host1\": {\"qemu\": {}, \"socket\": {}}}", "\"qemu\" and \"socket\" in \"host1\" exclude each other");
        yield return Case("{\"timeouts\": {\"mailbox\": \"soon\"}}", "\"timeouts.mailbox\" is \"soon\"", "30s");
        yield return Case("{\"name\": \"a\",}", "line 1", "not JSON");
        yield return Case("{}{}", "line 1, column 3");
        yield return Case("", "line 1", "not JSON");
        yield return Case("[]", "the scenario is an array; expected an object");

        static TestCaseData Case(string text, params string[] expected) => new TestCaseData(text, expected).SetArgDisplayNames(text);
    }

    [TestCaseSource(nameof(BadTexts))]
    public void Parse_BadText_NamesWhatWhereAndWhatWasExpected(string text, string[] expected)
    {
        ScenarioException error = Assert.Throws<ScenarioException>(() => ScenarioFile.Parse(System.Text.Encoding.UTF8.GetBytes(text), "my.json"))!;
        Assert.That(error.Message, Does.StartWith("my.json, line "));
        foreach (string part in expected)
        {
            Assert.That(error.Message, Does.Contain(part));
        }
    }

    [Test]
    public void Read_RelativePaths_AreSeenFromTheFilesFolder()
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("cosim-scenario-");
        try
        {
            string path = Path.Combine(folder.FullName, "s.json");
            File.WriteAllText(path, """
                {
                  "name": "a",
                  "fpga": { "kind": "GHDL", "waves": { "file": "w.ghw" }, "design": { "top": "t", "files": ["x/t.vhd", "/abs.vhd"], "ports": [{ "functions": 1 }] } },
                  "host1": { "qemu": { "memoryMib": 256 } },
                  "devices": [{ "block": { "image": "../d.img", "readOnly": true } }, { "net": { "mac": "52:54:00:00:00:01", "mtu": 9000 } }],
                  "timeouts": { "mailbox": "2.5s" },
                  "completion_latency_cycles": 4
                }
                """);
            Scenario scenario = ScenarioFile.Read(path);
            Assert.Multiple(() =>
            {
                Assert.That(scenario.Fpga.Design.Files, Is.EqualTo(new[] { Path.Combine(folder.FullName, "x/t.vhd"), "/abs.vhd" }));
                Assert.That(scenario.Fpga.Waves.File, Is.EqualTo(Path.Combine(folder.FullName, "w.ghw")));
                Assert.That(scenario.Devices[0].Block.Image, Is.EqualTo(Path.Combine(folder.Parent!.FullName, "d.img")));
                Assert.That(scenario.Host1.Qemu.Kernel, Is.Empty);
                Assert.That(scenario.Timeouts.Mailbox.ToTimeSpan(), Is.EqualTo(TimeSpan.FromSeconds(2.5)));
                Assert.That(scenario.CompletionLatencyCycles, Is.EqualTo(4));
            });
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Test]
    public void Read_MissingFile_NamesIt() =>
        Assert.That(() => ScenarioFile.Read("/no/such.json"), Throws.TypeOf<ScenarioException>().With.Message.Contains("/no/such.json"));
}
