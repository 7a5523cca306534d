// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>A register whose being written is all that counts, so that an eventfd can stand for the write.</summary>
/// <param name="Offset">Where in the region.</param>
/// <param name="Size">Bytes of the write: 1, 2, 4 or 8. A write of another size is none of the doorbell's.</param>
/// <param name="Data">The value, little endian, without which a write is none of the doorbell's.</param>
public readonly record struct Doorbell(ulong Offset, int Size, ulong Data);
