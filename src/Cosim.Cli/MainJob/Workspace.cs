// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Cli.MainJob;

/// <summary>The folders of the clone that this program runs from.</summary>
public sealed class Workspace
{
    private Workspace(string root) => Root = root;

    /// <summary>The clone.</summary>
    public string Root { get; }

    /// <summary>Where everything goes that is built or written.</summary>
    public string WorkFolder => Path.Combine(Root, ".cosim");

    /// <summary>The HDL sources.</summary>
    public string Hdl => Path.Combine(Root, "hdl");

    /// <summary>Builds, kept from run to run.</summary>
    public string Build => Path.Combine(Root, ".cosim", "build");

    /// <summary>The set-up's list of tools.</summary>
    public string Tools => Path.Combine(Root, ".cosim", "tools.json");

    /// <summary>Run-time files.</summary>
    public string Run => Path.Combine(Root, ".cosim", "run");

    /// <summary>Recordings of the service's bridges.</summary>
    public string Recordings => Path.Combine(Root, ".cosim", "recordings");

    /// <summary>The published program of host 2.</summary>
    public string BackEnd => Path.Combine(Build, "backend");

    /// <summary>Finds the clone: the nearest folder above the program that has Cosim.sln.</summary>
    /// <exception cref="DirectoryNotFoundException">There is none.</exception>
    public static Workspace Find()
    {
        for (string? folder = AppContext.BaseDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            if (File.Exists(Path.Combine(folder, "Cosim.sln")))
            {
                return new Workspace(folder);
            }
        }

        throw new DirectoryNotFoundException($"{AppContext.BaseDirectory} is in no clone of this project: no folder above it has Cosim.sln.");
    }

    /// <summary>Makes an empty folder for one run; its path is short enough for sockets.</summary>
    public string CreateRunFolder()
    {
        string folder = Path.Combine(Run, Environment.ProcessId.ToString(System.Globalization.CultureInfo.InvariantCulture));
        if (Directory.Exists(folder))
        {
            Directory.Delete(folder, recursive: true);
        }

        _ = Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return folder;
    }
}
