// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;
using System.Text;

namespace Cosim.Regression;

/// <summary>The HDL regression as GHDL runs it: a snapshot of the sources, the benches and what they are run with.</summary>
internal sealed class Regression
{
    /// <summary>Processor seconds that a bench may take on the design as it is.</summary>
    public const int BenchSeconds = 600;

    private Regression(string program, string folder, IReadOnlyList<string> sources, IReadOnlyList<string> benches, IReadOnlyList<BenchRun> runs)
    {
        Program = program;
        Folder = folder;
        Sources = sources;
        Benches = benches;
        Runs = runs;
    }

    public string Program { get; }

    /// <summary>Work folder; holds the snapshot in <c>hdl/</c>.</summary>
    public string Folder { get; }

    /// <summary>Names of the design's sources in order of analysis.</summary>
    public IReadOnlyList<string> Sources { get; }

    /// <summary>Paths of the benches' sources in order of analysis.</summary>
    public IReadOnlyList<string> Benches { get; }

    public IReadOnlyList<BenchRun> Runs { get; }

    /// <summary>Copies the sources, so that nobody changes them during the run, and finds the recordings.</summary>
    /// <param name="repository">The clone.</param>
    /// <param name="folder">Work folder of the run.</param>
    /// <param name="recordings">Folders with recordings (<c>*.stim</c>), each may be missing.</param>
    public static Regression Prepare(Repository repository, string folder, IEnumerable<string> recordings)
    {
        string snapshot = Path.Combine(folder, "hdl");
        if (Directory.Exists(snapshot))
        {
            Directory.Delete(snapshot, recursive: true);
        }

        Directory.CreateDirectory(Path.Combine(snapshot, "tb"));
        IReadOnlyList<string> sources = Repository.List(Path.Combine(repository.Hdl, "sources.txt"));
        IReadOnlyList<string> benches = [.. Repository.List(Path.Combine(repository.Benches, "sources.txt")).Append(BenchRun.Replayer + ".vhd").Select(b => Path.Combine("tb", b))];
        foreach (string file in sources.Concat(benches))
        {
            File.Copy(Path.Combine(repository.Hdl, file), Path.Combine(snapshot, file));
        }

        IEnumerable<BenchRun> replays = recordings.Where(Directory.Exists)
            .SelectMany(f => Directory.GetFiles(f, "*.stim", SearchOption.AllDirectories).Order(StringComparer.Ordinal)).Select(BenchRun.Replay);
        return new(repository.Ghdl(), folder, sources, [.. benches.Select(b => Path.Combine(snapshot, b))],
            [.. BenchRun.Listed(repository.Benches), .. replays]);
    }

    /// <summary>Path of a source in the snapshot.</summary>
    public string PathOf(string source) => Path.Combine(Folder, "hdl", source);

    /// <summary>Text of a source.</summary>
    public string Text(string source) => File.ReadAllText(PathOf(source));

    /// <summary>Short name of the content of the design's sources.</summary>
    public string Content()
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string file in Sources.Select(PathOf))
        {
            hash.AppendData(Encoding.UTF8.GetBytes(Path.GetFileName(file)));
            hash.AppendData(File.ReadAllBytes(file));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset())[..16];
    }

    /// <summary>A work library with the whole design, one source of which may be another.</summary>
    public Ghdl Library(string name) => new(Program, Path.Combine(Folder, name));

    /// <summary>Paths of all sources in order of analysis.</summary>
    /// <param name="changed">Name of a source that is taken from elsewhere, or null.</param>
    /// <param name="instead">Its path there.</param>
    public IEnumerable<string> Files(string? changed = null, string? instead = null)
        => Sources.Select(s => s == changed ? instead! : PathOf(s)).Concat(Benches);
}
