// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.Cli.Tests;

/// <summary><c>cosim wave</c> as a user types it.</summary>
public sealed class WaveCommandTests
{
    private const string Vcd = """
        $timescale 1ns $end
        $scope module tb $end
        $var wire 1 ! clk $end
        $var wire 4 " count [3:0] $end
        $upscope $end
        $enddefinitions $end
        #0 0! bx "
        #5 1! b0 "
        #10 0!
        #15 1! b1 "
        #20 0!
        #25 1!

        """;

    private DirectoryInfo _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("cosim-wave-");

    [TearDown]
    public void RemoveFolder() => _folder.Delete(recursive: true);

    [Test]
    public async Task Wave_FromImportToAccept_DoesWhatItSays()
    {
        string vcd = At("sim.vcd");
        string verified = At("T.Count.verified.txt");
        string received = At("T.Count.received.txt");
        string picture = At("diff.svg");
        await File.WriteAllTextAsync(vcd, Vcd);

        (int imported, string importText) = await RunAsync("import", vcd, "-o", verified, "--save-gtkw", At("sim.gtkw"), "--save-surfer", At("sim.sucl"));
        Assert.That((imported, importText), Is.EqualTo((0, $"{verified}: 1 signals below tb, sampled at clk\n")));
        Assert.That(await File.ReadAllTextAsync(verified), Is.EqualTo("cosim waveform 2\nsignal count 4\n0 count x\n1 count 0\n2 count 1\nend 3\n"));
        Assert.That(await File.ReadAllTextAsync(At("sim.gtkw")), Does.EndWith("@22\ntb.count[3:0]\n"));
        Assert.That(await File.ReadAllTextAsync(At("sim.sucl")), Does.StartWith($"load_file {vcd}\n"));

        (int shown, string showText) = await RunAsync("show", verified, "--from", "1", "--ascii", "--width", "60");
        Assert.That((shown, showText), Is.EqualTo((0, "T.Count: cycles 1 to 2 of 3\n         1  2\n  count  0==X1=\n")));
        Assert.That((await RunAsync("check", _folder.FullName)).Status, Is.Zero, "nothing was received");

        await File.WriteAllTextAsync(received, (await File.ReadAllTextAsync(verified)).Replace("2 count 1", "2 count 7", StringComparison.Ordinal));
        (int different, string checkText) = await RunAsync("check", _folder.FullName);
        Assert.That((different, checkText), Is.EqualTo((1, $"{received}: cycle 2, count: expected 1, actual 7\n1 difference\n")));

        (int diff, string diffText) = await RunAsync("diff", verified, received, "--svg", picture, "--ascii", "--width", "60");
        Assert.That((diff, diffText), Is.EqualTo((1, $"""
            cycle 2, count: expected 1, actual 7

            cycle 2, count: expected 1, actual 7
                              0  1  2
              count expected  x==X0=X1=
              count actual    x==X0=X7=
                                    ^^^
                                    ^ first difference
            picture: {picture}

            """)));
        Assert.That(await File.ReadAllTextAsync(picture), Does.StartWith("<svg ").And.Contain("prefers-color-scheme"));

        Assert.That(await RunInCiAsync("accept", received), Is.EqualTo(1));
        Assert.That(File.Exists(received), "CI accepts nothing");
        (int accepted, string acceptText) = await RunAsync("accept", received);
        Assert.That((accepted, acceptText), Is.EqualTo((0, $"accepted {verified}\n1 accepted\n")));
        Assert.That(await File.ReadAllTextAsync(verified), Does.Contain("2 count 7"));
        Assert.That(File.Exists(received), Is.False);
    }

    [TestCase("show", "none.txt", "none.txt")]
    [TestCase("import", "none.vcd", "none.vcd")]
    [TestCase("check", "none.txt", "expected a file that ends with .verified.txt")]
    public async Task Wave_FileThatIsNotThere_IsOneParagraph(string command, string file, string message)
    {
        (int status, string text) = await RunAsync(command, At(file));

        Assert.That(status, Is.EqualTo(1));
        Assert.That(text, Does.StartWith("cosim: ").And.Contain(message));
        Assert.That(text.TrimEnd(), Does.Not.Contain("\n"));
    }

    private static async Task<(int Status, string Text)> RunAsync(params string[] arguments)
    {
        string? ci = Environment.GetEnvironmentVariable("CI");
        Environment.SetEnvironmentVariable("CI", null);
        try
        {
            using StringWriter text = new();
            int status = await CommandLine.RunAsync(["wave", .. arguments], text, text);
            return (status, text.ToString());
        }
        finally
        {
            Environment.SetEnvironmentVariable("CI", ci);
        }
    }

    private static async Task<int> RunInCiAsync(params string[] arguments)
    {
        string? ci = Environment.GetEnvironmentVariable("CI");
        Environment.SetEnvironmentVariable("CI", "true");
        try
        {
            using StringWriter text = new();
            return await CommandLine.RunAsync(["wave", .. arguments], text, text);
        }
        finally
        {
            Environment.SetEnvironmentVariable("CI", ci);
        }
    }

    private string At(string name) => Path.Combine(_folder.FullName, name);
}
