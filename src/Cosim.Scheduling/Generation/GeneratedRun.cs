// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Pcie;

namespace Cosim.Scheduling.Generation;

/// <summary>How a generated run ended.</summary>
/// <param name="Failure">What was wrong, or null.</param>
/// <param name="Coverage">What it has seen.</param>
/// <param name="Cycles">Cycles of the FPGA.</param>
/// <param name="Memory">Host 1's memory at the end; empty where it depends on the FPGA's speed.</param>
internal sealed record RunOutcome(string? Failure, Coverage Coverage, ulong Cycles, byte[] Memory);

/// <summary>Runs a plan on an FPGA, both hosts played, and holds everything against the plan.</summary>
internal sealed class GeneratedRun : ICompletionChoice, IDisposable
{
    private const ulong MostCycles = 500_000;
    private const int MostLooks = 100_000;

    // What must not be reported whatever a host or a reset does.
    private static readonly string[] s_never = ["malformed", "exceeds", "poisoned", "not known", "nobody asked for", "DMA_DONE", "Exception", "which is none of its own"];

    private readonly CancellationTokenSource _stop = new();
    private readonly List<string> _reports = [];
    private readonly PortWatch[] _watches;
    private readonly InterruptLedger[] _ledgers;
    private readonly GeneratedDriver[] _drivers;
    private readonly HashSet<int> _leaving = [];
    private readonly TaskCompletionSource _broken = new();
    private Exception? _failure;
    private ulong _draws;
    private int _looks;

    private GeneratedRun(Plan plan, FpgaOptions fpga, Func<FpgaOptions, IFpga>? make, IStimuliLog? stimuli)
    {
        Plan = plan;
        _draws = plan.Seed;
        Stepped = new SteppedBridge(new BridgeOptions
        {
            Name = "generated",
            Fpga = Options(fpga, plan),
            MakeFpga = make ?? FpgaFactory.Create,
            Hosts =
            [
                new ProgramHostOptions { Functions = PlanMaker.Functions, MemoryBytes = PlanMaker.HostOneBytes, MemoryBase = plan.Bases[0] },
                new ProgramHostOptions { Functions = 1, MemoryBytes = PlanMaker.HostTwoBytes, MemoryBase = plan.Bases[1] },
            ],
            RingFeatures = plan.RingFeatures,
            CompletionLatencyCycles = plan.Latency,
            Completions = this,
            Stimuli = stimuli,
            Log = _reports.Add,
        });
        Memories = [new HostImage(Stepped, 0, plan.Bases[0], plan.Seed + 1), new HostImage(Stepped, 1, plan.Bases[1], plan.Seed + 2)];
        _ledgers = [.. Enumerable.Range(0, PlanMaker.Functions).Select(_ => new InterruptLedger(Coverage))];
        _watches =
        [
            new PortWatch(0, Memories[0], _ledgers, plan.DeviceControls, Coverage),
            new PortWatch(1, Memories[1], [], [plan.DeviceControls[PlanMaker.Functions]], Coverage),
        ];
        Strays = new Strays(Stepped, _watches, Coverage);
        BackEnd = new GeneratedBackEnd(this);
        _drivers = [.. Enumerable.Range(0, PlanMaker.Functions).Select(f => new GeneratedDriver(this, f, _ledgers[f]))];
        Coverage.Hit(CoveragePoint.PausesInto, fpga.Kind != FpgaKind.Model && plan.Pauses.Into != 0);
        Coverage.Hit(CoveragePoint.PausesOutOf, fpga.Kind != FpgaKind.Model && plan.Pauses.OutOf != 0);
        Coverage.Hit(CoveragePoint.HeavyPauses, fpga.Kind != FpgaKind.Model && plan.Pauses is { Into: >= 128, OutOf: >= 128 });
    }

    public Plan Plan { get; }

    public SteppedBridge Stepped { get; }

    public HostImage[] Memories { get; }

    public GeneratedBackEnd BackEnd { get; }

    public Strays Strays { get; }

    public Coverage Coverage { get; } = new();

    /// <summary>Ends what waits for interrupts.</summary>
    public CancellationToken Stopping => _stop.Token;

    /// <summary>Whether every stray request was answered.</summary>
    public bool StraysAnswered => Array.TrueForAll(_watches, watch => watch.StraysAnswered);

    /// <summary>What an FPGA has to be for a plan.</summary>
    public static FpgaOptions Options(FpgaOptions fpga, Plan plan) => fpga with
    {
        Functions = PlanMaker.Functions,
        QueuesPerFunction = PlanMaker.Queues,
        Pauses = fpga.Kind == FpgaKind.Model ? default : plan.Pauses,
    };

    /// <summary>Runs a plan.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="fpga">FPGA to run it on.</param>
    /// <param name="make">Makes the FPGA; null: as the options say.</param>
    /// <param name="stimuli">Sees the boundary, or null.</param>
    public static RunOutcome Execute(Plan plan, FpgaOptions fpga, Func<FpgaOptions, IFpga>? make, IStimuliLog? stimuli)
    {
        GeneratedRun? run = null;
        try
        {
            run = new GeneratedRun(plan, fpga, make, stimuli);
            string? failure = run.Execute();
            return new RunOutcome(failure, run.Coverage, run.Stepped.Cycle, plan.EndsAlike ? run.Memories[0].Bytes.ToArray() : []);
        }
        catch (InvalidOperationException e) when (run is null)
        {
            return new RunOutcome($"the FPGA is not what it has to be: {e.Message}", new Coverage(), 0, []);
        }
        finally
        {
            run?.Dispose();
        }
    }

    /// <summary>Requires what has to be.</summary>
    public static void Require(bool condition, string otherwise)
    {
        if (!condition)
        {
            throw new OracleException(otherwise);
        }
    }

    /// <summary>A queue of host 1's driver in its present life.</summary>
    public QueueState? Queue(int function, int queue) => _drivers[function].Queue(queue);

    /// <summary>Whether a device is made to fail.</summary>
    public bool IsFailing(int function) => _drivers[function].Failing;

    /// <summary>Requests of a function may leave memory, because it is made to.</summary>
    public void MayLeaveMemory(int function, bool may)
    {
        _ = may ? _leaving.Add(function) : _leaving.Remove(function);
        _watches[0].MayLeaveMemory = _leaving.Count != 0;
    }

    /// <summary>Ends a run that does not come to an end.</summary>
    public void CheckTime(string what)
    {
        Require(Stepped.Cycle < MostCycles, $"after {MostCycles} cycles the run still waits for {what}");
        Require(++_looks < MostLooks, $"after {MostLooks} looks the run still waits for {what}");
    }

    /// <summary>Starts a script of its own; what goes wrong in it ends the run.</summary>
    public void Spawn(Func<Task> script) => _ = Guard(script);

    ulong ICompletionChoice.Delay(in Tlp request) => Plan.MostDelay == 0 ? 0 : Mix.Next(ref _draws) % (ulong)(Plan.MostDelay + 1);

    int ICompletionChoice.Split(ulong address, int remaining, int most)
    {
        if (Plan.SplitShare == 0 || Mix.Next(ref _draws) % 256 >= (ulong)Plan.SplitShare)
        {
            return most;
        }

        int boundaries = (int)(((address + (uint)most - 1) >> 6) - (address >> 6));
        return boundaries == 0 ? most : (int)((((address >> 6) + 1 + (Mix.Next(ref _draws) % (ulong)boundaries)) << 6) - address);
    }

    public void Dispose()
    {
        Stepped.Dispose();
        _stop.Dispose();
    }

    private string? Execute()
    {
        try
        {
            Stepped.Bridge.Observe(0, _watches[0]);
            Stepped.Bridge.Observe(1, _watches[1]);
            Stepped.Complete(Main, MostCycles * 2);
            _stop.Cancel();
            Stepped.RunUntilIdle(MostCycles);
            return _failure?.Message ?? Final();
        }
        catch (Exception e) when (e is OracleException or InvalidOperationException)
        {
            string doing = string.Join("; ", _drivers.Select((driver, f) => $"function {f}: {driver.Doing}"));
            return _failure is OracleException first ? first.Message : e is OracleException ? e.Message : $"{e.Message} ({doing}){Reports()}";
        }
    }

    private async Task Main()
    {
        Task all = Guard(async () =>
        {
            foreach (GeneratedDriver driver in _drivers)
            {
                Spawn(driver.Interrupts);
            }

            await BackEnd.Start();
            foreach (Epoch epoch in Plan.Epochs)
            {
                await Run(epoch);
            }
        });
        _ = await Task.WhenAny(all, _broken.Task);
        if (_failure is not null)
        {
            throw _failure;
        }
    }

    private async Task Run(Epoch epoch)
    {
        List<Task> lives = [];
        for (int f = 0; f < epoch.Lives.Count; f++)
        {
            if (epoch.Lives[f] is { } life)
            {
                GeneratedDriver driver = _drivers[f];
                lives.Add(Guard(() => driver.Run(life)));
            }
        }

        Coverage.Hit(CoveragePoint.BothFunctions, lives.Count > 1);
        if (epoch.Interruption != Interruption.Nothing)
        {
            await Stepped.AtCycle(Stepped.Cycle + epoch.InterruptionAfter);
            bool atWork = lives.Exists(life => !life.IsCompleted);
            if (epoch.Interruption == Interruption.NewSession)
            {
                await BackEnd.NewSession();
                Coverage.Hit(CoveragePoint.NewSession, atWork);
            }
            else
            {
                foreach (GeneratedDriver driver in _drivers)
                {
                    driver.Abort();
                }

                await Stepped.Bridge.Reset();
                Coverage.Hit(CoveragePoint.FpgaReset, atWork);
                await BackEnd.LinkUp();
            }
        }

        await Task.WhenAll(lives);
        if (epoch.Interruption != Interruption.Nothing)
        {
            await BackEnd.Settled();
        }
    }

    private async Task Guard(Func<Task> script)
    {
        try
        {
            await script();
        }
        catch (OperationCanceledException)
        {
            // The run is over.
        }
        catch (Exception e)
        {
            _failure ??= e;
            _ = _broken.TrySetResult();
        }
    }

    // What has to hold once nothing moves any more.
    private string? Final()
    {
        Range pool = (int)Plan.BackEnd.PoolOffset..(int)(Plan.BackEnd.PoolOffset + PlanMaker.PoolBytes);
        BridgeStatus status = null!;
        Stepped.Complete(async () => status = await Stepped.Bridge.GetStatus());
        ulong unexpected = (ulong)_watches.Sum(watch => watch.StrayCompletions);
        ulong counted = (ulong)status.Ports.Sum(port => (long)port.UnexpectedCompletions);
        bool legal = Plan.Epochs.All(epoch => epoch.Lives.All(life => life is null or { Illegal: Illegal.Nothing }));
        return Memories[0].Compare(0..0)
            ?? Memories[1].Compare(pool)
            ?? (unexpected == counted ? null : $"{counted} unexpected completions; {unexpected} stray requests were answered")
            ?? status.Ports.Select((port, number) => Wrong(port, number, legal)).FirstOrDefault(wrong => wrong is not null)
            ?? (Plan.Epochs.All(epoch => epoch.Interruption == Interruption.Nothing) ? _reports.Find(report => report.Contains("back end lost", StringComparison.Ordinal)) : null)
            ?? _reports.Find(report => Array.Exists(s_never, report.Contains) && !report.Contains("unexpected completion", StringComparison.Ordinal));
    }

    private static string? Wrong(RootPortCounters port, int number, bool legal) =>
        port.Malformed != 0 ? $"port {number}: {port.Malformed} malformed TLPs"
        : port.Timeouts != 0 ? $"port {number}: {port.Timeouts} requests timed out"
        : legal && port.DmaErrors != 0 ? $"port {number}: {port.DmaErrors} requests outside memory"
        : port.Unsupported != 0 ? $"port {number}: {port.Unsupported} unsupported requests"
        : null;

    private string Reports() => _reports.Count == 0 ? "" : $"; reports: {string.Join("; ", _reports.TakeLast(8))}";
}
