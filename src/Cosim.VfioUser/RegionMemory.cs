// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>Memory behind a region, or behind parts of it, that the client may map.</summary>
/// <param name="Fd">A descriptor that can be mapped; owned by the device, open while the server lives.</param>
/// <param name="Offset">Where the region's first byte lies in the file; a multiple of the page size.</param>
/// <param name="Areas">The parts that may be mapped, in whole pages; empty: all of the region.</param>
public sealed record RegionMemory(int Fd, ulong Offset, IReadOnlyList<RegionArea> Areas);

/// <summary>A part of a region.</summary>
/// <param name="Offset">First byte within the region.</param>
/// <param name="Size">Bytes.</param>
public readonly record struct RegionArea(ulong Offset, ulong Size);
