// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.Guests.Tests;

public sealed class GuestToolsTests
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("tools").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [TestCase("{", "cannot be read")]
    [TestCase("{}", "no entry \"qemu\"")]
    [TestCase("{\"qemu\": \"/nowhere/qemu\"}", "/nowhere/qemu, which does not exist")]
    public void Load_ListThatIsNotWhole_SaysWhatIsWrongAndWhatToType(string content, string expected)
    {
        string path = Path.Combine(_folder, "tools.json");
        File.WriteAllText(path, content);
        Assert.That(
            () => GuestTools.Load(path),
            Throws.TypeOf<GuestException>().With.Message.Contains(expected).And.Message.Contains("./sim-scripts/setup"));
    }

    [Test]
    public void Locate_NoListAbove_SaysWhatToType() =>
        Assert.That(() => GuestTools.Locate(_folder), Throws.TypeOf<GuestException>().With.Message.Contains("./sim-scripts/setup"));
}
