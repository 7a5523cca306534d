// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Cosim.Waveforms;

namespace Cosim.Cli.Commands.Wave;

/// <summary><c>cosim wave accept</c>: what tests have received becomes what is kept.</summary>
internal static class AcceptCommand
{
    internal static Command Create(TextWriter output)
    {
        Argument<string[]> paths = WaveCommand.PathsArgument();
        Command command = new("accept", "Keep what was received; never in CI.") { paths };
        command.SetAction(async (result, _) =>
        {
            IReadOnlyList<GoldenPair> pairs = GoldenFolder.Received(result.GetRequiredValue(paths));
            GoldenFolder.Accept(pairs);
            foreach (GoldenPair pair in pairs)
            {
                await output.WriteLineAsync($"accepted {pair.VerifiedPath}");
            }

            await output.WriteLineAsync($"{pairs.Count} accepted");
            return 0;
        });
        return command;
    }
}
