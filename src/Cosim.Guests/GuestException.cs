// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Guests;

/// <summary>
/// A guest, its QEMU or what they are made from is not as expected. The message is one paragraph that says what, where
/// and what was expected, fit to be shown to a user as it is.
/// </summary>
public sealed class GuestException : Exception
{
    /// <summary>An error with its description.</summary>
    public GuestException(string message)
        : base(message)
    {
    }

    /// <summary>An error with its description and cause.</summary>
    public GuestException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
