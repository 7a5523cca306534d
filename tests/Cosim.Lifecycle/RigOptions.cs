// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Guests;

namespace Cosim.Lifecycle;

/// <summary>What a rig is made of.</summary>
public sealed record RigOptions
{
    /// <summary>For messages and QEMU's names.</summary>
    public string Name { get; init; } = "rig";

    public FpgaKind Fpga { get; init; } = FpgaKind.Model;

    /// <summary>Host 2 is a QEMU, which serves a disk and a network card; otherwise a process of this machine serves the disk alone.</summary>
    public bool HostTwoInQemu { get; init; } = true;

    public QemuMachine Machine { get; init; }

    public bool OnRootBus { get; init; }

    /// <summary>Processors of host 1.</summary>
    public int Processors { get; init; } = 1;

    /// <summary>Another of Debian's cloud kernels for host 1, such as <c>6.1</c>; null: the one of set-up.</summary>
    public string? KernelRelease { get; init; }

    /// <summary>Size of the disk in bytes.</summary>
    public int DiskBytes { get; init; } = DiskLoad.Regions * DiskLoad.RegionBytes;

    /// <summary>Takes a line a time.</summary>
    public Action<string> Log { get; init; } = _ => { };
}
