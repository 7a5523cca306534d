// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.VfioUser.Internal;

namespace Cosim.VfioUser;

/// <content>VFIO_USER_DMA_READ and VFIO_USER_DMA_WRITE: memory that the client has to be asked for.</content>
/// <remarks>
/// No reply to the client ever waits for a reply of the client: one that serves nothing while it waits could never give it.
/// So an access under way is given up when the client takes its range back or resets the device.
/// </remarks>
public sealed unsafe partial class VfioUserServer
{
    /// <summary>How often the clock of the DMA messages is looked at, as a part of the time they have.</summary>
    private const int TimerParts = 4;

    private readonly DmaMessages _dma = new();
    private EventRegistration? _dmaTimer;
    private TwinSocket? _twin;
    private int _dataLimit = Wire.DefaultMaxDataTransfer;
    private bool _timerRuns;
    private bool _resetting;

    /// <summary>The client did not answer in time, and has not answered anything since.</summary>
    private bool _silent;

    /// <summary>
    /// Whether the client serves DMA on a socket of its own (twin socket), whatever else it waits for. Any other may serve none while it
    /// waits for an answer: nothing that it waits for may depend on it.
    /// </summary>
    public bool ServesDmaWhileWaiting => _twin is not null;

    private SendQueue DmaQueue => _twin?.Outgoing ?? _replies;

    /// <summary>
    /// Asks the client for memory, in as many DMA_READ messages as its max_data_xfer_size takes. Ends with
    /// <see cref="IVfioUserDevice.DmaReadDone"/>, later. Meant for ranges that <see cref="GuestMemory.Check"/> calls Remote, and right for any
    /// range of the map.
    /// </summary>
    /// <param name="address">DMA address of the first byte.</param>
    /// <param name="length">Bytes, at least 1.</param>
    /// <param name="token">Given back at the end.</param>
    /// <returns>Ok when it is under way; Unmapped or Denied by the map; Faulted when the client does not answer or is resetting the device, or too much is under way.</returns>
    public DmaResult BeginDmaRead(ulong address, int length, ulong token)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        DmaResult result = BeginDma(address, length, DmaAccess.Read, token, out DmaOperation? operation);
        if (operation is null)
        {
            return result;
        }

        for (int offset = 0; offset < length; offset += _dataLimit)
        {
            _ = AddDmaMessage(operation, offset, Math.Min(_dataLimit, length - offset), 0);
        }

        FlushDma();
        return DmaResult.Ok;
    }

    /// <summary>Gives the client bytes for its memory by DMA_WRITE; see <see cref="BeginDmaRead"/>. Ends with <see cref="IVfioUserDevice.DmaWriteDone"/>, later.</summary>
    /// <param name="address">DMA address of the first byte.</param>
    /// <param name="data">The bytes, at least one; valid during the call.</param>
    /// <param name="token">Given back at the end.</param>
    public DmaResult BeginDmaWrite(ulong address, ReadOnlySpan<byte> data, ulong token)
    {
        ArgumentOutOfRangeException.ThrowIfZero(data.Length);
        DmaResult result = BeginDma(address, data.Length, DmaAccess.Write, token, out DmaOperation? operation);
        if (operation is null)
        {
            return result;
        }

        Memory.DirtyLog?.Mark(address, (ulong)data.Length);
        for (int offset = 0; offset < data.Length; offset += _dataLimit)
        {
            int count = Math.Min(_dataLimit, data.Length - offset);
            data.Slice(offset, count).CopyTo(AddDmaMessage(operation, offset, count, count));
        }

        FlushDma();
        return DmaResult.Ok;
    }

    private DmaResult BeginDma(ulong address, int length, DmaAccess access, ulong token, out DmaOperation? operation)
    {
        operation = null;
        if (!_negotiated || _client < 0)
        {
            return DmaResult.Unmapped;
        }

        DmaResult result = Memory.Check(address, (ulong)length, access);
        if (result is not (DmaResult.Ok or DmaResult.Remote))
        {
            return result;
        }

        int parts = _dataLimit == 0 ? int.MaxValue : (int)(((long)length + _dataLimit - 1) / _dataLimit);
        if (_resetting || _silent)
        {
            return DmaResult.Faulted;
        }

        if (parts > DmaMessages.Maximum - _dma.Active)
        {
            Report($"A DMA of {length} bytes at 0x{address:x} was given up: {_dma.Active} messages of at most {_dataLimit} bytes wait for the client's answers.");
            return DmaResult.Faulted;
        }

        _ = DmaRange.TryCreate(address, (ulong)length, out DmaRange range);
        operation = _dma.Begin(token, access == DmaAccess.Read, range, length, parts);
        RunDmaTimer();
        return DmaResult.Ok;
    }

    private Span<byte> AddDmaMessage(DmaOperation operation, int offset, int count, int data)
    {
        ushort id = _dma.Add(operation, offset, count);
        Span<byte> message = DmaQueue.Add(Wire.HeaderSize + Wire.DmaAccessSize + data);
        BinaryPrimitives.WriteUInt16LittleEndian(message, id);
        BinaryPrimitives.WriteUInt16LittleEndian(message[2..], (ushort)(operation.IsRead ? VfioUserCommand.DmaRead : VfioUserCommand.DmaWrite));
        BinaryPrimitives.WriteUInt64LittleEndian(message[Wire.HeaderSize..], operation.Range.First + (uint)offset);
        BinaryPrimitives.WriteUInt64LittleEndian(message[(Wire.HeaderSize + 8)..], (ulong)count);
        return message[(Wire.HeaderSize + Wire.DmaAccessSize)..];
    }

    private void FlushDma()
    {
        if (_twin is null)
        {
            Flush();
            if (!_handling)
            {
                // Answers are taken in even while requests have to wait.
                UpdateInterest();
            }
        }
        else if (!_twin.Flush(_options.MaxQueuedReplyBytes))
        {
            BreakLater();
        }
    }

    /// <summary>A reply came, on whichever socket commands go.</summary>
    private void HandleReply(in Frame frame, ReadOnlySpan<byte> payload)
    {
        if (!_negotiated || !_dma.TryFind(frame.MessageId, frame.Command, out int place))
        {
            Refuse(frame, Errno.EINVAL, "it is a reply, and nothing was asked");
            return;
        }

        _silent = false;
        DmaMessage message = _dma[place];
        _dma.Remove(place);
        if (message.Operation is not { } operation)
        {
            return;
        }

        DmaResult result = (frame.Flags & Wire.Error) != 0 ? ResultOf(frame.Error) : DmaResult.Ok;
        if (result == DmaResult.Ok && !IsAnswer(message, payload))
        {
            Report($"The answer to {frame.Command} of {message.Count} bytes at 0x{message.Address:x} is none: it has {payload.Length} bytes, or tells of another range.");
            result = DmaResult.Faulted;
        }

        ReadOnlySpan<byte> data = default;
        if (result == DmaResult.Ok && operation.IsRead)
        {
            data = payload[Wire.DmaAccessSize..];
            if (message.Count != operation.Length)
            {
                data.CopyTo(operation.Data.AsSpan(message.Offset));
                data = operation.Data.AsSpan(0, operation.Length);
            }
        }

        FinishDmaPart(operation, result, data);
    }

    private void FinishDmaPart(DmaOperation operation, DmaResult result, ReadOnlySpan<byte> data)
    {
        operation.Result = operation.Result == DmaResult.Ok ? result : operation.Result;
        if (--operation.PartsLeft != 0)
        {
            return;
        }

        ulong token = operation.Token;
        result = operation.Result;
        if (operation.IsRead)
        {
            _device.DmaReadDone(token, result, result == DmaResult.Ok ? data : default);
        }
        else
        {
            _device.DmaWriteDone(token, result);
        }

        // Only now: the data may be its own.
        _dma.End(operation);
    }

    /// <summary>Gives up what is under way in a range; answers may still come, and mean nothing.</summary>
    private void AbandonDma(DmaRange range, DmaResult result)
    {
        for (int place = 0; _dma.Waiting != 0 && place < _dma.Places; place++)
        {
            if (_dma[place].Operation is { } operation && operation.Range.First <= range.Last && range.First <= operation.Range.Last)
            {
                _dma.Abandon(place);
                FinishDmaPart(operation, result, default);
            }
        }
    }

    private void RunDmaTimer()
    {
        if (_timerRuns)
        {
            return;
        }

        if (_dmaTimer is null)
        {
            int timer = Libc.CreateTimer(Libc.CLOCK_MONOTONIC, Libc.EFD_CLOEXEC | Libc.EFD_NONBLOCK);
            if (timer < 0)
            {
                throw VfioUserException.FromLastError("timerfd_create");
            }

            _dmaTimer = _loop.Register(timer, PollEvents.In, _ => LookAtDmaClock());
        }

        SetDmaTimer(Math.Max(1, _options.DmaTimeoutMilliseconds / TimerParts));
        _timerRuns = true;
    }

    private void LookAtDmaClock()
    {
        EventFd.Take(_dmaTimer!.Fd);
        long latest = Environment.TickCount64 - _options.DmaTimeoutMilliseconds;
        for (int place = 0; _dma.Waiting != 0 && place < _dma.Places; place++)
        {
            if (_dma[place].Operation is { } operation && _dma[place].Since <= latest)
            {
                if (!_silent)
                {
                    _silent = true;
                    Report($"The client does not answer: {_dma[place].Command} of {_dma[place].Count} bytes at 0x{_dma[place].Address:x} was given up after {_options.DmaTimeoutMilliseconds} ms.");
                }

                _dma.Abandon(place);
                FinishDmaPart(operation, DmaResult.Faulted, default);
            }
        }

        if (_dma.Waiting == 0 && _dmaTimer is not null)
        {
            SetDmaTimer(0);
            _timerRuns = false;
        }
    }

    private void SetDmaTimer(long milliseconds)
    {
        long seconds = milliseconds / 1000;
        long nanoseconds = milliseconds % 1000 * 1_000_000;
        long* value = stackalloc long[] { seconds, nanoseconds, seconds, nanoseconds };
        _ = Libc.SetTimer(_dmaTimer!.Fd, 0, value, null);
    }

    /// <summary>Creates the second socket, of which the client gets the other end.</summary>
    private bool TryOpenTwin(out int passed)
    {
        if (!UnixSocket.TryCreatePair(out int own, out passed))
        {
            return false;
        }

        _twin = new TwinSocket(_loop, own, _maxFrameSize, OnTwinMessage, BreakLater);
        return true;
    }

    private void OnTwinMessage(ReadOnlySpan<byte> message)
    {
        Frame frame = new(message);
        if ((frame.Flags & Wire.TypeMask) == Wire.TypeReply)
        {
            HandleReply(frame, message[Wire.HeaderSize..]);
        }
        else
        {
            Report($"{frame.Command} came on the twin socket, which is for replies: the client was cut off.");
            BreakLater();
        }
    }

    /// <summary>The connection has ended; what follows from it is done when nobody further up the stack is in the middle of something.</summary>
    private void BreakLater()
    {
        _broken = true;
        _connection?.Pend();
    }

    private void EndDma()
    {
        AbandonDma(new DmaRange(0, ulong.MaxValue), DmaResult.Faulted);
        _dma.Clear();
        _silent = false;
        _resetting = false;
        _timerRuns = false;
        if (_dmaTimer is not null)
        {
            _dmaTimer.Dispose();
            _ = Libc.Close(_dmaTimer.Fd);
            _dmaTimer = null;
        }

        _twin?.Dispose();
        _twin = null;
    }

    private static bool IsAnswer(in DmaMessage message, ReadOnlySpan<byte> payload)
    {
        if (message.Command == VfioUserCommand.DmaWrite && payload.IsEmpty)
        {
            // QEMU's answer is a header only.
            return true;
        }

        bool hasLength = message.Command == VfioUserCommand.DmaRead
            ? payload.Length == Wire.DmaAccessSize + message.Count
            : payload.Length is Wire.DmaWriteReplySize or Wire.DmaAccessSize;
        if (!hasLength || BinaryPrimitives.ReadUInt64LittleEndian(payload) != message.Address)
        {
            return false;
        }

        ulong count = payload.Length == Wire.DmaWriteReplySize
            ? BinaryPrimitives.ReadUInt32LittleEndian(payload[8..])
            : BinaryPrimitives.ReadUInt64LittleEndian(payload[8..]);
        return count == (ulong)message.Count;
    }

    private static DmaResult ResultOf(Errno error) => error switch
    {
        Errno.EACCES or Errno.EPERM => DmaResult.Denied,
        Errno.ENODEV or Errno.ENOENT => DmaResult.Unmapped,
        _ => DmaResult.Faulted,
    };
}
