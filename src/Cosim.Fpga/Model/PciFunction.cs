// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Numerics;
using Cosim.Pcie;

namespace Cosim.Fpga.Model;

/// <summary>What every PCI function has: configuration space with PCI Express and MSI-X capabilities, BAR decoding, INTx, MSI-X (CONTRACT.md, 3).</summary>
internal abstract class PciFunction
{
    /// <summary>Offset of the first virtio capability.</summary>
    protected const int FirstVendorCapability = 0x90;

    private const uint CommandWritable = 0x0547;
    private const uint CommandMemory = 0x2;
    private const uint CommandBusMaster = 0x4;
    private const uint CommandInterruptDisable = 0x400;
    private const uint DeviceControlReset = 0x2810;
    private const uint DeviceControlWritable = 0x78FF;
    private const uint DeviceControlFlr = 0x8000;
    private const int ExpressCapability = 0x40;
    private const int MsixCapability = 0x80;
    private const uint MsixEnable = 0x8000_0000;
    private const uint MsixFunctionMask = 0x4000_0000;
    private const uint Bar1Size = 0x4000;

    private readonly PcieEndpoint endpoint;
    private readonly uint bar0Size;
    private readonly uint[] table;
    private readonly uint[] pending;
    private uint command;
    private uint bar0;
    private uint bar1;
    private uint interruptLine;
    private uint deviceControl;
    private uint msixControl;
    private bool assertSent;

    protected PciFunction(PcieEndpoint endpoint, int number, int vectors, uint bar0Size)
    {
        this.endpoint = endpoint;
        this.bar0Size = bar0Size;
        Number = number;
        Vectors = vectors;
        table = new uint[vectors * 4];
        pending = new uint[(vectors + 63) / 64 * 2];
        ResetPci();
    }

    /// <summary>Function number on its port.</summary>
    public int Number { get; }

    /// <summary>Entries of the MSI-X table.</summary>
    public int Vectors { get; }

    /// <summary>Requester and completer ID.</summary>
    public RoutingId Id => new((ushort)(endpoint.BusDevice.Value | Number));

    /// <summary>Bus Master Enable.</summary>
    public bool BusMaster => (command & CommandBusMaster) != 0;

    /// <summary>MSI-X Enable.</summary>
    public bool MsixEnabled => (msixControl & MsixEnable) != 0;

    /// <summary>Max_Payload_Size in bytes; the device supports 256.</summary>
    public int MaxPayload => Math.Min(128 << (int)((deviceControl >> 5) & 7), 256);

    /// <summary>Max_Read_Request_Size in bytes.</summary>
    public int MaxReadRequest => Math.Min(128 << (int)((deviceControl >> 12) & 7), 4096);

    /// <summary>15:0 vendor, 31:16 device.</summary>
    protected abstract uint PciId { get; }

    /// <summary>31:8 class code, 7:0 revision.</summary>
    protected abstract uint ClassRevision { get; }

    /// <summary>15:0 subsystem vendor, 31:16 subsystem.</summary>
    protected abstract uint Subsystem { get; }

    /// <summary>An interrupt is to be told by INTx.</summary>
    protected abstract bool InterruptStatus { get; }

    /// <summary>Finds the BAR that decodes an address.</summary>
    public bool TryDecode(ulong address, out int bar, out uint offset)
    {
        bar = 0;
        offset = 0;
        if ((command & CommandMemory) == 0 || address > uint.MaxValue)
        {
            return false;
        }

        uint low = (uint)address;
        if ((low & ~(bar0Size - 1)) == bar0)
        {
            offset = low - bar0;
            return true;
        }

        if ((low & ~(Bar1Size - 1)) == bar1)
        {
            bar = 1;
            offset = low - bar1;
            return true;
        }

        return false;
    }

    /// <summary>Reads a DW of a BAR; a read with no byte enabled has no side effect.</summary>
    public uint ReadBar(int bar, uint offset, byte byteEnables)
    {
        if (bar == 0)
        {
            return offset < bar0Size ? ReadRegister(offset, byteEnables) : 0;
        }

        if (offset < table.Length * 4)
        {
            return table[offset / 4];
        }

        uint word = (offset - RegisterMap.Bar.MsixPba) / 4;
        return offset >= RegisterMap.Bar.MsixPba && word < pending.Length ? pending[word] : 0;
    }

    /// <summary>Writes the enabled bytes of a DW of a BAR.</summary>
    public void WriteBar(int bar, uint offset, uint value, byte byteEnables)
    {
        if (byteEnables == 0)
        {
            return;
        }

        if (bar == 0)
        {
            if (offset < bar0Size)
            {
                WriteRegister(offset, value, byteEnables);
            }

            return;
        }

        if (offset >= table.Length * 4)
        {
            return;
        }

        uint writable = (offset & 0xC) switch
        {
            0x0 => ~3u,
            0xC => 1u,
            _ => ~0u,
        };
        Merge(ref table[offset / 4], value, Mask(byteEnables) & writable);
        SendPending();
    }

    /// <summary>Reads a DW of configuration space.</summary>
    public uint ReadConfig(int offset, byte byteEnables) => offset switch
    {
        0x00 => PciId,
        0x04 => command | 0x0010_0000 | (InterruptStatus ? 0x0008_0000u : 0),
        0x08 => ClassRevision,
        0x0C => endpoint.FunctionCount > 1 ? 0x0080_0000u : 0,
        0x10 => bar0,
        0x14 => bar1,
        0x2C => Subsystem,
        0x34 => ExpressCapability,
        0x3C => interruptLine | 0x100,
        ExpressCapability => 0x10 | (MsixCapability << 8) | (2 << 16),
        ExpressCapability + 0x04 => 0x1000_8001,
        ExpressCapability + 0x08 => deviceControl,
        ExpressCapability + 0x0C => 0x83,
        ExpressCapability + 0x10 => 0x0083_0000,
        MsixCapability => 0x11 | (NextAfterMsix << 8) | msixControl | ((uint)(Vectors - 1) << 16),
        MsixCapability + 4 => RegisterMap.Bar.MsixTable | 1,
        MsixCapability + 8 => RegisterMap.Bar.MsixPba | 1,
        >= FirstVendorCapability and < 0x100 => ReadVendorCapability(offset, byteEnables),
        _ => 0,
    };

    /// <summary>Writes the enabled bytes of a DW of configuration space.</summary>
    public void WriteConfig(int offset, uint value, byte byteEnables)
    {
        uint mask = Mask(byteEnables);
        switch (offset)
        {
            case 0x04:
                Merge(ref command, value, mask & CommandWritable);
                SendPending();
                UpdateIntx();
                break;
            case 0x10:
                Merge(ref bar0, value, mask & ~(bar0Size - 1));
                break;
            case 0x14:
                Merge(ref bar1, value, mask & ~(Bar1Size - 1));
                break;
            case 0x3C:
                Merge(ref interruptLine, value, mask & 0xFF);
                break;
            case ExpressCapability + 0x08:
                Merge(ref deviceControl, value, mask & DeviceControlWritable);
                if ((value & mask & DeviceControlFlr) != 0)
                {
                    FunctionLevelReset();
                }

                break;
            case MsixCapability:
                Merge(ref msixControl, value, mask & (MsixEnable | MsixFunctionMask));
                SendPending();
                UpdateIntx();
                break;
            case >= FirstVendorCapability and < 0x100:
                WriteVendorCapability(offset, value, byteEnables);
                break;
        }
    }

    /// <summary>Returns the function to its state after <c>rst_i</c>.</summary>
    public virtual void PowerOn()
    {
        ResetPci();
        assertSent = false;
    }

    /// <summary>Sends Assert_INTA or Deassert_INTA if the level has changed.</summary>
    protected void UpdateIntx()
    {
        bool level = InterruptStatus && !MsixEnabled && (command & CommandInterruptDisable) == 0;
        if (level == assertSent)
        {
            return;
        }

        assertSent = level;
        TlpWriter.Message(endpoint.Emit(Tlp.HeaderBytes), Id, level ? MessageCode.AssertIntA : MessageCode.DeassertIntA);
    }

    /// <summary>Sends a vector's message, or keeps it pending while it is masked or the function may not send.</summary>
    protected void RaiseVector(int vector)
    {
        if ((uint)vector < (uint)Vectors)
        {
            pending[vector / 32] |= 1u << (vector & 31);
            SendPending();
        }
    }

    /// <summary>DW of BAR0; a read with no byte enabled has no side effect.</summary>
    protected abstract uint ReadRegister(uint offset, byte byteEnables);

    /// <summary>Write to BAR0, at least one byte enabled.</summary>
    protected abstract void WriteRegister(uint offset, uint value, byte byteEnables);

    /// <summary>Offset of the capability behind MSI-X; 0: none.</summary>
    protected abstract uint NextAfterMsix { get; }

    /// <summary>Reads a DW from 0x90 on.</summary>
    protected abstract uint ReadVendorCapability(int offset, byte byteEnables);

    /// <summary>Writes a DW from 0x90 on.</summary>
    protected abstract void WriteVendorCapability(int offset, uint value, byte byteEnables);

    /// <summary>The part of a function level reset that is not PCI's.</summary>
    protected abstract void ResetFunction();

    /// <summary>The bits of a DW that four byte enables cover.</summary>
    protected static uint Mask(uint byteEnables) =>
        ((byteEnables & 1) * 0xFF) | (((byteEnables >> 1) & 1) * 0xFF00) | (((byteEnables >> 2) & 1) * 0xFF_0000) | (((byteEnables >> 3) & 1) * 0xFF00_0000);

    /// <summary>Sets the bits under <paramref name="mask"/>.</summary>
    protected static void Merge(ref uint register, uint value, uint mask) => register = (register & ~mask) | (value & mask);

    private void FunctionLevelReset()
    {
        ResetPci();
        ResetFunction();
        UpdateIntx();
    }

    private void ResetPci()
    {
        command = 0;
        bar0 = 0;
        bar1 = 0;
        interruptLine = 0;
        deviceControl = DeviceControlReset;
        msixControl = 0;
        Array.Clear(pending);
        Array.Clear(table);
        for (int i = 3; i < table.Length; i += 4)
        {
            table[i] = 1;
        }
    }

    private void SendPending()
    {
        if ((msixControl & (MsixEnable | MsixFunctionMask)) != MsixEnable || !BusMaster)
        {
            return;
        }

        for (int word = 0; word < pending.Length; word++)
        {
            for (uint left = pending[word]; left != 0; left &= left - 1)
            {
                int bit = BitOperations.TrailingZeroCount(left);
                int entry = ((word * 32) + bit) * 4;
                if ((table[entry + 3] & 1) == 0)
                {
                    pending[word] &= ~(1u << bit);
                    SendMessage(table[entry], table[entry + 1], table[entry + 2]);
                }
            }
        }
    }

    private void SendMessage(uint addressLow, uint addressHigh, uint data)
    {
        Span<byte> packet = endpoint.Emit(Tlp.HeaderBytes + 4);
        TlpWriter.MemoryWrite(packet, Id, 0, ((ulong)addressHigh << 32) | addressLow, 4, out Span<byte> payload);
        BinaryPrimitives.WriteUInt32LittleEndian(payload, data);
    }
}
