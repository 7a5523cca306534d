// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Pcie;
using Cosim.Virtio;

namespace Cosim.Scheduling;

/// <summary>Who sits behind a PCIe port of the FPGA.</summary>
public abstract record HostOptions
{
    /// <summary>Number of PCI functions that are offered to this host; function numbers begin at 0.</summary>
    public required int Functions { get; init; }
}

/// <summary>A vfio-user client (QEMU, or any other): one socket a function.</summary>
public sealed record SocketHostOptions : HostOptions
{
    /// <summary>Paths of the sockets, in order of function number; at most 107 bytes each.</summary>
    public required IReadOnlyList<string> Sockets { get; init; }
}

/// <summary>A program that plays the host through <see cref="Bridge"/>'s transactions.</summary>
public sealed record ProgramHostOptions : HostOptions
{
    /// <summary>Bytes of the host's memory.</summary>
    public int MemoryBytes { get; init; } = 16 << 20;

    /// <summary>Address of its first byte.</summary>
    public ulong MemoryBase { get; init; }
}

/// <summary>What a bridge is made of.</summary>
public sealed record BridgeOptions
{
    /// <summary>Name, for messages.</summary>
    public required string Name { get; init; }

    /// <summary>The FPGA.</summary>
    public required FpgaOptions Fpga { get; init; }

    /// <summary>Makes the FPGA from <see cref="Fpga"/>; a test may put something between the bridge and it.</summary>
    internal Func<FpgaOptions, IFpga> MakeFpga { get; init; } = FpgaFactory.Create;

    /// <summary>Hosts in order of port number.</summary>
    public required IReadOnlyList<HostOptions> Hosts { get; init; }

    /// <summary>What of <see cref="VirtioFeatures.AllRing"/> the virtio functions offer to host 1's drivers, beside VIRTIO_F_VERSION_1.</summary>
    public ulong RingFeatures { get; init; } = VirtioFeatures.UsualRing;

    /// <summary>Cycles from a request of the FPGA to its first completion, and from a management event to the scheduler's first command; at least 1.</summary>
    public uint CompletionLatencyCycles { get; init; } = 16;

    /// <summary>How both root ports complete the FPGA's reads where they have a choice; null: in order, after <see cref="CompletionLatencyCycles"/>, in as few parts as may be.</summary>
    public ICompletionChoice? Completions { get; init; }

    /// <summary>A read that is not completed in so many cycles answers all ones.</summary>
    public ulong CompletionTimeoutCycles { get; init; } = 100_000;

    /// <summary>Clock that turns cycles into simulated time, in hertz.</summary>
    public ulong ClockHz { get; init; } = 250_000_000;

    /// <summary>From a mailbox message to host 2 to its answer.</summary>
    public TimeSpan MailboxTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// How long a host that shares no memory may take to answer when it is asked for some. The bridge stands still meanwhile; then the access
    /// fails, and so does any further one until the host answers again.
    /// </summary>
    public TimeSpan HostMemoryTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Sees everything that crosses the FPGA's boundary; null: nobody.</summary>
    public IStimuliLog? Stimuli { get; init; }

    /// <summary>File that takes a recording from the FPGA's first cycle on (<c>hdl/STIMULI.md</c>; gzip where its name ends in <c>.gz</c>); null: none.</summary>
    public string? RecordingFile { get; init; }

    /// <summary>Takes one line a time about what was dropped, refused or lost. Called on the bridge's thread.</summary>
    public Action<string>? Log { get; init; }
}
