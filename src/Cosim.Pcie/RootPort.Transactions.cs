// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Pcie.Internal;

namespace Cosim.Pcie;

/// <content>Transactions of the host: queues, requests, completions.</content>
/// <remarks>
/// Each function has one queue, worked off in order, many requests outstanding. A memory write is sent as soon as nothing but
/// reads stands before it, for posted requests must be able to pass reads that wait for tags (2.4.1). After a
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
                return TryOvertake(function);
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
                (byte sentEnables, uint sent) = KeepOffWindow(function, register, byteEnables, value);
                Record(function, register, byteEnables, value);
                SendRequest(function, operation, TlpType.CfgWr0, (uint)register + (uint)ByteEnables.Offset(sentEnables), length, 0, sent, sentEnables);
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
            LowerIntx(function);
            function.SettleLimits();
            while (function.Head is not null)
            {
                Abandon(function, function.Dequeue());
            }
        }
    }
}
