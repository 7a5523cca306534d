// SPDX-License-Identifier: Apache-2.0
using Cosim.Pcie;

namespace Cosim.Fpga.Tests.Driver;

/// <summary>A driver's first half for one function: places the BARs, walks the capabilities, negotiates and sets up queues (virtio 1.3, 3.1.1 and 4.1).</summary>
internal sealed class VirtioDriver
{
    public const ulong Version1 = 1ul << 32;
    public const ulong RingReset = 1ul << 40;

    // Offsets in the common configuration structure (4.1.4.3).
    public const uint DeviceFeatureSelect = 0x00;
    public const uint DeviceFeature = 0x04;
    public const uint DriverFeatureSelect = 0x08;
    public const uint DriverFeature = 0x0C;
    public const uint ConfigVector = 0x10;
    public const uint NumQueues = 0x12;
    public const uint DeviceStatus = 0x14;
    public const uint ConfigGeneration = 0x15;
    public const uint QueueSelect = 0x16;
    public const uint QueueSize = 0x18;
    public const uint QueueVector = 0x1A;
    public const uint QueueEnable = 0x1C;
    public const uint QueueNotifyOffset = 0x1E;
    public const uint QueueDesc = 0x20;
    public const uint QueueReset = 0x3A;

    private readonly PortDriver ports;
    private readonly int function;

    public VirtioDriver(PortDriver ports, int function)
    {
        this.ports = ports;
        this.function = function;
        Bar0 = 0xC000_0000 + ((uint)function * 0x10_0000);
        Bar1 = Bar0 + 0x8_0000;
    }

    public uint Bar0 { get; }

    public uint Bar1 { get; }

    /// <summary>What the scheduler does before a guest sees the function: ids, features, queue limits.</summary>
    public VirtioDriver Describe(ulong features, uint limit = 256)
    {
        ports.WriteRegister(PortDriver.FunctionRegister(function, RegisterMap.Function.PciId), 0x1042_1AF4);
        ports.WriteRegister(PortDriver.FunctionRegister(function, RegisterMap.Function.ClassRevision), 0x0180_0001);
        ports.WriteRegister(PortDriver.FunctionRegister(function, RegisterMap.Function.Subsystem), 0x1100_1AF4);
        ports.WriteRegister(PortDriver.FunctionRegister(function, RegisterMap.Function.DeviceFeaturesLo), (uint)features);
        ports.WriteRegister(PortDriver.FunctionRegister(function, RegisterMap.Function.DeviceFeaturesHi), (uint)(features >> 32));
        for (int queue = 0; queue < 4; queue++)
        {
            ports.WriteRegister(PortDriver.QueueRegister(function, queue, RegisterMap.Queue.SizeLimit), limit);
        }

        ports.Settle();
        return this;
    }

    /// <summary>Places the BARs and switches the function on.</summary>
    public VirtioDriver Enable()
    {
        ports.ConfigWrite(0, function, 0x10, Bar0);
        ports.ConfigWrite(0, function, 0x14, Bar1);
        ports.ConfigWrite(0, function, 0x04, 0x0006, 0b0011);
        return this;
    }

    public uint Common(uint offset, int size) => ports.Read(0, Bar0 + offset, size);

    public void SetCommon(uint offset, uint value, int size) => ports.Write(0, Bar0 + offset, value, size);

    public uint Status
    {
        get => Common(DeviceStatus, 1);
        set => SetCommon(DeviceStatus, value, 1);
    }

    /// <summary>Reads a queue's field.</summary>
    public uint Queue(int queue, uint offset, int size)
    {
        SetCommon(QueueSelect, (uint)queue, 2);
        return Common(offset, size);
    }

    public void SetQueue(int queue, uint offset, uint value, int size)
    {
        SetCommon(QueueSelect, (uint)queue, 2);
        SetCommon(offset, value, size);
    }

    public void AcceptFeatures(ulong features)
    {
        SetCommon(DriverFeatureSelect, 0, 4);
        SetCommon(DriverFeature, (uint)features, 4);
        SetCommon(DriverFeatureSelect, 1, 4);
        SetCommon(DriverFeature, (uint)(features >> 32), 4);
    }

    /// <summary>The whole initialisation: ACKNOWLEDGE, DRIVER, features, queue 0 and DRIVER_OK; its events are dropped.</summary>
    public VirtioDriver Start(ulong features = Version1)
    {
        Describe(features);
        Enable();
        Status = 1;
        Status = 3;
        AcceptFeatures(features);
        Status = 11;
        Assert.That(Status, Is.EqualTo(11), "FEATURES_OK");
        SetQueue(0, QueueEnable, 1, 2);
        Status = 15;
        ports.Settle();
        ports.Events.Clear();
        return this;
    }

    public void Notify(int queue, uint value, int size = 2) => ports.Write(0, Bar0 + RegisterMap.Bar.VirtioNotify + ((uint)queue * 4), value, size);

    /// <summary>Fills a vector's table entry: address 0xFEE00000, the given data.</summary>
    public void SetVector(int vector, uint data, bool masked)
    {
        uint entry = Bar1 + ((uint)vector * 16);
        ports.Write(0, entry, (uint)PortDriver.MessageBase, 4);
        ports.Write(0, entry + 4, 0, 4);
        ports.Write(0, entry + 8, data, 4);
        ports.Write(0, entry + 12, masked ? 1u : 0, 4);
    }

    /// <summary>Writes MSI-X Enable and Function Mask.</summary>
    public void SetMsix(bool enable, bool functionMask = false)
    {
        uint control = (enable ? 0x8000_0000u : 0) | (functionMask ? 0x4000_0000u : 0);
        Assert.That(ports.ConfigWrite(0, function, 0x80, control, 0b1100).Status, Is.EqualTo(CompletionStatus.SuccessfulCompletion));
    }
}
