// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;

namespace Cosim.Scheduling;

/// <content>What <see cref="SteppedBridge"/> runs a bridge without a thread by.</content>
public sealed partial class Bridge
{
    /// <summary>Where scripts go on.</summary>
    internal SynchronizationContext Context => new SteppedContext(_ends);

    /// <summary>Whether the owner is running the bridge.</summary>
    internal bool IsRun
    {
        set => _ends.IsServed = value;
    }

    /// <summary>The FPGA's cycle.</summary>
    internal ulong Cycle => _fpga.Cycle;

    /// <summary>Number of PCIe ports with a host.</summary>
    internal int PortCount => _ports.Length;

    /// <summary>Does what was posted, then runs the clock up to an output, an idle FPGA, or for so many cycles. Idle: nothing was sent since, either.</summary>
    internal RunResult Step(ulong limit)
    {
        Settle();
        RunResult result = RunOnce(limit);
        _virtio?.CheckDeadline();
        Settle();
        return result == RunResult.Idle ? _fpga.Run(0) : result;
    }

    /// <summary>Does what was posted, without a cycle.</summary>
    internal void Settle()
    {
        do
        {
            RunPosted();
            _ends.Run();
        }
        while (_posted.Count != 0);
    }

    /// <summary>What the hosts send from now on is offered at this cycle at the earliest.</summary>
    internal void Hold(ulong cycle)
    {
        foreach (Port port in _ports)
        {
            port.NotBefore = cycle;
        }
    }

    /// <summary>Gives the FPGA a TLP that the root port knows nothing of.</summary>
    internal void Inject(int port, ReadOnlySpan<byte> tlp) => _ports[port].Send(tlp, 0);

    /// <summary>The memory of the host that a program plays.</summary>
    internal Span<byte> Memory(int port) => Programmed(port).Memory.Bytes;
}
