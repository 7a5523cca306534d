// SPDX-License-Identifier: Apache-2.0
using Cosim.Regression.Coverage;

namespace Cosim.Regression.Tests;

public class CoverageTests
{
    [Test]
    public void Add_TwoSimulations_ALineIsReachedWhereOneReachesIt()
    {
        LineCoverage coverage = new();
        coverage.Add(Ghdl("a", "\"1\": 0, \"2\": 3, \"3\": 0"));
        coverage.Add(Ghdl("b", "\"1\": 1, \"2\": 0, \"3\": 0"));

        Assert.That(coverage.Lines("/hdl/e.vhd"), Is.EqualTo(new Dictionary<int, bool> { [1] = true, [2] = true, [3] = false }));
        Assert.That(coverage.ToLcov(f => f == "/hdl/e.vhd"), Is.EqualTo("TN:\nSF:/hdl/e.vhd\nDA:1,1\nDA:2,1\nDA:3,0\nLF:3\nLH:2\nend_of_record\n"));
    }

    [TestCase("")]
    [TestCase("{}")]
    [TestCase("{\"outputs\": [{\"file\": \"a\", \"dir\": \"\", \"result\": {\"x\": 1}}]}")]
    public void Add_NoCoverage_Throws(string text)
    {
        string file = Path.Combine(TestContext.CurrentContext.WorkDirectory, "bad.json");
        File.WriteAllText(file, text);
        Assert.That(() => new LineCoverage().Add(file), Throws.TypeOf<RegressionException>());
    }

    [TestCase("e.vhd: b; # never", true, TestName = "Report_EachUnreachedLineExplained_Holds")]
    [TestCase("e.vhd: c; # never", false, TestName = "Report_AnotherLineExplained_Fails")]
    [TestCase("e.vhd: b; # never|e.vhd: a; # never", false, TestName = "Report_ReachedLineExplained_Fails")]
    [TestCase("", false, TestName = "Report_NothingExplained_Fails")]
    public void Report(string explanations, bool holds)
    {
        string text = string.Concat(Enumerable.Repeat("a;\n", 99)) + "  b;\n";
        CoverageReport report = new([("e.vhd", text)], _ => Enumerable.Range(1, 100).ToDictionary(l => l, l => l != 100),
            explanations.Split('|', StringSplitOptions.RemoveEmptyEntries));
        Assert.That((report.Holds, report.Percent), Is.EqualTo((holds, 99.0)));
    }

    [Test]
    public void Report_TooFewLinesReached_FailsThoughExplained()
    {
        CoverageReport report = new([("e.vhd", "a;\nb;\n")], _ => new Dictionary<int, bool> { [1] = true, [2] = false }, ["e.vhd: b; # never"]);
        Assert.That((report.Holds, report.Percent), Is.EqualTo((false, 50.0)));
    }

    private static string Ghdl(string name, string lines)
    {
        string file = Path.Combine(TestContext.CurrentContext.WorkDirectory, name + ".json");
        File.WriteAllText(file, $"{{\"outputs\": [{{\"file\": \"/hdl/e.vhd\", \"dir\": \"\", \"mode\": \"stmt\", \"result\": {{{lines}}}}}]}}");
        return file;
    }
}
