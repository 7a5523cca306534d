// SPDX-License-Identifier: Apache-2.0
using System.Text;
using System.Text.RegularExpressions;

namespace Cosim.Fpga.Native;

/// <summary>What is simulated: files, top, ports and generics.</summary>
internal sealed partial class DesignSources
{
    private DesignSources(string top, IReadOnlyList<string> files, int ports, uint? idleCycles, IReadOnlyList<(string Name, int Value)> generics)
    {
        Top = top.ToLowerInvariant(); // as GHDL writes it
        Files = files;
        Ports = ports;
        IdleCycles = idleCycles;
        Generics = generics;
    }

    /// <summary>Name of the top entity, in lower case as GHDL writes it.</summary>
    public string Top { get; }

    /// <summary>Absolute paths in order of analysis.</summary>
    public IReadOnlyList<string> Files { get; }

    /// <summary>1 to 3.</summary>
    public int Ports { get; }

    /// <summary>Null where the top has <c>busy_o</c>.</summary>
    public uint? IdleCycles { get; }

    /// <summary>Values of the top's generics.</summary>
    public IReadOnlyList<(string Name, int Value)> Generics { get; }

    /// <summary>Everything that a build of it depends on.</summary>
    public string Key => $"{Top} {Ports} {IdleCycles is null} {string.Join(' ', Generics)}\n{BuildCache.Contents(Files)}";

    /// <summary>Our own top, or the user's design where one is named.</summary>
    /// <exception cref="FpgaBuildException">A file is missing, or a name or number makes no sense.</exception>
    public static DesignSources From(FpgaOptions options)
    {
        const string Step = "reading the design";
        DesignSources sources = options.Design is { } design
            ? new DesignSources(design.Top, [.. design.Files.Select(Path.GetFullPath)], design.Ports, design.IdleCycles, [])
            : Own(options);
        if (!Identifier().IsMatch(sources.Top))
        {
            throw new FpgaBuildException(Step, null, $"\"{sources.Top}\" is not the name of a VHDL entity.");
        }

        if (sources.Ports is < 1 or > 3)
        {
            throw new FpgaBuildException(Step, null, $"{sources.Top} has {sources.Ports} ports; expected 1 to 3.");
        }

        if (sources.IdleCycles == 0)
        {
            throw new FpgaBuildException(Step, null, $"{sources.Top} has no busy_o; then the idle-cycle count must be at least 1.");
        }

        if (sources.Files.Count == 0)
        {
            throw new FpgaBuildException(Step, null, $"no VHDL file is named for {sources.Top}.");
        }

        foreach (string file in sources.Files)
        {
            if (!File.Exists(file))
            {
                throw new FpgaBuildException(Step, file, "there is no such file.");
            }
        }

        return sources;
    }

    private static DesignSources Own(FpgaOptions options)
    {
        string list = Path.Combine(Path.GetFullPath(options.HdlDirectory), "sources.txt");
        if (!File.Exists(list))
        {
            throw new FpgaBuildException("reading the design", list, "there is no such file; it lists the VHDL files in order of analysis.");
        }

        string folder = Path.GetDirectoryName(list)!;
        string[] files = [.. File.ReadLines(list).Select(l => l.Trim()).Where(l => l.Length > 0 && l[0] != '#').Select(l => Path.Combine(folder, l))];
        return new DesignSources("cosim_top", files, 3, null,
        [
            ("FUNCTIONS_G", options.Functions),
            ("QUEUES_G", options.QueuesPerFunction),
            ("VECTORS_G", options.VectorsPerFunction ?? options.QueuesPerFunction + 1),
            ("SCRATCH_BYTES_G", options.ScratchBytes),
        ]);
    }

    /// <summary>Copies a source of the native link out of this assembly.</summary>
    public static void WriteLink(string folder, params ReadOnlySpan<string> names)
    {
        foreach (string name in names)
        {
            File.WriteAllText(Path.Combine(folder, name), LinkSource(name));
        }
    }

    /// <summary>Text of a source of the native link.</summary>
    public static string LinkSource(string name)
    {
        using Stream stream = typeof(DesignSources).Assembly.GetManifestResourceStream("link/" + name)!;
        using StreamReader reader = new(stream, Encoding.UTF8);
        return reader.ReadToEnd();
    }

    [GeneratedRegex("^[A-Za-z][A-Za-z0-9_]*$")]
    private static partial Regex Identifier();
}
