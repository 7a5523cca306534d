// SPDX-License-Identifier: Apache-2.0
using Cosim.VfioUser;

namespace Cosim.Backend.Internal;

/// <summary>Serves queues again in the next round of the loop, after everything else had its turn.</summary>
internal sealed class NextRound : IDisposable
{
    private readonly EventFd _never = new();
    private readonly EventRegistration _registration;
    private readonly Action<Virtqueue> _serve;
    private readonly Action<string> _report;
    private List<Virtqueue> _waiting = [];
    private List<Virtqueue> _served = [];

    /// <summary>Nothing waits yet.</summary>
    /// <param name="loop">Whose rounds.</param>
    /// <param name="serve">How a queue is served.</param>
    /// <param name="report">Is told of a queue that turns out to be broken.</param>
    internal NextRound(EventLoop loop, Action<Virtqueue> serve, Action<string> report)
    {
        _serve = serve;
        _report = report;
        _registration = loop.Register(_never.Fd, PollEvents.In, _ => Serve());
    }

    public void Dispose()
    {
        _registration.Dispose();
        _never.Dispose();
    }

    internal void Add(Virtqueue queue)
    {
        if (!_waiting.Contains(queue))
        {
            _waiting.Add(queue);
            _registration.Pend();
        }
    }

    private void Serve()
    {
        (_waiting, _served) = (_served, _waiting);
        foreach (Virtqueue queue in _served)
        {
            if (queue.IsReady)
            {
                _serve(queue);
                if (queue.Error is not null)
                {
                    _report($"Queue {queue.Index} is no longer served: {queue.Error}.");
                }
            }
        }

        _served.Clear();
    }
}
