// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Cosim.Regression.Coverage;

/// <summary>Line coverage of the whole regression by GHDL.</summary>
internal static class CoverageRun
{
    /// <summary>Runs everything; true where the coverage is as wanted.</summary>
    public static bool Run(Repository repository, IEnumerable<string> recordings, TextWriter output)
    {
        string folder = repository.Work("coverage");
        Regression regression = Regression.Prepare(repository, folder, recordings);
        LineCoverage coverage = Measure(regression, output);
        File.WriteAllText(Path.Combine(folder, "coverage.lcov"), coverage.ToLcov(f => regression.Sources.Any(s => regression.PathOf(s) == f)));
        string explanations = Path.Combine(repository.Benches, "uncovered.txt");
        CoverageReport report = new(regression.Sources.Select(s => (s, regression.Text(s))), s => coverage.Lines(regression.PathOf(s)), Repository.List(explanations));
        report.Write(output);
        return report.Holds;
    }

    private static LineCoverage Measure(Regression regression, TextWriter output)
    {
        Ghdl ghdl = regression.Library("library");
        ToolRun analysis = ghdl.Analyse(regression.Files());
        if (analysis.ExitCode != 0)
        {
            throw new RegressionException($"the sources do not analyse:\n{analysis.Output}");
        }

        LineCoverage coverage = new();
        string file = Path.Combine(ghdl.Folder, "coverage.json");
        foreach (BenchRun bench in regression.Runs)
        {
            File.Delete(file);
            ToolRun run = ghdl.Run(bench, Regression.BenchSeconds, file);
            if (!bench.Passed(run))
            {
                throw new RegressionException($"{bench.Name} does not pass:\n{run.Output}");
            }

            coverage.Add(file);
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"passed: {bench.Name} ({run.Seconds:F1} s)"));
        }

        return coverage;
    }
}
