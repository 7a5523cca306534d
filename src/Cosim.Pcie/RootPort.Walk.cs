// SPDX-License-Identifier: Apache-2.0
using System.Numerics;
using Cosim.Pcie.Internal;

namespace Cosim.Pcie;

/// <content>Finding out what a function has.</content>
public sealed partial class RootPort
{
    private const byte MsixCapabilityId = 0x11;
    private const byte PcieCapabilityId = 0x10;
    private const uint FunctionLevelResetCapability = 0x1000_0000;

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
}
