// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.VfioUser;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>What a client of the bridge lets it reach directly.</summary>
public enum LentMemory
{
    /// <summary>Rings and buffers.</summary>
    All,

    /// <summary>Nothing: every byte is asked for.</summary>
    Nothing,

    /// <summary>Nothing, with a socket of their own for the bridge's requests.</summary>
    NothingWithTwin,

    /// <summary>Rings; buffers are asked for.</summary>
    Rings,

    /// <summary>Buffers; rings are asked for.</summary>
    Buffers,
}

/// <summary>Host 1 as a program that speaks vfio-user: a client with memory, and a virtio driver of one queue, all on the test's thread.</summary>
internal sealed class VfioDriver : IDisposable, IVfioUserClientMemory
{
    internal const int RingBytes = 0x1_0000;
    internal const ulong Buffers = 0x10_0000;
    internal const int BufferBytes = 0x4_0000;
    private const ushort QueueSize = 16;

    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(60);

    private readonly EventFd[] _vectors = [new EventFd(), new EventFd()];
    private readonly VfioUserClient _client;
    private readonly SplitVirtqueue _queue = new(
        QueueSize, 0, (ulong)SplitVirtqueue.DescriptorTableBytes(QueueSize), 0x800);

    private ushort _available;
    private ushort _used;

    internal VfioDriver(string socket, int function, LentMemory lent)
    {
        _client = VfioUserClient.Connect(
            socket, new VfioUserClientOptions { Memory = this, TwinSocket = lent == LentMemory.NothingWithTwin, TimeoutMilliseconds = 60_000 });
        Lend(lent is LentMemory.All or LentMemory.Rings, lent is LentMemory.All or LentMemory.Buffers);
        _client.ArmMsix(0, _vectors);
        _client.Write(VfioPci.ConfigRegionIndex, 0x10, [0, 0, (byte)(0x20 * function), 0xFE]);
        _client.Write(VfioPci.ConfigRegionIndex, 0x14, [0, 0, (byte)((0x20 * function) + 0x10), 0xFE]);
        _client.Write(VfioPci.ConfigRegionIndex, 4, [6, 0]);
    }

    internal SharedMemory Rings { get; } = new(RingBytes);

    internal SharedMemory Data { get; } = new(BufferBytes);

    internal VfioUserClient Client => _client;

    /// <summary>DMA_READ and DMA_WRITE that came.</summary>
    internal int Asked { get; private set; }

    internal byte Status
    {
        get
        {
            Span<byte> status = stackalloc byte[1];
            _client.Read(0, RegisterMap.Bar.VirtioCommon + 0x14, status);
            return status[0];
        }
        set => WriteCommon(0x14, 1, value);
    }

    internal void Lend(bool rings, bool buffers)
    {
        _client.Map(rings ? Rings.Fd : -1, 0, 0, RingBytes);
        _client.Map(buffers ? Data.Fd : -1, 0, Buffers, BufferBytes);
    }

    /// <summary>Resets the device and brings it up to DRIVER_OK.</summary>
    internal void Start()
    {
        Status = 0;
        long start = Environment.TickCount64;
        while (Status != 0)
        {
            Assert.That(Environment.TickCount64 - start, Is.LessThan(s_deadline.TotalMilliseconds), "device_status stays non-zero");
        }

        Rings.Span(0, RingBytes).Clear();
        _available = 0;
        _used = 0;
        Status = 3;
        WriteCommon(0x08, 4, 1);
        WriteCommon(0x0C, 4, (uint)(VirtioFeatures.Version1 >> 32));
        Status = 11;
        Assert.That(Status & 8, Is.Not.Zero, "FEATURES_OK");
        WriteCommon(0x16, 2, 0);
        WriteCommon(0x18, 2, QueueSize);
        WriteCommon(0x1A, 2, 1);
        WriteCommon(0x20, 4, (uint)_queue.DescriptorTable);
        WriteCommon(0x28, 4, (uint)_queue.Available);
        WriteCommon(0x30, 4, (uint)_queue.Used);
        WriteCommon(0x1C, 2, 1);
        Status = 15;
    }

    /// <summary>Offers a buffer to be read and one to be written, at offsets of <see cref="Data"/>, and notifies the device.</summary>
    internal void Offer(int readable, int readableLength, int writable, int writableLength)
    {
        ushort head = (ushort)(_available * 2 % QueueSize);
        Describe(head, new Descriptor(Buffers + (ulong)readable, (uint)readableLength, DescriptorFlags.Next, (ushort)(head + 1)));
        Describe((ushort)(head + 1), new Descriptor(Buffers + (ulong)writable, (uint)writableLength, DescriptorFlags.Write, 0));
        Write16(_queue.AvailableEntry(_available), head);
        _available++;
        Volatile.Write(ref System.Runtime.InteropServices.MemoryMarshal.AsRef<ushort>(Rings.Span((long)_queue.AvailableIndex, 2)), _available);
        Notify();
    }

    internal void Notify() => _client.Write(0, RegisterMap.Bar.VirtioNotify, [0, 0], posted: true);

    /// <summary>Waits for the next used element and its interrupt, and answers what the bridge asks for meanwhile.</summary>
    /// <returns>Its length.</returns>
    internal uint NextUsed()
    {
        WaitFor(() => _vectors[1].TryTake(out _), "no interrupt");
        Assert.That(Read16(_queue.UsedIndex), Is.EqualTo((ushort)(_used + 1)), "the used index is there before the interrupt");
        ReadOnlySpan<byte> element = Rings.Span((long)_queue.UsedElement(_used), 8);
        _used++;
        return BinaryPrimitives.ReadUInt32LittleEndian(element[4..]);
    }

    /// <summary>Waits until the device gives up; see <see cref="NextUsed"/>.</summary>
    internal void ExpectNeedsReset() => WaitFor(() => (Status & (byte)VirtioStatus.DeviceNeedsReset) != 0, "no DEVICE_NEEDS_RESET");

    public Errno Read(ulong address, Span<byte> destination)
    {
        Asked++;
        Slice(address, destination.Length).CopyTo(destination);
        return Errno.None;
    }

    public Errno Write(ulong address, ReadOnlySpan<byte> source)
    {
        Asked++;
        source.CopyTo(Slice(address, source.Length));
        return Errno.None;
    }

    public void Dispose()
    {
        _client.Dispose();
        Rings.Dispose();
        Data.Dispose();
        Array.ForEach(_vectors, vector => vector.Dispose());
    }

    private void WaitFor(Func<bool> condition, string otherwise)
    {
        long start = Environment.TickCount64;
        while (!condition())
        {
            Assert.That(Environment.TickCount64 - start, Is.LessThan(s_deadline.TotalMilliseconds), otherwise);
            _ = _client.Serve(1);
        }
    }

    private Span<byte> Slice(ulong address, int length) =>
        address >= Buffers ? Data.Span((long)(address - Buffers), length) : Rings.Span((long)address, length);

    private void Describe(ushort place, Descriptor descriptor) => descriptor.Write(Rings.Span((long)_queue.DescriptorAddress(place), Descriptor.Size));

    private void Write16(ulong address, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(Rings.Span((long)address, 2), value);

    private ushort Read16(ulong address) => BinaryPrimitives.ReadUInt16LittleEndian(Rings.Span((long)address, 2));

    private void WriteCommon(uint offset, int size, uint value)
    {
        Span<byte> data = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(data, value);
        _client.Write(0, RegisterMap.Bar.VirtioCommon + offset, data[..size]);
    }
}
