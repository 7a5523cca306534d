// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using Cosim.Pcie;

namespace Cosim.Scheduling.Tests;

/// <summary>A memory request of the FPGA: its enabled bytes.</summary>
public sealed record WatchedRequest(bool IsWrite, ulong Address, int Length, byte[] Data)
{
    public ulong End => Address + (ulong)Length;

    public bool Touches(ulong from, int length) => Address < from + (ulong)length && from < End;
}

/// <summary>Notes each memory request that the FPGA makes on a port, but for its interrupts' messages.</summary>
public sealed class RequestWatcher : ITlpObserver
{
    private const ulong Messages = 0xFEE0_0000;

    private readonly ConcurrentQueue<WatchedRequest> _requests = new();

    public IReadOnlyCollection<WatchedRequest> Requests => _requests;

    public IEnumerable<WatchedRequest> Writes => _requests.Where(r => r.IsWrite);

    public void Observed(TlpDirection direction, ReadOnlySpan<byte> tlp, ulong cycle)
    {
        if (direction == TlpDirection.FromFpga && Tlp.TryParse(tlp, out Tlp parsed, out _) && parsed.Type is TlpType.MRd or TlpType.MWr && (parsed.Address & 0xFFF0_0000) != Messages)
        {
            bool isWrite = parsed.Type == TlpType.MWr;
            byte[] data = isWrite ? parsed.Payload.Slice(ByteEnables.Offset(parsed.FirstByteEnables), parsed.RequestBytes).ToArray() : [];
            _requests.Enqueue(new(isWrite, parsed.ByteAddress, parsed.RequestBytes, data));
        }
    }
}
