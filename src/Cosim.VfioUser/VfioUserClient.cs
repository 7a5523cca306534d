// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Cosim.VfioUser.Internal;

namespace Cosim.VfioUser;

/// <summary>
/// The client half of vfio-user: one request at a time, each waiting for its answer. One thread at a time.
/// Reads and writes of regions allocate nothing. While it waits it answers what the server asks for.
/// </summary>
public sealed unsafe partial class VfioUserClient : IDisposable
{
    private readonly DescriptorQueue _received = new();
    private byte[] _buffer = new byte[4096];
    private int _socket;
    private ushort _nextId = 1;

    private readonly int _ownDataLimit;
    private readonly bool _asksForTwin;

    private VfioUserClient(int socket, VfioUserClientOptions options)
    {
        _socket = socket;
        _memory = options.Memory;
        _timeoutMilliseconds = options.TimeoutMilliseconds > 0 ? options.TimeoutMilliseconds : -1;
        _ownDataLimit = options.MaxDataTransferSize;
        _asksForTwin = options.TwinSocket;
        Data = VersionData.Default;
    }

    /// <summary>Most bytes the server takes in one region access.</summary>
    public int MaxDataTransferSize => (int)Math.Min(Data.MaxDataTransfer, int.MaxValue);

    /// <summary>Most descriptors the server takes in one message.</summary>
    public int MaxDescriptors => Data.MaxDescriptors;

    /// <summary>The server takes REGION_WRITE_MULTI.</summary>
    public bool WriteMultiple => Data.WriteMultiple;

    /// <summary>The connection, to be watched for the server's end; owned by this object.</summary>
    public int Fd => _socket;

    private VersionData Data { get; set; }

    /// <summary>Connects to a server.</summary>
    /// <param name="path">Its socket.</param>
    /// <param name="options">Null for the usual ones.</param>
    /// <exception cref="VfioUserException">Nobody listens, or the version was refused or not answered in time.</exception>
    public static VfioUserClient Connect(string path, VfioUserClientOptions? options = null)
    {
        options ??= new VfioUserClientOptions();
        VfioUserClient client = new(UnixSocket.Connect(path), options);
        try
        {
            if (options.TimeoutMilliseconds > 0)
            {
                // struct timeval: seconds, microseconds.
                long* limit = stackalloc long[] { options.TimeoutMilliseconds / 1000, options.TimeoutMilliseconds % 1000 * 1000 };
                _ = Libc.SetSocketOption(client._socket, Libc.SOL_SOCKET, Libc.SO_RCVTIMEO, limit, 16);
            }

            if (options.Negotiate)
            {
                client.Negotiate(options.WriteMultiple);
            }

            return client;
        }
        catch
        {
            client.Dispose();
            throw;
        }
    }

    /// <summary>Asks for version 0.0 and tells what this client can take.</summary>
    public void Negotiate(bool writeMultiple = true)
    {
        byte[] offered = VersionData.Compose(_ownDataLimit, 65535, writeMultiple, 256, _asksForTwin ? VersionData.TwinRequest : string.Empty);
        byte[] payload = new byte[Wire.VersionSize + offered.Length];
        offered.CopyTo(payload, Wire.VersionSize);
        byte[] reply = Request(VfioUserCommand.Version, payload).Payload;
        if (reply.Length < Wire.VersionSize
            || BinaryPrimitives.ReadUInt16LittleEndian(reply) != 0
            || !VersionData.TryParse(reply.AsSpan(Wire.VersionSize), out VersionData data))
        {
            throw new VfioUserException("The server's VERSION reply is malformed.", Errno.EINVAL);
        }

        Data = data;
        if (data.TwinSocket)
        {
            TakeTwin();
        }
    }

    /// <summary>Describes a region.</summary>
    public RegionInfo GetRegion(int index)
    {
        Span<byte> payload = stackalloc byte[Wire.RegionInfoSize];
        payload.Clear();
        BinaryPrimitives.WriteInt32LittleEndian(payload, Wire.RegionInfoSize);
        BinaryPrimitives.WriteInt32LittleEndian(payload[8..], index);
        byte[] reply = Request(VfioUserCommand.DeviceGetRegionInfo, payload, [], Wire.RegionInfoSize).Payload;
        return new RegionInfo(
            BinaryPrimitives.ReadUInt64LittleEndian(reply.AsSpan(16)),
            (RegionFlags)BinaryPrimitives.ReadUInt32LittleEndian(reply.AsSpan(4)));
    }

    /// <summary>Describes an interrupt index.</summary>
    public IrqInfo GetIrq(int index)
    {
        Span<byte> payload = stackalloc byte[Wire.IrqInfoSize];
        payload.Clear();
        BinaryPrimitives.WriteInt32LittleEndian(payload, Wire.IrqInfoSize);
        BinaryPrimitives.WriteInt32LittleEndian(payload[8..], index);
        byte[] reply = Request(VfioUserCommand.DeviceGetIrqInfo, payload, [], Wire.IrqInfoSize).Payload;
        return new IrqInfo(
            BinaryPrimitives.ReadInt32LittleEndian(reply.AsSpan(12)),
            (IrqFlags)BinaryPrimitives.ReadUInt32LittleEndian(reply.AsSpan(4)));
    }

    /// <summary>Lends memory to the device.</summary>
    /// <param name="memory">What is lent; stays the caller's.</param>
    /// <param name="offset">Where in the memory the range starts.</param>
    /// <param name="address">DMA address of its first byte.</param>
    /// <param name="size">Bytes.</param>
    /// <param name="access">What the device may do.</param>
    public void Map(SharedMemory memory, ulong offset, ulong address, ulong size, DmaAccess access = DmaAccess.ReadWrite)
    {
        ArgumentNullException.ThrowIfNull(memory);
        Map(memory.Fd, offset, address, size, access);
    }

    /// <summary>Lends memory to the device by its descriptor, or, with -1, announces a range it cannot reach directly.</summary>
    public void Map(int fd, ulong offset, ulong address, ulong size, DmaAccess access = DmaAccess.ReadWrite)
    {
        Span<byte> payload = stackalloc byte[Wire.DmaMapSize];
        BinaryPrimitives.WriteInt32LittleEndian(payload, Wire.DmaMapSize);
        BinaryPrimitives.WriteInt32LittleEndian(payload[4..], (int)access);
        BinaryPrimitives.WriteUInt64LittleEndian(payload[8..], offset);
        BinaryPrimitives.WriteUInt64LittleEndian(payload[16..], address);
        BinaryPrimitives.WriteUInt64LittleEndian(payload[24..], size);
        _ = Request(VfioUserCommand.DmaMap, payload, fd < 0 ? [] : [fd]);
    }

    /// <summary>Takes a range back; when this returns the device no longer uses it.</summary>
    public void Unmap(ulong address, ulong size) => Unmap(address, size, 0);

    /// <summary>Takes all ranges back.</summary>
    public void UnmapAll() => Unmap(0, 0, Wire.DmaUnmapAll);

    /// <summary>Reads from a region.</summary>
    /// <param name="region">Region index; see <see cref="VfioPci"/>.</param>
    /// <param name="offset">First byte.</param>
    /// <param name="destination">Takes as many bytes as it has.</param>
    public void Read(int region, ulong offset, Span<byte> destination)
    {
        Span<byte> request = stackalloc byte[Wire.HeaderSize + Wire.RegionAccessSize];
        ushort id = FillHeader(request, VfioUserCommand.RegionRead, request.Length, 0);
        FillAccess(request[Wire.HeaderSize..], region, offset, destination.Length);
        SendAll(_socket, request, []);
        ReadOnlySpan<byte> payload = ReceiveAnswer(id, VfioUserCommand.RegionRead, Wire.RegionAccessSize + destination.Length);
        payload[Wire.RegionAccessSize..].CopyTo(destination);
    }

    /// <summary>Reads a little-endian 32-bit value.</summary>
    public uint ReadUInt32(int region, ulong offset)
    {
        Span<byte> value = stackalloc byte[4];
        Read(region, offset, value);
        return BinaryPrimitives.ReadUInt32LittleEndian(value);
    }

    /// <summary>Writes a little-endian 32-bit value.</summary>
    public void WriteUInt32(int region, ulong offset, uint value, bool posted = false)
    {
        Span<byte> data = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(data, value);
        Write(region, offset, data, posted);
    }

    /// <summary>Writes to a region.</summary>
    /// <param name="region">Region index; see <see cref="VfioPci"/>.</param>
    /// <param name="offset">First byte.</param>
    /// <param name="data">What is written.</param>
    /// <param name="posted">Do not wait for the end, nor hear of an error (No_reply).</param>
    public void Write(int region, ulong offset, ReadOnlySpan<byte> data, bool posted = false)
    {
        int size = Wire.HeaderSize + Wire.RegionAccessSize + data.Length;
        EnsureBuffer(size);
        Span<byte> request = _buffer.AsSpan(0, size);
        ushort id = FillHeader(request, VfioUserCommand.RegionWrite, size, posted ? Wire.NoReply : 0);
        FillAccess(request[Wire.HeaderSize..], region, offset, data.Length);
        data.CopyTo(request[(Wire.HeaderSize + Wire.RegionAccessSize)..]);
        SendAll(_socket, request, []);
        if (!posted)
        {
            _ = ReceiveAnswer(id, VfioUserCommand.RegionWrite, Wire.RegionAccessSize);
        }
    }

    /// <summary>Sets interrupts up, masks or triggers them.</summary>
    /// <param name="index">Interrupt index; see <see cref="VfioPci"/>.</param>
    /// <param name="flags">One kind of data and one action.</param>
    /// <param name="start">First interrupt.</param>
    /// <param name="count">How many.</param>
    /// <param name="data">With <see cref="IrqSetFlags.DataBool"/> a byte each.</param>
    /// <param name="eventFds">With <see cref="IrqSetFlags.DataEventFd"/> a descriptor each, or none.</param>
    public void SetIrqs(int index, IrqSetFlags flags, int start, int count, ReadOnlySpan<byte> data = default, ReadOnlySpan<int> eventFds = default)
    {
        Span<byte> payload = new byte[Wire.IrqSetSize + data.Length];
        BinaryPrimitives.WriteInt32LittleEndian(payload, payload.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(payload[4..], (uint)flags);
        BinaryPrimitives.WriteInt32LittleEndian(payload[8..], index);
        BinaryPrimitives.WriteInt32LittleEndian(payload[12..], start);
        BinaryPrimitives.WriteInt32LittleEndian(payload[16..], count);
        data.CopyTo(payload[Wire.IrqSetSize..]);
        _ = Request(VfioUserCommand.DeviceSetIrqs, payload, eventFds);
    }

    /// <summary>Gives an eventfd to each of some MSI-X vectors, in as many messages as the server's limit takes.</summary>
    /// <param name="start">First vector.</param>
    /// <param name="eventFds">One each.</param>
    public void ArmMsix(int start, ReadOnlySpan<EventFd> eventFds)
    {
        int chunk = Math.Clamp(MaxDescriptors, 1, Wire.MaxDescriptors);
        Span<int> descriptors = stackalloc int[Wire.MaxDescriptors];
        for (int done = 0; done < eventFds.Length; done += chunk)
        {
            int count = Math.Min(chunk, eventFds.Length - done);
            for (int offset = 0; offset < count; offset++)
            {
                descriptors[offset] = eventFds[done + offset].Fd;
            }

            SetIrqs(
                VfioPci.MsixIrqIndex,
                IrqSetFlags.ActionTrigger | IrqSetFlags.DataEventFd,
                start + done,
                count,
                default,
                descriptors[..count]);
        }
    }

    /// <summary>Takes the eventfds of some MSI-X vectors away.</summary>
    public void DisarmMsix(int start, int count) =>
        SetIrqs(VfioPci.MsixIrqIndex, IrqSetFlags.ActionTrigger | IrqSetFlags.DataEventFd, start, count);

    /// <summary>Resets the device.</summary>
    public void Reset() => _ = Request(VfioUserCommand.DeviceReset, []);

    /// <summary>Sends a request with a header of its own and waits for the answer.</summary>
    /// <param name="command">What is asked.</param>
    /// <param name="payload">What follows the header.</param>
    /// <param name="descriptors">Descriptors to send with it.</param>
    /// <param name="expected">Least length of the answer's payload.</param>
    /// <exception cref="VfioUserException">The server refused, left, did not answer in time, or answered something else.</exception>
    public VfioUserReply Request(VfioUserCommand command, ReadOnlySpan<byte> payload, ReadOnlySpan<int> descriptors = default, int expected = 0)
    {
        ushort id = Send(command, payload, descriptors);
        VfioUserReply reply = Receive();
        CheckAnswer(id, command, reply.MessageId, reply.Command, reply.Flags, reply.Error, reply.Payload.Length, expected);
        return reply;
    }

    /// <summary>Sends a request with a header of its own and does not wait.</summary>
    /// <returns>Its message id.</returns>
    public ushort Send(VfioUserCommand command, ReadOnlySpan<byte> payload, ReadOnlySpan<int> descriptors = default, bool noReply = false)
    {
        int size = Wire.HeaderSize + payload.Length;
        EnsureBuffer(size);
        Span<byte> request = _buffer.AsSpan(0, size);
        ushort id = FillHeader(request, command, size, noReply ? Wire.NoReply : 0);
        payload.CopyTo(request[Wire.HeaderSize..]);
        SendAll(_socket, request, descriptors);
        return id;
    }

    /// <summary>Sends bytes as they are; for peers that are to be tested.</summary>
    public void SendRaw(ReadOnlySpan<byte> bytes, ReadOnlySpan<int> descriptors = default) => SendAll(_socket, bytes, descriptors);

    /// <summary>Waits for the next message that is not answered from <see cref="VfioUserClientOptions.Memory"/>, whatever it is.</summary>
    /// <exception cref="VfioUserException">ENOTCONN when the server closed the connection, ETIMEDOUT when nothing came.</exception>
    public VfioUserReply Receive()
    {
        ReadOnlySpan<byte> message = ReceiveMessage();
        return new VfioUserReply(
            BinaryPrimitives.ReadUInt16LittleEndian(message),
            (VfioUserCommand)BinaryPrimitives.ReadUInt16LittleEndian(message[2..]),
            BinaryPrimitives.ReadUInt32LittleEndian(message[8..]),
            (Errno)BinaryPrimitives.ReadInt32LittleEndian(message[12..]),
            message[Wire.HeaderSize..].ToArray());
    }

    /// <summary>Leaves the server.</summary>
    public void Dispose()
    {
        if (_socket >= 0)
        {
            _ = Libc.Close(_socket);
            _socket = -1;
            _received.CloseAll();
            if (_twin >= 0)
            {
                _ = Libc.Close(_twin);
                _twin = -1;
            }
        }
    }

    private static void FillAccess(Span<byte> payload, int region, ulong offset, int count)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(payload, offset);
        BinaryPrimitives.WriteInt32LittleEndian(payload[8..], region);
        BinaryPrimitives.WriteInt32LittleEndian(payload[12..], count);
    }

    private static void CheckAnswer(
        ushort id,
        VfioUserCommand command,
        ushort answeredId,
        VfioUserCommand answeredCommand,
        uint flags,
        Errno error,
        int length,
        int expected)
    {
        if ((flags & Wire.TypeMask) != Wire.TypeReply || answeredId != id || answeredCommand != command)
        {
            throw new VfioUserException(
                $"The server sent {answeredCommand} {answeredId} (flags 0x{flags:x}) where the answer to {command} {id} was expected.",
                Errno.EINVAL);
        }

        if ((flags & Wire.Error) != 0)
        {
            throw new VfioUserException($"The server refused {command} with {error}.", error);
        }

        if (length < expected)
        {
            throw new VfioUserException($"The answer to {command} has {length} bytes, expected {expected}.", Errno.EINVAL);
        }
    }

    private void Unmap(ulong address, ulong size, uint flags)
    {
        Span<byte> payload = stackalloc byte[Wire.DmaUnmapSize];
        BinaryPrimitives.WriteInt32LittleEndian(payload, Wire.DmaUnmapSize);
        BinaryPrimitives.WriteUInt32LittleEndian(payload[4..], flags);
        BinaryPrimitives.WriteUInt64LittleEndian(payload[8..], address);
        BinaryPrimitives.WriteUInt64LittleEndian(payload[16..], size);
        _ = Request(VfioUserCommand.DmaUnmap, payload, [], Wire.DmaUnmapSize);
    }

    private ushort FillHeader(Span<byte> message, VfioUserCommand command, int size, uint flags)
    {
        ushort id = _nextId++;
        BinaryPrimitives.WriteUInt16LittleEndian(message, id);
        BinaryPrimitives.WriteUInt16LittleEndian(message[2..], (ushort)command);
        BinaryPrimitives.WriteInt32LittleEndian(message[4..], size);
        BinaryPrimitives.WriteUInt32LittleEndian(message[8..], flags);
        BinaryPrimitives.WriteUInt32LittleEndian(message[12..], 0);
        return id;
    }

    private ReadOnlySpan<byte> ReceiveAnswer(ushort id, VfioUserCommand command, int expected)
    {
        ReadOnlySpan<byte> message = ReceiveMessage();
        CheckAnswer(
            id,
            command,
            BinaryPrimitives.ReadUInt16LittleEndian(message),
            (VfioUserCommand)BinaryPrimitives.ReadUInt16LittleEndian(message[2..]),
            BinaryPrimitives.ReadUInt32LittleEndian(message[8..]),
            (Errno)BinaryPrimitives.ReadInt32LittleEndian(message[12..]),
            message.Length - Wire.HeaderSize,
            expected);
        return message[Wire.HeaderSize..];
    }

    private ReadOnlySpan<byte> ReceiveMessage()
    {
        while (true)
        {
            int socket = _socket;
            if (_twin >= 0)
            {
                socket = WaitForInput(_timeoutMilliseconds);
                if (socket < 0)
                {
                    throw new VfioUserException("The server did not answer in time.", Errno.ETIMEDOUT);
                }
            }

            ReadOnlySpan<byte> message = ReceiveFrame(socket);
            if (!TryServe(socket, message))
            {
                return message;
            }
        }
    }

    private ReadOnlySpan<byte> ReceiveFrame(int socket)
    {
        _received.CloseAll();
        ReceiveExactly(socket, 0, Wire.HeaderSize);
        int size = BinaryPrimitives.ReadInt32LittleEndian(_buffer.AsSpan(4));
        if (size < Wire.HeaderSize || size > Wire.HeaderSize + Wire.RegionAccessSize + Wire.DefaultMaxDataTransfer)
        {
            throw new VfioUserException($"The server announced a message of {size} bytes.", Errno.EINVAL);
        }

        EnsureBuffer(size);
        ReceiveExactly(socket, Wire.HeaderSize, size);
        return _buffer.AsSpan(0, size);
    }

    private void ReceiveExactly(int socket, int start, int end)
    {
        while (start < end)
        {
            nint received = UnixSocket.Receive(socket, _buffer.AsSpan(start, end - start), _received, wait: true);
            if (received > 0)
            {
                start += (int)received;
                continue;
            }

            if (received == -Libc.EINTR)
            {
                continue;
            }

            if (received == -(nint)Errno.EAGAIN)
            {
                throw new VfioUserException("The server did not answer in time.", Errno.ETIMEDOUT);
            }

            throw new VfioUserException("The server closed the connection.", Errno.ENOTCONN);
        }
    }

    private static void SendAll(int socket, ReadOnlySpan<byte> bytes, ReadOnlySpan<int> descriptors)
    {
        while (!bytes.IsEmpty)
        {
            nint sent = UnixSocket.Send(socket, bytes, descriptors);
            if (sent >= 0)
            {
                bytes = bytes[(int)sent..];
                descriptors = default;
            }
            else if (Marshal.GetLastPInvokeError() != Libc.EINTR)
            {
                throw VfioUserException.FromLastError("Sending to the server");
            }
        }
    }

    private void EnsureBuffer(int size)
    {
        if (_buffer.Length < size)
        {
            Array.Resize(ref _buffer, (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)size));
        }
    }
}
