// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Text;
using Cosim.Fpga;
using Cosim.Scheduling.Generation;
using Cosim.Scheduling.Stimuli;

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

    [TestCase(Fault.CorruptedWrite)]
    [TestCase(Fault.CorruptedReadAddress)]
    [TestCase(Fault.LostWrite)]
    [TestCase(Fault.RepeatedWrite)]
    [TestCase(Fault.LostInterrupt)]
    [TestCase(Fault.RepeatedInterrupt)]
    [TestCase(Fault.RepeatedCompletion)]
    [TestCase(Fault.LostCompletion)]
    [TestCase(Fault.ShiftedWrite)]
    public void Oracle_FpgaWithAFault_SeesItAndMakesTheRunSmall(Fault fault)
    {
        string file = Path.Combine(Path.GetTempPath(), $"cosim-{Guid.NewGuid():N}.stim");
        try
        {
            GenerationResult result = StimuliGenerator.Run(Options(FpgaKind.Model) with
            {
                Seed = 3,
                Seeds = 20,
                ShrinkRuns = 60,
                Recording = file,
                MakeFpga = options => new FaultyFpga(FpgaFactory.Create(options), fault),
            });
            Assert.That(result.FailedSeed, Is.Not.Null, "no seed has seen it");
            Assert.That(result.ShrunkFailure, Is.Not.Null);
            Assert.That(result.ShrunkCycles, Is.LessThan(60_000));
            Assert.That(result.Choices, Has.Count.LessThan(300));
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
    }

    /// <summary>Does one thing wrong with every seventh packet of a kind out of port 0.</summary>
    private sealed class FaultyFpga(IFpga inner, Fault fault) : IFpga
    {
        private const int Each = 7;

        private byte[]? _repeated;
        private int _repeatedPort;
        private ulong _repeatedCycle;
        private int _count;

        public string Kind => inner.Kind;

        public int PortCount => inner.PortCount;

        public ulong Cycle => inner.Cycle;

        public string? Failure => inner.Failure;

        public void Send(int port, ReadOnlySpan<byte> packet, ulong notBefore = 0) => inner.Send(port, packet, notBefore);

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
                if (packet.Port != 0 || !Concerns(packet.Bytes) || ++_count % Each != 0)
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
                    default:
                        int address = (bytes[3] & 0x20) != 0 ? 12 : 8;
                        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(address), BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(address)) ^ 4);
                        break;
                }

                packet = new FpgaPacket(packet.Port, packet.Cycle, bytes);
                return true;
            }

            return false;
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
                _ => kind == 0x40 && !interrupt,
            };
        }
    }
}
