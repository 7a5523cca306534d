// SPDX-License-Identifier: Apache-2.0
using System.Numerics;
using Cosim.Pcie.Internal;

namespace Cosim.Pcie;

/// <content>The root port's own dealings with a function, each a sequence of steps of which one is under way at a time.</content>
public sealed partial class RootPort
{
    private const byte MsixCapabilityId = 0x11;
    private const byte PcieCapabilityId = 0x10;
    private const uint MsixEnable = 0x8000_0000;
    private const uint FunctionLevelResetCapability = 0x1000_0000;

    // The window lies where hosts have RAM and so never a BAR; large 64-bit BARs get addresses above what processors have.
    private const ulong WindowBase = 0x1000_0000;
    private const ulong WindowEnd = 0x8000_0000;
    private const ulong HighWindowBase = 1ul << 52;

    private ulong _window = WindowBase;
    private ulong _highWindow = HighWindowBase;

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

    /// <summary>Finds out what a function has: its BARs by sizing, its capabilities by walking their list.</summary>
    private IEnumerator<Step> Walk(PcieFunction function)
    {
        yield return Step.Read(0);
        uint id = function.StepData;
        if (function.StepStatus != HostStatus.Ok || id == uint.MaxValue)
        {
            function.Layout = new FunctionLayout();
            yield break;
        }

        yield return Step.Read(ConfigShadow.CacheLineSize);
        int headerType = (int)(function.StepData >> 16) & 0x7F;
        yield return Step.Read(ConfigShadow.Command);
        bool hasCapabilities = (function.StepData & 0x0010_0000) != 0;
        if ((function.StepData & 3) != 0)
        {
            // No decoding while BARs are sized.
            yield return Step.Write(ConfigShadow.Command, 0x3, function.StepData & 0xFFFC);
        }

        BarLayout[] bars = new BarLayout[FunctionLayout.BarCount];
        if (headerType != 0)
        {
            Report($"function {function.Index} has header type {headerType}; only type 0 has BARs here");
        }

        for (int bar = 0; bar < FunctionLayout.BarCount && headerType == 0; bar++)
        {
            int register = ConfigShadow.Bar0 + (4 * bar);
            yield return Step.Write(register, 0xF, uint.MaxValue);
            yield return Step.Read(register);
            uint low = function.StepDataOr(0);
            yield return Step.Write(register, 0xF, 0);
            bool isIo = (low & 1) != 0;
            bool is64Bit = !isIo && (low & 6) == 4 && bar + 1 < FunctionLayout.BarCount;
            uint high = uint.MaxValue;
            if (is64Bit)
            {
                yield return Step.Write(register + 4, 0xF, uint.MaxValue);
                yield return Step.Read(register + 4);
                high = function.StepDataOr(0);
                yield return Step.Write(register + 4, 0xF, 0);
            }

            ulong writable = ((ulong)high << 32) | (low & (isIo ? ~3u : ~0xFu));
            ulong size = low == 0 ? 0 : isIo ? ~((low | 0xFFFF_0000) & ~3u) + 1 : ~writable + 1;
            if (size != 0 && !BitOperations.IsPow2(size))
            {
                Report($"function {function.Index}: BAR {bar} sizes as 0x{writable:x}, which is no power of two; it is left out");
                size = 0;
            }

            bars[bar] = new BarLayout(size, isIo, is64Bit, !isIo && (low & 8) != 0);
            bar += is64Bit ? 1 : 0;
        }

        yield return Step.Read(ConfigShadow.InterruptLine);
        FunctionLayout layout = new()
        {
            IsPresent = true,
            VendorId = (ushort)id,
            DeviceId = (ushort)(id >> 16),
            Bars = bars,
            InterruptPin = (int)(function.StepData >> 8) & 0xFF,
        };
        int pointer = 0;
        if (hasCapabilities)
        {
            yield return Step.Read(0x34);
            pointer = (int)function.StepData & 0xFC;
        }

        // The list cannot be longer than what fits between the header and 0x100.
        for (int left = 48; pointer >= 0x40 && left > 0; left--)
        {
            int at = pointer;
            yield return Step.Read(at);
            uint capability = function.StepData;
            pointer = (int)(capability >> 8) & 0xFC;
            if ((byte)capability == MsixCapabilityId && layout.MsixCapability == 0)
            {
                yield return Step.Read(at + 4);
                layout = layout with
                {
                    MsixCapability = at,
                    MsixVectors = (int)((capability >> 16) & 0x7FF) + 1,
                    MsixTableBar = (int)(function.StepData & 7),
                    MsixTableOffset = function.StepData & ~7u,
                };
            }
            else if ((byte)capability == PcieCapabilityId && layout.PcieCapability == 0)
            {
                yield return Step.Read(at + 4);
                layout = layout with
                {
                    PcieCapability = at,
                    MaxPayloadSupported = 128 << Math.Min((int)function.StepData & 7, 5),
                    HasFunctionLevelReset = (function.StepData & FunctionLevelResetCapability) != 0,
                };
                yield return Step.Read(at + ConfigShadow.DeviceControlInCapability);
                function.Shadow.SetDeviceControl(function.StepData);
            }
        }

        if (pointer >= 0x40)
        {
            Report($"function {function.Index}: the capability list does not end");
        }

        SetLayout(function, layout);
    }

    private void SetLayout(PcieFunction function, FunctionLayout layout)
    {
        bool tableFits = layout.MsixVectors != 0 && layout.MsixTableBar < FunctionLayout.BarCount
            && layout.Bars[layout.MsixTableBar] is { IsMemory: true } table
            && layout.MsixTableOffset + (16ul * (uint)layout.MsixVectors) <= table.Size;
        if (layout.MsixVectors != 0 && !tableFits)
        {
            Report($"function {function.Index}: the MSI-X table of {layout.MsixVectors} vectors does not lie in BAR {layout.MsixTableBar}; MSI-X is not used");
            layout = layout with { MsixVectors = 0 };
        }

        for (int bar = 0; bar < FunctionLayout.BarCount; bar++)
        {
            BarLayout found = layout.Bars[bar];
            if (found.IsMemory)
            {
                function.WindowAddresses[bar] = TakeWindow(function, bar, found);
            }
        }

        function.Layout = layout;
        function.SettleLimits();
        RefreshBarAddresses();
    }

    private ulong TakeWindow(PcieFunction function, int bar, BarLayout found)
    {
        ulong address = (_window + found.Size - 1) & ~(found.Size - 1);
        if (address + found.Size <= WindowEnd)
        {
            _window = address + found.Size;
            return address;
        }

        if (!found.Is64Bit)
        {
            Report($"function {function.Index}: no room in the window for BAR {bar} of {found.Size} bytes; it is reachable only at an address of the host's");
            return 0;
        }

        address = (_highWindow + found.Size - 1) & ~(found.Size - 1);
        _highWindow = address + found.Size;
        return address;
    }

    /// <summary>Makes every memory BAR reachable: Memory Space on, and an address of the window where the host gave none.</summary>
    private static IEnumerator<Step> OpenWindow(PcieFunction function)
    {
        function.WindowOpen = true;
        foreach (Step step in WriteBars(function, toWindow: true))
        {
            yield return step;
        }

        yield return Step.Write(ConfigShadow.Command, 0x3, (function.Shadow.Header(ConfigShadow.Command) & 0xFFFF) | ConfigShadow.MemorySpace);
    }

    /// <summary>Gives the function back what the host wrote.</summary>
    private static IEnumerator<Step> CloseWindow(PcieFunction function)
    {
        yield return Step.Write(ConfigShadow.Command, 0x3, function.Shadow.Header(ConfigShadow.Command) & 0xFFFF);
        foreach (Step step in WriteBars(function, toWindow: false))
        {
            yield return step;
        }

        function.WindowOpen = false;
    }

    /// <summary>Writes BARs to which the host gave no usable address: the window's, or the host's own value.</summary>
    private static IEnumerable<Step> WriteBars(PcieFunction function, bool toWindow)
    {
        FunctionLayout layout = function.Layout!;
        for (int bar = 0; bar < FunctionLayout.BarCount; bar++)
        {
            BarLayout found = layout.Bars[bar];
            if (!found.IsMemory || function.BarAddresses[bar] != 0)
            {
                continue;
            }

            int register = ConfigShadow.Bar0 + (4 * bar);
            ulong address = function.WindowAddresses[bar];
            yield return Step.Write(register, 0xF, toWindow ? (uint)address : function.Shadow.Header(register));
            if (found.Is64Bit)
            {
                yield return Step.Write(register + 4, 0xF, toWindow ? (uint)(address >> 32) : function.Shadow.Header(register + 4));
            }
        }
    }

    /// <summary>Brings the FPGA's MSI-X table and MSI-X Enable to what the host has armed.</summary>
    private IEnumerator<Step> ProgramVectors(PcieFunction function)
    {
        FunctionLayout layout = function.Layout!;
        VectorTable vectors = function.Vectors;
        if (vectors.End > layout.MsixVectors && IsArmedFrom(vectors, layout.MsixVectors))
        {
            Report($"function {function.Index}: vectors armed beyond its {layout.MsixVectors}");
        }

        int end = Math.Min(vectors.End, layout.MsixVectors);
        if (end == 0)
        {
            yield break;
        }

        bool opens = !function.IsReachable(layout.MsixTableBar) && NeedsProgramming(vectors, end);
        if (opens)
        {
            for (IEnumerator<Step> open = OpenWindow(function); open.MoveNext();)
            {
                yield return open.Current;
            }
        }

        ulong table = function.BusAddress(layout.MsixTableBar) + layout.MsixTableOffset;
        bool anyArmed = false;
        for (int vector = 0; vector < end; vector++)
        {
            ulong entry = table + (16ul * (uint)vector);
            bool armed = vectors[vector].Armed;
            anyArmed |= armed;
            if (armed && !vectors[vector].Programmed)
            {
                vectors[vector].Programmed = true;
                yield return Step.Memory(entry, (uint)InterruptBase);
                yield return Step.Memory(entry + 4, 0);
                yield return Step.Memory(entry + 8, (uint)vector);
            }

            if (armed != vectors[vector].Unmasked)
            {
                vectors[vector].Unmasked = armed;
                yield return Step.Memory(entry + 12, armed ? 0u : 1u);
            }
        }

        if (opens)
        {
            for (IEnumerator<Step> close = CloseWindow(function); close.MoveNext();)
            {
                yield return close.Current;
            }
        }

        if (anyArmed != vectors.Enabled)
        {
            vectors.Enabled = anyArmed;
            yield return Step.Write(layout.MsixCapability, 0x8, anyArmed ? MsixEnable : 0);
        }
    }

    private static bool NeedsProgramming(VectorTable vectors, int end)
    {
        for (int vector = 0; vector < end; vector++)
        {
            if (vectors[vector].Armed != vectors[vector].Unmasked)
            {
                return true;
            }
        }

        return false;
    }

    private static bool IsArmedFrom(VectorTable vectors, int first)
    {
        for (int vector = first; vector < vectors.End; vector++)
        {
            if (vectors[vector].Armed)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>A host's configuration write that sets Initiate Function Level Reset.</summary>
    private IEnumerator<Step> WriteAndReset(PcieFunction function, HostOperation operation)
    {
        for (int position = 0; position < operation.Length; position += ConfigPart(operation, position))
        {
            (int register, byte byteEnables, uint value) = ConfigDword(function, operation, position);
            if (byteEnables != 0)
            {
                Record(function, register, byteEnables, value);
                yield return Step.Write(register, byteEnables, value);
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
        function.Vectors.Arm(0, function.Vectors.End, armed: false);
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
        function.Vectors.Forget();
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
            bool isOwn = register is ConfigShadow.CacheLineSize or ConfigShadow.InterruptLine or (>= ConfigShadow.Bar0 and < ConfigShadow.Bar0 + 24);
            if (isOwn && shadow.IsWritten(register))
            {
                yield return Step.Write(register, register == ConfigShadow.InterruptLine ? (byte)0x1 : (byte)0xF, shadow.Header(register));
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
