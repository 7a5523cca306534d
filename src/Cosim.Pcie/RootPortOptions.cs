// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Pcie;

/// <summary>Settings of a <see cref="RootPort"/>.</summary>
public sealed record RootPortOptions
{
    /// <summary>Name of the port in reports.</summary>
    public string Name { get; init; } = "root port";

    /// <summary>Cycles from a read request of the FPGA to the earliest beat of its completion.</summary>
    public ulong CompletionLatencyCycles { get; init; } = 16;

    /// <summary>Chooses when and in which parts reads are completed; null: after <see cref="CompletionLatencyCycles"/> and in as few parts as may be.</summary>
    public ICompletionChoice? Completions { get; init; }

    /// <summary>Cycles after which a request that was not completed ends with all ones.</summary>
    public ulong TimeoutCycles { get; init; } = 100_000;

    /// <summary>Tags, and so the number of requests that may wait for a completion at once: 1 to 256.</summary>
    public int Tags { get; init; } = 32;
}
