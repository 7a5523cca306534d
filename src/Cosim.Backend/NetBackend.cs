// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Numerics;
using Cosim.Backend.Internal;
using Cosim.VfioUser;
using Cosim.Virtio;

namespace Cosim.Backend;

/// <summary>
/// virtio-net (virtio 1.3, 5.1) on a TAP interface: several pairs of queues, a control queue, and offloads that pass from one side to the other. Hashes and
/// receive-side scaling, notification coalescing, statistics and RSC are not offered.
/// </summary>
public sealed partial class NetBackend : IDeviceBackend
{
    private const int ConfigurationSize = 24;
    private const int MacSize = 6;
    private const int StatusOffset = 6;

    /// <summary>VIRTIO_NET_S_LINK_UP, VIRTIO_NET_S_ANNOUNCE.</summary>
    private const byte LinkUp = 1;
    private const byte Announce = 2;

    private const int MostEntries = 256;
    private const int FewestEntries = 16;

    /// <summary>What a driver gives for a frame of segments where buffers are not merged: 64 KiB, their headers, ours.</summary>
    private const int SegmentsBufferSize = 65562;

    private readonly byte[] _configuration = new byte[ConfigurationSize];
    private readonly NetOptions _options;
    private readonly Tap _tap;
    private readonly NetLink _link;
    private readonly NetPair[] _pairs;
    private readonly Virtqueue?[] _unfinished;
    private readonly EventFd _turn;
    private readonly ulong _features;
    private Action _configurationChanged = () => { };
    private EventLoop? _loop;
    private EventRegistration? _turns;
    private LinkMonitor? _links;
    private bool _gone;
    private int _activePairs = 1;

    /// <summary>Attaches to the interface and switches it on.</summary>
    /// <param name="options">The card and the interface.</param>
    /// <param name="poolSize">Receive buffers are kept few enough for a pool of this many bytes.</param>
    /// <param name="report">Takes a sentence for each thing worth knowing.</param>
    /// <exception cref="BackendException">Linux refuses, or a value is out of range.</exception>
    public NetBackend(NetOptions options, ulong poolSize, Action<string> report)
    {
        byte[] mac = options.Mac.GetAddressBytes();
        if (mac.Length != MacSize || (mac[0] & 1) != 0)
        {
            throw new BackendException($"The MAC address {options.Mac} is not that of one station: 6 bytes, the first of them even.");
        }

        CheckRange("The MTU", options.Mtu, NetOptions.MinMtu, NetOptions.MaxMtu);
        CheckRange("The number of queue pairs", options.QueuePairs, 1, NetOptions.MaxQueuePairs);
        CheckRange("The speed in Mbit/s", options.SpeedMbps, 0, NetOptions.MaxSpeedMbps);
        _options = options;
        QueueSize = EntriesFor(options, poolSize);
        _tap = new Tap(options.Tap, options.Mtu, options.Address, options.QueuePairs, mac);
        _link = new NetLink(options.Tap, _tap, options.Mtu, report);
        _pairs = [.. Enumerable.Range(0, options.QueuePairs).Select(pair => new NetPair(_link, pair))];
        _unfinished = new Virtqueue?[options.QueuePairs];
        _turn = new EventFd();
        _features = NetFeatures.Always
            | (options.QueuePairs > 1 ? NetFeatures.Mq : 0)
            | (options.MergedBuffers ? NetFeatures.MrgRxbuf : 0)
            | (options.Offloads ? NetFeatures.Offloads | (_tap.SegmentsUdp ? NetFeatures.UdpSegmentation : 0) : 0);
        mac.CopyTo(_configuration, 0); // mac
        _configuration[StatusOffset] = _tap.IsUp ? LinkUp : (byte)0;
        BinaryPrimitives.WriteUInt16LittleEndian(_configuration.AsSpan(8), (ushort)options.QueuePairs); // max_virtqueue_pairs
        BinaryPrimitives.WriteUInt16LittleEndian(_configuration.AsSpan(10), (ushort)options.Mtu); // mtu
        BinaryPrimitives.WriteInt32LittleEndian(_configuration.AsSpan(12), options.SpeedMbps); // speed
        _configuration[16] = 1; // duplex: full. Of what follows, RSS and hash fields, nothing is offered.
        _link.Filter.Reset(mac, filtersVlans: false);
    }

    /// <inheritdoc/>
    public string Description =>
        $"net {_options.Tap}, MAC {string.Join(':', _configuration.Take(MacSize).Select(value => value.ToString("x2")))}, MTU {_options.Mtu}, "
        + $"{_options.QueuePairs} queue pair{(_options.QueuePairs > 1 ? "s" : string.Empty)}"
        + $"{(_options.Offloads ? ", offloads" : string.Empty)}{(_options.MergedBuffers ? ", merged buffers" : string.Empty)}";

    /// <inheritdoc/>
    public VirtioDeviceId DeviceId => VirtioDeviceId.Net;

    /// <summary>Ethernet controller, revision 1.</summary>
    public uint ClassRevision => 0x0200_0001;

    /// <summary>The pairs' and the control queue.</summary>
    public int QueueCount => (2 * _pairs.Length) + 1;

    /// <inheritdoc/>
    public int QueueSize { get; }

    /// <inheritdoc/>
    public ulong Features => _features;

    /// <inheritdoc/>
    public ReadOnlySpan<byte> Configuration => _configuration;

    /// <summary>Which queue is the control queue: the one after the pairs that the driver knows of (5.1.2).</summary>
    private int ControlQueue => (_link.Features & NetFeatures.CtrlVq) == 0
        ? int.MaxValue
        : (_link.Features & NetFeatures.Mq) != 0 ? 2 * _pairs.Length : 2;

    private Span<byte> Mac => _configuration.AsSpan(0, MacSize);

    /// <inheritdoc/>
    public void Attach(EventLoop loop, Action configurationChanged)
    {
        _loop = loop;
        _configurationChanged = configurationChanged;
        _turns = loop.Register(_turn.Fd, PollEvents.None, _ => GoOn());
        _links = new LinkMonitor(loop, CheckLink);
        UpdateAttachments();
        CheckLink();
    }

    /// <inheritdoc/>
    public void Negotiated(ulong features)
    {
        // A driver begins: nothing that an earlier one said holds.
        _link.Features = features;
        _link.Filter.Reset(Mac, (features & NetFeatures.CtrlVlan) != 0);
        _configuration[StatusOffset] &= unchecked((byte)~Announce);
        _activePairs = 1;
        UpdateAttachments();
        if (!TrySetOffloads(features & NetFeatures.GuestOffloads))
        {
            _link.Report($"{_link.Name}: the interface does not take the offloads of the driver: {Linux.LastError}.");
        }
    }

    /// <inheritdoc/>
    public void Serve(Virtqueue queue)
    {
        if (queue.Index == ControlQueue)
        {
            ServeControl(queue);
        }
        else if (queue.Index >= 2 * _pairs.Length)
        {
            return;
        }
        else if (queue.Index % 2 == 1)
        {
            Transmit(queue);
        }
        else
        {
            bool begins = !_pairs[queue.Index / 2].CanReceive;
            _pairs[queue.Index / 2].Serve(queue);
            if (begins)
            {
                UpdateAttachments();
            }
        }
    }

    /// <inheritdoc/>
    public void Stopped(Virtqueue queue)
    {
        if (queue.Index == ControlQueue)
        {
            StopControl();
        }
        else if (queue.Index >= 2 * _pairs.Length)
        {
            return;
        }
        else if (queue.Index % 2 == 1)
        {
            _unfinished[queue.Index / 2] = null;
        }
        else
        {
            _pairs[queue.Index / 2].Stop();
            UpdateAttachments();
        }
    }

    /// <summary>Lets go of the interface; one that was created goes away.</summary>
    public void Dispose()
    {
        foreach (NetPair pair in _pairs)
        {
            pair.Dispose();
        }

        _turns?.Dispose();
        _turn.Dispose();
        _links?.Dispose();
        _tap.Dispose();
    }

    private static void CheckRange(string what, int value, int least, int greatest)
    {
        if (value < least || value > greatest)
        {
            throw new BackendException($"{what} is {value}; expected {least} to {greatest}.");
        }
    }

    // Receive buffers lie in the pool as long as the driver has nothing received: they may take a quarter of it.
    private static int EntriesFor(NetOptions options, ulong poolSize)
    {
        if (options.MergedBuffers)
        {
            return MostEntries;
        }

        // The front end takes powers of two.
        ulong buffer = BitOperations.RoundUpToPowerOf2(options.Offloads ? SegmentsBufferSize : (ulong)options.Mtu + 64);
        ulong entries = poolSize / 4 / (ulong)options.QueuePairs / buffer;
        if (entries < FewestEntries)
        {
            throw new BackendException(
                $"{options.QueuePairs} receive queues with {FewestEntries} buffers of {buffer} bytes each do not fit a quarter of the pool's {poolSize >> 20} MiB. Merged buffers, fewer pairs or a larger pool would do.");
        }

        return (int)Math.Min(1UL << BitOperations.Log2(entries), MostEntries);
    }

    private void Transmit(Virtqueue queue)
    {
        // Drivers send on active pairs only; a back end that took over from one whose state nobody kept does not know which those are.
        int pair = queue.Index / 2;
        int fd = _tap.Queues[_pairs[pair].IsAttached ? pair : FirstAttached()];
        bool finished = _pairs[pair].Transmit(queue, fd);
        _unfinished[pair] = finished ? null : queue;
        if (!finished)
        {
            _turns?.Pend();
        }
    }

    private void GoOn()
    {
        foreach (Virtqueue? queue in _unfinished)
        {
            if (queue is not null && queue.IsReady)
            {
                Transmit(queue);
                _link.ReportIfBroken(queue);
            }
        }
    }

    private int FirstAttached() => Math.Max(Array.FindIndex(_pairs, pair => pair.IsAttached), 0);

    /// <summary>
    /// The TAP spreads frames over its attached queues: those of the active pairs that can receive, or if none can the first, which then drops them.
    /// </summary>
    private void UpdateAttachments()
    {
        if (_gone || _loop is null)
        {
            return;
        }

        bool none = !_pairs.Take(_activePairs).Any(pair => pair.CanReceive);
        for (int pair = 0; pair < _pairs.Length; pair++)
        {
            bool wanted = pair < _activePairs && (_pairs[pair].CanReceive || (none && pair == 0));
            if (wanted == _pairs[pair].IsAttached)
            {
                continue;
            }

            // It fails for the first queue, which is attached at first, and where the interface is gone, which its queue then tells.
            if (wanted)
            {
                _ = _tap.TrySetAttached(pair, true);
                _pairs[pair].Attach(_loop, InterfaceIsGone);
            }
            else
            {
                _pairs[pair].Detach();
                _ = _tap.TrySetAttached(pair, false);
            }
        }
    }

    private bool TrySetOffloads(ulong offloads)
    {
        if (!_tap.TrySetOffloads(offloads))
        {
            return false;
        }

        _link.Offloads = offloads;
        return true;
    }

    private void InterfaceIsGone()
    {
        if (_gone)
        {
            return;
        }

        _gone = true;
        _link.Report($"The interface {_link.Name} is gone.");
        foreach (NetPair pair in _pairs)
        {
            pair.Detach();
        }

        ChangeLinkStatus(false);
    }

    private void CheckLink()
    {
        if (!_gone)
        {
            ChangeLinkStatus(_tap.IsUp);
        }
    }

    private void ChangeLinkStatus(bool up)
    {
        if ((_configuration[StatusOffset] & LinkUp) != 0 == up)
        {
            return;
        }

        // The network behind a link that has come back may be another one: it is to learn where the card is.
        bool announces = up && (_link.Features & NetFeatures.GuestAnnounce) != 0;
        _configuration[StatusOffset] = (byte)((up ? LinkUp : 0) | (announces ? Announce : 0));
        _link.Report($"The link of {_link.Name} is {(up ? "up" : "down")}.");
        _configurationChanged();
    }
}
