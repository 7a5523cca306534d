// SPDX-License-Identifier: Apache-2.0
using Cosim.Pcie.Internal;

namespace Cosim.Pcie;

/// <content>Memory that the host has to be asked for.</content>
/// <remarks>
/// The FPGA must not tell such memory from any other. So while a write is under way nothing passes it that the ordering rules
/// (PCI Express Base Specification, 2.4.1) keep behind it: no write, no read and no interrupt, unless it goes the same way, to the host of the
/// same function, which keeps the order. What has to wait does so in order of arrival.
/// </remarks>
public sealed partial class RootPort
{
    /// <summary>Writes under way from which on the FPGA is to be stopped, so that they do not pile up.</summary>
    private const int ManyRemoteWrites = 64;

    private readonly RemoteAccesses _remote = new();
    private readonly DeferredTlps _deferred = new();
    private PcieFunction? _remoteWriter;
    private int _remoteWrites;
    private int _remoteReads;

    /// <summary>
    /// Whether the FPGA waits, in one way or another, for a host that was asked for memory. Its clock should stand still then, lest it gives up
    /// for want of patience, unless a host waits for the FPGA: that host may be the one that was asked, and may not answer before.
    /// </summary>
    public bool WaitsForHost => HasRemoteReads || _remoteWrites >= ManyRemoteWrites;

    /// <summary>Whether the FPGA has read memory that a host was asked for.</summary>
    public bool HasRemoteReads => _remoteReads != 0 || !_deferred.IsEmpty;

    /// <summary>Ends <see cref="IPcieHost.BeginRead"/>.</summary>
    /// <param name="token">From there; one that is not under way is ignored.</param>
    /// <param name="status">How it ended: Ok, Unmapped or Faulted.</param>
    /// <param name="data">If Ok, all the bytes.</param>
    public void RemoteReadDone(ulong token, DmaStatus status, ReadOnlySpan<byte> data)
    {
        if (!_remote.TryTake(token, out RemoteAccess access) || access.Function is not { } function)
        {
            return;
        }

        _remoteReads--;
        ulong address = access.Address;
        int remaining = access.Length;
        if (status != DmaStatus.Ok)
        {
            CompletionStatus error = ReportDma(function, "read", address, remaining, status);
            int failed = TlpWriter.Completion(
                _packet, RoutingId.RootPort, error, access.RequesterId, access.Tag, remaining, (byte)(address & 0x7F));
            Send(TlpType.Cpl, failed, access.NotBefore);
            return;
        }

        while (remaining > 0)
        {
            int part = TlpSplit.NextCompletion(address, remaining, function.MaxPayload);
            int length = TlpWriter.CompletionData(
                _packet,
                RoutingId.RootPort,
                access.RequesterId,
                access.Tag,
                remaining,
                (byte)(address & 0x7F),
                data.Slice(access.Length - remaining, part));
            Send(TlpType.CplD, length, access.NotBefore);
            address += (uint)part;
            remaining -= part;
        }
    }

    /// <summary>Ends <see cref="IPcieHost.BeginWrite"/>.</summary>
    /// <param name="token">From there; one that is not under way is ignored.</param>
    /// <param name="status">How it ended: Ok, Unmapped or Faulted.</param>
    public void RemoteWriteDone(ulong token, DmaStatus status)
    {
        if (!_remote.TryTake(token, out RemoteAccess access))
        {
            return;
        }

        if (status != DmaStatus.Ok)
        {
            _ = ReportDma(access.Function!, "write", access.Address, access.Length, status);
        }

        if (--_remoteWrites == 0)
        {
            _remoteWriter = null;
        }

        while (!_deferred.IsEmpty)
        {
            ReadOnlySpan<byte> packet = _deferred.Peek(out ulong cycle);
            _ = Tlp.TryParse(packet, out Tlp tlp, out _);
            if (IsBehindWrites(tlp))
            {
                return;
            }

            // Its bytes live on: nothing is added while it is accepted.
            _deferred.Remove();
            Accept(tlp, cycle);
        }
    }

    private bool MustWait(in Tlp tlp)
    {
        if (_remoteWrites == 0 && _deferred.IsEmpty)
        {
            return false;
        }

        if (tlp.IsCompletion)
        {
            int tag = tlp.Tag;
            return _requests.IsOutstanding(tag) && _requests[tag].Function!.Host.HoldsCompletions;
        }

        return !_deferred.IsEmpty || IsBehindWrites(tlp);
    }

    /// <summary>Whether a TLP has to wait for the writes under way.</summary>
    private bool IsBehindWrites(in Tlp tlp)
    {
        if (_remoteWriter is not { } writer)
        {
            return false;
        }

        bool sameWay = tlp.Type is TlpType.MRd or TlpType.MWr
            && tlp.RequesterId == writer.Id
            && tlp.FirstByteEnables != 0
            && !IsInterruptAddress(tlp.Address)
            && writer.Host.IsRemote(tlp.ByteAddress, tlp.RequestBytes);
        return !sameWay;
    }

    private DmaStatus AskFor(PcieFunction function, RoutingId requester, byte tag, ulong address, int length, ulong notBefore)
    {
        ulong token = _remote.Add(new RemoteAccess
        {
            Function = function,
            IsRead = true,
            RequesterId = requester,
            Tag = tag,
            Address = address,
            Length = length,
            NotBefore = notBefore,
        });
        DmaStatus status = function.Host.BeginRead(address, length, token);
        if (status == DmaStatus.Ok)
        {
            _remoteReads++;
        }
        else
        {
            _ = _remote.TryTake(token, out _);
        }

        return status;
    }

    private DmaStatus Hand(PcieFunction function, ulong address, ReadOnlySpan<byte> data)
    {
        ulong token = _remote.Add(new RemoteAccess { Function = function, Address = address, Length = data.Length });
        DmaStatus status = function.Host.BeginWrite(address, data, token);
        if (status == DmaStatus.Ok)
        {
            _remoteWriter = function;
            _remoteWrites++;
        }
        else
        {
            _ = _remote.TryTake(token, out _);
        }

        return status;
    }

    /// <summary>The FPGA that asked is gone: nobody waits for what it read, and of what came after a write under way nothing counts.</summary>
    private void DropRemote()
    {
        _remote.ForgetReads();
        _remoteReads = 0;
        _deferred.Clear();
    }
}
