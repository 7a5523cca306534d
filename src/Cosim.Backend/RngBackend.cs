// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Runtime.InteropServices;
using Cosim.Backend.Internal;
using Cosim.VfioUser;
using Cosim.Virtio;

namespace Cosim.Backend;

/// <summary>virtio-rng (virtio 1.3, 5.4): the random numbers of host 2's kernel, at most so many a second.</summary>
public sealed unsafe class RngBackend : IDeviceBackend
{
    /// <summary>What one buffer is given at most, lest one request holds up the other devices.</summary>
    private const int MostAtOnce = 64 * 1024;

    private const int Batch = 16;

    private readonly long _bytesPerSecond;
    private readonly Action<string> _report;
    private NextRound? _next;
    private Alarm? _timer;
    private Virtqueue? _waiting;
    private double _allowance;
    private long _counted;

    /// <summary>Prepares the device.</summary>
    /// <param name="bytesPerSecond">Greatest rate; 0 for none.</param>
    /// <param name="report">Takes a sentence for each thing worth knowing.</param>
    /// <exception cref="BackendException">The rate is negative.</exception>
    public RngBackend(long bytesPerSecond, Action<string> report)
    {
        if (bytesPerSecond < 0)
        {
            throw new BackendException($"The rate of random numbers is {bytesPerSecond} bytes a second; expected 0 (none) or more.");
        }

        _bytesPerSecond = bytesPerSecond;
        _report = report;
        _allowance = bytesPerSecond;
        _counted = Stopwatch.GetTimestamp();
    }

    /// <inheritdoc/>
    public string Description => _bytesPerSecond == 0 ? "rng" : $"rng, at most {_bytesPerSecond} bytes a second";

    /// <inheritdoc/>
    public VirtioDeviceId DeviceId => VirtioDeviceId.Entropy;

    /// <summary>A device of no class, revision 1.</summary>
    public uint ClassRevision => 0x00FF_0001;

    /// <inheritdoc/>
    public int QueueCount => 1;

    /// <inheritdoc/>
    public int QueueSize => 64;

    /// <summary>The device type has none.</summary>
    public ulong Features => 0;

    /// <summary>The device type has none.</summary>
    public ReadOnlySpan<byte> Configuration => [];

    /// <inheritdoc/>
    public void Attach(EventLoop loop, Action configurationChanged)
    {
        _next = new NextRound(loop, Serve, _report);
        _timer = new Alarm(loop, () =>
        {
            if (_waiting is { IsReady: true } queue)
            {
                Serve(queue);
            }
        });
    }

    /// <inheritdoc/>
    public void Serve(Virtqueue queue)
    {
        _waiting = null;
        do
        {
            queue.SuppressKicks();
            for (int count = 0; queue.TryTake(); count++)
            {
                uint most = count < Batch ? Allowed(MostAtOnce) : 0;
                if (most == 0)
                {
                    queue.Untake();
                    queue.Call();
                    Wait(queue, count == Batch);
                    return;
                }

                uint filled = Fill(queue.Chain, most);
                _allowance -= filled;
                queue.Complete(queue.Chain.Head, filled);
                queue.Call();
            }
        }
        while (queue.Rearm());
    }

    /// <inheritdoc/>
    public void Stopped(Virtqueue queue) => _waiting = null;

    /// <summary>Ends the device.</summary>
    public void Dispose()
    {
        _next?.Dispose();
        _timer?.Dispose();
    }

    // A second's worth may be saved up.
    private uint Allowed(uint most)
    {
        if (_bytesPerSecond == 0)
        {
            return most;
        }

        long now = Stopwatch.GetTimestamp();
        _allowance = Math.Min(_bytesPerSecond, _allowance + (Stopwatch.GetElapsedTime(_counted, now).TotalSeconds * _bytesPerSecond));
        _counted = now;
        return (uint)Math.Min(most, _allowance);
    }

    private void Wait(Virtqueue queue, bool forOthersOnly)
    {
        if (forOthersOnly)
        {
            _next!.Add(queue);
            return;
        }

        // Until there is one byte at least, and not more often than the clock is worth.
        _waiting = queue;
        _timer!.Set(Math.Max(10, (long)Math.Ceiling((1 - _allowance) * 1000 / _bytesPerSecond)));
    }

    private static uint Fill(DescriptorChain chain, uint most)
    {
        uint filled = 0;
        while (filled < most && chain.Find(writable: true, filled, out byte* address, out ulong length))
        {
            nint part = Linux.GetRandom(address, (nuint)Math.Min(length, most - filled), 0);
            if (part > 0)
            {
                filled += (uint)part;
            }
            else if (Marshal.GetLastPInvokeError() != Linux.EINTR)
            {
                throw new BackendException($"Host 2's kernel gives no random numbers: {Linux.LastError}.");
            }
        }

        return filled;
    }
}
