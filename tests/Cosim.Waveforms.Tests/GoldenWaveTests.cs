// SPDX-License-Identifier: Apache-2.0
using System.Reflection;
using Cosim.Fpga;
using Cosim.Waveforms.Tests.Scenarios;

namespace Cosim.Waveforms.Tests;

/// <summary>Each scenario's waveform is the one that is kept, whichever simulator runs the VHDL.</summary>
/// <remarks>A scenario is a static method of the namespace <c>Scenarios</c>; <c>Class.Method</c> names its file.</remarks>
[TestFixture(FpgaKind.Ghdl)]
[TestFixture(FpgaKind.Verilator)]
public sealed class GoldenWaveTests(FpgaKind kind)
{
    private static readonly Dictionary<string, Action<Scenario>> Known = typeof(ConfigurationWaves).Assembly.GetTypes()
        .Where(t => t.Namespace == typeof(ConfigurationWaves).Namespace && t.IsAbstract)
        .SelectMany(t => t.GetMethods(BindingFlags.Public | BindingFlags.Static | BindingFlags.DeclaredOnly))
        .ToDictionary(m => $"{m.DeclaringType!.Name}.{m.Name}", m => m.CreateDelegate<Action<Scenario>>(), StringComparer.Ordinal);

    private static IEnumerable<string> Names => Known.Keys.Order(StringComparer.Ordinal);

    [TestCaseSource(nameof(Names))]
    public void Wave_OfScenario_IsTheGoldenOne(string name)
        => new GoldenFile(FpgaWaves.Folder, name).Check(FpgaWaves.Record(kind, Known[name]), WaveComparison.Describe);

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
