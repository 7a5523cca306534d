// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Server.Scheduled;

/// <summary>Where a service finds and puts things; all paths are absolute.</summary>
public sealed record BridgeFolders
{
    /// <summary>The HDL sources.</summary>
    public required string Hdl { get; init; }

    /// <summary>Builds of simulators, kept from run to run.</summary>
    public required string Build { get; init; }

    /// <summary>The set-up's list of tools.</summary>
    public required string Tools { get; init; }

    /// <summary>Host 2's program as it is published, with <c>cosim-backend</c> in it.</summary>
    public required string BackEnd { get; init; }

    /// <summary>Run-time files; each bridge has a folder of its name in it while it lives.</summary>
    public required string Run { get; init; }

    /// <summary>Recordings that were started while their bridge ran; kept from run to run.</summary>
    public required string Recordings { get; init; }
}
