// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Numerics;

namespace Cosim.Fpga.Model;

/// <summary>A virtio device over PCI (virtio 1.3, 4.1): its structures in BAR0, and its registers at the management port (block FN).</summary>
internal sealed class VirtioFunction : PciFunction
{
    /// <summary>INTERRUPT index of a configuration change.</summary>
    public const uint ConfigurationChange = 0xFFFF;

    private const uint Bar0Bytes = 0x4000;
    private const uint StructureBytes = 0x1000;
    private const uint DeviceConfigBytes = 0x100;
    private const uint DriverOk = 4;
    private const uint FeaturesOk = 8;
    private const uint NeedsReset = 0x40;
    private const ulong Version1 = 1ul << 32;
    private const ulong RingPacked = 1ul << 34;
    private const ulong RingReset = 1ul << 40;
    private const uint DefaultPciId = 0x1040_1AF4;
    private const uint DefaultClassRevision = 0xFF00_0001;

    // virtio_pci_cap.cfg_type (4.1.4) and virtio_pci_cap's length; VENDOR is the capability id 0x09.
    private const uint Vendor = 0x09;
    private const uint CapabilityLength = 16 << 16;
    private const uint LongCapabilityLength = 20 << 16;

    private readonly ModelEvents events;
    private readonly VirtioQueue[] queues;
    private readonly byte[] deviceConfig = new byte[DeviceConfigBytes];
    private uint pciId = DefaultPciId;
    private uint classRevision = DefaultClassRevision;
    private uint subsystem;
    private ulong deviceFeatures;
    private ulong driverFeatures;
    private uint deviceFeatureSelect;
    private uint driverFeatureSelect;
    private uint configVector = VirtioQueue.NoVector;
    private uint numQueues;
    private uint status;
    private bool resetPending;
    private uint configGeneration;

    // The driver has read the device configuration since the generation was counted.
    private bool configRead;
    private uint queueSelect;
    private uint isr;
    private uint accessBar;
    private uint accessOffset;
    private uint accessLength;

    public VirtioFunction(PcieEndpoint endpoint, ModelEvents events, int number, int queueCount, int vectors)
        : base(endpoint, number, vectors, Bar0Bytes)
    {
        this.events = events;
        queues = new VirtioQueue[queueCount];
        for (int i = 0; i < queueCount; i++)
        {
            queues[i] = new VirtioQueue();
        }

        numQueues = (uint)queueCount;
    }

    /// <inheritdoc/>
    protected override uint PciId => pciId;

    /// <inheritdoc/>
    protected override uint ClassRevision => classRevision;

    /// <inheritdoc/>
    protected override uint Subsystem => subsystem;

    /// <inheritdoc/>
    protected override bool InterruptStatus => isr != 0 && !MsixEnabled;

    /// <inheritdoc/>
    protected override uint NextAfterMsix => FirstVendorCapability;

    private uint ReadStatus => resetPending ? NeedsReset : status;

    private VirtioQueue? Selected => queueSelect < numQueues && queues[queueSelect].SizeLimit != 0 ? queues[queueSelect] : null;

    /// <inheritdoc/>
    public override void PowerOn()
    {
        base.PowerOn();
        pciId = DefaultPciId;
        classRevision = DefaultClassRevision;
        subsystem = 0;
        deviceFeatures = 0;
        numQueues = (uint)queues.Length;
        configGeneration = 0;
        configRead = false;
        Array.Clear(deviceConfig);
        foreach (VirtioQueue queue in queues)
        {
            queue.SizeLimit = 0;
        }

        ForgetDriver();
        ClearAccess();
        resetPending = false;
    }

    /// <summary>The INTERRUPT command: a queue's used buffer notification, or a configuration change.</summary>
    public void Interrupt(uint index)
    {
        if ((status & DriverOk) == 0 || (index >= numQueues && index != ConfigurationChange))
        {
            return;
        }

        bool isConfig = index == ConfigurationChange;
        if (isConfig)
        {
            isr |= 2; // with MSI-X too (4.1.4.5.1)
        }
        else if (!MsixEnabled)
        {
            isr |= 1;
        }

        if (MsixEnabled)
        {
            RaiseVector((int)(isConfig ? configVector : queues[index].Vector));
        }

        UpdateIntx();
    }

    /// <summary>Reads a register of block FN.</summary>
    public uint ReadManagement(uint offset)
    {
        if (offset is >= RegisterMap.Function.DeviceConfig and < RegisterMap.Function.DeviceConfig + DeviceConfigBytes)
        {
            return BinaryPrimitives.ReadUInt32LittleEndian(deviceConfig.AsSpan((int)(offset - RegisterMap.Function.DeviceConfig)));
        }

        if (FindQueue(offset, out uint register) is { } queue)
        {
            return register switch
            {
                RegisterMap.Queue.SizeLimit => queue.SizeLimit,
                RegisterMap.Queue.Size => queue.Size,
                RegisterMap.Queue.Enable => queue.Enabled ? 1u : 0,
                RegisterMap.Queue.Vector => queue.Vector,
                >= RegisterMap.Queue.DescLo and <= RegisterMap.Queue.DeviceHi => queue.Addresses[(register - RegisterMap.Queue.DescLo) / 4],
                RegisterMap.Queue.Reset => queue.Resetting ? 1u : 0,
                _ => 0,
            };
        }

        return offset switch
        {
            RegisterMap.Function.PciId => pciId,
            RegisterMap.Function.ClassRevision => classRevision,
            RegisterMap.Function.Subsystem => subsystem,
            RegisterMap.Function.DeviceFeaturesLo => (uint)deviceFeatures,
            RegisterMap.Function.DeviceFeaturesHi => (uint)(deviceFeatures >> 32),
            RegisterMap.Function.DriverFeaturesLo => (uint)driverFeatures,
            RegisterMap.Function.DriverFeaturesHi => (uint)(driverFeatures >> 32),
            RegisterMap.Function.Status => status | (resetPending ? 0x100u : 0) | (BusMaster ? 0x200u : 0) | (MsixEnabled ? 0x400u : 0),
            RegisterMap.Function.NumQueues => numQueues,
            RegisterMap.Function.ConfigVector => configVector,
            RegisterMap.Function.ConfigGeneration => configGeneration,
            RegisterMap.Function.Isr => isr,
            _ => 0,
        };
    }

    /// <summary>Writes a register of block FN.</summary>
    public void WriteManagement(uint offset, uint value)
    {
        if (offset is >= RegisterMap.Function.DeviceConfig and < RegisterMap.Function.DeviceConfig + DeviceConfigBytes)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(deviceConfig.AsSpan((int)(offset - RegisterMap.Function.DeviceConfig)), value);
            CountConfiguration();
            return;
        }

        if (FindQueue(offset, out uint register) is { } queue)
        {
            WriteQueueManagement(queue, register, value);
            return;
        }

        switch (offset)
        {
            case RegisterMap.Function.PciId:
                pciId = value;
                break;
            case RegisterMap.Function.ClassRevision:
                classRevision = value;
                break;
            case RegisterMap.Function.Subsystem:
                subsystem = value;
                break;
            case RegisterMap.Function.Control:
                Control(value);
                break;
            case RegisterMap.Function.DeviceFeaturesLo:
                deviceFeatures = (deviceFeatures & 0xFFFF_FFFF_0000_0000) | value;
                break;
            case RegisterMap.Function.DeviceFeaturesHi:
                deviceFeatures = (deviceFeatures & 0xFFFF_FFFF) | ((ulong)value << 32);
                break;
            case RegisterMap.Function.NumQueues:
                numQueues = Math.Min(value, (uint)queues.Length);
                break;
        }
    }

    /// <inheritdoc/>
    protected override uint ReadRegister(uint offset, byte byteEnables)
    {
        switch (offset & ~(StructureBytes - 1))
        {
            case RegisterMap.Bar.VirtioCommon:
                return ReadCommon(offset);
            case RegisterMap.Bar.VirtioIsr:
                return offset == RegisterMap.Bar.VirtioIsr ? ReadIsr(byteEnables) : 0;
            case RegisterMap.Bar.VirtioDevice:
                uint at = offset - RegisterMap.Bar.VirtioDevice;
                if (at >= DeviceConfigBytes)
                {
                    return 0;
                }

                configRead |= byteEnables != 0;
                return BinaryPrimitives.ReadUInt32LittleEndian(deviceConfig.AsSpan((int)at));
            default:
                return 0;
        }
    }

    /// <inheritdoc/>
    protected override void WriteRegister(uint offset, uint value, byte byteEnables)
    {
        switch (offset & ~(StructureBytes - 1))
        {
            case RegisterMap.Bar.VirtioCommon:
                WriteCommon(offset, value, Mask(byteEnables));
                break;
            case RegisterMap.Bar.VirtioDevice:
                uint at = offset - RegisterMap.Bar.VirtioDevice;
                if (at < DeviceConfigBytes)
                {
                    int first = BitOperations.TrailingZeroCount((uint)byteEnables);
                    int size = BitOperations.Log2((uint)byteEnables) - first + 1;
                    events.ConfigWrite(Number, at + (uint)first, (uint)size, (value & Mask(byteEnables)) >> (8 * first));
                }

                break;
            case RegisterMap.Bar.VirtioNotify:
                uint queue = (offset - RegisterMap.Bar.VirtioNotify) / 4;
                if (queue < numQueues)
                {
                    events.Notify(Number, (int)queue, value & Mask(byteEnables));
                }

                break;
        }
    }

    /// <inheritdoc/>
    protected override uint ReadVendorCapability(int offset, byte byteEnables) => offset switch
    {
        0x90 => Vendor | (0xA0 << 8) | CapabilityLength | (1u << 24),
        0x98 => RegisterMap.Bar.VirtioCommon,
        0x9C => 0x3C,
        0xA0 => Vendor | (0xB4 << 8) | LongCapabilityLength | (2u << 24),
        0xA8 => RegisterMap.Bar.VirtioNotify,
        0xAC => 4 * (uint)queues.Length,
        0xB0 => 4,
        0xB4 => Vendor | (0xC4 << 8) | CapabilityLength | (3u << 24),
        0xBC => RegisterMap.Bar.VirtioIsr,
        0xC0 => 1,
        0xC4 => Vendor | (0xD4 << 8) | CapabilityLength | (4u << 24),
        0xCC => RegisterMap.Bar.VirtioDevice,
        0xD0 => DeviceConfigBytes,
        0xD4 => Vendor | LongCapabilityLength | (5u << 24),
        0xD8 => accessBar,
        0xDC => accessOffset,
        0xE0 => accessLength,
        0xE4 => ReadThroughConfiguration(byteEnables),
        _ => 0,
    };

    /// <inheritdoc/>
    protected override void WriteVendorCapability(int offset, uint value, byte byteEnables)
    {
        uint mask = Mask(byteEnables);
        switch (offset)
        {
            case 0xD8:
                Merge(ref accessBar, value, mask & 0xFF);
                break;
            case 0xDC:
                Merge(ref accessOffset, value, mask);
                break;
            case 0xE0:
                Merge(ref accessLength, value, mask);
                break;
            case 0xE4:
                byte enables = AccessEnables(byteEnables);
                WriteBar(0, accessOffset & ~3u, value << (int)(8 * (accessOffset & 3)), enables);
                break;
        }
    }

    /// <inheritdoc/>
    protected override void ResetFunction()
    {
        ClearAccess();
        events.Flr(0, Number);
        ResetDevice();
    }

    private void ClearAccess()
    {
        accessBar = 0;
        accessOffset = 0;
        accessLength = 0;
    }

    private uint ReadThroughConfiguration(byte byteEnables)
    {
        byte enables = AccessEnables(0xF);
        if (enables == 0 || byteEnables == 0)
        {
            return 0;
        }

        uint value = ReadBar(0, accessOffset & ~3u, enables) & Mask(enables);
        return value >> (int)(8 * (accessOffset & 3));
    }

    /// <summary>Byte enables in BAR0 of an access to pci_cfg_data; 0 where the fields of the capability ask for none (4.1.4.9).</summary>
    private byte AccessEnables(byte byteEnables)
    {
        if (accessBar != 0 || accessLength is not (1 or 2 or 4) || (accessOffset & (accessLength - 1)) != 0 || accessOffset >= Bar0Bytes)
        {
            return 0;
        }

        uint wanted = (1u << (int)accessLength) - 1;
        return (byte)((wanted & byteEnables) << (int)(accessOffset & 3));
    }

    private uint ReadCommon(uint offset)
    {
        VirtioQueue? queue = Selected;
        switch (offset)
        {
            case 0x00:
                return deviceFeatureSelect;
            case 0x04:
                return deviceFeatureSelect < 2 ? (uint)(deviceFeatures >> (int)(32 * deviceFeatureSelect)) : 0;
            case 0x08:
                return driverFeatureSelect;
            case 0x0C:
                return driverFeatureSelect < 2 ? (uint)(driverFeatures >> (int)(32 * driverFeatureSelect)) : 0;
            case 0x10:
                return configVector | (numQueues << 16);
            case 0x14:
                return ReadStatus | (configGeneration << 8) | (queueSelect << 16);
            case 0x18:
                return queue is null ? 0 : queue.Size | (queue.Vector << 16);
            case 0x1C:
                return queue is null ? 0 : (queue.Enabled ? 1u : 0) | (queueSelect << 16);
            case >= 0x20 and < 0x38:
                return queue is null ? 0 : queue.Addresses[(offset - 0x20) / 4];
            case 0x38:
                return queue is { Resetting: true } ? 0x1_0000u : 0;
            default:
                return 0;
        }
    }

    private void WriteCommon(uint offset, uint value, uint mask)
    {
        const uint Low = 0xFFFF;
        const uint High = 0xFFFF_0000;
        VirtioQueue? queue = Selected;
        switch (offset)
        {
            case 0x00:
                Merge(ref deviceFeatureSelect, value, mask);
                break;
            case 0x08:
                Merge(ref driverFeatureSelect, value, mask);
                break;
            case 0x0C when driverFeatureSelect < 2 && (status & FeaturesOk) == 0:
                int shift = (int)(32 * driverFeatureSelect);
                driverFeatures = (driverFeatures & ~((ulong)mask << shift)) | ((ulong)(value & mask) << shift);
                break;
            case 0x10 when (mask & Low) != 0:
                Merge(ref configVector, value, mask & Low);
                configVector = Checked(configVector);
                break;
            case 0x14:
                uint select = queueSelect << 16;
                Merge(ref select, value, mask & High);
                queueSelect = select >> 16;

                // Last, because a reset forgets what is written beside it.
                if ((mask & 0xFF) != 0)
                {
                    WriteStatus(value & 0xFF);
                }

                break;
            case 0x18 when queue is not null:
                if ((mask & Low) != 0)
                {
                    uint size = queue.Size;
                    Merge(ref size, value, mask & Low);
                    bool isPacked = (status & FeaturesOk) != 0 && (driverFeatures & RingPacked) != 0;
                    if (size != 0 && size <= queue.SizeLimit && (isPacked || BitOperations.IsPow2(size)))
                    {
                        queue.WrittenSize = size;
                    }
                }

                if ((mask & High) != 0)
                {
                    uint vector = queue.Vector << 16;
                    Merge(ref vector, value, mask & High);
                    queue.Vector = Checked(vector >> 16);
                }

                break;
            case 0x1C when queue is not null && (mask & Low) != 0:
                queue.Enabled |= (value & mask & Low) == 1;
                break;
            case >= 0x20 and < 0x38 when queue is not null:
                Merge(ref queue.Addresses[(offset - 0x20) / 4], value, mask);
                break;
            case 0x38 when queue is not null && (mask & High) != 0:
                if ((value & mask) >> 16 == 1 && (status & FeaturesOk) != 0 && (driverFeatures & RingReset) != 0 && !queue.Resetting)
                {
                    queue.Resetting = true;
                    events.QueueReset(Number, (int)queueSelect);
                }

                break;
        }
    }

    private void WriteStatus(uint value)
    {
        if (resetPending)
        {
            return;
        }

        if (value == 0)
        {
            ResetDevice();
            return;
        }

        uint set = value & ~NeedsReset;
        bool accepted = (driverFeatures & ~deviceFeatures) == 0 && (driverFeatures & Version1) != 0;
        if ((set & ~status & FeaturesOk) != 0 && !accepted)
        {
            set &= ~FeaturesOk;
        }

        status |= set;
        events.Status(Number, status);
    }

    private void ResetDevice()
    {
        ForgetDriver();
        resetPending = true;
        events.Reset(Number);
    }

    private void ForgetDriver()
    {
        status = 0;
        driverFeatures = 0;
        deviceFeatureSelect = 0;
        driverFeatureSelect = 0;
        configVector = VirtioQueue.NoVector;
        queueSelect = 0;
        isr = 0;
        foreach (VirtioQueue queue in queues)
        {
            queue.Reset();
        }

        UpdateIntx();
    }

    private uint ReadIsr(byte byteEnables)
    {
        uint value = isr;
        if ((byteEnables & 1) != 0)
        {
            isr = 0;
            UpdateIntx();
        }

        return value;
    }

    private uint Checked(uint vector) => vector < Vectors ? vector : VirtioQueue.NoVector;

    private void Control(uint value)
    {
        if ((value & 2) != 0)
        {
            resetPending = false;
        }

        bool tell = false;
        if ((value & 1) != 0 && !resetPending)
        {
            status |= NeedsReset;
            tell = true;
        }

        if ((value & 4) != 0)
        {
            CountConfiguration();
            tell = true;
        }

        if (tell && (status & DriverOk) != 0)
        {
            Interrupt(ConfigurationChange);
        }
    }

    // Once for all changes between two reads of the driver: however many, the generation does not come round (4.1.4.3.1).
    private void CountConfiguration()
    {
        if (configRead)
        {
            configRead = false;
            configGeneration = (configGeneration + 1) & 0xFF;
        }
    }

    private VirtioQueue? FindQueue(uint offset, out uint register)
    {
        const uint Stride = 0x40;
        register = offset % Stride;
        uint queue = (offset - RegisterMap.Function.Queue) / Stride;
        return offset >= RegisterMap.Function.Queue && queue < queues.Length ? queues[queue] : null;
    }

    private static void WriteQueueManagement(VirtioQueue queue, uint register, uint value)
    {
        switch (register)
        {
            case RegisterMap.Queue.SizeLimit:
                queue.SizeLimit = value & 0xFFFF;
                break;
            case RegisterMap.Queue.Reset when queue.Resetting:
                queue.Reset();
                break;
        }
    }
}
