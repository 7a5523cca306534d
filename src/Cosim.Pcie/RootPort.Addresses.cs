// SPDX-License-Identifier: Apache-2.0
using Cosim.Pcie.Internal;

namespace Cosim.Pcie;

/// <content>Addresses of BARs: the hosts' and those of the root port's own window.</content>
public sealed partial class RootPort
{
    // The window lies where hosts have RAM and so never a BAR; large 64-bit BARs get addresses above what processors have.
    private const ulong WindowBase = 0x1000_0000;
    private const ulong WindowEnd = 0x8000_0000;
    private const ulong HighWindowBase = 1ul << 52;

    private ulong _window = WindowBase;
    private ulong _highWindow = HighWindowBase;

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
            for (int bar = 0; other != function && other.Layout is not null && bar < FunctionLayout.BarCount; bar++)
            {
                BarLayout found = other.Layout.Bars[bar];
                if (!found.IsMemory)
                {
                    continue;
                }

                // The other's place in the window counts too: it may be opened at any time.
                if ((other.Shadow.MemoryEnabled && other.Shadow.TryGetBarAddress(other.Layout, bar, out ulong start) && Overlaps(start, found.Size))
                    || (other.WindowAddresses[bar] != 0 && Overlaps(other.WindowAddresses[bar], found.Size)))
                {
                    return other;
                }
            }
        }

        return null;

        bool Overlaps(ulong start, ulong length) => address < start + length && start < address + size;
    }

    /// <summary>
    /// What the FPGA is given of a host's write to a BAR: not an address at which another function lies in the window, of which it would
    /// take the accesses away. The function is reached through its own place in the window then.
    /// </summary>
    private (byte ByteEnables, uint Value) KeepOffWindow(PcieFunction function, int register, byte byteEnables, uint value)
    {
        if (register is < ConfigShadow.Bar0 or >= ConfigShadow.Bar0 + (4 * FunctionLayout.BarCount))
        {
            return (byteEnables, value);
        }

        uint mask = ConfigShadow.Mask(byteEnables);
        uint old = function.Shadow.Header(register);
        uint written = (old & ~mask) | (value & mask);
        return LiesOnWindow(function, register, written) ? ((byte)0xF, 0u)
            : LiesOnWindow(function, register, old) ? ((byte)0xF, written)
            : (byteEnables, value);
    }

    private uint KeepOffWindow(PcieFunction function, int register) =>
        LiesOnWindow(function, register, function.Shadow.Header(register)) ? 0 : function.Shadow.Header(register);

    // The window proper lies below 4 GiB: lower halves alone can name it.
    private bool LiesOnWindow(PcieFunction function, int register, uint value)
    {
        BarLayout found = function.Layout!.Bars[(register - ConfigShadow.Bar0) / 4];
        ulong address = found.IsMemory ? value & ~(found.Size - 1) : 0;
        foreach (PcieFunction other in _functions)
        {
            for (int bar = 0; address != 0 && other != function && other.Layout is not null && bar < FunctionLayout.BarCount; bar++)
            {
                ulong window = other.WindowAddresses[bar];
                if (window != 0 && address < window + other.Layout.Bars[bar].Size && window < address + found.Size)
                {
                    return true;
                }
            }
        }

        return false;
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
    private IEnumerator<Step> OpenWindow(PcieFunction function)
    {
        function.WindowOpen = true;
        foreach (Step step in WriteBars(function, toWindow: true))
        {
            yield return step;
        }

        yield return Step.Write(ConfigShadow.Command, 0x3, (function.Shadow.Header(ConfigShadow.Command) & 0xFFFF) | ConfigShadow.MemorySpace);
    }

    /// <summary>Gives the function back what the host wrote.</summary>
    private IEnumerator<Step> CloseWindow(PcieFunction function)
    {
        yield return Step.Write(ConfigShadow.Command, 0x3, function.Shadow.Header(ConfigShadow.Command) & 0xFFFF);
        foreach (Step step in WriteBars(function, toWindow: false))
        {
            yield return step;
        }

        function.WindowOpen = false;
    }

    /// <summary>Writes BARs to which the host gave no usable address: the window's, or the host's own value.</summary>
    private IEnumerable<Step> WriteBars(PcieFunction function, bool toWindow)
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
            yield return Step.Write(register, 0xF, toWindow ? (uint)address : KeepOffWindow(function, register));
            if (found.Is64Bit)
            {
                yield return Step.Write(register + 4, 0xF, toWindow ? (uint)(address >> 32) : function.Shadow.Header(register + 4));
            }
        }
    }
}
