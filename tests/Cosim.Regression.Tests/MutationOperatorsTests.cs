// SPDX-License-Identifier: Apache-2.0
using Cosim.Regression.Mutation;

namespace Cosim.Regression.Tests;

public class MutationOperatorsTests
{
    private const string Process = "architecture a of e is\ntype t is (S_A, S_B, S_C);\nbegin\np: process(clk_i)\nbegin\n@\nend process p;\nend architecture a;\n";

    [TestCase("relation", "if a <= b then x <= '1'; end if;", "<= -> <")]
    [TestCase("relation", "x <= a; y := b; z(1) <= c;", "")]
    [TestCase("relation", "assert a = b report \"a = b\" severity failure; -- c = d", "")]
    [TestCase("logic", "x <= a and (b xor c);", "and -> or|xor -> or")]
    [TestCase("not", "x <= not a;", "not -> ")]
    [TestCase("condition", "if a then null; elsif b = c then null; else null; end if;", "a -> not (a)|b = c -> not (b = c)")]
    [TestCase("condition", "x <= a when b else c when d else e;", "b -> not (b)|d -> not (d)")]
    [TestCase("condition", "case a is when '0' => exit when b; when others => while c loop null; end loop; end case;", "b -> not (b)|c -> not (c)")]
    [TestCase("stuck condition", "if a\nand b then null; end if;", "a and b -> true|a and b -> false")]
    [TestCase("off by one", "x <= y(0) + 16#0F#;", "0 -> 1|16#0F# -> 16#0010#|16#0F# -> 16#000E#")]
    [TestCase("slice", "z := f(a, w(2 to 3)) & g(w(2 to 3));", "2 to 3 -> (2)+1 to (3)+1|2 to 3 -> (2)-1 to (3)-1|2 to 3 -> (2)+1 to (3)+1|2 to 3 -> (2)-1 to (3)-1")]
    [TestCase("slice", "x(3 downto 0) <= y(i+1 to 4); z := f(3, w(2));", "3 downto 0 -> (3)+1 downto (0)+1|3 downto 0 -> (3)-1 downto (0)-1|i+1 to 4 -> (i+1)+1 to (4)+1|i+1 to 4 -> (i+1)-1 to (4)-1")]
    [TestCase("literal", "x <= '0'; y := true; z := \"1\"; w := x\"A\"; c := 'U'; s := \"no\";", "'0' -> '1'|true -> false|\"1\" -> \"0\"|x\"A\" -> x\"B\"")]
    [TestCase("arithmetic", "x <= a + (-b) - 1;", "+ -> -|- -> +")]
    [TestCase("operands", "x <= a(1)(2) & r.f(3); y <= a + b;", "a(1)(2) & r.f(3) -> r.f(3) & a(1)(2)")]
    [TestCase("state", "state <= S_A; case state is when S_C => null; end case;", "S_A -> s_b|S_A -> s_c|S_C -> s_a|S_C -> s_b")]
    [TestCase("dropped assignment", "x <= a; if rst_i = '1' then y <= b; end if;", "x <= a -> null")]
    [TestCase("missing reset", "if rst_i = '1' then if a then x <= b; end if; else y <= b; end if; z <= c;", "x <= b -> null")]
    [TestCase("missing reset", "if rst_i = '0' then x <= b; end if;", "")]
    [TestCase("stuck value", "x <= a and b; y <= a;", "a and b -> '0'|a and b -> '1'|a and b -> (others => '0')")]
    public void Apply_Statement_MakesTheChanges(string name, string statement, string expected)
    {
        string source = Process.Replace("@", statement, StringComparison.Ordinal);
        string changes = string.Join('|', MutationOperators.Apply("e.vhd", source).Where(m => m.Operator == name).Select(m => m.Change(source)));
        Assert.That(changes, Is.EqualTo(expected));
    }

    [Test]
    public void Apply_Instance_SwapsNeighbouringActuals()
    {
        const string Source = "architecture a of e is\nbegin\ni: entity work.f\n  generic map (G => 1)\n  port map (a => x, b => y(1), -- b\n    c => z);\nend;\n";
        string[] mutants = [.. MutationOperators.Apply("e.vhd", Source).Where(m => m.Operator == "association").Select(m => m.Apply(Source))];
        Assert.That(mutants, Is.EqualTo(new[]
        {
            Source.Replace("a => x, b => y(1)", "a => y(1), b => x", StringComparison.Ordinal),
            Source.Replace("b => y(1), -- b\n    c => z", "b => z, -- b\n    c => y(1)", StringComparison.Ordinal),
        }));
    }

    [Test]
    public void Apply_InstanceOfRules_IsLeftAlone()
        => Assert.That(MutationOperators.Apply("e.vhd", "architecture a of e is\nbegin\ni: entity work.x_assert port map (a => '0', b => c);\nend;\n"), Is.Empty);

    [Test]
    public void Apply_Declarations_ChangesOnlyInitialValues()
    {
        const string Source = "entity e is\ngeneric (G : natural range 0 to 9 := 5);\nport (a : in slv(7 downto 0));\nend entity;\npackage p is\nconstant C : slv(3 downto 0) := \"0000\";\n"
            + "type t is array (0 to 7) of bit;\ntype r is record a : slv(3 downto 0); end record;\nattribute x of y : signal is 1;\nend package;\n";
        Assert.That(MutationOperators.Apply("e.vhd", Source).Select(m => (m.Line(Source), m.Operator)).Distinct(),
            Is.EqualTo(new[] { (2, "off by one"), (6, "literal") }));
    }

    /// <summary>The design's own sources: one place, another text, as many lines, and never inside a comment.</summary>
    [Test]
    public void Apply_SourcesOfTheDesign_EachMutantDiffersInOnePlace()
    {
        Repository repository = Repository.Above(AppContext.BaseDirectory);
        HashSet<string> used = [];
        foreach (string file in Repository.List(Path.Combine(repository.Hdl, "sources.txt")))
        {
            string source = File.ReadAllText(Path.Combine(repository.Hdl, file));
            IReadOnlyList<Mutant> mutants = MutationOperators.Apply(file, source);
            Assert.That(mutants, Has.Count.GreaterThan(3), file);
            Assert.That(mutants.Select(m => m.Apply(source)), Is.Unique, file);
            Assert.That(mutants.Select(m => m.Id(source)), Is.Unique, file);
            foreach (Mutant mutant in mutants)
            {
                string changed = mutant.Apply(source);
                string line = source[(source.LastIndexOf('\n', mutant.Start) + 1)..mutant.Start];
                used.Add(mutant.Operator);
                bool onePlace = changed != source && changed.StartsWith(source[..mutant.Start], StringComparison.Ordinal)
                    && changed.EndsWith(source[(mutant.Start + mutant.Length)..], StringComparison.Ordinal);
                Assert.That(onePlace && changed.Count('\n') == source.Count('\n') && !line.Contains("--", StringComparison.Ordinal), mutant.Id(source));
            }
        }

        Assert.That(used, Is.EquivalentTo(MutationOperators.Names));
    }
}
