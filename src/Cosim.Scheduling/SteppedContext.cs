// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Scheduling;

/// <summary>
/// Keeps on the owner's thread what awaits there: where a task has several awaiters, the runtime hands all but one of them to the
/// thread pool unless a context takes them.
/// </summary>
internal sealed class SteppedContext(TaskEnds ends) : SynchronizationContext
{
    public override void Post(SendOrPostCallback d, object? state) => ends.Defer(() => d(state));

    public override void Send(SendOrPostCallback d, object? state) => d(state);

    public override SynchronizationContext CreateCopy() => this;
}
