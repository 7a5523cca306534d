// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Guests;

/// <summary>A raw image that a guest gets as a disk of its own, by QEMU's virtio-blk.</summary>
/// <param name="Path">The file; its length is a multiple of 512 bytes.</param>
/// <param name="ReadOnly">The guest may not write.</param>
public sealed record QemuDisk(string Path, bool ReadOnly = false);

/// <summary>QEMU's machines that a host may be.</summary>
public enum QemuMachine
{
    /// <summary>PCI Express with root ports.</summary>
    Q35,

    /// <summary>i440FX: conventional PCI.</summary>
    Pc,
}

/// <summary>How a host is to be run.</summary>
public sealed record QemuOptions
{
    /// <summary>What the host is called: in errors, in QEMU's name and in the names of its sockets.</summary>
    public required string Name { get; init; }

    /// <summary>Where QEMU is.</summary>
    public required GuestTools Tools { get; init; }

    /// <summary>What it boots.</summary>
    public required GuestImage Image { get; init; }

    /// <summary>Existing or new folder for its sockets and its console's log.</summary>
    public required string RunFolder { get; init; }

    /// <summary>Guest memory in MiB.</summary>
    public int MemoryMiB { get; init; } = 512;

    /// <summary>
    /// Whether vfio-user servers are given its memory to map. Without it they have to ask for every byte (DMA_READ, DMA_WRITE), which is slow
    /// and rarely what one wants.
    /// </summary>
    public bool ShareMemory { get; init; } = true;

    /// <summary>Processors.</summary>
    public int Processors { get; init; } = 1;

    /// <summary>
    /// Paths of the vfio-user sockets to attach to, one PCI function each, each behind a root port of its own.
    /// Somebody must be listening there.
    /// </summary>
    public IReadOnlyList<string> VfioUserSockets { get; init; } = [];

    /// <summary>
    /// The longest that a message to a vfio-user server may go unanswered. One later answer breaks the connection for
    /// good.
    /// </summary>
    public TimeSpan MessageTimeout { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>The machine.</summary>
    public QemuMachine Machine { get; init; }

    /// <summary>Plugs the vfio-user functions into the root bus instead of root ports; the i440FX has nothing else.</summary>
    public bool OnRootBus { get; init; }

    /// <summary>Leaves the vfio-user functions out: <see cref="QemuProcess.AttachFunctionAsync"/> puts them into the running guest.</summary>
    public bool AttachLater { get; init; }

    /// <summary>Puts an IOMMU between devices and memory, as drivers in the guest's user space need.</summary>
    public bool Iommu { get; init; }

    /// <summary>Disks; the guest sees them as <c>/dev/vda</c> and so on.</summary>
    public IReadOnlyList<QemuDisk> Disks { get; init; } = [];

    /// <summary>File that takes the kernel's console; <c>NAME-console.log</c> in the run-time folder when null.</summary>
    public string? ConsoleLog { get; init; }

    /// <summary>Further words for the kernel's command line.</summary>
    public string KernelArguments { get; init; } = "";

    /// <summary>Further arguments to QEMU.</summary>
    public IReadOnlyList<string> Arguments { get; init; } = [];

    /// <summary>How long QEMU may take to be ready to run the guest, its vfio-user servers' first answers included.</summary>
    public TimeSpan StartTimeout { get; init; } = TimeSpan.FromMinutes(2);
}
