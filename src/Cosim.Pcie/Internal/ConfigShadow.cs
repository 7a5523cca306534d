// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Pcie.Internal;

/// <summary>What the host believes of a function's configuration space because it wrote it: header and Device Control.</summary>
internal sealed class ConfigShadow
{
    public const int Command = 0x04;
    public const int CacheLineSize = 0x0C;
    public const int Bar0 = 0x10;
    public const int InterruptLine = 0x3C;
    public const int DeviceControlInCapability = 8;

    /// <summary>Memory Space Enable.</summary>
    public const uint MemorySpace = 2;

    /// <summary>Bus Master Enable.</summary>
    public const uint BusMaster = 4;

    /// <summary>Initiate Function Level Reset, in Device Control.</summary>
    public const uint InitiateReset = 0x8000;

    private readonly uint[] _header = new uint[16];
    private uint _written;
    private uint _deviceControlAfterReset;

    /// <summary>Device Control; 15:0.</summary>
    public uint DeviceControl { get; private set; }

    public bool MemoryEnabled => (_header[Command / 4] & MemorySpace) != 0;

    /// <summary>Whether the host has written anything that a reset takes away.</summary>
    public bool IsTouched => _written != 0 || IsDeviceControlWritten;

    public uint Header(int register) => _header[register / 4];

    public bool IsWritten(int register) => (_written & (1u << (register / 4))) != 0;

    public bool IsDeviceControlWritten { get; private set; }

    public bool BusMasterEnabled => (_header[Command / 4] & BusMaster) != 0;

    /// <summary>Takes what the function itself has after reset.</summary>
    public void SetDeviceControl(uint value)
    {
        _deviceControlAfterReset = value & 0x7FFF;
        DeviceControl = _deviceControlAfterReset;
    }

    /// <summary>The host has gone; nothing of what it wrote is to come back.</summary>
    public void Forget()
    {
        Array.Clear(_header);
        _written = 0;
        IsDeviceControlWritten = false;
        DeviceControl = _deviceControlAfterReset;
    }

    public void Write(int register, byte byteEnables, uint value, int pcieCapability)
    {
        uint mask = Mask(byteEnables);
        if (register < 0x40)
        {
            // The upper half of Command's DW is Status, where a 1 clears: not a value to keep.
            mask = register == Command ? mask & 0xFFFF : mask;
            ref uint word = ref _header[register / 4];
            word = (word & ~mask) | (value & mask);
            _written |= 1u << (register / 4);
        }
        else if (pcieCapability != 0 && register == pcieCapability + DeviceControlInCapability && (byteEnables & 3) != 0)
        {
            mask &= 0x7FFF;
            DeviceControl = (DeviceControl & ~mask) | (value & mask);
            IsDeviceControlWritten = true;
        }
    }

    /// <summary>The address last written to a BAR, unless it is none: 0 or what sizing writes.</summary>
    public bool TryGetBarAddress(FunctionLayout layout, int bar, out ulong address)
    {
        BarLayout found = layout.Bars[bar];
        ulong mask = ~(found.Size - 1);
        address = _header[(Bar0 / 4) + bar];
        if (found.Is64Bit)
        {
            address |= (ulong)_header[(Bar0 / 4) + bar + 1] << 32;
        }
        else
        {
            mask &= 0xFFFF_FFFF;
        }

        address &= mask;
        // A 64-bit BAR is sized one half after the other.
        return address != 0 && address != mask && (!found.Is64Bit || (address >> 32) != 0xFFFF_FFFF);
    }

    public static uint Mask(byte byteEnables)
    {
        uint mask = 0;
        for (int lane = 0; lane < 4; lane++)
        {
            mask |= (byteEnables & (1 << lane)) != 0 ? 0xFFu << (8 * lane) : 0;
        }

        return mask;
    }
}
