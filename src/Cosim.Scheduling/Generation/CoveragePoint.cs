// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Scheduling.Generation;

/// <summary>What a batch of generated runs is to have seen: the one list of functional coverage points. Each is counted where it is seen, not where it is planned.</summary>
internal enum CoveragePoint
{
    // The hosts' links
    [Seen("TLP with a 4 DW header out of the FPGA: an address from 4 GiB on")] FourDwordHeader,
    [Seen("transfer that goes over 4 GiB")] CrossesFourGib,
    [Seen("write TLP as long as Max_Payload_Size 128")] FullPayload128,
    [Seen("write TLP as long as Max_Payload_Size 256")] FullPayload256,
    [Seen("read TLP as long as Max_Read_Request_Size, from 128 to 4096")] FullReadRequest,
    [Seen("request that ends at a multiple of 4 KiB because it may not go on")] EndsAtPage,
    [Seen("request that begins in the middle of a DW")] UnalignedStart,
    [Seen("request that ends in the middle of a DW")] UnalignedEnd,
    [Seen("request of one byte")] OneByte,
    [Seen("read completed in several parts")] SplitCompletion,
    [Seen("completions of two reads in another order than the reads")] CompletionsOutOfOrder,
    [Seen("completions of two reads mixed")] CompletionsInterleaved,
    [Seen("16 or more reads of one port without completion")] ManyReadsInFlight,
    [Seen("completion latency below 4 cycles")] ShortLatency,
    [Seen("completion that is late by 200 cycles or more")] LongLatency,
    [Seen("run with pauses before beats into the FPGA")] PausesInto,
    [Seen("run with pauses of ready at beats out of the FPGA")] PausesOutOf,
    [Seen("run with pauses both ways in half of all cycles or more")] HeavyPauses,

    // Queues
    [Seen("queue of 2 entries")] SmallestQueue,
    [Seen("queue of 128 entries or more")] LargeQueue,
    [Seen("four or more queues of a function")] ManyQueues,
    [Seen("both functions at work at once")] BothFunctions,
    [Seen("split ring's index over its end")] RingWraps,
    [Seen("ring full: no descriptor free")] RingFull,
    [Seen("ring whose parts lie across a page")] RingAcrossPage,

    // Packed rings
    [Seen("packed ring")] PackedRing,
    [Seen("packed ring whose size is no power of two")] PackedOddSize,
    [Seen("packed ring of one descriptor")] PackedOneDescriptor,
    [Seen("packed ring filled over its end: the wrap counter changes")] PackedWrap,
    [Seen("packed ring filled over its end four times or more")] PackedManyWraps,
    [Seen("chain over the end of a packed ring")] PackedChainOverEnd,
    [Seen("indirect table of a packed ring")] PackedIndirect,
    [Seen("buffer ids of a packed ring in another order than they became free")] PackedIdsInAnyOrder,
    [Seen("several used chains of a packed ring shown at once")] PackedUsedTogether,
    [Seen("packed ring with EVENT_IDX")] PackedEventIdx,
    [Seen("notification left out because the device event suppression structure says so")] PackedNotifyLeftOut,
    [Seen("interrupt suppressed by the descriptor in the driver event suppression structure")] PackedInterruptSuppressed,
    [Seen("interrupt suppressed by RING_EVENT_FLAGS_DISABLE")] PackedInterruptDisabled,

    // Chains
    [Seen("chain with readable bytes only")] ReadableOnly,
    [Seen("chain with writable bytes only")] WritableOnly,
    [Seen("chain with both")] ReadableAndWritable,
    [Seen("chain of one descriptor")] OneDescriptor,
    [Seen("chain of more than 4 descriptors: more than one window of the walk")] LongChain,
    [Seen("chain of 16 descriptors or more")] VeryLongChain,
    [Seen("descriptor without a byte in a chain")] EmptyDescriptor,
    [Seen("segment of one byte")] OneByteSegment,
    [Seen("segment longer than 4 KiB")] LongSegment,
    [Seen("segment that begins at the last byte of a page")] StartsAtLastByte,
    [Seen("segment that ends at the last byte of a page")] EndsAtLastByte,
    [Seen("indirect table")] IndirectTable,
    [Seen("indirect table of 32 entries or more")] LongIndirectTable,
    [Seen("indirect table across a page")] TableAcrossPage,
    [Seen("descriptors of the queue before an indirect table")] DirectThenIndirect,
    [Seen("descriptors of a chain that are not in ascending order")] ScatteredDescriptors,
    [Seen("nothing used of a chain's writable bytes")] NothingUsed,
    [Seen("a part of a chain's writable bytes used")] PartUsed,
    [Seen("all of a chain's writable bytes used")] AllUsed,
    [Seen("chains used in another order than offered")] UsedOutOfOrder,
    [Seen("more than 16 chains made available at once")] LargeBatch,
    [Seen("descriptors written some time before they become available")] WrittenBefore,
    [Seen("VIRTIO_F_IN_ORDER: chain used ahead of one that was made available before it")] InOrderHeldBack,
    [Seen("VIRTIO_F_IN_ORDER: several chains given back at once")] InOrderBatch,

    // Notification
    [Seen("EVENT_IDX negotiated by the driver")] DriverEventIdx,
    [Seen("EVENT_IDX in the back end's rings only")] BackEndEventIdxOnly,
    [Seen("neither side with EVENT_IDX")] NoEventIdx,
    [Seen("notification left out because avail_event says so")] NotifyLeftOut,
    [Seen("interrupt suppressed by used_event")] InterruptSuppressedByEvent,
    [Seen("interrupt suppressed by NO_INTERRUPT")] InterruptSuppressedByFlag,
    [Seen("one interrupt for several used buffers")] InterruptCoalesced,
    [Seen("call that the back end left out")] CallLeftOut,
    [Seen("notifications without a new buffer, one behind the other")] NotifyStorm,
    [Seen("notification of a split ring with its data")] NotificationData,
    [Seen("notification of a packed ring with its data")] PackedNotificationData,

    // Interrupts
    [Seen("MSI-X interrupt of a queue with a vector of its own")] VectorPerQueue,
    [Seen("MSI-X interrupt of a vector that queues share")] SharedVector,
    [Seen("INTx asserted and deasserted")] Intx,
    [Seen("queue without a vector: no interrupt")] NoVector,
    [Seen("vector masked: pending, one interrupt after unmasking")] VectorMasked,
    [Seen("function masked: pending, one interrupt after unmasking")] FunctionMasked,
    [Seen("configuration change interrupt")] ConfigurationInterrupt,
    [Seen("back end served by INTx")] BackEndIntx,

    // Configuration space
    [Seen("driver's write of the device configuration reached the back end")] ConfigurationWritten,
    [Seen("back end's change of the device configuration reached the driver")] ConfigurationChanged,

    // Resets
    [Seen("device reset with no chain in flight")] ResetAtRest,
    [Seen("device reset with chains in flight")] ResetInFlight,
    [Seen("function level reset with no chain in flight")] FlrAtRest,
    [Seen("function level reset with chains in flight")] FlrInFlight,
    [Seen("FPGA reset while the drivers are at work")] FpgaReset,
    [Seen("new session of the back end while the drivers are at work")] NewSession,
    [Seen("chain offered again to a new session")] OfferedAgain,
    [Seen("function used again after its reset")] UsedAfterReset,
    [Seen("queue reset with no chain in flight")] QueueReset,
    [Seen("queue reset with chains in flight")] QueueResetInFlight,
    [Seen("queue reset with chains of another queue in flight")] QueueResetBesideTraffic,
    [Seen("queue set up with another size after its reset")] QueueSizeChanged,
    [Seen("chain used after its queue's reset")] QueueUsedAfterReset,

    // On request only
    [Seen("DEVICE_NEEDS_RESET after the driver's wrong ring", OnRequest = true)] DriverNeedsReset,
    [Seen("DEVICE_NEEDS_RESET after the driver's wrong chain", OnRequest = true)] ChainNeedsReset,
    [Seen("DEVICE_NEEDS_RESET after the driver's wrong packed ring", OnRequest = true)] PackedRingNeedsReset,
    [Seen("DEVICE_NEEDS_RESET after a wrong chain in a packed ring", OnRequest = true)] PackedChainNeedsReset,
    [Seen("DEVICE_NEEDS_RESET after the back end's wrong used element", OnRequest = true)] BackEndNeedsReset,
    [Seen("request answered UR", OnRequest = true)] UnsupportedRequest,
    [Seen("request answered CA", OnRequest = true)] CompleterAbort,
    [Seen("posted request or completion dropped", OnRequest = true)] PostedDropped,
    [Seen("malformed TLP dropped", OnRequest = true)] MalformedDropped,
}

/// <summary>What a coverage point means.</summary>
[AttributeUsage(AttributeTargets.Field)]
internal sealed class SeenAttribute(string description) : Attribute
{
    public string Description => description;

    /// <summary>Seen with illegal stimuli only.</summary>
    public bool OnRequest { get; init; }
}
