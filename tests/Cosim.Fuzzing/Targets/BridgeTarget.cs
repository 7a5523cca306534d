// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Scheduling;
using Cosim.Virtio;

namespace Cosim.Fuzzing.Targets;

/// <summary>
/// A whole bridge with the reference model. Function 0 has a hostile driver and a hostile back end; function 1 has good ones, and goes on whatever
/// those do. Every write into a host's memory is held against what was posted.
/// </summary>
/// <remarks>
/// Bytes 0 to 3: features of the rings, sizes of both queues, what is wrong with the set-up, seed of the contents, which for some inputs is also what
/// the good driver negotiates anew; then the steps of <see cref="Step"/>. One execution is reset, set-up, the steps and, where they are fewer than
/// <see cref="LeastSteps"/>, good chains; then the good driver's request.
/// </remarks>
public sealed class BridgeTarget : FuzzTarget
{
    public const int LeastSteps = 20;

    private const int MostSteps = 60;
    private const int Head = 4;
    private const ulong MostCycles = 400_000;
    private const int MostRounds = 400;

    // The mailbox's time limit, and some more.
    private const ulong MailboxCycles = 260_000;
    private const uint GoodBytes = 48;

    private readonly List<string> _reports = [];
    private SteppedBridge? _bridge;
    private HostileDriver _driver = null!;
    private HostileDriver _good = null!;
    private HostileBackEnd _backEnd = null!;
    private PlayedHost[] _hosts = [];

    private enum Step
    {
        Descriptor,
        Publish,
        Notify,
        GoodChain,
        Serve,
        Used,
        Doorbell,
        Message,
        Control,
        CommonConfiguration,
        Configuration,
        Read,
        Tlp,
        DeviceConfiguration,
        Vectors,
        Replies,
        Reset,
        FpgaReset,
        Run,
        Indirect,
        QueueReset,
        Suppress,
        Count,
    }

    public override string Name => "bridge";

    public override string What => "a bridge with the model between two hostile hosts";

    public override bool IsBridge => true;

    public override IReadOnlyList<string> Classes { get; } =
        ["Cosim.Scheduling.VirtioFpga", "Cosim.Scheduling.VirtioFunction", "Cosim.Scheduling.ShadowQueue", "Cosim.Scheduling.DmaPort", "Cosim.Scheduling.ManagementPort", "Cosim.Scheduling.BufferPool"];

    // A session has its tasks and messages; a bridge that is made anew has memories, too.
    public override long MostAllocated(int length) => 64 << 20;

    public override void Generate(FuzzInput input, FuzzRandom random)
    {
        _ = input.Number((ulong)random.Below(256), 1).Number((uint)random.Below(random.OneIn(4) ? 16 : 8) | ((ulong)(uint)random.Below(8) << 4), 1).Number(random.OneIn(6) ? (ulong)random.Below(256) : 0, 1).Number(random.Next(), 1);
        for (int steps = random.Between(4, 24); steps > 0; steps--)
        {
            Step step = random.OneIn(2) ? random.Pick(Step.GoodChain, Step.Serve, Step.Run) : (Step)random.Below((int)Step.Count);
            if (step == Step.FpgaReset && !random.OneIn(50))
            {
                step = Step.Publish;
            }

            int start = Records.Begin(input, (byte)step);
            Payload(input, step, random);
            Records.End(input, start);
        }

        input.IsMarked = true;
    }

    public override void Mark(FuzzInput input) => Records.Mark(input, Head);

    public override void Execute(ReadOnlySpan<byte> input)
    {
        try
        {
            Span<byte> head = stackalloc byte[Head];
            head.Clear();
            input[..Math.Min(input.Length, Head)].CopyTo(head);
            EnsureBridge(head[3]);
            _driver.SetUp(head[0], Order(head[1]), Order(head[1] >> 4), head[2], head[3]);
            Settle();
            int done = 0;
            Records steps = new(input.Length > Head ? input[Head..] : default);
            while (steps.Next() && done < MostSteps)
            {
                Do((Step)(steps.Kind % (int)Step.Count), new StepArguments(steps.Payload));
                done++;
            }

            for (; done < LeastSteps; done++)
            {
                _driver.GoodChain(done & 1, GoodBytes, GoodBytes);
            }

            Settle();
            Probe();
        }
        catch
        {
            // Nothing of it may be left for the next one.
            _bridge?.Dispose();
            _bridge = null;
            throw;
        }
    }

    protected override void Dispose(bool disposing)
    {
        _bridge?.Dispose();
        base.Dispose(disposing);
    }

    // 2 to 256 entries; a packed ring may have one less.
    private static int Order(int bits) => (1 + (bits & 7)) | ((bits & 8) << 1);

    private static void Payload(FuzzInput input, Step step, FuzzRandom random)
    {
        switch (step)
        {
            case Step.Descriptor or Step.Indirect:
                _ = input.Number((ulong)random.Below(2), 1).Number((ulong)random.Below(8), 2).Number((ulong)random.Below(8), 1).Number((ulong)random.Below(4096), 4)
                    .Number((ulong)(random.OneIn(8) ? random.Next() : (uint)random.Below(5000)), 4, FieldKind.Length).Number((ulong)random.Below(8), 2).Number((ulong)random.Below(8), 2);
                break;
            case Step.Publish:
                _ = input.Number((ulong)random.Below(2), 1).Number((ulong)(random.OneIn(8) ? random.Below(65536) : random.Between(1, 3)), 2, FieldKind.Length).Number((ulong)random.Below(9), 2).Number((ulong)random.Below(9), 2).Number((ulong)random.Below(9), 2);
                break;
            case Step.Notify:
                _ = input.Number((ulong)random.Below(3), 2).Number(random.OneIn(8) ? random.Next() : (ulong)random.Below(2), 4);
                break;
            case Step.GoodChain:
                _ = input.Number((ulong)random.Below(2), 1).Number((ulong)random.Below(3000), 2, FieldKind.Length).Number((ulong)random.Below(3000), 2, FieldKind.Length);
                break;
            case Step.Used:
                _ = input.Number((ulong)random.Below(2), 1).Number((ulong)random.Below(20), 4).Number((ulong)random.Below(5000), 4, FieldKind.Length).Number((ulong)random.Between(0, 3), 2);
                break;
            case Step.Doorbell:
                _ = input.Number((ulong)random.Below(3), 1).Number((ulong)random.Below(3), 1);
                break;
            case Step.Message:
                _ = input.Number(random.Pick<ulong>(2, 1, 11, 24, 39, 0x1001), 4).Number(random.Pick<ulong>(1, 5, 5, 0), 4).Number(random.Pick<ulong>(0, 8, 40), 4, FieldKind.Length).Number((ulong)random.Below(3), 4).Number(random.Next(), 8);
                break;
            case Step.Control:
                _ = input.Number((ulong)random.Below(3), 4);
                break;
            case Step.CommonConfiguration:
                _ = input.Number((ulong)random.Below(0x40), 1).Number((ulong)random.Below(4), 1).Number(random.OneIn(2) ? (ulong)random.Below(16) : random.Next(), 8);
                break;
            case Step.Configuration:
                _ = input.Number((ulong)random.Pick(0x04, 0x10, 0x14, 0x3C, 0x48, 0x82, 0xD4 + 8, random.Below(256)), 2).Number((ulong)random.Between(1, 4), 1).Number(random.Next(), 4);
                break;
            case Step.Read:
                _ = input.Number((ulong)random.Below(2), 1).Number((ulong)random.Below(0x4000), 4).Number((ulong)random.Between(1, 8), 1);
                break;
            case Step.Tlp:
                _ = input.Number((ulong)random.Below(2), 1).Number((ulong)random.Pick(0x00000001u, 0x40000001u, 0x04000001u, 0x44000001u, 0x34000000u, 0x02000001u, 0x20000002u, 0x00000010u, 0x4C000001u), 4).Number(random.Next() & 0xFFFFFFFF, 4).Number(0xE0000000u | (uint)random.Below(0x20000), 4).Number(0, 4).Number(random.Next(), 8);
                break;
            case Step.DeviceConfiguration or Step.Vectors:
                _ = input.Number((ulong)random.Below(0x120), 2).Number((ulong)random.Below(4), 1).Number(random.Next(), 4);
                break;
            case Step.Replies or Step.Reset:
                _ = input.Number((ulong)random.Below(8), 1);
                break;
            case Step.QueueReset:
                _ = input.Number((ulong)random.Below(2), 1).Number((ulong)random.Below(3), 1);
                break;
            case Step.Suppress:
                _ = input.Number((ulong)random.Below(2), 1).Number((ulong)random.Below(4), 2).Number(random.OneIn(2) ? (uint)random.Below(16) | ((ulong)(uint)random.Below(2) << 15) : random.Next(), 2);
                break;
            case Step.Run:
                _ = input.Number((ulong)random.Pick(0, 0, 10, 100, 1000, random.Below(300)), 2);
                break;
            default:
                _ = input.Number((ulong)random.Below(2), 1);
                break;
        }
    }

    private void Do(Step step, StepArguments arguments)
    {
        switch (step)
        {
            case Step.Descriptor:
                _driver.PutDescriptor(arguments.Queue(), arguments.U16(), arguments.U8(), arguments.U32(), arguments.U32(), (DescriptorFlags)arguments.U16(), arguments.U16(), indirectTable: false);
                break;
            case Step.Indirect:
                _driver.PutDescriptor(arguments.Queue(), arguments.U16(), arguments.U8(), arguments.U32(), arguments.U32(), (DescriptorFlags)arguments.U16(), arguments.U16(), indirectTable: true);
                break;
            case Step.Publish:
                _driver.Publish(arguments.Queue(), arguments.U16(), arguments.Rest());
                break;
            case Step.Notify:
                _driver.Notify(arguments.U16(), arguments.U32());
                break;
            case Step.GoodChain:
                _driver.GoodChain(arguments.Queue(), (uint)(arguments.U16() & 0x1FFF), (uint)(arguments.U16() & 0x1FFF));
                break;
            case Step.Serve:
                Settle();
                break;
            case Step.Used:
                _backEnd.PushUsed(arguments.Queue(), arguments.U32(), arguments.U32(), arguments.U16());
                break;
            case Step.Doorbell:
                _backEnd.Call(arguments.U8() & 15, arguments.U8());
                break;
            case Step.Message:
                _backEnd.Post(arguments.Rest());
                break;
            case Step.Control:
                _backEnd.WriteControl(arguments.U32());
                break;
            case Step.CommonConfiguration:
                _driver.WriteCommon(arguments.U8(), 1 << (arguments.U8() & 3), arguments.U64());
                break;
            case Step.Configuration:
                _driver.WriteConfiguration(_bridge!, arguments.U16() & 0xFFF, arguments.U8() & 3, arguments.U32());
                break;
            case Step.Read:
                int port = arguments.Queue();
                _hosts[port].Read(PlayedHost.FirstBar + (arguments.U32() & 0x3FFF), 1 + (arguments.U8() & 7));
                break;
            case Step.Tlp:
                if (_hosts[arguments.Queue()].InjectRaw(arguments.Rest()))
                {
                    _driver.IsConfigured = _good.IsConfigured = _backEnd.IsConfigured = false;
                }

                break;
            case Step.DeviceConfiguration:
                _driver.Write(RegisterMap.Bar.VirtioDevice + (uint)(arguments.U16() & 0x1FF), 1 << (arguments.U8() & 3), arguments.U64());
                break;
            case Step.Vectors:
                _ = arguments.U8();
                _driver.WriteVector((uint)(arguments.U16() & 0x2FFC), arguments.U32());
                break;
            case Step.Replies:
                _backEnd.Fault = arguments.U8() & 7;
                break;
            case Step.Reset when (arguments.U8() & 1) == 0:
                _driver.Write(RegisterMap.Bar.VirtioCommon + 0x14, 1, 0);
                break;
            case Step.Reset:
                _driver.WriteConfiguration(_bridge!, 0x49, 0, 0x80);
                break;
            case Step.QueueReset:
                _driver.ResetQueue(arguments.Queue(), arguments.U8() % 3);
                break;
            case Step.Suppress:
                _driver.Suppress(arguments.Queue(), arguments.U16(), arguments.U16());
                break;
            case Step.FpgaReset:
                _backEnd.Forget();
                _bridge!.Complete(() => _bridge.Bridge.Reset(), MostCycles);
                _driver.IsConfigured = _good.IsConfigured = _good.IsSetUp = _backEnd.IsConfigured = false;
                break;
            default:
                int cycles = arguments.U16() & 0x3FF;
                if (cycles > 0)
                {
                    _bridge!.Complete(() => _bridge.AtCycle(_bridge.Cycle + (ulong)cycles), MostCycles);
                }

                break;
        }
    }

    private void EnsureBridge(byte good)
    {
        if (_bridge is null)
        {
            _reports.Clear();
            _bridge = new SteppedBridge(new BridgeOptions
            {
                Name = "fuzz",
                Fpga = new FpgaOptions { Kind = FpgaKind.Model, Functions = 2, QueuesPerFunction = HostileDriver.Queues },
                Hosts =
                [
                    new ProgramHostOptions { Functions = 2, MemoryBytes = PlayedHost.MemoryBytes },
                    new ProgramHostOptions { Functions = 1, MemoryBytes = PlayedHost.MemoryBytes },
                ],
                RingFeatures = VirtioFeatures.AllRing,
                CompletionLatencyCycles = 2,
                MailboxTimeout = TimeSpan.FromMilliseconds(1),
                Log = Reported,
            });
            _hosts = [new PlayedHost(_bridge, 0), new PlayedHost(_bridge, 1)];
            _driver = new HostileDriver(_hosts[0], 0);
            _good = new HostileDriver(_hosts[0], 1);
            _backEnd = new HostileBackEnd(_hosts[1]);
        }

        _backEnd.Fault = 0;
        _hosts[0].Posted.Clear();
        _hosts[0].Permit(_good.Posted);
        _hosts[1].Posted.Clear();
        _hosts[1].Post(HostileBackEnd.PoolAddress, HostileBackEnd.PoolBytes);
        if (!_backEnd.IsConfigured)
        {
            _backEnd.Configure(_bridge);
        }

        _driver.Configure(_bridge);
        _good.Configure(_bridge);
        OpenSession();
        bool anew = good >= 0xE0;
        if (anew)
        {
            // The function's own messages wait behind one that is not answered until its time is over; an idle FPGA has no time.
            _bridge.Complete(() => _bridge.AtCycle(_bridge.Cycle + MailboxCycles), MostCycles);
            Settle();
            OpenSession();
        }

        if (!_good.IsSetUp || anew)
        {
            _good.SetUp(good, 4, 4, 0, 1);
            Settle();
            _hosts[0].Permit(_good.Posted);
        }
    }

    // Back to good manners: the session is open, function 0 is reset, and function 1 has its answer.
    private void Probe()
    {
        _backEnd.Fault = 0;
        if (!_backEnd.IsConfigured)
        {
            _backEnd.Configure(_bridge!);
        }

        _driver.Configure(_bridge!);
        _good.Configure(_bridge!);
        OpenSession();
        if (!_good.IsSetUp)
        {
            _good.SetUp(0, 4, 4, 0, 1);
            Settle();
        }

        _driver.Write(RegisterMap.Bar.VirtioCommon + 0x14, 1, 0);
        Settle();
        uint? status = _driver.ReadCommon(0x14, 1);
        Require(status == 0, $"function 0 does not come out of its reset: its status reads {status:x}");
        _good.BeginRequest();
        Settle();
        string? wrong = _good.EndRequest();
        Require(wrong is null, $"the good driver's request: {wrong}; status {_good.ReadCommon(0x14, 1):x}; reported last: {string.Join(" | ", _reports.TakeLast(4))}");
    }

    private void OpenSession()
    {
        for (int tries = 0; !_backEnd.IsOpen; tries++)
        {
            Require(tries < 4, $"no session opens any more; reported last: {string.Join(" | ", _reports.TakeLast(4))}");
            _backEnd.Announce();
            Settle();
        }
    }

    private void Settle()
    {
        int rounds = 0;
        do
        {
            Require(++rounds < MostRounds, "the hosts and the FPGA do not come to rest");
            _bridge!.RunUntilIdle(MostCycles);
        }
        while (_backEnd.Act());
    }

    private void Reported(string line)
    {
        // An exception that nobody has thought of.
        Require(!line.Contains("Exception", StringComparison.Ordinal) && !line.Contains("\n   at ", StringComparison.Ordinal), line);
        // A session that was given up again and again is not called for any more: host 2's people would start their program again.
        if (line.StartsWith("back end lost", StringComparison.Ordinal))
        {
            _backEnd.Forget();
        }

        // The played hosts take the completions of their own reads.
        if (line.Contains("unexpected completion dropped", StringComparison.Ordinal))
        {
            return;
        }

        if (_reports.Count >= 32)
        {
            _reports.RemoveAt(0);
        }

        _reports.Add(line);
    }
}
