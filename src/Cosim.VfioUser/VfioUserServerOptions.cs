// SPDX-License-Identifier: Apache-2.0
using Cosim.VfioUser.Internal;

namespace Cosim.VfioUser;

/// <summary>Limits of a <see cref="VfioUserServer"/>.</summary>
public sealed record VfioUserServerOptions
{
    /// <summary>Most bytes of one region access (max_data_xfer_size).</summary>
    public int MaxDataTransferSize { get; init; } = Wire.DefaultMaxDataTransfer;

    /// <summary>Most DMA ranges at one time (max_dma_maps). Each costs the process a mapping, of which Linux allows 65530.</summary>
    public int MaxDmaMaps { get; init; } = 32768;

    /// <summary>Most requests the device may have under way; the client's next ones wait in its socket.</summary>
    public int MaxOutstanding { get; init; } = 256;

    /// <summary>Replies the client has not taken are kept up to this many bytes; beyond it the client is cut off.</summary>
    public int MaxQueuedReplyBytes { get; init; } = 16 * 1024 * 1024;

    /// <summary>
    /// How long the client may take, in milliseconds, to answer DMA_READ or DMA_WRITE. After that, and until it answers something again,
    /// such accesses end with <see cref="DmaResult.Faulted"/>.
    /// </summary>
    public int DmaTimeoutMilliseconds { get; init; } = 10_000;

    /// <summary>Called with a sentence for what was refused; the first few times per client only.</summary>
    public Action<string>? Report { get; init; }
}
