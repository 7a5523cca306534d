// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>VFIO_IRQ_INFO_*.</summary>
[Flags]
public enum IrqFlags
{
    /// <summary>No interrupt of this index.</summary>
    None = 0,

    /// <summary>VFIO_IRQ_INFO_EVENTFD: can signal an eventfd.</summary>
    EventFd = 1,

    /// <summary>VFIO_IRQ_INFO_MASKABLE: can be masked and unmasked.</summary>
    Maskable = 2,

    /// <summary>VFIO_IRQ_INFO_AUTOMASKED: masks itself when it triggers.</summary>
    AutoMasked = 4,

    /// <summary>VFIO_IRQ_INFO_NORESIZE: set up as a whole.</summary>
    NoResize = 8,
}
