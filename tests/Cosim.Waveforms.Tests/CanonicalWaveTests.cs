// SPDX-License-Identifier: Apache-2.0
using System.Text;

namespace Cosim.Waveforms.Tests;

/// <summary>Canonical form and comparison.</summary>
[TestFixture]
public sealed class CanonicalWaveTests
{
    // One stream of 64 bits: a header beat of two DWs, then one payload DW, after two cycles of reset. The data changes with
    // the clock's edge and is to be seen one cycle later.
    private const string Ghdl = """
        $timescale 1 fs $end
        $scope module std_logic_1164 $end $upscope $end
        $scope module shell $end
        $var reg 1 ! clk $end
        $scope module dut $end
        $var reg 1 " clk_i $end
        $var reg 1 # rst_i $end
        $var reg 64 $ data[63:0] $end
        $var reg 2 % keep[1:0] $end
        $var reg 1 & last $end
        $var reg 1 ' valid $end
        $var reg 1 ( ready $end
        $var string 8 + mode $end
        $scope module gen(0) $end $var reg 4 ) count[3:0] $end $upscope $end
        $upscope $end $upscope $end
        $enddefinitions $end
        #0 0! 0" 1# bU $ bUU % U& U' U( bUUUU ) ss_idle +
        #2 1! 1" 0' 1( b0001 )
        #4 0! 0"
        #6 1! 1"
        #8 0! 0" 0#
        #10 1! 1" 1' b11 % 0& b10000000000000000000000000001111 $ b0010 ) ss_run +
        #12 0! 0"
        #14 1! 1" b01 % 1& bUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUU00000000000000001010101111001101 $
        #16 0! 0"
        #18 1! 1" 0' bX $ bXX %
        #20 0! 0"
        #22 1! 1"
        #24 0! 0"

        """;

    // The same in other words: order, identifiers, aliases, units, case, escapes, names of generated scopes, two states.
    private const string Verilator = """
        $timescale 1ns $end
        $scope module TOP $end
        $var wire 1 A clk_i $end
        $scope module Dut $end
        $var wire 1 A clk_i $end
        $var wire 4 B gen_n1_count [3:0] $end
        $var wire 1 C ready $end
        $var wire 1 D valid $end
        $var wire 1 E last $end
        $var wire 2 F keep [1:0] $end
        $var wire 64 G data [63:0] $end
        $var wire 1 H \RST_I $end
        $var wire 2 I mode [1:0] $end
        $upscope $end $upscope $end
        $enddefinitions $end
        #0 0A b0 B 0C 0D 0E b0 F b0 G 1H b0 I
        #1 b1 B 1C 1A
        #2 0A
        #3 1A
        #4 0H 0A
        #5 b1010 B b10 B b10000000000000000000000000001111 G b11 F 1D b1 I 1A
        #6 0A
        #7 b1010101111001101 G b1 F 1E 1A
        #8 0A
        #9 b0 G b0 F 0D 1A
        #10 0A
        #11 1A
        #12 0A

        """;

    private const string Canonical = """
        cosim waveform 2
        stream s data keep last valid ready
        signal valid 1
        signal data 64 when valid
        signal gen_n1_count 4
        signal mode S_IDLE S_RUN S_END
        2 s idle
         valid 0
         gen_n1_count 1
         mode S_IDLE
        3 s 8000000f 00000000
         valid 1
         data 8000000f
         gen_n1_count 2
         mode S_RUN
        4 s 0000abcd last # 0F00008000000000CDAB0000
         data xxxxxxxx_0000abcd
        5 s idle
         valid 0
        end 6

        """;

    private static readonly WaveSelection Selection = new()
    {
        Top = "Dut",
        Clock = "clk_i",
        Reset = "rst_i",
        Signals = [new("valid"), new("data", "valid"), new("gen_n1_count"), new("mode", Literals: ["S_IDLE", "S_RUN", "S_END"])],
        Streams = [new("s", "data", "keep", "last", "valid", "ready", 8, packet => Convert.ToHexString(packet))],
    };

    [Test]
    public void Write_NineValuesAndLateReset_ListsChangesBeforeTheEdge()
        => Assert.That(Write(Ghdl), Is.EqualTo(Canonical));

    [Test]
    public void Write_SameWaveOfAnotherSimulator_HasNoDifference()
    {
        string other = Write(Verilator);

        Assert.That(other, Is.EqualTo(Canonical.Replace("xxxxxxxx_0000abcd", "0000abcd", StringComparison.Ordinal)));
        Assert.That(WaveComparison.Describe(Canonical, other), Is.Null);
    }

    [Test]
    public void FirstDifference_UnknownWhereAValueIsExpected_IsADifference()
        => Assert.That(
            WaveComparison.Describe(Write(Verilator), Canonical),
            Is.EqualTo("cycle 4, data: expected 0000abcd, actual xxxxxxxx_0000abcd (last packet: s 0F00008000000000CDAB0000 in cycle 4)"));

    [TestCase("s 0000abcd last", "s 0000abcd", "cycle 4, s: expected 0000abcd last, actual 0000abcd (last packet: s 0F00008000000000CDAB0000 in cycle 4)")]
    [TestCase("s 0000abcd last", "s 0000abcd 00000000 last", "cycle 4, s: expected 0000abcd last, actual 0000abcd 00000000 last (last packet: s 0F00008000000000CDAB0000 in cycle 4)")]
    [TestCase("s 0000abcd last", "s wait 0000abcd last", "cycle 4, s: expected 0000abcd last, actual wait 0000abcd last (last packet: s 0F00008000000000CDAB0000 in cycle 4)")]
    [TestCase("data xxxxxxxx_0000abcd", "data xxxxxxxx_0000abce", "cycle 4, data: expected xxxxxxxx_0000abcd, actual xxxxxxxx_0000abce (last packet: s 0F00008000000000CDAB0000 in cycle 4)")]
    [TestCase("data 8000000f", "data 1_8000000f", "cycle 3, data: expected 8000000f, actual 1_8000000f")]
    [TestCase("mode S_RUN", "mode S_END", "cycle 3, mode: expected S_RUN, actual S_END")]
    [TestCase("5 s idle\n valid 0\n", "6 s idle\n valid 0\n", "cycle 5, s: expected idle, actual 0000abcd last (last packet: s 0F00008000000000CDAB0000 in cycle 4)")]
    [TestCase(" gen_n1_count 2\n", "", "cycle 3, gen_n1_count: expected 2, actual 1")]
    [TestCase("5 s idle\n", "5 s idle\n gen_n1_count 7\n", "cycle 5, gen_n1_count: expected 2, actual 7 (last packet: s 0F00008000000000CDAB0000 in cycle 4)")]
    [TestCase("end 6", "end 7", "cycle 6, end: expected 6 cycles, actual 7 cycles (last packet: s 0F00008000000000CDAB0000 in cycle 4)")]
    [TestCase("signal valid 1", "signal valid 2", "line 3 of the declarations: expected signal valid 1, actual signal valid 2")]
    [TestCase(" # 0F00008000000000CDAB0000", "", null)]
    public void FirstDifference_OneChange_IsNamed(string before, string after, string? difference)
        => Assert.That(WaveComparison.Describe(Canonical, Canonical.Replace(before, after, StringComparison.Ordinal)), Is.EqualTo(difference));

    [TestCase("cosim waveform 2", "something", "actual waveform, line 1: 'something'; expected 'cosim waveform 2'")]
    [TestCase("5 s idle\n valid 0", "5 s idle\n value 0", "actual waveform, line 19: ' value 0'; expected a declared stream or signal and its value")]
    [TestCase("\n4 s", "\n3 s", "actual waveform, line 16: cycle 3 after cycle 3")]
    [TestCase("end 6\n", "", "actual waveform, line 20: ''; expected a cycle and a change, or 'end N'")]
    [TestCase("signal data", "signal valid", "actual waveform, line 4: valid is declared twice")]
    public void FirstDifference_NoCanonicalForm_IsRefused(string before, string after, string message)
    {
        string broken = Canonical.Replace(before, after, StringComparison.Ordinal);

        Assert.That(() => WaveComparison.Describe(Canonical, broken), Throws.InstanceOf<WaveformException>().With.Message.EqualTo(message));
    }

    [Test]
    public void Write_Window_BeginsWithAllValuesAndKnowsThePacketsBefore()
        => Assert.That(Write(Ghdl, Selection with { From = 4, To = 5 }), Does.EndWith("""
            4 s 0000abcd last # 0F00008000000000CDAB0000
             valid 1
             data xxxxxxxx_0000abcd
             gen_n1_count 2
             mode S_RUN
            end 5

            """));

    [Test]
    public void Write_SignalThatIsNotThere_NamesItAndItsLikes()
    {
        WaveSelection selection = Selection with { Signals = [new("inner.count")] };

        Assert.That(() => Write(Ghdl, selection), Throws.InstanceOf<WaveformException>().With.Message.EqualTo("the waveform has no signal Dut.inner.count; it has gen_n1_count."));
        Assert.That(() => Write(Ghdl, selection with { Top = "du" }), Throws.InstanceOf<WaveformException>().With.Message.Contains("no scope du"));
    }

    private static string Write(string vcd, WaveSelection? selection = null)
    {
        using MemoryStream stream = new(Encoding.ASCII.GetBytes(vcd));
        using StringWriter output = new();
        CanonicalWave.Write(stream, selection ?? Selection, output);
        return output.ToString();
    }
}
