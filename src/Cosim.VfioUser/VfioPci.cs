// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>Region and interrupt indices of a PCI device, as linux/vfio.h numbers them.</summary>
public static class VfioPci
{
    /// <summary>VFIO_PCI_BAR0_REGION_INDEX; BAR n is region n.</summary>
    public const int Bar0RegionIndex = 0;

    /// <summary>VFIO_PCI_ROM_REGION_INDEX.</summary>
    public const int RomRegionIndex = 6;

    /// <summary>VFIO_PCI_CONFIG_REGION_INDEX.</summary>
    public const int ConfigRegionIndex = 7;

    /// <summary>VFIO_PCI_VGA_REGION_INDEX.</summary>
    public const int VgaRegionIndex = 8;

    /// <summary>VFIO_PCI_NUM_REGIONS.</summary>
    public const int RegionCount = 9;

    /// <summary>VFIO_PCI_INTX_IRQ_INDEX.</summary>
    public const int IntxIrqIndex = 0;

    /// <summary>VFIO_PCI_MSI_IRQ_INDEX.</summary>
    public const int MsiIrqIndex = 1;

    /// <summary>VFIO_PCI_MSIX_IRQ_INDEX.</summary>
    public const int MsixIrqIndex = 2;

    /// <summary>VFIO_PCI_ERR_IRQ_INDEX.</summary>
    public const int ErrIrqIndex = 3;

    /// <summary>VFIO_PCI_REQ_IRQ_INDEX.</summary>
    public const int ReqIrqIndex = 4;

    /// <summary>VFIO_PCI_NUM_IRQS.</summary>
    public const int IrqCount = 5;
}
