// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Scheduling.Stimuli;

namespace Cosim.Scheduling.Tests.Stimuli;

/// <summary>A replay names the first packet and field that are not as recorded, and a recording is cut to what shows it.</summary>
public sealed class DivergenceTests
{
    private static readonly FpgaOptions s_model = new() { Kind = FpgaKind.Model };

    private byte[] _recording = [];

    // Block requests through a bridge with a driver and a back end, on the model.
    [OneTimeSetUp]
    public async Task Record()
    {
        using MemoryStream file = new();
        using (StimuliWriter writer = new(file, RecordingHead.From(s_model)))
        {
            using Bridge bridge = new(new BridgeOptions
            {
                Name = "test",
                Fpga = s_model,
                Hosts = [new ProgramHostOptions { Functions = 2, MemoryBytes = 4 << 20 }, new ProgramHostOptions { Functions = 1, MemoryBytes = 8 << 20 }],
                Stimuli = writer,
            });
            await bridge.Started;
            await using MockBackEnd backEnd = new(bridge);
            MockDriver driver = new(bridge, 0);
            await backEnd.Start();
            await driver.Enable(9);
            await driver.Reset();
            await driver.Negotiate(0);
            MockQueue queue = await driver.AddQueue(0, 16, 0x1_0000);
            await driver.DriverOk();
            for (uint i = 0; i < 3; i++)
            {
                _ = await queue.Add(new MockBuffer(0x10_0000 + (i * 0x1000), 600 + i, false), new MockBuffer(0x20_0000 + (i * 0x1003), 599, true));
                await queue.Publish();
                _ = await driver.NextUsed(queue);
            }
        }

        _recording = file.ToArray();
    }

    private StimuliReader Open() => new(new MemoryStream(_recording), "x.stim");

    private Divergence? Run(ReplayMode mode, Func<int, byte[], byte[]?> alter)
    {
        using StimuliReader reader = Open();
        using AlteredFpga fpga = new(reader.Head.Apply(s_model), alter);
        return Replay.Run(reader, fpga, new ReplayOptions { Mode = mode, Last = 4 }).Divergence;
    }

    // The line with the recording's n-th output of a class.
    private long LineOf(OrderClass kind, int number)
    {
        using StimuliReader reader = Open();
        while (reader.Read())
        {
            if (reader.Kind == StimulusKind.Output && PacketClass.StreamOf(reader.Port, reader.Packet).Class == kind && number-- == 0)
            {
                return reader.Line;
            }
        }

        return 0;
    }

    // Changes the n-th output of a class.
    private static Func<int, byte[], byte[]?> Nth(OrderClass kind, int number, Func<byte[], byte[]?> change) => (port, packet) =>
        PacketClass.StreamOf(port, packet).Class == kind && number-- == 0 ? change(packet) : packet;

    private static byte[] Flip(byte[] packet, int at, byte bits)
    {
        packet[at] ^= bits;
        return packet;
    }

    private static TestCaseData[] Changes() =>
    [
        new(OrderClass.Completion, 5, 16, "payload DW 0"),
        new(OrderClass.Completion, 5, 0, "Length"),
        new(OrderClass.Completion, 5, 9, "Tag"),
        new(OrderClass.Completion, 5, 11, "Requester ID"),
        new(OrderClass.NonPosted, 3, 8, "Address"),
        new(OrderClass.NonPosted, 3, 4, "1st DW BE"),
        new(OrderClass.Posted, 2, 16, "payload DW 0"),
        new(OrderClass.DmaDone, 4, 1, "status"),
        new(OrderClass.Answer, 0, 16, "value (DW 4)"),
    ];

    [TestCaseSource(nameof(Changes))]
    public void Replay_AFieldChanged_IsNamedWithItsLine(object kind, int number, int at, string field)
    {
        long line = LineOf((OrderClass)kind, number);
        Assert.Multiple(() =>
        {
            foreach (ReplayMode mode in Enum.GetValues<ReplayMode>())
            {
                Divergence? divergence = Run(mode, Nth((OrderClass)kind, number, packet => Flip(packet, at, 4)));
                Assert.That((divergence?.Kind, divergence?.Field, divergence?.Line), Is.EqualTo((DivergenceKind.Packet, field, line)), $"{mode}: {divergence?.Summary}\n{divergence}");
                Assert.That(divergence!.Before, Has.Count.EqualTo(4));
                Assert.That(divergence.Summary, Does.Contain($"port {divergence.Port}").And.Contain(divergence.Actual).And.Contain(divergence.Expected));
            }
        });
    }

    [TestCase(OrderClass.Completion, 4)]
    [TestCase(OrderClass.Posted, 1)]
    [TestCase(OrderClass.NonPosted, 2)]
    [TestCase(OrderClass.DmaDone, 6)]
    public void Replay_AnOutputMissing_IsNamed(object kind, int number)
    {
        long line = LineOf((OrderClass)kind, number);
        foreach (ReplayMode mode in Enum.GetValues<ReplayMode>())
        {
            Divergence? divergence = Run(mode, Nth((OrderClass)kind, number, _ => null));
            Assert.That((divergence?.Kind, divergence?.Line), Is.EqualTo((DivergenceKind.Missing, line)), $"{mode}: {divergence?.Summary}\n{divergence}");
        }
    }

    [Test]
    public void Replay_AnOutputTooMany_IsNamed()
    {
        using StimuliReader reader = Open();
        bool sent = false;
        AlteredFpga? altered = null;
        using AlteredFpga fpga = altered = new AlteredFpga(s_model, (port, packet) =>
        {
            // One more read of a register than in the recording.
            if (!sent && port == 0)
            {
                sent = true;
                altered!.Send(0, [1, 0, 0, 4, 0xF, 0xEE, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], 0);
            }

            return packet;
        });
        Divergence? divergence = Replay.Run(reader, fpga, new ReplayOptions { Mode = ReplayMode.Exact }).Divergence;
        Assert.That(divergence?.Kind, Is.EqualTo(DivergenceKind.Surplus).Or.EqualTo(DivergenceKind.Packet), divergence?.Summary);
        Assert.That(divergence!.ActualPacket, Does.Contain("tag 238"));
    }

    [TestCase(ReplayMode.Exact)]
    [TestCase(ReplayMode.Order)]
    public void Replay_TheFpgaIsLost_SaysWhy(ReplayMode mode)
    {
        using StimuliReader reader = Open();
        int left = 20;
        AlteredFpga? altered = null;
        using AlteredFpga fpga = altered = new AlteredFpga(s_model, (_, packet) =>
        {
            altered!.FailWith = --left == 0 ? "assertion failed" : altered.FailWith;
            return packet;
        });
        Divergence? divergence = Replay.Run(reader, fpga, new ReplayOptions { Mode = mode }).Divergence;
        Assert.That((divergence?.Kind, divergence?.Actual), Is.EqualTo((DivergenceKind.Failed, "assertion failed")));
    }

    [Test]
    public void Replay_TheFpgaHangs_SaysSoAndEnds()
    {
        using StimuliReader reader = Open();
        int left = 20;
        AlteredFpga? altered = null;
        using AlteredFpga fpga = altered = new AlteredFpga(s_model, (_, packet) =>
        {
            altered!.Hangs = --left <= 0;
            return packet;
        });
        Divergence? divergence = Replay.Run(reader, fpga, new ReplayOptions { Mode = ReplayMode.Order }).Divergence;
        Assert.That(divergence?.Kind, Is.EqualTo(DivergenceKind.Hang), divergence?.Summary);
        Assert.That(divergence!.Summary, Does.Contain("busy").And.Contain(divergence.ExpectedPacket));
    }

    [Test]
    public void Replay_CutOff_IsNoSuccess()
    {
        using StimuliReader reader = new(new MemoryStream(_recording[..^40]), "x.stim");
        using IFpga fpga = FpgaFactory.Create(s_model);
        Divergence? divergence = Replay.Run(reader, fpga, new ReplayOptions { Mode = ReplayMode.Exact }).Divergence;
        Assert.That(divergence?.Kind, Is.EqualTo(DivergenceKind.CutOff), divergence?.Summary);
    }

    [Test]
    public void Trim_AWrongByteInOneWrite_LeavesTheCommandsThatMakeIt()
    {
        // The error: bit 0 of what is written to address 0x201003.
        static byte[] Wrong(int port, byte[] packet) =>
            port == 0 && packet.Length > 16 && PacketClass.StreamOf(port, packet).Class == OrderClass.Posted && BitConverter.ToUInt32(packet, 8) == 0x20_1000
                ? Flip(packet, 16 + 8, 1)
                : packet;

        TrimResult result = Trim.Run(Open, () => new AlteredFpga(s_model, Wrong), new TrimOptions { Reference = () => FpgaFactory.Create(s_model) });
        Assert.Multiple(() =>
        {
            Assert.That((result.Divergence.Kind, result.Divergence.Field), Is.EqualTo((DivergenceKind.Packet, "payload DW 2")));
            // The reset, both functions' Command registers, and the DMA command with its reads.
            Assert.That((result.Transactions, result.Of > 100), Is.EqualTo((4, true)), result.Text);
            Assert.That(result.Text, Does.Contain("0x201003"));
        });
    }
}
