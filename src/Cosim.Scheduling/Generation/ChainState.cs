// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Scheduling.Generation;

/// <summary>A chain that a driver has made available.</summary>
/// <param name="plan">What it is.</param>
/// <param name="id">By what a used element names it: its first descriptor, or its buffer id.</param>
/// <param name="descriptors">Descriptors of the ring that it takes, in its order.</param>
internal sealed class ChainState(ChainPlan plan, ushort id, ushort[] descriptors)
{
    public ChainPlan Plan => plan;

    public ushort Id => id;

    public ushort[] Descriptors => descriptors;

    /// <summary>The device-readable bytes.</summary>
    public byte[] Readable { get; } = Mix.Bytes((int)plan.Segments.Where(s => !s.Writable).Sum(s => s.Length), plan.Data);

    /// <summary>The bytes that the back end writes.</summary>
    public byte[] Answer { get; } = Mix.Bytes((int)plan.UsedLength, ~plan.Data);

    public uint WritableLength { get; } = (uint)plan.Segments.Where(s => s.Writable).Sum(s => s.Length);

    /// <summary>Host 2 has it.</summary>
    public bool Arrived { get; set; }

    /// <summary>Its first descriptor in host 2's ring.</summary>
    public ushort Place { get; set; }

    /// <summary>Host 2's buffer for the writable bytes.</summary>
    public ulong Writable { get; set; }
}
