// SPDX-License-Identifier: Apache-2.0
using Cosim.Regression.Mutation;

namespace Cosim.Regression.Tests;

public class MutationRunTests
{
    private const string Small = "architecture a of e is\nbegin\nx <= a and b when c = d else e(3 downto 0) & '1';\ny <= not x;\nend;\n";

    [Test]
    public void Order_SameSeed_SameMutants_AnotherSeed_Others()
    {
        string[] one = Ids(1);
        Assert.That(Ids(1), Is.EqualTo(one));
        Assert.That(Ids(2), Is.Not.EqualTo(one).And.Not.Empty);

        static string[] Ids(ulong seed) => [.. MutantSelection.Order("e.vhd", Small, seed).Select(m => m.Id(Small))];
    }

    [Test]
    public void Order_LinesMovedDown_KeepsNames()
    {
        string moved = "-- a comment\n\n" + Small;
        Assert.That(MutantSelection.Order("e.vhd", moved, 7).Select(m => m.Id(moved)), Is.EqualTo(MutantSelection.Order("e.vhd", Small, 7).Select(m => m.Id(Small))));
    }

    [Test]
    public void Shares_LargeAndSmallFile_BySizeOfCodeWithALeast()
    {
        string large = Small + string.Concat(Enumerable.Repeat("architecture b of e is\nbegin\nx <= a and b and c and d;\nend;\n", 100));
        var shares = MutantSelection.Shares([("small.vhd", Small), ("large.vhd", large)], 200);
        Assert.That(shares["small.vhd"], Is.InRange(3, 10));
        Assert.That(shares["large.vhd"], Is.InRange(190, 197));
    }

    [TestCase("wire n1_o; /* a.vhd:1:2 */ assign n1_o = n12_o & x;", "wire n7_o;  assign n7_o = n9_o & x;", true)]
    [TestCase("assign n1_o = n2_o & n1_o;", "assign n1_o = n2_o & n2_o;", false)]
    [TestCase("assign n1_o = a;", "assign n1_o = b;", false)]
    public void Digest_TwoNetlists_SameWhereOnlyNamesAndPlacesDiffer(string a, string b, bool same)
        => Assert.That(Netlist.Digest(a) == Netlist.Digest(b), Is.EqualTo(same));

    [Test]
    public void ResultFile_CutOffAndOtherSources_AreLeftOut()
    {
        string file = Path.Combine(TestContext.CurrentContext.WorkDirectory, "results.jsonl");
        File.Delete(file);
        MutantResult result = new("a", "s1", "e.vhd", 1, "not", "not -> ", MutantOutcome.Survived, null, null, ["x"], 1);
        ResultFile results = new(file, "s1");
        results.Add(result);
        results.Add(result with { Outcome = MutantOutcome.Killed, Killer = "y" });
        results.Add(result with { Id = "b", Sources = "s0" });
        File.AppendAllText(file, "{\"Id\":\"c\",\"Sour");

        ResultFile again = new(file, "s1");

        Assert.That(again.Find("a")?.Killer, Is.EqualTo("y"));
        Assert.That(again.Find("b"), Is.Null);
        Assert.That(again.Find("c"), Is.Null);
    }

    [Test]
    public void Report_EquivalentMutants_AreNotCounted()
    {
        MutantResult one = new("a", "s", "e.vhd", 1, "not", "not -> ", MutantOutcome.Killed, "tb", null, [], 1);
        MutantResult[] results = [one, one with { Id = "b", Outcome = MutantOutcome.Survived }, one with { Id = "c", Outcome = MutantOutcome.Survived },
            one with { Id = "d", Outcome = MutantOutcome.Equivalent }, one with { Id = "e", Outcome = MutantOutcome.Discarded }];
        using StringWriter text = new();
        MutationReport report = new(results, ["b # the same to everybody", "a # killed all the same"], ofAll: true);
        report.Write(text);

        Assert.That((report.Killed, report.Equivalent, report.Counted), Is.EqualTo((1, 2, 2)));
        Assert.That(text.ToString(), Does.Contain("survived: c\n").And.Not.Contain("survived: b\n"));
        Assert.That(report.Holds, Is.False, "one of two survives");
        Assert.That(() => new MutationReport([], ["b"], ofAll: true), Throws.TypeOf<RegressionException>());
    }

    [TestCase(200, true, true)]
    [TestCase(199, true, false)]
    [TestCase(1, false, true)]
    [TestCase(0, false, false)]
    public void Report_OfTooFewMutants_DoesNotHold(int killed, bool ofAll, bool holds)
    {
        MutantResult one = new("a", "s", "e.vhd", 1, "not", "not -> ", MutantOutcome.Killed, "tb", null, [], 1);

        Assert.That(new MutationReport([.. Enumerable.Repeat(one, killed)], [], ofAll).Holds, Is.EqualTo(holds));
    }
}
