// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.Guests.Tests;

public sealed class KernelModulesTests
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("modules").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void LoadOrder_ChainedAndSharedDependencies_ListsEachOnceAfterWhatItNeeds()
    {
        KernelModules modules = Given("net.ko: fail-over.ko queue.ko\nfail-over.ko: queue.ko\nqueue.ko:\nother.ko: queue.ko\n", "pci\n");
        Assert.That(
            modules.LoadOrder(["net", "pci", "other"]).Select(Path.GetFileName),
            Is.EqualTo(new[] { "queue.ko", "fail-over.ko", "net.ko", "other.ko" }));
    }

    [Test]
    public void LoadOrder_MissingModule_NamesItAndTheFolder() =>
        Assert.That(
            () => Given("a.ko:\n", "").LoadOrder(["virtio_blk"]),
            Throws.TypeOf<GuestException>().With.Message.Contains("virtio_blk").And.Message.Contains(_folder));

    [Test]
    public void LoadOrder_MissingDependency_NamesBoth() =>
        Assert.That(
            () => Given("a.ko: b.ko\n", "").LoadOrder(["a"]),
            Throws.TypeOf<GuestException>().With.Message.Contains("module b, needed by a,"));

    [Test]
    public void LoadOrder_Circle_IsRefused() =>
        Assert.That(() => Given("a.ko: b.ko\nb.ko: a.ko\n", "").LoadOrder(["a"]), Throws.TypeOf<GuestException>().With.Message.Contains("depend on each other"));

    [Test]
    public void Load_LineWithoutColon_NamesTheLine() =>
        Assert.That(() => Given("nonsense\n", ""), Throws.TypeOf<GuestException>().With.Message.Contains("nonsense"));

    private KernelModules Given(string dependencies, string builtIn)
    {
        File.WriteAllText(Path.Combine(_folder, "modules.dep"), dependencies);
        File.WriteAllText(Path.Combine(_folder, "modules.builtin"), builtIn);
        foreach (string line in dependencies.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            File.WriteAllText(Path.Combine(_folder, line.Split(':')[0]), "");
        }

        return KernelModules.Load(_folder);
    }
}
