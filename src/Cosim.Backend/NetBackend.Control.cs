// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Backend.Internal;

namespace Cosim.Backend;

/// <summary>The control queue (virtio 1.3, 5.1.6.5): what is malformed, out of range or was not negotiated is answered VIRTIO_NET_ERR and changes nothing.</summary>
public sealed partial class NetBackend
{
    private const byte Ok = 0; // VIRTIO_NET_OK
    private const byte Error = 1; // VIRTIO_NET_ERR
    private const int CommandSize = 2;

    private const byte ReceiveClass = 0; // VIRTIO_NET_CTRL_RX
    private const byte MacClass = 1; // VIRTIO_NET_CTRL_MAC
    private const byte VlanClass = 2; // VIRTIO_NET_CTRL_VLAN
    private const byte AnnounceClass = 3; // VIRTIO_NET_CTRL_ANNOUNCE
    private const byte PairsClass = 4; // VIRTIO_NET_CTRL_MQ
    private const byte OffloadsClass = 5; // VIRTIO_NET_CTRL_GUEST_OFFLOADS

    private Virtqueue? _untold;
    private ushort _untoldHead;
    private bool _configurationIsUntold;
    private bool _stateIsUntold;

    /// <inheritdoc/>
    public void ConfigurationRead()
    {
        _configurationIsUntold = false;
        UseTold();
    }

    /// <inheritdoc/>
    public void StateKept()
    {
        _stateIsUntold = false;
        UseTold();
    }

    private void StopControl() => _untold = null;

    private void UseTold()
    {
        if (_untold is not { } queue || _configurationIsUntold || _stateIsUntold)
        {
            return;
        }

        _untold = null;
        queue.Complete(_untoldHead, 1);
        queue.Call();
        ServeControl(queue);
        _link.ReportIfBroken(queue);
    }

    private void ServeControl(Virtqueue queue)
    {
        do
        {
            while (_untold is null && queue.TryTake())
            {
                Answer(queue);
            }

            queue.Call();
        }
        while (_untold is null && queue.Rearm());
    }

    private void Answer(Virtqueue queue)
    {
        DescriptorChain chain = queue.Chain;
        bool changed = false;
        byte answer = Error;
        Span<byte> command = stackalloc byte[CommandSize];
        if (chain.WritableLength > 0 && chain.Read(0, command) == CommandSize && Carry(chain, command[0], command[1], out changed))
        {
            answer = Ok;
        }

        uint written = (uint)chain.Write(0, [answer]);
        bool keeping = answer == Ok && command[0] != AnnounceClass && _keepState();
        if (changed || keeping)
        {
            // The command is used only when the driver can read what it did to the configuration (5.1.6.5.2.1, 5.1.6.5.4.2), and when it holds
            // whatever becomes of this program.
            _untold = queue;
            _untoldHead = chain.Head;
            (_configurationIsUntold, _stateIsUntold) = (changed, keeping);
            if (changed)
            {
                _configurationChanged();
            }
        }
        else
        {
            queue.Complete(chain.Head, written);
        }
    }

    private bool Has(ulong feature) => (_link.Features & feature) != 0;

    private bool Carry(DescriptorChain chain, byte @class, byte command, out bool changed)
    {
        changed = false;
        ulong length = chain.ReadableLength - CommandSize;
        switch (@class)
        {
            case ReceiveClass when length == 1:
                return SetReceiveMode(chain, command);
            case MacClass when command == 0 && Has(NetFeatures.CtrlRx):
                return SetMacTable(chain, length);
            case MacClass when command == 1 && length == MacSize && Has(NetFeatures.CtrlMacAddr):
                return SetMac(chain, out changed);
            case VlanClass when command <= 1 && length == 2 && Has(NetFeatures.CtrlVlan):
                return SetVlan(chain, wanted: command == 0);
            case AnnounceClass when command == 0 && length == 0 && Has(NetFeatures.GuestAnnounce):
                changed = (_configuration[StatusOffset] & Announce) != 0;
                _configuration[StatusOffset] &= unchecked((byte)~Announce);
                return true;
            case PairsClass when command == 0 && length == 2 && Has(NetFeatures.Mq):
                return SetPairs(chain);
            case OffloadsClass when command == 0 && length == 8 && Has(NetFeatures.CtrlGuestOffloads):
                return SetOffloads(chain);
            default:
                return false;
        }
    }

    private bool SetReceiveMode(DescriptorChain chain, byte command)
    {
        Span<byte> value = stackalloc byte[1];
        _ = chain.Read(CommandSize, value);
        if (value[0] > 1 || !Has(command <= 1 ? NetFeatures.CtrlRx : NetFeatures.CtrlRxExtra))
        {
            return false;
        }

        bool on = value[0] == 1;
        ReceiveFilter filter = _link.Filter;
        switch (command)
        {
            case 0: // VIRTIO_NET_CTRL_RX_PROMISC
                filter.Promiscuous = on;
                return true;
            case 1: // VIRTIO_NET_CTRL_RX_ALLMULTI
                filter.AllMulticast = on;
                return true;
            case 2: // VIRTIO_NET_CTRL_RX_ALLUNI
                filter.AllUnicast = on;
                return true;
            case 3: // VIRTIO_NET_CTRL_RX_NOMULTI
                filter.NoMulticast = on;
                return true;
            case 4: // VIRTIO_NET_CTRL_RX_NOUNI
                filter.NoUnicast = on;
                return true;
            case 5: // VIRTIO_NET_CTRL_RX_NOBCAST
                filter.NoBroadcast = on;
                return true;
            default:
                return false;
        }
    }

    /// <summary>VIRTIO_NET_CTRL_MAC_TABLE_SET: two tables, each a u32 count and so many addresses.</summary>
    private bool SetMacTable(DescriptorChain chain, ulong length)
    {
        Span<byte> word = stackalloc byte[4];
        if (length < 8)
        {
            return false;
        }

        _ = chain.Read(CommandSize, word);
        uint unicast = BinaryPrimitives.ReadUInt32LittleEndian(word);
        ulong second = 4 + ((ulong)unicast * MacSize);
        if (second > length - 4)
        {
            return false;
        }

        _ = chain.Read(CommandSize + second, word);
        uint multicast = BinaryPrimitives.ReadUInt32LittleEndian(word);
        if (second + 4 + ((ulong)multicast * MacSize) != length)
        {
            return false;
        }

        Span<byte> addresses = stackalloc byte[ReceiveFilter.TableSize * MacSize];
        Span<byte> some = addresses[..(int)Math.Min(unicast * (ulong)MacSize, (ulong)addresses.Length)];
        _ = chain.Read(CommandSize + 4, some);
        _link.Filter.SetTable(multicast: false, unicast, some);
        some = addresses[..(int)Math.Min(multicast * (ulong)MacSize, (ulong)addresses.Length)];
        _ = chain.Read(CommandSize + second + 4, some);
        _link.Filter.SetTable(multicast: true, multicast, some);
        return true;
    }

    private bool SetMac(DescriptorChain chain, out bool changed)
    {
        Span<byte> mac = stackalloc byte[MacSize];
        _ = chain.Read(CommandSize, mac);
        if ((mac[0] & 1) != 0)
        {
            changed = false;
            return false;
        }

        changed = !mac.SequenceEqual(Mac);
        mac.CopyTo(Mac);
        _link.Filter.SetAddress(mac);
        return true;
    }

    private bool SetVlan(DescriptorChain chain, bool wanted)
    {
        Span<byte> value = stackalloc byte[2];
        _ = chain.Read(CommandSize, value);
        ushort identifier = BinaryPrimitives.ReadUInt16LittleEndian(value);
        if (identifier >= ReceiveFilter.Vlans)
        {
            return false;
        }

        _link.Filter.SetVlan(identifier, wanted);
        return true;
    }

    private bool SetPairs(DescriptorChain chain)
    {
        Span<byte> value = stackalloc byte[2];
        _ = chain.Read(CommandSize, value);
        ushort pairs = BinaryPrimitives.ReadUInt16LittleEndian(value);
        if (pairs == 0 || pairs > _pairs.Length)
        {
            return false;
        }

        _activePairs = pairs;
        UpdateAttachments();
        return true;
    }

    private bool SetOffloads(DescriptorChain chain)
    {
        Span<byte> value = stackalloc byte[8];
        _ = chain.Read(CommandSize, value);
        ulong offloads = BinaryPrimitives.ReadUInt64LittleEndian(value);
        return (offloads & ~(_link.Features & NetFeatures.GuestOffloads)) == 0 && TrySetOffloads(offloads);
    }
}
