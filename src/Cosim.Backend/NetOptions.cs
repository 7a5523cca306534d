// SPDX-License-Identifier: Apache-2.0
using System.Net.NetworkInformation;

namespace Cosim.Backend;

/// <summary>What a network card is like, and what it is connected to.</summary>
public sealed record NetOptions
{
    /// <summary>Most pairs of queues: with the control queue they fit the 64 queues that a function of the FPGA has at most.</summary>
    public const int MaxQueuePairs = 31;

    /// <summary>Smallest MTU that IPv4 allows, and virtio.</summary>
    public const int MinMtu = 68;

    /// <summary>Greatest MTU that a TAP takes.</summary>
    public const int MaxMtu = 65521;

    /// <summary>Greatest speed in Mbit/s that a driver takes as known.</summary>
    public const int MaxSpeedMbps = int.MaxValue;

    /// <summary>TAP interface; created if there is none of that name.</summary>
    public required string Tap { get; init; }

    /// <summary>The card's address.</summary>
    public PhysicalAddress Mac { get; init; } = PhysicalAddress.Parse("02-63-6F-73-69-01");

    /// <summary>Told to host 1, and set on the interface.</summary>
    public int Mtu { get; init; } = 1500;

    /// <summary>IPv4 address of the interface as A.B.C.D/N; null leaves it alone.</summary>
    public string? Address { get; init; }

    /// <summary>Pairs of queues, 1 to <see cref="MaxQueuePairs"/>.</summary>
    public int QueuePairs { get; init; } = 1;

    /// <summary>Checksums and segmentation are left to the other side where it can do them.</summary>
    public bool Offloads { get; init; } = true;

    /// <summary>A received frame may be spread over several buffers (VIRTIO_NET_F_MRG_RXBUF).</summary>
    public bool MergedBuffers { get; init; } = true;

    /// <summary>Speed told to host 1, in Mbit/s; always full duplex.</summary>
    public int SpeedMbps { get; init; } = 10_000;
}
