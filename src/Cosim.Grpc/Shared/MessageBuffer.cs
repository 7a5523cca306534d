// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using System.Buffers.Binary;
using System.IO.Compression;
using Grpc.Core;
using Grpc.Net.Compression;

namespace Grpc.Shared;

/// <summary>Builds one length-prefixed message after the other in one buffer that it keeps. Not for several threads at once.</summary>
/// <remarks>Length-Prefixed-Message of "gRPC over HTTP/2": compressed flag (1 byte), length (4 bytes, big endian), message.</remarks>
internal sealed class MessageBuffer : SerializationContext, IBufferWriter<byte>, IDisposable
{
    internal const int PrefixBytes = 5;
    private const int FirstSize = 512;

    private byte[] _buffer = ArrayPool<byte>.Shared.Rent(FirstSize);
    private int _end = PrefixBytes;
    private bool _completed;

    /// <summary>The message with its prefix, valid until the next call. Throws <see cref="RpcException"/> when it is too long.</summary>
    internal ReadOnlyMemory<byte> Frame<T>(
        T message, Action<T, SerializationContext> serializer, int? maxBytes, ICompressionProvider? compression, CompressionLevel? level)
    {
        _end = PrefixBytes;
        _completed = false;
        serializer(message, this);
        if (!_completed)
        {
            throw new RpcException(new Status(StatusCode.Internal, "The serializer did not complete the message."));
        }

        int length = _end - PrefixBytes;
        if (length > maxBytes)
        {
            throw new RpcException(new Status(StatusCode.ResourceExhausted, $"The message to send has {length} bytes; the limit is {maxBytes}."));
        }

        // Of nothing some compressions make nothing, which others cannot read.
        bool isCompressed = compression is not null && length > 0;
        if (isCompressed)
        {
            Compress(compression!, level);
            length = _end - PrefixBytes;
        }

        _buffer[0] = isCompressed ? (byte)1 : (byte)0;
        BinaryPrimitives.WriteInt32BigEndian(_buffer.AsSpan(1), length);
        return _buffer.AsMemory(0, _end);
    }

    public override void Complete(byte[] payload)
    {
        payload.CopyTo(GetSpan(payload.Length));
        Advance(payload.Length);
        _completed = true;
    }

    public override void Complete() => _completed = true;

    public override IBufferWriter<byte> GetBufferWriter() => this;

    public override void SetPayloadLength(int payloadLength) => Reserve(payloadLength);

    public void Advance(int count) => _end += count;

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Reserve(Math.Max(sizeHint, 1));
        return _buffer.AsMemory(_end);
    }

    public Span<byte> GetSpan(int sizeHint = 0) => GetMemory(sizeHint).Span;

    public void Dispose()
    {
        byte[] buffer = Interlocked.Exchange(ref _buffer, []);
        if (buffer.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private void Compress(ICompressionProvider compression, CompressionLevel? level)
    {
        using MemoryStream compressed = new();
        using (Stream stream = compression.CreateCompressionStream(compressed, level))
        {
            stream.Write(_buffer, PrefixBytes, _end - PrefixBytes);
        }

        _end = PrefixBytes;
        Complete(compressed.ToArray());
    }

    private void Reserve(int count)
    {
        if (_buffer.Length - _end >= count)
        {
            return;
        }

        byte[] larger = ArrayPool<byte>.Shared.Rent(Math.Max(checked(_end + count), _buffer.Length * 2));
        _buffer.AsSpan(0, _end).CopyTo(larger);
        ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = larger;
    }
}
