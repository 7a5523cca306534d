// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Diagnostics;
using Cosim.VfioUser;
using Cosim.Virtio;
using NUnit.Framework;

namespace Cosim.Backend.Tests;

/// <summary>
/// The back-end endpoint and its front end, played on a vfio-user socket from the test's thread: registers, mailboxes,
/// doorbells, and DMA to the pool.
/// </summary>
internal sealed class FakeFpga : IVfioUserDevice, IDisposable
{
    internal const int Devices = 2;
    internal const int QueuesPerDevice = 8;
    internal const int Deadline = 20_000;

    private const int Vectors = 1 + (Devices * QueuesPerDevice);

    private readonly EventLoop _loop = new();
    private readonly VfioUserServer _server;
    private readonly string _folder;
    private readonly byte[] _config = new byte[256];
    private readonly byte[] _registers = new byte[0x10000];
    private readonly Queue<byte[]> _posted = new();
    private readonly int[] _doorbells = new int[Devices * QueuesPerDevice];

    internal FakeFpga()
    {
        _folder = Directory.CreateTempSubdirectory("be").FullName;
        _server = new VfioUserServer(_loop, Path.Combine(_folder, "port1"), this);
        Set(_config, 0x00, 0x5101_0C05);
        Set(_config, 0x04, 0x0010_0000);
        Set(_config, 0x08, 0xFF00_0000);
        Set(_config, 0x34, 0x40);
        Set(_config, 0x40, 0x0000_4801); // some other capability first
        Set(_config, 0x48, ((Vectors - 1u) << 16) | 0x0011);
        Set(_config, 0x4C, 0x0000_0001); // table in BAR1
        Set(_config, 0x50, 0x0000_2001); // pending bits in BAR1
        Set(_registers, BackendRegisters.Id, BackendRegisters.IdValue);
        Set(_registers, BackendRegisters.Version, BackendRegisters.VersionValue);
        Set(_registers, BackendRegisters.Geometry, Devices | (QueuesPerDevice << 8));
        Set(_registers, BackendRegisters.Vectors, Vectors);
        Set(_registers, BackendRegisters.Status, 1);
    }

    internal string SocketPath => _server.SocketPath;

    internal GuestMemory Memory => _server.Memory;

    internal uint Control => Get(_registers, BackendRegisters.Control);

    /// <summary>How often CONTROL was written.</summary>
    internal int ControlWrites { get; private set; }

    /// <summary>Messages stay in the mailbox until <see cref="EmptyMailbox"/>.</summary>
    internal bool HoldsMailbox { get; set; }

    /// <summary>How often H2F_STATUS was read.</summary>
    internal int MailboxReads { get; private set; }

    /// <summary>The pool, as GET_BACKEND told it.</summary>
    internal ulong PoolIova { get; private set; }

    internal ulong PoolSize { get; private set; }

    internal bool MsixEnabled => (_config[0x4B] & 0x80) != 0;

    internal bool BusMaster => (_config[4] & 6) == 6;

    public RegionInfo GetRegion(int index) => index switch
    {
        0 => RegionInfo.ReadWrite((ulong)_registers.Length),
        1 => RegionInfo.ReadWrite(0x4000),
        VfioPci.ConfigRegionIndex => RegionInfo.ReadWrite((ulong)_config.Length),
        _ => default,
    };

    public IrqInfo GetIrq(int index) => index switch
    {
        VfioPci.IntxIrqIndex => IrqInfo.Intx,
        VfioPci.MsixIrqIndex => IrqInfo.Msix(Vectors),
        _ => default,
    };

    public void Read(in RegionAccess access)
    {
        MailboxReads += access.Region == 0 && access.Offset == BackendRegisters.H2fStatus ? 1 : 0;
        byte[] region = access.Region == 0 ? _registers : access.Region == 1 ? new byte[0x4000] : _config;
        _server.CompleteRead(access.Token, region.AsSpan((int)access.Offset, access.Count));
    }

    public void Write(in RegionAccess access, ReadOnlySpan<byte> data)
    {
        if (access.Region == VfioPci.ConfigRegionIndex)
        {
            data.CopyTo(_config.AsSpan((int)access.Offset));
        }
        else if (access.Region == 0)
        {
            WriteRegister((uint)access.Offset, BinaryPrimitives.ReadUInt32LittleEndian(data));
        }

        _server.CompleteWrite(access.Token);
    }

    public void Reset(RequestToken token) => _server.CompleteReset(token);

    public void DmaUnmapping(DmaRange range, RequestToken token) => _server.CompleteUnmap(token);

    public void Dispose()
    {
        _server.Dispose();
        _loop.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    /// <summary>Runs the FPGA until a condition holds.</summary>
    internal void RunUntil(Func<bool> condition, string what, int deadline = Deadline)
    {
        long start = Stopwatch.GetTimestamp();
        while (!condition())
        {
            if (Stopwatch.GetElapsedTime(start).TotalMilliseconds > deadline)
            {
                Assert.Fail($"In {deadline} ms this did not happen: {what}.");
            }

            _loop.RunOnce(100);
        }
    }

    /// <summary>Serves whatever host 2 asks, for a while in which nothing is expected to happen.</summary>
    internal void RunFor(int milliseconds)
    {
        long start = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(start).TotalMilliseconds < milliseconds)
        {
            _loop.RunOnce(5);
        }
    }

    /// <summary>Waits for CONTROL = 1 and learns the pool.</summary>
    internal void Open()
    {
        RunUntil(() => Control == 1, "CONTROL = 1");
        byte[] backend = Ask(MailboxRequest.GetBackend);
        Assert.That(backend, Has.Length.EqualTo(24));
        PoolIova = BinaryPrimitives.ReadUInt64LittleEndian(backend.AsSpan(8));
        PoolSize = BinaryPrimitives.ReadUInt64LittleEndian(backend.AsSpan(16));
    }

    /// <summary>Sends a request and gives the payload of its reply.</summary>
    internal byte[] Ask(MailboxRequest request, uint device = 0, byte[]? payload = null)
    {
        Send(request, MailboxHeader.Version | MailboxHeader.NeedReply, device, payload ?? []);
        byte[] message = NextMessage();
        Assert.That(MailboxHeader.TryRead(message, out MailboxHeader header), Is.True);
        Assert.That((header.Request, header.Device, header.Flags), Is.EqualTo((request, device, MailboxHeader.Version | MailboxHeader.Reply)));
        Assert.That(message, Has.Length.EqualTo(MailboxHeader.Bytes + header.Size));
        return message[MailboxHeader.Bytes..];
    }

    /// <summary>Sends a request that is answered by a status, and gives that.</summary>
    internal ulong Tell(MailboxRequest request, uint device, byte[] payload)
    {
        byte[] reply = Ask(request, device, payload);
        Assert.That(reply, Has.Length.EqualTo(8));
        return BinaryPrimitives.ReadUInt64LittleEndian(reply);
    }

    internal void Send(MailboxRequest request, uint flags, uint device, byte[] payload)
    {
        new MailboxHeader(request, flags, (uint)payload.Length, device).Write(_registers.AsSpan((int)BackendRegisters.F2hData));
        payload.CopyTo(_registers.AsSpan((int)BackendRegisters.F2hData + MailboxHeader.Bytes));
        Set(_registers, BackendRegisters.F2hStatus, (uint)(MailboxHeader.Bytes + payload.Length));
        Assert.That(_server.RaiseMsix(0), Is.True, "vector 0 is armed");
        RunUntil(() => Get(_registers, BackendRegisters.F2hStatus) == 0, $"{request} is taken from the mailbox");
    }

    /// <summary>Answers a message of the back end's own.</summary>
    internal void Reply(uint request, uint device, ulong status) =>
        Send((MailboxRequest)request, MailboxHeader.Version | MailboxHeader.Reply, device, Bytes.U64(status));

    /// <summary>Empties the mailbox, and calls the back end that waits for it.</summary>
    internal void EmptyMailbox()
    {
        Set(_registers, BackendRegisters.H2fStatus, 0);
        if (Control == 3)
        {
            Assert.That(_server.RaiseMsix(0), Is.True, "vector 0 is armed");
        }
    }

    /// <summary>Raises the mailbox's vector without a message, with CONTROL and STATUS as given.</summary>
    internal void CallWithoutMessage(uint control, uint status)
    {
        Set(_registers, BackendRegisters.Control, control);
        Set(_registers, BackendRegisters.Status, status);
        Assert.That(_server.RaiseMsix(0), Is.True, "vector 0 is armed");
    }

    internal byte[] NextMessage()
    {
        RunUntil(() => _posted.Count > 0, "a message in the host-to-FPGA mailbox");
        return _posted.Dequeue();
    }

    /// <summary>Sends a message of any bytes, and takes what comes back.</summary>
    internal void SendBytes(byte[] message)
    {
        message.CopyTo(_registers.AsSpan((int)BackendRegisters.F2hData));
        ClaimMessage((uint)message.Length);
        RunUntil(() => Get(_registers, BackendRegisters.F2hStatus) == 0, "the message is taken from the mailbox");
        _posted.Clear();
    }

    /// <summary>Says that a message of so many bytes is there.</summary>
    internal void ClaimMessage(uint length)
    {
        Set(_registers, BackendRegisters.F2hStatus, length);
        Assert.That(_server.RaiseMsix(0), Is.True, "vector 0 is armed");
    }

    internal void DropMessages() => _posted.Clear();

    internal bool HasMessage => _posted.Count > 0;

    internal void Kick(int device, int queue) =>
        Assert.That(_server.RaiseMsix(1 + (device * QueuesPerDevice) + queue), Is.True);

    /// <summary>How often a queue's doorbell was rung since this was asked last.</summary>
    internal int TakeDoorbells(int device, int queue)
    {
        int count = _doorbells[(device * QueuesPerDevice) + queue];
        _doorbells[(device * QueuesPerDevice) + queue] = 0;
        return count;
    }

    private void WriteRegister(uint offset, uint value)
    {
        switch (offset)
        {
            case BackendRegisters.F2hAck:
                Set(_registers, BackendRegisters.F2hStatus, 0);
                break;
            case BackendRegisters.H2fPost:
                Assert.That(Get(_registers, BackendRegisters.H2fStatus), Is.Zero, "the mailbox is empty");
                Set(_registers, BackendRegisters.H2fStatus, HoldsMailbox ? value : 0);
                _posted.Enqueue(_registers.AsSpan((int)BackendRegisters.H2fData, (int)value).ToArray());
                break;
            case >= BackendRegisters.Doorbell and < BackendRegisters.Doorbell + (Devices * 0x400):
                uint doorbell = offset - BackendRegisters.Doorbell;
                _doorbells[(doorbell / 0x400 * QueuesPerDevice) + (doorbell % 0x400 / 4)]++;
                break;
            case BackendRegisters.Control:
                ControlWrites++;
                Set(_registers, offset, value);
                break;
            case >= BackendRegisters.H2fData and < BackendRegisters.H2fData + BackendRegisters.MailboxSize:
                Set(_registers, offset, value);
                break;
            default:
                Assert.Fail($"Host 2 wrote 0x{value:x} to 0x{offset:x}.");
                break;
        }
    }

    private static void Set(byte[] bytes, uint offset, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan((int)offset), value);

    private static uint Get(byte[] bytes, uint offset) => BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan((int)offset));
}
