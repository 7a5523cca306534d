// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Cosim.Backend.Tests;

/// <summary>Whole Ethernet frames in and out of an interface of this machine, each behind a virtio header (packet(7), PACKET_VNET_HDR).</summary>
internal sealed class PacketSocket : IDisposable
{
    /// <summary>struct virtio_net_hdr, without num_buffers.</summary>
    internal const int HeaderSize = 10;

    private const int ProtocolAll = 3; // ETH_P_ALL
    private const int PacketLevel = 263; // SOL_PACKET
    private const int VnetHeaderOption = 15; // PACKET_VNET_HDR
    private const int IgnoreOutgoingOption = 23; // PACKET_IGNORE_OUTGOING

    private readonly Socket _socket;
    private readonly byte[] _buffer = new byte[0x2_0000];

    internal PacketSocket(string name)
    {
        ushort protocol = BinaryPrimitives.ReverseEndianness((ushort)ProtocolAll);
        _socket = new Socket(AddressFamily.Packet, SocketType.Raw, (ProtocolType)protocol) { ReceiveTimeout = FakeFpga.Deadline };
        _socket.SetRawSocketOption(PacketLevel, VnetHeaderOption, BitConverter.GetBytes(1));
        _socket.SetRawSocketOption(PacketLevel, IgnoreOutgoingOption, BitConverter.GetBytes(1));
        _socket.Bind(new Interface(int.Parse(File.ReadAllText($"/sys/class/net/{name}/ifindex"), CultureInfo.InvariantCulture)));
    }

    public void Dispose() => _socket.Dispose();

    internal void Send(byte[] frame, byte[]? header = null) => _socket.Send((byte[])[.. header ?? new byte[HeaderSize], .. frame]);

    /// <summary>The next frame from a station, with its header; the machine's own are passed over.</summary>
    internal (byte[] Header, byte[] Frame) Receive(byte[] source)
    {
        while (true)
        {
            int length = _socket.Receive(_buffer);
            if (length > HeaderSize + 14 && _buffer.AsSpan(HeaderSize + 6, 6).SequenceEqual(source))
            {
                return (_buffer[..HeaderSize], _buffer[HeaderSize..length]);
            }
        }
    }

    /// <summary>struct sockaddr_ll.</summary>
    private sealed class Interface(int index) : EndPoint
    {
        public override AddressFamily AddressFamily => AddressFamily.Packet;

        public override SocketAddress Serialize()
        {
            SocketAddress address = new(AddressFamily.Packet, 20);
            address[3] = ProtocolAll; // sll_protocol, big-endian
            BinaryPrimitives.WriteInt32LittleEndian(address.Buffer.Span[4..], index);
            return address;
        }
    }
}
