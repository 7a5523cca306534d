// SPDX-License-Identifier: Apache-2.0
using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using Cosim.Virtio;
using NUnit.Framework;

namespace Cosim.Backend.Tests;

/// <summary>virtio-net on a TAP of this machine; its own network stack is the other side.</summary>
public sealed class NetTests
{
    private const int HeaderSize = 12;
    private const int EthernetSize = 14;
    private const int Port = 40099;
    private const string Address = "10.98.213.1";

    private FakeFpga _fpga = null!;
    private NetBackend _net = null!;
    private RunningBackend _backend = null!;
    private FrontEndQueue _receive = null!;
    private FrontEndQueue _transmit = null!;
    private Socket _socket = null!;

    [SetUp]
    public void Start()
    {
        try
        {
            _net = new NetBackend(
                $"cosim{Environment.ProcessId % 100000}",
                PhysicalAddress.Parse("02-00-00-00-00-01"),
                1500,
                $"{Address}/24",
                text => _backend.Reports.Enqueue(text));
        }
        catch (BackendException e)
        {
            Assert.Ignore($"This user cannot make a TAP here: {e.Message}");
        }

        _fpga = new FakeFpga();
        _backend = new RunningBackend(_fpga, _net);
        const ulong Features = VirtioFeatures.Version1 | VirtioFeatures.RingEventIdx;
        _receive = FrontEndQueue.Enable(_fpga, 0, 0, 64, Features);
        _transmit = FrontEndQueue.Enable(_fpga, 0, 1, 64, Features);
        _socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp) { EnableBroadcast = true, ReceiveTimeout = FakeFpga.Deadline };
        _socket.Bind(new IPEndPoint(IPAddress.Parse(Address), Port));
    }

    [TearDown]
    public void Stop()
    {
        _socket?.Dispose();
        _backend?.Dispose();
        _net?.Dispose();
        _fpga?.Dispose();
    }

    [Test]
    public void Receive_MoreFramesThanBuffers_WaitsForBuffersAndLosesNone()
    {
        for (int message = 0; message < 20; message++)
        {
            Broadcast(100, (byte)message);
        }

        for (ushort message = 0; message < 20; message++)
        {
            byte[] frame = ReceiveOurs(1530);
            Assert.That(frame[..HeaderSize], Is.EqualTo(new byte[] { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0 }), "virtio_net_hdr");
            Assert.That(frame, Has.Length.EqualTo(HeaderSize + EthernetSize + 28 + 100));
            Assert.That(frame[^1], Is.EqualTo(message));
        }
    }

    [Test]
    public void Receive_FrameLongerThanTheBuffer_IsDroppedAndTheBufferKept()
    {
        Broadcast(1400, 1);
        Broadcast(100, 2);

        Assert.That(ReceiveOurs(600)[^1], Is.EqualTo(2));
    }

    [Test]
    public void Transmit_Frame_ReachesTheNetwork()
    {
        byte[] frame =
        [
            .. new byte[HeaderSize],
            0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02, 0, 0, 0, 0, 0x01, 0x08, 0x00, // Ethernet: broadcast, IPv4
            0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, // IPv4: 32 bytes, UDP
            10, 98, 213, 2, 10, 98, 213, 1,
            0x9C, 0xA3, 0x9C, 0xA3, 0, 12, 0, 0, // UDP: port 40099 to 40099, 12 bytes, no checksum
            (byte)'p', (byte)'i', (byte)'n', (byte)'g',
        ];
        SetChecksum(frame.AsSpan(HeaderSize + EthernetSize, 20));
        FrontEndQueue.Write(_fpga, _transmit.Buffers, [0]);
        _transmit.Describe(1, _transmit.Buffers, 1, DescriptorFlags.None); // a runt is dropped, not stumbled over
        _transmit.Offer(1);
        Assert.That(_transmit.WaitUsed(), Is.EqualTo((1u, 0u)));
        FrontEndQueue.Write(_fpga, _transmit.Buffers, frame);
        _transmit.Describe(0, _transmit.Buffers, (uint)frame.Length, DescriptorFlags.None);
        _transmit.Offer(0);
        Assert.That(_transmit.WaitUsed(), Is.EqualTo((0u, 0u)));

        byte[] received = new byte[100];
        int length = _socket.Receive(received);

        Assert.That(received[..length], Is.EqualTo("ping"u8.ToArray()));
    }

    [Test]
    public void Config_Always_HoldsMacLinkAndMtu()
    {
        byte[] reply = _fpga.Ask(MailboxRequest.GetConfig, 0, [.. Bytes.U32(0, 12, 0), .. new byte[12]]);

        Assert.That(reply[12..], Is.EqualTo((byte[])[2, 0, 0, 0, 0, 1, .. Bytes.U16(1, 1, 1500)]));
    }

    [Test]
    public void Attach_Features_AreThoseServed() =>
        Assert.That(VirtioFeatures.DeviceType(BitConverter.ToUInt64(_fpga.Ask(MailboxRequest.GetFeatures))), Is.EqualTo((1ul << 3) | (1 << 5) | (1 << 16)));

    private static void SetChecksum(Span<byte> header)
    {
        uint sum = 0;
        for (int word = 0; word < header.Length; word += 2)
        {
            sum += (uint)((header[word] << 8) | header[word + 1]);
        }

        sum = (sum & 0xFFFF) + (sum >> 16);
        sum = ~(sum + (sum >> 16));
        header[10] = (byte)(sum >> 8);
        header[11] = (byte)sum;
    }

    private void Broadcast(int length, byte last)
    {
        byte[] message = new byte[length];
        message[^1] = last;
        _socket.SendTo(message, new IPEndPoint(IPAddress.Parse("10.98.213.255"), Port));
    }

    /// <summary>Offers one buffer at a time until the next of this test's own messages comes; the stack sends others, too.</summary>
    private byte[] ReceiveOurs(uint room)
    {
        while (true)
        {
            _receive.Describe(0, _receive.Buffers, room, DescriptorFlags.Write);
            _receive.Offer(0);
            (uint id, uint length) = _receive.WaitUsed();
            Assert.That(id, Is.Zero);
            byte[] frame = FrontEndQueue.Read(_fpga, _receive.Buffers, (int)length);
            if (length > HeaderSize + EthernetSize + 28 && frame[HeaderSize + EthernetSize + 9] == 17 && frame[HeaderSize + EthernetSize + 23] == (Port & 0xFF))
            {
                return frame;
            }
        }
    }
}
