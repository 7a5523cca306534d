// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Collections.Concurrent;
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>One chain as the back end sees it.</summary>
public sealed record MockRequest(ushort Queue, ushort Head, byte[] Readable, ulong Writable, uint WritableLength);

/// <summary>
/// Host 2's software as a test wants it (hdl/BACKEND.md): two devices with eight queues unless asked otherwise. <see cref="Serve"/> says what becomes of a
/// chain; unless it is set, a chain's readable bytes are inverted into its writable ones.
/// </summary>
public sealed class MockBackEnd : IAsyncDisposable
{
    public const ulong Pool = 1 << 20;
    public const ulong PoolSize = 4 << 20;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);

    private readonly Bridge _bridge;
    private readonly CancellationTokenSource _stop = new();
    private readonly SemaphoreSlim _mailbox = new(1);
    private bool _disposed;
    private readonly Dictionary<(uint Device, uint Queue), Ring> _rings = [];
    private readonly DeviceStateParts _state = new();
    private Task _loop = Task.CompletedTask;

    public MockBackEnd(Bridge bridge) => _bridge = bridge;

    public Bridge Bridge => _bridge;

    public ulong Features { get; set; } = VirtioFeatures.Version1 | VirtioFeatures.VhostUserProtocolFeatures | VirtioFeatures.RingEventIdx | 0x20;

    public ulong ProtocolFeatures { get; set; } = VhostUserProtocolFeatures.Required;

    public ulong OfferedPool { get; set; } = Pool;

    public ulong OfferedPoolSize { get; set; } = PoolSize;

    /// <summary>Queues of each device, as many as the FPGA has for a function.</summary>
    public ushort Queues { get; init; } = 8;

    public uint QueueSizeLimit { get; set; } = 256;

    /// <summary>The doorbell is rung for each chain, not for all that a kick found.</summary>
    public bool CallsForEach { get; set; }

    /// <summary>All chains are used at once, unread, with no byte written.</summary>
    public bool UsesUnread { get; set; }

    public VirtioDeviceId DeviceId { get; set; } = VirtioDeviceId.Block;

    public ConcurrentQueue<MailboxRequest> Requests { get; } = new();

    public bool Mute { get; set; }

    /// <summary>A payload in place of the right one, or null.</summary>
    public Func<MailboxHeader, byte[]?>? AnswerInstead { get; set; }

    /// <summary>Waited for before a request is answered.</summary>
    public Task MayAnswer { get; set; } = Task.CompletedTask;

    public bool Reannounces { get; set; }

    public bool RefusesConfigurationWrites { get; set; }

    public bool RefusesState { get; set; }

    /// <summary>The state that it got back last.</summary>
    public byte[]? RestoredState { get; private set; }

    /// <summary>What its own messages were answered.</summary>
    public IList<(uint Request, uint Device, ulong Status)> Replies { get; } = [];

    /// <summary>How often it was called without a message.</summary>
    public int EmptyCalls { get; private set; }

    /// <summary>What becomes of a chain: bytes for the writable part, or null to keep the chain.</summary>
    public Func<MockRequest, byte[]?>? Serve { get; set; }

    /// <summary>Every ring that was ever set up.</summary>
    public IList<SplitVirtqueue> Layouts { get; } = [];

    public ulong LastSetFeatures { get; private set; }

    /// <summary>Flags of the last SET_CONFIG.</summary>
    public uint LastSetConfigFlags { get; private set; }

    /// <summary>Bytes of <see cref="Configuration"/> that are offered.</summary>
    public uint ConfigurationSize { get; set; } = 60;

    public byte[] Configuration { get; } = [.. Enumerable.Range(0, 60).Select(i => (byte)i)];

    /// <summary>Starts the session and waits until the link is up.</summary>
    public async Task Start()
    {
        await Announce();
        while (_bridge.State != BridgeState.LinkUp)
        {
            _ = await ReadBar(RegisterMap.BackEnd.Status);
        }
    }

    /// <summary>The program ends and another one takes its place, told by <paramref name="asNew"/> what is different with it; it announces itself.</summary>
    public async Task Replace(Action<MockBackEnd> asNew)
    {
        Die();
        await WriteBar(RegisterMap.BackEnd.Control, 0);
        asNew(this);
        Requests.Clear();
        await Announce();
    }

    /// <summary>Waits until it has been told all that comes before it serves, since <see cref="Requests"/> were cleared.</summary>
    public Task Serving() => WaitFor(() => Requests.Contains(MailboxRequest.SetStatus));

    public async Task Announce()
    {
        _ = await _bridge.WriteConfig(1, 0, 0x04, [0x06, 0x00]);
        await _bridge.ArmVectors(1, 0, 0, 1 + (2 * Queues));
        await WriteBar(RegisterMap.BackEnd.Control, 1);
        if (_loop.IsCompleted)
        {
            _loop = Run();
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        await _stop.CancelAsync();
        try
        {
            await _loop.WaitAsync(s_patience);
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException or IOException or TimeoutException)
        {
            // The loop ends by being cancelled, but for one that waits for a bridge that a failed test no longer runs.
        }

        _stop.Dispose();
        _mailbox.Dispose();
    }

    public Task WriteBar(uint offset, uint value) => _bridge.WriteMemory(1, 0, 0, offset, BitConverter.GetBytes(value));

    /// <exception cref="IOException">The FPGA is lost: a program that went on with all ones would never end.</exception>
    public async Task<uint> ReadBar(uint offset)
    {
        TransactionResult result = await _bridge.ReadMemory(1, 0, 0, offset, 4);
        return result.Status == Pcie.HostStatus.LinkDown ? throw new IOException("the endpoint does not answer") : BitConverter.ToUInt32(result.Data);
    }

    public static async Task WaitFor(Func<bool> condition)
    {
        long start = Environment.TickCount64;
        while (!condition())
        {
            Assert.That(Environment.TickCount64 - start, Is.LessThan(60_000), "the condition does not come true");
            await Task.Yield();
        }
    }

    /// <summary>The program ends without a word, in the midst of whatever it does: it touches no ring any more. <see cref="Announce"/> is another one's.</summary>
    public void Die()
    {
        foreach (Ring ring in _rings.Values)
        {
            ring.Enabled = false;
        }

        _rings.Clear();
    }

    /// <summary>Gives a used element back, right or wrong, and rings the doorbell.</summary>
    public Task PushUsed(uint device, uint queue, uint id, uint length) => PushUsed(device, queue, [(id, length)]);

    /// <summary>Gives used elements back, all with one step of the index, and rings the doorbell.</summary>
    public async Task PushUsed(uint device, uint queue, IEnumerable<(uint Id, uint Length)> elements)
    {
        Ring ring = _rings[(device, queue)];
        byte[] element = new byte[8];
        foreach ((uint id, uint length) in elements)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(element, id);
            BinaryPrimitives.WriteUInt32LittleEndian(element.AsSpan(4), length);
            await _bridge.WriteHostMemory(1, ring.Layout.UsedElement(ring.Used), element);
            ring.Used++;
        }

        await _bridge.WriteHostMemory(1, ring.Layout.UsedIndex, BitConverter.GetBytes(ring.Used));
        await WriteBar(RegisterMap.BackEnd.Doorbell + (device * 0x400) + (queue * 4), 0);
    }

    /// <summary>Moves the used index without elements, and rings the doorbell.</summary>
    public async Task JumpUsed(uint device, uint queue, ushort by)
    {
        Ring ring = _rings[(device, queue)];
        await _bridge.WriteHostMemory(1, ring.Layout.UsedIndex, BitConverter.GetBytes((ushort)(ring.Used + by)));
        await WriteBar(RegisterMap.BackEnd.Doorbell + (device * 0x400) + (queue * 4), 0);
    }

    /// <summary>Serves what is in a ring, as after a kick.</summary>
    public async Task Kick(uint device, uint queue)
    {
        if (!_rings.TryGetValue((device, queue), out Ring? ring) || !ring.Enabled)
        {
            return;
        }

        ushort old = ring.Used;
        while (ring.Enabled)
        {
            ushort available = await Read16(ring.Layout.AvailableIndex);
            if (available == ring.Available)
            {
                await _bridge.WriteHostMemory(1, ring.Layout.AvailableEvent, BitConverter.GetBytes(ring.Available));
                if (await Read16(ring.Layout.AvailableIndex) == ring.Available)
                {
                    break;
                }

                continue;
            }

            if (UsesUnread)
            {
                await UseUnread(ring, available);
                continue;
            }

            ushort head = await Read16(ring.Layout.AvailableEntry(ring.Available));
            ring.Available++;
            await ServeChain((ushort)queue, ring, head);
            if (CallsForEach)
            {
                await WriteBar(RegisterMap.BackEnd.Doorbell + (device * 0x400) + (queue * 4), 0);
            }
        }

        if (ring.Used != old && ring.Enabled)
        {
            await WriteBar(RegisterMap.BackEnd.Doorbell + (device * 0x400) + (queue * 4), 0);
        }
    }

    private async Task UseUnread(Ring ring, ushort available)
    {
        while (ring.Available != available)
        {
            int most = ring.Layout.Size - (ring.Available & (ring.Layout.Size - 1));
            int count = Math.Min(most, (ushort)(available - ring.Available));
            byte[] entries = await _bridge.ReadHostMemory(1, ring.Layout.AvailableEntry(ring.Available), 2 * count);
            byte[] elements = new byte[8 * count];
            for (int i = 0; i < count; i++)
            {
                entries.AsSpan(2 * i, 2).CopyTo(elements.AsSpan(8 * i));
            }

            await _bridge.WriteHostMemory(1, ring.Layout.UsedElement(ring.Used), elements);
            ring.Available += (ushort)count;
            ring.Used += (ushort)count;
        }

        await _bridge.WriteHostMemory(1, ring.Layout.UsedIndex, BitConverter.GetBytes(ring.Used));
    }

    private async Task ServeChain(ushort queue, Ring ring, ushort head)
    {
        byte[] readable = [];
        ulong writable = 0;
        uint writableLength = 0;
        ushort next = head;
        while (true)
        {
            Descriptor descriptor = Descriptor.Read(await _bridge.ReadHostMemory(1, ring.Layout.DescriptorAddress(next), Descriptor.Size));
            if ((descriptor.Flags & DescriptorFlags.Write) != 0)
            {
                (writable, writableLength) = (descriptor.Address, descriptor.Length);
            }
            else
            {
                readable = await _bridge.ReadHostMemory(1, descriptor.Address, (int)descriptor.Length);
            }

            if ((descriptor.Flags & DescriptorFlags.Next) == 0)
            {
                break;
            }

            next = descriptor.Next;
        }

        if (!ring.Enabled)
        {
            return;
        }

        MockRequest request = new(queue, head, readable, writable, writableLength);
        byte[]? answer = Serve is null ? [.. readable.Take((int)writableLength).Select(b => (byte)~b)] : Serve(request);
        if (answer is null)
        {
            return;
        }

        if (answer.Length != 0)
        {
            await _bridge.WriteHostMemory(1, writable, answer);
        }

        byte[] element = new byte[8];
        BinaryPrimitives.WriteUInt32LittleEndian(element, head);
        BinaryPrimitives.WriteUInt32LittleEndian(element.AsSpan(4), (uint)answer.Length);
        await _bridge.WriteHostMemory(1, ring.Layout.UsedElement(ring.Used), element);
        ring.Used++;
        await _bridge.WriteHostMemory(1, ring.Layout.UsedIndex, BitConverter.GetBytes(ring.Used));
    }

    private async Task<ushort> Read16(ulong address) => BitConverter.ToUInt16(await _bridge.ReadHostMemory(1, address, 2));

    private async Task Run()
    {
        await Mailbox();
        while (true)
        {
            HostInterrupt interrupt = await _bridge.WaitInterrupt(1, 0, _stop.Token);
            try
            {
                await Dispatch(interrupt.Vector);
            }
            catch (IOException) when (_bridge.State != BridgeState.Failed)
            {
                // The FPGA was reset under the read: its next interrupt tells how things stand.
            }
        }
    }

    private async Task Dispatch(int vector)
    {
        if (vector == 0)
        {
            await Mailbox();
        }
        else
        {
            await Kick((uint)(vector - 1) / Queues, (uint)(vector - 1) % Queues);
        }
    }

    private async Task Mailbox()
    {
        uint length = await ReadBar(RegisterMap.BackEnd.F2hStatus);
        if (length == 0)
        {
            EmptyCalls++;
            if (Reannounces && (await ReadBar(RegisterMap.BackEnd.Control) == 0 || (await ReadBar(RegisterMap.BackEnd.Status) & 1) == 0))
            {
                await WriteBar(RegisterMap.BackEnd.Control, 1);
            }

            return;
        }

        byte[] message = (await _bridge.ReadMemory(1, 0, 0, RegisterMap.BackEnd.F2hData, (int)length)).Data;
        await WriteBar(RegisterMap.BackEnd.F2hAck, 1);
        Assert.That(MailboxHeader.TryRead(message, out MailboxHeader header), Is.True);
        if (header.IsReply)
        {
            Replies.Add(((uint)header.Request, header.Device, BinaryPrimitives.ReadUInt64LittleEndian(message.AsSpan(MailboxHeader.Bytes))));
            return;
        }

        Requests.Enqueue(header.Request);
        if (Mute)
        {
            return;
        }

        await MayAnswer;
        byte[] payload = AnswerInstead?.Invoke(header) ?? await Answer(header, message[MailboxHeader.Bytes..]);
        byte[] reply = new byte[MailboxHeader.Bytes + payload.Length];
        (header with { Flags = MailboxHeader.Version | MailboxHeader.Reply, Size = (uint)payload.Length }).Write(reply);
        payload.CopyTo(reply, MailboxHeader.Bytes);
        await Post(reply);
    }

    /// <summary>Posts a message of any content.</summary>
    public async Task Post(byte[] message)
    {
        await _mailbox.WaitAsync();
        try
        {
            while (await ReadBar(RegisterMap.BackEnd.H2fStatus) != 0)
            {
            }

            _ = await _bridge.WriteMemory(1, 0, 0, RegisterMap.BackEnd.H2fData, message);
            await WriteBar(RegisterMap.BackEnd.H2fPost, (uint)message.Length);
        }
        finally
        {
            _ = _mailbox.Release();
        }
    }

    /// <summary>Gives the front end a part of a device's state to keep, and waits for its reply.</summary>
    public async Task<ulong> KeepPart(uint device, byte[] part)
    {
        int before = Replies.Count;
        byte[] message = new byte[MailboxHeader.Bytes + part.Length];
        new MailboxHeader((MailboxRequest)MailboxHeader.DeviceState, MailboxHeader.Version | MailboxHeader.NeedReply, (uint)part.Length, device).Write(message);
        part.CopyTo(message, MailboxHeader.Bytes);
        await Post(message);
        await WaitFor(() => Replies.Count > before);
        Assert.That((Replies[before].Request, Replies[before].Device), Is.EqualTo((MailboxHeader.DeviceState, device)));
        return Replies[before].Status;
    }

    private async Task<byte[]> Answer(MailboxHeader header, byte[] payload)
    {
        uint index = payload.Length >= 4 ? BinaryPrimitives.ReadUInt32LittleEndian(payload) : 0;
        uint value = payload.Length >= 8 ? BinaryPrimitives.ReadUInt32LittleEndian(payload.AsSpan(4)) : 0;
        byte[] ok = new byte[8];
        Ring ring = _rings.TryGetValue((header.Device, index), out Ring? known) ? known : new Ring();
        switch (header.Request)
        {
            case MailboxRequest.GetBackend:
                byte[] backEnd = new byte[24];
                BinaryPrimitives.WriteUInt32LittleEndian(backEnd, 1);
                BinaryPrimitives.WriteUInt32LittleEndian(backEnd.AsSpan(4), 2);
                BinaryPrimitives.WriteUInt64LittleEndian(backEnd.AsSpan(8), OfferedPool);
                BinaryPrimitives.WriteUInt64LittleEndian(backEnd.AsSpan(16), OfferedPoolSize);
                return backEnd;
            case MailboxRequest.GetDevice:
                byte[] device = new byte[20];
                BinaryPrimitives.WriteUInt16LittleEndian(device, (ushort)(header.Device == 0 ? DeviceId : VirtioDeviceId.Net));
                BinaryPrimitives.WriteUInt16LittleEndian(device.AsSpan(2), Queues);
                BinaryPrimitives.WriteUInt32LittleEndian(device.AsSpan(4), 0x01800001);
                BinaryPrimitives.WriteUInt32LittleEndian(device.AsSpan(8), 0x11001AF4);
                BinaryPrimitives.WriteUInt32LittleEndian(device.AsSpan(12), QueueSizeLimit);
                BinaryPrimitives.WriteUInt32LittleEndian(device.AsSpan(16), ConfigurationSize);
                return device;
            case MailboxRequest.GetFeatures:
                return BitConverter.GetBytes(Features);
            case MailboxRequest.GetProtocolFeatures:
                return BitConverter.GetBytes(ProtocolFeatures);
            case MailboxRequest.SetDeviceState when RefusesState:
                return BitConverter.GetBytes(22UL);
            case MailboxRequest.SetDeviceState:
                Assert.That(_state.TryAdd(payload.AsSpan(0, (int)header.Size), out byte[]? state), Is.True);
                RestoredState = state ?? RestoredState;
                return ok;
            case MailboxRequest.GetConfig:
                return [.. payload[..12], .. Configuration.AsSpan((int)index, (int)value)];
            case MailboxRequest.SetFeatures:
                LastSetFeatures = BinaryPrimitives.ReadUInt64LittleEndian(payload);
                return ok;
            case MailboxRequest.SetConfig when RefusesConfigurationWrites:
                return BitConverter.GetBytes(22UL);
            case MailboxRequest.SetConfig:
                LastSetConfigFlags = BinaryPrimitives.ReadUInt32LittleEndian(payload.AsSpan(8));
                payload.AsSpan(12).CopyTo(Configuration.AsSpan((int)index));
                return ok;
            case MailboxRequest.SetVringNum:
                _rings[(header.Device, index)] = ring;
                ring.Layout = ring.Layout with { Size = (ushort)value };
                return ok;
            case MailboxRequest.SetVringBase:
                ring.Available = ring.Used = (ushort)value;
                return ok;
            case MailboxRequest.SetVringAddr:
                ring.Layout = new SplitVirtqueue(
                    ring.Layout.Size,
                    BinaryPrimitives.ReadUInt64LittleEndian(payload.AsSpan(8)),
                    BinaryPrimitives.ReadUInt64LittleEndian(payload.AsSpan(24)),
                    BinaryPrimitives.ReadUInt64LittleEndian(payload.AsSpan(16)));
                Layouts.Add(ring.Layout);
                return ok;
            case MailboxRequest.SetVringEnable:
                ring.Enabled = value != 0;
                return ok;
            case MailboxRequest.GetVringBase:
                ring.Enabled = false;
                BinaryPrimitives.WriteUInt32LittleEndian(payload.AsSpan(4), ring.Available);
                return payload[..8];
            default:
                await Task.CompletedTask;
                return ok;
        }
    }

    private sealed class Ring
    {
        public SplitVirtqueue Layout { get; set; }

        public ushort Available { get; set; }

        public ushort Used { get; set; }

        public bool Enabled { get; set; }
    }
}
