// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Backend.Internal;

/// <summary>Feature bits of virtio-net that are served (virtio 1.3, 5.1.3).</summary>
internal static class NetFeatures
{
    /// <summary>VIRTIO_NET_F_CSUM: the driver leaves checksums to us.</summary>
    internal const ulong Csum = 1UL << 0;

    /// <summary>VIRTIO_NET_F_GUEST_CSUM: the driver takes frames whose checksum is not complete.</summary>
    internal const ulong GuestCsum = 1UL << 1;

    /// <summary>VIRTIO_NET_F_CTRL_GUEST_OFFLOADS.</summary>
    internal const ulong CtrlGuestOffloads = 1UL << 2;

    /// <summary>VIRTIO_NET_F_MTU.</summary>
    internal const ulong Mtu = 1UL << 3;

    /// <summary>VIRTIO_NET_F_MAC.</summary>
    internal const ulong Mac = 1UL << 5;

    /// <summary>VIRTIO_NET_F_GUEST_TSO4.</summary>
    internal const ulong GuestTso4 = 1UL << 7;

    /// <summary>VIRTIO_NET_F_GUEST_TSO6.</summary>
    internal const ulong GuestTso6 = 1UL << 8;

    /// <summary>VIRTIO_NET_F_GUEST_ECN.</summary>
    internal const ulong GuestEcn = 1UL << 9;

    /// <summary>VIRTIO_NET_F_GUEST_UFO.</summary>
    internal const ulong GuestUfo = 1UL << 10;

    /// <summary>VIRTIO_NET_F_HOST_TSO4.</summary>
    internal const ulong HostTso4 = 1UL << 11;

    /// <summary>VIRTIO_NET_F_HOST_TSO6.</summary>
    internal const ulong HostTso6 = 1UL << 12;

    /// <summary>VIRTIO_NET_F_HOST_ECN.</summary>
    internal const ulong HostEcn = 1UL << 13;

    /// <summary>VIRTIO_NET_F_HOST_UFO.</summary>
    internal const ulong HostUfo = 1UL << 14;

    /// <summary>VIRTIO_NET_F_MRG_RXBUF.</summary>
    internal const ulong MrgRxbuf = 1UL << 15;

    /// <summary>VIRTIO_NET_F_STATUS.</summary>
    internal const ulong Status = 1UL << 16;

    /// <summary>VIRTIO_NET_F_CTRL_VQ.</summary>
    internal const ulong CtrlVq = 1UL << 17;

    /// <summary>VIRTIO_NET_F_CTRL_RX.</summary>
    internal const ulong CtrlRx = 1UL << 18;

    /// <summary>VIRTIO_NET_F_CTRL_VLAN.</summary>
    internal const ulong CtrlVlan = 1UL << 19;

    /// <summary>VIRTIO_NET_F_CTRL_RX_EXTRA.</summary>
    internal const ulong CtrlRxExtra = 1UL << 20;

    /// <summary>VIRTIO_NET_F_GUEST_ANNOUNCE.</summary>
    internal const ulong GuestAnnounce = 1UL << 21;

    /// <summary>VIRTIO_NET_F_MQ.</summary>
    internal const ulong Mq = 1UL << 22;

    /// <summary>VIRTIO_NET_F_CTRL_MAC_ADDR.</summary>
    internal const ulong CtrlMacAddr = 1UL << 23;

    /// <summary>VIRTIO_NET_F_GUEST_USO4.</summary>
    internal const ulong GuestUso4 = 1UL << 54;

    /// <summary>VIRTIO_NET_F_GUEST_USO6.</summary>
    internal const ulong GuestUso6 = 1UL << 55;

    /// <summary>VIRTIO_NET_F_HOST_USO.</summary>
    internal const ulong HostUso = 1UL << 56;

    /// <summary>VIRTIO_NET_F_SPEED_DUPLEX.</summary>
    internal const ulong SpeedDuplex = 1UL << 63;

    /// <summary>The driver takes frames that are yet to be segmented.</summary>
    internal const ulong GuestSegmentation = GuestTso4 | GuestTso6 | GuestUfo | GuestUso4 | GuestUso6;

    /// <summary>What VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET may switch (5.1.6.5.8), if it was negotiated.</summary>
    internal const ulong GuestOffloads = GuestCsum | GuestEcn | GuestSegmentation;

    /// <summary>Offered whatever the options say.</summary>
    internal const ulong Always =
        Mtu | Mac | Status | CtrlVq | CtrlRx | CtrlVlan | CtrlRxExtra | GuestAnnounce | CtrlMacAddr | SpeedDuplex;

    /// <summary>Offered with offloads, whatever the kernel.</summary>
    internal const ulong Offloads =
        Csum | GuestCsum | CtrlGuestOffloads | GuestTso4 | GuestTso6 | GuestEcn | GuestUfo | HostTso4 | HostTso6 | HostEcn | HostUfo;

    /// <summary>Offered with offloads where the TAP segments UDP (Linux 6.2 and later).</summary>
    internal const ulong UdpSegmentation = GuestUso4 | GuestUso6 | HostUso;
}
