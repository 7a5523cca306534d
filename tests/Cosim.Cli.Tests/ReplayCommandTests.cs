// SPDX-License-Identifier: Apache-2.0
using Cosim.Cli.MainJob;
using NUnit.Framework;

namespace Cosim.Cli.Tests;

/// <summary><c>cosim replay</c> and <c>cosim stimuli</c> with the recording that hdl/STIMULI.md shows.</summary>
[CancelAfter(300_000)]
public sealed class ReplayCommandTests
{
    private DirectoryInfo _folder = null!;
    private string _example = "";

    [SetUp]
    public void MakeFolder()
    {
        _folder = Directory.CreateTempSubdirectory("cosim-replay-");
        string document = File.ReadAllText(Path.Combine(Workspace.Find().Hdl, "STIMULI.md"));
        _example = document.Split("```")[1].TrimStart('\n');
    }

    [TearDown]
    public void RemoveFolder() => _folder.Delete(recursive: true);

    private string Write(string text)
    {
        string path = Path.Combine(_folder.FullName, "x.stim");
        File.WriteAllText(path, text);
        return path;
    }

    private static async Task<(int Status, string[] Lines)> RunAsync(params string[] arguments)
    {
        using StringWriter text = new();
        int status = await CommandLine.RunAsync(arguments, text, text);
        return (status, text.ToString().TrimEnd().Split('\n'));
    }

    [TestCase("verilator", "replay ok: exact on verilator, 2 inputs, 1 outputs, 1 resets, ")]
    [TestCase("ghdl", "replay ok: exact on ghdl, 2 inputs, 1 outputs, 1 resets, ")]
    [TestCase("model", "replay ok: order on model, 2 inputs, 1 outputs, 1 resets, ")]
    public async Task Replay_TheFormatsExample_IsReal(string kind, string expected)
    {
        (int status, string[] lines) = await RunAsync("replay", Write(_example), "--fpga", kind);
        Assert.That((status, lines.Length, lines[^1]), Is.EqualTo((0, 1, lines[^1])), string.Join('\n', lines));
        Assert.That(lines[^1], Does.StartWith(expected));
    }

    [Test]
    public async Task Replay_AnotherOutput_NamesItInTheLastLine()
    {
        string path = Write(_example.Replace("10401af4", "10411af4", StringComparison.Ordinal));
        (int status, string[] lines) = await RunAsync("replay", path, "--fpga", "model", "--last", "1");
        Assert.That(status, Is.EqualTo(1), string.Join('\n', lines));
        Assert.That(lines[^1], Does.Match(@"^replay failed: cycle \d+ port 0: CplD .*: payload DW 0 is 10401af4, expected 10411af4 \(line 10\)$"));
        Assert.That(lines[0], Does.Contain("-> CfgRd0 01:00.0 0x000"));
    }

    [TestCase("in 0 12", "in 7 12", "x.stim:9: found 7; expected a port, at most 2")]
    [TestCase("top cosim_top", "top other_top", "name its VHDL files")]
    [TestCase("generic QUEUES_G 8", "generic QUEUES 8", "has no generic QUEUES")]
    [TestCase("end 50 2 1", "", "was cut off after line 12")]
    public async Task Replay_CannotBeReplayed_SaysWhy(string part, string instead, string expected)
    {
        (int status, string[] lines) = await RunAsync("replay", Write(_example.Replace(part, instead, StringComparison.Ordinal)), "--fpga", "model");
        Assert.That((status, lines[^1].StartsWith("replay failed: ", StringComparison.Ordinal)), Is.EqualTo((1, true)), lines[^1]);
        Assert.That(lines[^1], Does.Contain(expected));
    }

    [Test]
    public async Task Replay_AWindowOfWaves_HoldsThatWindowOnly()
    {
        string waves = Path.Combine(_folder.FullName, "w.vcd");
        (int status, string[] lines) = await RunAsync("replay", Write(_example), "--fpga", "ghdl", "--waves", waves, "--from", "14", "--to", "18");
        Assert.That(status, Is.Zero, string.Join('\n', lines));
        ulong[] times = [.. (await File.ReadAllLinesAsync(waves)).Where(l => l.StartsWith('#')).Select(l => ulong.Parse(l.AsSpan(1), null))];
        Assert.That((times[0], times[^1]), Is.EqualTo((14 * 4_000_000UL, 19 * 4_000_000UL)));
    }

    [Test]
    public async Task Show_AWindow_DecodesItsPackets()
    {
        (int status, string[] lines) = await RunAsync("stimuli", "show", Write(_example), "--from", "12", "--to", "20");
        Assert.That((status, lines.Length), Is.EqualTo((0, 2)));
        Assert.That(lines[1], Does.Match(" 18 port 0 <- CplD SC"));
    }

    [Test]
    public async Task Trim_ADivergence_WritesWhatShowsIt()
    {
        string path = Write(_example.Replace("10401af4", "10411af4", StringComparison.Ordinal));
        string cut = Path.Combine(_folder.FullName, "cut.stim");
        (int status, string[] lines) = await RunAsync("stimuli", "trim", path, "--fpga", "model", "-o", cut);
        Assert.That((status, lines[^1]), Is.EqualTo((0, lines[^1])), string.Join('\n', lines));
        Assert.That(lines[^1], Does.StartWith("trim ok: 2 of 3 transactions, "));
        (status, lines) = await RunAsync("replay", cut, "--fpga", "model");
        Assert.That((status, lines[^1]), Is.EqualTo((1, lines[^1])));
        Assert.That(lines[^1], Does.Contain("payload DW 0"));
    }
}
