// SPDX-License-Identifier: Apache-2.0
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Cosim.Regression.Mutation;

/// <summary>The results of mutants, one line of JSON each, the newest of a mutant last; a run goes on where the one before ended.</summary>
internal sealed class ResultFile
{
    private static readonly JsonSerializerOptions s_options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly string _file;
    private readonly Dictionary<string, MutantResult> _results = [];

    /// <summary>Reads what is there of these sources. A last line that was cut off is left out.</summary>
    public ResultFile(string file, string sources)
    {
        _file = file;
        foreach (string line in File.Exists(file) ? File.ReadLines(file) : [])
        {
            try
            {
                MutantResult result = JsonSerializer.Deserialize<MutantResult>(line, s_options)!;
                if (result.Sources == sources)
                {
                    _results[result.Id] = result;
                }
            }
            catch (JsonException)
            {
                // The run was ended while it wrote this line; the mutant is tried again.
            }
        }
    }

    public MutantResult? Find(string id) => _results.GetValueOrDefault(id);

    public void Add(MutantResult result)
    {
        _results[result.Id] = result;
        File.AppendAllText(_file, JsonSerializer.Serialize(result, s_options) + "\n");
    }
}
