// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;
using Cosim.Fpga;

namespace Cosim.Scheduling.Tests;

/// <summary>A simulator's process that is killed in any cycle under load: the bridge says so, and a reset brings all of it back.</summary>
[TestFixture(FpgaKind.Verilator, 8)]
[TestFixture(FpgaKind.Ghdl, 2)]
public sealed class SimulatorDeathTests(FpgaKind kind, int rounds)
{
    private const ulong Rings = 0x1_0000;
    private const ulong Data = 0x10_0000;
    private const int Batch = 8;
    private const int MostBytes = 4000;

    private readonly Random _random = new(20261120);

    [Test]
    public async Task Simulator_KilledInAnyCycleUnderLoad_ResetBringsTheDeviceBackWithEveryByteRight()
    {
        List<string> log = [];
        DoomedFpga? fpga = null;
        using SteppedBridge stepped = new(SteppedBridgeTests.Options(kind, null) with { MakeFpga = options => fpga = new DoomedFpga(options), Log = log.Add });
        await using MockBackEnd backEnd = new(stepped.Bridge);
        MockDriver driver = new(stepped.Bridge, 0);
        for (int round = 0; round < rounds; round++)
        {
            backEnd.Die();
            stepped.Complete(backEnd.Start);
            MockQueue queue = null!;
            stepped.Complete(async () => queue = await StartDriver(driver));
            MoveBatch(stepped, queue);

            log.Clear();
            fpga!.DiesAt = stepped.Cycle + (ulong)_random.Next(1, 30_000);
            Assert.That(
                () =>
                {
                    while (true)
                    {
                        MoveBatch(stepped, queue);
                    }
                },
                Throws.InvalidOperationException.With.Message.Contains("signal 9"),
                $"round {round}");
            Assert.That(stepped.Bridge.State, Is.EqualTo(BridgeState.Failed));
            Assert.That(log.Where(line => line.Contains("signal 9", StringComparison.Ordinal)), Has.Exactly(1).Items, "it is told once");

            stepped.Complete(stepped.Bridge.Reset);

            // The back end, called after the reset, looks at its mailbox and waits again: nothing of it is under way that would need the clock.
            stepped.RunUntilIdle();
            Assert.That(stepped.Bridge.State, Is.EqualTo(BridgeState.LinkDown));
        }
    }

    private static async Task<MockQueue> StartDriver(MockDriver driver)
    {
        await driver.Enable(9);
        await driver.Reset();
        await driver.Negotiate(0);
        MockQueue queue = await driver.AddQueue(0, 32, Rings);
        await driver.DriverOk();
        return queue;
    }

    // Some requests there and back; their bytes are held against what was sent.
    private void MoveBatch(SteppedBridge stepped, MockQueue queue)
    {
        byte[][] sent = [.. Enumerable.Range(0, Batch).Select(_ => new byte[_random.Next(1, MostBytes)])];
        stepped.Complete(async () =>
        {
            for (int i = 0; i < Batch; i++)
            {
                _random.NextBytes(sent[i]);
                ulong from = Data + ((ulong)i * 0x2000);
                await stepped.Bridge.WriteHostMemory(0, from, sent[i]);
                _ = await queue.Add(new MockBuffer(from, (uint)sent[i].Length, false), new MockBuffer(from + 0x1000, (uint)sent[i].Length, true));
            }

            await queue.Publish(always: true);
        });
        stepped.RunUntilIdle();
        int used = 0;
        stepped.Complete(async () =>
        {
            while (await queue.TakeUsed() is not null)
            {
                used++;
            }
        });
        Assert.That(used, Is.EqualTo(Batch));
        for (int i = 0; i < Batch; i++)
        {
            Assert.That(stepped.Memory(0).Slice((int)Data + (i * 0x2000) + 0x1000, sent[i].Length).ToArray(), Is.EqualTo(sent[i].Select(b => (byte)~b)));
        }
    }

    /// <summary>Kills its simulator's process before it is asked to run past a cycle.</summary>
    private sealed class DoomedFpga(FpgaOptions options) : IFpga
    {
        private readonly IFpga _fpga = FpgaFactory.Create(options);

        public ulong DiesAt { get; set; } = ulong.MaxValue;

        public string Kind => _fpga.Kind;

        public int PortCount => _fpga.PortCount;

        public ulong Cycle => _fpga.Cycle;

        public string? Failure => _fpga.Failure;

        public void Send(int port, ReadOnlySpan<byte> packet, ulong notBefore = 0) => _fpga.Send(port, packet, notBefore);

        public RunResult Run(ulong maxCycles, uint lookahead = 0)
        {
            if (_fpga.Cycle >= DiesAt)
            {
                DiesAt = ulong.MaxValue;
                using Process simulator = Simulator();
                simulator.Kill();
                simulator.WaitForExit();
            }

            return _fpga.Run(maxCycles, lookahead);
        }

        public bool TryReceive(out FpgaPacket packet) => _fpga.TryReceive(out packet);

        public void Reset() => _fpga.Reset();

        public void Dispose() => _fpga.Dispose();

        private static Process Simulator() => Directory.GetDirectories($"/proc/{Environment.ProcessId}/task")
            .SelectMany(thread => File.ReadAllText(Path.Combine(thread, "children")).Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Select(id => Process.GetProcessById(int.Parse(id, CultureInfo.InvariantCulture)))
            .Single(process => new FileInfo($"/proc/{process.Id}/exe").LinkTarget?.Contains("/.cosim/build/", StringComparison.Ordinal) == true);
    }
}
