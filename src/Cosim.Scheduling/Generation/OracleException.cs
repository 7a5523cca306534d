// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Scheduling.Generation;

/// <summary>A generated run has shown what must not be.</summary>
public sealed class OracleException : Exception
{
    /// <summary>Makes the exception.</summary>
    /// <param name="message">What was seen, where, and what was expected.</param>
    public OracleException(string message)
        : base(message)
    {
    }
}
