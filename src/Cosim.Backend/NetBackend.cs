// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Net.NetworkInformation;
using System.Runtime.InteropServices;
using Cosim.Backend.Internal;
using Cosim.VfioUser;
using Cosim.Virtio;

namespace Cosim.Backend;

/// <summary>
/// virtio-net (virtio 1.3, 5.1) on a TAP interface. One pair of queues, no offloads; merged receive buffers are not
/// offered, so each frame has to fit the one buffer it is received into.
/// </summary>
public sealed unsafe class NetBackend : IDeviceBackend
{
    /// <summary>Smallest MTU that IPv4 allows.</summary>
    public const int MinMtu = 68;

    /// <summary>Greatest MTU served: jumbo frames.</summary>
    public const int MaxMtu = 9216;

    /// <summary>VIRTIO_NET_F_MTU, MAC, STATUS.</summary>
    private const ulong OfferedFeatures = (1 << 3) | (1 << 5) | (1 << 16);

    private const int ConfigurationSize = 12;
    private const int ReceiveQueue = 0;

    /// <summary>struct virtio_net_hdr with num_buffers, which VERSION_1 always has.</summary>
    private const int HeaderSize = 12;

    /// <summary>Frames taken in one go, lest a busy interface starves the other devices.</summary>
    private const int Batch = 64;

    private readonly byte[] _configuration = new byte[ConfigurationSize];
    private readonly byte[] _frame = GC.AllocateArray<byte>(HeaderSize + 65536, pinned: true);
    private readonly string _name;
    private readonly int _mtu;
    private readonly Tap _tap;
    private readonly Action<string> _report;
    private Action _configurationChanged = () => { };
    private EventRegistration? _frames;
    private LinkMonitor? _links;
    private Virtqueue? _receive;

    /// <summary>Attaches to the interface and switches it on.</summary>
    /// <param name="tapName">Interface; created if there is none of that name.</param>
    /// <param name="mac">The address of host 1's network card.</param>
    /// <param name="mtu">Told to host 1, and set on the interface.</param>
    /// <param name="address">IPv4 address of the interface as A.B.C.D/N; null leaves it alone.</param>
    /// <param name="report">Takes a sentence for each thing worth knowing.</param>
    /// <exception cref="BackendException">Linux refuses, or a value is out of range.</exception>
    public NetBackend(string tapName, PhysicalAddress mac, int mtu, string? address, Action<string> report)
    {
        byte[] bytes = mac.GetAddressBytes();
        if (bytes.Length != 6 || (bytes[0] & 1) != 0)
        {
            throw new BackendException($"The MAC address {mac} is not that of one station: 6 bytes, the first of them even.");
        }

        if (mtu is < MinMtu or > MaxMtu)
        {
            throw new BackendException($"The MTU is {mtu}; expected {MinMtu} to {MaxMtu}.");
        }

        _name = tapName;
        _mtu = mtu;
        _report = report;
        _tap = new Tap(tapName, mtu, address);
        bytes.CopyTo(_configuration, 0); // mac
        BinaryPrimitives.WriteUInt16LittleEndian(_configuration.AsSpan(8), 1); // max_virtqueue_pairs
        BinaryPrimitives.WriteUInt16LittleEndian(_configuration.AsSpan(10), (ushort)mtu); // mtu
        SetLinkStatus(_tap.IsUp);
    }

    /// <inheritdoc/>
    public string Description =>
        $"net {_name}, MAC {string.Join(':', _configuration.Take(6).Select(value => value.ToString("x2")))}, MTU {_mtu}";

    /// <inheritdoc/>
    public VirtioDeviceId DeviceId => VirtioDeviceId.Net;

    /// <summary>Ethernet controller, revision 1.</summary>
    public uint ClassRevision => 0x0200_0001;

    /// <inheritdoc/>
    public int QueueCount => 2;

    /// <inheritdoc/>
    public int QueueSize => 256;

    /// <inheritdoc/>
    public ulong Features => OfferedFeatures;

    /// <inheritdoc/>
    public ReadOnlySpan<byte> Configuration => _configuration;

    private bool LinkUp => (_configuration[6] & 1) != 0;

    /// <inheritdoc/>
    public void Attach(EventLoop loop, Action configurationChanged)
    {
        _configurationChanged = configurationChanged;
        _frames = loop.Register(_tap.Fd, PollEvents.None, OnTap);
        _links = new LinkMonitor(loop, CheckLink);
    }

    /// <inheritdoc/>
    public void Serve(Virtqueue queue)
    {
        if (queue.Index == ReceiveQueue)
        {
            // There are buffers now: let the interface tell when there are frames.
            _receive = queue;
            Listen(true);
        }
        else
        {
            Transmit(queue);
        }
    }

    /// <inheritdoc/>
    public void Stopped(Virtqueue queue)
    {
        if (queue.Index == ReceiveQueue)
        {
            _receive = null;
            Listen(false);
        }
    }

    /// <summary>Lets go of the interface; one that was created goes away.</summary>
    public void Dispose()
    {
        _frames?.Dispose();
        _links?.Dispose();
        _tap.Dispose();
    }

    private void Listen(bool on)
    {
        if (_frames is not null)
        {
            _frames.Events = on ? PollEvents.In : PollEvents.None;
        }
    }

    private void OnTap(PollEvents events)
    {
        if ((events & PollEvents.In) != 0 && _receive is not null)
        {
            Receive(_receive);
        }
        else if ((events & (PollEvents.Error | PollEvents.HangUp | PollEvents.Invalid)) != 0)
        {
            _report($"The interface {_name} is gone.");
            _frames?.Dispose();
            _frames = null;
            ChangeLinkStatus(false);
        }
    }

    private void Receive(Virtqueue queue)
    {
        for (int count = 0; count < Batch; count++)
        {
            // The buffer first: a frame that was read and has none would be lost.
            if (!queue.TryTake())
            {
                if (!queue.Rearm())
                {
                    Listen(false);
                    if (queue.Error is not null)
                    {
                        _report($"{_name}: the receive queue is no longer served: {queue.Error}.");
                    }

                    break;
                }

                continue;
            }

            ushort head = queue.Chain.Head;
            nint length = ReadFrame(queue.Chain.WritableLength);
            if (length <= 0)
            {
                queue.Untake();
                break;
            }

            Span<byte> frame = _frame.AsSpan(0, HeaderSize + (int)length);
            frame[..HeaderSize].Clear();
            frame[10] = 1; // num_buffers
            queue.Complete(head, (uint)queue.Chain.Write(0, frame));
        }

        queue.Call();
    }

    /// <summary>Reads the next frame that fits behind a header into <paramref name="room"/> bytes; longer ones are dropped.</summary>
    private nint ReadFrame(ulong room)
    {
        fixed (byte* buffer = _frame)
        {
            while (true)
            {
                nint length = Linux.Read(_tap.Fd, buffer + HeaderSize, (nuint)(_frame.Length - HeaderSize));
                if (length < 0 && Marshal.GetLastPInvokeError() == Linux.EINTR)
                {
                    continue;
                }

                if (length <= 0 || (ulong)length + HeaderSize <= room)
                {
                    return length;
                }
            }
        }
    }

    private void Transmit(Virtqueue queue)
    {
        do
        {
            queue.SuppressKicks();
            while (queue.TryTake())
            {
                int length = queue.Chain.Read(0, _frame) - HeaderSize;
                if (length > 0)
                {
                    fixed (byte* frame = _frame)
                    {
                        // What a network cannot take it drops: a full queue, an interface switched off, a runt.
                        _ = Linux.Write(_tap.Fd, frame + HeaderSize, (nuint)length);
                    }
                }

                queue.Complete(queue.Chain.Head, 0);
            }

            queue.Call();
        }
        while (queue.Rearm());
    }

    private void CheckLink()
    {
        if (_frames is not null)
        {
            ChangeLinkStatus(_tap.IsUp);
        }
    }

    private void ChangeLinkStatus(bool up)
    {
        if (LinkUp != up)
        {
            SetLinkStatus(up);
            _report($"The link of {_name} is {(up ? "up" : "down")}.");
            _configurationChanged();
        }
    }

    /// <summary>VIRTIO_NET_S_LINK_UP in status.</summary>
    private void SetLinkStatus(bool up) => _configuration[6] = up ? (byte)1 : (byte)0;
}
