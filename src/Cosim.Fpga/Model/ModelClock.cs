// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Fpga.Model;

/// <summary>The model's clock and the fixed latencies of its parts, in cycles.</summary>
internal sealed class ModelClock
{
    /// <summary>From a request's last beat to the first beat of what it causes.</summary>
    public const ulong ProcessingCycles = 4;

    /// <summary>Cycle that is being executed.</summary>
    public ulong Now { get; set; }
}
