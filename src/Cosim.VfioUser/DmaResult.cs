// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>How an access to the client's memory ended.</summary>
public enum DmaResult
{
    /// <summary>Done.</summary>
    Ok,

    /// <summary>Part of the range is not in the map. Nothing was touched.</summary>
    Unmapped,

    /// <summary>Part of the range was mapped without a descriptor, so it cannot be reached directly. Nothing was touched.</summary>
    Unsupported,

    /// <summary>Part of the range does not allow this direction. Nothing was touched.</summary>
    Denied,

    /// <summary>The client took the memory behind the map away; a part may have been transferred.</summary>
    Faulted,
}
