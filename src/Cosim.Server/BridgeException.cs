// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Server;

/// <summary>What was asked of a bridge, or of making one, cannot be done as things are; the message says what is missing and where.</summary>
public sealed class BridgeException : Exception
{
    /// <summary>A fault.</summary>
    public BridgeException(string message)
        : base(message)
    {
    }

    /// <summary>A fault with its cause.</summary>
    public BridgeException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
