// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;

namespace Cosim.Cli.Commands.Wave;

/// <summary><c>cosim wave</c>: golden waveforms, of this project or any other.</summary>
internal static class WaveCommand
{
    /// <summary>Characters in a line where the output is no terminal.</summary>
    private const int PlainWidth = 120;

    internal static Command Create(TextWriter output) => new("wave", "Keep, compare, draw and import waveforms.")
    {
        CheckCommand.Create(output),
        AcceptCommand.Create(output),
        DiffCommand.Create(output),
        ShowCommand.Create(output),
        ImportCommand.Create(output),
    };

    /// <summary>Option for the length of lines; its default is the terminal's.</summary>
    internal static Option<int> WidthOption()
    {
        Option<int> width = new("--width") { Description = "Characters in a line of text. Default: the terminal's.", HelpName = "N", DefaultValueFactory = _ => Console.IsOutputRedirected ? PlainWidth : Math.Max(40, Console.WindowWidth - 1) };
        return width;
    }

    /// <summary>Option for terminals without line drawing characters.</summary>
    internal static Option<bool> AsciiOption() => new("--ascii") { Description = "Draw the text with ASCII only." };

    /// <summary>Folders or files; the current folder where there are none.</summary>
    internal static Argument<string[]> PathsArgument() => new("DIR|FILES") { Description = "Folders, searched with all below them, or golden files. Default: the current folder.", Arity = ArgumentArity.ZeroOrMore, DefaultValueFactory = _ => ["."] };
}
