// SPDX-License-Identifier: Apache-2.0
using System.Text;

namespace Cosim.Waveforms.Tests;

public sealed class VcdWindowTests
{
    private const string Header = "$timescale 1ps $end\n$var wire 1 ! clk $end\n$var wire 4 ab data $end\n$enddefinitions $end\n";
    private const string Dump = Header + "#0\n$dumpvars\n0!\nb0000 ab\n$end\n#1000\n1!\n#2000\n0!\nb1010 ab\n#3000\n1!\n#4000\n0!\nb1 ab\n#5000\n1!\n";

    private static string Cut(string dump, ulong from, ulong to, string? last = null)
    {
        using MemoryStream window = new();
        VcdWindow.Copy(new MemoryStream(Encoding.ASCII.GetBytes(dump)), window, from, to, last);
        return Encoding.ASCII.GetString(window.ToArray());
    }

    [TestCase(3UL, 5UL, "#3000\n$dumpvars\n0!\nb1010 ab\n$end\n#3000\n1!\n#4000\n0!\nb1 ab\n#5000\n")]
    public void Copy_AWindow_BeginsWithAllValuesAndEndsWithItsTime(ulong from, ulong to, string expected) =>
        Assert.That(Cut(Dump, from, to), Is.EqualTo(Header + expected));

    [Test]
    public void Copy_All_IsReadAsTheSame()
    {
        Assert.That(Cut(Dump, 0, ulong.MaxValue), Does.EndWith("#5000\n1!\n").And.Contains("b1010 ab"));
        Assert.That(Cut(Dump + "stop\nnonsense\n#x\n", 4, ulong.MaxValue, "stop"), Does.EndWith("#5000\n1!\n"));
    }

    [TestCase("", "ends before $enddefinitions")]
    [TestCase("$enddefinitions $end\n", "no $timescale")]
    [TestCase("$timescale 7 weeks $end\n", "'7weeks'")]
    [TestCase(Header + "#-1\n", "'#-1'")]
    public void Copy_NoDump_IsNamed(string dump, string expected) =>
        Assert.That(() => Cut(dump, 0, 1), Throws.TypeOf<WaveformException>().With.Message.Contains(expected));
}
