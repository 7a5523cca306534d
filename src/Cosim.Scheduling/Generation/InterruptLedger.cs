// SPDX-License-Identifier: Apache-2.0
using Cosim.Pcie;

namespace Cosim.Scheduling.Generation;

/// <summary>
/// Which interrupts a function owes its driver. A queue's is owed from the moment at which the FPGA looks whether one is wanted, after
/// it has shown the driver a used chain, and finds that it is; each is given exactly once, none without having been owed.
/// </summary>
/// <remarks>While a vector is masked one interrupt stands for all; INTA may tell of several at once, and is asserted no more often than there are.</remarks>
internal sealed class InterruptLedger(Coverage coverage)
{
    private readonly Dictionary<int, int> _owed = [];
    private readonly Dictionary<int, int> _allowed = [];
    private readonly HashSet<int> _masked = [];
    private int _intxOwed;

    /// <summary>Queues of the function.</summary>
    public List<QueueState> Queues { get; } = [];

    /// <summary>Interrupts are neither owed nor wrong: a reset is under way.</summary>
    public bool Closed { get; set; } = true;

    /// <summary>Configuration change interrupts may come at any time: the device fails.</summary>
    public bool Failing { get; set; }

    public bool Intx { get; set; }

    /// <summary>Whether nothing is owed.</summary>
    public bool IsEven => _owed.Values.All(count => count == 0) && !Queues.Exists(queue => queue.Undecided);

    /// <summary>What is owed, for people.</summary>
    public string Owed => string.Join(", ", _owed.Where(pair => pair.Value != 0).Select(pair => $"vector {pair.Key}: {pair.Value}"));

    /// <summary>Forgets everything; from here on any interrupt is spurious.</summary>
    public void Clear()
    {
        _owed.Clear();
        _allowed.Clear();
        _masked.Clear();
        _intxOwed = 0;
        Queues.Clear();
        Closed = false;
        Failing = false;
        Intx = false;
    }

    /// <summary>A vector is masked from here on, or no longer.</summary>
    public void Mask(int vector, bool masked)
    {
        if (masked)
        {
            _ = _masked.Add(vector);
        }
        else
        {
            _ = _masked.Remove(vector);
        }
    }

    /// <summary>Whether an interrupt of a vector is owed.</summary>
    public bool Owes(int vector) => _owed.GetValueOrDefault(vector) != 0;

    /// <summary>An interrupt is owed.</summary>
    public void Owe(int vector)
    {
        if (Intx)
        {
            _intxOwed++;
        }
        else if (vector >= 0)
        {
            _owed[vector] = _masked.Contains(vector) ? 1 : _owed.GetValueOrDefault(vector) + 1;
        }
        else
        {
            coverage.Hit(CoveragePoint.NoVector);
        }
    }

    /// <summary>A MSI-X message arrives.</summary>
    /// <returns>What is wrong, or null.</returns>
    public string? Arrived(int vector)
    {
        if (Closed || (Failing && vector == 0))
        {
            return null;
        }

        if (_masked.Contains(vector))
        {
            return $"interrupt of vector {vector}, which is masked";
        }

        if (Owes(vector))
        {
            _owed[vector]--;
        }
        else if (_allowed.GetValueOrDefault(vector) != 0)
        {
            _allowed[vector]--;
        }
        else
        {
            return $"interrupt of vector {vector}, which nothing has caused";
        }

        if (!Owes(vector))
        {
            foreach (QueueState queue in Queues.Where(queue => queue.Vector == vector))
            {
                queue.Owed = 0;
            }
        }

        return null;
    }

    /// <summary>INTA is asserted.</summary>
    /// <returns>What is wrong, or null.</returns>
    public string? Asserted()
    {
        if (Closed || Failing)
        {
            return null;
        }

        if (!Intx || _intxOwed == 0)
        {
            return Intx ? "INTA is asserted, which nothing has caused" : "INTA is asserted with MSI-X enabled";
        }

        _intxOwed--;
        return null;
    }

    /// <summary>
    /// A queue was reset: none of its interrupts comes from here on. Where queues share a vector, nobody knows whose those were that came last:
    /// as many as may have been this queue's may still come, and need not.
    /// </summary>
    public void Drop(QueueState queue)
    {
        _ = Queues.Remove(queue);
        if (queue.Vector < 0 || Intx)
        {
            return;
        }

        int all = _owed.GetValueOrDefault(queue.Vector);
        int others = Queues.Where(other => other.Vector == queue.Vector).Sum(other => other.Owed);
        _owed[queue.Vector] = Math.Max(0, all - queue.Owed);
        _allowed[queue.Vector] = _allowed.GetValueOrDefault(queue.Vector) + Math.Min(all, others) - _owed[queue.Vector];
    }

    /// <summary>The FPGA writes host 1's memory.</summary>
    /// <returns>What is wrong, or null.</returns>
    public string? Written(in Tlp request)
    {
        foreach (QueueState queue in Queues)
        {
            if (queue.Ring.Shown(request, queue) is not { } chains)
            {
                continue;
            }

            if (queue.Undecided)
            {
                return $"queue {queue.Plan.Index}: {chains} more used chains are shown before the FPGA has looked whether an interrupt is wanted for {queue.Published}";
            }

            queue.Publish(chains);
        }

        return null;
    }

    /// <summary>The FPGA reads host 1's memory, and finds what is there now.</summary>
    public void Read(in Tlp request)
    {
        foreach (QueueState queue in Queues)
        {
            if (!queue.Undecided || !queue.Ring.IsLook(request))
            {
                continue;
            }

            queue.Undecided = false;
            coverage.Hit(CoveragePoint.InOrderBatch, queue.InOrder && queue.PublishedLast > 1);
            coverage.Hit(CoveragePoint.PackedUsedTogether, queue.Plan.Packed && queue.PublishedLast > 1);
            if (queue.Ring.WantsInterrupt(queue))
            {
                queue.Owed++;
                Owe(queue.Vector);
                coverage.Hit(CoveragePoint.InterruptCoalesced, queue.PublishedLast > 1);
            }
            else
            {
                coverage.Hit(queue.Ring.Suppression);
            }
        }
    }
}
