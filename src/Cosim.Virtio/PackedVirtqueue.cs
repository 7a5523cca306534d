// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Cosim.Virtio;

/// <summary>One entry of a packed virtqueue's descriptor ring (<c>struct pvirtq_desc</c>, virtio 1.3, 2.8.13): 16 bytes.</summary>
/// <param name="Address">Address of the buffer; of no meaning in a used descriptor.</param>
/// <param name="Length">Its length in bytes; in a used descriptor the bytes written.</param>
/// <param name="Id">Buffer id.</param>
/// <param name="Flags">Flags, with <see cref="PackedVirtqueue.Available"/> and <see cref="PackedVirtqueue.Used"/>.</param>
public readonly record struct PackedDescriptor(ulong Address, uint Length, ushort Id, DescriptorFlags Flags)
{
    /// <summary>Size of an entry in bytes.</summary>
    public const int Size = 16;

    /// <summary>Offset of what a used descriptor consists of: length, id and flags, 8 bytes that are written at once.</summary>
    public const int UsedOffset = 8;

    /// <summary>Reads an entry from its first 16 bytes.</summary>
    public static PackedDescriptor Read(ReadOnlySpan<byte> source) => new(
        BinaryPrimitives.ReadUInt64LittleEndian(source),
        BinaryPrimitives.ReadUInt32LittleEndian(source[8..]),
        BinaryPrimitives.ReadUInt16LittleEndian(source[12..]),
        (DescriptorFlags)BinaryPrimitives.ReadUInt16LittleEndian(source[14..]));

    /// <summary>Writes the entry's 16 bytes.</summary>
    public void Write(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(destination, Address);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[8..], Length);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[12..], Id);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[14..], (ushort)Flags);
    }
}

/// <summary>A place in a packed virtqueue's descriptor ring with its wrap counter (virtio 1.3, 2.8.1).</summary>
/// <param name="Index">Index of the descriptor.</param>
/// <param name="Wrap">Ring wrap counter; 1 at first.</param>
public readonly record struct PackedPosition(ushort Index, bool Wrap)
{
    /// <summary>Where both sides begin.</summary>
    public static PackedPosition Start => new(0, true);

    /// <summary>As event suppression structures and notification data carry it: index in 14:0, wrap counter in 15 (2.8.14, 2.9).</summary>
    public ushort Raw => (ushort)(Index | (Wrap ? 0x8000 : 0));

    /// <summary>The position that <see cref="Raw"/> stands for.</summary>
    public static PackedPosition FromRaw(ushort raw) => new((ushort)(raw & 0x7FFF), (raw & 0x8000) != 0);

    /// <summary>The position <paramref name="count"/> descriptors on in a ring of <paramref name="size"/>.</summary>
    /// <param name="count">0 to <paramref name="size"/>.</param>
    /// <param name="size">Queue size.</param>
    public PackedPosition Advance(int count, int size)
    {
        int index = Index + count;
        return index < size ? new((ushort)index, Wrap) : new((ushort)(index - size), !Wrap);
    }

    /// <summary>Descriptors from here to <paramref name="other"/>, or -1 where that is no position at most one lap ahead.</summary>
    public int DistanceTo(PackedPosition other, int size)
    {
        int distance = other.Index - Index + (other.Wrap == Wrap ? 0 : size);
        return other.Index < size && distance >= 0 && distance <= size ? distance : -1;
    }

    /// <summary>
    /// Whether a side that has come to here by its last <paramref name="count"/> descriptors has passed the one at which the other side asked to be
    /// told (2.8.10 and 2.8.14).
    /// </summary>
    public bool PassesEvent(ushort raw, int count, int size)
    {
        PackedPosition asked = FromRaw(raw);
        ushort place = (ushort)(asked.Wrap == Wrap ? asked.Index : asked.Index - size);
        return (ushort)(Index - place - 1) < (ushort)count;
    }
}

/// <summary>Places of a packed virtqueue's parts (virtio 1.3, 2.8).</summary>
/// <param name="Size">Number of descriptors, 1 to 32768.</param>
/// <param name="DescriptorRing">Address of the descriptor ring.</param>
/// <param name="DriverEvent">Address of the driver event suppression structure (driver area), 4 bytes.</param>
/// <param name="DeviceEvent">Address of the device event suppression structure (device area), 4 bytes.</param>
public readonly record struct PackedVirtqueue(ushort Size, ulong DescriptorRing, ulong DriverEvent, ulong DeviceEvent)
{
    /// <summary>VIRTQ_DESC_F_AVAIL (bit 7).</summary>
    public const DescriptorFlags Available = (DescriptorFlags)(1 << 7);

    /// <summary>VIRTQ_DESC_F_USED (bit 15).</summary>
    public const DescriptorFlags Used = (DescriptorFlags)(1 << 15);

    /// <summary>RING_EVENT_FLAGS_ENABLE.</summary>
    public const ushort EventEnable = 0;

    /// <summary>RING_EVENT_FLAGS_DISABLE.</summary>
    public const ushort EventDisable = 1;

    /// <summary>RING_EVENT_FLAGS_DESC: at one descriptor only; with VIRTIO_F_EVENT_IDX.</summary>
    public const ushort EventDescriptor = 2;

    /// <summary>Bytes of an event suppression structure.</summary>
    public const int EventBytes = 4;

    /// <summary>Address of descriptor <paramref name="index"/>.</summary>
    public ulong DescriptorAddress(int index) => DescriptorRing + ((ulong)index * PackedDescriptor.Size);

    /// <summary>The two bits that make a descriptor available in the lap of <paramref name="wrap"/> (2.8.1).</summary>
    public static DescriptorFlags AvailableFlags(bool wrap) => wrap ? Available : Used;

    /// <summary>The two bits that make a descriptor used in the lap of <paramref name="wrap"/>.</summary>
    public static DescriptorFlags UsedFlags(bool wrap) => wrap ? Available | Used : DescriptorFlags.None;

    /// <summary>Whether flags say that a descriptor is available in the lap of <paramref name="wrap"/>.</summary>
    public static bool IsAvailable(DescriptorFlags flags, bool wrap) => (flags & (Available | Used)) == AvailableFlags(wrap);

    /// <summary>Whether flags say that a descriptor is used in the lap of <paramref name="wrap"/>.</summary>
    public static bool IsUsed(DescriptorFlags flags, bool wrap) => (flags & (Available | Used)) == UsedFlags(wrap);
}
