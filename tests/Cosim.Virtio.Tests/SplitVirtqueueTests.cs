// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Virtio.Tests;

public sealed class SplitVirtqueueTests
{
    [Test]
    public void Addresses_OfASmallQueue_AreThoseOfTheSpecification()
    {
        SplitVirtqueue queue = new(8, 0x1000, 0x2000, 0x3000);
        Assert.That(SplitVirtqueue.DescriptorTableBytes(8), Is.EqualTo(128));
        Assert.That(SplitVirtqueue.AvailableBytes(8), Is.EqualTo(22));
        Assert.That(SplitVirtqueue.UsedBytes(8), Is.EqualTo(70));
        Assert.That(queue.DescriptorAddress(7), Is.EqualTo(0x1070));
        Assert.That(queue.AvailableIndex, Is.EqualTo(0x2002));
        Assert.That(queue.UsedEvent, Is.EqualTo(0x2014));
        Assert.That(queue.UsedIndex, Is.EqualTo(0x3002));
        Assert.That(queue.AvailableEvent, Is.EqualTo(0x3044));
    }

    [Test]
    public void Entries_FreeRunningIndex_WrapsAtTheQueueSize()
    {
        SplitVirtqueue queue = new(8, 0, 0x2000, 0x3000);
        Assert.That(queue.AvailableEntry(0xFFFF), Is.EqualTo(0x2000 + 4 + (2 * 7)));
        Assert.That(queue.AvailableEntry(8), Is.EqualTo(queue.AvailableEntry(0)));
        Assert.That(queue.UsedElement(0xFFFF), Is.EqualTo(0x3000 + 4 + (8 * 7)));
    }

    // used_event and avail_event (2.7.10): told when the index passes event, over the end of 16 bits too.
    [TestCase(5, 6, 5, true)]
    [TestCase(5, 5, 4, false)]
    [TestCase(5, 9, 4, true)]
    [TestCase(5, 9, 6, false)]
    [TestCase(0xFFFF, 0, 0xFFFF, true)]
    [TestCase(0xFFFF, 3, 0xFFF0, true)]
    [TestCase(3, 0, 0xFFF0, false)]
    [TestCase(7, 7, 7, false)]
    public void PassesEvent_IndexMoves_TellsWhetherTheEventWasPassed(int eventIndex, int current, int old, bool passes) =>
        Assert.That(SplitVirtqueue.PassesEvent((ushort)eventIndex, (ushort)current, (ushort)old), Is.EqualTo(passes));

    [Test]
    public void Descriptor_WrittenBytes_AreThoseOfTheSpecification()
    {
        byte[] bytes = new byte[Descriptor.Size];
        Descriptor descriptor = new(0x1122334455667788, 0xAABBCCDD, DescriptorFlags.Next | DescriptorFlags.Write, 0x0102);
        descriptor.Write(bytes);
        Assert.That(bytes, Is.EqualTo(new byte[]
        {
            0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, // addr
            0xDD, 0xCC, 0xBB, 0xAA, // len
            0x03, 0x00, // flags
            0x02, 0x01, // next
        }));
        Assert.That(Descriptor.Read(bytes), Is.EqualTo(descriptor));
    }

    [Test]
    public void DeviceType_OfAllBits_LeavesOutTransportAndRing()
    {
        Assert.That(VirtioFeatures.DeviceType(ulong.MaxValue), Is.EqualTo(0xFFFC_0000_00FF_FFFF));
        Assert.That(VirtioFeatures.DeviceType(VirtioFeatures.Version1 | VirtioFeatures.RingEventIdx | VirtioFeatures.RingIndirectDesc), Is.Zero);
    }
}
