// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Virtio;

namespace Cosim.Scheduling.Rings;

/// <summary>A packed virtqueue of host 1 (virtio 1.3, 2.8).</summary>
/// <remarks>
/// A copy of several descriptors is not atomic: the first look tells which of them are available, and only a read that begins after it has ended sees
/// the rest of what was written before the flags. Notification data (2.9) makes the first look needless.
/// </remarks>
internal sealed class PackedHostRing(QueueDma dma, IHostRingOwner owner) : HostRing(dma, owner)
{
    private const int LookWindow = 16;
    private const int LongWindow = 64;

    private PackedVirtqueue _ring;
    private PackedPosition _available;
    private PackedPosition _used;
    private int _usedCount;
    private int _inFlight;
    private int _fetched;
    private int _trusted;
    private bool _armed;
    private bool _settled;

    // The batch that is being read: where in the ring the window begins, and the chain that goes over its end.
    private PackedPosition _window;
    private Chain? _partial;

    private enum Step : byte
    {
        NoStep,
        AvailableFlags,
        Descriptors,
        Table,
        ArmAvailable,
        PublishUsed,
        InterruptCheck,
    }

    /// <inheritdoc/>
    public override void Start(in HostQueue queue)
    {
        base.Start(queue);
        _ring = new PackedVirtqueue(queue.Size, queue.Descriptors, queue.Driver, queue.Device);
        _available = _used = PackedPosition.Start;
        _usedCount = _inFlight = _fetched = _trusted = 0;
        _armed = _settled = false;
        _partial = null;
    }

    /// <inheritdoc/>
    public override void Look()
    {
        _fetched = 0;
        if (_trusted > 0)
        {
            ReadDescriptors();
            return;
        }

        if (Hint is { } hint)
        {
            // VIRTIO_F_NOTIFICATION_DATA: the position behind what the driver has just made available.
            Hint = null;
            int count = _available.DistanceTo(PackedPosition.FromRaw((ushort)(hint >> 16)), Size);
            if (count > 0 && count <= Size - _inFlight)
            {
                _trusted = count;
                _settled = !Queue.EventIdx;
                ReadDescriptors();
                return;
            }
        }
        else if (_settled)
        {
            // Without EVENT_IDX a notification with its data follows each buffer.
            Owner.Fetched(0);
            return;
        }

        _settled = false;
        ReadFlags();
    }

    /// <inheritdoc/>
    public override void Take(Chain chain)
    {
        _available = _available.Advance(chain.RingDescriptors, Size);
        _inFlight += chain.RingDescriptors;
        _trusted = Math.Max(0, _trusted - chain.RingDescriptors);
        _armed &= !Queue.EventIdx;
    }

    /// <inheritdoc/>
    public override void Rewind(ReadOnlySpan<Chain> chains)
    {
        base.Rewind(chains);
        _trusted = 0;
        _settled = false;
    }

    /// <inheritdoc/>
    public override void PutUsed(ReadOnlySpan<Chain> chains)
    {
        // The first element's flags are written last of all: until then the driver sees none of the others.
        Chain first = chains[0];
        PackedPosition position = _used;
        _usedCount = first.RingDescriptors;
        _used = _used.Advance(first.RingDescriptors, Size);
        Span<byte> elements = stackalloc byte[PackedDescriptor.Size * WriteSize];
        int run = 0;
        PackedPosition runStart = _used;
        for (int i = 1; i < chains.Length; i++)
        {
            Chain chain = chains[i];
            Element(chain, _used.Wrap).Write(elements[(PackedDescriptor.Size * run)..]);
            run++;
            _usedCount += chain.RingDescriptors;
            _used = _used.Advance(chain.RingDescriptors, Size);
            if (i + 1 == chains.Length || run == WriteSize || chain.RingDescriptors != 1 || _used.Index == 0)
            {
                WriteElements(runStart, elements[..(PackedDescriptor.Size * run)], Step.NoStep);
                runStart = _used;
                run = 0;
            }

            Return(chain);
        }

        Element(first, position.Wrap).Write(elements);
        Return(first);
        WriteElements(position, elements[..PackedDescriptor.Size], Step.PublishUsed);
        _inFlight -= _usedCount;
    }

    private static PackedDescriptor Element(Chain chain, bool wrap) => new(
        0, chain.UsedLength, chain.Id, PackedVirtqueue.UsedFlags(wrap) | (chain.UsedLength != 0 ? DescriptorFlags.Write : DescriptorFlags.None));

    // What is written of an element, its flags last in it, is 8 aligned bytes: the driver sees all of it or nothing.
    private void WriteElements(PackedPosition position, ReadOnlySpan<byte> elements, Step step) => Dma.Write(
        DmaSpace.Host1, _ring.DescriptorAddress(position.Index) + PackedDescriptor.UsedOffset, elements[PackedDescriptor.UsedOffset..], Context((byte)step));

    private void Return(Chain chain)
    {
        SetInUse(chain.Id, false);
        Keep(chain);
    }

    /// <inheritdoc/>
    protected override void Continue(byte step, int index, ReadOnlySpan<byte> data)
    {
        switch ((Step)step)
        {
            case Step.AvailableFlags:
                FlagsRead(data);
                break;
            case Step.Descriptors:
                DescriptorsRead(data);
                break;
            case Step.Table:
                TableRead(Batch[index], data);
                break;
            case Step.ArmAvailable:
                ReadFlags();
                break;
            case Step.PublishUsed:
                Dma.Read(DmaSpace.Host1, _ring.DriverEvent, PackedVirtqueue.EventBytes, Context((byte)Step.InterruptCheck));
                break;
            case Step.InterruptCheck:
                ushort position = BinaryPrimitives.ReadUInt16LittleEndian(data);
                Owner.UsedPublished((BinaryPrimitives.ReadUInt16LittleEndian(data[2..]) & 3) switch
                {
                    PackedVirtqueue.EventDisable => false,
                    PackedVirtqueue.EventDescriptor when Queue.EventIdx => _used.PassesEvent(position, _usedCount, Size),
                    _ => true,
                });
                break;
            default:
                break;
        }
    }

    /// <inheritdoc/>
    protected override string StepName(byte step) => $"{(Step)step}";

    private int Contiguous(PackedPosition from, int most) => Math.Min(most, Size - from.Index);

    private void ReadFlags() => Dma.Read(
        DmaSpace.Host1, _ring.DescriptorAddress(_available.Index), Contiguous(_available, LookWindow) * PackedDescriptor.Size, Context((byte)Step.AvailableFlags));

    private void FlagsRead(ReadOnlySpan<byte> data)
    {
        while (_trusted < data.Length / PackedDescriptor.Size
            && PackedVirtqueue.IsAvailable(PackedDescriptor.Read(data[(_trusted * PackedDescriptor.Size)..]).Flags, _available.Wrap))
        {
            _trusted++;
        }

        if (_trusted != 0)
        {
            ReadDescriptors();
        }
        else if (!_armed)
        {
            // Ask to be told of the next buffer, then look once more: it may have come in between (2.8.21.3.1).
            _armed = true;
            Span<byte> suppression = stackalloc byte[PackedVirtqueue.EventBytes];
            BinaryPrimitives.WriteUInt16LittleEndian(suppression, Queue.EventIdx ? _available.Raw : (ushort)0);
            BinaryPrimitives.WriteUInt16LittleEndian(suppression[2..], Queue.EventIdx ? PackedVirtqueue.EventDescriptor : PackedVirtqueue.EventEnable);
            Dma.Write(DmaSpace.Host1, _ring.DeviceEvent, suppression, Context((byte)Step.ArmAvailable));
        }
        else
        {
            Owner.Fetched(0);
        }
    }

    private void ReadDescriptors()
    {
        BatchCount = 0;
        _partial = null;
        _window = _available;
        ReadWindow(Math.Min(_trusted, LongWindow) < LookWindow ? LookWindow : LongWindow);
    }

    private void ReadWindow(int most) => Dma.Read(
        DmaSpace.Host1, _ring.DescriptorAddress(_window.Index), Contiguous(_window, most) * PackedDescriptor.Size, Context((byte)Step.Descriptors));

    // Takes the chains that begin at descriptors seen to be available; one that goes over the end of the window is read on alone.
    private void DescriptorsRead(ReadOnlySpan<byte> data)
    {
        int count = data.Length / PackedDescriptor.Size;
        int at = 0;
        while (BatchCount < BatchSize && at < count)
        {
            if (_partial is null)
            {
                PackedDescriptor head = PackedDescriptor.Read(data[(at * PackedDescriptor.Size)..]);
                if (_fetched >= _trusted || !PackedVirtqueue.IsAvailable(head.Flags, _available.Advance(_fetched, Size).Wrap))
                {
                    break;
                }

                _partial = NewChain();
                _partial.Begin(head.Id, BatchCount, 0, 0);
            }

            Chain chain = _partial;
            string? error = WalkRing(chain, data, ref at, out bool complete);
            error ??= _inFlight + _fetched + chain.RingDescriptors > Size
                ? $"with {chain.RingDescriptors} descriptors there are more available than the queue has ({Size})"
                : complete && IsInUse(chain.Id) ? "the buffer id is still in use" : null;
            if (error is not null)
            {
                Owner.RingFailed($"chain at descriptor {_available.Advance(_fetched, Size).Index}: {error}");
                return;
            }

            if (complete)
            {
                SetInUse(chain.Id, true);
                _fetched += chain.RingDescriptors;
                Batch[BatchCount++] = chain;
                _partial = null;
            }
            else if (BatchCount == 0)
            {
                _window = _window.Advance(count, Size);
                ReadWindow(LongWindow);
                return;
            }
        }

        if (_partial is not null)
        {
            Keep(_partial);
            _partial = null;
        }

        if (BatchCount == 0)
        {
            // The notification data was old, or the driver has thought better of it.
            _trusted = 0;
            _settled = false;
            ReadFlags();
            return;
        }

        BeginWalks(BatchCount);
        for (int i = 0; i < BatchCount; i++)
        {
            if (Batch[i].InIndirectTable)
            {
                ReadWindow(Batch[i], 0, TableWindow, (byte)Step.Table);
            }
            else
            {
                WalkEnded(CheckBytes(Batch[i]));
            }
        }

        WalkEnded(null);
    }

    private string? WalkRing(Chain chain, ReadOnlySpan<byte> data, ref int at, out bool complete)
    {
        complete = false;
        while (!complete && at < data.Length / PackedDescriptor.Size)
        {
            PackedDescriptor descriptor = PackedDescriptor.Read(data[(at++ * PackedDescriptor.Size)..]);
            complete = (descriptor.Flags & DescriptorFlags.Next) == 0;
            chain.RingDescriptors++;
            chain.Name(descriptor.Id);
            string? error = (descriptor.Flags & DescriptorFlags.Indirect) == 0
                ? chain.Add(descriptor.Address, descriptor.Length, (descriptor.Flags & DescriptorFlags.Write) != 0, Size, GreatestBuffer)
                : !Queue.Indirect ? "INDIRECT was not negotiated"
                : !complete || chain.RingDescriptors != 1 ? "INDIRECT together with NEXT"
                : chain.EnterTable(descriptor.Address, descriptor.Length, Size);
            if (error is not null)
            {
                return error;
            }
        }

        return null;
    }

    // Its entries follow each other; of their flags only WRITE has a meaning (2.8.7).
    private void TableRead(Chain chain, ReadOnlySpan<byte> data)
    {
        int count = data.Length / PackedDescriptor.Size;
        for (int i = 0; i < count; i++)
        {
            PackedDescriptor descriptor = PackedDescriptor.Read(data[(i * PackedDescriptor.Size)..]);
            string? error = (descriptor.Flags & DescriptorFlags.Indirect) != 0
                ? "INDIRECT inside an indirect table"
                : chain.Add(descriptor.Address, descriptor.Length, (descriptor.Flags & DescriptorFlags.Write) != 0, Size, GreatestBuffer);
            if (error is not null)
            {
                WalkEnded($"descriptor {chain.WindowStart + i} of chain {chain.Id}: {error}");
                return;
            }
        }

        int next = chain.WindowStart + count;
        if (next < chain.TableSize)
        {
            ReadWindow(chain, (ushort)next, TableWindow, (byte)Step.Table);
        }
        else
        {
            WalkEnded(CheckBytes(chain));
        }
    }
}
