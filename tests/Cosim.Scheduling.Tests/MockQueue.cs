// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>The driver's side of one split virtqueue.</summary>
public sealed class MockQueue(Bridge bridge, int function, ushort index, SplitVirtqueue layout, ulong features) : MockRing(bridge, function, index, features)
{
    private readonly Queue<ushort> _free = new(Enumerable.Range(0, layout.Size).Select(i => (ushort)i));
    private readonly Dictionary<ushort, ushort[]> _chains = [];
    private ushort _available;
    private ushort _used;

    public SplitVirtqueue Layout => layout;

    public override int Free => _free.Count;

    /// <summary>Writes a chain and the available entry; <see cref="Publish"/> makes it visible.</summary>
    public override async Task<ushort> Add(params MockBuffer[] buffers)
    {
        bool indirect = IndirectTables != 0;
        int count = indirect ? 1 : buffers.Length;
        ushort[] chain = new ushort[count];
        for (int i = 0; i < count; i++)
        {
            chain[i] = _free.Dequeue();
        }

        if (indirect)
        {
            byte[] table = new byte[buffers.Length * Descriptor.Size];
            for (int i = 0; i < buffers.Length; i++)
            {
                Entry(buffers[i], i + 1 < buffers.Length, (ushort)(i + 1)).Write(table.AsSpan(i * Descriptor.Size));
            }

            await Bridge.WriteHostMemory(0, IndirectTables, table);
            await WriteDescriptor(chain[0], new Descriptor(IndirectTables, (uint)table.Length, DescriptorFlags.Indirect, 0));
            IndirectTables += (ulong)table.Length;
        }
        else
        {
            for (int i = 0; i < count; i++)
            {
                await WriteDescriptor(chain[i], Entry(buffers[i], i + 1 < count, i + 1 < count ? chain[i + 1] : (ushort)0));
            }
        }

        _chains[chain[0]] = chain;
        await WriteAvailable(chain[0]);
        return chain[0];
    }

    public async Task WriteAvailable(ushort head)
    {
        await Write16(layout.AvailableEntry(_available), head);
        _available++;
    }

    public Task WriteDescriptor(ushort place, Descriptor descriptor)
    {
        byte[] bytes = new byte[Descriptor.Size];
        descriptor.Write(bytes);
        return Bridge.WriteHostMemory(0, layout.DescriptorAddress(place), bytes);
    }

    /// <summary>Publishes what was added and notifies the device, if it wants to be.</summary>
    public override async Task<bool> Publish(bool always = false)
    {
        ushort old = await Read16(layout.AvailableIndex);
        await Write16(layout.AvailableIndex, _available);
        bool notify = EventIdx
            ? SplitVirtqueue.PassesEvent(await Read16(layout.AvailableEvent), _available, old)
            : (await Read16(layout.Used) & SplitVirtqueue.UsedNoNotify) == 0;
        if (notify || always)
        {
            await Notify();
        }

        return notify;
    }

    /// <summary>Takes the next used element, if there is one.</summary>
    public override async Task<(ushort Head, uint Length)?> TakeUsed()
    {
        ushort seen = await Read16(layout.UsedIndex);
        if (seen == _used)
        {
            return null;
        }

        byte[] element = await Bridge.ReadHostMemory(0, layout.UsedElement(_used), 8);
        _used++;
        ushort head = (ushort)BinaryPrimitives.ReadUInt32LittleEndian(element);
        Assert.That(_chains.Remove(head, out ushort[]? chain), Is.True, $"head {head} was used but is not in flight");
        foreach (ushort descriptor in chain!)
        {
            _free.Enqueue(descriptor);
        }

        return (head, BinaryPrimitives.ReadUInt32LittleEndian(element.AsSpan(4)));
    }

    /// <inheritdoc/>
    public override Task ArmUsedEvent(int ahead = 0) => Write16(layout.UsedEvent, (ushort)(_used + ahead));

    /// <inheritdoc/>
    protected override ushort NextAvailable => _available;

    private static Descriptor Entry(MockBuffer buffer, bool more, ushort next) => new(
        buffer.Address,
        buffer.Length,
        (buffer.Writable ? DescriptorFlags.Write : DescriptorFlags.None) | (more ? DescriptorFlags.Next : DescriptorFlags.None),
        next);
}
