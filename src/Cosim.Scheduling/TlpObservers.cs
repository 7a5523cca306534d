// SPDX-License-Identifier: Apache-2.0
using Cosim.Pcie;

namespace Cosim.Scheduling;

/// <summary>Any number of observers of one root port, which sees none while there is none: nobody pays for what nobody watches.</summary>
internal sealed class TlpObservers(RootPort rootPort) : ITlpObserver
{
    private ITlpObserver[] _observers = [];

    public void Add(ITlpObserver observer)
    {
        _observers = [.. _observers, observer];
        rootPort.Observer = this;
    }

    public void Remove(ITlpObserver observer)
    {
        _observers = [.. _observers.Where(o => o != observer)];
        rootPort.Observer = _observers.Length == 0 ? null : this;
    }

    public void Observed(TlpDirection direction, ReadOnlySpan<byte> tlp, ulong cycle)
    {
        foreach (ITlpObserver observer in _observers)
        {
            observer.Observed(direction, tlp, cycle);
        }
    }
}
