// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>One descriptor watched by an <see cref="EventLoop"/>. Used on the loop's thread only.</summary>
public sealed class EventRegistration : IDisposable
{
    private readonly EventLoop _loop;
    private PollEvents _events;

    internal EventRegistration(EventLoop loop, int fd, PollEvents events, Action<PollEvents> handler)
    {
        _loop = loop;
        Fd = fd;
        _events = events;
        Handler = handler;
    }

    /// <summary>The descriptor. It stays its owner's, who closes it after disposing of the registration.</summary>
    public int Fd { get; }

    /// <summary>What to wait for; errors and hang-ups are reported whatever this says.</summary>
    public PollEvents Events
    {
        get => _events;
        set
        {
            if (_events != value)
            {
                _events = value;
                _loop.Changed(this);
            }
        }
    }

    internal Action<PollEvents> Handler { get; }

    /// <summary>Place in the loop's table, -1 when no longer in it.</summary>
    internal int Index { get; set; } = -1;

    internal bool Pending { get; set; }

    /// <summary>Has the handler called in the next round even if the descriptor shows nothing; that round does not block.</summary>
    public void Pend() => _loop.Pend(this);

    /// <summary>Ends the watch. The handler is not called again, not even later in the present round.</summary>
    public void Dispose() => _loop.Remove(this);
}
