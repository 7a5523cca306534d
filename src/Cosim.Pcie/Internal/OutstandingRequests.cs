// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Pcie.Internal;

/// <summary>A non-posted request that waits for its completion.</summary>
internal struct OutstandingRequest
{
    public PcieFunction? Function;

    /// <summary>The host's transaction, or null for a step of the root port's own.</summary>
    public HostOperation? Operation;

    public TlpType Type;

    /// <summary>Bus address, or offset in configuration space.</summary>
    public ulong Address;

    /// <summary>Bytes asked for from <see cref="Address"/> on.</summary>
    public int Length;

    /// <summary>Where they go in the transaction's data.</summary>
    public int DataOffset;

    /// <summary>DW of a configuration write.</summary>
    public uint Value;

    public ulong Deadline;
    public int Earlier;
    public int Later;
}

/// <summary>The tags of a root port: which are free, what the others wait for, and who has waited longest.</summary>
/// <remarks>A freed tag is used again as late as possible, so that a late completion does not meet a new request.</remarks>
internal sealed class OutstandingRequests
{
    private const int None = -1;

    private readonly OutstandingRequest[] _requests;
    private readonly byte[] _free;
    private int _freeHead;
    private int _freeCount;
    private int _oldest;
    private int _newest;

    public OutstandingRequests(int tags)
    {
        _requests = new OutstandingRequest[tags];
        _free = new byte[tags];
        Clear();
    }

    public bool HasFree => _freeCount != 0;

    /// <summary>Tag of the request with the earliest deadline, or -1.</summary>
    public int Oldest => _oldest;

    public ref OutstandingRequest this[int tag] => ref _requests[tag];

    public bool IsOutstanding(int tag) => tag < _requests.Length && _requests[tag].Function is not null;

    /// <summary>Takes the next tag. Deadlines must come in ascending order.</summary>
    public byte Add(in OutstandingRequest request)
    {
        byte tag = _free[_freeHead];
        _freeHead = _freeHead + 1 == _free.Length ? 0 : _freeHead + 1;
        _freeCount--;
        ref OutstandingRequest entry = ref _requests[tag];
        entry = request;
        entry.Earlier = _newest;
        entry.Later = None;
        if (_newest == None)
        {
            _oldest = tag;
        }
        else
        {
            _requests[_newest].Later = tag;
        }

        _newest = tag;
        return tag;
    }

    public void Remove(int tag)
    {
        ref OutstandingRequest entry = ref _requests[tag];
        if (entry.Earlier == None)
        {
            _oldest = entry.Later;
        }
        else
        {
            _requests[entry.Earlier].Later = entry.Later;
        }

        if (entry.Later == None)
        {
            _newest = entry.Earlier;
        }
        else
        {
            _requests[entry.Later].Earlier = entry.Earlier;
        }

        entry = default;
        _free[(_freeHead + _freeCount) % _free.Length] = (byte)tag;
        _freeCount++;
    }

    public void Clear()
    {
        Array.Clear(_requests);
        for (int tag = 0; tag < _free.Length; tag++)
        {
            _free[tag] = (byte)tag;
        }

        _freeHead = 0;
        _freeCount = _free.Length;
        _oldest = None;
        _newest = None;
    }
}
