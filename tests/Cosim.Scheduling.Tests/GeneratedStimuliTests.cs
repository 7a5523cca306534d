// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Text;
using Cosim.Fpga;
using Cosim.Scheduling.Generation;
using Cosim.Scheduling.Stimuli;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>Random hosts on both sides of each FPGA, with the seeds always the same; and the oracle itself, which has to see what is wrong.</summary>
public sealed class GeneratedStimuliTests
{
    [TestCase(FpgaKind.Model, 1ul, 60, false)]
    [TestCase(FpgaKind.Model, 1000ul, 40, true)]
    [TestCase(FpgaKind.Verilator, 1ul, 30, false)]
    [TestCase(FpgaKind.Verilator, 1000ul, 15, true)]
    [TestCase(FpgaKind.Ghdl, 1ul, 8, false)]
    [TestCase(FpgaKind.Ghdl, 1000ul, 4, true)]
    public void Seeds_OfABatch_AllPass(FpgaKind kind, ulong seed, int seeds, bool illegal)
    {
        List<string> lines = [];
        GenerationResult result = StimuliGenerator.Run(Options(kind) with { Seed = seed, Seeds = seeds, Illegal = illegal, ShrinkRuns = 60, Progress = lines.Add });
        TestContext.Out.WriteLine(string.Join('\n', result.Coverage.Table(illegal)));
        Assert.That(result.Failure, Is.Null, $"seed {result.FailedSeed}; smallest: {result.ShrunkFailure}\n{string.Join('\n', lines)}");
        Assert.That(result.Seeds, Is.EqualTo(seeds));
        if (kind == FpgaKind.Model && !illegal)
        {
            Assert.That(result.Coverage.Holes(illegal), Is.EquivalentTo(s_pausesOfSimulators));
        }
    }

    [TestCase(FpgaKind.Model)]
    [TestCase(FpgaKind.Verilator)]
    [TestCase(FpgaKind.Ghdl)]
    public void Seed_RunAgain_GivesTheSameRecording(FpgaKind kind)
    {
        string first = Recording(kind, 20);
        Assert.That(first, Does.StartWith("cosim-stimuli 1\n"));
        Assert.That(first, Does.Contain("\nend "));
        Assert.That(Recording(kind, 20), Is.EqualTo(first));
    }

    [Test]
    public void Seeds_OnTwoFpgas_EndWithTheSameMemory()
    {
        int compared = 0;
        for (ulong seed = 100; seed < 130; seed++)
        {
            Plan plan = new PlanMaker(Choices.FromSeed(seed), illegal: false).Make();
            if (plan.EndsAlike)
            {
                byte[][] memories = [.. new[] { FpgaKind.Model, FpgaKind.Verilator }.Select(kind => GeneratedRun.Execute(plan, Options(kind).Fpga, null, null).Memory)];
                Assert.That(memories[1], Is.EqualTo(memories[0]), $"seed {seed}");
                compared++;
            }
        }

        Assert.That(compared, Is.GreaterThan(3));
    }

    [Test]
    public void Plan_OfAnySeed_NegotiatesOnlyWhatIsOfferedAndEachOfIt()
    {
        ulong always = VirtioFeatures.AllRing;
        ulong ever = 0;
        for (ulong seed = 1; seed <= 200; seed++)
        {
            Plan plan = new PlanMaker(Choices.FromSeed(seed), illegal: false).Make();
            foreach (Life life in plan.Epochs.SelectMany(epoch => epoch.Lives).OfType<Life>())
            {
                Assert.That(life.Features & ~plan.RingFeatures, Is.Zero, $"seed {seed}");
                always &= life.Features;
                ever |= life.Features;
                bool packed = (life.Features & VirtioFeatures.RingPacked) != 0;
                Assert.That(life.Queues, Has.All.Property(nameof(QueuePlan.Packed)).EqualTo(packed), $"seed {seed}");
                IEnumerable<ChainPlan> chains = life.Operations.OfType<BatchOperation>().SelectMany(batch => batch.Chains);
                Assert.That(chains.Any(chain => packed && chain.Direct != 0 && chain.Direct < chain.Segments.Count), Is.False, $"seed {seed}: INDIRECT together with NEXT");
            }
        }

        Assert.That(always, Is.Zero);
        Assert.That(ever, Is.EqualTo(VirtioFeatures.AllRing & ~(VirtioFeatures.AccessPlatform | VirtioFeatures.OrderPlatform)));
    }

    [Test]
    public void Plan_OfNoChoices_IsOneChainInASplitRing()
    {
        Plan plan = new PlanMaker(Choices.Replay([]), illegal: false).Make();
        Life life = plan.Epochs.Single().Lives.OfType<Life>().Single();
        Assert.That(life.Features, Is.Zero);
        Segment segment = life.Operations.OfType<BatchOperation>().Single().Chains.Single().Segments.Single();
        Assert.That((segment.Length, segment.Writable), Is.EqualTo((1u, true)));
    }

    [TestCase(Fault.CorruptedWrite, "")]
    [TestCase(Fault.CorruptedReadAddress, "")]
    [TestCase(Fault.LostWrite, "")]
    [TestCase(Fault.RepeatedWrite, "")]
    [TestCase(Fault.LostInterrupt, "")]
    [TestCase(Fault.RepeatedInterrupt, "")]
    [TestCase(Fault.RepeatedCompletion, "")]
    [TestCase(Fault.LostCompletion, "")]
    [TestCase(Fault.ShiftedWrite, "")]
    [TestCase(Fault.WrongWrapCounter, "not used in the lap of wrap counter")]
    [TestCase(Fault.WrongBufferId, "id is ")]
    [TestCase(Fault.WriteFlagLost, "flags are ")]
    [TestCase(Fault.LostQueueReset, "queue_reset stays 1")]
    [TestCase(Fault.WriteAfterQueueReset, "is none that may be written|is written with the flags")]
    public void Oracle_FpgaWithAFault_SeesItAndMakesTheRunSmall(Fault fault, string seen)
    {
        string file = Path.Combine(Path.GetTempPath(), $"cosim-{Guid.NewGuid():N}.stim");
        try
        {
            GenerationResult result = StimuliGenerator.Run(Options(FpgaKind.Model) with
            {
                Seed = 3,
                Seeds = 60,
                ShrinkRuns = 150,
                Recording = file,
                MakeFpga = options => new FaultyFpga(FpgaFactory.Create(options), fault),
            });
            Assert.That(result.FailedSeed, Is.Not.Null, "no seed has seen it");
            Assert.That(result.Failure, Does.Match(seen));
            Assert.That(result.ShrunkFailure, Is.Not.Null);
            Assert.That(result.ShrunkCycles, Is.LessThan(60_000));
            Assert.That(result.Choices, Has.Count.LessThan(400));
            Assert.That(File.ReadAllText(file), Does.Contain("\nend "));
            TestContext.Out.WriteLine($"seed {result.FailedSeed}, {result.Choices.Count} choices, {result.ShrunkCycles} cycles: {result.ShrunkFailure}");
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Test]
    public void Shrink_OfAFailingSequence_FindsTheSmallestOne()
    {
        Shrinker shrinker = new(made => (made.Count(value => value >= 7) >= 2, made), 2000);
        IReadOnlyList<uint> smallest = shrinker.Shrink([.. Enumerable.Range(0, 200).Select(i => (uint)(i % 50))]);
        Assert.That(smallest, Has.Count.EqualTo(2));
        Assert.That(smallest, Has.All.InRange(7u, 13u));
    }

    private static readonly string[] s_pausesOfSimulators = [nameof(CoveragePoint.PausesInto), nameof(CoveragePoint.PausesOutOf), nameof(CoveragePoint.HeavyPauses)];

    private static GenerationOptions Options(FpgaKind kind) => new() { Fpga = SteppedBridgeTests.Options(kind, null).Fpga };

    private static string Recording(FpgaKind kind, ulong seed)
    {
        Plan plan = new PlanMaker(Choices.FromSeed(seed), illegal: false).Make();
        using MemoryStream stream = new();
        using (StimuliWriter writer = new(stream, RecordingHead.From(GeneratedRun.Options(Options(kind).Fpga, plan))))
        {
            RunOutcome outcome = GeneratedRun.Execute(plan, Options(kind).Fpga, null, writer);
            Assert.That(outcome.Failure, Is.Null);
        }

        return Encoding.ASCII.GetString(stream.ToArray());
    }

    /// <summary>What an FPGA may do wrong.</summary>
    public enum Fault
    {
        CorruptedWrite,
        CorruptedReadAddress,
        LostWrite,
        RepeatedWrite,
        LostInterrupt,
        RepeatedInterrupt,
        RepeatedCompletion,
        LostCompletion,
        ShiftedWrite,

        /// <summary>AVAIL and USED of a used descriptor are those of the other lap.</summary>
        WrongWrapCounter,

        /// <summary>A used descriptor names another buffer.</summary>
        WrongBufferId,

        /// <summary>A used descriptor with a length does not say that bytes were written.</summary>
        WriteFlagLost,

        /// <summary>The scheduler does not hear of queue_reset.</summary>
        LostQueueReset,

        /// <summary>A descriptor is used once more when its queue's reset is over.</summary>
        WriteAfterQueueReset,
    }

    /// <summary>Does one thing wrong with every seventh packet of a kind out of port 0, with every second used descriptor of a packed ring, or with every queue's reset.</summary>
    private sealed class FaultyFpga(IFpga inner, Fault fault) : IFpga
    {
        private const int PacketsAfterQueueReset = 4;

        // AVAIL and USED in the upper DW of a used descriptor's last 8 bytes; WRITE.
        private const uint LapFlags = 0x8080_0000;
        private const uint WriteFlag = 0x0002_0000;

        private readonly int _each = fault >= Fault.WrongWrapCounter ? 2 : 7;
        private byte[]? _usedDescriptor;
        private int _untilLate;
        private byte[]? _repeated;
        private int _repeatedPort;
        private ulong _repeatedCycle;
        private int _count;

        public string Kind => inner.Kind;

        public int PortCount => inner.PortCount;

        public ulong Cycle => inner.Cycle;

        public string? Failure => inner.Failure;

        public void Send(int port, ReadOnlySpan<byte> packet, ulong notBefore = 0)
        {
            inner.Send(port, packet, notBefore);
            if (fault == Fault.WriteAfterQueueReset && port == 2 && packet[0] == RegisterMap.Opcode.RegWrite && IsQueueReset(BinaryPrimitives.ReadUInt32LittleEndian(packet[8..])))
            {
                _untilLate = PacketsAfterQueueReset;
            }
        }

        public RunResult Run(ulong maxCycles, uint lookahead = 0) => inner.Run(maxCycles, lookahead);

        public void Reset() => inner.Reset();

        public void Dispose() => inner.Dispose();

        public bool TryReceive(out FpgaPacket packet)
        {
            if (_repeated is { } repeated)
            {
                _repeated = null;
                packet = new FpgaPacket(_repeatedPort, _repeatedCycle, repeated);
                return true;
            }

            while (inner.TryReceive(out packet))
            {
                if (fault == Fault.LostQueueReset && packet.Port == 2 && packet.Bytes[0] == RegisterMap.Opcode.QueueReset)
                {
                    continue;
                }

                if (fault == Fault.WriteAfterQueueReset && packet.Port == 0)
                {
                    Remember(packet);
                    return true;
                }

                if (packet.Port != 0 || !Concerns(packet.Bytes) || ++_count % _each != 0)
                {
                    return true;
                }

                byte[] bytes = packet.Bytes.ToArray();
                switch (fault)
                {
                    case Fault.LostWrite or Fault.LostInterrupt or Fault.LostCompletion:
                        continue;
                    case Fault.RepeatedWrite or Fault.RepeatedInterrupt or Fault.RepeatedCompletion:
                        (_repeated, _repeatedPort, _repeatedCycle) = (bytes, packet.Port, packet.Cycle);
                        break;
                    case Fault.CorruptedWrite:
                        bytes[^1] ^= 0x10;
                        bytes[16] ^= 0x10;
                        break;
                    case Fault.WrongWrapCounter:
                        Change(bytes, 20, LapFlags);
                        break;
                    case Fault.WrongBufferId:
                        Change(bytes, 20, 1);
                        break;
                    case Fault.WriteFlagLost:
                        Change(bytes, 20, WriteFlag);
                        break;
                    default:
                        int address = (bytes[3] & 0x20) != 0 ? 12 : 8;
                        Change(bytes, address, 4);
                        break;
                }

                packet = new FpgaPacket(packet.Port, packet.Cycle, bytes);
                return true;
            }

            return false;
        }

        private static void Change(byte[] bytes, int at, uint bits) =>
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(at), BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(at)) ^ bits);

        private static bool IsQueueReset(uint register) => register >= RegisterMap.Management.Function
            && (register & 0xFFFF) >= RegisterMap.Function.Queue && (register & 0x3F) == RegisterMap.Queue.Reset;

        // A used descriptor of a lap whose wrap counter is 1, alone: its last 8 bytes are written.
        private static bool IsUsedDescriptor(ReadOnlySpan<byte> tlp)
        {
            int address = (tlp[3] & 0x20) != 0 ? 12 : 8;
            return (tlp[3] & 0xDF) == 0x40 && tlp.Length == 24 && (tlp[address] & 0xF) == 8
                && (BinaryPrimitives.ReadUInt32LittleEndian(tlp[20..]) & ~WriteFlag & 0xFFFF_0000) == LapFlags;
        }

        private void Remember(in FpgaPacket packet)
        {
            if (IsUsedDescriptor(packet.Bytes))
            {
                _usedDescriptor = packet.Bytes.ToArray();
            }

            if (_untilLate != 0 && --_untilLate == 0 && _usedDescriptor is not null)
            {
                (_repeated, _repeatedPort, _repeatedCycle) = (_usedDescriptor, packet.Port, packet.Cycle);
            }
        }

        private bool Concerns(ReadOnlySpan<byte> tlp)
        {
            int kind = tlp[3] & 0xDF;
            bool interrupt = kind == 0x40 && (tlp[3] & 0x20) == 0 && BinaryPrimitives.ReadUInt32LittleEndian(tlp[8..]) >> 20 == 0xFEE;
            return fault switch
            {
                Fault.LostInterrupt or Fault.RepeatedInterrupt => interrupt,
                Fault.LostCompletion or Fault.RepeatedCompletion => kind is 0x4A or 0x0A,
                Fault.CorruptedReadAddress => kind == 0x00,
                Fault.LostQueueReset or Fault.WriteAfterQueueReset => false,
                Fault.WrongWrapCounter or Fault.WrongBufferId => IsUsedDescriptor(tlp),
                Fault.WriteFlagLost => IsUsedDescriptor(tlp) && (BinaryPrimitives.ReadUInt32LittleEndian(tlp[20..]) & WriteFlag) != 0,
                _ => kind == 0x40 && !interrupt,
            };
        }
    }
}
