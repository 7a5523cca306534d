// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.IO.Pipelines;
using Grpc.Core;
using Grpc.Net.Compression;

namespace Grpc.Shared;

/// <summary>Takes length-prefixed messages off a pipe. Faults of the peer come as <see cref="RpcException"/>.</summary>
internal sealed class MessageReader(PipeReader pipe, int? maxBytes, string? encoding, IReadOnlyList<ICompressionProvider> compressions)
{
    private readonly Payload _payload = new();

    /// <summary>The next message; <see cref="NextMessage{T}.IsEnd"/> when the peer has ended its side.</summary>
    internal async ValueTask<NextMessage<T>> ReadAsync<T>(Func<DeserializationContext, T> deserializer, CancellationToken cancellationToken)
    {
        while (true)
        {
            ReadResult result = await pipe.ReadAsync(cancellationToken).ConfigureAwait(false);
            ReadOnlySequence<byte> buffer = result.Buffer;
            SequencePosition consumed = buffer.Start;
            SequencePosition examined = buffer.End;
            try
            {
                if (TryParsePrefix(buffer, out bool compressed, out uint length))
                {
                    ThrowIfTooLong(length);
                    if (buffer.Length >= MessageBuffer.PrefixBytes + (long)length)
                    {
                        ReadOnlySequence<byte> payload = buffer.Slice(MessageBuffer.PrefixBytes, length);
                        consumed = examined = buffer.GetPosition(MessageBuffer.PrefixBytes + (long)length);
                        return new NextMessage<T>(Deserialize(compressed ? Decompress(payload) : payload, deserializer));
                    }
                }

                if (result.IsCompleted || result.IsCanceled)
                {
                    return buffer.IsEmpty
                        ? NextMessage<T>.End
                        : throw new RpcException(new Status(StatusCode.Internal, $"The stream ended within a message, after {buffer.Length} of its bytes."));
                }
            }
            finally
            {
                pipe.AdvanceTo(consumed, examined);
            }
        }
    }

    /// <summary>Reads the prefix; false when not all of it is there.</summary>
    internal static bool TryParsePrefix(in ReadOnlySequence<byte> buffer, out bool compressed, out uint length)
    {
        compressed = false;
        length = 0;
        if (buffer.Length < MessageBuffer.PrefixBytes)
        {
            return false;
        }

        Span<byte> prefix = stackalloc byte[MessageBuffer.PrefixBytes];
        buffer.Slice(0, MessageBuffer.PrefixBytes).CopyTo(prefix);
        if (prefix[0] > 1)
        {
            throw new RpcException(new Status(StatusCode.Internal, $"The compressed flag of a message is {prefix[0]}; it must be 0 or 1."));
        }

        compressed = prefix[0] == 1;
        length = BinaryPrimitives.ReadUInt32BigEndian(prefix[1..]);
        return true;
    }

    private T Deserialize<T>(ReadOnlySequence<byte> payload, Func<DeserializationContext, T> deserializer)
    {
        _payload.Bytes = payload;
        try
        {
            return deserializer(_payload);
        }
        catch (Exception e) when (e is not RpcException)
        {
            throw new RpcException(new Status(StatusCode.Internal, $"The message does not parse as {typeof(T).Name}: {e.Message}", e));
        }
        finally
        {
            _payload.Bytes = default;
        }
    }

    private ReadOnlySequence<byte> Decompress(ReadOnlySequence<byte> payload)
    {
        if (encoding is null or ProtocolHeaders.Identity)
        {
            throw new RpcException(new Status(StatusCode.Internal, "A message is flagged as compressed, but the call names no encoding."));
        }

        ICompressionProvider compression = compressions.FirstOrDefault(c => c.EncodingName == encoding)
            ?? throw new RpcException(new Status(StatusCode.Unimplemented, $"The encoding \"{encoding}\" is not supported."));
        ArrayBufferWriter<byte> plain = new();
        try
        {
            using MemoryStream source = new(payload.ToArray());
            using Stream stream = compression.CreateDecompressionStream(source);
            while (stream.Read(plain.GetSpan(4096)) is int count and > 0)
            {
                plain.Advance(count);
                ThrowIfTooLong((uint)plain.WrittenCount);
            }
        }
        catch (InvalidDataException e)
        {
            throw new RpcException(new Status(StatusCode.Internal, $"A message is not valid {encoding}: {e.Message}", e));
        }

        return new ReadOnlySequence<byte>(plain.WrittenMemory);
    }

    private void ThrowIfTooLong(uint length)
    {
        if (length > (uint)(maxBytes ?? int.MaxValue))
        {
            throw new RpcException(new Status(StatusCode.ResourceExhausted, $"A received message has {length} bytes or more; the limit is {maxBytes ?? int.MaxValue}."));
        }
    }

    private sealed class Payload : DeserializationContext
    {
        internal ReadOnlySequence<byte> Bytes { get; set; }

        public override int PayloadLength => checked((int)Bytes.Length);

        public override byte[] PayloadAsNewBuffer() => Bytes.ToArray();

        public override ReadOnlySequence<byte> PayloadAsReadOnlySequence() => Bytes;
    }
}

/// <summary>A message or the end of the stream.</summary>
internal readonly struct NextMessage<T>
{
    internal static readonly NextMessage<T> End;

    private readonly bool _hasValue;

    internal NextMessage(T value)
    {
        Value = value;
        _hasValue = true;
    }

    internal T? Value { get; }

    [MemberNotNullWhen(false, nameof(Value))]
    internal bool IsEnd => !_hasValue;
}
