// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Pcie.Internal;

namespace Cosim.Pcie;

/// <content>Requests of the FPGA: DMA, interrupts.</content>
/// <remarks>
/// Each request is done before the next TLP is taken, which is all the order PCI Express asks for. Towards the processors of
/// the host a full fence stands between a write and any later read, and before an interrupt: without it a read of
/// <c>avail_event</c> may be satisfied before the used index is visible.
/// </remarks>
public sealed partial class RootPort
{
    private const ulong InterruptBase = 0xFEE0_0000;

    private void AcceptRequest(in Tlp request, ulong cycle)
    {
        RoutingId requester = request.RequesterId;
        PcieFunction? function = requester.Function < _functions.Length ? _functions[requester.Function] : null;
        if (function is null || requester != function.Id)
        {
            Refuse(request, cycle, "requester does not exist");
            return;
        }

        if (request.Type is TlpType.MRd or TlpType.MWr && !function.BusMasterReceived)
        {
            Refuse(request, cycle, "Bus Master Enable is 0");
            return;
        }

        switch (request.Type)
        {
            case TlpType.MRd:
                ServeRead(function, request, cycle);
                break;
            case TlpType.MWr:
                ApplyWrite(function, request);
                break;
            case TlpType.Msg when request.MessageCode is >= MessageCode.AssertIntA and <= MessageCode.DeassertIntD:
                AcceptIntx(function, request.MessageCode);
                break;
            default:
                Refuse(request, cycle, "not supported");
                break;
        }
    }

    /// <summary>Answers UR, or drops a posted request.</summary>
    private void Refuse(in Tlp request, ulong cycle, string why)
    {
        Counters.Unsupported++;
        Report($"{why}, {(request.IsPosted ? "dropped" : "answered UR")}: {TlpFormatter.Format(request)}");
        if (!request.IsPosted)
        {
            AnswerWithError(request, CompletionStatus.UnsupportedRequest, cycle);
        }
    }

    private void AnswerWithError(in Tlp request, CompletionStatus status, ulong cycle)
    {
        bool memoryRead = request.Type == TlpType.MRd;
        int length = TlpWriter.Completion(
            _packet,
            RoutingId.RootPort,
            status,
            request.RequesterId,
            request.Tag,
            memoryRead ? request.RequestBytes : 4,
            memoryRead ? (byte)(request.ByteAddress & 0x7F) : (byte)0);
        Send(TlpType.Cpl, length, cycle + _options.CompletionLatencyCycles);
    }

    private void ServeRead(PcieFunction function, in Tlp request, ulong cycle)
    {
        ulong address = request.ByteAddress;
        int remaining = request.RequestBytes;
        ulong notBefore = cycle + _options.CompletionLatencyCycles;
        FenceWrites(function);
        if (request.LengthDwords * 4 > function.MaxReadRequestReceived)
        {
            // Not for a completer to refuse, but for a designer to know.
            Report($"read exceeds Max_Read_Request_Size {function.MaxReadRequestReceived}: {TlpFormatter.Format(request)}");
        }

        if (IsInterruptAddress(address))
        {
            Refuse(request, cycle, "read from the interrupt range");
            return;
        }

        if (request.FirstByteEnables == 0)
        {
            // A zero-length read only pushes writes before it; its DW of data has no meaning (2.2.5).
            int flush = TlpWriter.CompletionData(
                _packet, RoutingId.RootPort, request.RequesterId, request.Tag, 1, (byte)(address & 0x7F), 1, out Span<byte> none);
            none.Clear();
            Send(TlpType.CplD, flush, notBefore);
            return;
        }

        // Of the request only header fields are used from here on: its packet may be gone once the first completion is sent.
        while (remaining > 0)
        {
            int part = TlpSplit.NextCompletion(address, remaining, function.MaxPayload);
            if (_options.Completions is { } choice)
            {
                part = choice.Split(address, remaining, part);
                notBefore += choice.Delay(request);
            }

            byte lower = (byte)(address & 0x7F);
            int length = TlpWriter.CompletionData(
                _packet, RoutingId.RootPort, request.RequesterId, request.Tag, remaining, lower, part, out Span<byte> data);
            DmaStatus status = function.Host.Read(address, data);
            if (status == DmaStatus.Remote)
            {
                status = AskFor(function, request.RequesterId, request.Tag, address, remaining, notBefore);
                if (status == DmaStatus.Ok)
                {
                    return;
                }
            }

            if (status != DmaStatus.Ok)
            {
                CompletionStatus error = ReportDma(function, "read", address, part, status);
                length = TlpWriter.Completion(_packet, RoutingId.RootPort, error, request.RequesterId, request.Tag, remaining, lower);
                Send(TlpType.Cpl, length, notBefore);
                return;
            }

            Send(TlpType.CplD, length, notBefore);
            address += (uint)part;
            remaining -= part;
        }
    }

    private void ApplyWrite(PcieFunction function, in Tlp request)
    {
        if (request.Poisoned || request.Payload.Length > function.MaxPayloadReceived)
        {
            Counters.Malformed++;
            string why = request.Poisoned ? "poisoned write" : $"write exceeds Max_Payload_Size {function.MaxPayloadReceived}";
            Report($"{why}, dropped: {TlpFormatter.Format(request)}");
            return;
        }

        if (IsInterruptAddress(request.Address))
        {
            AcceptInterrupt(function, request);
            return;
        }

        byte first = request.FirstByteEnables;
        byte last = request.LengthDwords == 1 ? first : request.LastByteEnables;
        ReadOnlySpan<byte> payload = request.Payload;
        if (IsRun(first, upTo3: request.LengthDwords > 1) && (request.LengthDwords == 1 || (last & (last + 1)) == 0))
        {
            int offset = ByteEnables.Offset(first);
            WriteRun(function, request.Address + (uint)offset, payload.Slice(offset, request.RequestBytes));
            return;
        }

        int start = -1;
        for (int i = 0; i <= payload.Length; i++)
        {
            bool enabled = i < payload.Length
                && (i >= 4 || (first >> i & 1) != 0)
                && (i < payload.Length - 4 || (last >> (i & 3) & 1) != 0);
            if (enabled && start < 0)
            {
                start = i;
            }
            else if (!enabled && start >= 0)
            {
                WriteRun(function, request.Address + (uint)start, payload[start..i]);
                start = -1;
            }
        }
    }

    /// <summary>Whether byte enables are one run of ones; with <paramref name="upTo3"/> it must reach the last byte.</summary>
    private static bool IsRun(int byteEnables, bool upTo3)
    {
        int run = byteEnables + (byteEnables & -byteEnables);
        return byteEnables != 0 && (upTo3 ? run == 16 : (run & (run - 1)) == 0);
    }

    private void WriteRun(PcieFunction function, ulong address, ReadOnlySpan<byte> data)
    {
        DmaStatus status = function.Host.Write(address, data);
        _writtenSinceFence = true;
        if (status == DmaStatus.Remote)
        {
            status = Hand(function, address, data);
        }

        if (status != DmaStatus.Ok)
        {
            ReportDma(function, "write", address, data.Length, status);
        }
    }

    private CompletionStatus ReportDma(PcieFunction function, string what, ulong address, int length, DmaStatus status)
    {
        Counters.DmaErrors++;
        bool faulted = status == DmaStatus.Faulted;
        Report($"function {function.Index}: DMA {what} of {length} bytes at 0x{address:x}: {(faulted ? "the memory cannot be reached" : "not memory of the host")}");
        return faulted ? CompletionStatus.CompleterAbort : CompletionStatus.UnsupportedRequest;
    }

    private static bool IsInterruptAddress(ulong address) => (address & ~0xF_FFFFul) == InterruptBase;

    private void AcceptInterrupt(PcieFunction function, in Tlp request)
    {
        int vectors = function.Layout?.MsixVectors ?? 0;
        bool isDword = request is { LengthDwords: 1, FirstByteEnables: 0xF };
        uint vector = isDword ? BinaryPrimitives.ReadUInt32LittleEndian(request.Payload) : uint.MaxValue;
        if (vector >= vectors)
        {
            Counters.Unsupported++;
            string why = isDword ? $"interrupt of vector {vector}, of which there are {vectors}" : "write to the interrupt range is not one DW";
            Report($"{why}, dropped: {TlpFormatter.Format(request)}");
            return;
        }

        if (function.Vectors[(int)vector].Armed)
        {
            RaiseVector(function, (int)vector);
        }
        else
        {
            // Sent before the mask bit reached the table: kept as the pending bit would have kept it.
            function.Vectors[(int)vector].Held = true;
        }
    }

    private void RaiseVector(PcieFunction function, int vector)
    {
        FenceWrites(function);
        Counters.MsixInterrupts++;
        function.Host.MsixInterrupt(vector);
    }

    private void AcceptIntx(PcieFunction function, MessageCode code)
    {
        int line = 1 << ((int)code & 3);
        if (code >= MessageCode.DeassertIntA)
        {
            if ((function.IntxLevel & line) != 0 && (function.IntxLevel & ~line) == 0)
            {
                LowerIntx(function);
            }

            function.IntxLevel &= ~line;
            return;
        }

        function.IntxLevel |= line;
        TriggerIntx(function);
    }

    private void TriggerIntx(PcieFunction function)
    {
        if (function.IntxLevel == 0 || function.IntxMasked)
        {
            return;
        }

        function.IntxMasked = true;
        FenceWrites(function);
        Counters.IntxInterrupts++;
        function.Host.Intx(asserted: true);
    }

    private static void LowerIntx(PcieFunction function)
    {
        if (function.IntxLevel != 0)
        {
            function.IntxLevel = 0;
            function.Host.Intx(asserted: false);
        }
    }

    private void FenceWrites(PcieFunction function)
    {
        if (_writtenSinceFence)
        {
            _writtenSinceFence = false;
            function.Host.Fence();
        }
    }
}
