// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Cosim.Regression.Coverage;

/// <summary>Lines of sources on which a statement begins, and whether a simulation reached them.</summary>
internal sealed class LineCoverage
{
    private readonly SortedDictionary<string, SortedDictionary<int, bool>> _files = new(StringComparer.Ordinal);

    /// <summary>Paths of the sources.</summary>
    public IEnumerable<string> Files => _files.Keys;

    /// <summary>Lines of a source with a statement; true where it was reached.</summary>
    public IReadOnlyDictionary<int, bool> Lines(string file) => _files.TryGetValue(file, out var lines) ? lines : new SortedDictionary<int, bool>();

    /// <summary>Adds what one simulation reached.</summary>
    /// <param name="file">What GHDL wrote (<c>--coverage-output</c>).</param>
    /// <exception cref="RegressionException">It is not that.</exception>
    public void Add(string file)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllText(file));
            foreach (JsonElement source in document.RootElement.GetProperty("outputs").EnumerateArray())
            {
                string path = Path.Combine(source.GetProperty("dir").GetString()!, source.GetProperty("file").GetString()!);
                foreach (JsonProperty line in source.GetProperty("result").EnumerateObject())
                {
                    Set(path, int.Parse(line.Name, CultureInfo.InvariantCulture), line.Value.GetInt64() > 0);
                }
            }
        }
        catch (Exception exception) when (exception is JsonException or KeyNotFoundException or InvalidOperationException or IOException or FormatException)
        {
            throw new RegressionException($"{file} is not GHDL's coverage of a simulation: {exception.Message}");
        }
    }

    /// <summary>Adds one line.</summary>
    public void Set(string file, int line, bool reached)
    {
        if (!_files.TryGetValue(file, out var lines))
        {
            _files[file] = lines = [];
        }

        lines[line] = reached || (lines.TryGetValue(line, out bool before) && before);
    }

    /// <summary>The same in lcov's format, for tools that draw it.</summary>
    public string ToLcov(Func<string, bool> includes)
    {
        StringBuilder text = new();
        foreach ((string file, SortedDictionary<int, bool> lines) in _files.Where(f => includes(f.Key)))
        {
            text.Append(CultureInfo.InvariantCulture, $"TN:\nSF:{file}\n");
            foreach ((int line, bool reached) in lines)
            {
                text.Append(CultureInfo.InvariantCulture, $"DA:{line},{(reached ? 1 : 0)}\n");
            }

            text.Append(CultureInfo.InvariantCulture, $"LF:{lines.Count}\nLH:{lines.Values.Count(r => r)}\nend_of_record\n");
        }

        return text.ToString();
    }
}
