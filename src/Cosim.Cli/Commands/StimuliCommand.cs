// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;

namespace Cosim.Cli.Commands;

/// <summary><c>cosim stimuli</c>: what can be done with recordings besides replaying them.</summary>
internal static class StimuliCommand
{
    internal static Command Create(TextWriter output) => new("stimuli", "Show, cut and make recordings.")
    {
        StimuliShowCommand.Create(output),
        StimuliTrimCommand.Create(output),
        StimuliEmitCommand.Create(output),
        StimuliGenerateCommand.Create(output),
    };
}
