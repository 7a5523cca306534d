// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests.Hostile;

/// <summary>
/// One bridge for all tests of a fixture. Function 0 and its driver, or the back end, do what they like; function 1 is the witness: after each
/// test it still moves data, and function 0 does too once its driver has reset it. No test may spoil the next.
/// </summary>
public abstract class WitnessedBridge(FpgaKind kind)
{
    protected const ulong RingMemory = 0x1_0000;
    protected const ulong Data = 0x10_0000;
    protected const ushort QueueSize = 16;
    protected const int MemoryBytes = 4 << 20;
    protected const ulong HostTwoBytes = 8 << 20;
    protected const uint Bar0 = 0xE000_0000;
    protected const ushort WitnessQueue = 7;

    private const ulong WitnessRing = 0x3_0000;
    private const ulong WitnessData = 0x38_0000;
    private const int MostReads = 4000;

    private readonly List<string> _log = [];
    private MockQueue _witnessQueue = null!;
    private byte _exchanges;

    protected SteppedBridge Stepped { get; private set; } = null!;

    protected Bridge Bridge => Stepped.Bridge;

    protected MockBackEnd BackEnd { get; private set; } = null!;

    /// <summary>The driver of function 0.</summary>
    protected MockDriver Driver { get; private set; } = null!;

    /// <summary>The driver of function 1.</summary>
    protected MockDriver Witness { get; private set; } = null!;

    /// <summary>What was reported since the test began; nothing is left out.</summary>
    protected IReadOnlyList<string> Log => _log;

    protected virtual TimeSpan Patience => TimeSpan.FromSeconds(1);

    [OneTimeSetUp]
    public void StartBridge()
    {
        Stepped = new SteppedBridge(SteppedBridgeTests.Options(kind, null) with { Log = _log.Add, MailboxTimeout = Patience });
        BackEnd = new MockBackEnd(Bridge) { Reannounces = true };
        Driver = new MockDriver(Bridge, 0);
        Witness = new MockDriver(Bridge, 1);
        Stepped.Complete(async () =>
        {
            await BackEnd.Start();
            await AssignBars(0);
            await AssignBars(1);
            await StartWitness();
        });
    }

    [OneTimeTearDown]
    public async Task StopBridge()
    {
        await BackEnd.DisposeAsync();
        Stepped.Dispose();
    }

    [SetUp]
    public void BeginTest()
    {
        BackEnd.Serve = null;
        Stepped.Complete(async () =>
        {
            _ = await StartDriver();
            await Settle();
        });
        _log.Clear();
    }

    [TearDown]
    public void Check()
    {
        if (TestContext.CurrentContext.Result.Outcome.Status == NUnit.Framework.Interfaces.TestStatus.Failed)
        {
            TestContext.Out.WriteLine(string.Join('\n', _log));
        }

        Stepped.Complete(async () =>
        {
            await Recover();
            await ExchangeWitness();
            BackEnd.Serve = null;
            await Heal();
        });
    }

    /// <summary>Ends what a test may have left before the witness is asked.</summary>
    protected virtual Task Recover() => Task.CompletedTask;

    /// <summary>The witness moves data: 64 bytes there, their inverse back.</summary>
    protected async Task ExchangeWitness()
    {
        byte[] sent = [.. Enumerable.Repeat(++_exchanges, 64)];
        await Bridge.WriteHostMemory(0, WitnessData, sent);
        _ = await _witnessQueue.Add(new MockBuffer(WitnessData, 64, false), new MockBuffer(WitnessData + 0x1000, 64, true));
        await _witnessQueue.Publish();
        Assert.That((await Witness.NextUsed(_witnessQueue)).Length, Is.EqualTo(64), "the witness's buffer");
        Assert.That(await Bridge.ReadHostMemory(0, WitnessData + 0x1000, 64), Is.EqualTo(sent.Select(b => (byte)~b)), "the witness's data");
    }

    /// <summary>Starts function 0 with its queue 0 anew.</summary>
    protected async Task<MockQueue> StartDriver(ulong features = 0, ushort size = QueueSize)
    {
        await Driver.Enable(9);
        await Driver.Reset();
        await Driver.Negotiate(features);
        MockQueue queue = await Driver.AddQueue(0, size, RingMemory);
        await Driver.DriverOk();
        return queue;
    }

    /// <summary>Starts the witness anew, after an FPGA or a back end that it had is gone.</summary>
    protected async Task StartWitness()
    {
        await Witness.Enable(9);
        await Witness.Reset();
        await Witness.Negotiate(0);
        _witnessQueue = await Witness.AddQueue(WitnessQueue, QueueSize, WitnessRing);
        await Witness.DriverOk();
    }

    /// <summary>One chain of function 0 is served.</summary>
    protected async Task Exchange(MockQueue queue)
    {
        byte[] sent = [1, 2, 3, 4, 5];
        await Bridge.WriteHostMemory(0, Data, sent);
        _ = await queue.Add(new MockBuffer(Data, 5, false), new MockBuffer(Data + 0x100, 5, true));
        await queue.Publish();
        Assert.That((await Driver.NextUsed(queue)).Length, Is.EqualTo(5));
        Assert.That(await Bridge.ReadHostMemory(0, Data + 0x100, 5), Is.EqualTo(sent.Select(b => (byte)~b)));
    }

    /// <summary>DEVICE_NEEDS_RESET comes, for this reason, and is reported once.</summary>
    protected async Task ExpectNeedsReset(string reason)
    {
        for (int reads = 0; (await Driver.ReadStatus() & (byte)VirtioStatus.DeviceNeedsReset) == 0; reads++)
        {
            Assert.That(reads, Is.LessThan(MostReads), $"no DEVICE_NEEDS_RESET; log: {string.Join('\n', Log)}");
        }

        string[] told = [.. Log.Where(line => line.Contains("DEVICE_NEEDS_RESET", StringComparison.Ordinal))];
        Assert.That(told, Has.Length.EqualTo(1));
        Assert.That(told[0], Does.StartWith("function 0: ").And.Contain(reason));
    }

    protected void ClearLog() => _log.Clear();

    /// <summary>Lets all that was begun end.</summary>
    protected async Task Settle()
    {
        for (int i = 0; i < 2; i++)
        {
            _ = await Driver.ReadStatus();
            await Stepped.AtCycle(Stepped.Cycle + 20_000);
        }
    }

    /// <summary>The answer that a chain gets from a back end in order.</summary>
    protected static byte[] Inverse(MockRequest request) => [.. request.Readable.Take((int)request.WritableLength).Select(b => (byte)~b)];

    protected async Task WriteConfig32(int function, int offset, uint value)
    {
        byte[] bytes = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        _ = await Bridge.WriteConfig(0, function, offset, bytes);
    }

    protected async Task AssignBars(int function)
    {
        await WriteConfig32(function, 0x10, Bar0 + ((uint)function << 16));
        await WriteConfig32(function, 0x14, Bar0 + ((uint)function << 16) + 0x8000);
        _ = await Bridge.WriteConfig(0, function, 0x04, [0x06, 0x00]);
    }

    private async Task Heal()
    {
        _ = await Bridge.WriteConfig(0, 0, 0x48, [0x10, 0xA8]); // function level reset
        await AssignBars(0);
        await Exchange(await StartDriver());
    }
}
