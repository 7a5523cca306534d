// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Backend.Internal;
using Cosim.VfioUser;
using Cosim.Virtio;

namespace Cosim.Backend;

/// <summary>Host 2's side of hdl/BACKEND.md: answers the front end's messages and serves the queues of the devices.</summary>
/// <remarks>Runs on the thread of its event loop, woken by the endpoint's vectors only.</remarks>
public sealed class BackendSession : IDisposable
{
    private const uint ProtocolVersion = 1;
    private const ulong AlwaysOffered = VirtioFeatures.Version1 | VirtioFeatures.RingEventIdx | VirtioFeatures.RingIndirectDesc | VirtioFeatures.VhostUserProtocolFeatures;
    private const ulong NotSupported = 95;
    private const ulong Invalid = 22;

    private readonly EventLoop _loop;
    private readonly IEndpoint _endpoint;
    private readonly Action<string> _report;
    private readonly Slot[] _slots;
    private readonly List<EventRegistration> _registrations = [];
    private readonly byte[] _request = new byte[BackendRegisters.MailboxSize];
    private readonly byte[] _reply = new byte[BackendRegisters.MailboxSize];
    private readonly Outbox _outbox;
    private bool _started;
    private bool _open;

    /// <summary>Prepares a session; <see cref="Start"/> begins it.</summary>
    /// <param name="loop">Runs it.</param>
    /// <param name="endpoint">The FPGA; stays the caller's.</param>
    /// <param name="devices">What is served, in the order of the FPGA's functions; stay the caller's.</param>
    /// <param name="report">Takes a sentence for each thing worth knowing.</param>
    public BackendSession(EventLoop loop, IEndpoint endpoint, IReadOnlyList<IDeviceBackend> devices, Action<string> report)
    {
        ArgumentNullException.ThrowIfNull(devices);
        _loop = loop;
        _endpoint = endpoint;
        _report = report;
        _outbox = new Outbox(loop, endpoint);
        _slots = new Slot[devices.Count];
        for (int device = 0; device < _slots.Length; device++)
        {
            _slots[device] = new Slot(this, device, devices[device]);
        }
    }

    /// <summary>Checks the FPGA, listens to its vectors and tells it that host 2 is ready.</summary>
    /// <exception cref="BackendException">It is not the FPGA that was expected, or it is too small for the devices.</exception>
    public void Start()
    {
        CheckFpga(out int queuesPerDevice);
        Watch(BackendRegisters.MailboxVector, TakeMessages);
        foreach (Slot slot in _slots)
        {
            foreach (Virtqueue queue in slot.Queues)
            {
                Watch(1 + (slot.Number * queuesPerDevice) + queue.Index, () => slot.Serve(queue));
            }

            slot.KeepState();
            slot.Device.Attach(_loop, () => SendConfigurationChange(slot.Number));
        }

        _endpoint.Write(BackendRegisters.Control, 1);
        _started = true;
    }

    /// <summary>Tells the FPGA that host 2 is going away and stops to listen.</summary>
    public void Dispose()
    {
        foreach (EventRegistration registration in _registrations)
        {
            registration.Dispose();
        }

        _registrations.Clear();
        foreach (Slot slot in _slots)
        {
            slot.StopAll();
        }

        _open = false;
        _outbox.Dispose();

        if (_started)
        {
            _started = false;
            try
            {
                _endpoint.Write(BackendRegisters.Control, 0);

                // A read is answered only after the posted write has arrived, and only then may the endpoint be let go.
                _ = _endpoint.Read(BackendRegisters.Control);
            }
            catch (VfioUserException)
            {
                // The bridge has gone first: there is nobody left to tell.
            }
        }
    }

    private void CheckFpga(out int queuesPerDevice)
    {
        uint id = _endpoint.Read(BackendRegisters.Id);
        uint version = _endpoint.Read(BackendRegisters.Version);
        if (id != BackendRegisters.IdValue || version >> 16 != BackendRegisters.VersionValue >> 16)
        {
            throw new BackendException(
                $"The endpoint's ID is 0x{id:x8} and its version 0x{version:x8}, expected 0x{BackendRegisters.IdValue:x8} and 0x{BackendRegisters.VersionValue:x8}.");
        }

        uint geometry = _endpoint.Read(BackendRegisters.Geometry);
        int devices = (int)(geometry & 0xFF);
        queuesPerDevice = (int)((geometry >> 8) & 0xFFFF);
        int queues = _slots.Max(slot => slot.Queues.Length);
        int vectors = 1 + (devices * queuesPerDevice);
        if (_slots.Length > devices || queues > queuesPerDevice || _endpoint.Vectors.Count < vectors)
        {
            throw new BackendException(
                $"The FPGA has {devices} functions of {queuesPerDevice} queues and {_endpoint.Vectors.Count} vectors, expected at least {_slots.Length} of {queues} and {vectors} vectors.");
        }
    }

    private void Watch(int vector, Action handler)
    {
        EventFd signal = _endpoint.Vectors[vector];
        _registrations.Add(_loop.Register(signal.Fd, PollEvents.In, _ =>
        {
            signal.TryTake(out ulong _);
            handler();
        }));
    }

    private void TakeMessages()
    {
        if (_started && _endpoint.Read(BackendRegisters.F2hStatus) == 0
            && (_endpoint.Read(BackendRegisters.Control) == 0 || (_endpoint.Read(BackendRegisters.Status) & 1) == 0))
        {
            // The FPGA was reset under us, or the front end has given us up: begin anew.
            ForgetSession();
            _endpoint.Write(BackendRegisters.Control, 1);
        }

        while (true)
        {
            _outbox.PostNext();
            uint length = _endpoint.Read(BackendRegisters.F2hStatus);
            if (length is 0 or > BackendRegisters.MailboxSize)
            {
                return;
            }

            for (uint offset = 0; offset < length; offset += 4)
            {
                BinaryPrimitives.WriteUInt32LittleEndian(
                    _request.AsSpan((int)offset), _endpoint.Read(BackendRegisters.F2hData + offset));
            }

            _endpoint.Write(BackendRegisters.F2hAck, 1);
            Answer(_request.AsSpan(0, (int)length));
        }
    }

    private void Answer(ReadOnlySpan<byte> message)
    {
        if (!MailboxHeader.TryRead(message, out MailboxHeader header) || (header.IsReply && !AnswersState(header)))
        {
            _report($"A message of {message.Length} bytes from the front end is no request and was dropped.");
            return;
        }

        ReadOnlySpan<byte> payload = message.Slice(MailboxHeader.Bytes, (int)header.Size);
        if (header.IsReply)
        {
            _slots[header.Device].StateAnswered(BinaryPrimitives.ReadUInt64LittleEndian(payload));
            return;
        }

        Span<byte> body = _reply.AsSpan(MailboxHeader.Bytes);
        int size = header.Request == MailboxRequest.GetBackend
            ? AnswerGetBackend(payload, body)
            : header.Device < (uint)_slots.Length
                ? _slots[header.Device].Answer(header.Request, payload, body)
                : Status(body, Invalid);
        bool reads = header.Request == MailboxRequest.GetConfig && header.Device < (uint)_slots.Length;
        _outbox.Send(
            header.Request, MailboxHeader.Reply, header.Device, body[..size], reads ? _slots[header.Device].Device.ConfigurationRead : null);
    }

    private int AnswerGetBackend(ReadOnlySpan<byte> payload, Span<byte> body)
    {
        if (!payload.IsEmpty)
        {
            return Status(body, Invalid);
        }

        // A new conversation: nothing that was agreed before holds.
        ForgetSession();
        _open = true;
        BinaryPrimitives.WriteUInt32LittleEndian(body, ProtocolVersion);
        BinaryPrimitives.WriteUInt32LittleEndian(body[4..], (uint)_slots.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(body[8..], _endpoint.Pool.Iova);
        BinaryPrimitives.WriteUInt64LittleEndian(body[16..], _endpoint.Pool.Size);
        return 24;
    }

    private bool AnswersState(in MailboxHeader header) =>
        (uint)header.Request == MailboxHeader.DeviceState && header.Size == 8 && header.Device < (uint)_slots.Length && _slots[header.Device].AwaitsStateAnswer;

    private void ForgetSession()
    {
        _open = false;
        _outbox.Clear();
        foreach (Slot slot in _slots)
        {
            slot.ForgetSession();
        }
    }

    // Before the front end has asked what is served there is nothing to tell: it will ask for this too.
    private void SendConfigurationChange(int device)
    {
        if (_open)
        {
            _outbox.Send((MailboxRequest)MailboxHeader.ConfigChange, 0, (uint)device, []);
        }
    }

    private static int Status(Span<byte> body, ulong error)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(body, error);
        return 8;
    }

    /// <summary>One device and its queues.</summary>
    private sealed class Slot
    {
        private readonly BackendSession _session;
        private readonly DeviceStateParts _restored = new();
        private bool _stateIsKept;
        private int _stateUnanswered;

        internal Slot(BackendSession session, int number, IDeviceBackend device)
        {
            _session = session;
            Number = number;
            Device = device;
            Queues = new Virtqueue[device.QueueCount];
            for (int queue = 0; queue < Queues.Length; queue++)
            {
                uint doorbell = BackendRegisters.DoorbellOf(number, queue);
                Queues[queue] = new Virtqueue(session._endpoint.Pool, queue, () => session._endpoint.Write(doorbell, 1));
            }
        }

        internal int Number { get; }

        internal IDeviceBackend Device { get; }

        internal Virtqueue[] Queues { get; }

        /// <summary>Parts of the state are on their way to the front end.</summary>
        internal bool AwaitsStateAnswer => _stateUnanswered != 0;

        private ulong ProtocolFeatures => VhostUserProtocolFeatures.Required | (Device is IDeviceState ? VhostUserProtocolFeatures.DeviceState : 0);

        private ulong Offered => Device.Features | AlwaysOffered;

        internal void Serve(Virtqueue queue)
        {
            if (!queue.IsReady)
            {
                return;
            }

            Device.Serve(queue);
            if (queue.Error is not null)
            {
                _session._report($"Device {Number}, queue {queue.Index} is no longer served: {queue.Error}.");
                Device.Stopped(queue);
            }
        }

        internal void StopAll()
        {
            foreach (Virtqueue queue in Queues)
            {
                Stop(queue);
            }
        }

        internal void Reset()
        {
            StopAll();
            foreach (Virtqueue queue in Queues)
            {
                queue.Reset();
            }
        }

        internal void ForgetSession()
        {
            _stateIsKept = false;
            _stateUnanswered = 0;
            _restored.Clear();
            Reset();
        }

        internal void KeepState() => (Device as IDeviceState)?.KeepStateBy(TryKeepState);

        /// <summary>The front end has answered a part of the state.</summary>
        /// <param name="error">0, or why it does not keep it.</param>
        internal void StateAnswered(ulong error)
        {
            if (error != 0)
            {
                _session._report($"Device {Number}: the front end refuses to keep its state with error {error}.");
            }

            if (--_stateUnanswered == 0)
            {
                ((IDeviceState)Device).StateKept();
            }
        }

        internal int Answer(MailboxRequest request, ReadOnlySpan<byte> payload, Span<byte> body)
        {
            switch (request)
            {
                case MailboxRequest.GetDevice when payload.IsEmpty:
                    return AnswerGetDevice(body);
                case MailboxRequest.GetFeatures when payload.IsEmpty:
                    return Status(body, Offered);
                case MailboxRequest.GetProtocolFeatures when payload.IsEmpty:
                    return Status(body, ProtocolFeatures);
                case MailboxRequest.GetConfig when payload.Length >= 12:
                    return AnswerGetConfig(payload, body);
                case MailboxRequest.GetVringBase when TryGetQueue(payload, 8, out Virtqueue? queue):
                    Stop(queue!);
                    BinaryPrimitives.WriteInt32LittleEndian(body, queue!.Index);
                    BinaryPrimitives.WriteUInt32LittleEndian(body[4..], queue.NextAvailable);
                    return 8;
                default:
                    return Status(body, Carry(request, payload));
            }
        }

        /// <summary>Carries out a request that is answered by a status alone.</summary>
        private ulong Carry(MailboxRequest request, ReadOnlySpan<byte> payload)
        {
            bool done = request switch
            {
                MailboxRequest.SetOwner => payload.IsEmpty,
                MailboxRequest.SetFeatures => payload.Length == 8 && TrySetFeatures(BinaryPrimitives.ReadUInt64LittleEndian(payload)),
                MailboxRequest.SetProtocolFeatures => payload.Length == 8
                    && TrySetProtocolFeatures(BinaryPrimitives.ReadUInt64LittleEndian(payload)),
                MailboxRequest.SetDeviceState => TryRestoreState(payload),
                MailboxRequest.SetMemTable => IsPool(payload),
                MailboxRequest.SetVringNum => TryGetQueue(payload, 8, out Virtqueue? queue)
                    && U32(payload, 4) <= 2u * (uint)Device.QueueSize
                    && queue!.TrySetSize(U32(payload, 4)),
                MailboxRequest.SetVringBase => TryGetQueue(payload, 8, out Virtqueue? queue)
                    && U32(payload, 4) <= ushort.MaxValue
                    && TrySetBase(queue!, (ushort)U32(payload, 4)),
                MailboxRequest.SetVringAddr => TryGetQueue(payload, 40, out Virtqueue? queue)
                    && queue!.TrySetAddresses(U64(payload, 8), U64(payload, 16), U64(payload, 24)),
                MailboxRequest.SetVringEnable => TryGetQueue(payload, 8, out Virtqueue? queue)
                    && TryEnable(queue!, U32(payload, 4)),
                MailboxRequest.SetConfig => TrySetConfig(payload),
                MailboxRequest.SetStatus => payload.Length == 8,
                MailboxRequest.ResetDevice => payload.IsEmpty && ResetDevice(),
                _ => false,
            };
            return done ? 0 : IsKnown(request) ? Invalid : NotSupported;
        }

        private static bool IsKnown(MailboxRequest request) => Enum.IsDefined(request);

        private static uint U32(ReadOnlySpan<byte> payload, int offset) => BinaryPrimitives.ReadUInt32LittleEndian(payload[offset..]);

        private static ulong U64(ReadOnlySpan<byte> payload, int offset) => BinaryPrimitives.ReadUInt64LittleEndian(payload[offset..]);

        private static bool TrySetBase(Virtqueue queue, ushort next)
        {
            if (queue.Enabled)
            {
                return false;
            }

            queue.NextAvailable = next;
            return true;
        }

        private bool TryGetQueue(ReadOnlySpan<byte> payload, int size, out Virtqueue? queue)
        {
            queue = payload.Length == size && U32(payload, 0) < (uint)Queues.Length ? Queues[U32(payload, 0)] : null;
            return queue is not null;
        }

        private int AnswerGetDevice(Span<byte> body)
        {
            body[..20].Clear();
            BinaryPrimitives.WriteUInt16LittleEndian(body, (ushort)Device.DeviceId);
            BinaryPrimitives.WriteUInt16LittleEndian(body[2..], (ushort)Queues.Length);
            BinaryPrimitives.WriteUInt32LittleEndian(body[4..], Device.ClassRevision);
            BinaryPrimitives.WriteUInt16LittleEndian(body[8..], 0x1AF4);
            BinaryPrimitives.WriteUInt16LittleEndian(body[10..], (ushort)(0x1040 + (ushort)Device.DeviceId));
            BinaryPrimitives.WriteUInt32LittleEndian(body[12..], (uint)Device.QueueSize);
            BinaryPrimitives.WriteUInt32LittleEndian(body[16..], (uint)Device.Configuration.Length);
            return 20;
        }

        private int AnswerGetConfig(ReadOnlySpan<byte> payload, Span<byte> body)
        {
            uint offset = U32(payload, 0);
            uint size = U32(payload, 4);
            if (size != (uint)payload.Length - 12
                || offset > (uint)Device.Configuration.Length
                || size > (uint)Device.Configuration.Length - offset)
            {
                return Status(body, Invalid);
            }

            payload[..12].CopyTo(body);
            Device.Configuration.Slice((int)offset, (int)size).CopyTo(body[12..]);
            return 12 + (int)size;
        }

        private bool TrySetConfig(ReadOnlySpan<byte> payload) =>
            payload.Length >= 12
            && U32(payload, 4) == (uint)payload.Length - 12
            && U32(payload, 0) <= (uint)Device.Configuration.Length
            && U32(payload, 4) <= (uint)Device.Configuration.Length - U32(payload, 0)
            && U32(payload, 8) switch
            {
                0 => Device.WriteConfiguration((int)U32(payload, 0), payload[12..]), // VHOST_SET_CONFIG_TYPE_FRONTEND
                1 => Device.RestoreConfiguration((int)U32(payload, 0), payload[12..]), // VHOST_SET_CONFIG_TYPE_MIGRATION
                _ => false,
            };

        private bool TrySetProtocolFeatures(ulong features)
        {
            if ((features & ~ProtocolFeatures) != 0)
            {
                return false;
            }

            _stateIsKept = (features & VhostUserProtocolFeatures.DeviceState) != 0;
            return true;
        }

        private bool TryKeepState()
        {
            if (!_stateIsKept)
            {
                return false;
            }

            foreach (byte[] part in DeviceStateParts.Split(((IDeviceState)Device).SaveState()))
            {
                _stateUnanswered++;
                _session._outbox.Send((MailboxRequest)MailboxHeader.DeviceState, MailboxHeader.NeedReply, (uint)Number, part);
            }

            return true;
        }

        private bool TryRestoreState(ReadOnlySpan<byte> part) =>
            _stateIsKept
            && _restored.TryAdd(part, out byte[]? state)
            && (state is null || ((IDeviceState)Device).TryRestoreState(state));

        private bool TrySetFeatures(ulong features)
        {
            if ((features & ~Offered) != 0)
            {
                return false;
            }

            foreach (Virtqueue queue in Queues)
            {
                queue.SetFeatures(features);
            }

            Device.Negotiated(features);
            return true;
        }

        private bool IsPool(ReadOnlySpan<byte> payload)
        {
            Pool pool = _session._endpoint.Pool;
            return payload.Length == 40
                && U32(payload, 0) == 1
                && U64(payload, 8) == pool.Iova
                && U64(payload, 16) == pool.Size;
        }

        private bool TryEnable(Virtqueue queue, uint value)
        {
            if (value > 1 || (value == 1 && !queue.IsSetUp))
            {
                return false;
            }

            if (value == 0)
            {
                Stop(queue);
            }
            else
            {
                queue.Enabled = true;
                Serve(queue);
            }

            return true;
        }

        private bool ResetDevice()
        {
            Reset();
            return true;
        }

        private void Stop(Virtqueue queue)
        {
            if (queue.Enabled)
            {
                queue.Enabled = false;
                Device.Stopped(queue);
            }
        }
    }
}
