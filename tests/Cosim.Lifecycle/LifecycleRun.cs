// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;
using Cosim.Fpga;
using Cosim.Guests;

namespace Cosim.Lifecycle;

/// <summary>All faults, one after the other, each under load and with a check of every byte afterwards; ends with a table.</summary>
/// <param name="output">Takes a line a fault, and the table.</param>
/// <param name="isShort">Fewer repetitions, shorter pauses.</param>
/// <param name="parts">Some of <see cref="Parts"/>; none: all.</param>
public sealed class LifecycleRun(TextWriter output, bool isShort, IReadOnlyCollection<string> parts)
{
    /// <summary>What may be run by itself.</summary>
    public static readonly IReadOnlyList<string> Parts = ["model", "verilator", "plug", "service"];

    private readonly List<FaultResult> _results = [];

    /// <returns>Exit status: 0 if every byte was right.</returns>
    public async Task<int> RunAsync()
    {
        long begin = Stopwatch.GetTimestamp();
        int times = isShort ? 5 : 100;
        if (IsWanted("model"))
        {
            await RunFaultsAsync(
                FpgaKind.Model,
                [
                    Fault.KillBackEnd, Fault.KillHostOne, Fault.RebootHostOne, Fault.PanicHostOne, Fault.ResetHostOne, Fault.Rebind(times), Fault.Reload(times),
                    Fault.Pause(TimeSpan.FromSeconds(isShort ? 10 : 60)), Fault.RebootHostTwo, Fault.KillHostTwo, Fault.ResetBridge,
                ]);
        }

        if (IsWanted("verilator"))
        {
            await RunFaultsAsync(FpgaKind.Verilator, [Fault.KillSimulator, Fault.KillBackEnd, Fault.KillHostOne, Fault.KillHostTwo]);
        }

        if (IsWanted("plug"))
        {
            await PlugAsync();
            await UnplugAsync();
        }

        if (IsWanted("service"))
        {
            using ServiceRun service = new(Log);
            foreach (FaultResult result in await service.RunAsync())
            {
                await AddAsync(result);
            }
        }

        await output.WriteLineAsync();
        await Table.PrintAsync(
            output,
            [
                ["fault under load", "times", "FPGA", "back after", "acknowledged writes", "bytes compared", "result"],
                .. _results.Select(r => new[]
                {
                    r.Fault, $"{r.Times}", r.Fpga, string.Create(CultureInfo.InvariantCulture, $"{r.Seconds:0.0} s"), $"{r.Writes}", Table.Bytes(r.Checked), r.Outcome,
                }),
            ]);
        int failed = _results.Count(r => !r.IsOk);
        await output.WriteLineAsync(string.Create(CultureInfo.InvariantCulture,
            $"lifecycle {(failed == 0 ? "ok" : "FAILED")}: {_results.Count} faults, {failed} failed, {Stopwatch.GetElapsedTime(begin).TotalSeconds:0} s"));
        return failed == 0 ? 0 : 1;
    }

    private bool IsWanted(string part) => parts.Count == 0 || parts.Contains(part);

    private async Task RunFaultsAsync(FpgaKind fpga, IEnumerable<Fault> faults)
    {
        await using Rig rig = await Rig.StartAsync(new RigOptions { Fpga = fpga, Log = Log });
        LoadedRig loaded = new(rig, seed: 1);
        foreach (Fault fault in faults)
        {
            FaultResult result = await loaded.RunAsync(fault);
            await AddAsync(result);
            if (!result.IsOk)
            {
                return; // The rig may be in any state.
            }
        }
    }

    private async Task PlugAsync()
    {
        await using Rig rig = await Rig.StartAsync(new RigOptions { Log = Log }, attachLater: true);
        long begin = Stopwatch.GetTimestamp();
        await rig.HostOne.AttachFunctionAsync(0);
        await rig.HostOne.AttachFunctionAsync(1);
        await rig.PrepareHostOneAsync();
        double seconds = Stopwatch.GetElapsedTime(begin).TotalSeconds;
        FaultResult result = await new LoadedRig(rig, seed: 2).RunAsync(Fault.Pause(TimeSpan.FromMilliseconds(100)));
        await AddAsync(result with { Fault = "hot-plug into a running guest (QMP device_add)", Seconds = seconds });
    }

    private async Task UnplugAsync()
    {
        const string abort = "`subregion->container == mr' failed";
        await using Rig rig = await Rig.StartAsync(new RigOptions { Log = Log });
        LoadedRig loaded = new(rig, seed: 3);
        string outcome = "ok";
        Fault unplug = new("hot-unplug (QMP device_del)")
        {
            Happen = async r =>
            {
                try
                {
                    await r.HostOne.DetachFunctionAsync(0, Rig.Deadline);
                }
                catch (GuestException e) when (e.Message.Contains(abort, StringComparison.Ordinal))
                {
                    outcome = $"ok; QEMU itself aborts: {abort}";
                }
            },
            ComeBack = async r =>
            {
                if (r.HostOne.Exited.IsCompleted)
                {
                    await r.KillHostOneAsync();
                    await r.StartHostOneAsync();
                }
                else
                {
                    await r.HostOne.AttachFunctionAsync(0);
                    await r.PrepareHostOneAsync();
                }
            },
        };
        FaultResult result = await loaded.RunAsync(unplug);
        await AddAsync(result.IsOk ? result with { Outcome = outcome } : result);
    }

    private async Task AddAsync(FaultResult result)
    {
        _results.Add(result);
        await output.WriteLineAsync($"{result.Fpga}: {result.Fault}: {result.Outcome}");
        await output.FlushAsync();
    }

    private void Log(string line)
    {
        if (Environment.GetEnvironmentVariable("COSIM_LIFECYCLE_LOG") is not null)
        {
            output.WriteLine($"    {line}");
        }
    }
}
