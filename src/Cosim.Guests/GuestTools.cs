// SPDX-License-Identifier: Apache-2.0
using System.Text.Json;

namespace Cosim.Guests;

/// <summary>
/// The programs and files that guests are made from, as <c>sim-scripts/setup</c> left them and listed them in
/// <c>.cosim/tools.json</c>. All paths are absolute.
/// </summary>
public sealed record GuestTools
{
    /// <summary>The QEMU to start: a script that replaces itself by QEMU.</summary>
    public required string Qemu { get; init; }

    /// <summary>QEMU's version, such as <c>11.1.3</c>.</summary>
    public required string QemuVersion { get; init; }

    /// <summary>The guests' kernel: an uncompressed ELF file with a PVH entry point.</summary>
    public required string Kernel { get; init; }

    /// <summary>The kernel's release, as <c>uname -r</c> prints it in a guest.</summary>
    public required string KernelVersion { get; init; }

    /// <summary>Folder of the kernel's modules, see <see cref="KernelModules"/>.</summary>
    public required string Modules { get; init; }

    /// <summary>Folder that becomes part of each guest's root: busybox, e2fsprogs and the libraries that they and a native .NET program need.</summary>
    public required string Userland { get; init; }

    /// <summary>
    /// Reads the list of the clone that this program runs from: the nearest folder above <paramref name="start"/>
    /// that holds <c>.cosim/tools.json</c>.
    /// </summary>
    /// <param name="start">Where to begin; the program's own folder when null.</param>
    /// <exception cref="GuestException">There is no such folder, or <see cref="Load"/> fails.</exception>
    public static GuestTools Locate(string? start = null)
    {
        string first = Path.GetFullPath(start ?? AppContext.BaseDirectory);
        for (string? folder = first; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            string list = Path.Combine(folder, ".cosim", "tools.json");
            if (File.Exists(list))
            {
                return Load(list);
            }
        }

        throw new GuestException($"No folder above {first} holds .cosim/tools.json: run ./sim-scripts/setup in the clone first.");
    }

    /// <summary>These tools with another of Debian's cloud kernels, which <c>sim-scripts/setup --kernel RELEASE</c> has fetched.</summary>
    /// <param name="release">The first two numbers of its release, such as <c>6.1</c>.</param>
    /// <exception cref="GuestException">It has not been fetched.</exception>
    public GuestTools WithKernel(string release)
    {
        if (KernelVersion.StartsWith(release + ".", StringComparison.Ordinal))
        {
            return this;
        }

        string folder = Path.Combine(Path.GetDirectoryName(Path.GetDirectoryName(Kernel))!, $"kernel-{release}");
        string version = Path.Combine(folder, ".version");
        return File.Exists(version)
            ? this with { Kernel = Path.Combine(folder, "vmlinux"), KernelVersion = File.ReadAllText(version).Trim(), Modules = Path.Combine(folder, "modules") }
            : throw new GuestException($"The guest kernel {release} is not in {folder}: run ./sim-scripts/setup --kernel {release}.");
    }

    /// <summary>Reads one list.</summary>
    /// <param name="path">Path of a <c>tools.json</c>.</param>
    /// <exception cref="GuestException">The file cannot be read, lacks an entry, or an entry names what is not there.</exception>
    public static GuestTools Load(string path)
    {
        Dictionary<string, string> entries;
        try
        {
            using FileStream file = File.OpenRead(path);
            entries = JsonSerializer.Deserialize<Dictionary<string, string>>(file) ?? [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            throw new GuestException($"The list of tools {path} cannot be read ({e.Message}): run ./sim-scripts/setup.", e);
        }

        string Entry(string name) => entries.TryGetValue(name, out string? value) && value.Length > 0
            ? value
            : throw new GuestException($"The list of tools {path} has no entry \"{name}\": run ./sim-scripts/setup.");

        string Existing(string name)
        {
            string value = Entry(name);
            return Path.Exists(value)
                ? value
                : throw new GuestException($"\"{name}\" of {path} names {value}, which does not exist: run ./sim-scripts/setup.");
        }

        return new GuestTools
        {
            Qemu = Existing("qemu"),
            QemuVersion = Entry("qemuVersion"),
            Kernel = Existing("kernel"),
            KernelVersion = Entry("kernelVersion"),
            Modules = Existing("modules"),
            Userland = Existing("userland"),
        };
    }
}
