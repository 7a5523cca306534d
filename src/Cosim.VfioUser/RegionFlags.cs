// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>VFIO_REGION_INFO_FLAG_*.</summary>
[Flags]
public enum RegionFlags
{
    /// <summary>No access.</summary>
    None = 0,

    /// <summary>VFIO_REGION_INFO_FLAG_READ.</summary>
    Read = 1,

    /// <summary>VFIO_REGION_INFO_FLAG_WRITE.</summary>
    Write = 2,
}
