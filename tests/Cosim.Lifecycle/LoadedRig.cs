// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Cosim.Guests;

namespace Cosim.Lifecycle;

/// <summary>What a fault came to.</summary>
/// <param name="Fault">Its name.</param>
/// <param name="Times">How many times it happened.</param>
/// <param name="Fpga">Which FPGA.</param>
/// <param name="Seconds">From the fault to the end of what it takes to come back.</param>
/// <param name="Writes">Writes that host 1 was told to be on the disk, during the fault's part of the run.</param>
/// <param name="Checked">Bytes compared afterwards: of the disk, in host 1 and in the image, and by TCP both ways.</param>
/// <param name="Outcome">"ok", or what was wrong.</param>
public sealed record FaultResult(string Fault, int Times, string Fpga, double Seconds, int Writes, long Checked, string Outcome)
{
    public bool IsOk => Outcome.StartsWith("ok", StringComparison.Ordinal);
}

/// <summary>A rig under block and net load, and the check of every byte after a fault.</summary>
public sealed class LoadedRig(Rig rig, int seed)
{
    private const int TransferBytes = 256 << 10;
    private const int WritesAround = 3;

    private readonly DiskLoad _disk = new(rig, seed);
    private readonly Random _random = new(seed);

    public Rig Rig { get; } = rig;

    /// <summary>Writes acknowledged since the beginning.</summary>
    public int Writes => _disk.Acknowledged;

    /// <summary>Bytes compared since the beginning.</summary>
    public long Checked { get; private set; }

    /// <summary>
    /// Lets a fault happen under load and checks every byte afterwards. The whole of it is tried once; what goes wrong is the result's outcome.
    /// </summary>
    public async Task<FaultResult> RunAsync(Fault fault)
    {
        int writes = _disk.Acknowledged;
        long bytes = Checked;
        long begin = Stopwatch.GetTimestamp();
        double seconds = 0;
        string outcome = "ok";
        int times = 1;
        try
        {
            if (fault.Script is not null)
            {
                times = await RunScriptAsync(fault);
            }
            else
            {
                await RunUnderWritesAsync(fault);
            }

            seconds = Stopwatch.GetElapsedTime(begin).TotalSeconds;
            await CheckAsync();
        }
        catch (Exception e)
        {
            outcome = $"FAILED: {e.Message}";
        }

        return new FaultResult(fault.Name, times, $"{Rig.Options.Fpga}", seconds, _disk.Acknowledged - writes, Checked - bytes, outcome);
    }

    /// <summary>Every byte of the disk, and fresh data by TCP both ways.</summary>
    public async Task CheckAsync()
    {
        _ = await Rig.HostOne.Shell.RequireAsync(GuestScript.EndLoad, Rig.Deadline);
        long before = _disk.Checked;
        await _disk.CheckAsync();
        Checked += _disk.Checked - before;
        if (Rig.HasNet)
        {
            HostOneShell one = new(Rig.HostOne.Shell);
            HostTwoShell two = new(Rig.HostTwo.Shell);
            await TransferAsync(one, two, Rig.HostTwoAddress);
            await TransferAsync(two, one, Rig.HostOneAddress);
        }
    }

    private async Task RunUnderWritesAsync(Fault fault)
    {
        _ = await Rig.HostOne.Shell.RequireAsync(GuestScript.BeginLoad, Rig.Deadline);
        using CancellationTokenSource stop = new();
        Task writer = Task.Run(() => _disk.WriteAsync(stop.Token));
        await WaitForWritesAsync(writer);

        // In the midst of whatever is under way.
        await Task.Delay(_random.Next(20));
        if (fault.HostOneSurvives)
        {
            await fault.Happen!(Rig);
            await WaitForWritesAsync(writer);
            await stop.CancelAsync();
            await writer;
        }
        else
        {
            await fault.Happen!(Rig);
            await stop.CancelAsync();
            await ((Task)writer).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await fault.ComeBack!(Rig);
        }
    }

    private async Task<int> RunScriptAsync(Fault fault)
    {
        int first = _disk.BeginScript(fault.Times);
        string text = fault.Script!(fault.Times, first);
        _ = await Rig.HostOne.Shell.RequireAsync(text, TimeSpan.FromSeconds(30 + (10 * fault.Times)));
        _disk.EndScript(first, fault.Times);
        await Rig.PrepareHostOneAsync();
        return fault.Times;
    }

    private async Task WaitForWritesAsync(Task writer)
    {
        int target = _disk.Acknowledged + WritesAround;
        long begin = Stopwatch.GetTimestamp();
        while (_disk.Acknowledged < target)
        {
            if (writer.IsFaulted)
            {
                await writer;
            }

            if (Stopwatch.GetElapsedTime(begin) > Rig.Deadline)
            {
                throw new TimeoutException($"host 1's writes do not go on: {WritesAround - (target - _disk.Acknowledged)} of {WritesAround} within {Rig.Deadline.TotalSeconds} s");
            }

            await Task.Delay(10);
        }
    }

    private async Task TransferAsync(HostShell from, HostShell to, string address)
    {
        await to.ListenAsync(5001);
        string sent = await from.SendAsync(address, 5001, TransferBytes, Rig.Deadline);
        string received = await to.ReceivedSha256Async(Rig.Deadline);
        if (sent != received)
        {
            throw new InvalidDataException($"net to {address}: {sent} was sent, {received} received");
        }

        Checked += TransferBytes;
    }
}
