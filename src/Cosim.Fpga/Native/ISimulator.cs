// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Fpga.Native;

/// <summary>A running simulator over a <see cref="LinkRegion"/>.</summary>
internal interface ISimulator : IDisposable
{
    /// <summary>Serves the request in the region. Null, or why the simulator is lost.</summary>
    string? Execute();

    /// <summary>Ends it without letting it finish what it does.</summary>
    void Abandon();
}
