// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Waveforms.Tests.Scenarios;

namespace Cosim.Waveforms.Tests;

/// <summary>Each scenario's waveform is the one that is kept, whichever simulator runs the VHDL.</summary>
[TestFixture(FpgaKind.Ghdl)]
[TestFixture(FpgaKind.Verilator)]
public sealed class GoldenWaveTests(FpgaKind kind)
{
    [TestCaseSource(typeof(ScenarioCatalog), nameof(ScenarioCatalog.Names))]
    public void Wave_OfScenario_IsTheGoldenOne(string name)
        => ScenarioCatalog.Golden(name).Check(FpgaWaves.Record(kind, ScenarioCatalog.Find(name)), WaveComparison.Describe);

    [TestCaseSource(typeof(ScenarioCatalog), nameof(ScenarioCatalog.Telling))]
    public void Wave_OfFiveRuns_IsTheSameByteForByte(string name)
    {
        string first = FpgaWaves.Record(kind, ScenarioCatalog.Find(name));
        for (int run = 1; run < 5; run++)
        {
            Assert.That(FpgaWaves.Record(kind, ScenarioCatalog.Find(name)), Is.EqualTo(first));
        }
    }

    [Test]
    public void Wave_WithOneOtherRequest_IsNamedWithItsCycle()
    {
        string wave = FpgaWaves.Record(kind, ConfigurationWaves.Enumeration);
        string other = FpgaWaves.Record(kind, s =>
        {
            s.Show("p0_requester", "p0_bme", "port0_inst.memory_enable", "port0_inst.completer_inst.state");
            ConfigurationWaves.Enumerate(s.Ports, revisionOffset: 0x28);
        });

        Assert.That(WaveComparison.Describe(wave, other), Does.Match(
            "^cycle [0-9]+, p0_rx: expected 04000001 [0-9a-f]{8} 01000008 last, actual 04000001 [0-9a-f]{8} 01000028 last .last packet: p0_rx CfgRd0 01:00.0 0x028"));
    }
}
