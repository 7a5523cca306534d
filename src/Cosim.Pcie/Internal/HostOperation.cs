// SPDX-License-Identifier: Apache-2.0
using System.Buffers;

namespace Cosim.Pcie.Internal;

internal enum OperationKind
{
    MemoryRead,
    MemoryWrite,
    ConfigRead,
    ConfigWrite,
    ProgramVectors,
    Discover,
    Reset,
    Release,
}

/// <summary>One transaction of a host while it is under way; pooled.</summary>
internal sealed class HostOperation
{
    private const int OwnBytes = 64;

    private readonly byte[] _own = new byte[OwnBytes];
    private byte[]? _rented;

    public OperationKind Kind { get; private set; }

    public ulong Token { get; private set; }

    public int Bar { get; private set; }

    /// <summary>Offset in the BAR or in configuration space.</summary>
    public ulong Offset { get; private set; }

    public int Length { get; private set; }

    /// <summary>Bytes for which requests have been sent.</summary>
    public int Issued { get; set; }

    /// <summary>Requests that wait for their completion.</summary>
    public int Outstanding { get; set; }

    /// <summary>First error.</summary>
    public HostStatus Status { get; set; }

    /// <summary>Next in its function's queue, or in the pool.</summary>
    public HostOperation? Next { get; set; }

    public Span<byte> Data => (_rented ?? _own).AsSpan(0, Length);

    public bool IsRead => Kind is OperationKind.MemoryRead or OperationKind.ConfigRead;

    /// <summary>Whether posted writes that came later must not overtake it.</summary>
    public bool IsBarrier => !IsRead && Kind != OperationKind.MemoryWrite;

    public void Start(OperationKind kind, ulong token, int bar, ulong offset, int length)
    {
        Kind = kind;
        Token = token;
        Bar = bar;
        Offset = offset;
        Length = length;
        Issued = 0;
        Outstanding = 0;
        Status = HostStatus.Ok;
        Next = null;
        _rented = length > OwnBytes ? ArrayPool<byte>.Shared.Rent(length) : null;
    }

    public void Release()
    {
        if (_rented is not null)
        {
            ArrayPool<byte>.Shared.Return(_rented);
            _rented = null;
        }

        Length = 0;
    }

    public void Fail(HostStatus status)
    {
        if (Status == HostStatus.Ok)
        {
            Status = status;
        }
    }
}
