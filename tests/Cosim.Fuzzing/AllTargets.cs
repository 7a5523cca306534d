// SPDX-License-Identifier: Apache-2.0
using Cosim.Fuzzing.Targets;

namespace Cosim.Fuzzing;

/// <summary>All targets.</summary>
public static class AllTargets
{
    private static readonly Func<FuzzTarget>[] s_all =
    [
        () => new TlpTarget(),
        () => new VfioUserTarget(),
        () => new MailboxTarget(),
        () => new HostRingTarget(),
        () => new BackEndRingTarget(),
        () => new StimuliTarget(),
        () => new VcdTarget(),
        () => new CanonicalTarget(),
        () => new ScenarioTarget(),
        () => new BridgeTarget(),
    ];

    /// <summary>Makes them; each is to be disposed of.</summary>
    public static IReadOnlyList<FuzzTarget> Make() => [.. s_all.Select(make => make())];
}
