// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Fpga.Model;

/// <summary>One virtqueue's fields of the common configuration structure (virtio 1.3, 4.1.4.3).</summary>
internal sealed class VirtioQueue
{
    /// <summary>VIRTIO_MSI_NO_VECTOR.</summary>
    public const uint NoVector = 0xFFFF;

    /// <summary>Greatest queue_size; 0: the queue does not exist.</summary>
    public uint SizeLimit;

    /// <summary>queue_size as the driver wrote it; 0: not yet.</summary>
    public uint WrittenSize;

    /// <summary>queue_msix_vector.</summary>
    public uint Vector = NoVector;

    /// <summary>queue_enable.</summary>
    public bool Enabled;

    /// <summary>queue_reset: written and not acknowledged.</summary>
    public bool Resetting;

    /// <summary>queue_size.</summary>
    public uint Size => WrittenSize == 0 ? SizeLimit : WrittenSize;

    /// <summary>queue_desc, queue_driver, queue_device as six DWs.</summary>
    public uint[] Addresses { get; } = new uint[6];

    /// <summary>Back to the values after a reset of the device.</summary>
    public void Reset()
    {
        WrittenSize = 0;
        Vector = NoVector;
        Enabled = false;
        Resetting = false;
        Array.Clear(Addresses);
    }
}
