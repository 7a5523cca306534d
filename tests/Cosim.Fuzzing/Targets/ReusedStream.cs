// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Fuzzing.Targets;

/// <summary>A stream of bytes that is given new ones for each execution. It counts reads: a parser that reads on at the end hangs.</summary>
internal sealed class ReusedStream : Stream
{
    private const int MostReadsAtEnd = 16;

    private readonly byte[] _bytes = new byte[(2 * FuzzInput.MostBytes) + 1];
    private int _length;
    private int _at;
    private int _atEnd;
    private int _mostAtOnce = int.MaxValue;

    public override bool CanRead => true;

    public override bool CanSeek => true;

    public override bool CanWrite => false;

    public override long Length => _length;

    public override long Position
    {
        get => _at;
        set => _at = (int)value;
    }

    public void Set(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(_bytes);
        _length = bytes.Length;
        // Streams give what they have: for some inputs little at a time.
        _mostAtOnce = bytes.Length % 5 == 0 ? 1 + (bytes.Length % 61) : int.MaxValue;
        _at = _atEnd = 0;
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override int Read(Span<byte> buffer)
    {
        int count = Math.Min(Math.Min(buffer.Length, _length - _at), _mostAtOnce);
        if (count == 0 && ++_atEnd > MostReadsAtEnd)
        {
            throw new FindingException("the end of the stream is read again and again");
        }

        _bytes.AsSpan(_at, count).CopyTo(buffer);
        _at += count;
        return count;
    }

    public override long Seek(long offset, SeekOrigin origin)
    {
        _at = (int)(offset + (origin == SeekOrigin.Begin ? 0 : origin == SeekOrigin.Current ? _at : _length));
        return _at;
    }

    public override void Flush()
    {
    }

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
}
