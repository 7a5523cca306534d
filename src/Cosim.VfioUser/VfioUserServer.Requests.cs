// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.VfioUser.Internal;

namespace Cosim.VfioUser;

/// <content>What each message asks for, and its answer.</content>
public sealed unsafe partial class VfioUserServer
{
    /// <summary>Whether the frame is a VERSION in order that has to wait for the link; it then stays in the buffer.</summary>
    private bool HoldsVersion(in Frame frame, ReadOnlySpan<byte> payload)
    {
        _versionHeld = !_linkUp && !_negotiated && frame.Command == VfioUserCommand.Version && IsVersion(frame, payload, out _);
        return _versionHeld;
    }

    private static bool IsVersion(in Frame frame, ReadOnlySpan<byte> payload, out VersionData data)
    {
        data = VersionData.Default;
        return (frame.Flags & Wire.TypeMask) == Wire.TypeCommand
            && payload.Length >= Wire.VersionSize
            && BinaryPrimitives.ReadUInt16LittleEndian(payload) == 0
            && VersionData.TryParse(payload[Wire.VersionSize..], out data);
    }

    private void Handle(in Frame frame, ReadOnlySpan<byte> payload, bool takesDescriptors)
    {
        if ((frame.Flags & Wire.TypeMask) != Wire.TypeCommand)
        {
            Refuse(frame, Errno.EINVAL, "it is no command, and nothing was asked");
            return;
        }

        if ((frame.Flags & (Wire.Error | ~(Wire.TypeMask | Wire.NoReply | Wire.Error))) != 0)
        {
            Refuse(frame, Errno.EINVAL, $"its flags are 0x{frame.Flags:x}, expected none but No_reply in a command");
            _broken |= !_negotiated;
            return;
        }

        if (!_negotiated)
        {
            HandleVersion(frame, payload);
            return;
        }

        switch (frame.Command)
        {
            case VfioUserCommand.RegionRead:
                HandleRegionRead(frame, payload);
                break;
            case VfioUserCommand.RegionWrite:
                HandleRegionWrite(frame, payload);
                break;
            case VfioUserCommand.RegionWriteMulti:
                HandleRegionWriteMulti(frame, payload);
                break;
            case VfioUserCommand.DmaMap:
                HandleDmaMap(frame, payload, takesDescriptors);
                break;
            case VfioUserCommand.DmaUnmap:
                HandleDmaUnmap(frame, payload);
                break;
            case VfioUserCommand.DeviceGetInfo:
                HandleGetInfo(frame, payload);
                break;
            case VfioUserCommand.DeviceGetRegionInfo:
                HandleGetRegionInfo(frame, payload);
                break;
            case VfioUserCommand.DeviceGetIrqInfo:
                HandleGetIrqInfo(frame, payload);
                break;
            case VfioUserCommand.DeviceSetIrqs:
                HandleSetIrqs(frame, payload, takesDescriptors);
                break;
            case VfioUserCommand.DeviceReset:
                HandleReset(frame, payload);
                break;
            case VfioUserCommand.DeviceGetRegionIoFds:
                HandleGetRegionIoFds(frame, payload);
                break;
            case VfioUserCommand.DeviceFeature:
                HandleDeviceFeature(frame, payload);
                break;
            case VfioUserCommand.DirtyPages:
            case VfioUserCommand.MigDataRead:
            case VfioUserCommand.MigDataWrite:
                Refuse(frame, Errno.ENOTSUP, "it is not offered");
                break;
            default:
                Refuse(frame, Errno.EINVAL, "it is no command for a server that has been told the version");
                break;
        }
    }

    private void HandleVersion(in Frame frame, ReadOnlySpan<byte> payload)
    {
        if (frame.Command != VfioUserCommand.Version || !IsVersion(frame, payload, out VersionData data))
        {
            Refuse(frame, Errno.EINVAL, "expected VERSION 0.x with NUL-terminated JSON as the first message");
            _broken = true;
            return;
        }

        _negotiated = true;
        _dataLimit = (int)Math.Min(data.MaxDataTransfer, _options.MaxDataTransferSize);
        _clientDescriptors = data.MaxDescriptors;
        int passed = -1;
        bool twin = data.TwinSocket && _clientDescriptors > 0 && !frame.NoReply && TryOpenTwin(out passed);

        // QEMU takes no more bytes than it sent; it does not ask for a twin socket, and who does has room for the answer.
        string twinReply = twin ? VersionData.TwinReply : string.Empty;
        byte[] offered = VersionData.Compose(
            _options.MaxDataTransferSize, _options.MaxDmaMaps, data.WriteMultiple, payload.Length - Wire.VersionSize + twinReply.Length, twinReply);
        if (!frame.NoReply)
        {
            // Major and minor 0: the version that every minor includes.
            Span<byte> reply = AddReply(frame.MessageId, frame.Command, Wire.VersionSize + offered.Length);
            offered.CopyTo(reply[Wire.VersionSize..]);
            if (twin)
            {
                _replies.Attach([passed], close: true);
            }

            Flush();
        }

        _device.ClientConnected();
    }

    private void HandleRegionRead(in Frame frame, ReadOnlySpan<byte> payload)
    {
        if (!CheckAccess(frame, payload, RegionFlags.Read, out ulong offset, out int region, out uint count))
        {
            return;
        }

        RequestToken token = BeginAccess(frame, region, offset, count);
        if (count == 0)
        {
            CompleteRead(token, []);
            return;
        }

        _device.Read(new RegionAccess(token, region, offset, (int)count, frame.NoReply));
    }

    private void HandleRegionWrite(in Frame frame, ReadOnlySpan<byte> payload)
    {
        if (!CheckAccess(frame, payload, RegionFlags.Write, out ulong offset, out int region, out uint count))
        {
            return;
        }

        RequestToken token = BeginAccess(frame, region, offset, count);
        if (count == 0)
        {
            CompleteWrite(token);
            return;
        }

        _device.Write(new RegionAccess(token, region, offset, (int)count, frame.NoReply), payload[Wire.RegionAccessSize..]);
    }

    private RequestToken BeginAccess(in Frame frame, int region, ulong offset, uint count)
    {
        RequestToken token = Begin(frame);
        ref Request request = ref _requests[token.Slot];
        request.Region = (uint)region;
        request.Offset = offset;
        request.Count = count;
        return token;
    }

    private bool CheckAccess(
        in Frame frame,
        ReadOnlySpan<byte> payload,
        RegionFlags direction,
        out ulong offset,
        out int region,
        out uint count)
    {
        offset = 0;
        region = 0;
        count = 0;
        if (payload.Length < Wire.RegionAccessSize)
        {
            Refuse(frame, Errno.EINVAL, $"it has {payload.Length} bytes, expected at least {Wire.RegionAccessSize}");
            return false;
        }

        offset = BinaryPrimitives.ReadUInt64LittleEndian(payload);
        uint index = BinaryPrimitives.ReadUInt32LittleEndian(payload[8..]);
        count = BinaryPrimitives.ReadUInt32LittleEndian(payload[12..]);
        if (count > (uint)_options.MaxDataTransferSize)
        {
            Refuse(frame, Errno.EINVAL, $"it is for {count} bytes, expected at most {_options.MaxDataTransferSize}");
            return false;
        }

        uint expected = direction == RegionFlags.Write ? count : 0;
        if ((uint)(payload.Length - Wire.RegionAccessSize) != expected)
        {
            Refuse(frame, Errno.EINVAL, $"it carries {payload.Length - Wire.RegionAccessSize} bytes of data, expected {expected}");
            return false;
        }

        region = (int)index;
        return CheckBounds(frame, direction, offset, index, count);
    }

    private bool CheckBounds(in Frame frame, RegionFlags direction, ulong offset, uint index, uint count)
    {
        if (index >= VfioPci.RegionCount)
        {
            Refuse(frame, Errno.EINVAL, $"region {index} does not exist");
            return false;
        }

        RegionInfo info = _device.GetRegion((int)index);
        if (count > info.Size || offset > info.Size - count)
        {
            Refuse(frame, Errno.EINVAL, $"region {index} has {info.Size} bytes, and offset {offset} with {count} bytes lies beyond");
            return false;
        }

        if ((info.Flags & direction) == 0)
        {
            Refuse(frame, Errno.EACCES, $"region {index} does not allow it");
            return false;
        }

        return true;
    }

    private void HandleRegionWriteMulti(in Frame frame, ReadOnlySpan<byte> payload)
    {
        ulong writes = payload.Length >= Wire.WriteMultiSize ? BinaryPrimitives.ReadUInt64LittleEndian(payload) : 0;
        if (writes is 0 or > Wire.WriteMultiMaximum
            || payload.Length != Wire.WriteMultiSize + ((int)writes * Wire.WriteMultiEntrySize))
        {
            Refuse(frame, Errno.EINVAL, $"{payload.Length} bytes do not hold its {writes} writes, expected 1 to {Wire.WriteMultiMaximum}");
            return;
        }

        // All are checked before the first is carried out: a refused message has done nothing.
        ReadOnlySpan<byte> entries = payload[Wire.WriteMultiSize..];
        for (ReadOnlySpan<byte> entry = entries; !entry.IsEmpty; entry = entry[Wire.WriteMultiEntrySize..])
        {
            uint count = BinaryPrimitives.ReadUInt32LittleEndian(entry[12..]);
            if (count is 0 or > Wire.WriteMultiEntryData)
            {
                Refuse(frame, Errno.EINVAL, $"one of its writes has {count} bytes, expected 1 to {Wire.WriteMultiEntryData}");
                return;
            }

            if (!CheckBounds(
                frame,
                RegionFlags.Write,
                BinaryPrimitives.ReadUInt64LittleEndian(entry),
                BinaryPrimitives.ReadUInt32LittleEndian(entry[8..]),
                count))
            {
                return;
            }
        }

        RequestToken token = BeginAccess(frame, 0, 0, (uint)writes);
        _requests[token.Slot].Remaining = (int)writes;
        for (ReadOnlySpan<byte> entry = entries; !entry.IsEmpty && _client >= 0; entry = entry[Wire.WriteMultiEntrySize..])
        {
            int count = (int)BinaryPrimitives.ReadUInt32LittleEndian(entry[12..]);
            RegionAccess access = new(
                token,
                (int)BinaryPrimitives.ReadUInt32LittleEndian(entry[8..]),
                BinaryPrimitives.ReadUInt64LittleEndian(entry),
                count,
                frame.NoReply);
            _device.Write(access, entry.Slice(Wire.RegionAccessSize, count));
        }
    }

    private void HandleDmaMap(in Frame frame, ReadOnlySpan<byte> payload, bool takesDescriptors)
    {
        if (payload.Length != Wire.DmaMapSize || BinaryPrimitives.ReadUInt32LittleEndian(payload) < Wire.DmaMapSize)
        {
            Refuse(frame, Errno.EINVAL, $"expected {Wire.DmaMapSize} bytes, in its size and in argsz");
            return;
        }

        uint flags = BinaryPrimitives.ReadUInt32LittleEndian(payload[4..]);
        ulong offset = BinaryPrimitives.ReadUInt64LittleEndian(payload[8..]);
        ulong address = BinaryPrimitives.ReadUInt64LittleEndian(payload[16..]);
        ulong size = BinaryPrimitives.ReadUInt64LittleEndian(payload[24..]);
        DmaAccess access = (DmaAccess)flags & DmaAccess.ReadWrite;
        int descriptors = takesDescriptors ? _descriptors.Count : 0;
        if ((flags & ~Wire.DmaMapFlags) != 0
            || access == DmaAccess.None
            || descriptors > 1
            || (takesDescriptors && _descriptors.Overflowed)
            || !DmaRange.TryCreate(address, size, out DmaRange range))
        {
            Refuse(
                frame,
                Errno.EINVAL,
                $"flags 0x{flags:x}, address 0x{address:x}, size 0x{size:x}, {descriptors} descriptors: expected an access, a range below 2^64, one descriptor at most");
            return;
        }

        // A file that cannot be mapped counts as one that was not sent: its range cannot be reached directly.
        int fd = descriptors == 1 && (flags & Wire.DmaMapFileIo) == 0 ? _descriptors.Peek(0) : -1;
        Errno error = Memory.Map(range, access, fd, offset);
        if (error != Errno.None)
        {
            Refuse(frame, error, $"address 0x{address:x}, size 0x{size:x}, file offset 0x{offset:x} cannot be mapped");
            return;
        }

        _device.DmaMapped(range);
        Acknowledge(frame);
    }

    private void HandleDmaUnmap(in Frame frame, ReadOnlySpan<byte> payload)
    {
        if (payload.Length != Wire.DmaUnmapSize || BinaryPrimitives.ReadUInt32LittleEndian(payload) < Wire.DmaUnmapSize)
        {
            Refuse(frame, Errno.EINVAL, $"expected {Wire.DmaUnmapSize} bytes, in its size and in argsz");
            return;
        }

        uint flags = BinaryPrimitives.ReadUInt32LittleEndian(payload[4..]);
        ulong address = BinaryPrimitives.ReadUInt64LittleEndian(payload[8..]);
        ulong size = BinaryPrimitives.ReadUInt64LittleEndian(payload[16..]);
        if (flags == Wire.DmaUnmapGetDirtyBitmap)
        {
            Refuse(frame, Errno.ENOTSUP, "dirty pages are not tracked");
            return;
        }

        DmaRange range = new(0, ulong.MaxValue);
        bool valid = flags switch
        {
            0 => DmaRange.TryCreate(address, size, out range),
            Wire.DmaUnmapAll => address == 0 && size == 0,
            _ => false,
        };
        if (!valid || !Memory.CanUnmap(range))
        {
            Refuse(
                frame,
                Errno.EINVAL,
                $"flags 0x{flags:x}, address 0x{address:x}, size 0x{size:x}: expected a range that cuts no mapping in two, or all");
            return;
        }

        RequestToken token = Begin(frame);
        ref Request request = ref _requests[token.Slot];
        request.Range = range;
        request.UnmapArgsz = Wire.DmaUnmapSize;
        request.UnmapFlags = flags;
        request.UnmapAddress = address;
        request.UnmapSize = size;
        _barrier = true;
        _device.DmaUnmapping(range, token);
    }

    private void AddUnmapReply(ref Request request)
    {
        Span<byte> reply = AddReply(request.MessageId, request.Command, Wire.DmaUnmapSize);
        BinaryPrimitives.WriteUInt32LittleEndian(reply, request.UnmapArgsz);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[4..], request.UnmapFlags);
        BinaryPrimitives.WriteUInt64LittleEndian(reply[8..], request.UnmapAddress);
        BinaryPrimitives.WriteUInt64LittleEndian(reply[16..], request.UnmapSize);
    }

    private void HandleGetInfo(in Frame frame, ReadOnlySpan<byte> payload)
    {
        if (!CheckArgsz(frame, payload, Wire.DeviceInfoSize) || frame.NoReply)
        {
            return;
        }

        Span<byte> reply = AddReply(frame.MessageId, frame.Command, Wire.DeviceInfoSize);
        BinaryPrimitives.WriteUInt32LittleEndian(reply, Wire.DeviceInfoSize);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[4..], Wire.DeviceFlags);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[8..], VfioPci.RegionCount);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[12..], VfioPci.IrqCount);
        Flush();
    }

    private void HandleGetRegionInfo(in Frame frame, ReadOnlySpan<byte> payload)
    {
        if (!CheckArgsz(frame, payload, Wire.RegionInfoSize))
        {
            return;
        }

        uint index = BinaryPrimitives.ReadUInt32LittleEndian(payload[8..]);
        if (index >= VfioPci.RegionCount)
        {
            Refuse(frame, Errno.EINVAL, $"region {index} does not exist");
            return;
        }

        if (frame.NoReply)
        {
            return;
        }

        RegionInfo info = _device.GetRegion((int)index);
        RegionMemory? memory = _clientDescriptors > 0 ? info.Memory : null;
        int areas = memory?.Areas.Count ?? 0;
        int full = Wire.RegionInfoSize + (areas == 0 ? 0 : Wire.SparseMmapSize + (areas * Wire.SparseAreaSize));
        bool fits = BinaryPrimitives.ReadUInt32LittleEndian(payload) >= (uint)full;

        // A client without room for all of it is told how much there is, and nothing of mapping yet: flags speak of what the reply holds.
        Span<byte> reply = AddReply(frame.MessageId, frame.Command, fits ? full : Wire.RegionInfoSize);
        uint flags = (uint)info.Flags;
        flags |= memory is not null && fits ? Wire.RegionMmap : 0;
        flags |= areas != 0 && fits ? Wire.RegionCaps : 0;
        BinaryPrimitives.WriteUInt32LittleEndian(reply, (uint)full);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[4..], flags);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[8..], index);
        BinaryPrimitives.WriteUInt64LittleEndian(reply[16..], info.Size);
        BinaryPrimitives.WriteUInt64LittleEndian(reply[24..], memory?.Offset ?? 0);
        if (memory is not null && fits)
        {
            FillSparseAreas(reply, memory);
            _replies.Attach([memory.Fd], close: false);
        }

        Flush();
    }

    /// <summary>The list of capabilities behind the region's description: which parts of it can be mapped.</summary>
    private static void FillSparseAreas(Span<byte> reply, RegionMemory memory)
    {
        if (memory.Areas.Count == 0)
        {
            return;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(reply[12..], Wire.RegionInfoSize);
        Span<byte> capability = reply[Wire.RegionInfoSize..];
        BinaryPrimitives.WriteUInt16LittleEndian(capability, Wire.SparseMmapCapability);
        BinaryPrimitives.WriteUInt16LittleEndian(capability[2..], 1);
        BinaryPrimitives.WriteUInt32LittleEndian(capability[8..], (uint)memory.Areas.Count);
        capability = capability[Wire.SparseMmapSize..];
        foreach (RegionArea area in memory.Areas)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(capability, area.Offset);
            BinaryPrimitives.WriteUInt64LittleEndian(capability[8..], area.Size);
            capability = capability[Wire.SparseAreaSize..];
        }
    }

    private void HandleGetIrqInfo(in Frame frame, ReadOnlySpan<byte> payload)
    {
        if (!CheckArgsz(frame, payload, Wire.IrqInfoSize))
        {
            return;
        }

        uint index = BinaryPrimitives.ReadUInt32LittleEndian(payload[8..]);
        if (index >= VfioPci.IrqCount)
        {
            Refuse(frame, Errno.EINVAL, $"interrupt index {index} does not exist");
            return;
        }

        if (frame.NoReply)
        {
            return;
        }

        IrqInfo info = _interrupts.Info((int)index);
        Span<byte> reply = AddReply(frame.MessageId, frame.Command, Wire.IrqInfoSize);
        BinaryPrimitives.WriteUInt32LittleEndian(reply, Wire.IrqInfoSize);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[4..], (uint)info.Flags);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[8..], index);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[12..], (uint)info.Count);
        Flush();
    }

    private void HandleReset(in Frame frame, ReadOnlySpan<byte> payload)
    {
        if (!payload.IsEmpty)
        {
            Refuse(frame, Errno.EINVAL, $"it carries {payload.Length} bytes, expected none");
            return;
        }

        RequestToken token = Begin(frame);
        _barrier = true;
        _resetting = true;
        AbandonDma(new DmaRange(0, ulong.MaxValue), DmaResult.Faulted);
        _device.Reset(token);
    }

    private bool CheckArgsz(in Frame frame, ReadOnlySpan<byte> payload, int expected)
    {
        if (payload.Length < expected || BinaryPrimitives.ReadUInt32LittleEndian(payload) < (uint)expected)
        {
            Refuse(frame, Errno.EINVAL, $"expected at least {expected} bytes, in its size and in argsz");
            return false;
        }

        return true;
    }

    /// <summary>Queues a reply and gives the room for its payload, zeroed.</summary>
    private Span<byte> AddReply(ushort messageId, VfioUserCommand command, int payload)
    {
        Span<byte> reply = _replies.Add(Wire.HeaderSize + payload);
        BinaryPrimitives.WriteUInt16LittleEndian(reply, messageId);
        BinaryPrimitives.WriteUInt16LittleEndian(reply[2..], (ushort)command);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[8..], Wire.TypeReply);
        return reply[Wire.HeaderSize..];
    }

    private Span<byte> AddRegionReply(ref Request request, int data)
    {
        Span<byte> reply = AddReply(request.MessageId, request.Command, Wire.RegionAccessSize + data);
        BinaryPrimitives.WriteUInt64LittleEndian(reply, request.Offset);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[8..], request.Region);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[12..], request.Count);
        return reply[Wire.RegionAccessSize..];
    }

    private void AddError(ushort messageId, VfioUserCommand command, Errno error)
    {
        Span<byte> reply = _replies.Add(Wire.HeaderSize);
        BinaryPrimitives.WriteUInt16LittleEndian(reply, messageId);
        BinaryPrimitives.WriteUInt16LittleEndian(reply[2..], (ushort)command);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[8..], Wire.TypeReply | Wire.Error);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[12..], (uint)error);
    }

    private void Acknowledge(in Frame frame)
    {
        if (!frame.NoReply)
        {
            _ = AddReply(frame.MessageId, frame.Command, 0);
            Flush();
        }
    }

    private void Refuse(in Frame frame, Errno error, string why)
    {
        if (!frame.NoReply)
        {
            AddError(frame.MessageId, frame.Command, error);
            Flush();
        }

        Report($"{frame.Command} was refused with {error}: {why}.");
    }
}
