// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Cosim.VfioUser.Internal;

namespace Cosim.VfioUser;

/// <summary>
/// Serves one PCI device to one client at a time over a UNIX socket. Runs on the thread of its <see cref="EventLoop"/>;
/// no member may be used from another thread.
/// </summary>
/// <remarks>
/// Requests are handed to the device in the order they came and may be completed out of order. A request allocates
/// nothing. A client that leaves may come back; what it had set up is gone by then.
/// </remarks>
public sealed unsafe partial class VfioUserServer : IDisposable
{
    private const int InitialBufferSize = 64 * 1024;

    /// <summary>With this many bytes of replies waiting, no further requests are taken from the client.</summary>
    private const int ReplyBackpressure = 256 * 1024;

    private const int ReportsPerClient = 16;

    private readonly EventLoop _loop;
    private readonly IVfioUserDevice _device;
    private readonly VfioUserServerOptions _options;
    private readonly int _maxFrameSize;
    private readonly EventRegistration _listener;
    private readonly Libc.FileStatus _socketFile;
    private readonly InterruptTable _interrupts;
    private readonly DescriptorQueue _descriptors = new();
    private readonly SendQueue _replies = new();
    private readonly Request[] _requests;
    private readonly int[] _freeRequests;

    private int _freeRequestCount;
    private byte[] _buffer = new byte[InitialBufferSize];
    private int _head;
    private int _tail;

    /// <summary>Replies in the buffer that begin before this place have been handled, though commands before them wait.</summary>
    private int _scanned;
    private int _client = -1;
    private EventRegistration? _connection;
    private EventRegistration? _intxUnmask;
    private bool _negotiated;
    private bool _versionHeld;

    /// <summary>Most descriptors the client takes in one message.</summary>
    private int _clientDescriptors = 1;
    private bool _barrier;
    private bool _broken;

    /// <summary>The client's messages are being handled further up the stack, which looks after what is left itself.</summary>
    private bool _handling;
    private bool _linkUp = true;
    private int _reports;
    private bool _disposed;

    /// <summary>Creates the socket, open to its owner only, and starts to listen on the loop.</summary>
    /// <param name="loop">Runs the server; must outlive it.</param>
    /// <param name="socketPath">Where; at most 107 bytes. A socket left there by a server that is gone is replaced.</param>
    /// <param name="device">What is served.</param>
    /// <param name="options">Limits; null for the usual ones.</param>
    /// <exception cref="VfioUserException">The path is too long, in use by another server, or not a socket.</exception>
    public VfioUserServer(EventLoop loop, string socketPath, IVfioUserDevice device, VfioUserServerOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(loop);
        ArgumentNullException.ThrowIfNull(socketPath);
        ArgumentNullException.ThrowIfNull(device);
        _loop = loop;
        _device = device;
        _options = options ?? new VfioUserServerOptions();
        _maxFrameSize = Wire.HeaderSize + Wire.RegionAccessSize + Math.Max(_options.MaxDataTransferSize, 64 * 1024);
        _requests = new Request[_options.MaxOutstanding];
        _freeRequests = new int[_options.MaxOutstanding];
        for (int index = 0; index < _requests.Length; index++)
        {
            _requests[index].Generation = 1;
            _freeRequests[index] = index;
        }

        _freeRequestCount = _requests.Length;
        _interrupts = new InterruptTable(device);
        Memory = new GuestMemory(_options.MaxDmaMaps);
        SocketPath = Path.GetFullPath(socketPath);
        int socket = UnixSocket.Listen(SocketPath);
        _ = Libc.TryStatus(SocketPath, out _socketFile);
        _listener = loop.Register(socket, PollEvents.In, _ => Accept());
    }

    /// <summary>The socket, as an absolute path.</summary>
    public string SocketPath { get; }

    /// <summary>The memory the present client lends; empty without one.</summary>
    public GuestMemory Memory { get; }

    /// <summary>A client has been told the version and is served.</summary>
    public bool ClientConnected => _negotiated;

    /// <summary>A client has asked for the version and waits for the link to come up.</summary>
    public bool ClientWaiting => _versionHeld;

    /// <summary>
    /// Whether VERSION is answered. While this is false (it is true at first) a client is kept waiting at its first
    /// message. A client that has been answered is served whatever this says.
    /// </summary>
    public bool LinkUp
    {
        get => _linkUp;
        set
        {
            _linkUp = value;
            if (value && _versionHeld)
            {
                _connection?.Pend();
            }
        }
    }

    /// <summary>Whether the client's next command has to wait.</summary>
    private bool Stalled =>
        _barrier
        || _freeRequestCount == 0
        || (_versionHeld && !_linkUp)
        || _replies.Length > ReplyBackpressure;

    /// <summary>
    /// Whether more is taken from the socket. While commands have to wait that is done only for the replies that may come behind them,
    /// as long as there is room, and no descriptors that belong to a waiting command.
    /// </summary>
    private bool Receives =>
        !Stalled
        || (_twin is null && _dma.Active != 0 && _descriptors is { Count: 0, Overflowed: false } && _tail - _head < _buffer.Length);

    /// <summary>Raises an MSI-X vector. What was written to <see cref="Memory"/> before is visible before it.</summary>
    /// <returns>False when the client has not armed the vector.</returns>
    public bool RaiseMsix(int vector) => _interrupts.Raise(VfioPci.MsixIrqIndex, vector);

    /// <summary>
    /// Raises the INTx line, which is then masked until the client unmasks it; the device is told
    /// (<see cref="IrqChange.Unmasked"/>) and raises it again while its level is still asserted.
    /// </summary>
    /// <returns>False when the line is not armed or is masked.</returns>
    public bool RaiseIntx() => _interrupts.Raise(VfioPci.IntxIrqIndex, 0);

    /// <summary>Ends a read.</summary>
    /// <param name="token">From <see cref="IVfioUserDevice.Read"/>; dead ones are ignored.</param>
    /// <param name="data">Exactly as many bytes as were asked for.</param>
    public void CompleteRead(RequestToken token, ReadOnlySpan<byte> data)
    {
        ref Request request = ref Find(token, VfioUserCommand.RegionRead);
        if (IsDead(ref request))
        {
            return;
        }

        if ((uint)data.Length != request.Count)
        {
            throw new ArgumentException($"A read of {request.Count} bytes is completed with {data.Length}.", nameof(data));
        }

        if (!request.NoReply)
        {
            Span<byte> payload = AddRegionReply(ref request, data.Length);
            data.CopyTo(payload);
        }

        Finish(token.Slot);
    }

    /// <summary>Ends a write, posted or not.</summary>
    /// <param name="token">From <see cref="IVfioUserDevice.Write"/>; dead ones are ignored.</param>
    public void CompleteWrite(RequestToken token)
    {
        ref Request request = ref Find(token, VfioUserCommand.RegionWrite);
        if (IsDead(ref request))
        {
            return;
        }

        if (request.Command == VfioUserCommand.RegionWriteMulti)
        {
            FinishMultiEntry(token.Slot);
            return;
        }

        if (!request.NoReply)
        {
            _ = AddRegionReply(ref request, 0);
        }

        Finish(token.Slot);
    }

    /// <summary>Ends a reset.</summary>
    /// <param name="token">From <see cref="IVfioUserDevice.Reset"/>; dead ones are ignored.</param>
    public void CompleteReset(RequestToken token)
    {
        ref Request request = ref Find(token, VfioUserCommand.DeviceReset);
        if (IsDead(ref request))
        {
            return;
        }

        if (!request.NoReply)
        {
            _ = AddReply(request.MessageId, request.Command, 0);
        }

        _barrier = false;
        _resetting = false;
        Finish(token.Slot);
    }

    /// <summary>Takes the range out of the map and tells the client so.</summary>
    /// <param name="token">From <see cref="IVfioUserDevice.DmaUnmapping"/>; dead ones are ignored.</param>
    public void CompleteUnmap(RequestToken token)
    {
        ref Request request = ref Find(token, VfioUserCommand.DmaUnmap);
        if (IsDead(ref request))
        {
            return;
        }

        _ = Memory.Unmap(request.Range);
        AbandonDma(request.Range, DmaResult.Unmapped);
        if (!request.NoReply)
        {
            AddUnmapReply(ref request);
        }

        _barrier = false;
        Finish(token.Slot);
    }

    /// <summary>Ends a read, a write or a reset that was not carried out.</summary>
    /// <param name="token">The request; dead ones are ignored.</param>
    /// <param name="error">Told to the client.</param>
    public void Fail(RequestToken token, Errno error)
    {
        ref Request request = ref Find(token, null);
        if (IsDead(ref request))
        {
            return;
        }

        if (request.Command == VfioUserCommand.RegionWriteMulti)
        {
            request.Error = request.Error == Errno.None ? error : request.Error;
            FinishMultiEntry(token.Slot);
            return;
        }

        if (request.Command is VfioUserCommand.DeviceReset or VfioUserCommand.DmaUnmap)
        {
            _barrier = false;
            _resetting = false;
        }

        if (!request.NoReply)
        {
            AddError(request.MessageId, request.Command, error);
        }

        Finish(token.Slot);
    }

    /// <summary>Cuts the client off, if there is one, stops listening and removes the socket.</summary>
    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        if (Libc.TryStatus(SocketPath, out Libc.FileStatus present)
            && present.Inode == _socketFile.Inode
            && present.DeviceMajor == _socketFile.DeviceMajor
            && present.DeviceMinor == _socketFile.DeviceMinor)
        {
            _ = Libc.Unlink(SocketPath);
        }

        _listener.Dispose();
        _ = Libc.Close(_listener.Fd);
        Disconnect();
        _interrupts.Dispose();
        Memory.Dispose();
    }

    private static bool IsDead(ref Request request) => Unsafe.IsNullRef(ref request);

    private ref Request Find(RequestToken token, VfioUserCommand? command)
    {
        if ((uint)token.Slot >= (uint)_requests.Length)
        {
            return ref Unsafe.NullRef<Request>();
        }

        ref Request request = ref _requests[token.Slot];
        if (!request.Active || request.Generation != token.Generation)
        {
            return ref Unsafe.NullRef<Request>();
        }

        if (command is VfioUserCommand expected
            && request.Command != expected
            && (expected != VfioUserCommand.RegionWrite || request.Command != VfioUserCommand.RegionWriteMulti))
        {
            throw new InvalidOperationException($"A {request.Command} request is completed as {expected}.");
        }

        return ref request;
    }

    private RequestToken Begin(in Frame frame) => Begin(frame.Command, frame.MessageId, frame.NoReply);

    private RequestToken Begin(VfioUserCommand command, ushort messageId, bool noReply)
    {
        int slot = _freeRequests[--_freeRequestCount];
        ref Request request = ref _requests[slot];
        request.Active = true;
        request.MessageId = messageId;
        request.Command = command;
        request.NoReply = noReply;
        request.Error = Errno.None;
        return new RequestToken(slot, request.Generation);
    }

    /// <summary>Frees the request, sends its reply and, where requests had to wait, goes on with them in the next round.</summary>
    private void Finish(int slot)
    {
        Release(slot);
        Flush();
        if (!_handling && _connection is not null && (_head < _tail || (_connection.Events & PollEvents.In) == 0))
        {
            _connection.Pend();
        }
    }

    private void FinishMultiEntry(int slot)
    {
        ref Request request = ref _requests[slot];
        if (--request.Remaining > 0)
        {
            return;
        }

        if (!request.NoReply)
        {
            if (request.Error != Errno.None)
            {
                AddError(request.MessageId, request.Command, request.Error);
            }
            else
            {
                Span<byte> payload = AddReply(request.MessageId, request.Command, Wire.WriteMultiSize);
                BinaryPrimitives.WriteUInt64LittleEndian(payload, request.Count);
            }
        }

        Finish(slot);
    }

    private void Release(int slot)
    {
        _requests[slot].Active = false;
        _requests[slot].Generation = Math.Max(1, unchecked(_requests[slot].Generation + 1));
        _freeRequests[_freeRequestCount++] = slot;
    }

    private void Accept()
    {
        if (_client >= 0 && ClientHungUp())
        {
            // The one who leaves and the one who comes may be seen in the same round: the old one's last words first.
            while (_client >= 0 && !_broken && !Stalled && ReceiveOnce())
            {
            }

            Disconnect();
        }

        int socket = Libc.Accept(_listener.Fd, null, null, Libc.SOCK_NONBLOCK | Libc.SOCK_CLOEXEC);
        if (socket < 0)
        {
            return;
        }

        if (_client >= 0)
        {
            _ = Libc.Close(socket);
            Report("A second client was turned away: the device serves one at a time.");
            return;
        }

        _client = socket;
        _reports = 0;
        _connection = _loop.Register(socket, PollEvents.In, OnClient);
    }

    private bool ClientHungUp()
    {
        Libc.PollFd descriptor = new() { Fd = _client };
        return Libc.Poll(&descriptor, 1, 0) > 0;
    }

    private void OnClient(PollEvents events)
    {
        if ((events & PollEvents.Out) != 0)
        {
            Flush();
        }

        _handling = true;
        bool gone = (events & (PollEvents.HangUp | PollEvents.Error)) != 0;
        if (!_broken)
        {
            Process();
        }

        if (!_broken && _client >= 0 && Receives && (events & PollEvents.In) != 0)
        {
            _ = ReceiveOnce();
        }
        else if (gone && _client >= 0)
        {
            // Nobody is left to take an answer; what was not processed yet has no meaning any more.
            _broken = true;
        }

        _handling = false;
        if (_broken)
        {
            Disconnect();
        }
        else
        {
            UpdateInterest();
        }
    }

    /// <summary>Takes what the socket holds, up to the size of the buffer, and processes it.</summary>
    /// <returns>False when there was nothing, or the client is gone.</returns>
    private bool ReceiveOnce()
    {
        if (_head == _tail)
        {
            _head = 0;
            _tail = 0;
            _scanned = 0;
        }
        else if (_head > 0)
        {
            Buffer.BlockCopy(_buffer, _head, _buffer, 0, _tail - _head);
            _tail -= _head;
            _scanned = Math.Max(0, _scanned - _head);
            _head = 0;
        }

        nint received = UnixSocket.Receive(_client, _buffer.AsSpan(_tail), _descriptors, wait: false);
        if (received <= 0)
        {
            _broken |= received != -(nint)Errno.EAGAIN && received != -Libc.EINTR;
            return false;
        }

        _tail += (int)received;
        Process();
        return true;
    }

    /// <summary>
    /// Handles the whole frames in the buffer. Once a command has to wait so do those behind it; replies are taken even then.
    /// </summary>
    private void Process()
    {
        bool waiting = false;
        int start = _head;
        while (_client >= 0 && !_broken && _tail - start >= Wire.HeaderSize)
        {
            ReadOnlySpan<byte> header = _buffer.AsSpan(start, Wire.HeaderSize);
            uint size = BinaryPrimitives.ReadUInt32LittleEndian(header[4..]);
            Frame frame = new(header);
            bool isReply = (frame.Flags & Wire.TypeMask) == Wire.TypeReply && _negotiated;
            if (!isReply && (waiting || Stalled))
            {
                if (_dma.Active == 0 || _twin is not null)
                {
                    return;
                }

                waiting = true;
            }

            if (size < Wire.HeaderSize || size > (uint)_maxFrameSize)
            {
                if (waiting)
                {
                    return;
                }

                // Where the next message starts is unknown: there is no way on after the answer.
                Refuse(frame, Errno.EINVAL, $"its size is {size}, expected {Wire.HeaderSize} to {_maxFrameSize}");
                _broken = true;
                return;
            }

            if (_tail - start < (int)size)
            {
                int needed = start - _head + (int)size;
                if (needed > _buffer.Length && needed <= _maxFrameSize + InitialBufferSize)
                {
                    Array.Resize(ref _buffer, _maxFrameSize + InitialBufferSize);
                }

                return;
            }

            start = waiting || isReply ? ProcessOutOfTurn(frame, start, (int)size, isReply, waiting) : ProcessCommand(frame, start, (int)size);
            if (start < 0)
            {
                return;
            }
        }
    }

    /// <summary>Handles a reply, if that was not done, or passes a command that has to wait over.</summary>
    /// <returns>Where the next frame begins.</returns>
    private int ProcessOutOfTurn(in Frame frame, int start, int size, bool isReply, bool waiting)
    {
        int end = start + size;
        bool closes = isReply && CarriesDescriptors(end);
        if (!waiting)
        {
            _head = end;
        }

        if (isReply && start >= _scanned)
        {
            _scanned = end;
            HandleReply(frame, _buffer.AsSpan(start + Wire.HeaderSize, size - Wire.HeaderSize));
            if (closes)
            {
                _descriptors.CloseAll();
            }
        }

        return end;
    }

    /// <returns>Where the next frame begins, or -1 when this one has to wait.</returns>
    private int ProcessCommand(in Frame frame, int start, int size)
    {
        int end = start + size;
        ReadOnlySpan<byte> payload = _buffer.AsSpan(start + Wire.HeaderSize, size - Wire.HeaderSize);
        if (HoldsVersion(frame, payload))
        {
            return -1;
        }

        _head = end;
        bool takesDescriptors = CarriesDescriptors(end);
        Handle(frame, payload, takesDescriptors);
        if (takesDescriptors)
        {
            _descriptors.CloseAll();
        }

        return end;
    }

    /// <summary>Whether descriptors came with the frame that ends there: they come with the last message that began in the bytes they were received with.</summary>
    private bool CarriesDescriptors(int end) => end >= _tail && _descriptors.Count + (_descriptors.Overflowed ? 1 : 0) > 0;

    private void Flush()
    {
        if (_client < 0 || _replies.Length == 0)
        {
            return;
        }

        Errno error = _replies.Flush(_client);
        if (error == Errno.EAGAIN && _replies.Length <= _options.MaxQueuedReplyBytes)
        {
            UpdateInterest();
            return;
        }

        if (error != Errno.None)
        {
            if (error == Errno.EAGAIN)
            {
                Report($"The client was cut off: it left {_replies.Length} bytes of replies untaken.");
            }

            // Found in the middle of a device's call, perhaps.
            BreakLater();
        }
    }

    private void UpdateInterest()
    {
        if (_connection is not null)
        {
            _connection.Events = (Receives ? PollEvents.In : PollEvents.None)
                | (_replies.Length > 0 ? PollEvents.Out : PollEvents.None);
            foreach (EventRegistration doorbell in _doorbells)
            {
                doorbell.Events = Stalled ? PollEvents.None : PollEvents.In;
            }
        }
    }

    private void Disconnect()
    {
        if (_client < 0)
        {
            return;
        }

        _connection?.Dispose();
        _connection = null;
        _ = Libc.Close(_client);
        _client = -1;
        _head = 0;
        _tail = 0;
        _scanned = 0;
        _versionHeld = false;
        _barrier = false;
        _broken = false;
        _replies.Clear();
        _descriptors.CloseAll();
        CloseDoorbells();
        EndDma();
        Memory.DirtyLog = null;
        if (_buffer.Length > InitialBufferSize)
        {
            _buffer = new byte[InitialBufferSize];
        }

        for (int slot = 0; slot < _requests.Length; slot++)
        {
            if (_requests[slot].Active)
            {
                Release(slot);
            }
        }

        StopWatchingIntxUnmask();
        _interrupts.Clear();
        Memory.Clear();
        if (_negotiated)
        {
            _negotiated = false;
            _device.ClientDisconnected();
        }
    }

    private void Report(string sentence)
    {
        if (_options.Report is not null && _reports < ReportsPerClient)
        {
            _reports++;
            _options.Report($"{SocketPath}: {sentence}");
        }
    }

    /// <summary>The header of one message.</summary>
    private readonly ref struct Frame
    {
        internal Frame(ReadOnlySpan<byte> header)
        {
            MessageId = BinaryPrimitives.ReadUInt16LittleEndian(header);
            Command = (VfioUserCommand)BinaryPrimitives.ReadUInt16LittleEndian(header[2..]);
            Flags = BinaryPrimitives.ReadUInt32LittleEndian(header[8..]);
            Error = (Errno)BinaryPrimitives.ReadInt32LittleEndian(header[12..]);
        }

        internal ushort MessageId { get; }

        internal VfioUserCommand Command { get; }

        internal uint Flags { get; }

        internal Errno Error { get; }

        internal bool NoReply => (Flags & Wire.NoReply) != 0;
    }
}
