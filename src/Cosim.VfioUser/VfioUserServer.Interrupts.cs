// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.VfioUser.Internal;

namespace Cosim.VfioUser;

/// <content>VFIO_USER_DEVICE_SET_IRQS.</content>
public sealed unsafe partial class VfioUserServer
{
    private void HandleSetIrqs(in Frame frame, ReadOnlySpan<byte> payload, bool takesDescriptors)
    {
        if (payload.Length < Wire.IrqSetSize || BinaryPrimitives.ReadUInt32LittleEndian(payload) < Wire.IrqSetSize)
        {
            Refuse(frame, Errno.EINVAL, $"expected at least {Wire.IrqSetSize} bytes, in its size and in argsz");
            return;
        }

        IrqSetFlags flags = (IrqSetFlags)BinaryPrimitives.ReadUInt32LittleEndian(payload[4..]);
        uint index = BinaryPrimitives.ReadUInt32LittleEndian(payload[8..]);
        uint start = BinaryPrimitives.ReadUInt32LittleEndian(payload[12..]);
        uint count = BinaryPrimitives.ReadUInt32LittleEndian(payload[16..]);
        ReadOnlySpan<byte> data = payload[Wire.IrqSetSize..];
        int descriptors = takesDescriptors ? _descriptors.Count : 0;
        bool overflowed = takesDescriptors && _descriptors.Overflowed;
        if (!IsWellFormed(flags, index, start, count, data.Length, descriptors, overflowed))
        {
            Refuse(
                frame,
                Errno.EINVAL,
                $"flags 0x{(uint)flags:x}, index {index}, start {start}, count {count}, {data.Length} bytes and {descriptors} descriptors do not fit each other or the device");
            return;
        }

        Errno error = (flags & IrqSetFlags.ActionTrigger) != 0
            ? Trigger(flags, (int)index, (int)start, (int)count, data, descriptors)
            : Mask(flags, (int)index, (int)start, (int)count, data, descriptors);
        if (error != Errno.None)
        {
            Refuse(frame, error, $"interrupt index {index} does not allow flags 0x{(uint)flags:x}, or a descriptor is no eventfd");
            return;
        }

        Acknowledge(frame);
    }

    private bool IsWellFormed(IrqSetFlags flags, uint index, uint start, uint count, int bytes, int descriptors, bool overflowed)
    {
        if ((flags & ~(IrqSetFlags.DataTypeMask | IrqSetFlags.ActionTypeMask)) != 0
            || !uint.IsPow2((uint)(flags & IrqSetFlags.DataTypeMask))
            || !uint.IsPow2((uint)(flags & IrqSetFlags.ActionTypeMask))
            || index >= VfioPci.IrqCount
            || overflowed)
        {
            return false;
        }

        IrqInfo info = _interrupts.Info((int)index);
        if (start >= (uint)info.Count || count > (uint)info.Count - start)
        {
            return false;
        }

        // Count 0 means all of the index, and only for switching them off.
        if (count == 0 && (start != 0 || flags != (IrqSetFlags.ActionTrigger | IrqSetFlags.DataNone)))
        {
            return false;
        }

        if ((flags & IrqSetFlags.ActionTrigger) == 0 && (info.Flags & IrqFlags.Maskable) == 0)
        {
            return false;
        }

        return (flags & IrqSetFlags.DataTypeMask) switch
        {
            IrqSetFlags.DataBool => descriptors == 0 && (uint)bytes == count,
            IrqSetFlags.DataEventFd => bytes == 0
                && (descriptors == 0 || (uint)descriptors == count)
                && (info.Flags & IrqFlags.EventFd) != 0,
            _ => descriptors == 0 && bytes == 0,
        };
    }

    private Errno Trigger(IrqSetFlags flags, int index, int start, int count, ReadOnlySpan<byte> data, int descriptors)
    {
        if (count == 0)
        {
            Disarm(index, 0, _interrupts.Info(index).Count);
        }
        else if ((flags & IrqSetFlags.DataEventFd) == 0)
        {
            for (int offset = 0; offset < count; offset++)
            {
                if (data.IsEmpty || data[offset] != 0)
                {
                    _ = _interrupts.Raise(index, start + offset);
                }
            }
        }
        else if (descriptors == 0)
        {
            Disarm(index, start, count);
        }
        else
        {
            return Arm(index, start, count);
        }

        return Errno.None;
    }

    private Errno Arm(int index, int start, int count)
    {
        for (int offset = 0; offset < count; offset++)
        {
            if (!EventFd.IsEventFd(_descriptors.Peek(offset)))
            {
                return Errno.EINVAL;
            }
        }

        for (int offset = 0; offset < count; offset++)
        {
            int fd = _descriptors.Take(offset);
            EventFd.MakeNonBlocking(fd);
            _interrupts.Arm(index, start + offset, fd);
        }

        if (index == VfioPci.IntxIrqIndex)
        {
            _interrupts.IntxMasked = false;
        }

        _device.InterruptsChanged(index, start, count, IrqChange.Armed);
        return Errno.None;
    }

    private void Disarm(int index, int start, int count)
    {
        for (int interrupt = start; interrupt < start + count; interrupt++)
        {
            _interrupts.Disarm(index, interrupt);
        }

        if (index == VfioPci.IntxIrqIndex)
        {
            StopWatchingIntxUnmask();
            _interrupts.IntxMasked = false;
        }

        _device.InterruptsChanged(index, start, count, IrqChange.Disarmed);
    }

    private Errno Mask(IrqSetFlags flags, int index, int start, int count, ReadOnlySpan<byte> data, int descriptors)
    {
        bool mask = (flags & IrqSetFlags.ActionTypeMask) == IrqSetFlags.ActionMask;
        if ((flags & IrqSetFlags.DataEventFd) != 0)
        {
            return mask || index != VfioPci.IntxIrqIndex ? Errno.ENOTSUP : WatchIntxUnmask(descriptors);
        }

        for (int offset = 0; offset < count; offset++)
        {
            if (data.IsEmpty || data[offset] != 0)
            {
                SetMask(index, start + offset, mask);
            }
        }

        return Errno.None;
    }

    private void SetMask(int index, int interrupt, bool mask)
    {
        if (index == VfioPci.IntxIrqIndex)
        {
            _interrupts.IntxMasked = mask;
        }

        _device.InterruptsChanged(index, interrupt, 1, mask ? IrqChange.Masked : IrqChange.Unmasked);
    }

    /// <summary>An eventfd that unmasks the line when it is signalled, as a client with an in-kernel interrupt controller uses it.</summary>
    private Errno WatchIntxUnmask(int descriptors)
    {
        if (descriptors != 0 && !EventFd.IsEventFd(_descriptors.Peek(0)))
        {
            return Errno.EINVAL;
        }

        StopWatchingIntxUnmask();
        if (descriptors != 0)
        {
            int fd = _descriptors.Take(0);
            EventFd.MakeNonBlocking(fd);
            _intxUnmask = _loop.Register(fd, PollEvents.In, _ =>
            {
                EventFd.Take(fd);
                SetMask(VfioPci.IntxIrqIndex, 0, mask: false);
            });
        }

        return Errno.None;
    }

    private void StopWatchingIntxUnmask()
    {
        if (_intxUnmask is not null)
        {
            _intxUnmask.Dispose();
            _ = Libc.Close(_intxUnmask.Fd);
            _intxUnmask = null;
        }
    }
}
