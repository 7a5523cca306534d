// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Scheduling.Stimuli;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests.Stimuli;

/// <summary>A recording of a bridge with a driver and a back end goes the same way again, on each FPGA.</summary>
[TestFixture(FpgaKind.Model)]
[TestFixture(FpgaKind.Verilator)]
[TestFixture(FpgaKind.Ghdl)]
public sealed class ReplayTests : BridgeFixture
{
    private readonly FpgaKind _kind;
    private string _path = "";
    private StimuliWriter? _writer;

    public ReplayTests(FpgaKind kind)
        : base(kind) => _kind = kind;

    protected override IStimuliLog? Stimuli
    {
        get
        {
            _path = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"{_kind}.stim.gz");
            return _writer = new StimuliWriter(_path, RecordingHead.From(new FpgaOptions { Kind = _kind }));
        }
    }

    [TearDown]
    public void DisposeWriter()
    {
        _writer?.Dispose();
        File.Delete(_path);
    }

    private async Task Record()
    {
        await BackEnd.Start();
        await Driver.Enable(9);
        for (int round = 0; round < 2; round++)
        {
            await Driver.Reset();
            await Driver.Negotiate(round == 0 ? 0 : VirtioFeatures.RingEventIdx);
            MockQueue queue = await Driver.AddQueue(0, 16, 0x1_0000);
            MockQueue other = await Driver.AddQueue(1, 8, 0x2_0000);
            await Driver.DriverOk();
            for (int turn = 0; turn < 3; turn++)
            {
                for (ulong i = 0; i < 4; i++)
                {
                    _ = await queue.Add(new MockBuffer(0x10_0000 + (i * 0x1000) + i, 3000, false), new MockBuffer(0x20_0000 + (i * 0x1003), 2999, true));
                    _ = await other.Add(new MockBuffer(0x11_0000 + (i * 0x1000) + i, 1 + (uint)i, false), new MockBuffer(0x21_0000 + (i * 0x1003), 9, true));
                }

                await queue.Publish();
                await other.Publish();
                for (int i = 0; i < 4; i++)
                {
                    _ = await Driver.NextUsed(queue);
                    _ = await Driver.NextUsed(other);
                }
            }

            if (round == 0)
            {
                await Bridge.Reset();
                await MockBackEnd.WaitFor(() => Bridge.State == BridgeState.LinkDown);
                await BackEnd.Start();
                await Driver.Enable(9);
            }
        }

        await BackEnd.DisposeAsync();
        Bridge.Dispose();
        _writer!.Dispose();
        Assert.That(_writer.Failure, Is.Null);
    }

    [Test]
    public async Task Replay_OfABridgeWithAReset_GoesTheSameWayOnEveryFpga()
    {
        await Record();
        Assert.Multiple(() =>
        {
            foreach (FpgaKind other in Enum.GetValues<FpgaKind>())
            {
                using StimuliReader reader = new(_path);
                using IFpga fpga = FpgaFactory.Create(reader.Head.Apply(Bridge.Options.Fpga with { Kind = other }));
                ReplayMode mode = Replay.ModeFor(reader.Head, fpga.Kind);
                ReplayResult result = Replay.Run(reader, fpga, new ReplayOptions { Mode = mode });
                TestContext.Out.WriteLine($"{_kind} on {other}: {result with { Divergence = null }}");
                Assert.That(result.Divergence, Is.Null, () => $"{_kind} on {other}: {result.Divergence!.Summary}\n{result.Divergence}");
                Assert.That((result.Inputs, result.Outputs, result.Resets), Is.EqualTo((_writer!.Inputs, mode == ReplayMode.Exact ? _writer.Outputs : result.Outputs, 1UL)));
            }
        });
    }
}
