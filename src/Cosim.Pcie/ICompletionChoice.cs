// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Pcie;

/// <summary>
/// What PCI Express leaves to a completer: completions of different requests come in any order, those of one request in parts that end at
/// multiples of the Read Completion Boundary (2.3.1.1, 2.4.1).
/// </summary>
public interface ICompletionChoice
{
    /// <summary>Cycles by which the next completion of a request comes later than <see cref="RootPortOptions.CompletionLatencyCycles"/> and than the one before it.</summary>
    /// <param name="request">The read.</param>
    ulong Delay(in Tlp request);

    /// <summary>Bytes of the next completion of a read.</summary>
    /// <param name="address">Address of its first byte.</param>
    /// <param name="remaining">Bytes that are not completed yet.</param>
    /// <param name="most">Bytes that it can have; it ends at a multiple of 64 or is all that remains.</param>
    /// <returns>1 to <paramref name="most"/>; less than <paramref name="remaining"/> only up to a multiple of 64.</returns>
    int Split(ulong address, int remaining, int most);
}
