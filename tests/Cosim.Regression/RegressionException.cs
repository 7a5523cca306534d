// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Regression;

/// <summary>The run cannot go on; the message says what was expected.</summary>
internal sealed class RegressionException(string message) : Exception(message);
