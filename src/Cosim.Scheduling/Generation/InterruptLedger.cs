// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Pcie;
using Cosim.Virtio;

namespace Cosim.Scheduling.Generation;

/// <summary>
/// Which interrupts a function owes its driver. A queue's is owed from the moment at which the FPGA looks at used_event or at the available ring's flags, after
/// it has written the used index, and finds that one is wanted; each is given exactly once, none without having been owed.
/// </summary>
/// <remarks>While a vector is masked one interrupt stands for all; INTA may tell of several at once, and is asserted no more often than there are.</remarks>
internal sealed class InterruptLedger(HostImage memory, Coverage coverage)
{
    private readonly Dictionary<int, int> _owed = [];
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

        if (!Owes(vector))
        {
            return $"interrupt of vector {vector}, which nothing has caused";
        }

        _owed[vector]--;
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

    /// <summary>The FPGA writes host 1's memory.</summary>
    /// <returns>What is wrong, or null.</returns>
    public string? Written(in Tlp request)
    {
        foreach (QueueState queue in Queues)
        {
            if (request.ByteAddress != queue.Layout.UsedIndex)
            {
                continue;
            }

            ushort index = BinaryPrimitives.ReadUInt16LittleEndian(request.Payload[(int)(queue.Layout.UsedIndex - request.Address)..]);
            if (queue.Undecided)
            {
                return $"queue {queue.Plan.Index}: the used index goes on to {index} before the FPGA has looked whether an interrupt is wanted for {queue.Published}";
            }

            (queue.PublishedBefore, queue.Published) = (queue.Published, index);
            queue.Undecided = true;
        }

        return null;
    }

    /// <summary>The FPGA reads host 1's memory, and finds what is there now.</summary>
    public void Read(in Tlp request)
    {
        foreach (QueueState queue in Queues)
        {
            ulong looks = queue.EventIdx ? queue.Layout.UsedEvent : queue.Layout.Available;
            if (!queue.Undecided || request.ByteAddress != looks || request.RequestBytes != 2)
            {
                continue;
            }

            queue.Undecided = false;
            ushort value = memory.Get16(looks);
            bool wanted = queue.EventIdx
                ? SplitVirtqueue.PassesEvent(value, queue.Published, queue.PublishedBefore)
                : (value & SplitVirtqueue.AvailableNoInterrupt) == 0;
            if (wanted)
            {
                Owe(queue.Vector);
                coverage.Hit(CoveragePoint.InterruptCoalesced, (ushort)(queue.Published - queue.PublishedBefore) > 1);
            }
            else
            {
                coverage.Hit(queue.EventIdx ? CoveragePoint.InterruptSuppressedByEvent : CoveragePoint.InterruptSuppressedByFlag);
            }
        }
    }
}
