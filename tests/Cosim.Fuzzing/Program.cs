// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;
using Cosim.Fuzzing;
using Cosim.Fuzzing.Coverage;

// [TARGET...] [--executions N] [--seconds N] [--seed N] [--input FILE] [--corpora-only] [--choose-corpora]
return FuzzProgram.Run(args);

/// <summary>What the program is told.</summary>
internal sealed record FuzzOptions
{
    public const string Usage = "usage: fuzz [TARGET...] [--executions N] [--seconds N] [--seed N] [--input FILE] [--corpora-only] [--choose-corpora]";

    public List<string> Targets { get; } = [];

    public long? Executions { get; private set; }

    public int Seconds { get; private set; } = int.MaxValue;

    public ulong Seed { get; private set; } = (ulong)Stopwatch.GetTimestamp();

    public bool CorporaOnly { get; private set; }

    public bool ChoosesCorpora { get; private set; }

    /// <summary>A file with the one input that is run.</summary>
    public string? Input { get; private set; }

    public static FuzzOptions Parse(string[] args)
    {
        FuzzOptions options = new();
        for (int i = 0; i < args.Length; i++)
        {
            switch (args[i])
            {
                case "--corpora-only":
                    options.CorporaOnly = true;
                    break;
                case "--input" when i + 1 < args.Length:
                    options.Input = args[++i];
                    break;
                case "--choose-corpora":
                    options.ChoosesCorpora = true;
                    break;
                case "--executions" when i + 1 < args.Length && long.TryParse(args[i + 1], NumberStyles.None, CultureInfo.InvariantCulture, out long executions):
                    options.Executions = executions;
                    i++;
                    break;
                case "--seconds" when i + 1 < args.Length && int.TryParse(args[i + 1], NumberStyles.None, CultureInfo.InvariantCulture, out int seconds):
                    options.Seconds = seconds;
                    i++;
                    break;
                case "--seed" when i + 1 < args.Length && ulong.TryParse(args[i + 1], NumberStyles.None, CultureInfo.InvariantCulture, out ulong seed):
                    options.Seed = seed;
                    i++;
                    break;
                case [not '-', ..]:
                    options.Targets.Add(args[i]);
                    break;
                default:
                    throw new FormatException($"{args[i]} is no option, or its value no number. {Usage}");
            }
        }

        return options;
    }
}

/// <summary>Runs the targets, one after the other on one thread, and says what came of it.</summary>
internal static class FuzzProgram
{
    private const long ParserExecutions = 200_000;
    private const long BridgeExecutions = 2_000;
    private const int MostCorpusFiles = 160;

    // An execution takes microseconds, or a millisecond; nothing that ends at all takes so long.
    private static readonly TimeSpan s_hang = TimeSpan.FromSeconds(20);

    public static int Run(string[] args)
    {
        IReadOnlyList<FuzzTarget> targets = AllTargets.Make();
        try
        {
            FuzzOptions options = FuzzOptions.Parse(args);
            string? unknown = options.Targets.Find(name => !targets.Any(t => t.Name == name));
            if (unknown is not null)
            {
                throw new FormatException($"{unknown} is no target; there are {string.Join(", ", targets.Select(t => t.Name))}. {FuzzOptions.Usage}");
            }

            string repository = Repository();
            string table = Path.Combine(AppContext.BaseDirectory, Instrumenter.TableFile);
            return File.Exists(table)
                ? Fuzz(options, [.. targets.Where(t => options.Targets.Count == 0 || options.Targets.Contains(t.Name))], repository, table)
                : Instrumented(args, repository, targets);
        }
        catch (FormatException e)
        {
            Console.Error.WriteLine(e.Message);
            return 2;
        }
        finally
        {
            foreach (FuzzTarget target in targets)
            {
                target.Dispose();
            }
        }
    }

    private static string Repository()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "Cosim.sln")))
        {
            folder = folder.Parent;
        }

        return folder?.FullName ?? throw new FormatException($"{AppContext.BaseDirectory} is in no clone of the repository");
    }

    // Goes on in a copy of this program whose parsers say which way their branches go.
    private static int Instrumented(string[] args, string repository, IReadOnlyList<FuzzTarget> targets)
    {
        string copy = Path.Combine(repository, ".cosim", "fuzz", $"instrumented-{Corpus.NameOf(System.Text.Encoding.UTF8.GetBytes(AppContext.BaseDirectory))}");
        Instrumenter.Prepare(AppContext.BaseDirectory, copy, targets);
        ProcessStartInfo start = new(Environment.ProcessPath!, [Path.Combine(copy, "Cosim.Fuzzing.dll"), .. args]);
        if (Path.GetFileNameWithoutExtension(Environment.ProcessPath) != "dotnet")
        {
            start = new ProcessStartInfo(Path.Combine(copy, "Cosim.Fuzzing"), args);
        }

        using Process process = Process.Start(start)!;
        process.WaitForExit();
        return process.ExitCode;
    }

    private static int Fuzz(FuzzOptions options, IReadOnlyList<FuzzTarget> targets, string repository, string table)
    {
        CoverageTable coverage = new(File.ReadAllLines(table), File.ReadAllLines(Path.Combine(repository, "tests", "Cosim.Fuzzing", "unreached.txt")));
        string findings = Path.Combine(repository, ".cosim", "fuzz", "findings");
        int found = 0;
        long total = 0;
        Console.WriteLine($"seed {options.Seed}");
        Console.WriteLine($"{"target",-14} {"executions",12} {"per second",12} {"corpus",7} {"kept",6}  finding");
        foreach (FuzzTarget target in targets)
        {
            string corpora = Path.Combine(repository, "tests", "Cosim.Fuzzing", "corpora", target.Name);
            IReadOnlyList<(string Name, byte[] Bytes)> corpus = options.Input is { } file ? [(file, File.ReadAllBytes(file))] : Corpus.Load(corpora);
            Fuzzer fuzzer = new(target, options.Seed, corpus.Select(c => c.Bytes));
            long executions = options.CorporaOnly || options.Input is not null ? 0 : options.Executions ?? (target.IsBridge ? BridgeExecutions : ParserExecutions);
            Stopwatch time = Stopwatch.StartNew();
            Finding? finding;
            using (new Watchdog(fuzzer, target.Name, findings, s_hang))
            {
                finding = fuzzer.Replay() ?? fuzzer.Run(executions, () => time.Elapsed.TotalSeconds > options.Seconds);
            }

            total += fuzzer.Executions;
            string saved = "none";
            if (finding is not null)
            {
                found++;
                saved = $"{Corpus.Save(Path.Combine(findings, target.Name), Corpus.NameOf(finding.Input), finding.Input)}: {finding.What}";
            }

            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{target.Name,-14} {fuzzer.Executions,12} {fuzzer.Executions / time.Elapsed.TotalSeconds,12:0} {corpus.Count,7} {fuzzer.Pool.Count - corpus.Count,6}  {saved}"));
            if (options.ChoosesCorpora && finding is null)
            {
                ChooseCorpus(fuzzer, coverage.Of(target.Name), corpora);
            }
        }

        bool covered = coverage.Write([.. targets], Console.Out, strict: options.CorporaOnly || options.Executions is null);
        Console.WriteLine($"fuzz {(found == 0 && covered ? "ok" : "failed")}: {total} executions, {found} findings, seed {options.Seed}");
        return found == 0 && covered ? 0 : 1;
    }

    private static void ChooseCorpus(Fuzzer fuzzer, IReadOnlyList<int> branches, string folder)
    {
        List<byte[]> chosen = CorpusSelection.Choose(fuzzer, fuzzer.Pool, branches, MostCorpusFiles);
        // Names that say something were given by people, and stay.
        foreach ((string name, byte[] bytes) in Corpus.Load(folder))
        {
            if (name == Corpus.NameOf(bytes))
            {
                File.Delete(Path.Combine(folder, name));
            }
        }

        foreach (byte[] input in chosen)
        {
            _ = Corpus.Save(folder, Corpus.NameOf(input), input);
        }

        Console.WriteLine($"  {chosen.Count} inputs chosen, {chosen.Sum(c => c.Length)} bytes");
    }
}
