// SPDX-License-Identifier: Apache-2.0
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>The driver's side of one packed virtqueue (virtio 1.3, 2.8).</summary>
public sealed class MockPackedQueue(Bridge bridge, int function, ushort index, PackedVirtqueue layout, ulong features) : MockRing(bridge, function, index, features)
{
    private readonly Queue<ushort> _ids = new(Enumerable.Range(0, layout.Size).Select(i => (ushort)i));
    private readonly Dictionary<ushort, int> _chains = [];
    private readonly List<(PackedPosition Position, PackedDescriptor Head)> _unpublished = [];
    private PackedPosition _available = PackedPosition.Start;
    private PackedPosition _used = PackedPosition.Start;
    private int _free = layout.Size;
    private int _added;

    public PackedVirtqueue Layout => layout;

    /// <summary>Position of the next descriptor to be made available.</summary>
    public PackedPosition Available => _available;

    /// <summary>Position of the next descriptor to be used.</summary>
    public PackedPosition Used => _used;

    public override int Free => _free;

    /// <inheritdoc/>
    protected override ushort NextAvailable => _available.Raw;

    /// <inheritdoc/>
    public override async Task<ushort> Add(params MockBuffer[] buffers)
    {
        ushort id = _ids.Dequeue();
        if (IndirectTables != 0)
        {
            byte[] table = new byte[buffers.Length * PackedDescriptor.Size];
            for (int i = 0; i < buffers.Length; i++)
            {
                new PackedDescriptor(buffers[i].Address, buffers[i].Length, 0, Direction(buffers[i])).Write(table.AsSpan(i * PackedDescriptor.Size));
            }

            await Bridge.WriteHostMemory(0, IndirectTables, table);
            await AddDescriptors(id, new PackedDescriptor(IndirectTables, (uint)table.Length, id, DescriptorFlags.Indirect));
            IndirectTables += (ulong)table.Length;
        }
        else
        {
            await AddDescriptors(id, [.. buffers.Select((buffer, i) => new PackedDescriptor(
                buffer.Address, buffer.Length, id, Direction(buffer) | (i + 1 < buffers.Length ? DescriptorFlags.Next : DescriptorFlags.None)))]);
        }

        return id;
    }

    /// <summary>Adds a chain of descriptors as they are, but for AVAIL and USED.</summary>
    public async Task AddDescriptors(ushort id, params PackedDescriptor[] descriptors)
    {
        for (int i = 0; i < descriptors.Length; i++)
        {
            PackedDescriptor descriptor = descriptors[i] with { Flags = descriptors[i].Flags | PackedVirtqueue.AvailableFlags(_available.Wrap) };
            if (i == 0)
            {
                // The flags of a chain's first descriptor are written last (2.8.6).
                _unpublished.Add((_available, descriptor));
                descriptor = descriptor with { Flags = descriptors[i].Flags | PackedVirtqueue.UsedFlags(!_available.Wrap) };
            }

            await WriteDescriptor(_available.Index, descriptor);
            _available = _available.Advance(1, layout.Size);
        }

        _chains[id] = descriptors.Length;
        _free -= descriptors.Length;
        _added += descriptors.Length;
    }

    public Task WriteDescriptor(int place, PackedDescriptor descriptor)
    {
        byte[] bytes = new byte[PackedDescriptor.Size];
        descriptor.Write(bytes);
        return Bridge.WriteHostMemory(0, layout.DescriptorAddress(place), bytes);
    }

    /// <inheritdoc/>
    public override async Task<bool> Publish(bool always = false)
    {
        for (int i = _unpublished.Count - 1; i >= 0; i--)
        {
            await WriteDescriptor(_unpublished[i].Position.Index, _unpublished[i].Head);
        }

        _unpublished.Clear();
        byte[] suppression = await Bridge.ReadHostMemory(0, layout.DeviceEvent, PackedVirtqueue.EventBytes);
        bool notify = BitConverter.ToUInt16(suppression, 2) switch
        {
            PackedVirtqueue.EventEnable => true,
            PackedVirtqueue.EventDescriptor => _available.PassesEvent(BitConverter.ToUInt16(suppression), _added, layout.Size),
            _ => false,
        };
        _added = 0;
        if (notify || always)
        {
            await Notify();
        }

        return notify;
    }

    /// <inheritdoc/>
    public override async Task<(ushort Head, uint Length)?> TakeUsed()
    {
        PackedDescriptor used = PackedDescriptor.Read(await Bridge.ReadHostMemory(0, layout.DescriptorAddress(_used.Index), PackedDescriptor.Size));
        if (!PackedVirtqueue.IsUsed(used.Flags, _used.Wrap))
        {
            return null;
        }

        Assert.That(_chains.Remove(used.Id, out int count), Is.True, $"buffer id {used.Id} was used but is not in flight");
        Assert.That((used.Flags & DescriptorFlags.Write) != 0, Is.EqualTo(used.Length != 0), "WRITE of a used descriptor says that bytes were written");
        _used = _used.Advance(count, layout.Size);
        _free += count;
        _ids.Enqueue(used.Id);
        return (used.Id, used.Length);
    }

    /// <inheritdoc/>
    public override Task ArmUsedEvent(int ahead = 0) => EventIdx
        ? SetDriverEvent(_used.Advance(ahead, layout.Size).Raw, PackedVirtqueue.EventDescriptor)
        : SetDriverEvent(0, PackedVirtqueue.EventEnable);

    /// <summary>Writes the driver event suppression structure.</summary>
    public Task SetDriverEvent(ushort position, ushort flags) =>
        Bridge.WriteHostMemory(0, layout.DriverEvent, BitConverter.GetBytes(position | ((uint)flags << 16)));

    private static DescriptorFlags Direction(MockBuffer buffer) => buffer.Writable ? DescriptorFlags.Write : DescriptorFlags.None;
}
