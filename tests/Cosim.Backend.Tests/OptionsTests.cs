// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.Backend.Tests;

/// <summary>The command line, and images that cannot be served.</summary>
public sealed class OptionsTests
{
    private string _image = string.Empty;

    [SetUp]
    public void CreateImage() => _image = Path.GetTempFileName();

    [TearDown]
    public void RemoveImage() => File.Delete(_image);

    [TestCase("--socket")]
    [TestCase("--blk", "x")]
    [TestCase("--socket", "s")]
    [TestCase("--socket", "s", "--pci", "1:2", "--blk", "x")]
    [TestCase("--pci", "0c05", "--blk", "x")]
    [TestCase("--pci", "0c05:510g", "--blk", "x")]
    [TestCase("--socket", "s", "--pool", "0", "--blk", "x")]
    [TestCase("--socket", "s", "--blk", "x,rw")]
    [TestCase("--socket", "s", "--net", "mac=02:00:00:00:00:01")]
    [TestCase("--socket", "s", "--net", "tap=t,mac=02:00")]
    [TestCase("--socket", "s", "--net", "tap=t,mtu=20")]
    [TestCase("--socket", "s", "--net", "tap=t,mtu=65522")]
    [TestCase("--socket", "s", "--net", "tap=t,pairs=0")]
    [TestCase("--socket", "s", "--net", "tap=t,pairs=32")]
    [TestCase("--socket", "s", "--net", "tap=t,speed=fast")]
    [TestCase("--socket", "s", "--net", "tap=t,offloads=tso")]
    [TestCase("--socket", "s", "--net", "tap=t,merge")]
    [TestCase("--socket", "s", "--net", "tap=t,duplex=half")]
    [TestCase("--socket", "s", "--disk", "x")]
    [TestCase("--socket", "s", "--blk", "x,queues=0")]
    [TestCase("--socket", "s", "--blk", "x,queues=65")]
    [TestCase("--socket", "s", "--blk", "x,block=100")]
    [TestCase("--socket", "s", "--blk", "x,discard=maybe")]
    [TestCase("--socket", "s", "--blk", "x,cache=none")]
    [TestCase("--socket", "s", "--rng", "fast")]
    [TestCase("--socket", "s", "--rng", "rate=0")]
    [TestCase("--socket", "s", "--console", "a=tty:/x")]
    [TestCase("--socket", "s", "--console", "a=pty:")]
    [TestCase("--socket", "s", "--console", "window=80x,a=file:/x")]
    [TestCase("--socket", "s", "--commands")]
    public void Parse_Wrong_SaysWhat(params string[] arguments)
    {
        BackendException error = Assert.Throws<BackendException>(() =>
        {
            BackendOptions options = BackendOptions.Parse(arguments);
            foreach (IDeviceBackend device in options.OpenDevices(_ => { }))
            {
                device.Dispose();
            }
        })!;

        Assert.That(error.Message, Does.Contain("--").Or.Contain("MAC"));
    }

    [Test]
    public void Parse_Valid_OpensTheDevicesInOrder()
    {
        File.WriteAllBytes(_image, new byte[1024]);
        BackendOptions options = BackendOptions.Parse(["--socket", "s", "--blk", _image, "--blk", $"{_image},ro,serial=abc"]);

        IReadOnlyList<IDeviceBackend> devices = options.OpenDevices(_ => { });

        Assert.That(devices.Select(device => device.Description), Is.EqualTo(new[] { $"blk {_image}, 1024 bytes", $"blk {_image}, 1024 bytes, read-only" }));
        foreach (IDeviceBackend device in devices)
        {
            device.Dispose();
        }
    }

    [Test]
    public void Net_BuffersThatDoNotFitThePool_AreRefused() =>
        Assert.That(
            () => new NetBackend(new NetOptions { Tap = "t", MergedBuffers = false, QueuePairs = 4 }, 16 << 20, _ => { }),
            Throws.TypeOf<BackendException>().With.Message.Contains("131072 bytes").And.Message.Contains("16 MiB"));

    [TestCase(1000, 0, 0, "power of two")]
    [TestCase(512, 256, 0, "physical")]
    [TestCase(4096, 0, 512, "optimal")]
    [TestCase(131072, 0, 0, "block size")]
    public void Block_SizesThatDoNotGoTogether_AreNamed(int logical, int physical, int optimal, string what) =>
        Assert.That(
            () => new BlockBackend(
                new BlockOptions { Path = _image, LogicalBlockSize = logical, PhysicalBlockSize = physical, OptimalSize = optimal }, 1 << 25, _ => { }),
            Throws.TypeOf<BackendException>().With.Message.Contains(what));

    [Test]
    public void Console_NamesThatCannotBe_AreNamed()
    {
        ConsolePortOptions port = new("one", ConsolePortKind.File, _image);

        Assert.That(() => new ConsoleBackend([], 80, 24, _ => { }), Throws.TypeOf<BackendException>());
        Assert.That(() => new ConsoleBackend([port, port], 80, 24, _ => { }), Throws.TypeOf<BackendException>().With.Message.Contains("\"one\""));
        Assert.That(
            () => new ConsoleBackend([port with { Name = new string('x', 65) }], 80, 24, _ => { }), Throws.TypeOf<BackendException>().With.Message.Contains("64"));
        Assert.That(
            () => new ConsoleBackend([port with { Path = "/no/such/folder/file" }], 80, 24, _ => { }),
            Throws.TypeOf<BackendException>().With.Message.Contains("/no/such/folder/file"));
    }

    [TestCase(0)]
    [TestCase(511)]
    [TestCase(1000)]
    public void Block_ImageNotOfWholeSectors_IsRefused(int size)
    {
        File.WriteAllBytes(_image, new byte[size]);

        Assert.That(
            () => new BlockBackend(new BlockOptions { Path = _image }, 1 << 25, _ => { }),
            Throws.TypeOf<BackendException>().With.Message.Contains(_image).And.Message.Contains($"{size} bytes"));
    }

    [Test]
    public void Block_ImageMissing_IsNamed() =>
        Assert.That(
            () => new BlockBackend(new BlockOptions { Path = "/no/such/image" }, 1 << 25, _ => { }),
            Throws.TypeOf<BackendException>().With.Message.Contains("/no/such/image"));
}
