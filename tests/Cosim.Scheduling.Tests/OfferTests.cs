// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>How a function presents itself once a back end has described it: ids (virtio 1.3, 4.1.2) and feature bits (2.2, 6).</summary>
[TestFixture(FpgaKind.Model)]
[TestFixture(FpgaKind.Verilator)]
[TestFixture(FpgaKind.Ghdl)]
public sealed class OfferTests(FpgaKind kind) : BridgeFixture(kind)
{
    private const int SrIov = 37;

    // INDIRECT_DESC, EVENT_IDX, VERSION_1, ACCESS_PLATFORM, RING_PACKED, IN_ORDER, ORDER_PLATFORM, NOTIFICATION_DATA, RING_RESET.
    private static readonly int[] s_served = [28, 29, 32, 33, 34, 35, 36, 38, 40];

    [Test]
    [Clause("virtio 4.1.2.1-1")]
    [Clause("virtio 4.1.2.1-2")]
    [Clause("virtio 4.1.2.1-3")]
    [Clause("virtio 4.1.2.1-4")]
    [Clause("virtio 4.1.2.1-5")]
    public async Task Ids_OfEachDevice_AreThoseOfItsType()
    {
        await BackEnd.Start();
        foreach ((int function, ushort device) in new (int, ushort)[] { (0, 0x1042), (1, 0x1041) })
        {
            Assert.That(await Config(function, 0x00, 2), Is.EqualTo(0x1AF4), "vendor");
            Assert.That(await Config(function, 0x02, 2), Is.EqualTo(device));
            Assert.That(await Config(function, 0x08, 1), Is.GreaterThanOrEqualTo(1), "revision");
            Assert.That(await Config(function, 0x2E, 2), Is.GreaterThanOrEqualTo(0x40), "subsystem");
        }
    }

    [Test]
    [Clause("virtio 2.2.2-3")]
    [Clause("virtio 6.2-1")]
    [Clause("virtio 6.2-2")]
    [Clause("virtio 6.2-4")]
    public async Task Features_BackEndOffersEveryBit_OfferHoldsThoseThatAreServed()
    {
        BackEnd.Features = ulong.MaxValue;
        await BackEnd.Start();
        await Driver.Enable(1);
        await Driver.WriteCommon(0x00, 4, 0);
        ulong offered = await Driver.ReadCommon(0x04, 4);
        await Driver.WriteCommon(0x00, 4, 1);
        offered |= (ulong)await Driver.ReadCommon(0x04, 4) << 32;
        int[] ringAndTransport = [.. Enumerable.Range(24, 26).Where(bit => (offered >> bit & 1) != 0)];
        Assert.That(ringAndTransport, Is.SubsetOf(s_served), "reserved bits and those of other transports are not offered, whatever the back end says");
        Assert.That(offered & VirtioFeatures.Version1, Is.Not.Zero);
        Assert.That(offered & VirtioFeatures.AccessPlatform, Is.Not.Zero, "memory is reached by bus addresses");
        Assert.That(offered >> SrIov & 1, Is.Zero);
        Assert.That(await Config(0, 0x100, 4), Is.Zero, "there is no extended capability, and so none of SR-IOV");
    }

    private async Task<uint> Config(int function, int offset, int size)
    {
        byte[] data = (await Bridge.ReadConfig(0, function, offset, size)).Data;
        Array.Resize(ref data, 4);
        return BitConverter.ToUInt32(data);
    }
}
