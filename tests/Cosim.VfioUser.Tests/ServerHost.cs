// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using NUnit.Framework;

namespace Cosim.VfioUser.Tests;

/// <summary>A server and its device on a loop thread of their own.</summary>
internal sealed class ServerHost : IDisposable
{
    internal const int Deadline = 10_000;

    private readonly EventLoop _loop = new();
    private readonly ConcurrentQueue<Action> _actions = new();
    private readonly Thread _thread;
    private readonly string _folder;
    private Exception? _failure;
    private volatile bool _stop;

    internal ServerHost(VfioUserServerOptions? options = null, string? path = null)
    {
        _folder = Directory.CreateTempSubdirectory("vfu").FullName;
        Server = new VfioUserServer(_loop, path ?? Path.Combine(_folder, "s"), Device, options);
        Device.Server = Server;
        _thread = new Thread(Run) { IsBackground = true };
        _thread.Start();
    }

    internal TestDevice Device { get; } = new();

    internal VfioUserServer Server { get; }

    internal string SocketPath => Server.SocketPath;

    internal VfioUserClient Connect()
    {
        VfioUserClient client = VfioUserClient.Connect(SocketPath);
        Assert.That(Device.Next(), Is.EqualTo("connected"));
        return client;
    }

    internal VfioUserClient ConnectRaw() =>
        VfioUserClient.Connect(SocketPath, new VfioUserClientOptions { Negotiate = false, TimeoutMilliseconds = Deadline });

    /// <summary>Runs something on the loop's thread and waits for its result.</summary>
    internal T OnLoop<T>(Func<T> function)
    {
        TaskCompletionSource<T> result = new();
        _actions.Enqueue(() =>
        {
            try
            {
                result.SetResult(function());
            }
            catch (Exception e)
            {
                result.SetException(e);
            }
        });
        _loop.Wake();
        Assert.That(((IAsyncResult)result.Task).AsyncWaitHandle.WaitOne(Deadline), Is.True, "The loop does not answer.");
        return result.Task.GetAwaiter().GetResult();
    }

    internal void OnLoop(Action action) => OnLoop(() =>
    {
        action();
        return 0;
    });

    public void Dispose()
    {
        _stop = true;
        _loop.Wake();
        _thread.Join();
        Server.Dispose();
        _loop.Dispose();
        Directory.Delete(_folder, recursive: true);
        Assert.That(_failure, Is.Null);
    }

    private void Run()
    {
        try
        {
            while (!_stop)
            {
                while (_actions.TryDequeue(out Action? action))
                {
                    action();
                }

                _ = _loop.RunOnce(-1);
            }
        }
        catch (Exception e)
        {
            _failure = e;
        }
    }
}
