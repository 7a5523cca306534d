// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Server.Scenarios;

/// <summary>A scenario that cannot be used; the message says what, where, and what was expected.</summary>
public sealed class ScenarioException : Exception
{
    /// <summary>A scenario fault.</summary>
    public ScenarioException(string message)
        : base(message)
    {
    }

    /// <summary>A scenario fault with its cause.</summary>
    public ScenarioException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
