// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Pcie;

namespace Cosim.Scheduling.Generation;

/// <summary>Sees every TLP of a port: holds the FPGA's requests against the host's memory and the ledgers, and counts what was seen.</summary>
/// <param name="port">Port number.</param>
/// <param name="memory">The host's memory.</param>
/// <param name="ledgers">What is owed, by function; none on port 1.</param>
/// <param name="deviceControls">Device Control by function.</param>
/// <param name="coverage">Counts.</param>
internal sealed class PortWatch(int port, HostImage memory, IReadOnlyList<InterruptLedger> ledgers, IReadOnlyList<ushort> deviceControls, Coverage coverage) : ITlpObserver
{
    private const ulong InterruptBase = 0xFEE0_0000;
    private const ulong FourGib = 1ul << 32;

    private readonly Dictionary<byte, (string What, CompletionStatus Status)> _strays = [];
    private readonly List<ulong> _readEnds = [];
    private readonly Dictionary<byte, int> _parts = [];
    private ulong _requestCycle;
    private ulong _firstPart;
    private ulong _lastPart;
    private byte _partTag;
    private bool _asserted;
    private bool _endsAtFourGib;

    /// <summary>Accesses outside memory are what is tried.</summary>
    public bool MayLeaveMemory { get; set; }

    /// <summary>Completions that the root port did not ask for.</summary>
    public int StrayCompletions { get; private set; }

    /// <summary>Whether every stray request was answered.</summary>
    public bool StraysAnswered => _strays.Count == 0;

    /// <summary>A stray request was sent, and is to be answered once.</summary>
    public void Expect(byte tag, string what, CompletionStatus status) => _strays.Add(tag, (what, status));

    public void Observed(TlpDirection direction, ReadOnlySpan<byte> tlp, ulong cycle)
    {
        if (!Tlp.TryParse(tlp, out Tlp parsed, out string? malformed))
        {
            throw new OracleException($"port {port}: malformed TLP {(direction == TlpDirection.FromFpga ? "out of" : "into")} the FPGA: {malformed}");
        }

        if (direction == TlpDirection.ToFpga)
        {
            if (parsed.IsCompletion)
            {
                Completing(parsed, cycle);
            }

            return;
        }

        switch (parsed.Type)
        {
            case TlpType.MRd:
                Reads(parsed, cycle);
                break;
            case TlpType.MWr:
                Writes(parsed);
                break;
            case TlpType.Msg:
                Interrupts(parsed);
                break;
            case TlpType.Cpl or TlpType.CplD when parsed.Tag >= Strays.FirstTag:
                Answered(parsed);
                break;
            default:
                break;
        }
    }

    private void Reads(in Tlp request, ulong cycle)
    {
        _requestCycle = cycle;
        _parts.Clear();
        _readEnds.RemoveAll(end => end <= cycle);
        coverage.Hit(CoveragePoint.ManyReadsInFlight, _readEnds.Count >= 15);
        Check(request);
        coverage.Hit(CoveragePoint.FullReadRequest, request.RequestBytes == 128 << ((deviceControls[request.RequesterId.Function] >> 12) & 7));
        if (port == 0)
        {
            ledgers[request.RequesterId.Function].Read(request);
        }
    }

    private void Writes(in Tlp request)
    {
        if ((request.Address & ~0xF_FFFFul) == InterruptBase)
        {
            if (port == 0)
            {
                int vector = (int)BinaryPrimitives.ReadUInt32LittleEndian(request.Payload);
                Require(request, ledgers[request.RequesterId.Function].Arrived(vector));
            }

            return;
        }

        Check(request);
        bool small = ((deviceControls[request.RequesterId.Function] >> 5) & 7) == 0;
        coverage.Hit(CoveragePoint.FullPayload128, small && request.Payload.Length == 128);
        coverage.Hit(CoveragePoint.FullPayload256, !small && request.Payload.Length == 256);
        if (port == 0)
        {
            Require(request, ledgers[request.RequesterId.Function].Written(request));
        }
    }

    private void Interrupts(in Tlp message)
    {
        if (message.MessageCode == MessageCode.AssertIntA)
        {
            _asserted = true;
            if (port == 0)
            {
                Require(message, ledgers[message.RequesterId.Function].Asserted());
            }
            else
            {
                coverage.Hit(CoveragePoint.BackEndIntx);
            }
        }
        else if (_asserted && port == 0)
        {
            coverage.Hit(CoveragePoint.Intx);
        }
    }

    private void Check(in Tlp request)
    {
        ulong address = request.ByteAddress;
        ulong end = address + (uint)request.RequestBytes;
        if (MayLeaveMemory && end > memory.End)
        {
            return;
        }

        if (end - 1 >> 12 != address >> 12)
        {
            Require(request, "it goes over 4 KiB");
        }

        Require(request, memory.Check(request));
        coverage.Hit(CoveragePoint.FourDwordHeader, request.HeaderDwords == 4);
        coverage.Hit(CoveragePoint.CrossesFourGib, address == FourGib && _endsAtFourGib);
        _endsAtFourGib |= end == FourGib;
        coverage.Hit(CoveragePoint.EndsAtPage, end % 4096 == 0 && request.RequestBytes < 128);
        coverage.Hit(CoveragePoint.UnalignedStart, address % 4 != 0);
        coverage.Hit(CoveragePoint.UnalignedEnd, end % 4 != 0);
        coverage.Hit(CoveragePoint.OneByte, request.RequestBytes == 1);
    }

    // Each completion is sent while its request is being taken: the requests' order is that of the calls, the wire's that of the cycles.
    private void Completing(in Tlp completion, ulong cycle)
    {
        if (completion.Tag >= Strays.FirstTag)
        {
            return;
        }

        int part = _parts[completion.Tag] = _parts.GetValueOrDefault(completion.Tag) + 1;
        coverage.Hit(CoveragePoint.SplitCompletion, part == 2);
        coverage.Hit(CoveragePoint.ShortLatency, cycle - _requestCycle < 4);
        coverage.Hit(CoveragePoint.LongLatency, cycle - _requestCycle >= 200);
        if (part == 1)
        {
            coverage.Hit(CoveragePoint.CompletionsOutOfOrder, cycle < _firstPart && _partTag != completion.Tag);
            coverage.Hit(CoveragePoint.CompletionsInterleaved, cycle > _firstPart && cycle < _lastPart && _partTag != completion.Tag);
            _firstPart = cycle;
            _readEnds.Add(cycle);
        }
        else
        {
            _readEnds[^1] = cycle;
        }

        _lastPart = cycle;
        _partTag = completion.Tag;
    }

    private void Answered(in Tlp completion)
    {
        StrayCompletions++;
        if (!_strays.Remove(completion.Tag, out (string What, CompletionStatus Status) stray))
        {
            Require(completion, "nothing is to be answered with this tag");
        }

        if (completion.CompletionStatus != stray.Status)
        {
            Require(completion, $"{stray.What} is to be answered {stray.Status}");
        }

        coverage.Hit(CoveragePoint.UnsupportedRequest, stray.Status == CompletionStatus.UnsupportedRequest);
        coverage.Hit(CoveragePoint.CompleterAbort, stray.Status == CompletionStatus.CompleterAbort);
    }

    private void Require(in Tlp tlp, string? wrong)
    {
        if (wrong is not null)
        {
            throw new OracleException($"port {port}: {wrong}; {TlpFormatter.Format(tlp)}");
        }
    }
}
