// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>How an access to the client's memory ended.</summary>
public enum DmaResult
{
    /// <summary>Done.</summary>
    Ok,

    /// <summary>Part of the range is not in the map. Nothing was touched.</summary>
    Unmapped,

    /// <summary>
    /// All of the range is in the map and allows this direction, but a part was mapped without a descriptor: the client has to be asked
    /// (<see cref="VfioUserServer.BeginDmaRead"/>, <see cref="VfioUserServer.BeginDmaWrite"/>). Nothing was touched.
    /// </summary>
    Remote,

    /// <summary>Part of the range does not allow this direction. Nothing was touched.</summary>
    Denied,

    /// <summary>The client took the memory behind the map away; a part may have been transferred.</summary>
    Faulted,
}
