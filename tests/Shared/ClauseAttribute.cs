// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Clauses;

/// <summary>Says which normative statement of a specification a test holds; the statements are the rows of tests/clauses/*.tsv.</summary>
/// <param name="label">A row's label with its document's name before it, as in <c>virtio 2.1.2-1</c>.</param>
/// <remarks>tests/Cosim.Clauses.Tests reads the attributes from the sources, so the label is a literal. One attribute per label.</remarks>
[AttributeUsage(AttributeTargets.Method, AllowMultiple = true)]
internal sealed class ClauseAttribute(string label) : NUnit.Framework.PropertyAttribute("Clause", label)
{
    /// <summary>The row's label.</summary>
    public string Label { get; } = label;
}
