// SPDX-License-Identifier: Apache-2.0
using System.Text.Json.Serialization;

namespace Cosim.Regression.Mutation;

/// <summary>What became of a mutant.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<MutantOutcome>))]
internal enum MutantOutcome
{
    /// <summary>It is no design: it does not analyse or does not synthesise. Not counted.</summary>
    Discarded,

    /// <summary>A bench failed.</summary>
    Killed,

    /// <summary>All benches passed.</summary>
    Survived,

    /// <summary>Its netlist is that of the design. Not counted.</summary>
    Equivalent,
}

/// <summary>A line of the results.</summary>
/// <param name="Id">Which mutant, <see cref="Mutant.Id"/>.</param>
/// <param name="Sources">Content of all sources when it was tried.</param>
/// <param name="File">Name of the source.</param>
/// <param name="Line">Line of the change.</param>
/// <param name="Operator">Kind of the change.</param>
/// <param name="Change">What was replaced and by what.</param>
/// <param name="Outcome">What became of it.</param>
/// <param name="Killer">Key of the bench run that failed, or null.</param>
/// <param name="How">How it failed, or why the mutant was discarded.</param>
/// <param name="Passed">Keys of the bench runs that it got past.</param>
/// <param name="Seconds">Time it took.</param>
internal sealed record MutantResult(string Id, string Sources, string File, int Line, string Operator, string Change, MutantOutcome Outcome, string? Killer, string? How,
    IReadOnlyList<string> Passed, double Seconds);
