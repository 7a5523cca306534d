// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Scheduling;
using Cosim.Virtio;

namespace Cosim.Fuzzing.Targets;

/// <summary>Host 1's driver of one function, which does what it is told; for a good request it is told nothing wrong.</summary>
internal sealed class HostileDriver
{
    public const int Queues = 2;

    // Each function has a megabyte: rings, indirect tables, what is read, what is written, and a rest that nobody posts.
    private const ulong FunctionBytes = 1 << 20;
    private const ulong QueueBytes = 0x4000;
    private const ulong Tables = 0x8000;
    private const ulong Readable = 0x1_0000;
    private const ulong Writable = 0x3_0000;
    private const int GoodLength = 40;

    private static readonly ulong[] s_features =
    [
        VirtioFeatures.RingEventIdx, VirtioFeatures.RingIndirectDesc, VirtioFeatures.RingPacked, VirtioFeatures.InOrder,
        VirtioFeatures.NotificationData, VirtioFeatures.RingReset, VirtioFeatures.AccessPlatform, VirtioFeatures.OrderPlatform,
    ];

    private readonly PlayedHost _host;
    private readonly int _function;
    private readonly uint _bar;
    private readonly ulong _base;
    private readonly DriverRing[] _queues = new DriverRing[Queues];
    private readonly byte[] _good = new byte[GoodLength];
    private readonly uint[] _vectors = new uint[4 * (Queues + 1)];
    private readonly int[] _orders = new int[Queues];
    private ulong _features;
    private bool _knowsVectors;
    private ushort _request;
    private byte _contents;

    public HostileDriver(PlayedHost host, int function)
    {
        _host = host;
        _function = function;
        _bar = PlayedHost.FirstBar + ((uint)function * 0x1_0000);
        _base = (ulong)function * FunctionBytes;
        for (int q = 0; q < Queues; q++)
        {
            ulong ring = _base + ((ulong)q * QueueBytes);
            _queues[q] = new DriverRing(ring, ring + 0x2000, ring + 0x3000);
        }
    }

    /// <summary>BARs and Command are as <see cref="Configure"/> leaves them.</summary>
    public bool IsConfigured { get; set; }

    /// <summary>The queues are set up and DRIVER_OK is set.</summary>
    public bool IsSetUp { get; set; }

    /// <summary>Where a good driver lets the device write.</summary>
    public IReadOnlyList<(ulong Start, ulong End)> Posted => [(_base, _base + Tables), (_base + Writable, _base + Writable + 0x2_0000)];

    public void Configure(SteppedBridge bridge)
    {
        if (IsConfigured)
        {
            return;
        }

        bridge.Complete(async b =>
        {
            _ = await b.Bridge.WriteConfig(0, _function, 0x04, [0, 0]);
            _ = await b.Bridge.WriteConfig(0, _function, 0x10, BitConverter.GetBytes(_bar));
            _ = await b.Bridge.WriteConfig(0, _function, 0x14, BitConverter.GetBytes(_bar + 0x8000));
            _ = await b.Bridge.WriteConfig(0, _function, 0x48, [0x10, 0x28]);
            _ = await b.Bridge.WriteConfig(0, _function, 0x04, [0x06, 0x00]);
            await b.Bridge.ArmVectors(0, _function, 0, Queues + 1);
        });
        // What was written into the table behind the root port's back, it does not know; what stands there in order is kept at first.
        for (int i = 0; i < _vectors.Length; i++)
        {
            uint at = _bar + 0x8000 + ((uint)i * 4);
            if (!_knowsVectors)
            {
                int tag = _host.Read(at, 4);
                _host.Run();
                _vectors[i] = _host.Answer(tag) ?? throw new FindingException("the MSI-X table does not answer");
            }
            else
            {
                _host.Write(at, 4, _vectors[i]);
            }
        }

        _knowsVectors = true;
        _host.Run();
        IsConfigured = true;
    }

    public void Write(uint offset, int size, ulong value)
    {
        size = Math.Min(size, 8 - (int)(offset & 7));
        _host.Write(_bar + offset, size, value);
    }

    public void WriteCommon(uint offset, int size, ulong value)
    {
        // Ring addresses that the input makes up are in this function's memory or outside of any: the other function is not to be harmed by the host itself.
        if (offset is >= 0x1D and < 0x40)
        {
            offset &= ~3u;
            size = 4;
            value = (offset & 4) == 0 ? value & 0xF_FFFF : value & 1;
            _host.Post(_base, FunctionBytes);
            _host.Post(PlayedHost.MemoryBytes, ulong.MaxValue - PlayedHost.MemoryBytes);
        }

        else if (offset <= 0x1D && offset + (uint)size > 0x1C)
        {
            // A queue may be enabled without having been given addresses: its ring is at 0.
            _host.Post(_base, FunctionBytes);
        }

        Write(RegisterMap.Bar.VirtioCommon + offset, size, value);
    }

    /// <summary>Writes the MSI-X table or what is behind it; a vector's address is one that may be written.</summary>
    public void WriteVector(uint offset, uint value)
    {
        value = (offset & 0xC) switch
        {
            0 => (uint)(_base + Writable) + (value & 0x1_FFFC),
            4 => value & 1,
            _ => value,
        };
        _host.Post(_base, FunctionBytes);
        _host.Post(PlayedHost.MemoryBytes, ulong.MaxValue - PlayedHost.MemoryBytes);
        Write(0x8000 + offset, 4, value);
        IsConfigured = false;
    }

    public uint? ReadCommon(uint offset, int size)
    {
        int tag = _host.Read(_bar + RegisterMap.Bar.VirtioCommon + offset, size);
        _host.Run();
        return _host.Answer(tag);
    }

    public void WriteConfiguration(SteppedBridge bridge, int offset, int size, uint value)
    {
        // The window into BAR 0 would lead around the checks of addresses.
        offset = offset is > 0xD0 and < 0xE8 ? 0x04 : Math.Min(offset, 0xFFC);
        byte[] data = BitConverter.GetBytes(value)[..(size + 1)];
        bridge.Complete(() => bridge.Bridge.WriteConfig(0, _function, offset, data));
        IsConfigured = false;
    }

    /// <summary>Reset, features, queues, DRIVER_OK (virtio 1.3, 3.1.1).</summary>
    /// <param name="features">Which of the ring's features are accepted: a bit for each of <see cref="s_features"/>.</param>
    /// <param name="order0">Size of queue 0 as a power of two.</param>
    /// <param name="order1">Size of queue 1.</param>
    /// <param name="wrong">What is wrong with the set-up; 0: nothing.</param>
    /// <param name="contents">Makes the contents of buffers.</param>
    public void SetUp(int features, int order0, int order1, byte wrong, byte contents)
    {
        _contents = contents;
        _orders[0] = order0;
        _orders[1] = order1;
        _features = VirtioFeatures.Version1;
        for (int i = 0; i < s_features.Length; i++)
        {
            _features |= (features & (1 << i)) != 0 ? s_features[i] : 0;
        }

        WriteStatus(0);
        _host.Run();
        if (wrong != 1)
        {
            WriteStatus(3);
            ulong accepted = _features | (wrong == 2 ? 0x00FF_0000u : 0);
            for (uint half = 0; half < 2; half++)
            {
                Common(0x08, 4, half);
                Common(0x0C, 4, (uint)(accepted >> (32 * (int)half)));
            }

            WriteStatus(0x0B);
        }

        Common(0x10, 2, wrong == 3 ? 0x55u : 0);
        for (int q = 0; q < Queues; q++)
        {
            SetUpQueue(q, wrong);
        }

        if (wrong != 0)
        {
            _host.Post(PlayedHost.MemoryBytes, ulong.MaxValue - PlayedHost.MemoryBytes);
        }

        WriteStatus((byte)(wrong == 11 ? 0x8F : 0x0F));
        IsSetUp = true;
    }

    /// <summary>Resets a queue (VIRTIO_F_RING_RESET, virtio 1.3, 2.6.1) and, if asked to, enables it again.</summary>
    /// <param name="q">Queue.</param>
    /// <param name="again">What becomes of it: 0 it stays off, 1 it is enabled at once, without waiting for the reset's end, else after that.</param>
    public void ResetQueue(int q, int again)
    {
        Common(0x16, 2, (uint)q);
        Common(0x3A, 2, 1);
        if (again == 1)
        {
            // What is written before the reset has ended may be lost, the addresses with it.
            _host.Post(_base, FunctionBytes);
        }
        else
        {
            _host.Run();
        }

        if (again != 0)
        {
            SetUpQueue(q, 0);
        }
    }

    /// <summary>Says when the driver wants an interrupt of a queue.</summary>
    public void Suppress(int q, ushort flags, ushort at) => _queues[q].Suppress(_host.Memory, flags, at);

    /// <summary>Writes a descriptor into a queue's table or its indirect table.</summary>
    /// <param name="q">Queue.</param>
    /// <param name="index">Its place, modulo the table.</param>
    /// <param name="where">Which memory its address is in: 0 to 2 what is read, 3 to 4 what is written, 5 the indirect table, 6 outside, 7 anywhere.</param>
    /// <param name="offset">Where there.</param>
    /// <param name="length">Length.</param>
    /// <param name="flags">Flags.</param>
    /// <param name="next">Next; of a packed ring the buffer id.</param>
    /// <param name="indirectTable">Whether it goes to the indirect table.</param>
    public void PutDescriptor(int q, ushort index, byte where, uint offset, uint length, DescriptorFlags flags, ushort next, bool indirectTable)
    {
        ulong address = (where & 7) switch
        {
            <= 2 => _base + Readable + (offset & 0x1_FFFF),
            3 or 4 => _base + Writable + (offset & 0x1_FFFF),
            5 => Table(q) + (offset & 0xFF0),
            6 => PlayedHost.MemoryBytes - 64 + (ulong)offset,
            _ => ((ulong)offset << 32) | length,
        };
        ulong at = indirectTable ? Table(q) + ((ulong)(index & 63) * Descriptor.Size) : _queues[q].DescriptorAddress(index);
        _queues[q].PutDescriptor(_host.Memory, at, address, length, flags, next);
        if (_queues[q].IsPacked)
        {
            // As for the buffers of good chains (SetUpQueue).
            _host.Post(address, Math.Max(length, QueueBytes));
        }
        else if ((flags & DescriptorFlags.Write) != 0)
        {
            _host.Post(address, length);
        }
    }

    /// <summary>Puts heads into the available ring and moves its index by so many, or makes so many descriptors available.</summary>
    public void Publish(int q, ushort count, ReadOnlySpan<byte> heads)
    {
        DriverRing queue = _queues[q];
        queue.Publish(_host.Memory, count, heads);
        NotifyAvailable(q);
    }

    public void Notify(ushort queue, uint value) => Write(RegisterMap.Bar.VirtioNotify + ((uint)(queue & 0x3FF) * 4), 4, value);

    /// <summary>Makes a chain in order available: a part that is read, then one that is written.</summary>
    public void GoodChain(int q, uint readable, uint writable)
    {
        DriverRing queue = _queues[q];
        uint offset = (uint)(q * 0x8000) + ((uint)(queue.Available & 3) * 0x2000);
        readable = Math.Max(1, readable);
        _host.Memory.Slice((int)(_base + Readable + offset), (int)readable).Fill(_contents++);
        _host.Post(_base + Writable + offset, writable);
        _ = queue.PutChain(_host.Memory, _base + Readable + offset, readable, _base + Writable + offset, writable);
        NotifyAvailable(q);
    }

    /// <summary>Sends a request of which everything is checked.</summary>
    public void BeginRequest()
    {
        DriverRing queue = _queues[0];
        for (int i = 0; i < GoodLength; i++)
        {
            _good[i] = (byte)((queue.Available * 3) + i);
        }

        int at = (int)(_base + Writable);
        _host.Memory.Slice(at, GoodLength).Clear();
        _host.Permit(Posted);
        _good.CopyTo(_host.Memory[(int)(_base + Readable)..]);
        _request = queue.PutChain(_host.Memory, _base + Readable, GoodLength, _base + Writable, GoodLength);
        NotifyAvailable(0);
    }

    /// <summary>What is wrong with the answer, or null.</summary>
    public string? EndRequest() =>
        !_queues[0].TryTakeUsed(_host.Memory, 2, out uint id, out uint length) ? $"it is not used ({(_queues[0].IsPacked ? "packed" : "split")} ring, features {_features:x})"
        : _queues[0].HasUsed(_host.Memory) ? "more is used than was made available"
        : id != _request || length != GoodLength ? $"the used element is {id}, {length} bytes; expected {_request}, {GoodLength}"
        : !_host.Memory.Slice((int)(_base + Writable), GoodLength).SequenceEqual(_good) ? "the bytes are others than those that were sent"
        : null;

    private void SetUpQueue(int q, byte wrong)
    {
        bool packed = (_features & VirtioFeatures.RingPacked) != 0;
        // A packed ring may have any size (2.8.10.1).
        int size = (1 << (_orders[q] & 0xF)) - (packed ? _orders[q] >> 4 : 0);
        DriverRing queue = _queues[q];
        queue.Start((ushort)size, packed);
        SplitVirtqueue layout = queue.Split;
        _host.Memory.Slice((int)layout.DescriptorTable, (int)QueueBytes).Clear();
        // A size that is refused leaves the greatest one, whose used ring is longer.
        _host.Post(layout.Used, 0x1000);
        if (packed)
        {
            // Its used elements say WRITE and leave the address: a chain of a hostile driver that goes on over them has written what was read.
            _host.Post(layout.DescriptorTable, 0x1000);
            _host.Post(_base + Readable, FunctionBytes - Readable);
        }

        Common(0x16, 2, (uint)q);
        Common(0x18, 2, wrong == 4 ? 3u : queue.Size);
        Common(0x1A, 2, wrong == 5 ? 999u : (uint)q + 1);
        Common(0x20, 4, (uint)layout.DescriptorTable);
        Common(0x24, 4, wrong == 6 ? 0xFFFF_FFFFu : 0);
        Common(0x28, 4, (uint)(wrong == 7 ? PlayedHost.MemoryBytes - 2 : layout.Available));
        Common(0x2C, 4, 0);
        Common(0x30, 4, (uint)(wrong == 8 ? PlayedHost.MemoryBytes + 0x1000 : layout.Used));
        Common(0x34, 4, wrong == 9 ? 1u : 0);
        if (wrong != 10 || q != 0)
        {
            Common(0x1C, 2, 1);
        }
    }

    private void NotifyAvailable(int q)
    {
        bool carriesData = (_features & VirtioFeatures.NotificationData) != 0;
        Notify((ushort)q, (uint)q | (carriesData ? (uint)_queues[q].NextOffset << 16 : 0));
    }

    private ulong Table(int q) => _base + Tables + ((ulong)q * 0x1000);

    private void WriteStatus(byte status) => Common(0x14, 1, status);

    private void Common(uint offset, int size, uint value) => Write(RegisterMap.Bar.VirtioCommon + offset, size, value);
}
