// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.VfioUser;
using Cosim.VfioUser.Internal;

namespace Cosim.Fuzzing.Targets;

/// <summary>
/// A client that sends any bytes and holds the server's answers against them: every command that wants an answer has one, with its id and its number,
/// and nothing else comes but the commands of the server.
/// </summary>
internal sealed class PlayedClient(PlayedDevice device)
{
    private const int MostFrame = Wire.HeaderSize + Wire.RegionAccessSize + (64 * 1024);

    private readonly List<(ushort Id, VfioUserCommand Command)> _pending = [];
    private readonly List<(ushort Id, VfioUserCommand Command)> _replies = [];
    private readonly List<ServerCommand> _commands = [];
    private readonly List<int> _doorbells = [];
    private readonly DescriptorQueue _descriptors = new();
    private readonly byte[] _received = new byte[1 << 18];
    private readonly byte[] _twinReceived = new byte[1 << 18];
    private readonly byte[] _header = new byte[Wire.HeaderSize];
    private int _socket = -1;
    private int _twin = -1;
    private int _length;
    private int _twinLength;
    private int _headerLength;
    private long _left;
    private bool _cutFrame;
    private bool _refusesTwin;

    /// <summary>The server has a reason to end the connection.</summary>
    public bool MayBeCut { get; set; }

    /// <summary>Takes no answers until it is true again.</summary>
    public bool Reads { get; set; } = true;

    public bool IsConnected => _socket >= 0;

    public void Connect(string path)
    {
        _socket = UnixSocket.Connect(path);
        _length = _twinLength = _headerLength = 0;
        _left = 0;
        _pending.Clear();
        _replies.Clear();
        _commands.Clear();
        MayBeCut = _cutFrame = _refusesTwin = false;
        Reads = true;
    }

    /// <summary>Leaves, and gives back what the server gave.</summary>
    public void Close()
    {
        CloseOne(ref _socket);
        CloseOne(ref _twin);
        foreach (int doorbell in _doorbells)
        {
            _ = Libc.Close(doorbell);
        }

        _doorbells.Clear();
        _descriptors.CloseAll();
    }

    /// <summary>Sends what the socket takes at once.</summary>
    public void Send(ReadOnlySpan<byte> bytes, ReadOnlySpan<int> descriptors)
    {
        if (_socket < 0 || bytes.IsEmpty)
        {
            return;
        }

        nint sent = UnixSocket.Send(_socket, bytes, descriptors, Libc.MSG_DONTWAIT);
        if (sent > 0)
        {
            Follow(bytes[..(int)sent]);
        }
    }

    /// <summary>Sends on the second socket, where nothing but replies is in order.</summary>
    public void SendTwin(ReadOnlySpan<byte> bytes, ReadOnlySpan<int> descriptors)
    {
        if (_twin >= 0 && !bytes.IsEmpty)
        {
            MayBeCut = _refusesTwin = true;
            _ = UnixSocket.Send(_twin, bytes, descriptors, Libc.MSG_DONTWAIT);
        }
    }

    public void CloseTwin()
    {
        MayBeCut |= _twin >= 0;
        CloseOne(ref _twin);
    }

    /// <summary>Raises an event that the server gave.</summary>
    public void RingDoorbell(int which)
    {
        if (_doorbells.Count != 0)
        {
            EventFd.Signal(_doorbells[which % _doorbells.Count]);
        }
    }

    /// <summary>Answers a command of the server, rightly or wrongly.</summary>
    public void Answer(int which, int how)
    {
        if (_commands.Count == 0)
        {
            return;
        }

        ServerCommand command = _commands[which % _commands.Count];
        if ((how & 0x80) == 0)
        {
            _commands.RemoveAt(which % _commands.Count);
        }

        Span<byte> reply = stackalloc byte[Wire.HeaderSize + Wire.DmaAccessSize];
        reply.Clear();
        bool isRead = command.Command == VfioUserCommand.DmaRead;
        int data = isRead ? (int)command.Count : 0;
        int length = Wire.DmaAccessSize;
        uint flags = Wire.TypeReply;
        uint error = 0;
        switch (how & 0xF)
        {
            case 1 or 2 or 3 or 4:
                flags |= Wire.Error;
                error = (uint)((how & 0xF) switch { 1 => Errno.EACCES, 2 => Errno.ENODEV, 3 => Errno.EPERM, _ => Errno.EIO });
                (length, data) = (0, 0);
                break;
            case 5:
                command = command with { Count = command.Count + 1 };
                break;
            case 6:
                command = command with { Address = command.Address ^ 1 };
                break;
            case 7:
                data = Math.Max(0, data - 1);
                break;
            case 8:
                (length, data) = (0, 0);
                break;
            case 9:
                length = Wire.DmaWriteReplySize;
                break;
            case 10:
                command = command with { Id = (ushort)(command.Id ^ 0x1000) };
                break;
            default:
                break;
        }

        BinaryPrimitives.WriteUInt16LittleEndian(reply, command.Id);
        BinaryPrimitives.WriteUInt16LittleEndian(reply[2..], (ushort)command.Command);
        BinaryPrimitives.WriteInt32LittleEndian(reply[4..], Wire.HeaderSize + length + data);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[8..], flags);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[12..], error);
        BinaryPrimitives.WriteUInt64LittleEndian(reply[16..], command.Address);
        BinaryPrimitives.WriteUInt64LittleEndian(reply[24..], command.Count);
        byte[] frame = new byte[Wire.HeaderSize + length + data];
        reply[..(Wire.HeaderSize + length)].CopyTo(frame);
        if (command.OnTwin)
        {
            // One that answers nothing is refused on the first socket.
            _replies.Add((command.Id, command.Command));
            if (_twin >= 0)
            {
                _ = UnixSocket.Send(_twin, frame, [], Libc.MSG_DONTWAIT);
            }
        }
        else
        {
            Send(frame, []);
        }
    }

    /// <summary>Takes and checks what has come.</summary>
    /// <returns>Whether anything has.</returns>
    public bool Receive()
    {
        bool any = false;
        while (Reads && _socket >= 0)
        {
            nint count = UnixSocket.Receive(_socket, _received.AsSpan(_length), _descriptors, wait: false);
            if (count == -(nint)Errno.EAGAIN)
            {
                break;
            }

            any = true;
            if (count <= 0)
            {
                Require(MayBeCut || _cutFrame || !device.HasClient, "the server has cut off a client that did nothing wrong");
                Close();
                _pending.Clear();
                return true;
            }

            _length += (int)count;
            TakeFrames(_received, ref _length, onTwin: false);
        }

        while (Reads && _twin >= 0)
        {
            nint count = UnixSocket.Receive(_twin, _twinReceived.AsSpan(_twinLength), _descriptors, wait: false);
            if (count <= 0)
            {
                break;
            }

            any = true;
            _twinLength += (int)count;
            TakeFrames(_twinReceived, ref _twinLength, onTwin: true);
        }

        return any;
    }

    /// <summary>Once nothing is under way: all that wanted an answer has one.</summary>
    public void CheckAnswered()
    {
        if (_socket >= 0)
        {
            Require(!_cutFrame, "the client is still served after a message of which nobody knows where it ends");
            Require(_pending.Count == 0, _pending.Count == 0 ? "" : $"{_pending[0].Command} with id {_pending[0].Id} is never answered");
        }
    }

    private static void CloseOne(ref int socket)
    {
        if (socket >= 0)
        {
            _ = Libc.Close(socket);
            socket = -1;
        }
    }

    private static void Require(bool holds, string what)
    {
        if (!holds)
        {
            throw new FindingException(what);
        }
    }

    // Finds the messages in what was sent, as the server will find them.
    private void Follow(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty && !_cutFrame)
        {
            if (_left != 0)
            {
                int skipped = (int)Math.Min(_left, bytes.Length);
                _left -= skipped;
                bytes = bytes[skipped..];
                if (_left == 0)
                {
                    Expect();
                }

                continue;
            }

            int part = Math.Min(bytes.Length, Wire.HeaderSize - _headerLength);
            bytes[..part].CopyTo(_header.AsSpan(_headerLength));
            _headerLength += part;
            bytes = bytes[part..];
            if (_headerLength < Wire.HeaderSize)
            {
                return;
            }

            _headerLength = 0;
            uint size = BinaryPrimitives.ReadUInt32LittleEndian(_header.AsSpan(4));
            _cutFrame = size is < Wire.HeaderSize or > MostFrame;
            _left = _cutFrame ? 0 : size - Wire.HeaderSize;
            if (_left == 0)
            {
                Expect();
            }
        }
    }

    private void Expect()
    {
        uint flags = BinaryPrimitives.ReadUInt32LittleEndian(_header.AsSpan(8));
        (ushort, VfioUserCommand) command = (BinaryPrimitives.ReadUInt16LittleEndian(_header), (VfioUserCommand)BinaryPrimitives.ReadUInt16LittleEndian(_header.AsSpan(2)));
        if ((flags & Wire.NoReply) == 0)
        {
            // A reply is answered only where it answers nothing.
            ((flags & Wire.TypeMask) == Wire.TypeReply ? _replies : _pending).Add(command);
        }
    }

    private void TakeFrames(byte[] buffer, ref int length, bool onTwin)
    {
        int at = 0;
        while (length - at >= Wire.HeaderSize)
        {
            uint size = BinaryPrimitives.ReadUInt32LittleEndian(buffer.AsSpan(at + 4));
            Require(size is >= Wire.HeaderSize and <= MostFrame + 4096, "the server's message has a size that none has");
            if (length - at < (int)size)
            {
                break;
            }

            TakeFrame(buffer.AsSpan(at, (int)size), onTwin, isLast: at + (int)size == length);
            at += (int)size;
        }

        Buffer.BlockCopy(buffer, at, buffer, 0, length - at);
        length -= at;
    }

    private void TakeFrame(ReadOnlySpan<byte> frame, bool onTwin, bool isLast)
    {
        ushort id = BinaryPrimitives.ReadUInt16LittleEndian(frame);
        VfioUserCommand command = (VfioUserCommand)BinaryPrimitives.ReadUInt16LittleEndian(frame[2..]);
        uint flags = BinaryPrimitives.ReadUInt32LittleEndian(frame[8..]);
        uint error = BinaryPrimitives.ReadUInt32LittleEndian(frame[12..]);
        ReadOnlySpan<byte> payload = frame[Wire.HeaderSize..];
        if (flags == Wire.TypeCommand)
        {
            Require(command is VfioUserCommand.DmaRead or VfioUserCommand.DmaWrite && error == 0 && payload.Length >= Wire.DmaAccessSize, "the server sends a command that is none of its own");
            ulong count = BinaryPrimitives.ReadUInt64LittleEndian(payload[8..]);
            Require((ulong)payload.Length == Wire.DmaAccessSize + (command == VfioUserCommand.DmaWrite ? count : 0) && count is >= 1 and <= PlayedDevice.LargeBytes, "DMA_READ or DMA_WRITE has a wrong length");
            _commands.Add(new ServerCommand(id, command, BinaryPrimitives.ReadUInt64LittleEndian(payload), count, onTwin));
            return;
        }

        Require(!onTwin, "a reply comes on the twin socket");
        // What answers nothing is refused on the first socket, whichever it came on, and with the id of a command that waits, perhaps.
        Require(_pending.Remove((id, command)) || _replies.Remove((id, command)) || _refusesTwin, $"{command} with id {id} is answered, and was not asked or is answered twice");
        if ((flags & Wire.Error) != 0)
        {
            Require(flags == (Wire.TypeReply | Wire.Error) && error is > 0 and < 200 && payload.IsEmpty, "a refusal has another form");
            return;
        }

        Require(flags == Wire.TypeReply && error == 0, "a reply has other flags than a reply has");
        int least = command switch
        {
            VfioUserCommand.Version => Wire.VersionSize,
            VfioUserCommand.DmaUnmap => Wire.DmaUnmapSize,
            VfioUserCommand.DeviceGetInfo => Wire.DeviceInfoSize,
            VfioUserCommand.DeviceGetRegionInfo => Wire.RegionInfoSize,
            VfioUserCommand.DeviceGetIrqInfo => Wire.IrqInfoSize,
            VfioUserCommand.DeviceGetRegionIoFds => Wire.RegionIoFdsSize,
            VfioUserCommand.RegionRead or VfioUserCommand.RegionWrite => Wire.RegionAccessSize,
            VfioUserCommand.RegionWriteMulti => Wire.WriteMultiSize,
            VfioUserCommand.DeviceFeature => Wire.FeatureSize,
            _ => 0,
        };
        Require(payload.Length >= least, $"the reply to {command} has {payload.Length} bytes; expected at least {least}");
        if (isLast)
        {
            // Descriptors come with the last message that began in the bytes they were received with.
            TakeDescriptors(command, payload);
        }

        if (command == VfioUserCommand.RegionRead)
        {
            CheckRead(payload);
        }
    }

    private static void CheckRead(ReadOnlySpan<byte> payload)
    {
        ulong offset = BinaryPrimitives.ReadUInt64LittleEndian(payload);
        ReadOnlySpan<byte> data = payload[Wire.RegionAccessSize..];
        Require(BinaryPrimitives.ReadUInt32LittleEndian(payload[12..]) == (uint)data.Length, "the reply to REGION_READ has another count than bytes");
        Require(data.IsEmpty || (data[0] == PlayedDevice.ByteAt(offset) && data[^1] == PlayedDevice.ByteAt(offset + (uint)data.Length - 1)), "REGION_READ gives other bytes than the device's");
    }

    private void TakeDescriptors(VfioUserCommand command, ReadOnlySpan<byte> payload)
    {
        Require(!_descriptors.Overflowed, "more descriptors come than a message may have");
        if (_descriptors.Count == 0)
        {
            return;
        }

        if (command == VfioUserCommand.Version && _descriptors.Count == 1)
        {
            CloseOne(ref _twin);
            _twin = _descriptors.Take(0);
        }
        else if (command == VfioUserCommand.DeviceGetRegionIoFds)
        {
            Require(BinaryPrimitives.ReadUInt32LittleEndian(payload[12..]) == (uint)_descriptors.Count, "GET_REGION_IO_FDS says another number of descriptors than come");
            for (int i = 0; i < _descriptors.Count; i++)
            {
                _doorbells.Add(_descriptors.Take(i));
            }
        }

        _descriptors.CloseAll();
    }

    /// <summary>A command of the server that was not answered.</summary>
    private readonly record struct ServerCommand(ushort Id, VfioUserCommand Command, ulong Address, ulong Count, bool OnTwin);
}
