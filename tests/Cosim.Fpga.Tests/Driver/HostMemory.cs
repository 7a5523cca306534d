// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Fpga.Tests.Driver;

/// <summary>A host's memory: two windows, one below and one above 4 GiB, filled with a pattern that shows stray writes.</summary>
internal sealed class HostMemory
{
    public const ulong Low = 0x1000_0000;
    public const ulong High = 0x12_3400_0000;
    public const int WindowBytes = 0x4_0000;

    private readonly byte[] low = new byte[WindowBytes];
    private readonly byte[] high = new byte[WindowBytes];
    private readonly int seed;

    public HostMemory(int seed)
    {
        this.seed = seed;
        Refill();
    }

    /// <summary>Restores the pattern: every byte depends on its address and on the host.</summary>
    public void Refill()
    {
        for (int i = 0; i < WindowBytes; i++)
        {
            low[i] = Pattern(Low + (uint)i);
            high[i] = Pattern(High + (uint)i);
        }
    }

    /// <summary>What a byte reads while nobody has written it.</summary>
    public byte Pattern(ulong address)
    {
        uint x = (uint)(address * 2654435761u) ^ (uint)(seed * 40503);
        return (byte)(x ^ (x >> 8) ^ (x >> 16) ^ (x >> 24));
    }

    public bool TryGet(ulong address, int length, out Span<byte> bytes)
    {
        ulong start = address >= High ? High : Low;
        bytes = default;
        if (address < start || address - start + (ulong)length > WindowBytes)
        {
            return false;
        }

        bytes = (start == High ? high : low).AsSpan((int)(address - start), length);
        return true;
    }

    public Span<byte> this[ulong address, int length] =>
        TryGet(address, length, out Span<byte> bytes) ? bytes : throw new ArgumentOutOfRangeException(nameof(address), $"0x{address:x} + {length} is no memory.");
}
