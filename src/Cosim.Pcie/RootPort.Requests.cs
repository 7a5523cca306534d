// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Pcie.Internal;

namespace Cosim.Pcie;

/// <content>Non-posted requests to the FPGA and the completions that end them.</content>
public sealed partial class RootPort
{
    /// <summary>Whether a tag is free; if not, the function waits for its turn.</summary>
    private bool TryReserveTag(PcieFunction function)
    {
        if (_requests.HasFree)
        {
            return true;
        }

        if (!function.WaitsForTag)
        {
            function.WaitsForTag = true;
            _tagWaiters.Enqueue(function);
        }

        return false;
    }

    private void SendRequest(
        PcieFunction function,
        HostOperation? operation,
        TlpType type,
        ulong address,
        int length,
        int dataOffset,
        uint value,
        byte byteEnables = 0)
    {
        byte tag = _requests.Add(new OutstandingRequest
        {
            Function = function,
            Operation = operation,
            Type = type,
            Address = address,
            Length = byteEnables == 0 ? length : ByteEnables.ByteCount(1, byteEnables, 0),
            DataOffset = dataOffset,
            Value = value,
            Deadline = _link.Cycle + _options.TimeoutCycles,
        });
        function.Outstanding++;
        function.ConfigWritesOutstanding += type == TlpType.CfgWr0 ? 1 : 0;
        if (operation is not null)
        {
            operation.Outstanding++;
        }

        Send(type, WriteRequest(tag), 0);
    }

    private int WriteRequest(int tag)
    {
        ref OutstandingRequest request = ref _requests[tag];
        RoutingId target = request.Function!.Id;
        byte first = ByteEnables.First(request.Address, request.Length);
        return request.Type switch
        {
            TlpType.MRd => TlpWriter.MemoryRead(_packet, RoutingId.RootPort, (byte)tag, request.Address, request.Length),
            TlpType.CfgRd0 => TlpWriter.ConfigRead0(_packet, RoutingId.RootPort, (byte)tag, target, (int)request.Address, first),
            _ => TlpWriter.ConfigWrite0(_packet, RoutingId.RootPort, (byte)tag, target, (int)request.Address, first, request.Value),
        };
    }

    private string Describe(int tag) => TlpFormatter.Format(_packet.AsSpan(0, WriteRequest(tag)));

    private void AcceptCompletion(in Tlp completion)
    {
        int tag = completion.Tag;
        if (completion.RequesterId != RoutingId.RootPort || !_requests.IsOutstanding(tag))
        {
            Counters.UnexpectedCompletions++;
            Report($"unexpected completion dropped: {TlpFormatter.Format(completion)}");
            return;
        }

        ref OutstandingRequest request = ref _requests[tag];
        if (completion.CompletionStatus == CompletionStatus.ConfigurationRequestRetry && request.Type != TlpType.MRd)
        {
            // Retried until the request's own time is up (2.3.2).
            Send(request.Type, WriteRequest(tag), 0);
            return;
        }

        if (completion.CompletionStatus != CompletionStatus.SuccessfulCompletion)
        {
            Counters.RequestErrors++;
            bool aborted = completion.CompletionStatus == CompletionStatus.CompleterAbort;
            if (request.Type == TlpType.MRd || aborted)
            {
                Report($"{(aborted ? "CA" : "UR")} for {Describe(tag)}");
            }

            FinishRequest(tag, aborted ? HostStatus.CompleterAbort : HostStatus.UnsupportedRequest, default);
            return;
        }

        string? wrong = Mismatch(completion, request);
        if (wrong is not null)
        {
            Counters.Malformed++;
            Report($"{wrong}: {TlpFormatter.Format(completion)} for {Describe(tag)}");
            FinishRequest(tag, HostStatus.BadCompletion, default);
            return;
        }

        int offset = request.Type == TlpType.MRd || request.Type == TlpType.CfgRd0 ? (int)(request.Address & 3) : 0;
        FinishRequest(tag, HostStatus.Ok, completion.Payload[offset..]);
    }

    private static string? Mismatch(in Tlp completion, in OutstandingRequest request)
    {
        if (completion.Poisoned)
        {
            return "poisoned completion";
        }

        if (completion.CompleterId.Function != request.Function!.Index)
        {
            return $"completion comes from another function than {request.Function.Index}";
        }

        if (request.Type == TlpType.CfgWr0)
        {
            return completion.Type == TlpType.Cpl ? null : "completion of a write has data";
        }

        if (completion.Type != TlpType.CplD)
        {
            return "completion of a read has no data";
        }

        int dwords = request.Type == TlpType.MRd ? ByteEnables.Dwords(request.Address, request.Length) : 1;
        if (completion.LengthDwords != dwords)
        {
            return $"completion does not have {dwords} DW";
        }

        if (request.Type == TlpType.MRd && completion.ByteCount != request.Length)
        {
            return $"Byte Count is not {request.Length}";
        }

        return request.Type == TlpType.MRd && completion.LowerAddress != (byte)(request.Address & 0x7F)
            ? $"Lower Address is not 0x{request.Address & 0x7F:x2}"
            : null;
    }

    /// <summary>Ends a request; on Ok <paramref name="data"/> begins with the bytes asked for.</summary>
    private void FinishRequest(int tag, HostStatus status, ReadOnlySpan<byte> data)
    {
        OutstandingRequest request = _requests[tag];
        _requests.Remove(tag);
        PcieFunction function = request.Function!;
        function.Outstanding--;
        if (request.Type == TlpType.CfgWr0 && --function.ConfigWritesOutstanding == 0 && function.Sequence is null)
        {
            function.SettleLimits();
        }

        if (request.Operation is { } operation)
        {
            FinishPart(function, operation, request, status, data);
        }
        else
        {
            function.StepInFlight = false;
            function.StepStatus = status;
            function.StepData = status == HostStatus.Ok && data.Length >= 4 ? BinaryPrimitives.ReadUInt32LittleEndian(data) : uint.MaxValue;
        }

        while (_requests.HasFree && _tagWaiters.TryDequeue(out PcieFunction? waiter))
        {
            waiter.WaitsForTag = false;
            Pump(waiter);
        }

        Pump(function);
    }

    private void FinishPart(PcieFunction function, HostOperation operation, in OutstandingRequest request, HostStatus status, ReadOnlySpan<byte> data)
    {
        operation.Outstanding--;
        if (status != HostStatus.Ok)
        {
            operation.Fail(status);
        }

        if (operation.IsRead)
        {
            Span<byte> part = operation.Data.Slice(request.DataOffset, request.Length);
            if (status == HostStatus.Ok)
            {
                data[..part.Length].CopyTo(part);
            }
            else
            {
                part.Fill(0xFF);
            }
        }

        if (operation.Outstanding == 0 && operation != function.Head)
        {
            End(operation);
        }
    }
}
