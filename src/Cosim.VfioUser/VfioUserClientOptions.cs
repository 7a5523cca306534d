// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>How a <see cref="VfioUserClient"/> connects.</summary>
public sealed record VfioUserClientOptions
{
    /// <summary>How long one answer may take, in milliseconds; 0 is without limit. The answer to VERSION comes when the link is up.</summary>
    public int TimeoutMilliseconds { get; init; } = 30_000;

    /// <summary>Offers REGION_WRITE_MULTI.</summary>
    public bool WriteMultiple { get; init; } = true;

    /// <summary>Most bytes this client takes in one message (max_data_xfer_size).</summary>
    public int MaxDataTransferSize { get; init; } = Internal.Wire.DefaultMaxDataTransfer;

    /// <summary>Asks for a socket of their own for the server's requests; whether it was made says <see cref="VfioUserClient.HasTwinSocket"/>.</summary>
    public bool TwinSocket { get; init; }

    /// <summary>What the server's DMA_READ and DMA_WRITE reach; null: they are left to <see cref="VfioUserClient.Receive"/>.</summary>
    public IVfioUserClientMemory? Memory { get; init; }

    /// <summary>Ask for the version at once. Without it the caller does, by <see cref="VfioUserClient.Negotiate"/> or by hand.</summary>
    public bool Negotiate { get; init; } = true;
}
