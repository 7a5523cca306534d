// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Fpga.Native;

/// <summary>A simulator could not be built or started; the message names the step, the file and what the tool said.</summary>
public sealed class FpgaBuildException : Exception
{
    /// <summary>Makes the exception.</summary>
    /// <param name="step">What was being done.</param>
    /// <param name="file">File that is to blame, or null where the tool names none.</param>
    /// <param name="reason">What was wrong and what was expected; the first lines of the tool's output.</param>
    public FpgaBuildException(string step, string? file, string reason)
        : base(file is null ? $"{step}: {reason}" : $"{step}, {file}: {reason}")
    {
        Step = step;
        File = file;
        Reason = reason;
    }

    /// <summary>What was being done.</summary>
    public string Step { get; }

    /// <summary>File that is to blame, or null where the tool names none.</summary>
    public string? File { get; }

    /// <summary>What was wrong; the first lines of the tool's output.</summary>
    public string Reason { get; }
}
