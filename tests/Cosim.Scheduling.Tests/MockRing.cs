// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>One buffer of a chain.</summary>
public readonly record struct MockBuffer(ulong Address, uint Length, bool Writable);

/// <summary>The driver's side of one virtqueue, split or packed.</summary>
public abstract class MockRing(Bridge bridge, int function, ushort index, ulong features)
{
    /// <summary>Descriptors that are free.</summary>
    public abstract int Free { get; }

    /// <summary>Indirect tables are put here, one behind the other, if a chain is to use one.</summary>
    public ulong IndirectTables { get; set; }

    protected Bridge Bridge => bridge;

    protected bool EventIdx => (features & VirtioFeatures.RingEventIdx) != 0;

    /// <summary>Where the next chain will be put, as notification data carries it (virtio 1.3, 2.9).</summary>
    protected abstract ushort NextAvailable { get; }

    /// <summary>Writes a chain; <see cref="Publish"/> makes it visible.</summary>
    /// <returns>By what the used element names it.</returns>
    public abstract Task<ushort> Add(params MockBuffer[] buffers);

    /// <summary>Publishes what was added and notifies the device, if it wants to be.</summary>
    /// <returns>Whether it wanted to be.</returns>
    public abstract Task<bool> Publish(bool always = false);

    /// <summary>Takes the next used element, if there is one.</summary>
    public abstract Task<(ushort Head, uint Length)?> TakeUsed();

    /// <summary>Asks for an interrupt at the next used buffer, or at the one that begins so many places behind it in the ring (EVENT_IDX).</summary>
    public abstract Task ArmUsedEvent(int ahead = 0);

    public Task Notify() => Notify((features & VirtioFeatures.NotificationData) != 0 ? index | ((uint)NextAvailable << 16) : index);

    /// <summary>Notifies with any value.</summary>
    public Task Notify(uint value)
    {
        byte[] bytes = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        bool long32 = (features & VirtioFeatures.NotificationData) != 0;
        return bridge.WriteMemory(0, function, 0, RegisterMap.Bar.VirtioNotify + (4u * index), bytes[..(long32 ? 4 : 2)]);
    }

    public Task Write16(ulong address, ushort value) => bridge.WriteHostMemory(0, address, BitConverter.GetBytes(value));

    public async Task<ushort> Read16(ulong address) => BitConverter.ToUInt16(await bridge.ReadHostMemory(0, address, 2));
}
