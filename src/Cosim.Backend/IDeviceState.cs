// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Backend;

/// <summary>
/// What a device's driver has switched by requests of its queues. The front end keeps it, for this program may end at any time: a new one gets it
/// before its queues are enabled (hdl/BACKEND.md, "Device state"). All calls come on the thread of the event loop.
/// </summary>
public interface IDeviceState
{
    /// <summary>Called once before everything else.</summary>
    /// <param name="keep">
    /// Hands the state as it is now to the front end: <see cref="StateKept"/> follows. A request that has changed the state is used only then, so
    /// that nothing is lost of which the driver was told. False where the front end keeps no state: nothing follows.
    /// </param>
    void KeepStateBy(Func<bool> keep);

    /// <summary>The state as it is now.</summary>
    byte[] SaveState();

    /// <summary>Takes a state that the front end has kept, after the features were negotiated and before queues are enabled.</summary>
    /// <returns>False, and nothing is changed, where it cannot be taken: it is of another version, or does not fit the device.</returns>
    bool TryRestoreState(ReadOnlySpan<byte> state);

    /// <summary>The front end has everything that was handed to it.</summary>
    void StateKept();
}
