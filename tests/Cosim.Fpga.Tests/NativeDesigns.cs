// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga.Native;

namespace Cosim.Fpga.Tests;

/// <summary>How a design is simulated in a test.</summary>
public enum Simulator
{
    VerilatorInProcess,
    VerilatorChild,
    Ghdl,
    GhdlMcode,
}

/// <summary>The designs of the native link's tests and how to get them running.</summary>
internal static class NativeDesigns
{
    private static readonly string Root = Repository.Root;

    private static readonly string ScratchRoot = EmptyFolder(Path.Combine(AppContext.BaseDirectory, "native"));

    /// <summary>Folder for what a test writes; kept until the next run, to look into after a failure.</summary>
    public static string Scratch(string name)
    {
        string folder = Path.Combine(ScratchRoot, $"{name}-{Guid.NewGuid():N}");
        Directory.CreateDirectory(folder);
        return folder;
    }

    /// <summary>The echo design: three ports that send back what they get.</summary>
    public static FpgaDesign Echo => new("Echo", [DesignFile("echo.vhd")], 3, null);

    /// <summary>The example of a user's own design.</summary>
    public static FpgaDesign Example { get; } = new("example_device",
        [.. new[] { "example_pkg", "example_copier", "example_registers", "example_device" }.Select(f => Path.Combine(Root, "hdl", "examples", "dma_device", f + ".vhd"))],
        1, null);

    public static string DesignFile(string name) => Path.Combine(Root, "tests", "Cosim.Fpga.Tests", "Designs", name);

    public static FpgaOptions Options(Simulator simulator, FpgaDesign design) => new()
    {
        Kind = simulator is Simulator.VerilatorInProcess or Simulator.VerilatorChild ? FpgaKind.Verilator : FpgaKind.Ghdl,
        InProcess = simulator == Simulator.VerilatorInProcess,
        Design = design,
        HdlDirectory = Path.Combine(Root, "hdl"),
        BuildDirectory = Path.Combine(Root, ".cosim", "build"),
        ToolsFile = simulator == Simulator.GhdlMcode ? ToolsWithoutLlvm() : Path.Combine(Root, ".cosim", "tools.json"),
    };

    public static NativeFpga Make(Simulator simulator, FpgaDesign design, LinkPauses pauses = default, Action? ended = null)
        => NativeFpga.Create(Options(simulator, design) with { SimulatorEnded = ended }, pauses);

    private static string ToolsWithoutLlvm()
    {
        string file = Path.Combine(Scratch("tools"), "tools.json");
        IEnumerable<string> lines = File.ReadLines(Path.Combine(Root, ".cosim", "tools.json"));
        File.WriteAllLines(file, lines.Where(l => !l.Contains("\"ghdlLlvm\"", StringComparison.Ordinal)));
        return file;
    }

    private static string EmptyFolder(string path)
    {
        if (Directory.Exists(path))
        {
            Directory.Delete(path, recursive: true);
        }

        return path;
    }
}
