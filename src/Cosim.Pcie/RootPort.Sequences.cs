// SPDX-License-Identifier: Apache-2.0
using Cosim.Pcie.Internal;

namespace Cosim.Pcie;

/// <content>The root port's own dealings with a function, each a sequence of steps of which one is under way at a time; resets.</content>
public sealed partial class RootPort
{
    private static bool StartSequence(PcieFunction function, IEnumerator<Step> sequence, HostOperation? operation)
    {
        function.Sequence = sequence;
        function.SequenceOperation = operation;
        function.StepTaken = false;
        function.StepStatus = HostStatus.Ok;
        return true;
    }

    private bool AdvanceSequence(PcieFunction function)
    {
        if (function.StepInFlight)
        {
            return false;
        }

        if (!function.StepTaken)
        {
            if (!function.Sequence!.MoveNext())
            {
                EndSequence(function);
                return true;
            }

            function.StepTaken = true;
        }

        Step step = function.Sequence!.Current;
        if (step.Type == TlpType.MWr)
        {
            Span<byte> value = stackalloc byte[4];
            BitConverter.TryWriteBytes(value, step.Value);
            SendMemoryWrite(step.Address, value);
            function.StepTaken = false;
            return true;
        }

        if (!TryReserveTag(function))
        {
            return false;
        }

        function.StepTaken = false;
        function.StepInFlight = true;
        ulong address = step.Address + (uint)ByteEnables.Offset(step.ByteEnables);
        SendRequest(function, null, step.Type, address, 4, 0, step.Value, step.ByteEnables);
        return false;
    }

    private void EndSequence(PcieFunction function)
    {
        function.Sequence!.Dispose();
        function.Sequence = null;
        function.SettleLimits();
        RefreshBarAddresses();
        if (function.SequenceOperation is { } operation)
        {
            function.SequenceOperation = null;
            function.Dequeue();
            End(operation);
        }
    }

    /// <summary>A host's configuration write that sets Initiate Function Level Reset.</summary>
    private IEnumerator<Step> WriteAndReset(PcieFunction function, HostOperation operation)
    {
        for (int position = 0; position < operation.Length; position += ConfigPart(operation, position))
        {
            (int register, byte byteEnables, uint value) = ConfigDword(function, operation, position);
            if (byteEnables != 0)
            {
                (byte sentEnables, uint sent) = KeepOffWindow(function, register, byteEnables, value);
                Record(function, register, byteEnables, value);
                yield return Step.Write(register, sentEnables, sent);
                Keep(operation, function.StepStatus);
            }
        }

        for (IEnumerator<Step> reset = Reset(function, forgetVectors: false); reset.MoveNext();)
        {
            yield return reset.Current;
        }
    }

    private IEnumerator<Step> Reset(PcieFunction function, bool forgetVectors)
    {
        HostOperation operation = function.SequenceOperation!;
        FunctionLayout layout = function.Layout!;
        if (forgetVectors)
        {
            function.Vectors.Forget();
        }

        if (!layout.HasFunctionLevelReset)
        {
            operation.Fail(HostStatus.UnsupportedRequest);
            Report($"function {function.Index}: it has no Function Level Reset");
            yield break;
        }

        for (IEnumerator<Step> reset = InitiateReset(function); reset.MoveNext();)
        {
            yield return reset.Current;
            Keep(operation, function.StepStatus);
        }

        for (IEnumerator<Step> restore = Restore(function); restore.MoveNext();)
        {
            yield return restore.Current;
        }
    }

    private static IEnumerator<Step> InitiateReset(PcieFunction function)
    {
        int deviceControl = function.Layout!.PcieCapability + ConfigShadow.DeviceControlInCapability;
        yield return Step.Write(deviceControl, 0x3, function.Shadow.DeviceControl | ConfigShadow.InitiateReset);
        // Completed once the function is there again: until then it asks for a retry (6.6.2).
        yield return Step.Read(0);
        function.Vectors.Unprogram();
        LowerIntx(function);
        function.IntxMasked = false;
    }

    /// <summary>Brings the function to the state after reset, for the next host.</summary>
    private IEnumerator<Step> Release(PcieFunction function)
    {
        HostOperation operation = function.SequenceOperation!;
        FunctionLayout layout = function.Layout!;
        IEnumerator<Step> reset = layout.HasFunctionLevelReset ? InitiateReset(function) : DisableByHand(function);
        while (layout.IsPresent && reset.MoveNext())
        {
            yield return reset.Current;
            Keep(operation, function.StepStatus);
        }

        ForgetHost(function);
    }

    private static void ForgetHost(PcieFunction function)
    {
        // Those that are armed by now are the next host's, whose table is programmed behind this.
        function.Vectors.Unprogram();
        function.Vectors.ForgetHeld();
        function.Shadow.Forget();
        LowerIntx(function);
        function.IntxMasked = false;
    }

    /// <summary>What can be done to a function without Function Level Reset: no interrupts, no DMA, no addresses.</summary>
    private IEnumerator<Step> DisableByHand(PcieFunction function)
    {
        for (IEnumerator<Step> program = ProgramVectors(function); program.MoveNext();)
        {
            yield return program.Current;
        }

        yield return Step.Write(ConfigShadow.Command, 0x3, 0);
        for (int bar = 0; bar < FunctionLayout.BarCount; bar++)
        {
            yield return Step.Write(ConfigShadow.Bar0 + (4 * bar), 0xF, 0);
        }
    }

    private static void Keep(HostOperation operation, HostStatus status)
    {
        if (status != HostStatus.Ok)
        {
            operation.Fail(status);
        }
    }

    /// <summary>Writes what the host believes to a function that has been reset, Command last.</summary>
    private IEnumerator<Step> Restore(PcieFunction function)
    {
        function.RestorePending = false;
        if (function.Layout is null)
        {
            for (IEnumerator<Step> walk = Walk(function); walk.MoveNext();)
            {
                yield return walk.Current;
            }
        }

        FunctionLayout layout = function.Layout!;
        ConfigShadow shadow = function.Shadow;
        for (int register = ConfigShadow.CacheLineSize; register < 0x40; register += 4)
        {
            bool isBar = register is >= ConfigShadow.Bar0 and < ConfigShadow.Bar0 + 24;
            bool isOwn = isBar || register is ConfigShadow.CacheLineSize or ConfigShadow.InterruptLine;
            if (isOwn && shadow.IsWritten(register))
            {
                yield return Step.Write(register, register == ConfigShadow.InterruptLine ? (byte)0x1 : (byte)0xF, isBar ? KeepOffWindow(function, register) : shadow.Header(register));
            }
        }

        if (layout.PcieCapability != 0 && shadow.IsDeviceControlWritten)
        {
            yield return Step.Write(layout.PcieCapability + ConfigShadow.DeviceControlInCapability, 0x3, shadow.DeviceControl);
        }

        if (shadow.IsWritten(ConfigShadow.Command))
        {
            yield return Step.Write(ConfigShadow.Command, 0x3, shadow.Header(ConfigShadow.Command) & 0xFFFF);
        }

        if (function.Vectors.AnyArmed)
        {
            for (IEnumerator<Step> program = ProgramVectors(function); program.MoveNext();)
            {
                yield return program.Current;
            }
        }
    }
}
