// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;

namespace Cosim.Scheduling.Tests;

/// <summary>A simulator that ends while nobody uses it.</summary>
public sealed class LostFpgaTests
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(60);

    [Test]
    public async Task StateChanged_SimulatorEndsWhileTheBridgeIsIdle_IsFailedWithItsReason()
    {
        MortalFpga? fpga = null;
        using Bridge bridge = new(new BridgeOptions
        {
            Name = "test",
            Fpga = new FpgaOptions { Kind = FpgaKind.Model },
            Hosts = [new ProgramHostOptions { Functions = 2 }, new ProgramHostOptions { Functions = 1 }],
            MakeFpga = options => fpga = new MortalFpga(options),
        });
        await bridge.Started.WaitAsync(s_deadline);
        _ = await bridge.GetStatus(); // the loop has nothing left to do
        TaskCompletionSource<BridgeState> changed = new();
        bridge.StateChanged += (_, state) => changed.TrySetResult(state);

        fpga!.End();

        Assert.That(await changed.Task.WaitAsync(s_deadline), Is.EqualTo(BridgeState.Failed));
        Assert.That(bridge.Failure, Is.EqualTo(MortalFpga.Cause));
    }
}
