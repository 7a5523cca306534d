// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Scheduling;
using Cosim.Virtio;

namespace Cosim.Fuzzing.Targets;

/// <summary>Host 2's software (<c>hdl/BACKEND.md</c>): serves every ring by echoing what it reads, but for what it is told to do wrong.</summary>
internal sealed class HostileBackEnd
{
    public const ulong PoolAddress = 0x10_0000;
    public const ulong PoolBytes = 1 << 20;

    private const int Devices = 2;
    private const int MailboxBytes = 1024;
    private const int ConfigurationBytes = 24;

    private readonly PlayedHost _host;
    private readonly Ring[] _rings = new Ring[Devices * HostileDriver.Queues];
    private readonly byte[] _message = new byte[MailboxBytes];
    private readonly byte[] _reply = new byte[MailboxBytes];
    private readonly int[] _tags = new int[MailboxBytes / 4];

    public HostileBackEnd(PlayedHost host) => _host = host;

    private struct Ring
    {
        public ushort Size;
        public SplitVirtqueue Layout;
        public bool Enabled;
        public ushort Available;
        public ushort Used;
    }

    /// <summary>BARs, Command and vectors are set.</summary>
    public bool IsConfigured { get; set; }

    /// <summary>All that opens a session was answered, and nothing has ended it since.</summary>
    public bool IsOpen { get; private set; }

    /// <summary>How the next reply is wrong: 0 not at all, 1 none comes, 2 an error, 3 too short, 4 too long, 5 of another request, 6 of another device, 7 garbage.</summary>
    public int Fault { get; set; }

    public void Configure(SteppedBridge bridge)
    {
        bridge.Complete(async b =>
        {
            _ = await b.Bridge.WriteConfig(1, 0, 0x10, BitConverter.GetBytes(PlayedHost.FirstBar));
            _ = await b.Bridge.WriteConfig(1, 0, 0x14, BitConverter.GetBytes(PlayedHost.FirstBar + 0x1_0000));
            _ = await b.Bridge.WriteConfig(1, 0, 0x04, [0x06, 0x00]);
            await b.Bridge.ArmVectors(1, 0, 0, 1 + (Devices * HostileDriver.Queues));
        });
        IsConfigured = true;
    }

    /// <summary>The FPGA is reset: nothing that was agreed holds.</summary>
    public void Forget()
    {
        IsOpen = false;
        Array.Clear(_rings);
        _host.Raised = 0;
    }

    /// <summary>Begins a session.</summary>
    public void Announce()
    {
        WriteControl(0);
        _host.Run();
        Forget();
        WriteControl(1);
    }

    public void WriteControl(uint value)
    {
        // A 1 begins a session and anything else ends it, but a 3 in one, which asks for a call once the mailbox is empty.
        const uint readyAndWaiting = 3;
        if (!IsOpen || value != readyAndWaiting)
        {
            Forget();
        }

        Write(RegisterMap.BackEnd.Control, value);
    }

    public void Call(int device, int queue) => Write(RegisterMap.BackEnd.Doorbell + ((uint)device * 0x400) + ((uint)queue * 4), 0);

    /// <summary>Posts a message of its own, right or wrong.</summary>
    public void Post(ReadOnlySpan<byte> message)
    {
        int length = Math.Min(message.Length, 64);
        Span<byte> word = stackalloc byte[4];
        for (int at = 0; at < length; at += 4)
        {
            word.Clear();
            message[at..Math.Min(length, at + 4)].CopyTo(word);
            Write(RegisterMap.BackEnd.H2fData + (uint)at, BinaryPrimitives.ReadUInt32LittleEndian(word));
        }

        Write(RegisterMap.BackEnd.H2fPost, (uint)length);
    }

    /// <summary>Writes a used element of function 0 and rings.</summary>
    public void PushUsed(int queue, uint id, uint length, ushort count)
    {
        ref Ring ring = ref RingOf(0, queue);
        if (ring.Enabled)
        {
            PutUsed(ref ring, id, length, count);
        }

        Call(0, queue);
    }

    /// <summary>Does what interrupts ask for; false: there was none.</summary>
    public bool Act()
    {
        ulong raised = _host.Raised;
        _host.Raised = 0;
        if (raised == 0)
        {
            return false;
        }

        if ((raised & 1) != 0)
        {
            ReadMailbox();
        }

        for (int device = 0; device < Devices; device++)
        {
            for (int queue = 0; queue < HostileDriver.Queues; queue++)
            {
                if ((raised & (2UL << ((device * HostileDriver.Queues) + queue))) != 0)
                {
                    Serve(device, queue);
                }
            }
        }

        return true;
    }

    private static uint U32(ReadOnlySpan<byte> bytes, int offset) => offset + 4 <= bytes.Length ? BinaryPrimitives.ReadUInt32LittleEndian(bytes[offset..]) : 0;

    private static ulong U64(ReadOnlySpan<byte> bytes, int offset) => U32(bytes, offset) | ((ulong)U32(bytes, offset + 4) << 32);

    private ref Ring RingOf(int device, int queue) => ref _rings[(device * HostileDriver.Queues) + queue];

    private void Write(uint offset, uint value) => _host.Write(PlayedHost.FirstBar + offset, 4, value);

    private uint Read(uint offset)
    {
        int tag = _host.Read(PlayedHost.FirstBar + offset, 4);
        _host.Run();
        return _host.Answer(tag) ?? uint.MaxValue;
    }

    private void PutUsed(ref Ring ring, uint id, uint length, ushort count)
    {
        Span<byte> element = _host.Memory[(int)ring.Layout.UsedElement(ring.Used)..];
        BinaryPrimitives.WriteUInt32LittleEndian(element, id);
        BinaryPrimitives.WriteUInt32LittleEndian(element[4..], length);
        ring.Used += count;
        BinaryPrimitives.WriteUInt16LittleEndian(_host.Memory[(int)ring.Layout.UsedIndex..], ring.Used);
    }

    private void Serve(int device, int queue)
    {
        ref Ring ring = ref RingOf(device, queue);
        if (!ring.Enabled)
        {
            return;
        }

        Span<byte> memory = _host.Memory;
        ushort index = BinaryPrimitives.ReadUInt16LittleEndian(memory[(int)ring.Layout.AvailableIndex..]);
        bool any = ring.Available != index;
        for (int most = ring.Size; ring.Available != index && most > 0; most--)
        {
            ushort head = BinaryPrimitives.ReadUInt16LittleEndian(memory[(int)ring.Layout.AvailableEntry(ring.Available)..]);
            ring.Available++;
            Descriptor first = Descriptor.Read(memory[(int)ring.Layout.DescriptorAddress(head)..]);
            Descriptor second = (first.Flags & DescriptorFlags.Next) != 0 ? Descriptor.Read(memory[(int)ring.Layout.DescriptorAddress(first.Next)..]) : default;
            (Descriptor read, Descriptor written) = (first.Flags & DescriptorFlags.Write) != 0 ? (default, first) : (first, second);
            int length = (int)written.Length;
            if (length > 0)
            {
                Span<byte> answer = memory.Slice((int)written.Address, length);
                int echo = Math.Min(length, (int)read.Length);
                memory.Slice((int)read.Address, echo).CopyTo(answer);
                answer[echo..].Fill(0x5A);
            }

            PutUsed(ref ring, head, written.Length, 1);
        }

        if (any)
        {
            Call(device, queue);
        }
    }

    private void ReadMailbox()
    {
        uint length = Read(RegisterMap.BackEnd.F2hStatus);
        if (length is 0 or > MailboxBytes)
        {
            if (length == 0 && (Read(RegisterMap.BackEnd.Status) & 1) == 0)
            {
                IsOpen = false;
            }

            return;
        }

        int words = (int)(length + 3) / 4;
        for (int i = 0; i < words; i++)
        {
            _tags[i] = _host.Read(PlayedHost.FirstBar + RegisterMap.BackEnd.F2hData + ((uint)i * 4), 4);
            if (i % 128 == 127)
            {
                _host.Run();
            }
        }

        _host.Run();
        for (int i = 0; i < words; i++)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(_message.AsSpan(4 * i), _host.Answer(_tags[i]) ?? 0);
        }

        Write(RegisterMap.BackEnd.F2hAck, 1);
        if (!MailboxHeader.TryRead(_message.AsSpan(0, (int)length), out MailboxHeader header))
        {
            throw new FindingException("the front end sends a message with a bad header");
        }

        int size = Answer(header, _message.AsSpan(MailboxHeader.Bytes, (int)header.Size), _reply.AsSpan(MailboxHeader.Bytes));
        SendReply(header, size);
    }

    private void SendReply(MailboxHeader header, int size)
    {
        int fault = Fault;
        Fault = 0;
        header = header with { Flags = MailboxHeader.Version | MailboxHeader.Reply };
        switch (fault)
        {
            case 1:
                return;
            case 2:
                size = 8;
                BinaryPrimitives.WriteUInt64LittleEndian(_reply.AsSpan(MailboxHeader.Bytes), 22);
                break;
            case 3:
                size = Math.Max(0, size - 4);
                break;
            case 4:
                size += 4;
                break;
            case 5:
                header = header with { Request = header.Request + 1 };
                break;
            case 6:
                header = header with { Device = header.Device + 1 };
                break;
            case 7:
                header = header with { Flags = 0xFFFF_FFFF };
                break;
            default:
                break;
        }

        (header with { Size = (uint)size }).Write(_reply);
        for (int at = 0; at < MailboxHeader.Bytes + size; at += 4)
        {
            Write(RegisterMap.BackEnd.H2fData + (uint)at, U32(_reply, at));
        }

        Write(RegisterMap.BackEnd.H2fPost, (uint)(MailboxHeader.Bytes + size));
    }

    // Payload of the reply to a request, and its size.
    private int Answer(in MailboxHeader header, ReadOnlySpan<byte> payload, Span<byte> reply)
    {
        reply[..64].Clear();
        int device = (int)header.Device;
        if (device >= Devices)
        {
            throw new FindingException($"the front end asks for device {device}");
        }

        uint index = U32(payload, 0);
        ref Ring ring = ref RingOf(device, (int)(index % HostileDriver.Queues));
        switch (header.Request)
        {
            case MailboxRequest.GetBackend:
                BinaryPrimitives.WriteUInt32LittleEndian(reply, 1);
                BinaryPrimitives.WriteUInt32LittleEndian(reply[4..], Devices);
                BinaryPrimitives.WriteUInt64LittleEndian(reply[8..], PoolAddress);
                BinaryPrimitives.WriteUInt64LittleEndian(reply[16..], PoolBytes);
                return 24;
            case MailboxRequest.GetDevice:
                BinaryPrimitives.WriteUInt16LittleEndian(reply, (ushort)VirtioDeviceId.Block);
                BinaryPrimitives.WriteUInt16LittleEndian(reply[2..], HostileDriver.Queues);
                BinaryPrimitives.WriteUInt32LittleEndian(reply[12..], 256);
                BinaryPrimitives.WriteUInt32LittleEndian(reply[16..], ConfigurationBytes);
                return 20;
            case MailboxRequest.GetFeatures:
                BinaryPrimitives.WriteUInt64LittleEndian(reply, VirtioFeatures.Version1 | VirtioFeatures.VhostUserProtocolFeatures);
                return 8;
            case MailboxRequest.GetProtocolFeatures:
                BinaryPrimitives.WriteUInt64LittleEndian(reply, VhostUserProtocolFeatures.Required);
                return 8;
            case MailboxRequest.GetConfig:
                payload[..12].CopyTo(reply);
                reply.Slice(12, (int)Math.Min(U32(payload, 4), 256)).Fill(0x33);
                return 12 + (int)Math.Min(U32(payload, 4), 256);
            case MailboxRequest.SetMemTable:
                IsOpen = device == Devices - 1;
                return 8;
            case MailboxRequest.SetVringNum:
                ring = new Ring { Size = (ushort)U32(payload, 4) };
                return 8;
            case MailboxRequest.SetVringAddr:
                ring.Layout = new SplitVirtqueue(ring.Size, U64(payload, 8), U64(payload, 24), U64(payload, 16));
                if (!IsInPool(ring.Layout))
                {
                    throw new FindingException("a ring lies outside of the pool");
                }

                return 8;
            case MailboxRequest.SetVringEnable:
                ring.Enabled = U32(payload, 4) != 0 && ring.Size != 0;
                if (ring.Enabled)
                {
                    // The first look, as for a kick.
                    _host.Raised |= 2UL << ((device * HostileDriver.Queues) + (int)(index % HostileDriver.Queues));
                }

                return 8;
            case MailboxRequest.GetVringBase:
                BinaryPrimitives.WriteUInt32LittleEndian(reply, index);
                BinaryPrimitives.WriteUInt32LittleEndian(reply[4..], ring.Available);
                ring.Enabled = false;
                return 8;
            default:
                return 8;
        }
    }

    private static bool IsInPool(in SplitVirtqueue ring)
    {
        static bool Inside(ulong address, int length) => address >= PoolAddress && address + (uint)length <= PoolAddress + PoolBytes;
        return ring.Size != 0 && Inside(ring.DescriptorTable, SplitVirtqueue.DescriptorTableBytes(ring.Size))
            && Inside(ring.Available, SplitVirtqueue.AvailableBytes(ring.Size)) && Inside(ring.Used, SplitVirtqueue.UsedBytes(ring.Size));
    }
}
