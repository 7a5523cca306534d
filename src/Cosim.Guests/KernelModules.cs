// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Guests;

/// <summary>
/// The modules of a guest's kernel: a folder with <c>modules.dep</c> (lines <c>file: dependency…</c>, file names
/// relative to the folder) and <c>modules.builtin</c> (names of what is built into the kernel).
/// </summary>
/// <remarks>Names are compared as the kernel does: <c>-</c> and <c>_</c> are the same.</remarks>
public sealed class KernelModules
{
    private readonly string _folder;
    private readonly Dictionary<string, (string File, string[] Dependencies)> _modules = [];
    private readonly HashSet<string> _builtIn = [];

    private KernelModules(string folder) => _folder = folder;

    /// <summary>Reads the two lists of a folder.</summary>
    /// <exception cref="GuestException">A list cannot be read or is malformed.</exception>
    public static KernelModules Load(string folder)
    {
        var modules = new KernelModules(folder);
        string list = Path.Combine(folder, "modules.dep");
        try
        {
            foreach (string line in File.ReadLines(list))
            {
                int colon = line.IndexOf(':', StringComparison.Ordinal);
                if (colon <= 0)
                {
                    throw new GuestException($"{list}: the line \"{line}\" is not of the form \"module: dependencies\".");
                }

                string file = line[..colon];
                string[] dependencies = line[(colon + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
                modules._modules[NameOf(file)] = (file, dependencies);
            }

            list = Path.Combine(folder, "modules.builtin");
            modules._builtIn.UnionWith(File.ReadLines(list).Select(NameOf));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new GuestException($"The kernel's list of modules {list} cannot be read: {e.Message}", e);
        }

        return modules;
    }

    /// <summary>
    /// The files to load, each after those it depends on and none twice, so that the modules named are there
    /// afterwards. What is built into the kernel needs no file.
    /// </summary>
    /// <param name="names">Names of modules, such as <c>virtio_net</c>.</param>
    /// <returns>Absolute paths.</returns>
    /// <exception cref="GuestException">A module or one that it needs is missing, or modules depend on each other in a circle.</exception>
    public IReadOnlyList<string> LoadOrder(IEnumerable<string> names)
    {
        var order = new List<string>();
        var state = new Dictionary<string, bool>(); // true: in the list; false: its dependencies are being listed
        foreach (string name in names)
        {
            Visit(NameOf(name), name);
        }

        return order;

        void Visit(string name, string wantedBy)
        {
            if (_builtIn.Contains(name))
            {
                return;
            }

            if (!_modules.TryGetValue(name, out (string File, string[] Dependencies) module))
            {
                string reason = name == NameOf(wantedBy) ? "" : $", needed by {wantedBy},";
                throw new GuestException($"The guest kernel has no module {name}{reason} in {_folder}, nor is it built in.");
            }

            if (state.TryGetValue(name, out bool listed))
            {
                if (!listed)
                {
                    throw new GuestException($"{_folder}/modules.dep: {name} and {wantedBy} depend on each other.");
                }

                return;
            }

            state[name] = false;
            foreach (string dependency in module.Dependencies)
            {
                Visit(NameOf(dependency), name);
            }

            state[name] = true;
            string path = Path.Combine(_folder, module.File);
            order.Add(File.Exists(path)
                ? path
                : throw new GuestException($"The file of guest kernel module {name}, {path}, is missing."));
        }
    }

    private static string NameOf(string file)
    {
        string name = Path.GetFileName(file);
        int extension = name.IndexOf(".ko", StringComparison.Ordinal);
        return (extension < 0 ? name : name[..extension]).Replace('-', '_');
    }
}
