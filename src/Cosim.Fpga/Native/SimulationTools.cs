// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;

namespace Cosim.Fpga.Native;

/// <summary>The programs that builds use, as the set-up lists them in <c>.cosim/tools.json</c>.</summary>
internal sealed class SimulationTools
{
    private readonly string file;
    private readonly Dictionary<string, string> values;

    private SimulationTools(string file, Dictionary<string, string> values)
    {
        this.file = file;
        this.values = values;
    }

    /// <summary>GHDL with the mcode generator: analysis, synthesis, and simulation where LLVM is missing.</summary>
    public string Ghdl => Required("ghdl");

    /// <summary>GHDL with the LLVM generator, or null.</summary>
    public string? GhdlLlvm => Optional("ghdlLlvm");

    /// <summary>Verilator.</summary>
    public string Verilator => Required("verilator");

    /// <summary>Folder whose <c>include/</c> holds Verilator's run-time sources.</summary>
    public string VerilatorRoot => Required("verilatorRoot");

    /// <summary>Folder with <c>zlib.h</c>, or null where the compiler finds it itself.</summary>
    public string? ZlibInclude => Optional("zlibInclude");

    /// <summary>Folder with <c>libz.so</c>, or null where the linker finds it itself.</summary>
    public string? ZlibLib => Optional("zlibLib");

    /// <summary>Names and versions of the tools, for the keys of builds.</summary>
    public string Versions => string.Join(' ', values.Where(v => v.Key.EndsWith("Version", StringComparison.Ordinal)
        && (v.Key.StartsWith("ghdl", StringComparison.Ordinal) || v.Key.StartsWith("verilator", StringComparison.Ordinal)))
        .OrderBy(v => v.Key, StringComparer.Ordinal).Select(v => $"{v.Key}={v.Value}"));

    /// <summary>Reads the list.</summary>
    /// <exception cref="FpgaBuildException">There is none, or it is not one.</exception>
    public static SimulationTools Read(string file)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllText(file));
            Dictionary<string, string> values = [];
            foreach (JsonProperty property in document.RootElement.EnumerateObject())
            {
                values[property.Name] = property.Value.ToString();
            }

            return new SimulationTools(file, values);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or JsonException or InvalidOperationException)
        {
            throw new FpgaBuildException("reading the list of tools", file, $"{exception.Message} It is written by sim-scripts/setup.");
        }
    }

    private string? Optional(string name) => values.TryGetValue(name, out string? value) && value.Length > 0 ? value : null;

    private string Required(string name)
        => Optional(name) ?? throw new FpgaBuildException("looking for a tool", file, $"it names no \"{name}\"; run sim-scripts/setup.");
}
