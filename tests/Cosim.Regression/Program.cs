// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Cosim.Regression;
using Cosim.Regression.Clauses;
using Cosim.Regression.Coverage;
using Cosim.Regression.Mutation;

// clauses
// coverage [--recordings DIR]...
// mutate [--count N] [--seed N] [--only FILE] [--recordings DIR]...
const string Usage = "usage: clauses | coverage [--recordings DIR]... | mutate [--count N] [--seed N] [--only FILE] [--recordings DIR]...";
try
{
    Repository repository = Repository.Above(AppContext.BaseDirectory);
    int count = 300;
    ulong seed = 1;
    string? only = null;
    List<string> recordings = [];
    for (int i = 1; i < args.Length; i += 2)
    {
        string value = i + 1 < args.Length ? args[i + 1] : throw new RegressionException($"{args[i]} has no value. {Usage}");
        switch (args[i])
        {
            case "--recordings":
                recordings.Add(Path.GetFullPath(value));
                break;
            case "--count" when args[0] == "mutate" && int.TryParse(value, NumberStyles.None, null, out count):
            case "--seed" when args[0] == "mutate" && ulong.TryParse(value, NumberStyles.None, null, out seed):
                break;
            case "--only" when args[0] == "mutate":
                only = value;
                break;
            default:
                throw new RegressionException($"{args[i]} {value} is no option. {Usage}");
        }
    }

    switch (args.FirstOrDefault())
    {
        case "clauses":
            ClauseReport clauses = new(ClauseTable.ReadAll(repository), ClauseTest.ReadAll(repository));
            clauses.Write(Console.Out);
            return clauses is { Unexplained.Count: 0, Contradicted.Count: 0, Unknown.Count: 0 } ? 0 : 1;
        case "coverage":
            return CoverageRun.Run(repository, recordings, Console.Out) ? 0 : 1;
        case "mutate":
            string folder = repository.Work("mutate");
            Regression regression = Regression.Prepare(repository, folder, recordings);
            IReadOnlyList<MutantResult> results = MutationRun.Run(regression, count, seed, only, Console.Out);
            MutationReport report = new(results, Repository.List(Path.Combine(repository.Benches, "equivalent.txt")), only is null);
            using (StreamWriter file = new(Path.Combine(folder, "report.txt")))
            {
                report.Write(file);
            }

            report.Write(Console.Out);
            return report.Holds ? 0 : 1;
        default:
            throw new RegressionException(Usage);
    }
}
catch (RegressionException exception)
{
    await Console.Error.WriteLineAsync(exception.Message);
    return 2;
}
