// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;

namespace Cosim.Regression;

/// <summary>The clone: where sources are and where a run may write.</summary>
internal sealed class Repository
{
    private Repository(string root) => Root = root;

    public string Root { get; }

    public string Hdl => Path.Combine(Root, "hdl");

    public string Benches => Path.Combine(Hdl, "tb");

    /// <summary>Work folder of this program.</summary>
    public string Work(string name) => Path.Combine(Root, ".cosim", name);

    /// <summary>The clone that a folder belongs to.</summary>
    /// <exception cref="RegressionException">It belongs to none.</exception>
    public static Repository Above(string folder)
    {
        for (DirectoryInfo? at = new(folder); at is not null; at = at.Parent)
        {
            if (File.Exists(Path.Combine(at.FullName, "Cosim.sln")))
            {
                return new(at.FullName);
            }
        }

        throw new RegressionException($"{folder} is not inside a clone: no Cosim.sln above it.");
    }

    /// <summary>Lines of a list without comments and blank ones; an entry's text ends at " # ".</summary>
    public static IReadOnlyList<string> List(string file)
        => [.. File.ReadLines(file).Select(l => l.Trim()).Where(l => l.Length > 0 && l[0] != '#')];

    /// <summary>GHDL as the set-up lists it.</summary>
    /// <exception cref="RegressionException">The set-up has not run.</exception>
    public string Ghdl()
    {
        string file = Path.Combine(Root, ".cosim", "tools.json");
        if (!File.Exists(file))
        {
            throw new RegressionException($"{file}: there is no such file; run sim-scripts/setup.");
        }

        using JsonDocument tools = JsonDocument.Parse(File.ReadAllText(file));
        return tools.RootElement.GetProperty("ghdl").GetString()!;
    }
}
