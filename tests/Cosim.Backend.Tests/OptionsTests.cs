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

    [TestCase(0)]
    [TestCase(511)]
    [TestCase(1000)]
    public void Block_ImageNotOfWholeSectors_IsRefused(int size)
    {
        File.WriteAllBytes(_image, new byte[size]);

        Assert.That(
            () => new BlockBackend(_image, false, string.Empty, 1 << 25, _ => { }),
            Throws.TypeOf<BackendException>().With.Message.Contains(_image).And.Message.Contains($"{size} bytes"));
    }

    [Test]
    public void Block_ImageMissing_IsNamed() =>
        Assert.That(
            () => new BlockBackend("/no/such/image", false, string.Empty, 1 << 25, _ => { }),
            Throws.TypeOf<BackendException>().With.Message.Contains("/no/such/image"));
}
