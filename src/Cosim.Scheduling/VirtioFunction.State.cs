// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Virtio;

namespace Cosim.Scheduling;

/// <summary>What a back end gives to keep of its device, for the next one (<c>hdl/BACKEND.md</c>, "Device state").</summary>
internal sealed partial class VirtioFunction
{
    private readonly DeviceStateParts _stateParts = new();
    private byte[]? _state;

    /// <summary>The back end gives a part of the device's state to keep for the next back end.</summary>
    /// <returns>0, or EINVAL where it cannot be kept; then none is.</returns>
    public ulong StateReceived(ReadOnlySpan<byte> part)
    {
        const ulong invalid = 22;
        if (!_attached || _attachedGeneration != _generation)
        {
            return 0; // of a driver that has reset the function since
        }

        if (!_stateParts.TryAdd(part, out byte[]? state))
        {
            _state = null;
            _report($"function {_index}: the back end gives a part of its state that does not fit; none is kept");
            return invalid;
        }

        _state = state ?? _state;
        return 0;
    }

    // A device without what its driver has switched would seem to work, and do something else.
    private async Task RestoreState(BackEnd backEnd, byte[] state)
    {
        if (state.Length == 0)
        {
            return;
        }

        if (!backEnd.Devices[_index].HasState)
        {
            Fail("the new back end does not take the state that the driver has left its device in");
            return;
        }

        foreach (byte[] part in DeviceStateParts.Split(state))
        {
            byte[] reply = await backEnd.Link.Request(_index, MailboxRequest.SetDeviceState, part, 8);
            ulong error = BinaryPrimitives.ReadUInt64LittleEndian(reply);
            if (error != 0)
            {
                Fail($"the new back end refuses the state that the driver has left its device in with error {error}");
                return;
            }
        }
    }
}
