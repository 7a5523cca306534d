// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>How a <see cref="VfioUserClient"/> connects.</summary>
public sealed record VfioUserClientOptions
{
    /// <summary>How long one answer may take, in milliseconds; 0 is without limit. The answer to VERSION comes when the link is up.</summary>
    public int TimeoutMilliseconds { get; init; } = 30_000;

    /// <summary>Offers REGION_WRITE_MULTI.</summary>
    public bool WriteMultiple { get; init; } = true;

    /// <summary>Ask for the version at once. Without it the caller does, by <see cref="VfioUserClient.Negotiate"/> or by hand.</summary>
    public bool Negotiate { get; init; } = true;
}
