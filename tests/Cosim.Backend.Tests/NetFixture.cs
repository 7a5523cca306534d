// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Net.NetworkInformation;
using Cosim.Virtio;
using NUnit.Framework;

namespace Cosim.Backend.Tests;

/// <summary>virtio-net on a TAP of this machine: the test is the driver on one side and a station on the wire on the other.</summary>
public abstract class NetFixture
{
    protected const ulong Csum = 1UL << 0;
    protected const ulong GuestCsum = 1UL << 1;
    protected const ulong CtrlGuestOffloads = 1UL << 2;
    protected const ulong Mtu = 1UL << 3;
    protected const ulong HasMac = 1UL << 5;
    protected const ulong GuestTso4 = 1UL << 7;
    protected const ulong GuestTso6 = 1UL << 8;
    protected const ulong GuestEcn = 1UL << 9;
    protected const ulong GuestUfo = 1UL << 10;
    protected const ulong HostTso4 = 1UL << 11;
    protected const ulong HostTso6 = 1UL << 12;
    protected const ulong HostEcn = 1UL << 13;
    protected const ulong HostUfo = 1UL << 14;
    protected const ulong MrgRxbuf = 1UL << 15;
    protected const ulong Status = 1UL << 16;
    protected const ulong CtrlVq = 1UL << 17;
    protected const ulong CtrlRx = 1UL << 18;
    protected const ulong CtrlVlan = 1UL << 19;
    protected const ulong CtrlRxExtra = 1UL << 20;
    protected const ulong GuestAnnounce = 1UL << 21;
    protected const ulong Mq = 1UL << 22;
    protected const ulong CtrlMacAddr = 1UL << 23;
    protected const ulong GuestUso4 = 1UL << 54;
    protected const ulong GuestUso6 = 1UL << 55;
    protected const ulong HostUso = 1UL << 56;
    protected const ulong SpeedDuplex = 1UL << 63;

    /// <summary>struct virtio_net_hdr with num_buffers.</summary>
    protected const int HeaderSize = 12;

    protected const int EthernetSize = 14;

    /// <summary>Local experimental EtherType 1 (IEEE 802).</summary>
    protected const ushort Experimental = 0x88B5;

    /// <summary>VIRTIO_NET_OK.</summary>
    protected const byte Ok = 0;

    // Classes of control commands (5.1.6.5).
    protected const byte Rx = 0;
    protected const byte Mac = 1;
    protected const byte Vlan = 2;
    protected const byte Pairs = 4;
    protected const byte Offloads = 5;

    private const ushort RingSize = 64;

    private static int s_interfaces;

    private NetBackend? _net;
    private RunningBackend? _backend;
    private NetOptions? _options;
    private uint _bufferSize;

    protected static byte[] Card => [0x02, 0, 0, 0, 0, 0x01];

    protected static byte[] Peer => [0x02, 0, 0, 0, 0, 0x99];

    protected static byte[] Other => [0x02, 0, 0, 0, 0, 0x02];

    protected static byte[] Third => [0x02, 0, 0, 0, 0, 0x03];

    protected static byte[] Group => [0x33, 0x33, 0, 0, 0, 1];

    protected static byte[] OtherGroup => [0x33, 0x33, 0, 0, 0, 2];

    protected static NetOptions TwoPairs => new() { Tap = string.Empty, QueuePairs = 2 };

    protected static byte[] Everybody => [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];

    protected string Interface { get; private set; } = string.Empty;

    internal FakeFpga Fpga { get; private set; } = null!;

    internal PacketSocket Wire { get; private set; } = null!;

    internal IReadOnlyCollection<string> Reports => _backend!.Reports;

    internal FrontEndQueue[] Receive { get; private set; } = [];

    internal FrontEndQueue[] Transmit { get; private set; } = [];

    internal FrontEndQueue? Control { get; private set; }

    [TearDown]
    public void Stop()
    {
        Wire?.Dispose();
        _backend?.Dispose();
        _net?.Dispose();
        Fpga?.Dispose();
        (Wire, _backend, _net, Fpga) = (null!, null, null, null!);
    }

    /// <summary>Brings a card up as a driver does that accepts <paramref name="features"/>; all its queues are enabled, and the control queue if accepted.
    /// The test is ignored where the kernel does not give what is <paramref name="needed"/>.</summary>
    protected void Start(ulong features, NetOptions? options = null, uint bufferSize = 2048, int buffers = 32, ulong needed = 0)
    {
        Interface = $"ct{Environment.ProcessId % 100_000}n{Interlocked.Increment(ref s_interfaces)}";
        options = (options ?? new NetOptions { Tap = string.Empty }) with { Tap = Interface, Mac = new PhysicalAddress(Card) };
        _net = Make(options, text => _backend!.Reports.Enqueue(text));

        // What the machine has to say about its new interface is of no use; with a small MTU it says nothing.
        string quiet = $"/proc/sys/net/ipv6/conf/{Interface}/disable_ipv6";
        if (File.Exists(quiet))
        {
            File.WriteAllText(quiet, "1");
        }

        if ((_net.Features & needed) != needed)
        {
            Assert.Ignore($"This machine's kernel does not offer the features 0x{needed:x}.");
        }

        Fpga = new FakeFpga();
        _backend = new RunningBackend(Fpga, _net);
        Wire = new PacketSocket(Interface);
        _options = options;
        _bufferSize = bufferSize;
        Restart(features, buffers);
    }

    /// <summary>A card and its TAP; the test is ignored where this user can make none.</summary>
    protected static NetBackend Make(NetOptions options, Action<string> report)
    {
        try
        {
            return new NetBackend(options, 32 << 20, report);
        }
        catch (BackendException e)
        {
            Assert.Ignore($"This user cannot make a TAP here: {e.Message}");
            throw;
        }
    }

    /// <summary>What a driver does after a reset.</summary>
    protected void Restart(ulong features, int buffers = 32)
    {
        int pairs = (features & Mq) != 0 ? _options!.QueuePairs : 1;
        features |= VirtioFeatures.Version1 | VirtioFeatures.RingEventIdx;
        Receive = [.. Enumerable.Range(0, pairs).Select(pair => FrontEndQueue.Enable(Fpga, 0, 2 * pair, RingSize, features))];
        Transmit = [.. Enumerable.Range(0, pairs).Select(pair => FrontEndQueue.Enable(Fpga, 0, (2 * pair) + 1, RingSize, features))];
        Control = (features & CtrlVq) != 0 ? FrontEndQueue.Enable(Fpga, 0, 2 * pairs, RingSize, features) : null;
        foreach (FrontEndQueue queue in Receive)
        {
            Offer(queue, 0, buffers);
        }
    }

    /// <summary>Gives receive buffers.</summary>
    internal void Offer(FrontEndQueue queue, int first, int count)
    {
        for (int buffer = first; buffer < first + count; buffer++)
        {
            queue.Describe((ushort)buffer, Place(queue, (uint)buffer), _bufferSize, DescriptorFlags.Write);
            queue.Offer((ushort)buffer);
        }
    }

    /// <summary>The next frame of the peer's that host 1 receives, with the lengths of the buffers that were used together for it; they are given back.</summary>
    internal (byte[] Header, byte[] Frame, uint[] Lengths) NextFrame(FrontEndQueue queue)
    {
        while (true)
        {
            (uint id, uint length) = queue.WaitUsed();
            List<uint> ids = [id];
            List<uint> lengths = [length];
            List<byte> bytes = [.. FrontEndQueue.Read(Fpga, Place(queue, id), (int)length)];
            int buffers = BinaryPrimitives.ReadUInt16LittleEndian(bytes.ToArray().AsSpan(10));
            while (ids.Count < buffers)
            {
                Assert.That(queue.HasUsed, Is.True, "buffers of one frame are used together");
                (id, length) = queue.TakeUsed();
                ids.Add(id);
                lengths.Add(length);
                bytes.AddRange(FrontEndQueue.Read(Fpga, Place(queue, id), (int)length));
            }

            ids.ForEach(used => Offer(queue, (int)used, 1));
            byte[] all = [.. bytes];
            if (all.AsSpan(HeaderSize + 6, 6).SequenceEqual(Peer))
            {
                return (all[..HeaderSize], all[HeaderSize..], [.. lengths]);
            }
        }
    }

    /// <summary>Sends the frames on the wire and says which of them host 1 receives, by their last bytes; one to the card behind them ends the wait.</summary>
    internal IReadOnlyList<byte> Received(params byte[][] frames) => ReceivedBefore(Card, frames);

    /// <summary>The same with a last frame to where the filter lets it pass.</summary>
    internal IReadOnlyList<byte> ReceivedBefore(byte[] end, params byte[][] frames)
    {
        const byte End = 0xED;
        foreach (byte[] frame in frames)
        {
            Wire.Send(frame);
        }

        Wire.Send(Frame(end, Experimental, [End]));
        List<byte> seen = [];
        while (true)
        {
            byte last = NextFrame(Receive[0]).Frame[^1];
            if (last == End)
            {
                return seen;
            }

            seen.Add(last);
        }
    }

    /// <summary>Has host 1 send a frame and waits until its buffer is used.</summary>
    internal void Send(FrontEndQueue queue, byte[] header, byte[] frame)
    {
        FrontEndQueue.Write(Fpga, queue.Buffers, [.. header, .. frame]);
        queue.Describe(0, queue.Buffers, (uint)(header.Length + frame.Length), DescriptorFlags.None);
        queue.Offer(0);
        Assert.That(queue.WaitUsed(), Is.EqualTo((0u, 0u)), "a transmitted buffer has no byte written");
    }

    /// <summary>Sends a control command; see that it is answered by one byte, and which.</summary>
    protected byte Command(byte @class, byte command, params byte[] data)
    {
        byte[] answer = Control!.Exchange([@class, command, .. data], 1);
        Assert.That(answer, Has.Length.EqualTo(1));
        return answer[0];
    }

    /// <summary>A field of the device configuration space.</summary>
    protected byte[] Configuration(uint offset, int size) =>
        Fpga.Ask(MailboxRequest.GetConfig, 0, [.. Bytes.U32(offset, (uint)size, 0), .. new byte[size]])[12..];

    protected static byte[] Frame(byte[] destination, ushort type, params byte[] payload) => Frame(destination, Peer, type, payload);

    protected static byte[] Frame(byte[] destination, byte[] source, ushort type, byte[] payload) =>
        [.. destination, .. source, (byte)(type >> 8), (byte)type, .. payload];

    protected static byte[] Header(byte flags = 0, byte gsoType = 0, ushort headerLength = 0, ushort gsoSize = 0, ushort checksumStart = 0, ushort checksumOffset = 0) =>
        [flags, gsoType, .. Bytes.U16(headerLength, gsoSize, checksumStart, checksumOffset)];

    private ulong Place(FrontEndQueue queue, uint buffer) => queue.Buffers + (buffer * _bufferSize);
}
