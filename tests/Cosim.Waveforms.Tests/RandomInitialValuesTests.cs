// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;

namespace Cosim.Waveforms.Tests;

/// <summary>Nothing that the FPGA shows depends on what its registers and memories hold at first: each scenario with a seed of its own.</summary>
[TestFixture]
public sealed class RandomInitialValuesTests
{
    [TestCaseSource(typeof(ScenarioCatalog), nameof(ScenarioCatalog.WithoutFreshScratch))]
    public void Wave_WithRandomInitialValues_IsTheGoldenOne(string name)
    {
        int seed = 1 + ScenarioCatalog.Names.ToList().IndexOf(name);
        string golden = File.ReadAllText(ScenarioCatalog.Golden(name).VerifiedPath);

        Assert.That(WaveComparison.Describe(golden, FpgaWaves.Record(FpgaKind.Verilator, ScenarioCatalog.Find(name), seed)), Is.Null);
    }

    [Test]
    public void Wave_OfOtherSeed_DiffersWhereScratchIsFresh()
    {
        string first = FpgaWaves.Record(FpgaKind.Verilator, ScenarioCatalog.Find("DmaWaves.WrongCommands"), 1);
        string second = FpgaWaves.Record(FpgaKind.Verilator, ScenarioCatalog.Find("DmaWaves.WrongCommands"), 2);

        Assert.That(WaveComparison.Describe(first, second), Does.Contain("p1_tx"), "initial values are random indeed");
    }

    [TestCase(FpgaKind.Ghdl, 1)]
    [TestCase(FpgaKind.Verilator, 0)]
    public void Record_SeedThatIsNone_IsRefused(FpgaKind kind, int seed)
        => Assert.That(() => FpgaWaves.Record(kind, ScenarioCatalog.Find("ConfigurationWaves.Enumeration"), seed), Throws.ArgumentException);
}
