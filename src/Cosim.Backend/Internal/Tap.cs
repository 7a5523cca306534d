// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Net;
using System.Text;

namespace Cosim.Backend.Internal;

/// <summary>A TAP interface of Linux: frames in and out of its network stack, each behind a virtio header (linux/if_tun.h).</summary>
internal sealed unsafe class Tap : IDisposable
{
    private const nuint TUNSETIFF = 0x400454CA;
    private const nuint TUNSETOFFLOAD = 0x400454D0;
    private const nuint TUNSETVNETHDRSZ = 0x400454D8;
    private const nuint TUNSETQUEUE = 0x400454D9;
    private const nuint TUNSETVNETLE = 0x400454DC;
    private const nuint SIOCGIFFLAGS = 0x8913;
    private const nuint SIOCSIFFLAGS = 0x8914;
    private const nuint SIOCSIFADDR = 0x8916;
    private const nuint SIOCSIFNETMASK = 0x891C;
    private const nuint SIOCGIFMTU = 0x8921;
    private const nuint SIOCSIFMTU = 0x8922;
    private const nuint SIOCSIFHWADDR = 0x8924;
    private const nuint SIOCGIFINDEX = 0x8933;
    private const ushort ARPHRD_ETHER = 1;
    private const ushort IFF_UP = 1;
    private const ushort IFF_TAP = 2;
    private const ushort IFF_RUNNING = 0x40;
    private const ushort IFF_MULTI_QUEUE = 0x100;
    private const ushort IFF_ATTACH_QUEUE = 0x200;
    private const ushort IFF_DETACH_QUEUE = 0x400;
    private const ushort IFF_NO_PI = 0x1000;
    private const ushort IFF_VNET_HDR = 0x4000;
    private const uint TUN_F_CSUM = 0x01;
    private const uint TUN_F_TSO4 = 0x02;
    private const uint TUN_F_TSO6 = 0x04;
    private const uint TUN_F_TSO_ECN = 0x08;
    private const uint TUN_F_UFO = 0x10;
    private const uint TUN_F_USO4 = 0x20;
    private const uint TUN_F_USO6 = 0x40;

    /// <summary>struct ifreq: name, then a union.</summary>
    private const int NameSize = 16;
    private const int RequestSize = 40;

    private readonly string _name;
    private readonly int _control;
    private readonly int[] _queues;

    /// <summary>Attaches to the interface, creating it if there is none of that name, and switches it on.</summary>
    /// <param name="name">The interface.</param>
    /// <param name="mtu">Set on it.</param>
    /// <param name="address">IPv4 address as A.B.C.D/N; null leaves it alone.</param>
    /// <param name="queues">With more than one, all but the first are detached for now.</param>
    /// <param name="card">MAC address of the card at the other end. An interface that is created gets one derived from it, the same each time:
    /// otherwise Linux would draw one, and who knows a former one would send to it in vain until its ARP entry is old.</param>
    internal Tap(string name, int mtu, string? address, int queues, ReadOnlySpan<byte> card)
    {
        if (Encoding.ASCII.GetByteCount(name) is 0 or >= NameSize)
        {
            throw new BackendException($"The interface name \"{name}\" has not 1 to {NameSize - 1} bytes.");
        }

        _name = name;
        _control = Linux.Socket(Linux.AF_INET, Linux.SOCK_DGRAM | Linux.SOCK_CLOEXEC, 0);
        _queues = new int[queues];
        Array.Fill(_queues, -1);
        try
        {
            bool isNew = Ask(SIOCGIFINDEX) == 0;
            ushort kind = (ushort)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (queues > 1 ? IFF_MULTI_QUEUE : 0));
            for (int queue = 0; queue < queues; queue++)
            {
                _queues[queue] = Linux.Open("/dev/net/tun", Linux.O_RDWR | Linux.O_NONBLOCK | Linux.O_CLOEXEC);
                if (_queues[queue] < 0)
                {
                    throw new BackendException($"/dev/net/tun cannot be opened: {Linux.LastError}. Is the module tun loaded?");
                }

                Request(_queues[queue], TUNSETIFF, kind, queues > 1 ? $"attached to with {queues} queues" : "attached to");
                if (queue > 0 && !TrySetAttached(queue, false))
                {
                    throw new BackendException($"Queue {queue} of the interface {name} cannot be detached: {Linux.LastError}.");
                }
            }

            if (isNew)
            {
                SetStation(card);
            }

            SetInteger(TUNSETVNETHDRSZ, NetHeader.Size);
            SetInteger(TUNSETVNETLE, 1);
            SegmentsUdp = TrySetFlags(TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6);
            _ = TrySetOffloads(0);
            if (Ask(SIOCGIFMTU) != mtu)
            {
                Request(_control, SIOCSIFMTU, (uint)mtu, $"given an MTU of {mtu}");
            }

            if (address is not null)
            {
                SetAddress(address);
            }

            uint flags = Ask(SIOCGIFFLAGS);
            if ((flags & IFF_UP) == 0)
            {
                Request(_control, SIOCSIFFLAGS, (flags & 0xFFFF) | IFF_UP, "switched on");
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Each reads and writes one frame at a time behind a <see cref="NetHeader"/>; non-blocking.</summary>
    internal IReadOnlyList<int> Queues => _queues;

    /// <summary>It can give us, and take from us, UDP frames that are yet to be segmented.</summary>
    internal bool SegmentsUdp { get; }

    /// <summary>The interface is switched on and has its carrier.</summary>
    internal bool IsUp => (Ask(SIOCGIFFLAGS) & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);

    /// <summary>Frames come through attached queues only; what waits in one that is detached is lost. Only with more than one queue.</summary>
    internal bool TrySetAttached(int queue, bool attached)
    {
        byte* argument = stackalloc byte[RequestSize];
        BinaryPrimitives.WriteUInt16LittleEndian(Prepare(argument), attached ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE);
        return Linux.Control(_queues[queue], TUNSETQUEUE, argument) == 0;
    }

    /// <summary>Says what of the frames for us may be left to us: guest offloads as in <see cref="NetFeatures.GuestOffloads"/>.</summary>
    internal bool TrySetOffloads(ulong offloads)
    {
        uint flags = 0;
        if ((offloads & NetFeatures.GuestCsum) != 0)
        {
            flags = TUN_F_CSUM
                | ((offloads & NetFeatures.GuestTso4) != 0 ? TUN_F_TSO4 : 0)
                | ((offloads & NetFeatures.GuestTso6) != 0 ? TUN_F_TSO6 : 0)
                | ((offloads & NetFeatures.GuestUfo) != 0 ? TUN_F_UFO : 0);

            // Linux knows these two in such company only.
            flags |= (flags & (TUN_F_TSO4 | TUN_F_TSO6)) != 0 && (offloads & NetFeatures.GuestEcn) != 0 ? TUN_F_TSO_ECN : 0;
            const ulong Udp = NetFeatures.GuestUso4 | NetFeatures.GuestUso6;
            flags |= (offloads & Udp) == Udp ? TUN_F_USO4 | TUN_F_USO6 : 0;
        }

        return TrySetFlags(flags);
    }

    public void Dispose()
    {
        for (int queue = 0; queue < _queues.Length; queue++)
        {
            if (_queues[queue] >= 0)
            {
                _ = Linux.Close(_queues[queue]);
                _queues[queue] = -1;
            }
        }

        _ = Linux.Close(_control);
    }

    // The flags are the argument itself.
    private bool TrySetFlags(uint flags) => Linux.Control(_queues[0], TUNSETOFFLOAD, (void*)flags) == 0;

    private void SetInteger(nuint request, int value) =>
        Check(Linux.Control(_queues[0], request, &value), "made to speak virtio's header");

    private void SetAddress(string text)
    {
        string[] parts = text.Split('/');
        if (parts.Length != 2
            || !IPAddress.TryParse(parts[0], out IPAddress? address)
            || address.AddressFamily != System.Net.Sockets.AddressFamily.InterNetwork
            || !int.TryParse(parts[1], out int prefix)
            || prefix is < 1 or > 32)
        {
            throw new BackendException($"The address \"{text}\" is not of the form A.B.C.D/N.");
        }

        // struct sockaddr_in: family, port 0, address.
        RequestAddress(SIOCSIFADDR, Linux.AF_INET, [0, 0, .. address.GetAddressBytes()]);
        byte[] mask = new byte[6];
        BinaryPrimitives.WriteUInt32BigEndian(mask.AsSpan(2), uint.MaxValue << (32 - prefix));
        RequestAddress(SIOCSIFNETMASK, Linux.AF_INET, mask);
    }

    // The card's own address with another first byte: local, of one station, and not the card's.
    private void SetStation(ReadOnlySpan<byte> card)
    {
        const byte usual = 0xFE;
        byte[] station = card.ToArray();
        station[0] = card[0] == usual ? (byte)0xFA : usual;
        RequestAddress(SIOCSIFHWADDR, ARPHRD_ETHER, station);
    }

    // struct sockaddr: family, and what it makes of the rest.
    private void RequestAddress(nuint request, ushort family, byte[] address)
    {
        byte* argument = stackalloc byte[RequestSize];
        Span<byte> fields = Prepare(argument);
        BinaryPrimitives.WriteUInt16LittleEndian(fields, family);
        address.CopyTo(fields[2..]);
        Check(Linux.Control(_control, request, argument), "given its address");
    }

    private void Request(int fd, nuint request, uint value, string what)
    {
        byte* argument = stackalloc byte[RequestSize];
        BinaryPrimitives.WriteUInt32LittleEndian(Prepare(argument), value);
        Check(Linux.Control(fd, request, argument), what);
    }

    private uint Ask(nuint request)
    {
        byte* argument = stackalloc byte[RequestSize];
        Span<byte> fields = Prepare(argument);
        return Linux.Control(_control, request, argument) < 0
            ? 0
            : request == SIOCGIFFLAGS ? BinaryPrimitives.ReadUInt16LittleEndian(fields) : BinaryPrimitives.ReadUInt32LittleEndian(fields);
    }

    private Span<byte> Prepare(byte* argument)
    {
        Span<byte> bytes = new(argument, RequestSize);
        bytes.Clear();
        Encoding.ASCII.GetBytes(_name, bytes);
        return bytes[NameSize..];
    }

    private void Check(int result, string what)
    {
        if (result < 0)
        {
            throw new BackendException($"The interface {_name} cannot be {what}: {Linux.LastError}.");
        }
    }
}
