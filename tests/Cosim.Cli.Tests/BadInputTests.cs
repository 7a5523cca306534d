// SPDX-License-Identifier: Apache-2.0
using System.Net.Sockets;
using Cosim.Cli.MainJob;
using NUnit.Framework;

namespace Cosim.Cli.Tests;

/// <summary>Bridges that cannot come up: <c>cosim up</c> says what and where, and leaves neither a bridge nor a process.</summary>
[CancelAfter(120_000)]
public sealed class BadInputTests
{
    private DirectoryInfo _folder = null!;

    private string Address => $"unix:{Path.Combine(_folder.FullName, "s.sock")}";

    [SetUp]
    public void MakeFolder()
    {
        _folder = Directory.CreateTempSubdirectory("cosim-bad-");
        using FileStream disk = File.Create(Path.Combine(_folder.FullName, "disk.img"));
        disk.SetLength(1 << 20);
    }

    [TearDown]
    public void RemoveFolder() => _folder.Delete(recursive: true);

    [Test]
    public async Task Up_SocketInUse_NamesIt(CancellationToken token)
    {
        string socket = Path.Combine(_folder.FullName, "port0-function0.sock");
        using Socket other = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        other.Bind(new UnixDomainSocketEndPoint(socket));
        other.Listen();
        string text = await UpFailsAsync(
            $$"""{ "fpga": { "kind": "MODEL" }, "host1": { "socket": { "directory": "{{_folder.FullName}}" } }, "host2": { "program": {} }, "devices": [{ "block": { "image": "disk.img" } }] }""",
            token);
        Assert.That(text, Does.Contain(socket).And.Contain("in use"));
        Assert.That(File.Exists(socket), "the socket of another was removed");
    }

    [Test]
    public async Task Up_HostTwoDoesNotAnswer_SaysHowLongAndWhatItPrinted(CancellationToken token)
    {
        string text = await UpFailsAsync(
            """{ "fpga": { "kind": "MODEL" }, "host1": { "program": {} }, "host2": { "process": { "command": ["sh", "-c", "echo waiting; read never", "{socket}"] } }, "devices": [{ "block": { "image": "disk.img" } }], "timeouts": { "hostBoot": "1s" } }""",
            token);
        Assert.That(text, Does.Contain("did not answer its mailbox within 1 s").And.Contain("waiting"));
    }

    [Test]
    public async Task Up_BackEndEndsInTheGuest_SaysSoAtOnceAndWhatItPrinted(CancellationToken token)
    {
        string text = await UpFailsAsync(
            """{ "fpga": { "kind": "MODEL" }, "host1": { "program": {} }, "host2": { "qemu": { "append": "intel_iommu=off" } }, "devices": [{ "block": { "image": "disk.img" } }], "timeouts": { "hostBoot": "3600s" } }""",
            token);
        Assert.That(text, Does.Match("host2: its back end ended with status 1. Its last line: cosim-backend: .* is held by no driver"));
    }

    [TestCase("""{ "qemu": { "arguments": ["-device", "no-such-device"] } }""", """{ "process": {} }""", "host1", Description = "host 1 starts when host 2 is up")]
    [TestCase("""{ "program": {} }""", """{ "qemu": { "arguments": ["-device", "no-such-device"] } }""", "host2")]
    public async Task Up_QemuDiesAtStart_ShowsWhatItPrinted(string host1, string host2, string name, CancellationToken token)
    {
        string text = await UpFailsAsync(
            $$"""{ "fpga": { "kind": "MODEL" }, "host1": {{host1}}, "host2": {{host2}}, "devices": [{ "block": { "image": "disk.img" } }] }""",
            token);
        Assert.That(text, Does.Contain($"{name}: QEMU ").And.Contain("ended with status 1").And.Contain("no-such-device"));
    }

    [Test]
    public async Task Up_DesignThatDoesNotBuild_ShowsItsError(CancellationToken token)
    {
        await File.WriteAllTextAsync(Path.Combine(_folder.FullName, "broken.vhd"), "entity broken is\n  port (clk : in std_logik);\nend entity;\n", token);
        string text = await UpFailsAsync(
            """{ "fpga": { "kind": "GHDL", "design": { "top": "broken", "files": ["broken.vhd"], "ports": [{ "functions": 1 }] } }, "host1": { "program": {} } }""",
            token);
        Assert.That(text, Does.Contain("broken.vhd:2:").And.Contain("std_logik"));
    }

    // Runs cosim up, which must fail; afterwards its service has ended, with everything that it had started.
    private async Task<string> UpFailsAsync(string scenario, CancellationToken token)
    {
        string path = Path.Combine(_folder.FullName, "scenario.json");
        string name = $"bad-{Environment.ProcessId}";
        await File.WriteAllTextAsync(path, scenario, token);
        using StringWriter output = new();
        using StringWriter error = new();
        int status = await CommandLine.RunAsync(["up", path, "--name", name, "--address", Address], output, error);
        string text = error.ToString();
        if (status == 0)
        {
            _ = await CommandLine.RunAsync(["down", name, "--address", Address], output, error);
        }

        while (File.Exists(Path.Combine(_folder.FullName, "s.sock")) || Running(_folder.FullName, $"/{name}/"))
        {
            await Task.Delay(20, token);
        }

        await TestContext.Out.WriteLineAsync(output + text);
        Assert.Multiple(() =>
        {
            Assert.That(status, Is.EqualTo(1));
            Assert.That(text, Does.StartWith("cosim: ").And.Contain(name));
            Assert.That(text.TrimEnd(), Does.Not.Contain("\n\n"));
            Assert.That(Directory.Exists(Path.Combine(Workspace.Find().Run, name)), Is.False);
        });
        return text;
    }

    private static bool Running(params string[] words) => Directory.GetDirectories("/proc").Where(folder => char.IsAsciiDigit(Path.GetFileName(folder)[0])).Any(folder =>
    {
        try
        {
            string command = File.ReadAllText(Path.Combine(folder, "cmdline"));
            return words.Any(word => command.Contains(word, StringComparison.Ordinal));
        }
        catch (IOException)
        {
            // It has just ended.
            return false;
        }
    });
}
