// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Generation;

/// <summary>What a generated run does, all of it chosen before the first cycle: the same on each FPGA, whatever its timing.</summary>
internal sealed record Plan
{
    /// <summary>Back-pressure on the streams of a simulator.</summary>
    public required LinkPauses Pauses { get; init; }

    /// <summary>Cycles from a request to its first completion.</summary>
    public required uint Latency { get; init; }

    /// <summary>Greatest number of cycles by which a completion comes later.</summary>
    public required int MostDelay { get; init; }

    /// <summary>Of 256 completions, how many are cut at a Read Completion Boundary before they have to be.</summary>
    public required int SplitShare { get; init; }

    /// <summary>Chooses delays and splits, and the pattern of untouched memory.</summary>
    public required ulong Seed { get; init; }

    /// <summary>Address of the first byte of each host's memory.</summary>
    public required ulong[] Bases { get; init; }

    /// <summary>Device Control of the functions of port 0, and last of port 1's: Max_Payload_Size and Max_Read_Request_Size.</summary>
    public required ushort[] DeviceControls { get; init; }

    /// <summary>What the functions offer of <see cref="VirtioFeatures.AllRing"/>.</summary>
    public required ulong RingFeatures { get; init; }

    public required BackEndPlan BackEnd { get; init; }

    public required IReadOnlyList<Epoch> Epochs { get; init; }

    /// <summary>Whether host 1's memory is the same at the end on each FPGA: nothing was interrupted at a time that depends on its speed.</summary>
    public bool EndsAlike => Epochs.All(epoch => epoch.Interruption == Interruption.Nothing
        && epoch.Lives.All(life => life is null or { LeavesInFlight: false, Illegal: Illegal.Nothing }
            && life?.Operations.Any(operation => operation is QueueResetOperation) != true));
}

/// <summary>How host 2's software behaves.</summary>
internal sealed record BackEndPlan
{
    /// <summary>Its rings have EVENT_IDX.</summary>
    public required bool EventIdx { get; init; }

    /// <summary>It is told of kicks and messages by INTx in the place of MSI-X.</summary>
    public required bool Intx { get; init; }

    /// <summary>Offset of its pool in host 2's memory.</summary>
    public required uint PoolOffset { get; init; }

    /// <summary>Cycles from a message to its answer.</summary>
    public required uint MailboxDelay { get; init; }

    /// <summary>It suppresses kicks while it works.</summary>
    public required bool SuppressesKicks { get; init; }

    /// <summary>It calls without looking whether a call is wanted.</summary>
    public required bool AlwaysCalls { get; init; }
}

/// <summary>What happens to the whole bridge while the drivers are at work.</summary>
internal enum Interruption
{
    Nothing,
    NewSession,
    FpgaReset,
}

/// <summary>A time in which each function is driven from its reset on.</summary>
internal sealed record Epoch(IReadOnlyList<Life?> Lives, Interruption Interruption, uint InterruptionAfter);

/// <summary>How a driver is told of used buffers.</summary>
internal enum Notice
{
    /// <summary>A vector for each queue.</summary>
    VectorPerQueue,

    /// <summary>One vector for all queues.</summary>
    SharedVector,

    /// <summary>Queues have no vector: the driver looks.</summary>
    NoVector,

    /// <summary>INTx and ISR.</summary>
    Intx,
}

/// <summary>How a driver leaves a function.</summary>
internal enum Ending
{
    Nothing,
    StatusReset,
    FunctionLevelReset,
}

/// <summary>What a driver or a back end does wrong at the end of a life; DEVICE_NEEDS_RESET is what follows.</summary>
internal enum Illegal
{
    Nothing,

    /// <summary>Split rings only.</summary>
    HeadOutOfRange,

    /// <summary>More is available than the queue has; in a packed ring it goes over a chain that is in flight.</summary>
    AvailableIndexJumps,

    /// <summary>A head, or a buffer id, is offered twice.</summary>
    HeadInUse,

    /// <summary>The chain has no end.</summary>
    Loop,

    /// <summary>Split rings only.</summary>
    NextOutOfRange,
    ReadableAfterWritable,
    IndirectNotNegotiated,
    IndirectBadSize,
    IndirectInIndirect,
    IndirectWithNext,
    BufferOutsideMemory,
    RingOutsideMemory,
    NoByte,
    AddressWraps,
    UsedNotOffered,
    UsedTooLong,
    UsedIndexJumps,
}

/// <summary>A function from one reset to the next.</summary>
internal sealed record Life
{
    /// <summary>What the driver negotiates of <see cref="Plan.RingFeatures"/>.</summary>
    public required ulong Features { get; init; }

    public required Notice Notice { get; init; }

    public required IReadOnlyList<QueuePlan> Queues { get; init; }

    public required IReadOnlyList<Operation> Operations { get; init; }

    public required Ending Ending { get; init; }

    /// <summary>Chains are at host 2 or under way when the life ends.</summary>
    public required bool LeavesInFlight { get; init; }

    public required Illegal Illegal { get; init; }
}

/// <summary>A queue.</summary>
internal sealed record QueuePlan
{
    public required ushort Index { get; init; }

    public required bool Packed { get; init; }

    public required ushort Size { get; init; }

    /// <summary>The descriptor area, from the start of host 1's memory.</summary>
    public required uint Descriptors { get; init; }

    /// <summary>The driver area: available ring, or driver event suppression structure.</summary>
    public required uint Driver { get; init; }

    /// <summary>The device area: used ring, or device event suppression structure.</summary>
    public required uint Device { get; init; }

    public required bool SuppressesInterrupts { get; init; }

    /// <summary>Makes the buffer ids of a packed ring; 0: those from 0 on.</summary>
    public required int IdStride { get; init; }
}

/// <summary>A part of a buffer.</summary>
internal readonly record struct Segment(uint Offset, uint Length, bool Writable);

/// <summary>A chain of descriptors and what becomes of it.</summary>
internal sealed record ChainPlan
{
    public required IReadOnlyList<Segment> Segments { get; init; }

    /// <summary>Segments that stand in the queue's own table before the indirect one; all of them without one.</summary>
    public required int Direct { get; init; }

    /// <summary>Where the indirect table is.</summary>
    public required uint Table { get; init; }

    /// <summary>Bytes that the back end writes.</summary>
    public required uint UsedLength { get; init; }

    /// <summary>Contents, both ways.</summary>
    public required ulong Data { get; init; }

    /// <summary>Cycles that the back end takes.</summary>
    public required uint Delay { get; init; }

    /// <summary>The back end calls at once.</summary>
    public required bool Calls { get; init; }

    /// <summary>The back end never uses it.</summary>
    public required bool Kept { get; init; }
}

/// <summary>What a driver does next.</summary>
internal abstract record Operation;

/// <summary>Makes chains available, all at once; the back end uses them in another order.</summary>
/// <param name="Queue">Position in the life's queues.</param>
/// <param name="Chains">The chains.</param>
/// <param name="UsedOrder">Positions in them.</param>
/// <param name="NotifiesAlways">The driver notifies whether the device wants it or not.</param>
/// <param name="Pause">Cycles between the writing of the descriptors and that which makes them available.</param>
internal sealed record BatchOperation(int Queue, IReadOnlyList<ChainPlan> Chains, IReadOnlyList<int> UsedOrder, bool NotifiesAlways, uint Pause) : Operation;

/// <summary>Waits until all chains of a queue are used.</summary>
internal sealed record DrainOperation(int Queue) : Operation;

/// <summary>Does nothing for some cycles.</summary>
internal sealed record IdleOperation(uint Cycles) : Operation;

/// <summary>Has a batch used while the queue's vector is masked (or all are), and unmasks it.</summary>
internal sealed record MaskedOperation(BatchOperation Batch, bool WholeFunction) : Operation;

/// <summary>Writes the device configuration space and waits until the back end has it.</summary>
internal sealed record ConfigWriteOperation(int Offset, int Size, uint Value) : Operation;

/// <summary>The back end changes the device configuration space.</summary>
internal sealed record ConfigChangeOperation(int Offset, byte Value) : Operation;

/// <summary>Reads the device configuration space.</summary>
internal sealed record ConfigReadOperation(int Offset, int Length) : Operation;

/// <summary>Notifies a queue that has nothing new, several times.</summary>
internal sealed record StormOperation(int Queue, int Notifications) : Operation;

/// <summary>Resets a queue, whatever is in flight, and sets it up anew after some cycles.</summary>
internal sealed record QueueResetOperation(int Queue, uint Pause, QueuePlan Anew) : Operation;

/// <summary>A TLP that no host should send.</summary>
internal sealed record StrayOperation(int Port, Stray Kind) : Operation;

/// <summary>TLPs that no host should send.</summary>
internal enum Stray
{
    UnmappedRead,
    LongRead,
    LongWrite,
    UnmappedWrite,
    IoRead,
    LockedRead,
    AtomicOperation,
    OtherFunction,
    VendorMessage,
    UnexpectedCompletion,
    UnexpectedCompletionWithData,
    LengthMismatch,
}
