// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>A virtio driver of host 1 that does exactly what a test says (virtio 1.3, 3.1 and 2.7).</summary>
public sealed class MockDriver(Bridge bridge, int function)
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(60);

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

    /// <summary>Sets up a split queue at <paramref name="memory"/> of host 1.</summary>
    public async Task<MockQueue> AddQueue(ushort index, ushort size, ulong memory)
    {
        SplitVirtqueue layout = new(size, memory, memory + (ulong)SplitVirtqueue.DescriptorTableBytes(size), (memory + (ulong)(SplitVirtqueue.DescriptorTableBytes(size) + SplitVirtqueue.AvailableBytes(size)) + 3) & ~3UL);
        await bridge.WriteHostMemory(0, memory, new byte[(int)(layout.AvailableEvent + 2 - memory)]);
        await SetQueue(index, size, layout.DescriptorTable, layout.Available, layout.Used);
        return new MockQueue(bridge, function, index, layout, Features);
    }

    /// <summary>Sets up a packed queue at <paramref name="memory"/> of host 1.</summary>
    public async Task<MockPackedQueue> AddPackedQueue(ushort index, ushort size, ulong memory)
    {
        ulong events = memory + ((ulong)size * PackedDescriptor.Size);
        PackedVirtqueue layout = new(size, memory, events, events + PackedVirtqueue.EventBytes);
        await bridge.WriteHostMemory(0, memory, new byte[(int)(layout.DeviceEvent + PackedVirtqueue.EventBytes - memory)]);
        await SetQueue(index, size, layout.DescriptorRing, layout.DriverEvent, layout.DeviceEvent);
        Assert.That(await ReadCommon(0x18, 2), Is.EqualTo(size), "queue_size");
        return new MockPackedQueue(bridge, function, index, layout, Features);
    }

    /// <summary>Sets up a queue in the format that was negotiated.</summary>
    public async Task<MockRing> AddRing(ushort index, ushort size, ulong memory) =>
        (Features & VirtioFeatures.RingPacked) != 0 ? await AddPackedQueue(index, size, memory) : await AddQueue(index, size, memory);

    /// <summary>Resets a queue (VIRTIO_F_RING_RESET) and waits until queue_reset reads 0.</summary>
    public async Task ResetQueue(ushort index)
    {
        await WriteCommon(0x16, 2, index);
        await WriteCommon(0x3A, 2, 1);
        long start = Environment.TickCount64;
        while (await ReadCommon(0x3A, 2) != 0)
        {
            Assert.That(Environment.TickCount64 - start, Is.LessThan(s_deadline.TotalMilliseconds), "queue_reset stays 1");
        }

        Assert.That(await ReadCommon(0x1C, 2), Is.Zero, "queue_enable after the reset");
    }

    public Task DriverOk() => WriteStatus(VirtioStatus.Acknowledge | VirtioStatus.Driver | VirtioStatus.FeaturesOk | VirtioStatus.DriverOk);

    public async Task<int> NextInterrupt()
    {
        using CancellationTokenSource timeout = new(s_deadline);
        return (await bridge.WaitInterrupt(0, function, timeout.Token)).Vector;
    }

    /// <summary>The next used element of a queue, after its interrupt where it is not there yet.</summary>
    public async Task<(ushort Head, uint Length)> NextUsed(MockRing queue)
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

    private async Task SetQueue(ushort index, ushort size, ulong descriptors, ulong driver, ulong device)
    {
        await WriteCommon(0x16, 2, index);
        await WriteCommon(0x18, 2, size);
        await WriteCommon(0x1A, 2, (uint)(index + 1));
        ulong[] addresses = [descriptors, driver, device];
        for (int i = 0; i < addresses.Length; i++)
        {
            await WriteCommon(0x20 + (8 * i), 4, (uint)addresses[i]);
            await WriteCommon(0x24 + (8 * i), 4, (uint)(addresses[i] >> 32));
        }

        await WriteCommon(0x1C, 2, 1);
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
