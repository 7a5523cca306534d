// SPDX-License-Identifier: Apache-2.0
using Cosim.Regression.Vhdl;

namespace Cosim.Regression.Tests;

public class VhdlTokenizerTests
{
    [TestCase("a <= b; -- c <= '1'\nd", "a|<=|b|;|d")]
    [TestCase("a /* <= \n '0' */ b", "a|b")]
    [TestCase("s <= \"a -- \"\"b\"\" '0'\";", "s|<=|\"a -- \"\"b\"\" '0'\"|;")]
    [TestCase("x\"0F\" & 12UX\"f\" & '\"'", "x\"0F\"|&|12UX\"f\"|&|'\"'")]
    [TestCase("slv'('1','0')", "slv|'|(|'1'|,|'0'|)")]
    [TestCase("when '0' => c := ''';", "when|'0'|=>|c|:=|'''|;")]
    [TestCase("a(1)'length", "a|(|1|)|'|length")]
    [TestCase("16#0F#+1_000 2.5e3", "16#0F#|+|1_000|2.5e3")]
    [TestCase("\\a--b\\ /= Q**2", "\\a--b\\|/=|q|**|2")]
    [TestCase("a -- pragma translate_off\n'0' b\n-- pragma translate_on\nc", "a|c")]
    [TestCase("", "")]
    public void Read_Source_GivesTheLexicalElements(string source, string expected)
        => Assert.That(string.Join('|', VhdlTokenizer.Read(source).Select(t => t.Text)), Is.EqualTo(expected));

    [TestCase("a <= \"b")]
    [TestCase("/* a")]
    [TestCase("16#0")]
    [TestCase("-- pragma translate_off\na")]
    [TestCase("\\a")]
    public void Read_ElementWithoutEnd_Throws(string source)
        => Assert.That(() => VhdlTokenizer.Read(source), Throws.TypeOf<FormatException>());
}
