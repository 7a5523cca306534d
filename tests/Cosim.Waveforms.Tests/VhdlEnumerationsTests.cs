// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms.Tests;

/// <summary>Literals of signals, from VHDL text.</summary>
[TestFixture]
public sealed class VhdlEnumerationsTests
{
    private const string Package = """
        package p is
          type shared_t is (ONE, TWO);
          type word_t is array (natural range <>) of bit; -- type no_t is (A, B);
        end package p;
        """;

    private const string Top = """
        entity Top is end entity Top;
        architecture rtl of Top is
          type state_t is (S_IDLE,
                           S_RUN); -- S_MORE
          signal state, Next_State : state_t := S_IDLE;
          signal number : unsigned(3 downto 0);
          signal both : shared_t;
        begin
          inner_inst: entity work.inner port map (clk_i => clk);
          each: for i in 0 to 1 generate
            other_inst : entity work.Inner;
          end generate each;
        end architecture rtl;
        """;

    private const string Inner = """
        architecture rtl of inner is
          type state_t is (S_A, S_B, S_C);
          signal state : state_t;
        begin
        end;
        """;

    private static readonly VhdlEnumerations Enumerations = new([Package, Top, Inner]);

    [TestCase("state", "S_IDLE S_RUN")]
    [TestCase("next_state", "S_IDLE S_RUN")]
    [TestCase("both", "ONE TWO")]
    [TestCase("inner_inst.state", "S_A S_B S_C")]
    [TestCase("each_n1_other_inst.state", "S_A S_B S_C")]
    [TestCase("number", null)]
    [TestCase("inner_inst.none", null)]
    public void Find_Signal_GivesItsTypesLiterals(string path, string? literals)
        => Assert.That(Enumerations.Find("TOP", path), Is.EqualTo(literals?.Split(' ')));
}
