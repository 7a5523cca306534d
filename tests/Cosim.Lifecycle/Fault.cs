// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Text;
using Cosim.Scheduling;

namespace Cosim.Lifecycle;

/// <summary>Something that goes wrong, with what brings it back where that does not come by itself.</summary>
public sealed record Fault(string Name)
{
    /// <summary>Host 1's guest runs on, and its writes are completed once the fault is over.</summary>
    public bool HostOneSurvives { get; init; }

    /// <summary>Lets it happen; of a host 1 that survives, the way back belongs to it.</summary>
    public Func<Rig, Task>? Happen { get; init; }

    /// <summary>The way back of a host 1 that has not survived.</summary>
    public Func<Rig, Task>? ComeBack { get; init; }

    /// <summary>Instead: a script in host 1's guest that does it so many times and fills a region after each.</summary>
    public Func<int, int, string>? Script { get; init; }

    /// <summary>For <see cref="Script"/>.</summary>
    public int Times { get; init; } = 1;

    public static Fault KillHostOne { get; } = new("kill -9 of host 1's QEMU")
    {
        Happen = rig => rig.KillHostOneAsync(),
        ComeBack = rig => rig.StartHostOneAsync(),
    };

    public static Fault RebootHostOne { get; } = new("host 1 reboots (sysrq b)")
    {
        Happen = rig => TypeAsync(rig, "echo b >/proc/sysrq-trigger\n"),
        ComeBack = rig => rig.WaitForHostOneAsync(),
    };

    public static Fault PanicHostOne { get; } = new("host 1's kernel panics (sysrq c)")
    {
        Happen = rig => TypeAsync(rig, "echo 1 >/proc/sys/kernel/panic; echo c >/proc/sysrq-trigger\n"),
        ComeBack = rig => rig.WaitForHostOneAsync(),
    };

    public static Fault ResetHostOne { get; } = new("host 1 is reset (QMP system_reset)")
    {
        Happen = rig => rig.HostOne.ResetAsync(),
        ComeBack = rig => rig.WaitForHostOneAsync(),
    };

    public static Fault KillBackEnd { get; } = new("kill -9 of the back-end program")
    {
        HostOneSurvives = true,
        Happen = rig => rig.RestartBackEndAsync(),
    };

    public static Fault KillHostTwo { get; } = new("kill -9 of host 2's QEMU")
    {
        HostOneSurvives = true,
        Happen = async rig =>
        {
            await rig.KillHostTwoAsync();
            await rig.StartHostTwoAsync();
        },
    };

    public static Fault RebootHostTwo { get; } = new("host 2 reboots (sysrq b)")
    {
        HostOneSurvives = true,
        Happen = async rig =>
        {
            await rig.HostTwo.Console.WriteAsync("echo b >/proc/sysrq-trigger\n"u8.ToArray());
            _ = await rig.HostTwo.WaitUntilReadyAsync(Rig.Deadline);
        },
    };

    public static Fault KillSimulator { get; } = new("kill -9 of the simulator, cosim reset")
    {
        Happen = async rig =>
        {
            using (Process simulator = rig.Simulator())
            {
                simulator.Kill();
            }

            await rig.WaitForStateAsync(BridgeState.Failed);
        },
        ComeBack = ResetAsync,
    };

    public static Fault ResetBridge { get; } = new("cosim reset, host 1 is reset")
    {
        Happen = _ => Task.CompletedTask,
        ComeBack = ResetAsync,
    };

    public static Fault Pause(TimeSpan time) => new($"host 1 pauses for {time.TotalSeconds:0.#} s (QMP stop, cont)")
    {
        HostOneSurvives = true,
        Happen = async rig =>
        {
            await rig.HostOne.Monitor.ExecuteAsync("stop");
            await Task.Delay(time);
            await rig.HostOne.Monitor.ExecuteAsync("cont");
        },
    };

    public static Fault Rebind(int times) => new("drivers unbound and bound") { Script = GuestScript.Rebind, Times = times };

    public static Fault Reload(int times) => new("drivers' modules reloaded") { Script = GuestScript.Reload, Times = times };

    private static async Task ResetAsync(Rig rig)
    {
        await rig.Bridge.Reset().WaitAsync(Rig.Deadline);
        await rig.WaitForStateAsync(BridgeState.LinkUp);
        await rig.ResetHostOneAsync();
    }

    // At the shell for people: the one for programs is busy writing.
    private static async Task TypeAsync(Rig rig, string line) => await rig.HostOne.Console.WriteAsync(Encoding.ASCII.GetBytes(line));
}
