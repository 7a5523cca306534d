// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;

namespace Cosim.Cli.Commands;

/// <summary>The argument FILE: a recording.</summary>
internal sealed class RecordingArgument : Argument<string>
{
    internal RecordingArgument()
        : base("FILE") => Description = "The recording, .stim or .stim.gz (hdl/STIMULI.md).";
}
