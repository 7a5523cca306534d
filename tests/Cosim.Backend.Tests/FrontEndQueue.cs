// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Virtio;
using NUnit.Framework;

namespace Cosim.Backend.Tests;

/// <summary>The driver's side of one ring in the pool, as the FPGA plays it.</summary>
internal sealed class FrontEndQueue
{
    private readonly FakeFpga _fpga;
    private readonly int _device;
    private readonly int _queue;
    private readonly SplitVirtqueue _layout;
    private readonly ulong _buffers;
    private readonly bool _eventIdx;
    private ushort _available;
    private ushort _used;

    private FrontEndQueue(FakeFpga fpga, int device, int queue, SplitVirtqueue layout, bool eventIdx)
    {
        _fpga = fpga;
        _device = device;
        _queue = queue;
        _layout = layout;
        _eventIdx = eventIdx;
        _buffers = layout.DescriptorTable + 0x10000;
    }

    internal SplitVirtqueue Layout => _layout;

    /// <summary>Where a test may put what it likes: 1 MiB.</summary>
    internal ulong Buffers => _buffers;

    internal bool EventIdx => _eventIdx;

    /// <summary>Negotiates and enables one queue of a device, at 2 MiB x (its number + 1) in the pool.</summary>
    internal static FrontEndQueue Enable(FakeFpga fpga, int device, int queue, ushort size, ulong features)
    {
        ulong place = fpga.PoolIova + (0x20_0000 * (ulong)((device * 4) + queue + 1));
        SplitVirtqueue layout = new(size, place, place + 0x4000, place + 0x8000);
        Write(fpga, place, new byte[0x10000]);
        uint index = (uint)queue;
        Assert.That(fpga.Tell(MailboxRequest.SetFeatures, (uint)device, Bytes.U64(features)), Is.Zero);
        Assert.That(fpga.Tell(MailboxRequest.SetVringNum, (uint)device, Bytes.U32(index, size)), Is.Zero);
        Assert.That(fpga.Tell(MailboxRequest.SetVringBase, (uint)device, Bytes.U32(index, 0)), Is.Zero);
        Assert.That(
            fpga.Tell(MailboxRequest.SetVringAddr, (uint)device, [.. Bytes.U32(index, 0), .. Bytes.U64(layout.DescriptorTable, layout.Used, layout.Available, 0)]),
            Is.Zero);
        Assert.That(fpga.Tell(MailboxRequest.SetVringEnable, (uint)device, Bytes.U32(index, 1)), Is.Zero);
        return new FrontEndQueue(fpga, device, queue, layout, (features & VirtioFeatures.RingEventIdx) != 0);
    }

    /// <summary>Writes one descriptor.</summary>
    internal void Describe(ushort index, ulong address, uint length, DescriptorFlags flags, ushort next = 0)
    {
        byte[] bytes = new byte[Descriptor.Size];
        new Descriptor(address, length, flags, next).Write(bytes);
        Write(_fpga, _layout.DescriptorAddress(index), bytes);
    }

    /// <summary>Puts a buffer into the ring and kicks if host 2 wants to know.</summary>
    /// <returns>Whether it was kicked.</returns>
    internal bool Offer(ushort head)
    {
        Write(_fpga, _layout.AvailableEntry(_available), Bytes.U16(head));
        ushort old = _available++;
        Write(_fpga, _layout.AvailableIndex, Bytes.U16(_available));
        VfioUser.GuestMemory.Fence();
        bool kick = _eventIdx
            ? SplitVirtqueue.PassesEvent(ReadU16(_layout.AvailableEvent), _available, old)
            : (ReadU16(_layout.Used) & SplitVirtqueue.UsedNoNotify) == 0;
        if (kick)
        {
            _fpga.Kick(_device, _queue);
        }

        return kick;
    }

    /// <summary>Offers the readable bytes and room for writable ones as two descriptors, and waits for them to be used.</summary>
    /// <returns>What was written, as long as the used element says.</returns>
    internal byte[] Exchange(byte[] readable, int writable, byte fill = 0xEE)
    {
        ulong answer = _buffers + 0x8_0000;
        Write(_fpga, _buffers, readable);
        if (writable > 0)
        {
            byte[] stale = new byte[writable];
            Array.Fill(stale, fill);
            Write(_fpga, answer, stale);
        }

        Describe(0, _buffers, (uint)readable.Length, writable > 0 ? DescriptorFlags.Next : DescriptorFlags.None, 1);
        Describe(1, answer, (uint)writable, DescriptorFlags.Write);
        Offer(0);
        (uint id, uint length) = WaitUsed();
        Assert.That(id, Is.Zero);
        Assert.That(length, Is.LessThanOrEqualTo(writable));
        return Read(_fpga, answer, (int)length);
    }

    /// <summary>Waits for the next used element, by its index alone.</summary>
    internal (uint Id, uint Length) WaitUsed()
    {
        _fpga.RunUntil(() => ReadU16(_layout.UsedIndex) != _used, "a used buffer");
        return TakeUsed();
    }

    internal bool HasUsed => ReadU16(_layout.UsedIndex) != _used;

    internal (uint Id, uint Length) TakeUsed()
    {
        byte[] element = Read(_fpga, _layout.UsedElement(_used), 8);
        _used++;
        if (_eventIdx)
        {
            Write(_fpga, _layout.UsedEvent, Bytes.U16(_used));
        }

        return (BinaryPrimitives.ReadUInt32LittleEndian(element), BinaryPrimitives.ReadUInt32LittleEndian(element.AsSpan(4)));
    }

    internal static void Write(FakeFpga fpga, ulong address, byte[] data) =>
        Assert.That(fpga.Memory.Write(address, data), Is.EqualTo(VfioUser.DmaResult.Ok));

    internal static byte[] Read(FakeFpga fpga, ulong address, int length)
    {
        byte[] data = new byte[length];
        Assert.That(fpga.Memory.Read(address, data), Is.EqualTo(VfioUser.DmaResult.Ok));
        return data;
    }

    private ushort ReadU16(ulong address) => BinaryPrimitives.ReadUInt16LittleEndian(Read(_fpga, address, 2));
}
