// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Backend;

/// <summary>Memory lent to the FPGA, contiguous in IOVA. Owned by its <see cref="IEndpoint"/>.</summary>
public sealed unsafe class Pool
{
    private readonly byte* _address;

    /// <summary>Names mapped memory.</summary>
    /// <param name="address">Where this process sees it.</param>
    /// <param name="iova">Where the FPGA sees it; 4 KiB aligned.</param>
    /// <param name="size">Bytes.</param>
    public Pool(byte* address, ulong iova, ulong size)
    {
        _address = address;
        Iova = iova;
        Size = size;
    }

    /// <summary>First address as the FPGA sees it.</summary>
    public ulong Iova { get; }

    /// <summary>Bytes.</summary>
    public ulong Size { get; }

    /// <summary>Where this process sees a range of the FPGA's addresses.</summary>
    /// <returns>False when part of the range lies outside the pool.</returns>
    public bool TryTranslate(ulong iova, ulong length, out byte* address)
    {
        ulong offset = unchecked(iova - Iova);
        bool inside = iova >= Iova && length <= Size && offset <= Size - length;
        address = inside ? _address + offset : null;
        return inside;
    }
}
