// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;

namespace Cosim.Scheduling;

/// <summary>
/// A bridge that its owner runs, cycle by cycle, on the owner's thread: programs play both hosts, and nothing depends on a clock of this
/// machine. The same script gives the same inputs at the same cycles, and so the same recording, at every run.
/// </summary>
/// <remarks>
/// <para>
/// Whatever <see cref="Bridge"/> offers may be used. Its tasks end on the owner's thread, between two runs of the FPGA, in the order of
/// their causes; so a script can be an <c>async</c> method that awaits nothing but such tasks, and any number of them run side by side:
/// </para>
/// <code>
/// using SteppedBridge stepped = new(options);                       // hosts: ProgramHostOptions
/// stepped.Complete(async b =>
/// {
///     byte[] id = (await b.Bridge.ReadConfig(0, 0, 0, 4)).Data;
///     await b.AtCycle(500);                                          // goes on in cycle 500
///     await b.Bridge.WriteMemory(0, 0, 0, 0x14, [1]);                // first beat in cycle 500
/// });
/// stepped.RunUntilIdle();
/// </code>
/// <para>
/// Host memory needs no task: <see cref="Memory"/>. Timeouts of the bridge are counted in simulated time. A script must not await what ends
/// elsewhere (<c>Task.Delay</c>, <c>Task.Run</c>), nor wait in a blocking way.
/// </para>
/// </remarks>
public sealed class SteppedBridge : IDisposable
{
    private const ulong MostCycles = 1 << 20;

    private readonly PriorityQueue<Action, (ulong Cycle, ulong Order)> _actions = new();
    private readonly SynchronizationContext _context;
    private ulong _order;

    /// <summary>Makes the FPGA and looks at what it has, up to where a back end may announce itself.</summary>
    /// <param name="options">Options; each host is played by a program.</param>
    /// <exception cref="ArgumentException">Options that contradict each other or the FPGA, or a host that is no program.</exception>
    /// <exception cref="InvalidOperationException">The FPGA is lost at once.</exception>
    public SteppedBridge(BridgeOptions options)
    {
        if (options.Hosts.Any(host => host is not ProgramHostOptions))
        {
            throw new ArgumentException($"bridge {options.Name}: where the owner runs the bridge, programs play all hosts", nameof(options));
        }

        Bridge = new Bridge(options, stepped: true);
        _context = Bridge.Context;
        try
        {
            OnThisThread(Bridge.Begin);
        }
        catch
        {
            Bridge.Dispose();
            throw;
        }
    }

    /// <summary>The bridge.</summary>
    public Bridge Bridge { get; }

    /// <summary>The cycle that comes next.</summary>
    public ulong Cycle => Bridge.Cycle;

    /// <summary>All memory of a host, from <see cref="ProgramHostOptions.MemoryBase"/>.</summary>
    /// <param name="port">Port number.</param>
    public Span<byte> Memory(int port) => Bridge.Memory(port);

    /// <summary>
    /// Gives the FPGA a TLP, legal or not, behind the root port's back: a completion of it is dropped there as unexpected (the root port's
    /// own tags are 0 to 31), an observer of the port sees it.
    /// </summary>
    /// <param name="port">Port number.</param>
    /// <param name="tlp">16 bytes of header and the payload (<c>hdl/CONTRACT.md</c>, section 2).</param>
    public void Inject(int port, ReadOnlySpan<byte> tlp) => Bridge.Inject(port, tlp);

    /// <summary>Has an action done before a cycle is run; what it sends is offered in this cycle. Actions of one cycle are done in the order given.</summary>
    /// <param name="cycle">The cycle; one that is over means the next one.</param>
    /// <param name="action">What is done.</param>
    public void At(ulong cycle, Action action) => _actions.Enqueue(action, (cycle, _order++));

    /// <summary>Ends before a cycle is run, for scripts.</summary>
    /// <param name="cycle">The cycle; one that is over means the next one.</param>
    public Task AtCycle(ulong cycle)
    {
        TaskCompletionSource reached = new();
        At(cycle, reached.SetResult);
        return reached.Task;
    }

    /// <summary>
    /// Runs the clock until the FPGA has nothing to do and no action is left. (An idle FPGA's clock stands still; an action at a later cycle
    /// lets it jump there.)
    /// </summary>
    /// <exception cref="InvalidOperationException">The FPGA is lost, or goes on for <paramref name="mostCycles"/> cycles.</exception>
    public void RunUntilIdle(ulong mostCycles = 50_000_000) => OnThisThread(() =>
    {
        ulong end = Cycle + mostCycles;
        while (Advance())
        {
            if (Cycle >= end)
            {
                throw new InvalidOperationException($"the FPGA is not idle after {mostCycles} cycles");
            }
        }
    });

    /// <summary>Runs the clock until a script has ended.</summary>
    /// <exception cref="InvalidOperationException">
    /// The FPGA is lost; or nothing is left to do, and the script still waits; or it takes more than <paramref name="mostCycles"/> cycles.
    /// </exception>
    public void Complete(Func<Task> script, ulong mostCycles = 50_000_000) => OnThisThread(() =>
    {
        ulong end = Cycle + mostCycles;
        Task task = script();
        while (!task.IsCompleted)
        {
            bool more = Advance();
            if (!task.IsCompleted && (!more || Cycle >= end))
            {
                throw new InvalidOperationException($"the script waits for what does not come: cycle {Cycle}, {(more ? "the FPGA is busy" : "nothing is left to do")}");
            }
        }

        task.GetAwaiter().GetResult();
    });

    /// <inheritdoc cref="Complete(Func{Task}, ulong)"/>
    public void Complete(Func<SteppedBridge, Task> script, ulong mostCycles = 50_000_000) => Complete(() => script(this), mostCycles);

    /// <summary>Ends the bridge and the simulator.</summary>
    public void Dispose() => Bridge.Dispose();

    // What awaits goes on here, in an order that is always the same.
    private void OnThisThread(Action action)
    {
        SynchronizationContext? context = SynchronizationContext.Current;
        SynchronizationContext.SetSynchronizationContext(_context);
        Bridge.IsRun = true;
        try
        {
            action();
        }
        finally
        {
            Bridge.IsRun = false;
            SynchronizationContext.SetSynchronizationContext(context);
        }
    }

    // Runs up to the next thing that happens; false: nothing will.
    private bool Advance()
    {
        Bridge.Settle();
        while (_actions.TryPeek(out Action? due, out (ulong Cycle, ulong Order) at) && at.Cycle <= Cycle)
        {
            _ = _actions.Dequeue();
            due();
            Bridge.Settle();
        }

        ulong limit = _actions.TryPeek(out _, out (ulong Cycle, ulong Order) next) ? next.Cycle - Cycle : MostCycles;
        RunResult result = Bridge.Step(limit);
        if (result == RunResult.Failed)
        {
            throw new InvalidOperationException($"the FPGA is lost: {Bridge.Failure}");
        }

        if (result != RunResult.Idle)
        {
            return true;
        }

        if (!_actions.TryDequeue(out Action? action, out next))
        {
            return false;
        }

        Bridge.Hold(next.Cycle);
        action();
        Bridge.Settle();
        return true;
    }
}
