// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Pcie;

namespace Cosim.Scheduling.Generation;

/// <summary>What the FPGA may do with a byte of a host's memory.</summary>
internal enum Access : byte
{
    /// <summary>Nothing: a guard.</summary>
    Nothing,

    /// <summary>Read it.</summary>
    Read,

    /// <summary>Write it, once.</summary>
    WriteOnce,

    /// <summary>Read and write it.</summary>
    Any,
}

/// <summary>
/// A host's whole memory as it has to be. Every byte begins as a guard with a pattern; each access of the FPGA is held against what is allowed at that
/// time, and at the end every byte against what was put there or checked.
/// </summary>
internal sealed class HostImage
{
    private readonly SteppedBridge _bridge;
    private readonly int _port;
    private readonly ulong _base;
    private readonly byte[] _expected;
    private readonly Access[] _access;
    private readonly byte[] _writes;

    public HostImage(SteppedBridge bridge, int port, ulong baseAddress, ulong seed)
    {
        _bridge = bridge;
        _port = port;
        _base = baseAddress;
        Mix.Fill(Bytes, seed);
        _expected = Bytes.ToArray();
        _access = new Access[_expected.Length];
        _writes = new byte[_expected.Length];
    }

    /// <summary>The memory.</summary>
    public Span<byte> Bytes => _bridge.Memory(_port);

    /// <summary>Address of the first byte behind the memory.</summary>
    public ulong End => _base + (ulong)_expected.Length;

    /// <summary>Address of an offset.</summary>
    public ulong Address(uint offset) => _base + offset;

    /// <summary>Bytes at an address.</summary>
    public Span<byte> At(ulong address, int length) => Bytes.Slice((int)(address - _base), length);

    /// <summary>The host writes.</summary>
    public void Put(ulong address, ReadOnlySpan<byte> data)
    {
        data.CopyTo(At(address, data.Length));
        data.CopyTo(_expected.AsSpan((int)(address - _base)));
    }

    /// <summary>The host writes 16 bits.</summary>
    public void Put(ulong address, ushort value)
    {
        Span<byte> data = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(data, value);
        Put(address, data);
    }

    /// <summary>The host reads 16 bits.</summary>
    public ushort Get16(ulong address) => BinaryPrimitives.ReadUInt16LittleEndian(At(address, 2));

    /// <summary>The host reads 32 bits.</summary>
    public uint Get32(ulong address) => BinaryPrimitives.ReadUInt32LittleEndian(At(address, 4));

    /// <summary>Says what the FPGA may do with a range from now on.</summary>
    public void Allow(ulong address, uint length, Access access)
    {
        int from = (int)(address - _base);
        _access.AsSpan(from, (int)length).Fill(access);
        _writes.AsSpan(from, (int)length).Clear();
    }

    /// <summary>What is in a range is as it has to be.</summary>
    public void Accept(ulong address, uint length) => At(address, (int)length).CopyTo(_expected.AsSpan((int)(address - _base)));

    /// <summary>Takes all of a range of memory from the FPGA; what it was still writing may stand there.</summary>
    public void Withdraw(uint offset, uint length)
    {
        for (int i = (int)offset; i < offset + length; i++)
        {
            if (_access[i] >= Access.WriteOnce)
            {
                _expected[i] = Bytes[i];
            }
        }

        _access.AsSpan((int)offset, (int)length).Clear();
        _writes.AsSpan((int)offset, (int)length).Clear();
    }

    /// <summary>Checks that each byte of a range was written exactly so often.</summary>
    /// <returns>What is wrong, or null.</returns>
    public string? CheckWrites(ulong address, uint length, int times)
    {
        int from = (int)(address - _base);
        for (int i = 0; i < length; i++)
        {
            if (_writes[from + i] != times)
            {
                return $"byte 0x{address + (uint)i:x} was written {_writes[from + i]} times; expected {times}";
            }
        }

        return null;
    }

    /// <summary>Holds a request of the FPGA against what is allowed.</summary>
    /// <returns>What is wrong, or null.</returns>
    public string? Check(in Tlp request)
    {
        ulong address = request.ByteAddress;
        int length = request.RequestBytes;
        if (request.FirstByteEnables == 0 && request.LengthDwords == 1)
        {
            return null;
        }

        bool write = request.Type == TlpType.MWr;
        if (address < _base || address + (uint)length > End)
        {
            return $"{TlpFormatter.Format(request)}: outside memory";
        }

        // The FPGA's byte enables are contiguous: a copy has no holes.
        int from = (int)(address - _base);
        for (int i = from; i < from + length; i++)
        {
            bool allowed = write ? _access[i] >= Access.WriteOnce : _access[i] is Access.Read or Access.Any;
            if (!allowed)
            {
                return $"{TlpFormatter.Format(request)}: byte 0x{_base + (uint)i:x} is none that may be {(write ? "written" : "read")}";
            }

            if (write && _writes[i]++ != 0 && _access[i] == Access.WriteOnce)
            {
                return $"{TlpFormatter.Format(request)}: byte 0x{_base + (uint)i:x} is written again";
            }
        }

        return null;
    }

    /// <summary>Holds the whole memory against what it has to be.</summary>
    /// <param name="except">A range that is not compared.</param>
    /// <returns>What is wrong, or null.</returns>
    public string? Compare(Range except)
    {
        (int skip, int length) = except.GetOffsetAndLength(_expected.Length);
        return Differ(0, skip) ?? Differ(skip + length, _expected.Length);
    }

    private string? Differ(int from, int to)
    {
        int at = Bytes[from..to].CommonPrefixLength(_expected.AsSpan(from, to - from));
        return at == to - from
            ? null
            : $"byte 0x{_base + (uint)(from + at):x} of host {_port + 1} is 0x{Bytes[from + at]:x2}; expected 0x{_expected[from + at]:x2}";
    }
}
