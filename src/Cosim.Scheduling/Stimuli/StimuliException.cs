// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Scheduling.Stimuli;

/// <summary>A recording cannot be used; the message says what was found, where, and what was expected.</summary>
public sealed class StimuliException : IOException
{
    /// <summary>Makes the exception.</summary>
    public StimuliException(string message)
        : base(message)
    {
    }

    /// <summary>Makes the exception with its cause.</summary>
    public StimuliException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
