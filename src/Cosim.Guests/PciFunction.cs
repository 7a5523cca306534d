// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Guests;

/// <summary>A PCI function as a guest's kernel sees it.</summary>
/// <param name="Address">Domain, bus, device and function, such as <c>0000:01:00.0</c>.</param>
/// <param name="Vendor">Vendor id.</param>
/// <param name="Device">Device id.</param>
/// <param name="Class">Class code, three bytes.</param>
/// <param name="Driver">Driver bound to it; null when none is.</param>
/// <param name="VirtioDriver">Driver bound to the virtio device on it; null when none is.</param>
/// <param name="Node">Its block device or network interface, such as <c>vda</c>; null when it has none.</param>
/// <param name="Vectors">MSI-X or MSI vectors that have a handler.</param>
/// <param name="Interrupts">Interrupts taken so far on those.</param>
public sealed record PciFunction(
    string Address,
    ushort Vendor,
    ushort Device,
    uint Class,
    string? Driver,
    string? VirtioDriver,
    string? Node,
    int Vectors,
    long Interrupts);
