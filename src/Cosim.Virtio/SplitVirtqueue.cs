// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Cosim.Virtio;

/// <summary>Flags of a descriptor (virtio 1.3, 2.7.5).</summary>
[Flags]
public enum DescriptorFlags : ushort
{
    /// <summary>No flag.</summary>
    None = 0,

    /// <summary>VIRTQ_DESC_F_NEXT: the chain goes on at <see cref="Descriptor.Next"/>.</summary>
    Next = 1,

    /// <summary>VIRTQ_DESC_F_WRITE: device-writable.</summary>
    Write = 2,

    /// <summary>VIRTQ_DESC_F_INDIRECT: the buffer is a table of descriptors.</summary>
    Indirect = 4,
}

/// <summary>One entry of a descriptor table (<c>struct virtq_desc</c>, virtio 1.3, 2.7.5): 16 bytes.</summary>
/// <param name="Address">Address of the buffer.</param>
/// <param name="Length">Its length in bytes.</param>
/// <param name="Flags">Flags.</param>
/// <param name="Next">Index of the next descriptor, if <see cref="DescriptorFlags.Next"/> is set.</param>
public readonly record struct Descriptor(ulong Address, uint Length, DescriptorFlags Flags, ushort Next)
{
    /// <summary>Size of an entry in bytes.</summary>
    public const int Size = 16;

    /// <summary>Reads an entry from its first 16 bytes.</summary>
    public static Descriptor Read(ReadOnlySpan<byte> source) => new(
        BinaryPrimitives.ReadUInt64LittleEndian(source),
        BinaryPrimitives.ReadUInt32LittleEndian(source[8..]),
        (DescriptorFlags)BinaryPrimitives.ReadUInt16LittleEndian(source[12..]),
        BinaryPrimitives.ReadUInt16LittleEndian(source[14..]));

    /// <summary>Writes the entry's 16 bytes.</summary>
    public void Write(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(destination, Address);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[8..], Length);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[12..], (ushort)Flags);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[14..], Next);
    }
}

/// <summary>Places of a split virtqueue's fields (virtio 1.3, 2.7).</summary>
/// <param name="Size">Number of descriptors, a power of two up to 32768.</param>
/// <param name="DescriptorTable">Address of the descriptor table.</param>
/// <param name="Available">Address of the available ring (driver area).</param>
/// <param name="Used">Address of the used ring (device area).</param>
public readonly record struct SplitVirtqueue(ushort Size, ulong DescriptorTable, ulong Available, ulong Used)
{
    /// <summary>VIRTQ_AVAIL_F_NO_INTERRUPT.</summary>
    public const ushort AvailableNoInterrupt = 1;

    /// <summary>VIRTQ_USED_F_NO_NOTIFY.</summary>
    public const ushort UsedNoNotify = 1;

    /// <summary>Bytes of a descriptor table of <paramref name="size"/> entries.</summary>
    public static int DescriptorTableBytes(int size) => Descriptor.Size * size;

    /// <summary>Bytes of an available ring with its <c>used_event</c>.</summary>
    public static int AvailableBytes(int size) => 6 + (2 * size);

    /// <summary>Bytes of a used ring with its <c>avail_event</c>.</summary>
    public static int UsedBytes(int size) => 6 + (8 * size);

    /// <summary>Address of descriptor <paramref name="index"/>.</summary>
    public ulong DescriptorAddress(ushort index) => DescriptorTable + ((ulong)index * Descriptor.Size);

    /// <summary>Address of the available ring's <c>idx</c>.</summary>
    public ulong AvailableIndex => Available + 2;

    /// <summary>Address of the entry that the free-running index <paramref name="index"/> names.</summary>
    public ulong AvailableEntry(ushort index) => Available + 4 + (2UL * (ushort)(index & (Size - 1)));

    /// <summary>Address of <c>used_event</c>, behind the available ring.</summary>
    public ulong UsedEvent => Available + 4 + (2UL * Size);

    /// <summary>Address of the used ring's <c>idx</c>.</summary>
    public ulong UsedIndex => Used + 2;

    /// <summary>Address of the element that the free-running index <paramref name="index"/> names.</summary>
    public ulong UsedElement(ushort index) => Used + 4 + (8UL * (ushort)(index & (Size - 1)));

    /// <summary>Address of <c>avail_event</c>, behind the used ring.</summary>
    public ulong AvailableEvent => Used + 4 + (8UL * Size);

    /// <summary>
    /// Whether moving an index from <paramref name="old"/> to <paramref name="current"/> passes the event index that the other
    /// side asked to be told at (virtio 1.3, 2.7.10).
    /// </summary>
    public static bool PassesEvent(ushort eventIndex, ushort current, ushort old) =>
        (ushort)(current - eventIndex - 1) < (ushort)(current - old);
}
