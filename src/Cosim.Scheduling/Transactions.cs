// SPDX-License-Identifier: Apache-2.0
using Cosim.Pcie;

namespace Cosim.Scheduling;

/// <summary>How a transaction of a program that plays a host ended.</summary>
/// <param name="Status">Completion.</param>
/// <param name="Data">Of a read: the bytes; all ones where a request failed.</param>
public readonly record struct TransactionResult(HostStatus Status, byte[] Data);

/// <summary>Transactions whose caller waits on a task.</summary>
internal sealed class Transactions(TaskEnds ends) : IHostCompletion
{
    private readonly Dictionary<ulong, TaskCompletionSource<TransactionResult>> _waiting = [];
    private ulong _next;

    public Task<TransactionResult> Begin(out ulong token)
    {
        token = _next++;
        TaskCompletionSource<TransactionResult> done = ends.Begin<TransactionResult>();
        _waiting.Add(token, done);
        return done.Task;
    }

    public void Completed(ulong token, HostStatus status, ReadOnlySpan<byte> data)
    {
        if (_waiting.Remove(token, out TaskCompletionSource<TransactionResult>? done))
        {
            _ = ends.End(done, new TransactionResult(status, data.ToArray()));
        }
    }
}
