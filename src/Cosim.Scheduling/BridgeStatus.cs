// SPDX-License-Identifier: Apache-2.0
using Cosim.Pcie;
using Cosim.Scheduling.Stimuli;

namespace Cosim.Scheduling;

/// <summary>A function as its host sees it.</summary>
/// <param name="Port">Port number.</param>
/// <param name="Function">Function number.</param>
/// <param name="Socket">Path of its vfio-user socket; empty where a program plays the host.</param>
/// <param name="Attached">A vfio-user client is being served.</param>
public readonly record struct FunctionStatus(int Port, int Function, string Socket, bool Attached);

/// <summary>What a bridge has done since it was made.</summary>
public sealed record BridgeStatus
{
    /// <summary>Where it stands.</summary>
    public required BridgeState State { get; init; }

    /// <summary>Why the FPGA is lost; empty while it is not.</summary>
    public required string Failure { get; init; }

    /// <summary>Clock cycles.</summary>
    public required ulong Cycles { get; init; }

    /// <summary>Those cycles at <see cref="BridgeOptions.ClockHz"/>.</summary>
    public required TimeSpan SimulatedTime { get; init; }

    /// <summary>Wall time in which the FPGA was run.</summary>
    public required TimeSpan BusyTime { get; init; }

    /// <summary>Counters by port; live, they go on counting.</summary>
    public required IReadOnlyList<RootPortCounters> Ports { get; init; }

    /// <summary>All functions of all ports.</summary>
    public required IReadOnlyList<FunctionStatus> Functions { get; init; }

    /// <summary>The recording that goes on, or the last one; null: there was none.</summary>
    public RecordingStatus? Recording { get; init; }

    /// <summary>TLPs both ways on all ports.</summary>
    public ulong Tlps => Ports.Aggregate(0UL, (sum, port) => sum + port.TlpsSent + port.TlpsReceived);

    /// <summary>Interrupts that reached the hosts.</summary>
    public ulong Interrupts => Ports.Aggregate(0UL, (sum, port) => sum + port.MsixInterrupts + port.IntxInterrupts);
}
