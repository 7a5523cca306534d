// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Pcie;

/// <summary>How a host's transaction ended.</summary>
public enum HostStatus
{
    /// <summary>Every request was answered with SC; a memory write: it was sent.</summary>
    Ok,

    /// <summary>UR, or refused by the root port itself: no such function, BAR or offset.</summary>
    UnsupportedRequest,

    /// <summary>CA.</summary>
    CompleterAbort,

    /// <summary>A request was not completed within <see cref="RootPortOptions.TimeoutCycles"/>.</summary>
    Timeout,

    /// <summary>A completion does not fit its request or is poisoned.</summary>
    BadCompletion,

    /// <summary>The FPGA is lost or was reset before the transaction was done.</summary>
    LinkDown,
}

/// <summary>Takes the results of a host's transactions.</summary>
public interface IHostCompletion
{
    /// <summary>
    /// A transaction is done. Called once for each, possibly before the method that started it returns; it may start others.
    /// </summary>
    /// <param name="token">What the caller gave with the transaction.</param>
    /// <param name="status">Ok, or the first error among the requests it was split into.</param>
    /// <param name="data">Of a read: the bytes, 0xFF in the places of requests that failed; valid during the call. Else empty.</param>
    void Completed(ulong token, HostStatus status, ReadOnlySpan<byte> data);
}
