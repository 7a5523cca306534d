// SPDX-License-Identifier: Apache-2.0
using System.Text;
using System.Text.RegularExpressions;

namespace Cosim.Fpga.Native;

/// <summary>Makes a Verilator model of a VHDL design: GHDL writes Verilog, Verilator C++, the compiler a library and a program.</summary>
internal static partial class VerilatorBuild
{
    private const string Compiler = "g++";

    private static readonly string[] LinkFiles = ["region.h", "link.h", "child.h", "verilator.h", "verilator.cpp"];

    private static readonly string[] Flags =
    [
        "-std=gnu++17", "-fPIC", "-fvisibility=hidden", "-w",
        // Several models live in one process: nothing of one may be taken for the same thing of another.
        "-fno-gnu-unique", "-faligned-new", "-fcf-protection=none",
        "-DVERILATOR=1", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0",
        "-DVL_USER_FINISH", "-DVL_USER_STOP", "-DVL_USER_FATAL",
    ];

    /// <summary>Gives the folder with <c>model.so</c> and <c>model</c>.</summary>
    public static string Build(BuildCache cache, SimulationTools tools, DesignSources design, WaveFormat? wave, bool random)
    {
        string versions = $"{tools.Versions} {tools.VerilatorRoot}\n{string.Join(' ', Flags)}";
        string link = string.Concat(LinkFiles.Select(DesignSources.LinkSource));
        string unknown = random ? "unique" : "fast";
        return cache.Get("verilator", $"{versions}\n{wave}\n{unknown}\n{link}\n{design.Key}", folder =>
        {
            if (wave == WaveFormat.Fst)
            {
                RequireZlib(tools, folder);
            }

            string runtime = Runtime(cache, tools, wave, versions);
            (string verilog, string module) = Synthesise(tools, design, folder);
            string objects = Path.Combine(folder, "objects");
            string[] trace = wave switch
            {
                WaveFormat.Vcd => ["--trace"],
                WaveFormat.Fst => ["--trace-fst"],
                _ => [],
            };
            BuildStep.Run($"verilating {design.Top}", folder, tools.Verilator,
            [
                "--cc", "--top-module", module, "--prefix", "Vmodel", "--Mdir", objects, "-O3", "-Wno-fatal",
                "--x-assign", unknown, "--x-initial", unknown, "--timescale", "1ns/1ns", .. trace, verilog,
            ]);
            DesignSources.WriteLink(objects, LinkFiles);
            Compile(tools, design, wave, objects);
            string[] inputs = [.. Directory.GetFiles(objects, "*.o").Concat(Directory.GetFiles(runtime, "*.o")).Order(StringComparer.Ordinal)];
            string[] libraries = [.. wave == WaveFormat.Fst ? ZlibLink(tools) : [], "-lpthread"];
            BuildStep.Run($"linking {design.Top}", folder, Compiler, ["-shared", "-Wl,-Bsymbolic", "-o", "model.so", .. inputs, .. libraries]);
            BuildStep.Run($"linking {design.Top}", folder, Compiler, ["-o", "model", .. inputs, .. libraries]);
            Directory.Delete(objects, recursive: true);
            Directory.Delete(Path.Combine(folder, "work"), recursive: true);
        });
    }

    /// <summary>Verilog of the design, with its temporaries kept out of waveforms: they are most of it and mean nothing to a reader.</summary>
    private static (string File, string Module) Synthesise(SimulationTools tools, DesignSources design, string folder)
    {
        string work = Path.Combine(folder, "work");
        Directory.CreateDirectory(work);
        BuildStep.Run($"analysing {design.Top}", folder, tools.Ghdl, ["-a", "--std=08", "--workdir=work", .. design.Files]);
        string text = BuildStep.Run($"synthesising {design.Top}", folder, tools.Ghdl,
            ["--synth", "--std=08", "--workdir=work", "--out=verilog", .. design.Generics.Select(g => $"-g{g.Name}={g.Value}"), design.Top]);
        string module = Module().Matches(text).Select(m => m.Groups[1].Value).LastOrDefault(m => m.Equals(design.Top, StringComparison.OrdinalIgnoreCase))
            ?? throw new FpgaBuildException($"synthesising {design.Top}", null, $"GHDL wrote no module {design.Top}.");

        // VHDL knows no case, Verilog does, and GHDL keeps it: the pins are wanted as hdl/CONTRACT.md writes them.
        StringBuilder marked = new(text.Length + 4096);
        bool hidden = false;
        foreach (string line in Pin().Replace(text, m => m.Value.ToLowerInvariant()).Split('\n'))
        {
            if (Temporary().IsMatch(line) != hidden)
            {
                marked.Append(hidden ? "/*verilator tracing_on*/\n" : "/*verilator tracing_off*/\n");
                hidden = !hidden;
            }

            marked.Append(line).Append('\n');
        }

        string name = design.Top + ".v"; // relative, so that messages of the model do not name a folder of the build
        File.WriteAllText(Path.Combine(folder, name), marked.ToString());
        return (name, module);
    }

    private static void Compile(SimulationTools tools, DesignSources design, WaveFormat? wave, string objects)
    {
        // Code that runs once is not worth optimising; the rest is spread over the cores, the largest files first.
        FileInfo[] all = [.. new DirectoryInfo(objects).GetFiles("Vmodel*.cpp").OrderByDescending(f => f.Length).ThenBy(f => f.Name, StringComparer.Ordinal)];
        FileInfo[] once = [.. all.Where(f => RunsOnce().IsMatch(f.Name))];
        (List<string> Names, long Bytes)[] parts = [.. Enumerable.Range(0, Math.Max(1, Environment.ProcessorCount)).Select(_ => (new List<string>(), 0L))];
        foreach (FileInfo file in all.Except(once))
        {
            int least = Array.FindIndex(parts, p => p.Bytes == parts.Min(q => q.Bytes));
            parts[least].Names.Add(file.Name);
            parts[least].Bytes += file.Length;
        }

        List<(string File, string Level)> units = [.. parts.Select((p, i) => (Unit(objects, $"part{i}.cc", p.Names), "-O2"))];
        units.Add((Unit(objects, "once.cc", once.Select(f => f.Name)), "-O0"));
        units.Add(("verilator.cpp", "-O2"));
        string[] common = [.. Flags, .. TraceFlags(wave), .. Includes(tools), "-I.", "-include", "verilator.h",
            $"-DCOSIM_DESIGN_PORTS={design.Ports}", $"-DCOSIM_BUSY={(design.IdleCycles is null ? 1 : 0)}"];
        Parallel([.. units.Select(u => (Action)(() => BuildStep.Run($"compiling {design.Top}", objects, Compiler, [.. common, u.Level, "-c", u.File, "-o", u.File + ".o"])))]);
    }

    /// <summary>Verilator's own part, the same for every model.</summary>
    private static string Runtime(BuildCache cache, SimulationTools tools, WaveFormat? wave, string versions)
    {
        return cache.Get("verilator-runtime", $"{versions}\n{wave}\n{DesignSources.LinkSource("verilator.h")}", folder =>
        {
            DesignSources.WriteLink(folder, "verilator.h");
            string[] sources = wave switch
            {
                WaveFormat.Vcd => ["verilated", "verilated_threads", "verilated_vcd_c"],
                WaveFormat.Fst => ["verilated", "verilated_threads", "verilated_fst_c"],
                _ => ["verilated", "verilated_threads"],
            };
            string[] common = [.. Flags, .. TraceFlags(wave), .. Includes(tools), "-include", "verilator.h", "-O2"];
            Parallel([.. sources.Select(s => (Action)(() => BuildStep.Run("compiling Verilator's run time", folder, Compiler,
                [.. common, "-c", Path.Combine(tools.VerilatorRoot, "include", s + ".cpp"), "-o", s + ".o"])))]);
        });
    }

    private static void RequireZlib(SimulationTools tools, string folder)
    {
        string probe = Path.Combine(folder, "zlib.cpp");
        File.WriteAllText(probe, "#include <zlib.h>\nint main() { return zlibVersion() == nullptr; }\n");
        try
        {
            BuildStep.Run("looking for zlib", folder, Compiler, [.. ZlibInclude(tools), "zlib.cpp", "-o", "zlib", .. ZlibLink(tools)]);
        }
        catch (FpgaBuildException)
        {
            throw new FpgaBuildException(
                "looking for zlib",
                null,
                "zlib.h or libz.so is missing, and Verilator's FST writer needs them. Install zlib1g-dev, run sim-scripts/setup, or choose VCD.");
        }

        File.Delete(probe);
        File.Delete(Path.Combine(folder, "zlib"));
    }

    private static string Unit(string folder, string name, IEnumerable<string> files)
    {
        File.WriteAllText(Path.Combine(folder, name), string.Concat(files.Select(f => $"#include \"{f}\"\n")));
        return name;
    }

    private static string[] TraceFlags(WaveFormat? wave) => wave switch
    {
        WaveFormat.Vcd => ["-DVM_TRACE=1", "-DVM_TRACE_VCD=1", "-DVM_TRACE_FST=0", "-DCOSIM_VCD"],
        WaveFormat.Fst => ["-DVM_TRACE=1", "-DVM_TRACE_VCD=0", "-DVM_TRACE_FST=1", "-DCOSIM_FST"],
        _ => ["-DVM_TRACE=0", "-DVM_TRACE_VCD=0", "-DVM_TRACE_FST=0"],
    };

    private static string[] Includes(SimulationTools tools)
        => [$"-I{tools.VerilatorRoot}/include", $"-I{tools.VerilatorRoot}/include/vltstd", .. ZlibInclude(tools)];

    private static string[] ZlibInclude(SimulationTools tools) => tools.ZlibInclude is { } folder ? [$"-I{folder}"] : [];

    private static string[] ZlibLink(SimulationTools tools) => tools.ZlibLib is { } folder ? [$"-L{folder}", "-lz"] : ["-lz"];

    private static void Parallel(IReadOnlyList<Action> actions)
    {
        try
        {
            System.Threading.Tasks.Parallel.ForEach(actions, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount }, a => a());
        }
        catch (AggregateException exception)
        {
            throw exception.InnerExceptions[0];
        }
    }

    [GeneratedRegex(@"^\s*(wire|reg)\s+(\[[^\]]*\]\s*)?n\d+\w*\b")]
    private static partial Regex Temporary();

    [GeneratedRegex("__Slow|__Syms|__ConstPool")]
    private static partial Regex RunsOnce();

    [GeneratedRegex(@"^module\s+(\w+)", RegexOptions.Multiline)]
    private static partial Regex Module();

    [GeneratedRegex(@"\b(clk_i|rst_i|busy_o|p[0-2]_[rt]x_(data|keep|last|valid|ready)_[io])\b", RegexOptions.IgnoreCase)]
    private static partial Regex Pin();
}
