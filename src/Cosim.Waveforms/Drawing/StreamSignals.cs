// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms.Drawing;

/// <summary>What a stream's state (<see cref="CanonicalWave"/>) says of its handshake.</summary>
internal static class StreamSignals
{
    /// <summary>Name of the signal that says whether a beat is offered.</summary>
    public const string Valid = "valid";

    private const string Waiting = "wait ";

    /// <summary>Names of the signals and how each follows from the state; null: it means nothing.</summary>
    public static readonly IReadOnlyList<(string Name, Func<string, string?> Of)> All =
    [
        (Valid, state => state switch { "idle" or "closed" => "0", "x" => "x", _ => "1" }),
        ("ready", state => state switch { "closed" => "0", "x" => "x", _ => IsWait(state) ? "0" : "1" }),
        ("beat", state => state switch { "idle" or "closed" or "x" => null, _ => IsWait(state) ? state[Waiting.Length..] : state }),
    ];

    /// <summary>Whether a beat is offered and not taken.</summary>
    public static bool IsWait(string state) => state.StartsWith(Waiting, StringComparison.Ordinal);

    /// <summary>Whether nothing is offered.</summary>
    public static bool IsQuiet(string state) => state is "idle" or "closed";
}
