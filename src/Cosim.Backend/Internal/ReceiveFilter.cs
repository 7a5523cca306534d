// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Cosim.Backend.Internal;

/// <summary>Which received frames the driver wants (virtio 1.3, 5.1.6.5.1 to 5.1.6.5.3).</summary>
/// <remarks>Promiscuous until the driver says otherwise, with <see cref="Promiscuous"/>.</remarks>
internal sealed class ReceiveFilter
{
    /// <summary>Addresses kept of each kind; with more of a kind, all of the kind pass.</summary>
    internal const int TableSize = 64;

    /// <summary>VLAN identifiers (IEEE 802.1Q).</summary>
    internal const int Vlans = 4096;

    private const int AddressSize = 6;
    private const ushort VlanTag = 0x8100;
    private const ulong Broadcast = 0xFFFF_FFFF_FFFF;

    private readonly ulong[] _unicast = new ulong[TableSize];
    private readonly ulong[] _multicast = new ulong[TableSize];
    private readonly ulong[] _vlans = new ulong[Vlans / 64];
    private int _unicastCount;
    private int _multicastCount;
    private bool _filtersVlans;
    private ulong _address;

    internal bool Promiscuous { get; set; }

    internal bool AllMulticast { get; set; }

    internal bool AllUnicast { get; set; }

    internal bool NoMulticast { get; set; }

    internal bool NoUnicast { get; set; }

    internal bool NoBroadcast { get; set; }

    /// <summary>Back to the state after a reset.</summary>
    /// <param name="address">The card's own address.</param>
    /// <param name="filtersVlans">VIRTIO_NET_F_CTRL_VLAN is negotiated.</param>
    internal void Reset(ReadOnlySpan<byte> address, bool filtersVlans)
    {
        SetAddress(address);
        Promiscuous = true;
        AllMulticast = AllUnicast = NoMulticast = NoUnicast = NoBroadcast = false;
        _unicastCount = _multicastCount = 0;
        _vlans.AsSpan().Clear();
        _filtersVlans = filtersVlans;
    }

    internal void SetAddress(ReadOnlySpan<byte> address) => _address = Address(address);

    /// <summary>Replaces the table of one kind; <paramref name="count"/> says how many there are, <paramref name="addresses"/> has as many as are kept.</summary>
    internal void SetTable(bool multicast, uint count, ReadOnlySpan<byte> addresses)
    {
        ulong[] table = multicast ? _multicast : _unicast;
        for (int index = 0; (index + 1) * AddressSize <= addresses.Length; index++)
        {
            table[index] = Address(addresses[(index * AddressSize)..]);
        }

        int kept = (int)Math.Min(count, TableSize + 1u);
        if (multicast)
        {
            _multicastCount = kept;
        }
        else
        {
            _unicastCount = kept;
        }
    }

    internal void SetVlan(ushort identifier, bool wanted)
    {
        ulong bit = 1UL << (identifier & 63);
        ref ulong word = ref _vlans[identifier / 64];
        word = wanted ? word | bit : word & ~bit;
    }

    /// <summary>Writes modes, tables and VLANs; not the card's own address.</summary>
    internal void Save(BinaryWriter to)
    {
        to.Write((byte)((Promiscuous ? 1 : 0) | (AllMulticast ? 2 : 0) | (AllUnicast ? 4 : 0) | (NoMulticast ? 8 : 0) | (NoUnicast ? 16 : 0) | (NoBroadcast ? 32 : 0)));
        SaveTable(to, _unicast, _unicastCount);
        SaveTable(to, _multicast, _multicastCount);
        to.Write((byte)_vlans.Count(word => word != 0));
        for (int index = 0; index < _vlans.Length; index++)
        {
            if (_vlans[index] != 0)
            {
                to.Write((byte)index);
                to.Write(_vlans[index]);
            }
        }
    }

    /// <summary>Takes what <see cref="Save"/> wrote; the address and whether VLANs are filtered stay.</summary>
    /// <returns>False if it is not that; then part of it may have been taken.</returns>
    internal bool TryRestore(ref StateReader from)
    {
        byte modes = from.Byte();
        Promiscuous = (modes & 1) != 0;
        AllMulticast = (modes & 2) != 0;
        AllUnicast = (modes & 4) != 0;
        NoMulticast = (modes & 8) != 0;
        NoUnicast = (modes & 16) != 0;
        NoBroadcast = (modes & 32) != 0;
        if (modes >= 64 || !TryRestoreTable(ref from, multicast: false) || !TryRestoreTable(ref from, multicast: true))
        {
            return false;
        }

        _vlans.AsSpan().Clear();
        for (int words = from.Byte(); words > 0; words--)
        {
            byte index = from.Byte();
            if (index >= _vlans.Length)
            {
                return false;
            }

            _vlans[index] = from.U64();
        }

        return !from.IsShort;
    }

    /// <summary>Whether the driver wants a frame of at least an Ethernet header.</summary>
    internal bool Accepts(ReadOnlySpan<byte> frame)
    {
        if (Promiscuous)
        {
            return true;
        }

        if (_filtersVlans && BinaryPrimitives.ReadUInt16BigEndian(frame[12..]) == VlanTag)
        {
            int identifier = frame.Length < 16 ? 0 : BinaryPrimitives.ReadUInt16BigEndian(frame[14..]) & (Vlans - 1);
            if ((_vlans[identifier / 64] & (1UL << (identifier & 63))) == 0)
            {
                return false;
            }
        }

        ulong destination = Address(frame);
        if (destination == Broadcast)
        {
            return !NoBroadcast;
        }

        return (frame[0] & 1) != 0
            ? !NoMulticast && (AllMulticast || Holds(_multicast, _multicastCount, destination))
            : !NoUnicast && (AllUnicast || destination == _address || Holds(_unicast, _unicastCount, destination));
    }

    private static void SaveTable(BinaryWriter to, ulong[] table, int count)
    {
        to.Write((byte)count);
        foreach (ulong address in table.AsSpan(0, Math.Min(count, TableSize)))
        {
            to.Write((ushort)(address >> 32));
            to.Write((uint)address);
        }
    }

    private bool TryRestoreTable(ref StateReader from, bool multicast)
    {
        int count = from.Byte();
        if (count > TableSize + 1)
        {
            return false;
        }

        ulong[] table = multicast ? _multicast : _unicast;
        for (int index = 0; index < Math.Min(count, TableSize); index++)
        {
            table[index] = ((ulong)from.U16() << 32) | BinaryPrimitives.ReadUInt32LittleEndian(from.Bytes(4));
        }

        if (multicast)
        {
            _multicastCount = count;
        }
        else
        {
            _unicastCount = count;
        }

        return true;
    }

    private static bool Holds(ulong[] table, int count, ulong address) =>
        count > TableSize || table.AsSpan(0, count).Contains(address);

    private static ulong Address(ReadOnlySpan<byte> bytes) =>
        ((ulong)BinaryPrimitives.ReadUInt16BigEndian(bytes) << 32) | BinaryPrimitives.ReadUInt32BigEndian(bytes[2..]);
}
