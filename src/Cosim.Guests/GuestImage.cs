// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Guests;

/// <summary>What a guest boots: kernel, initial RAM file system and command line.</summary>
/// <param name="Kernel">Path of an uncompressed ELF kernel or of a bzImage.</param>
/// <param name="Initramfs">Path of a cpio archive.</param>
/// <param name="CommandLine">The kernel's command line, but for what depends on how the guest is run.</param>
public sealed record GuestImage(string Kernel, string Initramfs, string CommandLine)
{
    /// <summary>
    /// Serial lines of the guests made here: the kernel's console with a root shell for people, the line on which
    /// <see cref="GuestConsole"/> runs commands, and the back end's output.
    /// </summary>
    public const int SerialLines = 3;

    private const string CommonCommandLine = "console=ttyS0 quiet 8250.nr_uarts=4 random.trust_cpu=on";

    /// <summary>
    /// Makes the image of host 1: a stock Linux with the virtio drivers, busybox and e2fsprogs, nothing of the bridge.
    /// </summary>
    /// <param name="tools">What it is made from.</param>
    /// <param name="folder">Where the archive is put, as <c>host1.cpio</c>; created when missing.</param>
    /// <param name="files">Files of this machine that the guest finds in <c>/root</c>, under their names and with their modes.</param>
    /// <param name="command">Shell command that the guest runs in <c>/root</c> once it is up; its output goes to the console. None when empty.</param>
    /// <param name="modules">Further modules of its kernel, such as <c>virtio_rng</c>.</param>
    /// <exception cref="GuestException">Something it is made from is missing.</exception>
    public static GuestImage CreateHostOne(
        GuestTools tools, string folder, IEnumerable<string>? files = null, string command = "", IEnumerable<string>? modules = null)
    {
        InitramfsBuilder root = CreateRoot(
            tools,
            ["virtio_pci", "virtio_blk", "virtio_net", "loop", "ext4", "uio", "uio_pci_generic", .. modules ?? []],
            command.Length > 0 ? "command" : null);
        foreach (string file in files ?? [])
        {
            root.AddCopy("root/" + Path.GetFileName(file), file);
        }

        root.AddText("etc/cosim/command", command + "\n", (UnixFileMode)0x1A4); // 0644
        return new GuestImage(tools.Kernel, Write(root, folder, "host1.cpio"), CommonCommandLine);
    }

    /// <summary>
    /// Makes the image of host 2: a stock Linux in which vfio-pci holds the back-end endpoint and the back end runs.
    /// </summary>
    /// <param name="tools">What it is made from.</param>
    /// <param name="backEnd">The endpoint, the pool and the program.</param>
    /// <param name="folder">Where the archive is put, as <c>host2.cpio</c>; created when missing.</param>
    /// <exception cref="GuestException">Something it is made from is missing.</exception>
    public static GuestImage CreateHostTwo(GuestTools tools, BackEndSetUp backEnd, string folder)
    {
        InitramfsBuilder root = CreateRoot(
            tools,
            ["virtio_pci", "virtio_blk", "tun", "loop", "ext4", "vfio", "vfio_iommu_type1", "vfio_pci", "uio", "uio_pci_generic"],
            "backend");
        root.AddDirectory("opt/cosim");
        if (backEnd.ProgramFolder is not null)
        {
            root.AddTree(backEnd.ProgramFolder, "opt/cosim");
        }

        foreach ((string path, ReadOnlyMemory<byte> content) in backEnd.Files)
        {
            root.AddFile(path, content, (UnixFileMode)0x1A4); // 0644
        }

        root.AddText("etc/cosim/backend.command", "exec " + backEnd.Command + "\n", (UnixFileMode)0x1A4);
        string endpoint = $"cosim.endpoint={backEnd.EndpointVendor:x4}:{backEnd.EndpointDevice:x4}";
        string hugepages = $"default_hugepagesz=2M hugepages={backEnd.PoolMiB / 2}";
        return new GuestImage(
            tools.Kernel,
            Write(root, folder, "host2.cpio"),
            $"{CommonCommandLine} intel_iommu=on {hugepages} {endpoint}");
    }

    private static InitramfsBuilder CreateRoot(GuestTools tools, string[] modules, string? once)
    {
        const UnixFileMode program = (UnixFileMode)0x1ED; // 0755
        const UnixFileMode text = (UnixFileMode)0x1A4; // 0644
        var root = new InitramfsBuilder();
        foreach (string folder in new[] { "dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "usr/bin", "usr/sbin", "var" })
        {
            root.AddDirectory(folder);
        }

        root.AddTree(tools.Userland);
        root.AddSymlink("bin/sh", "busybox");
        root.AddSymlink("init", "bin/busybox");
        root.AddSymlink("etc/mtab", "/proc/mounts");
        root.AddCharacterDevice("dev/console", 5, 1, (UnixFileMode)0x180); // 0600
        root.AddText("etc/passwd", "root::0:0:root:/root:/bin/sh\n", text);
        root.AddText("etc/group", "root:x:0:\n", text);

        string inittab = "::sysinit:/lib/cosim/start\nttyS1::respawn:/lib/cosim/console\nttyS0::respawn:-/bin/sh\n::ctrlaltdel:/bin/busybox reboot\n";
        if (once is not null)
        {
            inittab += $"::once:/lib/cosim/{once}\n";
        }

        root.AddText("etc/inittab", inittab, text);
        foreach (string script in new[] { "start", "console", "backend", "command", "pci-devices", "block", "transfer" })
        {
            root.AddFile("lib/cosim/" + script, Resource(script), program);
        }

        IReadOnlyList<string> order = KernelModules.Load(tools.Modules).LoadOrder(modules);
        foreach (string file in order)
        {
            root.AddCopy("lib/modules/" + Path.GetFileName(file), file);
        }

        root.AddText("etc/cosim/modules", string.Concat(order.Select(file => $"/lib/modules/{Path.GetFileName(file)}\n")), text);
        return root;
    }

    private static byte[] Resource(string name)
    {
        using Stream stream = typeof(GuestImage).Assembly.GetManifestResourceStream(name)
            ?? throw new InvalidOperationException($"The assembly lacks its resource {name}.");
        var content = new byte[stream.Length];
        stream.ReadExactly(content);
        return content;
    }

    private static string Write(InitramfsBuilder root, string folder, string name)
    {
        string path = Path.Combine(Path.GetFullPath(folder), name);
        string partial = $"{path}.{Environment.ProcessId}";
        try
        {
            Directory.CreateDirectory(folder);
            using (FileStream file = File.Create(partial, 1 << 20))
            {
                root.WriteTo(file);
            }

            File.Move(partial, path, overwrite: true);
            return path;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new GuestException($"The guest's RAM file system {path} cannot be written: {e.Message}", e);
        }
        finally
        {
            File.Delete(partial);
        }
    }
}
