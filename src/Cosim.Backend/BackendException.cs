// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Backend;

/// <summary>The back end cannot start or cannot go on; the message says what, where, and what was expected.</summary>
public sealed class BackendException : Exception
{
    /// <summary>Creates the error.</summary>
    public BackendException(string message)
        : base(message)
    {
    }
}
