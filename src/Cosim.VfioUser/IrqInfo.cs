// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>One interrupt index of a device.</summary>
/// <param name="Count">Interrupts it has: 1 for INTx, the vectors for MSI-X, 0 for none.</param>
/// <param name="Flags">What the client may do with them.</param>
public readonly record struct IrqInfo(int Count, IrqFlags Flags)
{
    /// <summary>The one INTx line: masks itself after each trigger.</summary>
    public static IrqInfo Intx => new(1, IrqFlags.EventFd | IrqFlags.Maskable | IrqFlags.AutoMasked);

    /// <summary>MSI-X with this many vectors.</summary>
    public static IrqInfo Msix(int vectors) => new(vectors, vectors == 0 ? IrqFlags.None : IrqFlags.EventFd | IrqFlags.NoResize);
}
