// SPDX-License-Identifier: Apache-2.0
using System.ComponentModel;
using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;

namespace Cosim.Fpga.Native;

/// <summary>Runs one tool of a build to its end.</summary>
internal static partial class BuildStep
{
    private const int ShownLines = 12;

    /// <summary>Runs a tool and gives its standard output.</summary>
    /// <param name="step">What it does, for the error.</param>
    /// <param name="folder">Working directory.</param>
    /// <param name="program">The tool.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <exception cref="FpgaBuildException">It cannot be started or ends with an error.</exception>
    public static string Run(string step, string folder, string program, params IEnumerable<string> arguments)
    {
        ProcessStartInfo start = new(program, arguments)
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
        };
        StringBuilder errors = new();
        using Process process = new() { StartInfo = start };
        process.ErrorDataReceived += (_, line) => errors.AppendLine(line.Data);
        try
        {
            process.Start();
        }
        catch (Win32Exception exception)
        {
            throw new FpgaBuildException(step, program, $"cannot be started: {exception.Message}");
        }

        process.StandardInput.Close();
        process.BeginErrorReadLine();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode == 0)
        {
            return output;
        }

        // Some tools write their errors to one, some to the other.
        string said = errors.ToString().Trim();
        said = said.Length > 0 ? said : output.Trim();
        string[] lines = said.Split('\n');
        string shown = string.Join('\n', lines.Take(ShownLines));
        if (lines.Length > ShownLines)
        {
            shown += $"\n({lines.Length - ShownLines} more lines)";
        }

        Match file = SourceLine().Match(said);
        throw new FpgaBuildException(step, file.Success ? file.Groups[1].Value : null, $"{Path.GetFileName(program)} ended with exit code {process.ExitCode}:\n{shown}");
    }

    [GeneratedRegex(@"^(?:%Error[^:]*: )?([^\s:][^:\n]*\.\w+):\d+:", RegexOptions.Multiline)]
    private static partial Regex SourceLine();
}
