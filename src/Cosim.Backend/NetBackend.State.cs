// SPDX-License-Identifier: Apache-2.0
using Cosim.Backend.Internal;

namespace Cosim.Backend;

/// <summary>What the driver has switched by its control queue, for the front end to keep: pairs, address, offloads and filters, little-endian.</summary>
public sealed partial class NetBackend : IDeviceState
{
    private const ushort StateVersion = 1;

    private Func<bool> _keepState = () => false;

    /// <inheritdoc/>
    public void KeepStateBy(Func<bool> keep) => _keepState = keep;

    /// <inheritdoc/>
    public byte[] SaveState()
    {
        using MemoryStream state = new();
        using BinaryWriter writer = new(state);
        writer.Write(StateVersion);
        writer.Write((ushort)_activePairs);
        writer.Write(Mac);
        writer.Write(_link.Offloads);
        _link.Filter.Save(writer);
        writer.Flush();
        return state.ToArray();
    }

    /// <inheritdoc/>
    public bool TryRestoreState(ReadOnlySpan<byte> state)
    {
        StateReader reader = new(state);
        bool isOurs = reader.U16() == StateVersion;
        ushort pairs = reader.U16();
        ReadOnlySpan<byte> mac = reader.Bytes(MacSize);
        ulong offloads = reader.U64();
        ReceiveFilter filter = new();
        filter.Reset(mac, Has(NetFeatures.CtrlVlan));
        if (!isOurs
            || !filter.TryRestore(ref reader)
            || !reader.IsAtEnd
            || pairs == 0
            || pairs > (Has(NetFeatures.Mq) ? _pairs.Length : 1)
            || (mac[0] & 1) != 0
            || (offloads & ~(_link.Features & NetFeatures.GuestOffloads)) != 0
            || !TrySetOffloads(offloads))
        {
            return false;
        }

        mac.CopyTo(Mac);
        _link.Filter = filter;
        _activePairs = pairs;
        UpdateAttachments();
        return true;
    }
}
