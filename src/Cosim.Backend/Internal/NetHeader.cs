// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Cosim.Backend.Internal;

/// <summary>
/// struct virtio_net_hdr (virtio 1.3, 5.1.6), which a TAP with IFF_VNET_HDR speaks too. What comes from either side is checked before the other sees it.
/// </summary>
internal struct NetHeader
{
    /// <summary>Bytes with num_buffers, which VERSION_1 always has.</summary>
    internal const int Size = 12;

    /// <summary>VIRTIO_NET_HDR_F_NEEDS_CSUM.</summary>
    internal const byte NeedsCsum = 1;

    /// <summary>VIRTIO_NET_HDR_F_DATA_VALID.</summary>
    internal const byte DataValid = 2;

    /// <summary>VIRTIO_NET_HDR_GSO_NONE.</summary>
    internal const byte GsoNone = 0;

    private const byte GsoTcpV4 = 1; // VIRTIO_NET_HDR_GSO_TCPV4
    private const byte GsoUdp = 3; // VIRTIO_NET_HDR_GSO_UDP
    private const byte GsoTcpV6 = 4; // VIRTIO_NET_HDR_GSO_TCPV6
    private const byte GsoUdpL4 = 5; // VIRTIO_NET_HDR_GSO_UDP_L4
    private const byte GsoEcn = 0x80; // VIRTIO_NET_HDR_GSO_ECN

    internal byte Flags;
    internal byte GsoType;
    internal ushort HeaderLength;
    internal ushort GsoSize;
    internal ushort ChecksumStart;
    internal ushort ChecksumOffset;

    internal static NetHeader Read(ReadOnlySpan<byte> bytes) => new()
    {
        Flags = bytes[0],
        GsoType = bytes[1],
        HeaderLength = BinaryPrimitives.ReadUInt16LittleEndian(bytes[2..]),
        GsoSize = BinaryPrimitives.ReadUInt16LittleEndian(bytes[4..]),
        ChecksumStart = BinaryPrimitives.ReadUInt16LittleEndian(bytes[6..]),
        ChecksumOffset = BinaryPrimitives.ReadUInt16LittleEndian(bytes[8..]),
    };

    internal readonly void Write(Span<byte> bytes, ushort buffers)
    {
        bytes[0] = Flags;
        bytes[1] = GsoType;
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[2..], HeaderLength);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[4..], GsoSize);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[6..], ChecksumStart);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[8..], ChecksumOffset);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[10..], buffers);
    }

    /// <summary>Prepares a header of the driver's for the TAP (5.1.6.2.2): what was not negotiated is ignored.</summary>
    /// <param name="features">Negotiated.</param>
    /// <param name="length">Bytes of the frame.</param>
    /// <returns>False when the frame cannot be sent as the header says.</returns>
    internal bool PrepareToSend(ulong features, int length)
    {
        Flags &= (features & NetFeatures.Csum) != 0 ? NeedsCsum : (byte)0;
        if (Flags == 0)
        {
            ChecksumStart = ChecksumOffset = 0;
        }
        else if (!ChecksumIsInside(length))
        {
            return false;
        }

        if ((GsoType & ~GsoEcn) == GsoNone)
        {
            GsoType = GsoNone;
            GsoSize = HeaderLength = 0;
            return true;
        }

        // The driver's hdr_len is a hint that may be wrong; Linux refuses one that is beyond the frame.
        HeaderLength = (ushort)Math.Min(HeaderLength, length);
        ulong needed = (GsoType & ~GsoEcn) switch
        {
            GsoTcpV4 => NetFeatures.HostTso4,
            GsoTcpV6 => NetFeatures.HostTso6,
            GsoUdp => NetFeatures.HostUfo,
            GsoUdpL4 => NetFeatures.HostUso,
            _ => 0,
        };
        return IsSegmentation(features, needed, NetFeatures.HostEcn);
    }

    /// <summary>Prepares a header of the TAP's for the driver (5.1.6.4.1): a checksum that the driver does not take incomplete is completed.</summary>
    /// <param name="offloads">Guest offloads that are on.</param>
    /// <param name="frame">The frame behind the header.</param>
    /// <returns>False when the driver cannot be given the frame.</returns>
    internal bool PrepareToDeliver(ulong offloads, Span<byte> frame)
    {
        if ((Flags & NeedsCsum) != 0 && !ChecksumIsInside(frame.Length))
        {
            return false;
        }

        if ((GsoType & ~GsoEcn) == GsoNone)
        {
            if ((offloads & NetFeatures.GuestCsum) == 0 && (Flags & NeedsCsum) != 0)
            {
                CompleteChecksum(frame);
            }

            // Where the driver takes segments, hdr_len is to cover the headers of any frame.
            GsoType = GsoNone;
            GsoSize = 0;
            HeaderLength = (offloads & NetFeatures.GuestSegmentation) != 0 ? (ushort)Math.Min(frame.Length, ushort.MaxValue) : (ushort)0;
        }
        else
        {
            ulong needed = (GsoType & ~GsoEcn) switch
            {
                GsoTcpV4 => NetFeatures.GuestTso4,
                GsoTcpV6 => NetFeatures.GuestTso6,
                GsoUdp => NetFeatures.GuestUfo,
                GsoUdpL4 => NetFeatures.GuestUso4 | NetFeatures.GuestUso6,
                _ => 0,
            };
            if ((offloads & NetFeatures.GuestCsum) == 0 || !IsSegmentation(offloads, needed, NetFeatures.GuestEcn))
            {
                return false;
            }
        }

        Flags &= (offloads & NetFeatures.GuestCsum) != 0 ? (byte)(NeedsCsum | DataValid) : (byte)0;
        if ((Flags & NeedsCsum) == 0)
        {
            ChecksumStart = ChecksumOffset = 0;
        }

        return true;
    }

    private readonly bool ChecksumIsInside(int length) => ChecksumStart + ChecksumOffset + 2 <= length;

    private readonly bool IsSegmentation(ulong features, ulong needed, ulong ecn) =>
        (features & needed) != 0
        && (Flags & NeedsCsum) != 0
        && GsoSize != 0
        && ((GsoType & GsoEcn) == 0 || ((features & ecn) != 0 && (GsoType & ~GsoEcn) is GsoTcpV4 or GsoTcpV6));

    private readonly void CompleteChecksum(Span<byte> frame)
    {
        // The field holds the pseudo header's sum, so that summing it with the rest gives all of it.
        ReadOnlySpan<byte> covered = frame[ChecksumStart..];
        ulong sum = 0;
        for (; covered.Length >= 2; covered = covered[2..])
        {
            sum += BinaryPrimitives.ReadUInt16BigEndian(covered);
        }

        if (covered.Length == 1)
        {
            sum += (uint)covered[0] << 8;
        }

        while (sum > 0xFFFF)
        {
            sum = (sum & 0xFFFF) + (sum >> 16);
        }

        // In UDP, where it may be left out, 0 means that it was (RFC 768); 0xFFFF is the same number.
        ushort value = (ushort)~sum;
        BinaryPrimitives.WriteUInt16BigEndian(frame[(ChecksumStart + ChecksumOffset)..], value == 0 ? (ushort)0xFFFF : value);
    }
}
