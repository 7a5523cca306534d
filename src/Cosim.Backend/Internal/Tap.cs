// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Net;
using System.Text;

namespace Cosim.Backend.Internal;

/// <summary>A TAP interface of Linux: frames in and out of its network stack (linux/if_tun.h).</summary>
internal sealed unsafe class Tap : IDisposable
{
    private const nuint TUNSETIFF = 0x400454CA;
    private const nuint SIOCGIFFLAGS = 0x8913;
    private const nuint SIOCSIFFLAGS = 0x8914;
    private const nuint SIOCSIFADDR = 0x8916;
    private const nuint SIOCSIFNETMASK = 0x891C;
    private const nuint SIOCGIFMTU = 0x8921;
    private const nuint SIOCSIFMTU = 0x8922;
    private const ushort IFF_UP = 1;
    private const ushort IFF_TAP = 2;
    private const ushort IFF_NO_PI = 0x1000;

    /// <summary>struct ifreq: name, then a union.</summary>
    private const int NameSize = 16;
    private const int RequestSize = 40;

    private readonly string _name;
    private readonly int _control;

    /// <summary>Attaches to the interface, creating it if there is none of that name, and switches it on.</summary>
    internal Tap(string name, int mtu, string? address)
    {
        if (Encoding.ASCII.GetByteCount(name) is 0 or >= NameSize)
        {
            throw new BackendException($"The interface name \"{name}\" has not 1 to {NameSize - 1} bytes.");
        }

        _name = name;
        _control = Linux.Socket(Linux.AF_INET, Linux.SOCK_DGRAM | Linux.SOCK_CLOEXEC, 0);
        Fd = Linux.Open("/dev/net/tun", Linux.O_RDWR | Linux.O_NONBLOCK | Linux.O_CLOEXEC);
        try
        {
            if (Fd < 0)
            {
                throw new BackendException($"/dev/net/tun cannot be opened: {Linux.LastError}. Is the module tun loaded?");
            }

            Request(Fd, TUNSETIFF, IFF_TAP | IFF_NO_PI, "attached to");
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

    /// <summary>Reads and writes one frame each; non-blocking.</summary>
    internal int Fd { get; private set; }

    /// <summary>The interface is switched on.</summary>
    internal bool IsUp => (Ask(SIOCGIFFLAGS) & IFF_UP) != 0;

    public void Dispose()
    {
        if (Fd >= 0)
        {
            _ = Linux.Close(Fd);
            Fd = -1;
        }

        _ = Linux.Close(_control);
    }

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

        RequestAddress(SIOCSIFADDR, address.GetAddressBytes());
        byte[] mask = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(mask, uint.MaxValue << (32 - prefix));
        RequestAddress(SIOCSIFNETMASK, mask);
    }

    private void RequestAddress(nuint request, byte[] address)
    {
        byte* argument = stackalloc byte[RequestSize];
        Span<byte> fields = Prepare(argument);

        // struct sockaddr_in: family, port 0, address.
        BinaryPrimitives.WriteUInt16LittleEndian(fields, Linux.AF_INET);
        address.CopyTo(fields[4..]);
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
