// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using Cosim.VfioUser;
using NUnit.Framework;

namespace Cosim.Backend.Tests;

/// <summary>A session on a thread of its own, connected to a <see cref="FakeFpga"/>, as the program runs it.</summary>
internal sealed class RunningBackend : IDisposable
{
    private readonly FakeFpga _fpga;
    private readonly EventLoop _loop = new();
    private readonly Thread _thread;
    private readonly ConcurrentQueue<Task> _actions = new();
    private Exception? _failure;
    private volatile bool _stop;
    private volatile bool _ended;

    internal RunningBackend(FakeFpga fpga, params IDeviceBackend[] devices)
    {
        _fpga = fpga;
        _thread = new Thread(() => Run(devices)) { IsBackground = true };
        _thread.Start();
        fpga.Open();
    }

    internal ConcurrentQueue<string> Reports { get; } = new();

    /// <summary>Has the session's thread do something, and serves the FPGA meanwhile.</summary>
    internal T Do<T>(Func<T> action)
    {
        Task<T> task = new(action);
        _actions.Enqueue(task);
        _loop.Wake();
        _fpga.RunUntil(() => task.IsCompleted, "the session's thread has done it");
        return task.GetAwaiter().GetResult();
    }

    public void Dispose()
    {
        _stop = true;
        _loop.Wake();
        _fpga.RunUntil(() => _ended, "the session ends");
        _thread.Join();
        _loop.Dispose();
        Assert.That(_failure, Is.Null);
    }

    private void Run(IDeviceBackend[] devices)
    {
        try
        {
            using SocketEndpoint endpoint = new(_fpga.SocketPath, 32 << 20, 0x4000_0000);
            using BackendSession session = new(_loop, endpoint, devices, Reports.Enqueue);
            session.Start();
            while (!_stop)
            {
                _loop.RunOnce(-1);
                while (_actions.TryDequeue(out Task? action))
                {
                    action.RunSynchronously();
                }
            }
        }
        catch (Exception e)
        {
            _failure = e;
        }
        finally
        {
            _ended = true;
        }
    }
}
