// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Scheduling.Generation;

/// <summary>Wakes the one script that waits, or the next that will.</summary>
internal sealed class Signal
{
    private TaskCompletionSource? _waiting;
    private bool _set;

    public Task Wait()
    {
        if (_set)
        {
            _set = false;
            return Task.CompletedTask;
        }

        _waiting ??= new TaskCompletionSource();
        return _waiting.Task;
    }

    public void Set()
    {
        if (_waiting is { } waiting)
        {
            _waiting = null;
            waiting.SetResult();
        }
        else
        {
            _set = true;
        }
    }
}
