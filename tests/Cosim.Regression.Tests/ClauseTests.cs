// SPDX-License-Identifier: Apache-2.0
using Cosim.Regression.Clauses;

namespace Cosim.Regression.Tests;

/// <summary>Every normative statement of the tables is held by a test or says why it cannot be.</summary>
internal sealed class ClauseTests
{
    private static readonly Repository s_repository = Repository.Above(AppContext.BaseDirectory);

    private static readonly ClauseReport s_report = new(ClauseTable.ReadAll(s_repository), ClauseTest.ReadAll(s_repository));

    [Test]
    public void Tests_AllLabels_AreInATable() => Assert.That(s_report.Unknown, Is.Empty);

    [Test]
    public void Tables_AllRows_HaveATestOrAReason() => Assert.That(s_report.Unexplained, Is.Empty);

    [Test]
    public void Tables_RowsWithAReason_HaveNoTest() => Assert.That(s_report.Contradicted, Is.Empty);

    [Test]
    public void Report_AsCommitted_IsCurrent()
    {
        using StringWriter printed = new();
        s_report.Write(printed);
        Assert.That(File.ReadAllText(Path.Combine(s_repository.Root, "tests/clauses/report.txt")), Is.EqualTo(printed.ToString()), "./sim-scripts/clauses > tests/clauses/report.txt");
    }

    [TestCase("1-1\tMUST", "doc.tsv line 2")]
    [TestCase("1-1\tMUST\tx\ty\tz", "doc.tsv line 2")]
    [TestCase("1-1\tMUST\t", "doc.tsv line 2")]
    [TestCase("1-1\tMUST\tx\n1-1\tMUST\ty", "doc.tsv line 3: 1-1 stands twice")]
    public void Table_LineThatIsNoRow_IsNamed(string lines, string error)
        => Assert.That(() => ClauseTable.Read("doc", $"## 1 A\n{lines}".Split('\n')), Throws.TypeOf<RegressionException>().With.Message.Contains(error));

    [Test]
    public void Report_OfRows_CountsStatementsAndNamesTests()
    {
        ClauseTable table = ClauseTable.Read("doc", ["# words", "## 1 A", "1-1\tMUST\tgreets", "1-2..4\tMAY\twaves\tno hands", "1-5\tMUST\tleaves"]);
        ClauseTest[] tests = [.. ClauseTest.Read("P", "class T\n{\n    [Test, Clause(\"doc 1-1\"), Clause(\"doc 9\")]\n    public void A_B_C()\n    {\n")];
        ClauseReport report = new([table], tests);
        using StringWriter printed = new();
        report.Write(printed);
        Assert.That(printed.ToString(), Does.Contain("         5      1      1              3           1  1 A\n").And.Contain("doc 1-1\n    greets\n    test: P T.A_B_C\n"));
        Assert.That(report.Unexplained.Select(r => r.Label), Is.EqualTo(["doc 1-5"]));
        Assert.That(report.Unknown.Select(t => t.Label), Is.EqualTo(["doc 9"]));
    }

    [Test]
    public void Test_LabelOnNoTest_IsRefused()
        => Assert.That(() => ClauseTest.Read("P", "class T\n{\n    [Clause(\"doc 1-1\")]\n    public void A()\n").ToArray(), Throws.TypeOf<RegressionException>().With.Message.Contains("T.A"));
}
