// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>A system call or a vfio-user request failed.</summary>
public sealed class VfioUserException : IOException
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">What failed, where, and what was expected.</param>
    /// <param name="error">The error number behind it.</param>
    public VfioUserException(string message, Errno error)
        : base(message)
    {
        Error = error;
    }

    /// <summary>The error number of the system call or of the reply.</summary>
    public Errno Error { get; }

    /// <summary>The error for the system call that just failed on this thread.</summary>
    internal static VfioUserException FromLastError(string what)
    {
        int number = System.Runtime.InteropServices.Marshal.GetLastPInvokeError();
        return new VfioUserException(
            $"{what}: {System.Runtime.InteropServices.Marshal.GetPInvokeErrorMessage(number)}", (Errno)number);
    }
}
