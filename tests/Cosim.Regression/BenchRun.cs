// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Security.Cryptography;

namespace Cosim.Regression;

/// <summary>One run of a VHDL bench: what a mutant has to get past.</summary>
/// <param name="Name">Name in reports.</param>
/// <param name="Bench">The entity; it passes where it ends by itself and prints "BENCH: passed", the replayer "stimuli_tb passed: …".</param>
/// <param name="Options">Options of the run, mostly generics.</param>
/// <param name="Content">What it does: the recording that it replays, or the bench's own source.</param>
internal sealed record BenchRun(string Name, string Bench, IReadOnlyList<string> Options, string Content)
{
    /// <summary>The bench that replays recordings.</summary>
    public const string Replayer = "stimuli_tb";


    /// <summary>It replays a recording.</summary>
    public bool IsReplay => Bench == Replayer;

    /// <summary>Name and content: two runs with the same key find the same.</summary>
    public string Key { get; } = $"{Name} {Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(Content)))[..12]}";

    /// <summary>The runs that <c>regression.txt</c> names, a bench and its options on each line.</summary>
    /// <param name="folder">Folder of the benches.</param>
    public static IEnumerable<BenchRun> Listed(string folder)
        => Repository.List(Path.Combine(folder, "regression.txt")).Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Select(w => new BenchRun(string.Join(' ', w), w[0], w[1..], Path.Combine(folder, w[0] + ".vhd")));

    /// <summary>The replay of a recording, with the generics that its head names.</summary>
    /// <param name="file">The recording, not compressed.</param>
    public static BenchRun Replay(string file)
    {
        List<string> options = [$"-gFILE_G={file}"];
        foreach (string line in File.ReadLines(file).TakeWhile(l => !l.StartsWith("reset ", StringComparison.Ordinal) && !l.StartsWith("start ", StringComparison.Ordinal)))
        {
            string[] words = line.Split('#')[0].Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words is ["generic", var name, var value])
            {
                options.Add(string.Create(CultureInfo.InvariantCulture, $"-g{name}={value}"));
            }
        }

        return new(Path.GetFileName(file), Replayer, options, file);
    }

    /// <summary>It ended by itself and says that all was well.</summary>
    public bool Passed(ToolRun run) => run.ExitCode == 0
        && run.Output.Split('\n').Any(l => l == $"{Bench}: passed" || l.StartsWith($"{Replayer} passed: ", StringComparison.Ordinal));
}
