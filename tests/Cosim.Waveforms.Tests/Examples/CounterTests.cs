// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms.Tests.Examples;

/// <summary>An example of a golden waveform in a project of one's own: nothing but a file that a simulator wrote.</summary>
[TestFixture]
public sealed class CounterTests
{
    private static readonly SignalQuery Counter = new() { Top = "counter_tb.dut", Clock = "clk", Reset = "rst", Signals = new SignalFilter("count", "wrap") };

    [Test]
    public void Counts_ToTheEndAndWraps()
        => GoldenWave.Verify(WriteVcd(width: 2, cycles: 8), Counter);

    /// <summary>Stands for a run of a simulator.</summary>
    private static string WriteVcd(int width, int cycles)
    {
        string path = Path.Combine(TestContext.CurrentContext.WorkDirectory, "counter.vcd");
        using StreamWriter vcd = new(path);
        vcd.Write($"$timescale 1ns $end $scope module counter_tb $end $scope module dut $end $var wire 1 ! clk $end $var wire 1 r rst $end $var reg {width} c count $end $var wire 1 w wrap $end $upscope $end $upscope $end $enddefinitions $end\n#0 0! 1r bx c 0w\n");
        for (int cycle = 0; cycle < cycles; cycle++)
        {
            int count = Math.Max(0, cycle - 1) % (1 << width);
            vcd.Write($"#{(10 * cycle) + 5} 1! {(cycle < 1 ? 1 : 0)}r b{Convert.ToString(count, 2)} c {(count == (1 << width) - 1 ? 1 : 0)}w\n#{(10 * cycle) + 10} 0!\n");
        }

        return path;
    }
}
