// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Numerics;
using Cosim.VfioUser.Internal;

namespace Cosim.VfioUser;

/// <content>VFIO_USER_DEVICE_GET_REGION_IO_FDS and VFIO_USER_DEVICE_FEATURE.</content>
public sealed unsafe partial class VfioUserServer
{
    private readonly List<EventRegistration> _doorbells = [];

    private void HandleGetRegionIoFds(in Frame frame, ReadOnlySpan<byte> payload)
    {
        uint argsz = payload.Length == Wire.RegionIoFdsSize ? BinaryPrimitives.ReadUInt32LittleEndian(payload) : 0;
        if (argsz < Wire.RegionIoFdsSize || argsz > (uint)_options.MaxDataTransferSize || payload[4..8].ContainsAnyExcept((byte)0) || payload[12..].ContainsAnyExcept((byte)0))
        {
            Refuse(frame, Errno.EINVAL, $"expected {Wire.RegionIoFdsSize} bytes, at least so many in argsz, and flags and count 0");
            return;
        }

        uint index = BinaryPrimitives.ReadUInt32LittleEndian(payload[8..]);
        if (index >= VfioPci.RegionCount || _device.GetRegion((int)index).Size == 0)
        {
            Refuse(frame, Errno.EINVAL, $"region {index} does not exist");
            return;
        }

        if (frame.NoReply)
        {
            return;
        }

        // One descriptor each, as far as the client takes them in one message; writes to the others come as messages.
        IReadOnlyList<Doorbell> doorbells = _device.GetDoorbells((int)index);
        int offered = Math.Min(doorbells.Count, Math.Min(_clientDescriptors, Wire.MaxDescriptors));
        int full = Wire.RegionIoFdsSize + (offered * Wire.IoEventFdSize);
        int count = argsz >= (uint)full ? offered : 0;
        int[] descriptors = count == 0 ? [] : OpenDoorbells((int)index, doorbells, count);
        count = descriptors.Length;
        Span<byte> reply = AddReply(frame.MessageId, frame.Command, Wire.RegionIoFdsSize + (count * Wire.IoEventFdSize));
        BinaryPrimitives.WriteUInt32LittleEndian(reply, (uint)full);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[8..], index);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[12..], (uint)count);
        for (int place = 0; place < count; place++)
        {
            Span<byte> entry = reply[(Wire.RegionIoFdsSize + (place * Wire.IoEventFdSize))..];
            BinaryPrimitives.WriteUInt64LittleEndian(entry, doorbells[place].Offset);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[8..], (ulong)doorbells[place].Size);
            BinaryPrimitives.WriteInt32LittleEndian(entry[16..], place);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[20..], Wire.IoEventFdType);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[24..], Wire.IoEventFdDataMatch);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[32..], doorbells[place].Data);
        }

        if (count != 0)
        {
            _replies.Attach(descriptors, close: false);
        }

        Flush();
    }

    /// <summary>Makes an eventfd for each doorbell. Those that a client asks for again take the place of the former ones.</summary>
    private int[] OpenDoorbells(int region, IReadOnlyList<Doorbell> doorbells, int count)
    {
        CloseDoorbells();
        List<int> descriptors = [];
        for (int place = 0; place < count; place++)
        {
            int fd = Libc.CreateEvent(0, Libc.EFD_CLOEXEC | Libc.EFD_NONBLOCK);
            if (fd < 0)
            {
                Report($"No descriptor was to be had for doorbell {place} of region {region}.");
                break;
            }

            Doorbell doorbell = doorbells[place];
            descriptors.Add(fd);
            _doorbells.Add(_loop.Register(fd, PollEvents.In, _ => Ring(fd, region, doorbell)));
        }

        return [.. descriptors];
    }

    private void Ring(int fd, int region, Doorbell doorbell)
    {
        if (Stalled)
        {
            // The event stays raised until requests are taken again.
            UpdateInterest();
            return;
        }

        EventFd.Take(fd);
        Span<byte> data = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(data, doorbell.Data);
        RequestToken token = Begin(VfioUserCommand.RegionWrite, 0, noReply: true);
        _requests[token.Slot].Count = (uint)doorbell.Size;
        _device.Write(new RegionAccess(token, region, doorbell.Offset, doorbell.Size, posted: true), data[..doorbell.Size]);
    }

    private void CloseDoorbells()
    {
        foreach (EventRegistration doorbell in _doorbells)
        {
            doorbell.Dispose();
            _ = Libc.Close(doorbell.Fd);
        }

        _doorbells.Clear();
    }

    private void HandleDeviceFeature(in Frame frame, ReadOnlySpan<byte> payload)
    {
        if (!CheckArgsz(frame, payload, Wire.FeatureSize))
        {
            return;
        }

        uint flags = BinaryPrimitives.ReadUInt32LittleEndian(payload[4..]);
        uint methods = flags & (Wire.FeatureGet | Wire.FeatureSet);
        bool probe = (flags & Wire.FeatureProbe) != 0;
        if ((flags & ~(Wire.FeatureMask | Wire.FeatureGet | Wire.FeatureSet | Wire.FeatureProbe)) != 0
            || (methods == 0 && !probe)
            || (BitOperations.PopCount(methods) > 1 && !probe))
        {
            Refuse(frame, Errno.EINVAL, $"its flags are 0x{flags:x}, expected GET or SET, or a PROBE");
            return;
        }

        // Migration is not among them: a device that is a simulated design cannot be saved.
        uint feature = flags & Wire.FeatureMask;
        uint supported = feature switch
        {
            Wire.DmaLoggingStart or Wire.DmaLoggingStop => Wire.FeatureSet,
            Wire.DmaLoggingReport => Wire.FeatureGet,
            _ => 0,
        };
        if (supported == 0 || (methods & ~supported) != 0)
        {
            Refuse(frame, Errno.ENOTSUP, $"feature {feature} does not have the methods of flags 0x{flags:x}");
        }
        else if (probe)
        {
            Echo(frame, payload);
        }
        else if (feature == Wire.DmaLoggingReport)
        {
            ReportDirtyPages(frame, payload);
        }
        else if (feature == Wire.DmaLoggingStart)
        {
            StartDirtyLog(frame, payload);
        }
        else if (Memory.DirtyLog is null || payload.Length != Wire.FeatureSize)
        {
            Refuse(frame, Errno.EINVAL, "expected a log that was started, and no data");
        }
        else
        {
            Memory.DirtyLog = null;
            Echo(frame, payload);
        }
    }

    private void StartDirtyLog(in Frame frame, ReadOnlySpan<byte> payload)
    {
        ReadOnlySpan<byte> data = payload[Wire.FeatureSize..];
        uint count = data.Length >= Wire.LoggingControlSize ? BinaryPrimitives.ReadUInt32LittleEndian(data[8..]) : uint.MaxValue;
        if (Memory.DirtyLog is not null
            || count > Wire.LoggingRangesMaximum
            || data.Length != Wire.LoggingControlSize + ((int)count * Wire.LoggingRangeSize)
            || BinaryPrimitives.ReadUInt32LittleEndian(data[12..]) != 0)
        {
            Refuse(frame, Errno.EINVAL, $"expected no log under way, at most {Wire.LoggingRangesMaximum} ranges, and as many as are counted");
            return;
        }

        DmaRange[] ranges = new DmaRange[count];
        for (int index = 0; index < ranges.Length; index++)
        {
            ReadOnlySpan<byte> entry = data[(Wire.LoggingControlSize + (index * Wire.LoggingRangeSize))..];
            if (!DmaRange.TryCreate(BinaryPrimitives.ReadUInt64LittleEndian(entry), BinaryPrimitives.ReadUInt64LittleEndian(entry[8..]), out ranges[index]))
            {
                Refuse(frame, Errno.EINVAL, $"range {index} is empty or ends beyond 2^64");
                return;
            }
        }

        Memory.DirtyLog = new DirtyLog(ranges);
        Span<byte> reply = Echo(frame, payload, flush: false);
        if (!reply.IsEmpty)
        {
            // Whatever was wished for: this is what is kept.
            BinaryPrimitives.WriteUInt64LittleEndian(reply[Wire.FeatureSize..], 1ul << DirtyLog.PageShift);
            Flush();
        }
    }

    private void ReportDirtyPages(in Frame frame, ReadOnlySpan<byte> payload)
    {
        const int Fixed = Wire.FeatureSize + Wire.LoggingReportSize;
        ReadOnlySpan<byte> data = payload[Wire.FeatureSize..];
        ulong pageSize = data.Length == Wire.LoggingReportSize ? BinaryPrimitives.ReadUInt64LittleEndian(data[16..]) : 0;
        if (Memory.DirtyLog is not { } log
            || !BitOperations.IsPow2(pageSize)
            || !DmaRange.TryCreate(BinaryPrimitives.ReadUInt64LittleEndian(data), BinaryPrimitives.ReadUInt64LittleEndian(data[8..]), out DmaRange range))
        {
            Refuse(frame, Errno.EINVAL, "expected a log that was started, a range below 2^64, and a page size that is a power of two");
            return;
        }

        int shift = BitOperations.Log2(pageSize);
        ulong words = ((range.Last - range.First) >> shift >> 6) + 1;
        if (words > (ulong)_options.MaxDataTransferSize / sizeof(ulong))
        {
            Refuse(frame, Errno.EINVAL, $"its bitmap would have {words} words of 64 bits; expected at most {_options.MaxDataTransferSize} bytes");
            return;
        }

        if (frame.NoReply)
        {
            return;
        }

        int bitmap = (int)words * sizeof(ulong);
        bool fits = BinaryPrimitives.ReadUInt32LittleEndian(payload) >= (uint)(Fixed + bitmap);
        Span<byte> reply = AddReply(frame.MessageId, frame.Command, Fixed + (fits ? bitmap : 0));
        payload.CopyTo(reply);
        BinaryPrimitives.WriteUInt32LittleEndian(reply, (uint)(Fixed + bitmap));
        if (fits)
        {
            log.Report(range, shift, reply[Fixed..]);
        }

        Flush();
    }

    /// <summary>Answers with the request's own payload.</summary>
    private Span<byte> Echo(in Frame frame, ReadOnlySpan<byte> payload, bool flush = true)
    {
        if (frame.NoReply)
        {
            return default;
        }

        Span<byte> reply = AddReply(frame.MessageId, frame.Command, payload.Length);
        payload.CopyTo(reply);
        if (flush)
        {
            Flush();
        }

        return reply;
    }
}
