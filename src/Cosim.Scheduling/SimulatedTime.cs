// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;

namespace Cosim.Scheduling;

/// <summary>The time of a bridge that nobody's clock drives: the FPGA's cycles.</summary>
internal sealed class SimulatedTime(IFpga fpga, ulong clockHz) : TimeProvider
{
    public override long TimestampFrequency => (long)clockHz;

    public override long GetTimestamp() => (long)fpga.Cycle;
}
