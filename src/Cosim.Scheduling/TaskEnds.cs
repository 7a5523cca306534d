// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;

namespace Cosim.Scheduling;

/// <summary>Where those go on who wait for a transaction: off the bridge's thread or, in a bridge without one, where <see cref="Run"/> is called.</summary>
internal sealed class TaskEnds(bool deferred)
{
    private readonly ConcurrentQueue<Action> _deferred = new();

    /// <summary>Makes a source whose task's end is told here.</summary>
    public TaskCompletionSource<T> Begin<T>() => new(deferred ? TaskCreationOptions.None : TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Ends a task.</summary>
    /// <returns>False if it has been cancelled.</returns>
    public bool End<T>(TaskCompletionSource<T> source, T result)
    {
        if (!deferred)
        {
            return source.TrySetResult(result);
        }

        if (source.Task.IsCompleted)
        {
            return false;
        }

        _deferred.Enqueue(() => source.TrySetResult(result));
        return true;
    }

    /// <summary>Whether somebody is there who will call <see cref="Run"/>.</summary>
    public bool IsServed { get; set; }

    /// <summary>Has something done where <see cref="Run"/> is called; at once if it will not be.</summary>
    public void Defer(Action action)
    {
        if (IsServed)
        {
            _deferred.Enqueue(action);
        }
        else
        {
            action();
        }
    }

    /// <summary>Lets those go on whose transaction has ended, in that order, and so on with what they do at once.</summary>
    public void Run()
    {
        while (_deferred.TryDequeue(out Action? end))
        {
            end();
        }
    }
}
