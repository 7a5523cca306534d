// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Virtio;

/// <summary>Feature bits that are not a device type's own (virtio 1.3, section 6).</summary>
public static class VirtioFeatures
{
    /// <summary>VIRTIO_RING_F_INDIRECT_DESC (28).</summary>
    public const ulong RingIndirectDesc = 1UL << 28;

    /// <summary>VIRTIO_RING_F_EVENT_IDX (29).</summary>
    public const ulong RingEventIdx = 1UL << 29;

    /// <summary>VHOST_USER_F_PROTOCOL_FEATURES (30): only between front end and back end.</summary>
    public const ulong VhostUserProtocolFeatures = 1UL << 30;

    /// <summary>VIRTIO_F_VERSION_1 (32).</summary>
    public const ulong Version1 = 1UL << 32;

    /// <summary>VIRTIO_F_ACCESS_PLATFORM (33).</summary>
    public const ulong AccessPlatform = 1UL << 33;

    /// <summary>VIRTIO_F_RING_PACKED (34).</summary>
    public const ulong RingPacked = 1UL << 34;

    /// <summary>VIRTIO_F_IN_ORDER (35).</summary>
    public const ulong InOrder = 1UL << 35;

    /// <summary>VIRTIO_F_ORDER_PLATFORM (36).</summary>
    public const ulong OrderPlatform = 1UL << 36;

    /// <summary>VIRTIO_F_NOTIFICATION_DATA (38).</summary>
    public const ulong NotificationData = 1UL << 38;

    /// <summary>VIRTIO_F_RING_RESET (40).</summary>
    public const ulong RingReset = 1UL << 40;

    /// <summary>Every feature of rings and transport that the bridge has for host 1, beside <see cref="Version1"/>.</summary>
    public const ulong AllRing = RingIndirectDesc | RingEventIdx | AccessPlatform | RingPacked | InOrder | OrderPlatform | NotificationData | RingReset;

    /// <summary>What of them is offered unless asked otherwise. Not <see cref="InOrder"/>: there a request that takes long holds back those behind it.</summary>
    public const ulong UsualRing = AllRing & ~InOrder;

    /// <summary>Bits 24 to 40, 41 and up to 49: negotiated by the transport or the rings, never by the device type.</summary>
    public const ulong TransportAndRing = ((1UL << 50) - 1) & ~((1UL << 24) - 1);

    /// <summary>The bits of <paramref name="features"/> that belong to the device type (0 to 23 and 50 to 63, section 2.2).</summary>
    public static ulong DeviceType(ulong features) => features & ~TransportAndRing;
}

/// <summary>Bits of <c>device_status</c> (virtio 1.3, 2.1).</summary>
[Flags]
public enum VirtioStatus : byte
{
    /// <summary>0: reset.</summary>
    None = 0,

    /// <summary>ACKNOWLEDGE (1).</summary>
    Acknowledge = 1,

    /// <summary>DRIVER (2).</summary>
    Driver = 2,

    /// <summary>DRIVER_OK (4).</summary>
    DriverOk = 4,

    /// <summary>FEATURES_OK (8).</summary>
    FeaturesOk = 8,

    /// <summary>DEVICE_NEEDS_RESET (64).</summary>
    DeviceNeedsReset = 64,

    /// <summary>FAILED (128).</summary>
    Failed = 128,
}
