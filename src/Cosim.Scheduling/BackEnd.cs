// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Virtio;

namespace Cosim.Scheduling;

/// <summary>What a back end says of one of its devices (GET_DEVICE, GET_FEATURES and GET_CONFIG).</summary>
/// <param name="DeviceId">Virtio device type.</param>
/// <param name="Queues">Number of queues.</param>
/// <param name="ClassRevision">PCI class code in 31:8, revision in 7:0.</param>
/// <param name="Subsystem">Subsystem vendor in 15:0, subsystem in 31:16.</param>
/// <param name="QueueSizeLimit">Greatest queue size.</param>
/// <param name="Features">Feature bits.</param>
/// <param name="HasState">It gives the front end its state to keep, and takes it again.</param>
/// <param name="Configuration">Device configuration space.</param>
internal sealed record BackEndDevice(
    VirtioDeviceId DeviceId, int Queues, uint ClassRevision, uint Subsystem, uint QueueSizeLimit, ulong Features, bool HasState, byte[] Configuration);

/// <summary>A session with host 2's software: what it serves and the pool it lends (<c>hdl/BACKEND.md</c>, "Life of a back end").</summary>
internal sealed class BackEnd
{
    /// <summary>VHOST_SET_CONFIG_TYPE_FRONTEND: the driver has written.</summary>
    public const uint ByTheDriver = 0;

    /// <summary>VHOST_SET_CONFIG_TYPE_MIGRATION: the driver had written, when another back end served it.</summary>
    public const uint ByTheFrontEnd = 1;

    // The allocator's own memory grows with the pool: what is lent beyond this is left alone.
    private const ulong MostPoolUsed = 1UL << 30;

    private readonly PoolShare[] _shares;

    private BackEnd(BackEndLink link, BufferPool pool, BackEndDevice[] devices)
    {
        Link = link;
        Pool = pool;
        Devices = devices;
        _shares = [.. devices.Select(_ => new PoolShare(pool, pool.Free / (ulong)devices.Length))];
    }

    public BackEndLink Link { get; }

    public BufferPool Pool { get; }

    public IReadOnlyList<BackEndDevice> Devices { get; }

    /// <summary>What a device's queue takes its buffers from.</summary>
    public QueueShare Share(int device) => new(_shares[device]);

    /// <summary>Step 2 of a back end's life: asks for everything that has to be known before host 1's link comes up.</summary>
    /// <param name="link">Mailboxes.</param>
    /// <param name="functions">Virtio functions of the FPGA; the back end may serve fewer.</param>
    /// <param name="queuesPerFunction">Queues of each function.</param>
    /// <exception cref="BackEndException">The back end is lost or says something that cannot be served.</exception>
    public static async Task<BackEnd> Open(BackEndLink link, int functions, int queuesPerFunction)
    {
        byte[] backEnd = await link.Request(0, MailboxRequest.GetBackend, [], 24);
        uint version = U32(backEnd, 0);
        uint count = U32(backEnd, 4);
        ulong address = U64(backEnd, 8);
        ulong size = U64(backEnd, 16);
        if (version != 1)
        {
            throw new BackEndException($"the back end speaks version {version} of the protocol; expected 1");
        }

        if (count == 0 || count > (uint)functions)
        {
            throw new BackEndException($"the back end serves {count} devices; the FPGA has {functions} functions");
        }

        if (address % 4096 != 0 || size < 1 << 20 || size > 1UL << 34 || address + size < address)
        {
            throw new BackEndException($"the back end lends a pool of 0x{size:X} bytes at IOVA 0x{address:X}; expected 4 KiB alignment and 1 MiB to 16 GiB");
        }

        BackEndDevice[] devices = new BackEndDevice[count];
        for (int i = 0; i < devices.Length; i++)
        {
            devices[i] = await OpenDevice(link, i, queuesPerFunction);
        }

        byte[] table = new byte[40];
        BinaryPrimitives.WriteUInt32LittleEndian(table, 1);
        BinaryPrimitives.WriteUInt64LittleEndian(table.AsSpan(8), address);
        BinaryPrimitives.WriteUInt64LittleEndian(table.AsSpan(16), size);
        BinaryPrimitives.WriteUInt64LittleEndian(table.AsSpan(24), address);
        for (int i = 0; i < devices.Length; i++)
        {
            await link.Command(i, MailboxRequest.SetMemTable, table);
        }

        return new BackEnd(link, new BufferPool(address, Math.Min(size, MostPoolUsed)), devices);
    }

    /// <summary>Tells why this back end cannot go on for <paramref name="former"/>, or null if it can.</summary>
    /// <param name="index">Device number.</param>
    /// <param name="former">What the function was set up with.</param>
    /// <param name="negotiated">Features that the driver has accepted.</param>
    public string? Mismatch(int index, BackEndDevice former, ulong negotiated)
    {
        if (index >= Devices.Count)
        {
            return $"the new back end does not serve device {index}";
        }

        BackEndDevice device = Devices[index];
        if (device.DeviceId != former.DeviceId)
        {
            return $"the new back end's device {index} is a {device.DeviceId}; it was a {former.DeviceId}";
        }

        if (device.Queues < former.Queues)
        {
            return $"the new back end's device {index} has {device.Queues} queues; it had {former.Queues}";
        }

        if (device.Configuration.Length < former.Configuration.Length)
        {
            return $"the new back end's device {index} has a configuration space of {device.Configuration.Length} bytes; it had {former.Configuration.Length}";
        }

        ulong missing = VirtioFeatures.DeviceType(negotiated) & ~device.Features;
        return missing != 0 ? $"the new back end's device {index} lacks the negotiated features 0x{missing:X}" : null;
    }

    private static async Task<BackEndDevice> OpenDevice(BackEndLink link, int device, int queuesPerFunction)
    {
        byte[] about = await link.Request(device, MailboxRequest.GetDevice, [], 20);
        ushort type = BinaryPrimitives.ReadUInt16LittleEndian(about);
        ushort queues = BinaryPrimitives.ReadUInt16LittleEndian(about.AsSpan(2));
        uint queueSize = U32(about, 12);
        uint configurationSize = U32(about, 16);
        if (type is 0 or > 0x3F)
        {
            throw new BackEndException($"device {device} is of type {type}; expected a virtio device id from 1 to 63");
        }

        if (queues == 0 || queues > queuesPerFunction)
        {
            throw new BackEndException($"device {device} has {queues} queues; the FPGA has {queuesPerFunction} per function");
        }

        if (queueSize < 2 || queueSize > 32768 || (queueSize & (queueSize - 1)) != 0)
        {
            throw new BackEndException($"device {device} has queues of {queueSize} entries; expected a power of two from 2 to 32768");
        }

        if (configurationSize > 256)
        {
            throw new BackEndException($"device {device} has a configuration space of {configurationSize} bytes; expected at most 256");
        }

        await link.Command(device, MailboxRequest.SetOwner, []);
        ulong features = U64(await link.Request(device, MailboxRequest.GetFeatures, [], 8), 0);
        if ((features & VirtioFeatures.Version1) == 0 || (features & VirtioFeatures.VhostUserProtocolFeatures) == 0)
        {
            throw new BackEndException($"device {device} offers features 0x{features:X}; VERSION_1 (32) and PROTOCOL_FEATURES (30) are needed");
        }

        ulong protocol = U64(await link.Request(device, MailboxRequest.GetProtocolFeatures, [], 8), 0);
        if ((protocol & VhostUserProtocolFeatures.Required) != VhostUserProtocolFeatures.Required)
        {
            throw new BackEndException($"device {device} has protocol features 0x{protocol:X}; needed are 0x{VhostUserProtocolFeatures.Required:X}");
        }

        await link.Command(device, MailboxRequest.SetProtocolFeatures, U64(protocol & (VhostUserProtocolFeatures.Required | VhostUserProtocolFeatures.DeviceState)));
        bool hasState = (protocol & VhostUserProtocolFeatures.DeviceState) != 0;
        byte[] configuration = await ReadConfiguration(link, device, (int)configurationSize);
        return new BackEndDevice((VirtioDeviceId)type, queues, U32(about, 4), U32(about, 8), queueSize, features, hasState, configuration);
    }

    /// <summary>Reads a device's configuration space (GET_CONFIG).</summary>
    public static async Task<byte[]> ReadConfiguration(BackEndLink link, int device, int size)
    {
        if (size == 0)
        {
            return [];
        }

        byte[] reply = await link.Request(device, MailboxRequest.GetConfig, ConfigurationPayload(0, new byte[size]), 12 + size);
        return reply[12..];
    }

    /// <summary>Payload of GET_CONFIG and SET_CONFIG.</summary>
    public static byte[] ConfigurationPayload(uint offset, ReadOnlySpan<byte> bytes, uint flags = 0)
    {
        byte[] payload = new byte[12 + bytes.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(payload, offset);
        BinaryPrimitives.WriteUInt32LittleEndian(payload.AsSpan(4), (uint)bytes.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(payload.AsSpan(8), flags);
        bytes.CopyTo(payload.AsSpan(12));
        return payload;
    }

    /// <summary>Payload of messages that carry a u64.</summary>
    public static byte[] U64(ulong value)
    {
        byte[] payload = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(payload, value);
        return payload;
    }

    private static uint U32(byte[] bytes, int offset) => BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(offset));

    private static ulong U64(byte[] bytes, int offset) => BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(offset));
}
