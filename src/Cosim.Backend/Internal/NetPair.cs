// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Cosim.VfioUser;

namespace Cosim.Backend.Internal;

/// <summary>
/// One receive queue and one transmit queue of a network card, and the queue of the TAP that serves them. Each pair waits for itself alone: a frame that finds no
/// buffers stays here until there are some.
/// </summary>
internal sealed unsafe class NetPair : IDisposable
{
    /// <summary>Frames taken in one go, lest a busy queue starves the others.</summary>
    private const int Batch = 64;

    private const int BuffersOffset = 10; // num_buffers

    private readonly NetLink _link;
    private readonly int _index;
    private readonly byte[] _incoming = GC.AllocateArray<byte>(NetLink.FrameSize, pinned: true);
    private EventRegistration? _frames;
    private Virtqueue? _receive;
    private int _waiting;

    internal NetPair(NetLink link, int index)
    {
        _link = link;
        _index = index;
    }

    /// <summary>The driver's receive queue can be served.</summary>
    internal bool CanReceive => _receive is not null;

    /// <summary>Frames of the TAP come to this pair.</summary>
    internal bool IsAttached => _frames is not null;

    /// <summary>The TAP's queue is attached: from now on its frames are taken, to be dropped while there is no receive queue.</summary>
    /// <param name="loop">Tells of frames.</param>
    /// <param name="gone">Called when the interface is gone.</param>
    internal void Attach(EventLoop loop, Action gone) =>
        _frames = loop.Register(_link.Tap.Queues[_index], PollEvents.In, events =>
        {
            if ((events & (PollEvents.Error | PollEvents.HangUp | PollEvents.Invalid)) != 0 && (events & PollEvents.In) == 0)
            {
                gone();
            }
            else
            {
                TakeFrames();
            }
        });

    /// <summary>The TAP's queue is to be detached, or is gone.</summary>
    internal void Detach()
    {
        _frames?.Dispose();
        _frames = null;
        _waiting = 0;
    }

    /// <summary>There are receive buffers.</summary>
    internal void Serve(Virtqueue receive)
    {
        _receive = receive;
        Listen(true);
        if (_waiting > 0)
        {
            _frames?.Pend();
        }
    }

    /// <summary>The receive queue is no longer to be touched.</summary>
    internal void Stop()
    {
        _receive = null;
        _waiting = 0;
        Listen(true);
    }

    /// <summary>Sends what the driver has queued.</summary>
    /// <param name="queue">The transmit queue.</param>
    /// <param name="fd">An attached queue of the TAP.</param>
    /// <returns>False when there may be more: others come first.</returns>
    internal bool Transmit(Virtqueue queue, int fd)
    {
        int left = Batch;
        do
        {
            queue.SuppressKicks();
            while (left > 0 && queue.TryTake())
            {
                left--;
                Send(queue.Chain, fd);
                queue.Complete(queue.Chain.Head, 0);
            }

            queue.Call();
        }
        while (left > 0 && queue.Rearm());
        return left > 0;
    }

    public void Dispose() => Detach();

    private void Send(DescriptorChain chain, int fd)
    {
        byte[] bytes = _link.Outgoing;
        if (chain.ReadableLength > (ulong)bytes.Length)
        {
            return;
        }

        int length = chain.Read(0, bytes);
        if (_link.Sends(bytes.AsSpan(0, length)))
        {
            fixed (byte* frame = bytes)
            {
                // What a network cannot take it drops: a full queue, an interface switched off.
                _ = Linux.Write(fd, frame, (nuint)length);
            }
        }
    }

    private void Listen(bool on)
    {
        if (_frames is not null)
        {
            _frames.Events = on ? PollEvents.In : PollEvents.None;
        }
    }

    private void TakeFrames()
    {
        for (int count = 0; count < Batch; count++)
        {
            if (_waiting == 0 && !TryRead())
            {
                break;
            }

            if (_waiting > 0 && !TryDeliver())
            {
                Listen(false);
                break;
            }
        }

        _receive?.Call();
        if (_receive?.Error is not null)
        {
            _link.ReportIfBroken(_receive);
            Stop();
        }
    }

    /// <summary>Reads a frame; one that the driver is to have waits then.</summary>
    /// <returns>False when there is none.</returns>
    private bool TryRead()
    {
        fixed (byte* buffer = _incoming)
        {
            nint length;
            do
            {
                length = Linux.Read(_link.Tap.Queues[_index], buffer, (nuint)_incoming.Length);
            }
            while (length < 0 && Marshal.GetLastPInvokeError() == Linux.EINTR);

            if (length <= 0)
            {
                return false;
            }

            bool wanted = _receive is not null
                && length > NetHeader.Size
                && length <= _incoming.Length
                && _link.Admits(_incoming.AsSpan(0, (int)length));
            _waiting = wanted ? (int)length : 0;
            return true;
        }
    }

    /// <summary>Puts the waiting frame into buffers, or drops it when it fits none.</summary>
    /// <returns>False when it has to wait for buffers.</returns>
    private bool TryDeliver()
    {
        Virtqueue queue = _receive!;
        while (true)
        {
            int seen = Place(queue);
            if (seen < 0)
            {
                _waiting = 0;
                return true;
            }

            if (!queue.Rearm(seen))
            {
                return false;
            }
        }
    }

    /// <summary>Puts the waiting frame into as many buffers as it needs.</summary>
    /// <returns>-1 when it is done with; else how many buffers there are, which are too few.</returns>
    private int Place(Virtqueue queue)
    {
        if (!queue.TryTake())
        {
            return 0;
        }

        Span<byte> bytes = _incoming.AsSpan(0, _waiting);
        if (queue.Chain.WritableLength >= (ulong)bytes.Length)
        {
            queue.Complete(queue.Chain.Head, (uint)queue.Chain.Write(0, bytes));
            return -1;
        }

        if ((_link.Features & NetFeatures.MrgRxbuf) == 0)
        {
            queue.Untake();
            return -1;
        }

        int count = 1;
        ulong room = queue.Chain.WritableLength;
        while (room < (ulong)bytes.Length)
        {
            if (!queue.TryTake())
            {
                queue.Untake(count);
                return count;
            }

            count++;
            room += queue.Chain.WritableLength;
        }

        queue.Untake(count);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[BuffersOffset..], (ushort)count);
        for (int buffer = 0; buffer < count && queue.TryTake(); buffer++)
        {
            int part = queue.Chain.Write(0, bytes);
            queue.Prepare(queue.Chain.Head, (uint)part);
            bytes = bytes[part..];
        }

        queue.Publish();
        return -1;
    }
}
