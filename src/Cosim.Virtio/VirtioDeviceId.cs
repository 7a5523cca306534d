// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Virtio;

/// <summary>Virtio device types (virtio 1.3, section 5).</summary>
public enum VirtioDeviceId : ushort
{
    /// <summary>Network card.</summary>
    Net = 1,

    /// <summary>Block device.</summary>
    Block = 2,

    /// <summary>Console: terminals and ports.</summary>
    Console = 3,

    /// <summary>Entropy source.</summary>
    Entropy = 4,
}
