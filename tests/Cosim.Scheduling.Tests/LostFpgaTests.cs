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

    private sealed class MortalFpga(FpgaOptions options) : IFpga
    {
        public const string Cause = "the simulator ended by signal 9";

        private readonly IFpga _fpga = FpgaFactory.Create(options);
        private volatile bool _ended;

        public string Kind => _fpga.Kind;

        public int PortCount => _fpga.PortCount;

        public ulong Cycle => _fpga.Cycle;

        public string? Failure => _ended ? Cause : _fpga.Failure;

        public void End()
        {
            _ended = true;
            options.SimulatorEnded!();
        }

        public void Send(int port, ReadOnlySpan<byte> packet, ulong notBefore = 0) => _fpga.Send(port, packet, notBefore);

        public RunResult Run(ulong maxCycles, uint lookahead = 0) => _ended ? RunResult.Failed : _fpga.Run(maxCycles, lookahead);

        public bool TryReceive(out FpgaPacket packet) => _fpga.TryReceive(out packet);

        public void Reset() => _fpga.Reset();

        public void Dispose() => _fpga.Dispose();
    }
}
