// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms.Tests;

/// <summary>The folder of golden waveforms and the scenarios are the same list.</summary>
[TestFixture]
public sealed class ScenarioCatalogTests
{
    private const int BytesMax = 64 * 1024;

    [Test]
    public void Folder_VerifiedFiles_AreThoseOfTheScenarios()
        => Assert.That(
            Directory.GetFiles(FpgaWaves.Folder, "*.verified.txt").Select(f => Path.GetFileName(f)),
            Is.EquivalentTo(ScenarioCatalog.Names.Select(n => $"{n}.verified.txt")));

    [Test]
    public void Folder_VerifiedFiles_AreSmallEnoughToReview()
        => Assert.That(Directory.GetFiles(FpgaWaves.Folder, "*.verified.txt").Where(f => new FileInfo(f).Length > BytesMax), Is.Empty);
}
