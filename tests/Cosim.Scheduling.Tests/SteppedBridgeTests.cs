// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Text;
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>A bridge that the test runs: the same script is the same run.</summary>
[TestFixture(FpgaKind.Model)]
[TestFixture(FpgaKind.Verilator)]
[TestFixture(FpgaKind.Ghdl)]
public sealed class SteppedBridgeTests(FpgaKind kind)
{
    [Test]
    public async Task Script_BlockRequestsWithAReset_GivesTheSameRecordingEachTime()
    {
        string first = await RecordBlockRequests();
        string second = await RecordBlockRequests();
        Assert.That(first.Split('\n'), Has.Length.GreaterThan(500));
        Assert.That(second, Is.EqualTo(first));
    }

    [Test]
    public void Task_WithManyAwaiters_AllGoOnOnTheOwnersThread()
    {
        using SteppedBridge stepped = new(Options(kind, null));
        int owner = Environment.CurrentManagedThreadId;
        List<(int Script, int Thread)> order = [];
        stepped.Complete(async bridge =>
        {
            Task<TransactionResult> read = bridge.Bridge.ReadConfig(0, 0, 0, 4);
            await Task.WhenAll(Enumerable.Range(0, 8).Select(async script =>
            {
                _ = await read;
                order.Add((script, Environment.CurrentManagedThreadId));
            }));
        });
        Assert.That(order.Select(o => o.Script), Is.EqualTo(Enumerable.Range(0, 8)));
        Assert.That(order.Select(o => o.Thread), Is.All.EqualTo(owner));
    }

    [Test]
    public void AtCycle_IdleAndBusyFpga_FirstBeatIsOfferedInThatCycle()
    {
        List<(ulong Asked, ulong Offered)> offered = [];
        ulong asked = 0;
        RecordingLog log = new() { Offered = (port, cycle) => offered.Add((asked, cycle)) };
        using SteppedBridge stepped = new(Options(kind, log));
        ulong start = stepped.Cycle;
        foreach (ulong distance in new ulong[] { 1000, 1001, 1003, 1500 })
        {
            stepped.At(start + distance, () =>
            {
                asked = start + distance;
                _ = stepped.Bridge.ReadConfig(0, 0, 0, 4);
            });
        }

        offered.Clear();
        stepped.RunUntilIdle();
        Assert.That(offered, Has.Count.EqualTo(4));
        Assert.That(offered.Select(o => o.Offered), Is.EqualTo(offered.Select(o => o.Asked)));
    }

    [Test]
    public void Complete_ScriptWaitsForWhatDoesNotCome_Throws()
    {
        using SteppedBridge stepped = new(Options(kind, null));
        using CancellationTokenSource never = new();
        Assert.That(
            () => stepped.Complete(() => stepped.Bridge.WaitInterrupt(0, 0, never.Token)),
            Throws.InvalidOperationException.With.Message.Contains("nothing is left to do"));
    }

    [Test]
    public async Task MailboxTimeout_InSimulatedTime_PassesInSoManyCycles()
    {
        List<string> reports = [];
        using SteppedBridge stepped = new(Options(kind, null) with { MailboxTimeout = TimeSpan.FromMicroseconds(40), Log = reports.Add });
        await using MockBackEnd backEnd = new(stepped.Bridge) { Mute = true };
        stepped.Complete(backEnd.Announce);
        stepped.RunUntilIdle();
        Assert.That(reports, Is.Empty);
        stepped.Complete(async bridge =>
        {
            await bridge.AtCycle(bridge.Cycle + 10_000);
            _ = await bridge.Bridge.ReadConfig(0, 0, 0, 4);
        });
        Assert.That(reports, Has.Some.Contain("no reply to GetBackend"));
    }

    internal static BridgeOptions Options(FpgaKind kind, IStimuliLog? log)
    {
        string root = BridgeFixture.RepositoryRoot();
        return new BridgeOptions
        {
            Name = "stepped",
            Fpga = new FpgaOptions
            {
                Kind = kind,
                HdlDirectory = Path.Combine(root, "hdl"),
                BuildDirectory = Path.Combine(root, ".cosim", "build"),
                ToolsFile = Path.Combine(root, ".cosim", "tools.json"),
            },
            Hosts = [new ProgramHostOptions { Functions = 2, MemoryBytes = 4 << 20 }, new ProgramHostOptions { Functions = 1, MemoryBytes = 8 << 20 }],
            Stimuli = log,
        };
    }

    private async Task<string> RecordBlockRequests()
    {
        RecordingLog log = new();
        using SteppedBridge stepped = new(Options(kind, log));
        await using MockBackEnd backEnd = new(stepped.Bridge) { Reannounces = true };
        stepped.Complete(bridge => BlockRequests(bridge, backEnd));
        stepped.RunUntilIdle();
        return log.Text.ToString();
    }

    private static async Task BlockRequests(SteppedBridge stepped, MockBackEnd backEnd)
    {
        MockDriver driver = new(stepped.Bridge, 0);
        await backEnd.Start();
        await driver.Enable(9);
        for (int round = 0; round < 2; round++)
        {
            await driver.Reset();
            await driver.Negotiate(VirtioFeatures.RingEventIdx);
            MockQueue queue = await driver.AddQueue(0, 16, 0x1_0000);
            await driver.DriverOk();
            for (ulong i = 0; i < 4; i++)
            {
                _ = await queue.Add(new MockBuffer(0x10_0000 + (i * 0x1000) + i, 3000, false), new MockBuffer(0x20_0000 + (i * 0x1003), 2999, true));
            }

            await queue.Publish();
            for (int i = 0; i < 4; i++)
            {
                Assert.That((await driver.NextUsed(queue)).Length, Is.EqualTo(2999));
            }

            await stepped.Bridge.Reset();
            while (stepped.Bridge.State != BridgeState.LinkUp)
            {
                _ = await driver.ReadStatus();
            }
        }
    }

    private sealed class RecordingLog : IStimuliLog
    {
        public StringBuilder Text { get; } = new();

        public Action<int, ulong>? Offered { get; init; }

        public void Input(int port, ulong cycle, ulong notBefore, ReadOnlySpan<ulong> outputsSeen, ReadOnlySpan<byte> packet)
        {
            Offered?.Invoke(port, Math.Max(cycle, notBefore));
            _ = Text.Append(CultureInfo.InvariantCulture, $"in {port} {Math.Max(cycle, notBefore)} {outputsSeen[0]} {outputsSeen[1]} {outputsSeen[2]} {Convert.ToHexString(packet)}\n");
        }

        public void Output(int port, ulong cycle, ReadOnlySpan<byte> packet) =>
            Text.Append(CultureInfo.InvariantCulture, $"out {port} {cycle} {Convert.ToHexString(packet)}\n");

        public void Reset(ulong cycle) => Text.Append(CultureInfo.InvariantCulture, $"reset {cycle}\n");
    }
}
