// SPDX-License-Identifier: Apache-2.0
using System.Threading.Channels;
using Cosim.Pcie;
using Cosim.V1;
using Google.Protobuf;

namespace Cosim.Server.Internal;

/// <summary>One watcher of TLPs: filters on the bridge's thread, and keeps what passes until it is read. A bridge never waits for a watcher.</summary>
internal sealed class TlpWatch(WatchTlpsRequest filter)
{
    /// <summary>TLPs that may wait for the reader; what comes beyond is counted as lost.</summary>
    internal const int Capacity = 8192;

    private readonly Channel<TlpRecord> _records = Channel.CreateBounded<TlpRecord>(new BoundedChannelOptions(Capacity) { SingleReader = true, SingleWriter = true });
    private readonly HashSet<uint> _ports = [.. filter.Ports];
    private readonly HashSet<TlpRecord.Types.Direction> _directions = [.. filter.Directions];
    private readonly HashSet<TlpRecord.Types.Type> _types = [.. filter.Types_];
    private readonly HashSet<uint> _functions = [.. filter.Functions];
    private readonly ulong _lastAddress = filter.LastAddress == 0 ? ulong.MaxValue : filter.LastAddress;
    private ulong _lost;

    internal bool WantsPort(int port) => _ports.Count == 0 || _ports.Contains((uint)port);

    internal ITlpObserver ForPort(int port) => new Observer(this, port);

    internal IAsyncEnumerable<TlpRecord> ReadAllAsync(CancellationToken cancellation) => _records.Reader.ReadAllAsync(cancellation);

    private void Observed(int port, TlpDirection direction, ReadOnlySpan<byte> packet, ulong cycle)
    {
        TlpRecord.Types.Direction way = direction == TlpDirection.ToFpga ? TlpRecord.Types.Direction.ToFpga : TlpRecord.Types.Direction.ToHost;
        if (_directions.Count > 0 && !_directions.Contains(way))
        {
            return;
        }

        bool isWellFormed = Tlp.TryParse(packet, out Tlp tlp, out _);
        TlpRecord.Types.Type type = isWellFormed ? TypeOf(tlp.Type) : TlpRecord.Types.Type.Other;
        if ((_types.Count > 0 && !_types.Contains(type)) || (isWellFormed && !Passes(tlp, direction)))
        {
            return;
        }

        if (_records.Reader.Count >= Capacity)
        {
            // Nobody reads: what cannot be kept costs the bridge nothing.
            _lost++;
            return;
        }

        TlpRecord record = new()
        {
            Cycle = cycle,
            Port = (uint)port,
            Direction = way,
            Type = type,
            Header = ByteString.CopyFrom(packet[..Math.Min(packet.Length, Tlp.HeaderBytes)]),
            LostBefore = _lost,
        };
        if (isWellFormed)
        {
            Describe(record, tlp, !filter.HeadersOnly);
        }

        _ = _records.Writer.TryWrite(record);
        _lost = 0;
    }

    private bool Passes(in Tlp tlp, TlpDirection direction)
    {
        if (_functions.Count > 0 && FunctionOf(tlp, direction) is { } function && !_functions.Contains(function))
        {
            return false;
        }

        return tlp.Type is not (TlpType.MRd or TlpType.MWr)
            || (tlp.ByteAddress <= _lastAddress && tlp.ByteAddress + (ulong)(tlp.RequestBytes - 1) >= filter.FirstAddress);
    }

    // A memory request to the FPGA is routed by address and names no function.
    private static uint? FunctionOf(in Tlp tlp, TlpDirection direction) => (direction, tlp.Type) switch
    {
        (TlpDirection.ToFpga, TlpType.CfgRd0 or TlpType.CfgWr0) => (uint)tlp.TargetId.Function,
        (TlpDirection.ToFpga, TlpType.Cpl or TlpType.CplD) => (uint)tlp.RequesterId.Function,
        (TlpDirection.ToFpga, _) => null,
        (_, TlpType.Cpl or TlpType.CplD) => (uint)tlp.CompleterId.Function,
        _ => (uint)tlp.RequesterId.Function,
    };

    private static void Describe(TlpRecord record, in Tlp tlp, bool withPayload)
    {
        record.RequesterId = tlp.RequesterId.Value;
        record.LengthDw = (uint)tlp.LengthDwords;
        if (withPayload && !tlp.Payload.IsEmpty)
        {
            record.Payload = ByteString.CopyFrom(tlp.Payload);
        }

        if (tlp.IsCompletion)
        {
            record.Tag = tlp.Tag;
            record.CompleterId = tlp.CompleterId.Value;
            record.Address = tlp.LowerAddress;
            record.ByteCount = (uint)tlp.ByteCount;
            record.Status = (TlpRecord.Types.CompletionStatus)tlp.CompletionStatus;
            return;
        }

        record.Tag = tlp.Tag;
        switch (tlp.Type)
        {
            case TlpType.MRd or TlpType.MWr:
                record.Address = tlp.Address;
                record.ByteEnables = (uint)(tlp.FirstByteEnables | (tlp.LastByteEnables << 4));
                break;
            case TlpType.CfgRd0 or TlpType.CfgWr0:
                record.Address = (ulong)tlp.ConfigRegister;
                record.CompleterId = tlp.TargetId.Value;
                record.ByteEnables = tlp.FirstByteEnables;
                break;
            case TlpType.Msg or TlpType.MsgD:
                record.MessageCode = (uint)tlp.MessageCode;
                break;
            default:
                break;
        }
    }

    private static TlpRecord.Types.Type TypeOf(TlpType type) => type switch
    {
        TlpType.CfgRd0 => TlpRecord.Types.Type.CfgRd0,
        TlpType.CfgWr0 => TlpRecord.Types.Type.CfgWr0,
        TlpType.MRd => TlpRecord.Types.Type.Mrd,
        TlpType.MWr => TlpRecord.Types.Type.Mwr,
        TlpType.Cpl => TlpRecord.Types.Type.Cpl,
        TlpType.CplD => TlpRecord.Types.Type.Cpld,
        TlpType.Msg or TlpType.MsgD => TlpRecord.Types.Type.Msg,
        _ => TlpRecord.Types.Type.Other,
    };

    private sealed class Observer(TlpWatch watch, int port) : ITlpObserver
    {
        public void Observed(TlpDirection direction, ReadOnlySpan<byte> tlp, ulong cycle) => watch.Observed(port, direction, tlp, cycle);
    }
}
