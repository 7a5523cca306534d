// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Pcie.Internal;

/// <summary>An access that the host was asked for and has not carried out.</summary>
internal struct RemoteAccess
{
    /// <summary>Null: the answer is of no use any more.</summary>
    public PcieFunction? Function;

    public bool IsRead;
    public RoutingId RequesterId;
    public byte Tag;
    public ulong Address;
    public int Length;

    /// <summary>Earliest cycle of a read's completion.</summary>
    public ulong NotBefore;

    public uint Generation;
    public bool Active;
}

/// <summary>Accesses under way at a host, by the token they were begun with.</summary>
internal sealed class RemoteAccesses
{
    private readonly Stack<int> _free = new();
    private RemoteAccess[] _slots = [];

    /// <summary>Keeps an access and gives its token.</summary>
    public ulong Add(in RemoteAccess access)
    {
        if (!_free.TryPop(out int slot))
        {
            int used = _slots.Length;
            Array.Resize(ref _slots, Math.Max(16, used * 2));
            for (int index = _slots.Length - 1; index > used; index--)
            {
                _free.Push(index);
            }

            slot = used;
        }

        uint generation = _slots[slot].Generation;
        _slots[slot] = access;
        _slots[slot].Generation = generation;
        _slots[slot].Active = true;
        return ((ulong)generation << 32) | (uint)slot;
    }

    /// <summary>Takes an access out.</summary>
    /// <returns>False when the token names none.</returns>
    public bool TryTake(ulong token, out RemoteAccess access)
    {
        uint slot = (uint)token;
        access = default;
        if (slot >= (uint)_slots.Length || !_slots[slot].Active || _slots[slot].Generation != (uint)(token >> 32))
        {
            return false;
        }

        access = _slots[slot];
        _slots[slot].Active = false;
        _slots[slot].Generation++;
        _slots[slot].Function = null;
        _free.Push((int)slot);
        return true;
    }

    /// <summary>Makes the answers to all reads useless.</summary>
    public void ForgetReads()
    {
        foreach (ref RemoteAccess access in _slots.AsSpan())
        {
            if (access.IsRead)
            {
                access.Function = null;
            }
        }
    }
}
