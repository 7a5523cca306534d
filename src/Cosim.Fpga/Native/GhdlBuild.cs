// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Fpga.Native;

/// <summary>Makes what GHDL runs: a program (LLVM), or a library of units that GHDL compiles at each start (mcode).</summary>
internal static class GhdlBuild
{
    private static readonly string[] LinkFiles = ["region.h", "link.h", "child.h", "ghdl.c"];

    /// <summary>Gives the program to start, its folder and its first arguments.</summary>
    public static (string Program, string Folder, string[] Arguments) Build(BuildCache cache, SimulationTools tools, DesignSources design)
    {
        string link = string.Concat(LinkFiles.Select(DesignSources.LinkSource));
        bool llvm = tools.GhdlLlvm is not null;
        string key = $"{tools.Versions}\n{tools.Ghdl} {tools.GhdlLlvm}\n{(llvm ? "" : cache.Root)}\n{link}\n{GhdlShell.Text(design, "")}\n{design.Key}";
        string folder = cache.Get(llvm ? "ghdl-llvm" : "ghdl-mcode", key, partial =>
        {
            DesignSources.WriteLink(partial, LinkFiles);
            // mcode loads the link as a library at run time; the LLVM program is linked with it.
            string[] output = llvm ? ["-c", "-o", "link.o"] : ["-shared", "-o", "link.so"];
            BuildStep.Run($"compiling the link for {design.Top}", partial, "g++", ["-x", "c", "-std=gnu11", "-O2", "-fPIC", "-w", "ghdl.c", .. output, "-lpthread"]);
            Directory.CreateDirectory(Path.Combine(partial, "work"));

            // mcode reads the sources at every start, relative to this folder: they stay as they were analysed.
            string[] files = new string[design.Files.Count];
            for (int i = 0; i < files.Length; i++)
            {
                files[i] = $"{i:D3}_{Path.GetFileName(design.Files[i])}";
                File.Copy(design.Files[i], Path.Combine(partial, files[i]));
            }

            File.WriteAllText(Path.Combine(partial, GhdlShell.FileName), GhdlShell.Text(design, llvm ? "" : "./link.so "));
            string ghdl = tools.GhdlLlvm ?? tools.Ghdl;
            try
            {
                BuildStep.Run($"analysing {design.Top}", partial, ghdl, ["-a", "--std=08", "--workdir=work", .. files]);
            }
            catch (FpgaBuildException exception) when (exception.File is { } name && Array.IndexOf(files, name) is >= 0 and var at)
            {
                throw new FpgaBuildException(
                    exception.Step,
                    design.Files[at],
                    exception.Reason.Replace(name, design.Files[at], StringComparison.Ordinal));
            }

            BuildStep.Run($"analysing the shell of {design.Top} (are its ports those of hdl/CONTRACT.md?)", partial, ghdl, ["-a", "--std=08", "--workdir=work", GhdlShell.FileName]);
            if (llvm)
            {
                BuildStep.Run($"linking {design.Top}", partial, ghdl,
                    ["-e", "--std=08", "--workdir=work", "-Wl,link.o", "-Wl,-lpthread", "-o", "simulator", GhdlShell.Entity]);
                Directory.Delete(Path.Combine(partial, "work"), recursive: true);
            }
            else
            {
                // The library's list names the folder that the sources were analysed in; they end up in the build's own.
                foreach (string list in Directory.GetFiles(Path.Combine(partial, "work"), "*.cf"))
                {
                    File.WriteAllText(list, File.ReadAllText(list).Replace($"\"{partial}/\"", $"\"{BuildCache.FinalFolder(partial)}/\"", StringComparison.Ordinal));
                }
            }
        });
        return llvm
            ? (Path.Combine(folder, "simulator"), folder, [])
            : (tools.Ghdl, folder, ["--elab-run", "--std=08", "--workdir=work", GhdlShell.Entity]);
    }
}
