// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>
/// Names one request of the client until it is completed. Completing twice, or after the client has left, does nothing.
/// </summary>
/// <param name="Slot">Place in the server's table.</param>
/// <param name="Generation">How often that place was used before; never 0 for a real request.</param>
public readonly record struct RequestToken(int Slot, uint Generation);
