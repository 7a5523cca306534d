// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Guests;

/// <summary>What host 2 runs, and on which PCI function.</summary>
public sealed record BackEndSetUp
{
    /// <summary>PCI vendor of the back-end endpoint, which vfio-pci is to hold.</summary>
    public required ushort EndpointVendor { get; init; }

    /// <summary>PCI device of the back-end endpoint.</summary>
    public required ushort EndpointDevice { get; init; }

    /// <summary>
    /// The shell command that runs the back end, in <c>/opt/cosim</c>. Its environment has the endpoint's PCI address
    /// in <c>COSIM_ENDPOINT</c>.
    /// </summary>
    public required string Command { get; init; }

    /// <summary>Folder of this machine that becomes <c>/opt/cosim</c>; none when null.</summary>
    public string? ProgramFolder { get; init; }

    /// <summary>Further files of the guest by path, such as the back end's configuration.</summary>
    public IReadOnlyDictionary<string, ReadOnlyMemory<byte>> Files { get; init; } = new Dictionary<string, ReadOnlyMemory<byte>>();

    /// <summary>Memory set aside for the pool as hugepages of 2 MiB, in MiB.</summary>
    public int PoolMiB { get; init; } = 64;
}
