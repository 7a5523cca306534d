// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>One buffer of a chain.</summary>
public readonly record struct MockBuffer(ulong Address, uint Length, bool Writable);

/// <summary>A virtio driver of host 1 that does exactly what a test says (virtio 1.3, 3.1 and 2.7).</summary>
public sealed class MockDriver(Bridge bridge, int function)
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(60);

    private readonly Dictionary<ushort, MockQueue> _queues = [];

    public ulong Features { get; private set; }

    public async Task<uint> ReadCommon(int offset, int size) => await Read(RegisterMap.Bar.VirtioCommon + (uint)offset, size);

    public Task WriteCommon(int offset, int size, uint value) => Write(RegisterMap.Bar.VirtioCommon + (uint)offset, size, value);

    public async Task<byte> ReadStatus() => (byte)await ReadCommon(0x14, 1);

    public Task WriteStatus(VirtioStatus status) => WriteCommon(0x14, 1, (uint)status);

    /// <summary>Enables the function on the bus, with MSI-X vector v for queue v - 1 and 0 for configuration changes.</summary>
    public async Task Enable(int vectors)
    {
        _ = await bridge.WriteConfig(0, function, 0x04, [0x06, 0x00]);
        await bridge.ArmVectors(0, function, 0, vectors);
    }

    /// <summary>Resets the function and waits until status reads 0.</summary>
    public async Task Reset()
    {
        await WriteStatus(VirtioStatus.None);
        long start = Environment.TickCount64;
        while (await ReadStatus() != 0)
        {
            Assert.That(Environment.TickCount64 - start, Is.LessThan(s_deadline.TotalMilliseconds), "device_status stays non-zero");
        }
    }

    /// <summary>Negotiates what of <paramref name="wanted"/> is offered, VERSION_1 always.</summary>
    public async Task Negotiate(ulong wanted)
    {
        await WriteStatus(VirtioStatus.Acknowledge | VirtioStatus.Driver);
        await WriteCommon(0x00, 4, 0);
        ulong offered = await ReadCommon(0x04, 4);
        await WriteCommon(0x00, 4, 1);
        offered |= (ulong)await ReadCommon(0x04, 4) << 32;
        Features = offered & (wanted | VirtioFeatures.Version1);
        await WriteCommon(0x08, 4, 0);
        await WriteCommon(0x0C, 4, (uint)Features);
        await WriteCommon(0x08, 4, 1);
        await WriteCommon(0x0C, 4, (uint)(Features >> 32));
        await WriteStatus(VirtioStatus.Acknowledge | VirtioStatus.Driver | VirtioStatus.FeaturesOk);
        Assert.That(await ReadStatus() & (byte)VirtioStatus.FeaturesOk, Is.Not.Zero, "FEATURES_OK");
    }

    /// <summary>Sets up a queue at <paramref name="memory"/> of host 1.</summary>
    public async Task<MockQueue> AddQueue(ushort index, ushort size, ulong memory)
    {
        SplitVirtqueue layout = new(size, memory, memory + (ulong)SplitVirtqueue.DescriptorTableBytes(size), (memory + (ulong)(SplitVirtqueue.DescriptorTableBytes(size) + SplitVirtqueue.AvailableBytes(size)) + 3) & ~3UL);
        await bridge.WriteHostMemory(0, memory, new byte[(int)(layout.AvailableEvent + 2 - memory)]);
        await WriteCommon(0x16, 2, index);
        await WriteCommon(0x18, 2, size);
        await WriteCommon(0x1A, 2, (uint)(index + 1));
        await WriteCommon(0x20, 4, (uint)layout.DescriptorTable);
        await WriteCommon(0x24, 4, (uint)(layout.DescriptorTable >> 32));
        await WriteCommon(0x28, 4, (uint)layout.Available);
        await WriteCommon(0x2C, 4, 0);
        await WriteCommon(0x30, 4, (uint)layout.Used);
        await WriteCommon(0x34, 4, 0);
        await WriteCommon(0x1C, 2, 1);
        MockQueue queue = new(bridge, function, index, layout, (Features & VirtioFeatures.RingEventIdx) != 0);
        _queues[index] = queue;
        return queue;
    }

    public Task DriverOk() => WriteStatus(VirtioStatus.Acknowledge | VirtioStatus.Driver | VirtioStatus.FeaturesOk | VirtioStatus.DriverOk);

    public async Task<int> NextInterrupt()
    {
        using CancellationTokenSource timeout = new(s_deadline);
        return (await bridge.WaitInterrupt(0, function, timeout.Token)).Vector;
    }

    /// <summary>The next used element of a queue, after its interrupt where it is not there yet.</summary>
    public async Task<(ushort Head, uint Length)> NextUsed(MockQueue queue)
    {
        while (true)
        {
            if (await queue.TakeUsed() is { } used)
            {
                return used;
            }

            await queue.ArmUsedEvent();
            if (await queue.TakeUsed() is { } meanwhile)
            {
                return meanwhile;
            }

            _ = await NextInterrupt();
        }
    }

    private async Task<uint> Read(uint offset, int size)
    {
        byte[] data = (await bridge.ReadMemory(0, function, 0, offset, size)).Data;
        Array.Resize(ref data, 4);
        return BinaryPrimitives.ReadUInt32LittleEndian(data);
    }

    private Task<TransactionResult> Write(uint offset, int size, uint value)
    {
        byte[] data = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(data, value);
        return bridge.WriteMemory(0, function, 0, offset, data[..size]);
    }
}

/// <summary>The driver's side of one split virtqueue.</summary>
public sealed class MockQueue(Bridge bridge, int function, ushort index, SplitVirtqueue layout, bool eventIdx)
{
    private readonly Queue<ushort> _free = new(Enumerable.Range(0, layout.Size).Select(i => (ushort)i));
    private readonly Dictionary<ushort, ushort[]> _chains = [];
    private ushort _available;
    private ushort _used;

    public SplitVirtqueue Layout => layout;

    public int Free => _free.Count;

    /// <summary>Indirect tables are put here, one behind the other, if a chain is to use one.</summary>
    public ulong IndirectTables { get; set; }

    /// <summary>Writes a chain and the available entry; <see cref="Publish"/> makes it visible.</summary>
    public async Task<ushort> Add(params MockBuffer[] buffers)
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

            await bridge.WriteHostMemory(0, IndirectTables, table);
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
        return bridge.WriteHostMemory(0, layout.DescriptorAddress(place), bytes);
    }

    /// <summary>Publishes what was added and notifies the device, if it wants to be.</summary>
    public async Task Publish(bool always = false)
    {
        ushort old = await Read16(layout.AvailableIndex);
        await Write16(layout.AvailableIndex, _available);
        bool notify = eventIdx
            ? SplitVirtqueue.PassesEvent(await Read16(layout.AvailableEvent), _available, old)
            : (await Read16(layout.Used) & SplitVirtqueue.UsedNoNotify) == 0;
        if (notify || always)
        {
            await Notify();
        }
    }

    public Task Notify() => bridge.WriteMemory(0, function, 0, RegisterMap.Bar.VirtioNotify + (4u * index), [(byte)index, (byte)(index >> 8)]);

    /// <summary>Takes the next used element, if there is one.</summary>
    public async Task<(ushort Head, uint Length)?> TakeUsed()
    {
        ushort seen = await Read16(layout.UsedIndex);
        if (seen == _used)
        {
            return null;
        }

        byte[] element = await bridge.ReadHostMemory(0, layout.UsedElement(_used), 8);
        _used++;
        ushort head = (ushort)BinaryPrimitives.ReadUInt32LittleEndian(element);
        Assert.That(_chains.Remove(head, out ushort[]? chain), Is.True, $"head {head} was used but is not in flight");
        foreach (ushort descriptor in chain!)
        {
            _free.Enqueue(descriptor);
        }

        return (head, BinaryPrimitives.ReadUInt32LittleEndian(element.AsSpan(4)));
    }

    /// <summary>Asks for an interrupt at the next used buffer.</summary>
    public Task ArmUsedEvent() => Write16(layout.UsedEvent, _used);

    public Task Write16(ulong address, ushort value) => bridge.WriteHostMemory(0, address, BitConverter.GetBytes(value));

    public async Task<ushort> Read16(ulong address) => BitConverter.ToUInt16(await bridge.ReadHostMemory(0, address, 2));

    private static Descriptor Entry(MockBuffer buffer, bool more, ushort next) => new(
        buffer.Address,
        buffer.Length,
        (buffer.Writable ? DescriptorFlags.Write : DescriptorFlags.None) | (more ? DescriptorFlags.Next : DescriptorFlags.None),
        next);
}
