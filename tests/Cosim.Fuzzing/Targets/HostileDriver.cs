// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
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

    private readonly PlayedHost _host;
    private readonly int _function;
    private readonly uint _bar;
    private readonly ulong _base;
    private readonly SplitVirtqueue[] _queues = new SplitVirtqueue[Queues];
    private readonly ushort[] _available = new ushort[Queues];
    private readonly byte[] _good = new byte[GoodLength];
    private readonly uint[] _vectors = new uint[4 * (Queues + 1)];
    private bool _knowsVectors;
    private ushort _used;
    private byte _contents;

    public HostileDriver(PlayedHost host, int function)
    {
        _host = host;
        _function = function;
        _bar = PlayedHost.FirstBar + ((uint)function * 0x1_0000);
        _base = (ulong)function * FunctionBytes;
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
    /// <param name="features">Bit 0 EVENT_IDX, bit 1 indirect descriptors.</param>
    /// <param name="order0">Size of queue 0 as a power of two.</param>
    /// <param name="order1">Size of queue 1.</param>
    /// <param name="wrong">What is wrong with the set-up; 0: nothing.</param>
    /// <param name="contents">Makes the contents of buffers.</param>
    public void SetUp(int features, int order0, int order1, byte wrong, byte contents)
    {
        _contents = contents;
        WriteStatus(0);
        _host.Run();
        if (wrong != 1)
        {
            WriteStatus(3);
            ulong accepted = VirtioFeatures.Version1 | ((features & 1) != 0 ? VirtioFeatures.RingEventIdx : 0) | ((features & 2) != 0 ? VirtioFeatures.RingIndirectDesc : 0)
                | (wrong == 2 ? 0x00FF_0000u : 0);
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
            int order = q == 0 ? order0 : order1;
            ulong ring = _base + ((ulong)q * QueueBytes);
            SplitVirtqueue queue = new((ushort)(1 << order), ring, ring + 0x2000, ring + 0x3000);
            _queues[q] = queue;
            _available[q] = 0;
            _host.Memory.Slice((int)ring, (int)QueueBytes).Clear();
            // A size that is refused leaves the greatest one, whose used ring is longer.
            _host.Post(queue.Used, 0x1000);
            Common(0x16, 2, (uint)q);
            Common(0x18, 2, wrong == 4 ? 3u : queue.Size);
            Common(0x1A, 2, wrong == 5 ? 999u : (uint)q + 1);
            Common(0x20, 4, (uint)queue.DescriptorTable);
            Common(0x24, 4, wrong == 6 ? 0xFFFF_FFFFu : 0);
            Common(0x28, 4, (uint)(wrong == 7 ? PlayedHost.MemoryBytes - 2 : queue.Available));
            Common(0x2C, 4, 0);
            Common(0x30, 4, (uint)(wrong == 8 ? PlayedHost.MemoryBytes + 0x1000 : queue.Used));
            Common(0x34, 4, wrong == 9 ? 1u : 0);
            if (wrong != 10 || q != 0)
            {
                Common(0x1C, 2, 1);
            }
        }

        if (wrong != 0)
        {
            _host.Post(PlayedHost.MemoryBytes, ulong.MaxValue - PlayedHost.MemoryBytes);
        }

        _used = 0;
        WriteStatus((byte)(wrong == 11 ? 0x8F : 0x0F));
        IsSetUp = true;
    }

    /// <summary>Writes a descriptor into a queue's table or its indirect table.</summary>
    /// <param name="q">Queue.</param>
    /// <param name="index">Its place, modulo the table.</param>
    /// <param name="where">Which memory its address is in: 0 to 2 what is read, 3 to 4 what is written, 5 the indirect table, 6 outside, 7 anywhere.</param>
    /// <param name="offset">Where there.</param>
    /// <param name="length">Length.</param>
    /// <param name="flags">Flags.</param>
    /// <param name="next">Next.</param>
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
        ulong at = indirectTable ? Table(q) + ((ulong)(index & 63) * Descriptor.Size) : _queues[q].DescriptorAddress((ushort)(index & (_queues[q].Size - 1)));
        new Descriptor(address, length, flags, next).Write(_host.Memory[(int)at..]);
        if ((flags & DescriptorFlags.Write) != 0)
        {
            _host.Post(address, length);
        }
    }

    /// <summary>Puts heads into the available ring and moves its index by so many.</summary>
    public void Publish(int q, ushort count, ReadOnlySpan<byte> heads)
    {
        SplitVirtqueue queue = _queues[q];
        for (int i = 0; i + 2 <= heads.Length && i / 2 < queue.Size; i += 2)
        {
            heads.Slice(i, 2).CopyTo(_host.Memory[(int)queue.AvailableEntry((ushort)(_available[q] + (i / 2)))..]);
        }

        _available[q] += count;
        BinaryPrimitives.WriteUInt16LittleEndian(_host.Memory[(int)queue.AvailableIndex..], _available[q]);
        Notify((ushort)q, (uint)q);
    }

    public void Notify(ushort queue, uint value) => Write(RegisterMap.Bar.VirtioNotify + ((uint)(queue & 0x3FF) * 4), 4, value);

    /// <summary>Makes a chain in order available: a part that is read, then one that is written.</summary>
    public void GoodChain(int q, uint readable, uint writable)
    {
        SplitVirtqueue queue = _queues[q];
        ushort head = (ushort)(2 * (_available[q] & ((queue.Size / 2) - 1)));
        uint offset = (uint)(q * 0x8000) + ((uint)(_available[q] & 3) * 0x2000);
        readable = Math.Max(1, readable);
        _host.Memory.Slice((int)(_base + Readable + offset), (int)readable).Fill(_contents++);
        PutDescriptor(q, head, 0, offset, readable, writable > 0 ? DescriptorFlags.Next : DescriptorFlags.None, (ushort)(head + 1), indirectTable: false);
        if (writable > 0)
        {
            PutDescriptor(q, (ushort)(head + 1), 3, offset, writable, DescriptorFlags.Write, 0, indirectTable: false);
        }

        Span<byte> heads = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(heads, head);
        Publish(q, 1, heads);
    }

    /// <summary>Sends a request of which everything is checked.</summary>
    public void BeginRequest()
    {
        for (int i = 0; i < GoodLength; i++)
        {
            _good[i] = (byte)((_available[0] * 3) + i);
        }

        int at = (int)(_base + Writable);
        _host.Memory.Slice(at, GoodLength).Clear();
        _host.Permit(Posted);
        PutDescriptor(0, 0, 0, 0, GoodLength, DescriptorFlags.Next, 1, indirectTable: false);
        PutDescriptor(0, 1, 3, 0, GoodLength, DescriptorFlags.Write, 0, indirectTable: false);
        _good.CopyTo(_host.Memory[(int)(_base + Readable)..]);
        Publish(0, 1, [0, 0]);
    }

    /// <summary>What is wrong with the answer, or null.</summary>
    public string? EndRequest()
    {
        SplitVirtqueue queue = _queues[0];
        ushort index = BinaryPrimitives.ReadUInt16LittleEndian(_host.Memory[(int)queue.UsedIndex..]);
        if (index != (ushort)(_used + 1))
        {
            return $"used.idx is {index}, expected {(ushort)(_used + 1)}";
        }

        Span<byte> element = _host.Memory.Slice((int)queue.UsedElement(_used), 8);
        _used++;
        uint id = BinaryPrimitives.ReadUInt32LittleEndian(element);
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(element[4..]);
        return id != 0 || length != GoodLength ? $"the used element is {id}, {length} bytes; expected 0, {GoodLength}"
            : !_host.Memory.Slice((int)(_base + Writable), GoodLength).SequenceEqual(_good) ? "the bytes are others than those that were sent"
            : null;
    }

    private ulong Table(int q) => _base + Tables + ((ulong)q * 0x1000);

    private void WriteStatus(byte status) => Common(0x14, 1, status);

    private void Common(uint offset, int size, uint value) => Write(RegisterMap.Bar.VirtioCommon + offset, size, value);
}
