// SPDX-License-Identifier: Apache-2.0
using Cosim.VfioUser;

namespace Cosim.Backend;

/// <summary>The back-end endpoint on port 1 of the FPGA (hdl/CONTRACT.md, 3), however this process reaches it.</summary>
public interface IEndpoint : IDisposable
{
    /// <summary>Memory that the FPGA can reach.</summary>
    Pool Pool { get; }

    /// <summary>One event for each MSI-X vector, armed.</summary>
    IReadOnlyList<EventFd> Vectors { get; }

    /// <summary>A descriptor that reports a hang-up when the endpoint is gone; -1 when there is none.</summary>
    int Lifeline { get; }

    /// <summary>Reads a register of BAR0.</summary>
    uint Read(uint offset);

    /// <summary>Writes a register of BAR0; posted.</summary>
    void Write(uint offset, uint value);
}
