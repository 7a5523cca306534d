// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Backend;

/// <summary>What a virtio-blk device is to be.</summary>
public sealed record BlockOptions
{
    /// <summary>A file or a block device; its size is a multiple of <see cref="LogicalBlockSize"/>, and not 0.</summary>
    public required string Path { get; init; }

    /// <summary>Writes are refused (VIRTIO_BLK_F_RO).</summary>
    public bool ReadOnly { get; init; }

    /// <summary>What GET_ID answers: at most 20 bytes of UTF-8.</summary>
    public string Serial { get; init; } = "cosim";

    /// <summary>Request queues (VIRTIO_BLK_F_MQ), 1 to 64.</summary>
    public int Queues { get; init; } = 1;

    /// <summary>blk_size in bytes: a power of two from 512 to 65536.</summary>
    public int LogicalBlockSize { get; init; } = 512;

    /// <summary>
    /// Bytes that the storage writes at once, told by VIRTIO_BLK_F_TOPOLOGY and as the alignment of discards: a power of two from
    /// <see cref="LogicalBlockSize"/> to 1 MiB, the former when 0.
    /// </summary>
    public int PhysicalBlockSize { get; init; }

    /// <summary>Best size of a request in bytes (opt_io_size): a multiple of <see cref="LogicalBlockSize"/>; 0 says nothing.</summary>
    public int OptimalSize { get; init; }

    /// <summary>Offers VIRTIO_BLK_F_DISCARD.</summary>
    public bool Discard { get; init; } = true;

    /// <summary>Begins as a write-through cache: each write is on the storage when it is done. The driver may change it.</summary>
    public bool WriteThrough { get; init; }

    /// <summary>Says what is wrong with these options; null if nothing is.</summary>
    internal string? Violation =>
        Queues is < 1 or > 64 ? $"{Queues} queues; expected 1 to 64"
        : LogicalBlockSize is < 512 or > 65536 || !int.IsPow2(LogicalBlockSize) ? $"a block size of {LogicalBlockSize} bytes; expected a power of two from 512 to 65536"
        : PhysicalBlockSize != 0 && (PhysicalBlockSize < LogicalBlockSize || PhysicalBlockSize > 1 << 20 || !int.IsPow2(PhysicalBlockSize))
            ? $"a physical block size of {PhysicalBlockSize} bytes; expected a power of two from {LogicalBlockSize} to 1048576"
        : OptimalSize < 0 || OptimalSize % LogicalBlockSize != 0 ? $"an optimal size of {OptimalSize} bytes; expected a multiple of {LogicalBlockSize}"
        : System.Text.Encoding.UTF8.GetByteCount(Serial) > BlockBackend.SerialSize ? $"the serial \"{Serial}\"; expected at most {BlockBackend.SerialSize} bytes"
        : null;
}
