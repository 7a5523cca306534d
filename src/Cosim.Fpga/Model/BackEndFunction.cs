// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Cosim.Fpga.Model;

/// <summary>The back-end endpoint on port 1: block BE, mailboxes and doorbells (CONTRACT.md, 3).</summary>
internal sealed class BackEndFunction : PciFunction
{
    /// <summary>Size of a mailbox in bytes.</summary>
    public const uint MailboxBytes = 1024;

    private const uint Bar0Bytes = 0x1_0000;
    private const uint DoorbellStride = 0x400;
    private const uint BackEndPciId = 0x5101_0C05;

    private readonly ModelEvents events;
    private readonly int devices;
    private readonly int queuesPerDevice;
    private readonly byte[] toHost = new byte[MailboxBytes];
    private readonly byte[] fromHost = new byte[MailboxBytes];
    private uint intxStatus;

    public BackEndFunction(PcieEndpoint endpoint, ModelEvents events, int devices, int queuesPerDevice, int vectors)
        : base(endpoint, 0, vectors, Bar0Bytes)
    {
        this.events = events;
        this.devices = devices;
        this.queuesPerDevice = queuesPerDevice;
    }

    /// <summary>Mailbox FPGA to host 2: length of the message, 0 = empty.</summary>
    public uint ToHostLength { get; set; }

    /// <summary>Mailbox host 2 to FPGA: length of the message, 0 = empty.</summary>
    public uint FromHostLength { get; set; }

    /// <summary>Value host 2 reads in STATUS.</summary>
    public uint Status { get; set; }

    /// <summary>Value host 2 wrote to CONTROL.</summary>
    public uint Control { get; private set; }

    /// <summary>Bytes of the mailbox FPGA to host 2.</summary>
    public Span<byte> ToHost => toHost;

    /// <summary>Bytes of the mailbox host 2 to FPGA.</summary>
    public ReadOnlySpan<byte> FromHost => fromHost;

    /// <inheritdoc/>
    protected override uint PciId => BackEndPciId;

    /// <inheritdoc/>
    protected override uint ClassRevision => 0xFF00_0000;

    /// <inheritdoc/>
    protected override uint Subsystem => BackEndPciId;

    /// <inheritdoc/>
    protected override bool InterruptStatus => intxStatus != 0;

    /// <inheritdoc/>
    protected override uint NextAfterMsix => 0;

    /// <inheritdoc/>
    public override void PowerOn()
    {
        base.PowerOn();
        Clear();
        Status = 0;
    }

    /// <summary>The INTERRUPT command: raises a vector.</summary>
    public void Interrupt(uint vector)
    {
        if (vector >= Vectors)
        {
            return;
        }

        if (MsixEnabled)
        {
            RaiseVector((int)vector);
            return;
        }

        intxStatus |= 1u << (int)Math.Min(vector, 31);
        UpdateIntx();
    }

    /// <inheritdoc/>
    protected override uint ReadRegister(uint offset, byte byteEnables)
    {
        switch (offset)
        {
            case RegisterMap.BackEnd.Id:
                return ManagementPort.Identification;
            case RegisterMap.BackEnd.Version:
                return ManagementPort.MapVersion;
            case RegisterMap.BackEnd.Geometry:
                return (uint)devices | ((uint)queuesPerDevice << 8);
            case RegisterMap.BackEnd.Vectors:
                return (uint)Vectors;
            case RegisterMap.BackEnd.Control:
                return Control;
            case RegisterMap.BackEnd.Status:
                return Status;
            case RegisterMap.BackEnd.IntxStatus:
                uint raised = intxStatus;
                if (byteEnables != 0)
                {
                    intxStatus = 0;
                    UpdateIntx();
                }

                return raised;
            case RegisterMap.BackEnd.F2hStatus:
                return ToHostLength;
            case RegisterMap.BackEnd.H2fStatus:
                return FromHostLength;
            case >= RegisterMap.BackEnd.F2hData and < RegisterMap.BackEnd.F2hData + MailboxBytes:
                return BinaryPrimitives.ReadUInt32LittleEndian(toHost.AsSpan((int)(offset - RegisterMap.BackEnd.F2hData)));
            case >= RegisterMap.BackEnd.H2fData and < RegisterMap.BackEnd.H2fData + MailboxBytes:
                return BinaryPrimitives.ReadUInt32LittleEndian(fromHost.AsSpan((int)(offset - RegisterMap.BackEnd.H2fData)));
            default:
                return 0;
        }
    }

    /// <inheritdoc/>
    protected override void WriteRegister(uint offset, uint value, byte byteEnables)
    {
        uint mask = Mask(byteEnables);
        switch (offset)
        {
            case RegisterMap.BackEnd.Control:
                uint control = Control;
                Merge(ref control, value, mask);
                Control = control;
                events.BackEnd(control);
                break;
            case RegisterMap.BackEnd.F2hAck when ToHostLength != 0:
                ToHostLength = 0;
                events.MailboxAcknowledged();
                break;
            case RegisterMap.BackEnd.H2fPost when FromHostLength == 0 && (value & mask) is > 0 and <= MailboxBytes:
                FromHostLength = value & mask;
                events.MailboxPosted(FromHostLength);
                break;
            case >= RegisterMap.BackEnd.H2fData and < RegisterMap.BackEnd.H2fData + MailboxBytes:
                Span<byte> at = fromHost.AsSpan((int)(offset - RegisterMap.BackEnd.H2fData), 4);
                BinaryPrimitives.WriteUInt32LittleEndian(at, (BinaryPrimitives.ReadUInt32LittleEndian(at) & ~mask) | (value & mask));
                break;
            case >= RegisterMap.BackEnd.Doorbell:
                uint device = (offset - RegisterMap.BackEnd.Doorbell) / DoorbellStride;
                uint queue = offset % DoorbellStride / 4;
                if (device < devices && queue < queuesPerDevice)
                {
                    events.Doorbell((int)device, (int)queue);
                }

                break;
        }
    }

    /// <inheritdoc/>
    protected override uint ReadVendorCapability(int offset, byte byteEnables) => 0;

    /// <inheritdoc/>
    protected override void WriteVendorCapability(int offset, uint value, byte byteEnables)
    {
    }

    /// <inheritdoc/>
    protected override void ResetFunction()
    {
        Clear();
        events.ClearBackEnd();
        events.Flr(1, 0);
    }

    private void Clear()
    {
        Control = 0;
        ToHostLength = 0;
        FromHostLength = 0;
        intxStatus = 0;
        Array.Clear(toHost);
        Array.Clear(fromHost);
    }
}
