// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>What a mapped range allows the device; the values are those of VFIO_USER_DMA_MAP's flags.</summary>
[Flags]
public enum DmaAccess
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>The device may read.</summary>
    Read = 1,

    /// <summary>The device may write.</summary>
    Write = 2,

    /// <summary>Both.</summary>
    ReadWrite = 3,
}
