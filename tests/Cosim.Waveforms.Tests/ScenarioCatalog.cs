// SPDX-License-Identifier: Apache-2.0
using System.Reflection;
using Cosim.Waveforms.Tests.Scenarios;

namespace Cosim.Waveforms.Tests;

/// <summary>The scenarios by name: a scenario is a static method of the namespace <c>Scenarios</c>, <c>Class.Method</c> names it and its file.</summary>
internal static class ScenarioCatalog
{
    private static readonly Dictionary<string, Action<Scenario>> Known = typeof(ConfigurationWaves).Assembly.GetTypes()
        .Where(t => t.Namespace == typeof(ConfigurationWaves).Namespace && t.IsAbstract && t.IsSealed)
        .SelectMany(t => t.GetMethods(BindingFlags.Public | BindingFlags.Static | BindingFlags.DeclaredOnly))
        .ToDictionary(m => $"{m.DeclaringType!.Name}.{m.Name}", m => m.CreateDelegate<Action<Scenario>>(), StringComparer.Ordinal);

    /// <summary>All names in their order.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. Known.Keys.Order(StringComparer.Ordinal)];

    /// <summary>Scenarios that between them use every part of the FPGA.</summary>
    public static IReadOnlyList<string> Telling { get; } =
    [
        "BackEndWaves.MailboxFromHost", "BridgeWaves.NetReceive", "ConfigurationWaves.FunctionLevelReset", "DmaWaves.BackPressure", "InterruptWaves.VectorMask",
        "ManagementWaves.FpgaReset", "RequestWaves.Accesses", "VirtioWaves.QueueSetUp",
    ];

    /// <summary>
    /// Scenarios that never show scratch that nobody has written: it is 0 as block RAM is after configuration, but random where all
    /// that synthesis leaves open is.
    /// </summary>
    public static IReadOnlyList<string> WithoutFreshScratch { get; } =
    [
        .. Names.Where(n => !n.StartsWith("BridgeWaves.", StringComparison.Ordinal))
            .Except(["DmaWaves.WrongCommands"]),
        "BridgeWaves.ConfigurationWrite", "BridgeWaves.Negotiation", "BridgeWaves.ResetWithRequestInFlight",
    ];

    /// <summary>The scenario of a name.</summary>
    public static Action<Scenario> Find(string name) => Known[name];

    /// <summary>The waveform that is kept of a scenario.</summary>
    public static GoldenFile Golden(string name) => new(FpgaWaves.Folder, name);
}
