// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Backend.Internal;

/// <summary>What the pairs of queues of one network card share.</summary>
internal sealed class NetLink
{
    /// <summary>Header, and the longest frame that Linux makes: 64 KiB of segments and their headers, with room to spare.</summary>
    internal const int FrameSize = NetHeader.Size + 0x1_4000;

    private const int EthernetSize = 14;
    private const int VlanSize = 4;

    internal NetLink(string name, Tap tap, int mtu, Action<string> report)
    {
        Name = name;
        Tap = tap;
        Mtu = mtu;
        Report = report;
    }

    /// <summary>The interface.</summary>
    internal string Name { get; }

    internal Tap Tap { get; }

    internal int Mtu { get; }

    internal Action<string> Report { get; }

    internal ReceiveFilter Filter { get; set; } = new();

    /// <summary>One frame on its way to the interface.</summary>
    internal byte[] Outgoing { get; } = GC.AllocateArray<byte>(FrameSize, pinned: true);

    /// <summary>Negotiated features.</summary>
    internal ulong Features { get; set; }

    /// <summary>Guest offloads that are on; a part of the features.</summary>
    internal ulong Offloads { get; set; }

    /// <summary>Says why a queue that was served on its own account is no longer.</summary>
    internal void ReportIfBroken(Virtqueue queue)
    {
        if (queue.Error is { } error)
        {
            Report($"{Name}: queue {queue.Index} is no longer served: {error}.");
        }
    }

    /// <summary>Prepares a frame of the interface's and says whether the driver is to have it.</summary>
    /// <param name="bytes">Header and frame.</param>
    internal bool Admits(Span<byte> bytes)
    {
        Span<byte> frame = bytes[NetHeader.Size..];
        NetHeader header = NetHeader.Read(bytes);
        if (frame.Length < EthernetSize || !Filter.Accepts(frame) || !header.PrepareToDeliver(Offloads, frame))
        {
            return false;
        }

        // A tag is not part of the MTU (IEEE 802.3, clause 3.2.7).
        bool tagged = frame[12] == 0x81 && frame[13] == 0;
        if (header.GsoType == NetHeader.GsoNone
            && (Features & NetFeatures.Mtu) != 0
            && frame.Length > Mtu + EthernetSize + (tagged ? VlanSize : 0))
        {
            return false;
        }

        header.Write(bytes, 1);
        return true;
    }

    /// <summary>Prepares a frame of the driver's and says whether the interface is to have it.</summary>
    /// <param name="bytes">Header and frame.</param>
    internal bool Sends(Span<byte> bytes)
    {
        if (bytes.Length < NetHeader.Size + EthernetSize)
        {
            return false;
        }

        NetHeader header = NetHeader.Read(bytes);
        bool sends = header.PrepareToSend(Features, bytes.Length - NetHeader.Size);
        header.Write(bytes, 0);
        return sends;
    }
}
