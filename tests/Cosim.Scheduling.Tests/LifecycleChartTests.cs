// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>The chart of hdl/LIFECYCLE.md, cell by cell: a bridge is brought to the column's state, the row's event happens, the cell's state is found.</summary>
[TestFixture(FpgaKind.Model)]
[TestFixture(FpgaKind.Verilator)]
public sealed class LifecycleChartTests(FpgaKind kind)
{
    private const ulong Feature = 0x20;
    private const ulong RingMemory = 0x1_0000;
    private const ulong Data = 0x10_0000;
    private const ulong TimeoutCycles = 250_000;

    // Device Control: the FPGA's reset values and Initiate Function Level Reset.
    private const int DeviceControl = 0x48;
    private static readonly byte[] s_functionLevelReset = [0x10, 0xA8];

    private readonly List<string> _log = [];
    private MortalFpga _fpga = null!;
    private SteppedBridge _stepped = null!;
    private MockBackEnd _backEnd = null!;
    private MockDriver _driver = null!;
    private MockQueue? _queue;

    private Bridge Bridge => _stepped.Bridge;

    [SetUp]
    public void MakeBridge()
    {
        _log.Clear();
        _queue = null;
        BridgeOptions options = SteppedBridgeTests.Options(kind, null);
        _stepped = new SteppedBridge(options with
        {
            Fpga = options.Fpga with { InProcess = kind == FpgaKind.Verilator },
            MakeFpga = fpga => _fpga = new MortalFpga(fpga),
            MailboxTimeout = TimeSpan.FromMilliseconds(1),
            Log = _log.Add,
        });
        _backEnd = new MockBackEnd(Bridge);
        _driver = new MockDriver(Bridge, 0);
    }

    [TearDown]
    public async Task EndBridge()
    {
        await _backEnd.DisposeAsync();
        _stepped.Dispose();
    }

    [TestCaseSource(nameof(Cells))]
    public void Chart_EventInState_IsFollowedByTheState(string state, string happens, string expected)
    {
        Enter(state);
        Assert.That(_log, Is.All.Not.Contain("Exception"));
        Happen(happens);
        Assert.That(Find(), Is.EqualTo(expected), string.Join('\n', _log));
    }

    [Test]
    public void States_AsEntered_AreFound([ValueSource(nameof(States))] string state)
    {
        Enter(state);
        Assert.That(Find(), Is.EqualTo(state), string.Join('\n', _log));
    }

    private static IEnumerable<string> States => Rows().First()[1..];

    private static IEnumerable<TestCaseData> Cells()
    {
        string[][] rows = [.. Rows()];
        foreach (string[] row in rows.Skip(1))
        {
            for (int column = 1; column < row.Length; column++)
            {
                if (row[column] != "-")
                {
                    yield return new TestCaseData(rows[0][column], row[0], row[column]).SetArgDisplayNames(rows[0][column], row[0], row[column]);
                }
            }
        }
    }

    // The chart's rows, headings first.
    private static IEnumerable<string[]> Rows()
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "Cosim.sln")))
        {
            folder = Path.GetDirectoryName(folder);
        }

        return File.ReadLines(Path.Combine(folder!, "hdl", "LIFECYCLE.md"))
            .SkipWhile(line => line != "## Chart")
            .Skip(1)
            .SkipWhile(line => line.Length == 0)
            .TakeWhile(line => line.StartsWith('|'))
            .Where(line => !line.StartsWith("|---", StringComparison.Ordinal))
            .Select(line => line.Trim('|').Split('|').Select(cell => cell.Trim()).ToArray());
    }

    private void Enter(string state)
    {
        switch (state)
        {
            case "no back end":
                break;
            case "opening":
                // Nobody takes the message out of the mailbox.
                Run(async () =>
                {
                    _ = await Bridge.WriteConfig(1, 0, 0x04, [0x06, 0x00]);
                    await _backEnd.WriteBar(RegisterMap.BackEnd.Control, 1);
                });
                break;
            case "up":
                Run(_backEnd.Start);
                break;
            case "in use":
                Run(_backEnd.Start);
                Run(StartDriver);
                break;
            case "needs reset":
                Enter("in use");
                Happen("driver breaks its ring");
                break;
            case "frozen":
                Enter("in use");
                Happen("back end leaves");
                break;
            case "FPGA lost":
                Enter("in use");
                Happen("simulator ends");
                break;
            default:
                Assert.Fail($"the state \"{state}\" is not known to the test");
                break;
        }
    }

    private void Happen(string happens)
    {
        switch (happens)
        {
            case "back end announces itself":
                Run(_backEnd.Announce);
                break;
            case "back end that does not fit announces itself":
                _backEnd.Features &= ~Feature;
                Run(_backEnd.Announce);
                break;
            case "back end leaves":
                Run(() => _backEnd.WriteBar(RegisterMap.BackEnd.Control, 0));
                break;
            case "host 2 is gone":
                _backEnd.Die();
                Run(() => Bridge.WriteConfig(1, 0, DeviceControl, s_functionLevelReset));
                break;
            case "back end falls silent":
                _backEnd.Mute = true;
                Run(WriteConfiguration);
                if (Bridge.State != BridgeState.Failed)
                {
                    Run(async () =>
                    {
                        await _stepped.AtCycle(_stepped.Cycle + TimeoutCycles + 1);
                        _ = await Bridge.ReadConfig(0, 0, 0, 4);
                    });
                }

                break;
            case "back end posts garbage":
                Run(async () =>
                {
                    _ = await Bridge.WriteMemory(1, 0, 0, RegisterMap.BackEnd.H2fData, [.. Enumerable.Repeat((byte)0xEE, 64)]);
                    await _backEnd.WriteBar(RegisterMap.BackEnd.H2fPost, 64);
                });
                break;
            case "back end uses a buffer it was not given":
                Run(() => _backEnd.PushUsed(0, 0, 2, 4));
                break;
            case "driver starts":
                Run(_queue is null ? StartDriver : _driver.DriverOk);
                break;
            case "driver breaks its ring":
                Run(async () =>
                {
                    await _queue!.WriteAvailable(16);
                    await _queue.Publish(always: true);
                });
                break;
            case "driver resets the function":
                Run(() => _driver.WriteStatus(VirtioStatus.None));
                break;
            case "host 1 is gone":
                Run(() => Bridge.WriteConfig(0, 0, DeviceControl, s_functionLevelReset));
                break;
            case "simulator ends":
                _fpga.End();
                Assert.That(() => _stepped.RunUntilIdle(), Throws.InvalidOperationException.With.Message.Contains(MortalFpga.Cause));
                break;
            case "bridge is reset":
                Run(Bridge.Reset);
                break;
            case "bridge is ended":
                _stepped.Dispose();
                break;
            default:
                Assert.Fail($"the event \"{happens}\" is not known to the test");
                break;
        }
    }

    // Where the bridge stands, by what its hosts see of it.
    private string Find()
    {
        switch (Bridge.State)
        {
            case BridgeState.Stopped:
                Assert.That(Bridge.GetStatus, Throws.TypeOf<ObjectDisposedException>());
                return "ended";
            case BridgeState.Failed:
                byte[] id = [];
                Run(async () => id = (await Bridge.ReadConfig(0, 0, 0, 4)).Data);
                Assert.That(id, Is.All.EqualTo(0xFF));
                Assert.That(Bridge.Failure, Is.EqualTo(MortalFpga.Cause));
                return "FPGA lost";
            case BridgeState.LinkDown:
                uint message = 0;
                Run(async () => message = await _backEnd.ReadBar(RegisterMap.BackEnd.F2hStatus));
                return message == 0 ? "no back end" : "opening";
            default:
                return FindOfLinkUp();
        }
    }

    private string FindOfLinkUp()
    {
        byte status = Status();
        if ((status & (byte)VirtioStatus.DeviceNeedsReset) != 0)
        {
            return "needs reset";
        }

        bool started = (status & (byte)VirtioStatus.DriverOk) != 0;
        if (!started)
        {
            Run(StartDriver);
        }

        byte[] sent = [1, 2, 3, 4];
        (ushort Head, uint Length)? used = null;
        Run(async () =>
        {
            await Bridge.WriteHostMemory(0, Data, sent);
            _ = await _queue!.Add(new MockBuffer(Data, 4, false), new MockBuffer(Data + 64, 4, true));
            await _queue.Publish(always: true);
        });
        Run(async () => used = await _queue!.TakeUsed());
        if ((Status() & (byte)VirtioStatus.DeviceNeedsReset) != 0)
        {
            return "needs reset";
        }

        if (used is null)
        {
            return "frozen";
        }

        Assert.That(used.Value.Length, Is.EqualTo(4));
        Assert.That(_stepped.Memory(0).Slice((int)Data + 64, 4).ToArray(), Is.EqualTo(sent.Select(b => (byte)~b)));
        return started ? "in use" : "up";
    }

    private byte Status()
    {
        byte status = 0;
        Run(async () => status = await _driver.ReadStatus());
        return status;
    }

    private async Task StartDriver()
    {
        await _driver.Enable(9);
        await _driver.Reset();
        await _driver.Negotiate(Feature);
        _queue = await _driver.AddQueue(0, 16, RingMemory);
        await _driver.DriverOk();
    }

    private Task WriteConfiguration() => Bridge.WriteMemory(0, 0, 0, RegisterMap.Bar.VirtioDevice, [1]);

    // A script to its end, and then whatever follows from it.
    private void Run(Func<Task> script)
    {
        Task? task = null;
        try
        {
            _stepped.Complete(() => task = script());
            _stepped.RunUntilIdle();
        }
        catch (InvalidOperationException) when (Bridge.State == BridgeState.Failed && task is { IsCompleted: true })
        {
            task.GetAwaiter().GetResult(); // What is asked of an FPGA that is lost is answered at once.
        }
    }
}
