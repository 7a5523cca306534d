// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Server.Internal;

/// <summary>What the callers of a service may ask of it.</summary>
/// <param name="Trusted">They may name any file and program.</param>
/// <param name="WorkFolder">Where the files of the others lie; null: nowhere.</param>
/// <param name="MostBridges">Bridges that may be there at a time.</param>
internal sealed record CallerLimits(bool Trusted, string? WorkFolder, int MostBridges);
