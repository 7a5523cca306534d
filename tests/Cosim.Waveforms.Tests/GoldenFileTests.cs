// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms.Tests;

/// <summary>When a golden file is written, and when never.</summary>
[TestFixture]
public sealed class GoldenFileTests
{
    private const string Wave = "cosim waveform 2\nsignal a 8\n3 a 1\nend 4\n";

    private string folder = "";

    [SetUp]
    public void MakeFolder()
    {
        folder = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"golden-{Guid.NewGuid():N}");
        Directory.CreateDirectory(folder);
    }

    [TearDown]
    public void RemoveFolder() => Directory.Delete(folder, recursive: true);

    [Test]
    public void Check_Equal_LeavesNoReceivedFile()
    {
        GoldenFile file = Golden();
        File.WriteAllText(file.VerifiedPath, "a\r\nb\r\n");
        File.WriteAllText(file.ReceivedPath, "of an earlier run");

        file.Check("a\nb\n");

        Assert.That(Files(), Is.EqualTo(new[] { "Class.Method.verified.txt" }));
    }

    [Test]
    public void Check_Different_KeepsWhatWasReceivedAndSaysWhere()
    {
        GoldenFile file = Golden();
        File.WriteAllText(file.VerifiedPath, "a\nb\n");

        Assert.That(() => file.Check("a\nc\n"), Throws.InstanceOf<GoldenMismatchException>()
            .With.Message.StartsWith("Class.Method: line 2: expected 'b', received 'c'.").And.Message.Contains("COSIM_ACCEPT=1"));
        Assert.That(File.ReadAllText(file.ReceivedPath), Is.EqualTo("a\nc\n"));
        Assert.That(File.ReadAllText(file.VerifiedPath), Is.EqualTo("a\nb\n"));
    }

    [Test]
    public void Check_DifferenceThatDoesNotCount_Passes()
    {
        GoldenFile file = Golden();
        File.WriteAllText(file.VerifiedPath, "a");

        file.Check("A", (expected, received) => expected.Equals(received, StringComparison.OrdinalIgnoreCase) ? null : "other letters");

        Assert.That(File.ReadAllText(file.VerifiedPath), Is.EqualTo("a"));
    }

    [Test]
    public void Check_NothingKeptAndAccepted_BecomesWhatIsKept()
    {
        Golden(("COSIM_ACCEPT", "1")).Check("a\n");

        Assert.That(Files(), Is.EqualTo(new[] { "Class.Method.verified.txt" }));
        Golden().Check("a\n");
    }

    [Test]
    public void Check_Waveform_DrawsTheDifferenceAndRemovesThePictureWhenItIsGone()
    {
        GoldenFile file = Golden();
        File.WriteAllText(file.VerifiedPath, Wave);

        Assert.That(() => file.Check(Wave.Replace("3 a 1", "3 a 0", StringComparison.Ordinal)), Throws.InstanceOf<GoldenMismatchException>()
            .With.Message.Contains("cycle 3, a: expected 1, actual 0").And.Message.Contains($"picture: {file.PicturePath}"));
        Assert.That(File.ReadAllText(file.PicturePath), Does.StartWith("<svg ").And.Contain("cycle 3, a: expected 1, actual 0"));

        file.Check(Wave);
        Assert.That(Files(), Is.EqualTo(new[] { "Class.Method.verified.txt" }));
    }

    [Test]
    public void Accept_Folder_MovesWhatWasReceivedAndNothingElse()
    {
        Directory.CreateDirectory(Path.Combine(folder, "sub", "obj"));
        File.WriteAllText(Path.Combine(folder, "A.verified.txt"), Wave);
        File.WriteAllText(Path.Combine(folder, "A.received.txt"), Wave.Replace("3 a 1", "3 a 0", StringComparison.Ordinal));
        File.WriteAllText(Path.Combine(folder, "A.received.svg"), "picture");
        File.WriteAllText(Path.Combine(folder, "sub", "B.received.txt"), "new");
        File.WriteAllText(Path.Combine(folder, "sub", "obj", "C.received.txt"), "copy of the build");

        IReadOnlyList<GoldenPair> pairs = GoldenFolder.Received([folder]);
        Assert.That(pairs.Select(p => p.Difference()), Is.EqualTo(new[] { "cycle 3, a: expected 1, actual 0", "nothing is kept yet" }));
        Assert.That(() => GoldenFolder.Accept(pairs, name => name == "CI" ? "true" : null), Throws.InstanceOf<GoldenMismatchException>());
        Assert.That(pairs.All(p => File.Exists(p.ReceivedPath)), "CI changes nothing");

        GoldenFolder.Accept(pairs, _ => null);
        Assert.That(Files(), Is.EqualTo(new[] { "A.verified.txt" }));
        Assert.That(File.ReadAllText(Path.Combine(folder, "A.verified.txt")), Does.Contain("a 0"));
        Assert.That(File.ReadAllText(Path.Combine(folder, "sub", "B.verified.txt")), Is.EqualTo("new"));
        Assert.That(GoldenFolder.Received([folder]), Is.Empty);
        Assert.That(() => GoldenFolder.Received([Path.Combine(folder, "none")]), Throws.InstanceOf<FileNotFoundException>());
    }

    [TestCase("1")]
    [TestCase("0")]
    public void Check_NothingKeptInCi_IsNeverAccepted(string accept)
    {
        GoldenFile file = Golden(("COSIM_ACCEPT", accept), ("CI", "true"));

        Assert.That(() => file.Check("a\n"), Throws.InstanceOf<GoldenMismatchException>().With.Message.Contains("nothing is kept yet").And.Message.Not.Contains("COSIM_ACCEPT"));
        Assert.That(Files(), Is.EqualTo(new[] { "Class.Method.received.txt" }));
    }

    private GoldenFile Golden(params (string Name, string Value)[] environment)
        => new(folder, "Class.Method", name => environment.FirstOrDefault(e => e.Name == name).Value);

    private string[] Files() => [.. Directory.GetFiles(folder).Select(f => Path.GetFileName(f))];
}
