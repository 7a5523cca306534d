// SPDX-License-Identifier: Apache-2.0
using System.Text.RegularExpressions;
using Cosim.Virtio;
using NUnit.Framework;

namespace Cosim.Backend.Tests;

/// <summary>What the devices offer, in every composition: virtio 1.3, 2.2.2, 4.1.2.1, 5.1.3.1 and 5.2.5.2.</summary>
public sealed partial class OfferTests
{
    // A bit, and the bits of which it requires one.
    private static readonly (VirtioDeviceId Device, int Bit, int[] Requires)[] s_requirements =
    [
        (VirtioDeviceId.Net, 7, [1]), // GUEST_TSO4: GUEST_CSUM
        (VirtioDeviceId.Net, 8, [1]), // GUEST_TSO6: GUEST_CSUM
        (VirtioDeviceId.Net, 9, [7, 8]), // GUEST_ECN: GUEST_TSO4 or GUEST_TSO6
        (VirtioDeviceId.Net, 10, [1]), // GUEST_UFO: GUEST_CSUM
        (VirtioDeviceId.Net, 54, [1]), // GUEST_USO4: GUEST_CSUM
        (VirtioDeviceId.Net, 55, [1]), // GUEST_USO6: GUEST_CSUM
        (VirtioDeviceId.Net, 11, [0]), // HOST_TSO4: CSUM
        (VirtioDeviceId.Net, 12, [0]), // HOST_TSO6: CSUM
        (VirtioDeviceId.Net, 13, [11, 12]), // HOST_ECN: HOST_TSO4 or HOST_TSO6
        (VirtioDeviceId.Net, 14, [0]), // HOST_UFO: CSUM
        (VirtioDeviceId.Net, 56, [0]), // HOST_USO: CSUM
        (VirtioDeviceId.Net, 2, [17]), // CTRL_GUEST_OFFLOADS: CTRL_VQ
        (VirtioDeviceId.Net, 18, [17]), // CTRL_RX: CTRL_VQ
        (VirtioDeviceId.Net, 19, [17]), // CTRL_VLAN: CTRL_VQ
        (VirtioDeviceId.Net, 20, [17]), // CTRL_RX_EXTRA: CTRL_VQ
        (VirtioDeviceId.Net, 21, [17]), // GUEST_ANNOUNCE: CTRL_VQ
        (VirtioDeviceId.Net, 22, [17]), // MQ: CTRL_VQ
        (VirtioDeviceId.Net, 23, [17]), // CTRL_MAC_ADDR: CTRL_VQ
        (VirtioDeviceId.Block, 11, [9]), // CONFIG_WCE: FLUSH
    ];

    // Bits of the names in the reasons of tests/clauses; from 64 on a back end cannot offer any.
    private static readonly Dictionary<string, int> s_bits = new()
    {
        ["VIRTIO_BLK_F_LIFETIME"] = 15,
        ["VIRTIO_BLK_F_SECURE_ERASE"] = 16,
        ["VIRTIO_BLK_F_ZONED"] = 17,
        ["VIRTIO_NET_F_DEVICE_STATS"] = 50,
        ["VIRTIO_NET_F_HASH_TUNNEL"] = 51,
        ["VIRTIO_NET_F_VQ_NOTF_COAL"] = 52,
        ["VIRTIO_NET_F_NOTF_COAL"] = 53,
        ["VIRTIO_NET_F_HASH_REPORT"] = 57,
        ["VIRTIO_NET_F_RSS"] = 60,
        ["VIRTIO_NET_F_RSC_EXT"] = 61,
        ["VIRTIO_NET_F_RSS_CONTEXT"] = 64,
        ["VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO"] = 65,
        ["VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO"] = 67,
        ["VIRTIO_NET_F_OUT_NET_HEADER"] = 69,
    };

    private string _folder = string.Empty;

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("offer").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    [Clause("virtio 2.2.2-1")]
    [Clause("virtio 5.2.5.2-1")]
    public void Features_OfEveryDevice_ComeWithWhatTheyRequire()
    {
        ForEachDevice(device =>
        {
            foreach ((VirtioDeviceId id, int bit, int[] requires) in s_requirements)
            {
                if (id == device.DeviceId && Offers(device, bit))
                {
                    Assert.That(requires.Any(r => Offers(device, r)), Is.True, $"{device.Description}: bit {bit} without any of {string.Join(", ", requires)}");
                }
            }
        });
    }

    /// <summary>A reason of the tables that names a feature as one that is not offered is true.</summary>
    [Test]
    [Clause("virtio 2.2.2-3")]
    public void Features_ThatReasonsCallNotOffered_AreNotOffered()
    {
        string[] names = [.. Directory.EnumerateFiles(ClauseTables(), "virtio*.tsv")
            .SelectMany(File.ReadLines)
            .Select(l => l.Split('\t'))
            .Where(c => c.Length == 4)
            .SelectMany(c => FeatureName().Matches(c[3]).Select(m => m.Value))
            .Distinct()];
        Assert.That(names, Has.Some.EqualTo("VIRTIO_BLK_F_ZONED").And.All.Matches<string>(s_bits.ContainsKey), "every name has its bit above");
        ForEachDevice(device =>
        {
            string prefix = device.DeviceId == VirtioDeviceId.Net ? "VIRTIO_NET_" : device.DeviceId == VirtioDeviceId.Block ? "VIRTIO_BLK_" : "none";
            foreach (string name in names.Where(n => s_bits[n] < 64 && n.StartsWith(prefix, StringComparison.Ordinal)))
            {
                Assert.That(Offers(device, s_bits[name]), Is.False, $"{device.Description}: {name}");
            }
        });
    }

    [Test]
    [Clause("virtio 4.1.2.1-4")]
    public void Revision_OfEveryDevice_IsAModernOne() =>
        ForEachDevice(device => Assert.That(device.ClassRevision & 0xFF, Is.GreaterThanOrEqualTo(1), device.Description));

    private static bool Offers(IDeviceBackend device, int bit) => (device.Features >> bit & 1) != 0;

    private static string ClauseTables()
    {
        for (DirectoryInfo? at = new(TestContext.CurrentContext.TestDirectory); at is not null; at = at.Parent)
        {
            if (Directory.Exists(Path.Combine(at.FullName, "tests", "clauses")))
            {
                return Path.Combine(at.FullName, "tests", "clauses");
            }
        }

        throw new AssertionException("tests/clauses is in no folder above the tests");
    }

    [GeneratedRegex("VIRTIO_(?:NET|BLK)_F_[A-Z0-9_]+")]
    private static partial Regex FeatureName();

    private void ForEachDevice(Action<IDeviceBackend> check)
    {
        string image = Path.Combine(_folder, "image");
        File.WriteAllBytes(image, new byte[64 * 512]);
        BlockOptions block = new() { Path = image };
        foreach (BlockOptions options in new[] { block, block with { ReadOnly = true }, block with { Queues = 4, Discard = false }, block with { WriteThrough = true, PhysicalBlockSize = 4096 } })
        {
            using BlockBackend device = new(options, 32 << 20, _ => { });
            check(device);
        }

        using RngBackend rng = new(0, _ => { });
        check(rng);
        ConsolePortOptions port = new("log", ConsolePortKind.File, Path.Combine(_folder, "log"));
        foreach (ConsolePortOptions[] ports in new ConsolePortOptions[][] { [port], [port, port with { Name = "more", Path = Path.Combine(_folder, "more") }] })
        {
            using ConsoleBackend device = new(ports, 80, 25, _ => { });
            check(device);
        }

        NetOptions net = new() { Tap = $"of{Environment.ProcessId % 100_000}" };
        foreach (NetOptions options in new[] { net, net with { Offloads = false }, net with { QueuePairs = 3 }, net with { MergedBuffers = false }, net with { Offloads = false, MergedBuffers = false } })
        {
            try
            {
                using NetBackend device = new(options, 32 << 20, _ => { });
                check(device);
            }
            catch (BackendException e)
            {
                Assert.Ignore($"This user cannot make a TAP here: {e.Message}");
            }
        }
    }
}
