// SPDX-License-Identifier: Apache-2.0
using Cosim.Scheduling.Generation;

namespace Cosim.Scheduling.Tests;

/// <summary>What the random hosts' ledger lets come after a queue's reset.</summary>
public sealed class InterruptLedgerTests
{
    private const int Shared = 1;

    [Test]
    public void Drop_VectorOfItsOwn_NoInterruptComesAnyMore()
    {
        (InterruptLedger ledger, QueueState queue) = Ledger(1, 2);
        Owe(ledger, queue);
        ledger.Drop(queue);
        Assert.That(ledger.IsEven, Is.True);
        Assert.That(ledger.Arrived(1), Does.Contain("which nothing has caused"));
    }

    [Test]
    public void Drop_SharedVectorAndNoneHasCome_TheOthersComeAndNoMore()
    {
        (InterruptLedger ledger, QueueState queue) = Ledger(Shared, Shared);
        Owe(ledger, queue);
        Owe(ledger, ledger.Queues[1]);
        ledger.Drop(queue);
        Assert.That(ledger.IsEven, Is.False, "that of the other queue is owed");
        Assert.That(ledger.Arrived(Shared), Is.Null);
        Assert.That(ledger.IsEven, Is.True);
        Assert.That(ledger.Arrived(Shared), Does.Contain("which nothing has caused"));
    }

    [Test]
    public void Drop_SharedVectorAndOneHasCome_OneMoreMayComeAndNeedNot()
    {
        (InterruptLedger ledger, QueueState queue) = Ledger(Shared, Shared);
        Owe(ledger, queue);
        Owe(ledger, ledger.Queues[1]);
        Assert.That(ledger.Arrived(Shared), Is.Null);
        ledger.Drop(queue);
        Assert.That(ledger.IsEven, Is.True);
        Assert.That(ledger.Arrived(Shared), Is.Null);
        Assert.That(ledger.Arrived(Shared), Does.Contain("which nothing has caused"));
    }

    private static void Owe(InterruptLedger ledger, QueueState queue)
    {
        queue.Owed++;
        ledger.Owe(queue.Vector);
    }

    private static (InterruptLedger Ledger, QueueState First) Ledger(params int[] vectors)
    {
        InterruptLedger ledger = new(new Coverage());
        ledger.Clear();
        ledger.Queues.AddRange(vectors.Select((vector, index) => new QueueState(
            new QueuePlan { Index = (ushort)index, Packed = false, Size = 2, Descriptors = 0, Driver = 0, Device = 0, SuppressesInterrupts = false, IdStride = 0 }, null!, false, vector)));
        return (ledger, ledger.Queues[0]);
    }
}
