// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Pcie.Internal;

namespace Cosim.Pcie;

/// <content>Transactions of the host: queues, requests, completions.</content>
/// <remarks>
/// Each function has one queue, worked off in order, many requests outstanding. A memory write is sent as soon as nothing but
/// memory reads stands before it, for posted requests must be able to pass reads that wait for tags (2.4.1). After a
/// configuration write nothing is sent until it is completed, since it may change where the next request ends up.
/// </remarks>
public sealed partial class RootPort
{
    private void Enqueue(int function, OperationKind kind, ulong token, int bar, ulong offset, int length, ReadOnlySpan<byte> data = default)
    {
        PcieFunction target = _functions[function];
        HostOperation operation = NewOperation(kind, token, bar, offset, length);
        data.CopyTo(operation.Data);
        if (!IsLinkUp)
        {
            Abandon(target, operation);
            return;
        }

        target.Enqueue(operation);
        Pump(target);
    }

    private void Enqueue(PcieFunction function, OperationKind kind)
    {
        function.Enqueue(NewOperation(kind, 0, 0, 0, 0));
        Pump(function);
    }

    private void Refuse(int function, OperationKind kind, int length, ulong token, string why)
    {
        Report($"function {function}: {why}");
        HostOperation operation = NewOperation(kind, token, 0, 0, Math.Max(0, length));
        EndWithOnes(operation, HostStatus.UnsupportedRequest);
    }

    private HostOperation NewOperation(OperationKind kind, ulong token, int bar, ulong offset, int length)
    {
        HostOperation operation = _pool ?? new HostOperation();
        _pool = operation.Next;
        operation.Start(kind, token, bar, offset, length);
        return operation;
    }

    private void EndWithOnes(HostOperation operation, HostStatus status)
    {
        operation.Fail(status);
        if (operation.IsRead)
        {
            operation.Data.Fill(0xFF);
        }

        End(operation);
    }

    /// <summary>Ends a transaction that there is no FPGA for; what it means for the host's own belief holds all the same.</summary>
    private void Abandon(PcieFunction function, HostOperation operation)
    {
        switch (operation.Kind)
        {
            case OperationKind.ConfigWrite when function.Layout is not null:
                RecordConfigWrite(function, operation);
                break;
            case OperationKind.Reset:
                function.Vectors.Forget();
                break;
            case OperationKind.Release:
                ForgetHost(function);
                break;
            default:
                break;
        }

        EndWithOnes(operation, HostStatus.LinkDown);
    }

    private void End(HostOperation operation)
    {
        if (operation.Kind != OperationKind.ProgramVectors)
        {
            _completion.Completed(operation.Token, operation.Status, operation.IsRead ? operation.Data : default);
        }

        operation.Release();
        operation.Next = _pool;
        _pool = operation;
    }

    /// <summary>Sends what can be sent. What callbacks add meanwhile is seen by the loop that is already running.</summary>
    private void Pump(PcieFunction function)
    {
        if (function.Pumping)
        {
            return;
        }

        function.Pumping = true;
        try
        {
            while (IsLinkUp && Advance(function))
            {
            }
        }
        finally
        {
            function.Pumping = false;
        }
    }

    /// <summary>Does the next thing for a function; false if it has to wait or there is nothing.</summary>
    private bool Advance(PcieFunction function)
    {
        if (function.Sequence is not null)
        {
            return AdvanceSequence(function);
        }

        if (function.ConfigWritesOutstanding != 0)
        {
            return false;
        }

        if (function.RestorePending)
        {
            return StartSequence(function, Restore(function), null);
        }

        HostOperation? operation = function.Head;
        if (operation is null)
        {
            return function.WindowOpen && function.Outstanding == 0 && StartSequence(function, CloseWindow(function), null);
        }

        if (function.Layout is null)
        {
            return StartSequence(function, Walk(function), null);
        }

        if (operation.Kind is OperationKind.MemoryRead or OperationKind.MemoryWrite)
        {
            return AdvanceMemory(function, operation);
        }

        if (function.WindowOpen)
        {
            return function.Outstanding == 0 && StartSequence(function, CloseWindow(function), null);
        }

        switch (operation.Kind)
        {
            case OperationKind.ConfigRead:
                return AdvanceConfigRead(function, operation);
            case OperationKind.ConfigWrite:
                return AdvanceConfigWrite(function, operation);
            case OperationKind.ProgramVectors:
                return function.Outstanding == 0 && StartSequence(function, ProgramVectors(function), operation);
            case OperationKind.Reset:
                return function.Outstanding == 0 && StartSequence(function, Reset(function, forgetVectors: true), operation);
            case OperationKind.Release:
                return function.Outstanding == 0 && StartSequence(function, Release(function), operation);
            default:
                function.Dequeue();
                operation.Status = function.Layout.IsPresent ? HostStatus.Ok : HostStatus.UnsupportedRequest;
                End(operation);
                return true;
        }
    }

    private bool AdvanceMemory(PcieFunction function, HostOperation operation)
    {
        if (!Covers(function, operation.Bar, operation.Offset, operation.Length))
        {
            Report($"function {function.Index}: {operation.Kind} of {operation.Length} bytes at offset 0x{operation.Offset:x} is outside BAR {operation.Bar}");
            function.Dequeue();
            EndWithOnes(operation, HostStatus.UnsupportedRequest);
            return true;
        }

        if (!function.WindowOpen && !function.IsReachable(operation.Bar))
        {
            return function.Outstanding == 0 && StartSequence(function, OpenWindow(function), null);
        }

        if (operation.Kind == OperationKind.MemoryWrite)
        {
            function.Dequeue();
            SendMemoryWrite(function.BusAddress(operation.Bar) + operation.Offset, operation.Data);
            End(operation);
            return true;
        }

        ulong address = function.BusAddress(operation.Bar) + operation.Offset;
        while (operation.Issued < operation.Length)
        {
            if (!TryReserveTag(function))
            {
                return TryOvertake(function);
            }

            ulong next = address + (uint)operation.Issued;
            int length = TlpSplit.NextAccess(next, operation.Length - operation.Issued);
            SendRequest(function, operation, TlpType.MRd, next, length, operation.Issued, 0);
            operation.Issued += length;
        }

        return FinishIssuing(function, operation);
    }

    private bool AdvanceConfigRead(PcieFunction function, HostOperation operation)
    {
        while (operation.Issued < operation.Length)
        {
            if (!TryReserveTag(function))
            {
                return false;
            }

            int offset = (int)operation.Offset + operation.Issued;
            int length = ConfigPart(operation, operation.Issued);
            SendRequest(function, operation, TlpType.CfgRd0, (uint)offset, length, operation.Issued, 0);
            operation.Issued += length;
        }

        return FinishIssuing(function, operation);
    }

    private bool AdvanceConfigWrite(PcieFunction function, HostOperation operation)
    {
        if (operation.Issued == 0 && InitiatesReset(function, operation))
        {
            return function.Outstanding == 0 && StartSequence(function, WriteAndReset(function, operation), operation);
        }

        while (operation.Issued < operation.Length)
        {
            if (!TryReserveTag(function))
            {
                return false;
            }

            int length = ConfigPart(operation, operation.Issued);
            (int register, byte byteEnables, uint value) = ConfigDword(function, operation, operation.Issued);
            if (byteEnables != 0)
            {
                Record(function, register, byteEnables, value);
                SendRequest(function, operation, TlpType.CfgWr0, (uint)register + (uint)ByteEnables.Offset(byteEnables), length, 0, value, byteEnables);
            }

            operation.Issued += length;
        }

        return FinishIssuing(function, operation);
    }

    /// <summary>The head of the queue has been sent: the next one may go.</summary>
    private bool FinishIssuing(PcieFunction function, HostOperation operation)
    {
        function.Dequeue();
        if (operation.Outstanding == 0)
        {
            End(operation);
        }

        return true;
    }

    /// <summary>Lets a memory write pass reads that wait for a tag.</summary>
    private bool TryOvertake(PcieFunction function)
    {
        if (function.FirstWrite() is not { } write
            || !Covers(function, write.Bar, write.Offset, write.Length)
            || !(function.WindowOpen || function.IsReachable(write.Bar)))
        {
            return false;
        }

        function.Remove(write);
        SendMemoryWrite(function.BusAddress(write.Bar) + write.Offset, write.Data);
        End(write);
        return true;
    }

    private static bool Covers(PcieFunction function, int bar, ulong offset, int length)
    {
        if ((uint)bar >= FunctionLayout.BarCount)
        {
            return false;
        }

        BarLayout found = function.Layout!.Bars[bar];
        return found.IsMemory && (uint)length <= found.Size && offset <= found.Size - (uint)length;
    }

    /// <summary>Bytes of a configuration access from a position on that lie in one DW.</summary>
    private static int ConfigPart(HostOperation operation, int position) =>
        Math.Min(4 - (((int)operation.Offset + position) & 3), operation.Length - position);

    /// <summary>The DW of a configuration write at a position, without what the host has no say in.</summary>
    private static (int Register, byte ByteEnables, uint Value) ConfigDword(PcieFunction function, HostOperation operation, int position)
    {
        int offset = (int)operation.Offset + position;
        int length = ConfigPart(operation, position);
        Span<byte> bytes = stackalloc byte[4];
        bytes.Clear();
        operation.Data.Slice(position, length).CopyTo(bytes[(offset & 3)..]);
        int register = offset & ~3;
        byte byteEnables = ByteEnables.First((uint)offset, length);
        uint value = BinaryPrimitives.ReadUInt32LittleEndian(bytes);
        FunctionLayout layout = function.Layout!;
        if (layout.MsixCapability != 0 && register == layout.MsixCapability)
        {
            byteEnables &= 0x3;
        }

        if (layout.HasFunctionLevelReset && register == layout.PcieCapability + ConfigShadow.DeviceControlInCapability)
        {
            value &= ~ConfigShadow.InitiateReset;
        }

        return (register, byteEnables, value & ConfigShadow.Mask(byteEnables));
    }

    private static bool InitiatesReset(PcieFunction function, HostOperation operation)
    {
        FunctionLayout layout = function.Layout!;
        int position = layout.PcieCapability + ConfigShadow.DeviceControlInCapability + 1 - (int)operation.Offset;
        return layout.HasFunctionLevelReset && position >= 0 && position < operation.Length && (operation.Data[position] & 0x80) != 0;
    }

    /// <summary>Keeps what the host wrote while there is no FPGA to write it to.</summary>
    private void RecordConfigWrite(PcieFunction function, HostOperation operation)
    {
        for (int position = 0; position < operation.Length; position += ConfigPart(operation, position))
        {
            (int register, byte byteEnables, uint value) = ConfigDword(function, operation, position);
            Record(function, register, byteEnables, value);
        }

        function.SettleLimits();
    }

    private void Record(PcieFunction function, int register, byte byteEnables, uint value)
    {
        function.Shadow.Write(register, byteEnables, value, function.Layout!.PcieCapability);
        function.UpdateLimits();
        if (register is ConfigShadow.Command or (>= ConfigShadow.Bar0 and < ConfigShadow.Bar0 + 24))
        {
            RefreshBarAddresses();
        }
    }

    /// <summary>
    /// Takes over the addresses the hosts have given to BARs. Functions of different hosts may be given the same address, of
    /// which the FPGA could decode only one: those are reached through the window.
    /// </summary>
    private void RefreshBarAddresses()
    {
        foreach (PcieFunction function in _functions)
        {
            for (int bar = 0; bar < FunctionLayout.BarCount && !function.WindowOpen && function.Layout is not null; bar++)
            {
                if (!function.Layout.Bars[bar].IsMemory || !function.Shadow.TryGetBarAddress(function.Layout, bar, out ulong address))
                {
                    function.BarAddresses[bar] = 0;
                }
                else if (function.Shadow.MemoryEnabled && OverlappingFunction(function, address, function.Layout.Bars[bar].Size) is { } other)
                {
                    if (function.BarAddresses[bar] != 0)
                    {
                        Report($"function {function.Index}: BAR {bar} at 0x{address:x} overlaps a BAR of function {other.Index}; accesses to it are slow");
                    }

                    function.BarAddresses[bar] = 0;
                }
                else
                {
                    function.BarAddresses[bar] = address;
                }
            }
        }
    }

    private PcieFunction? OverlappingFunction(PcieFunction function, ulong address, ulong size)
    {
        foreach (PcieFunction other in _functions)
        {
            if (other == function || other.Layout is null || !other.Shadow.MemoryEnabled)
            {
                continue;
            }

            for (int bar = 0; bar < FunctionLayout.BarCount; bar++)
            {
                if (other.Layout.Bars[bar].IsMemory
                    && other.Shadow.TryGetBarAddress(other.Layout, bar, out ulong start)
                    && address < start + other.Layout.Bars[bar].Size
                    && start < address + size)
                {
                    return other;
                }
            }
        }

        return null;
    }

    private void SendMemoryWrite(ulong address, ReadOnlySpan<byte> data)
    {
        while (!data.IsEmpty)
        {
            int length = TlpSplit.NextAccess(address, data.Length);
            Send(TlpType.MWr, TlpWriter.MemoryWrite(_packet, RoutingId.RootPort, 0, address, data[..length]), 0);
            address += (uint)length;
            data = data[length..];
        }
    }

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

    private void DropEverything()
    {
        while (_requests.Oldest >= 0)
        {
            FinishRequest(_requests.Oldest, HostStatus.LinkDown, default);
        }

        _tagWaiters.Clear();
        _requests.Clear();
        foreach (PcieFunction function in _functions)
        {
            function.Sequence?.Dispose();
            function.Sequence = null;
            function.SequenceOperation = null;
            function.StepTaken = false;
            function.StepInFlight = false;
            function.WindowOpen = false;
            function.WaitsForTag = false;
            function.RestorePending = false;
            function.SettleLimits();
            while (function.Head is not null)
            {
                Abandon(function, function.Dequeue());
            }
        }
    }
}
