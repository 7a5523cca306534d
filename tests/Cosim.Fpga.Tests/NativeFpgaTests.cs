// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Diagnostics;
using System.Text;
using Cosim.Fpga.Native;

namespace Cosim.Fpga.Tests;

/// <summary>The native link itself: order, cycles, failures, waveforms, builds.</summary>
[TestFixture]
public sealed class NativeFpgaTests
{
    private static readonly Simulator[] Children = [Simulator.VerilatorChild, Simulator.Ghdl, Simulator.GhdlMcode];

    [Test]
    public void Send_EveryLengthOnEveryPort_ComesBackUnchanged([Values] Simulator simulator, [Values] bool pauses)
    {
        using NativeFpga fpga = NativeDesigns.Make(simulator, NativeDesigns.Echo, pauses ? new LinkPauses(100, 60, 3) : default);
        List<string>[] sent = [[], [], []];
        List<string>[] received = [[], [], []];
        foreach (int payload in (int[])[0, 4, 28, 32, 36, 64, 252, 256, 260, 4092, 4096])
        {
            foreach (bool four in (bool[])[false, true])
            {
                for (int port = 0; port < 3; port++)
                {
                    byte[] packet = Packet(port, payload, four);
                    sent[port].Add(Convert.ToHexString(packet));
                    fpga.Send(port, packet);
                }
            }
        }

        while (fpga.Run(100_000) == RunResult.Output)
        {
            Drain(fpga, p => received[p.Port].Add(Convert.ToHexString(p.Bytes)));
        }

        Assert.That(fpga.Failure, Is.Null);
        Assert.That(received, Is.EqualTo(sent));
    }

    [Test]
    public void Send_NotBefore_OffersInThatCycleAndInThatOrder([Values] Simulator simulator)
    {
        using NativeFpga fpga = NativeDesigns.Make(simulator, NativeDesigns.Echo);
        ulong start = fpga.Cycle;
        fpga.Send(0, Packet(0, 0, false, tag: 1), start + 50);
        fpga.Send(0, Packet(0, 0, false, tag: 2), start + 20);
        fpga.Send(0, Packet(0, 0, false, tag: 3), start + 50);
        fpga.Send(0, Packet(0, 0, false, tag: 4));
        List<(uint Tag, ulong Cycle)> seen = [];

        while (fpga.Run(1000) == RunResult.Output)
        {
            Drain(fpga, p => seen.Add((Word(p.Bytes, 1), p.Cycle - start)));
        }

        Assert.That(seen, Is.EqualTo(new[] { (4u, 1ul), (2u, 21ul), (1u, 51ul), (3u, 52ul) }));
    }

    [Test]
    public void Run_Lookahead_StopsThatManyCyclesAfterTheFirstOutput([Values] Simulator simulator)
    {
        using NativeFpga fpga = NativeDesigns.Make(simulator, NativeDesigns.Echo);
        ulong start = fpga.Cycle;
        for (uint tag = 0; tag < 40; tag++)
        {
            fpga.Send(1, Packet(1, 0, false, tag));
        }

        using (Assert.EnterMultipleScope())
        {
            Assert.That(fpga.Run(1000), Is.EqualTo(RunResult.Output));
            Assert.That(fpga.Cycle - start, Is.EqualTo(2), "the first leaves in cycle 1");
            Assert.That(fpga.Run(1000), Is.EqualTo(RunResult.Output), "nothing has been received yet");
            Assert.That(fpga.Cycle - start, Is.EqualTo(2));
            Assert.That(Drain(fpga), Is.EqualTo(1));
            Assert.That(fpga.Run(1000, 16), Is.EqualTo(RunResult.Output));
            Assert.That(fpga.Cycle - start, Is.EqualTo(18), "cycle 2, and until an answer with latency 16 could come");
            Assert.That(Drain(fpga), Is.EqualTo(16));
            Assert.That(fpga.Run(5, 100), Is.EqualTo(RunResult.Output));
            Assert.That(fpga.Cycle - start, Is.EqualTo(23));
            Assert.That(Drain(fpga), Is.EqualTo(5));
            Assert.That(fpga.Run(1000, 100), Is.EqualTo(RunResult.Output));
            Assert.That(fpga.Cycle - start, Is.EqualTo(42), "idle before the lookahead is over");
            Assert.That(Drain(fpga), Is.EqualTo(18));
            Assert.That(fpga.Run(1000), Is.EqualTo(RunResult.Idle));
        }
    }

    [Test]
    public void Run_CutDifferently_SameOutputsAtSameCycles([Values] Simulator simulator)
    {
        List<string>? expected = null;
        foreach ((ulong max, uint lookahead) in ((ulong, uint)[])[(1_000_000, 0), (1_000_000, 1000), (1, 0), (7, 3)])
        {
            using NativeFpga fpga = NativeDesigns.Make(simulator, NativeDesigns.Echo, new LinkPauses(40, 90, 11));
            List<string> seen = [];
            for (uint i = 0; i < 60; i++)
            {
                int port = (int)(i % 3);
                fpga.Send(port, Packet(port, (int)(i * 52 % 320), i % 2 == 0, i), 10 + i * 4);
            }

            RunResult result;
            do
            {
                result = fpga.Run(max, lookahead);
                Drain(fpga, p => seen.Add($"{p.Cycle} {p.Port} {Convert.ToHexString(p.Bytes)}"));
            }
            while (result is RunResult.Output or RunResult.Limit);

            expected ??= seen;
            Assert.That(result, Is.EqualTo(RunResult.Idle));
            Assert.That(seen, Is.EqualTo(expected), $"{max} cycles, lookahead {lookahead}");
        }

        Assert.That(expected, Has.Count.EqualTo(60));
    }

    [Test]
    public void Send_MoreThanTheSharedMemoryHolds_LosesNothing()
    {
        using NativeFpga fpga = NativeDesigns.Make(Simulator.VerilatorChild, NativeDesigns.Echo);
        byte[] packet = Packet(0, 4096, true);
        for (int i = 0; i < 300; i++)
        {
            fpga.Send(0, packet);
        }

        int received = 0;
        while (fpga.Run(1_000_000, 1_000_000) == RunResult.Output)
        {
            received += Drain(fpga);
        }

        Assert.That(received, Is.EqualTo(300));
    }

    [Test]
    public void Send_PacketThatIsNone_Throws()
    {
        using NativeFpga fpga = NativeDesigns.Make(Simulator.VerilatorInProcess, NativeDesigns.Echo);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(() => fpga.Send(3, new byte[16]), Throws.InstanceOf<ArgumentException>());
            Assert.That(() => fpga.Send(0, new byte[12]), Throws.InstanceOf<ArgumentException>());
            Assert.That(() => fpga.Send(0, new byte[18]), Throws.InstanceOf<ArgumentException>());
            Assert.That(() => fpga.Send(0, new byte[16 + 4100]), Throws.InstanceOf<ArgumentException>());
            Assert.That(() => fpga.Send(2, new byte[16]), Throws.InstanceOf<ArgumentException>());
            Assert.That(fpga.Run(100), Is.EqualTo(RunResult.Idle));
        }
    }

    [Test]
    public void Reset_WithPacketsUnderWay_DropsThemAndKeepsCounting([Values] Simulator simulator)
    {
        using NativeFpga fpga = NativeDesigns.Make(simulator, NativeDesigns.Echo);
        fpga.Send(0, Packet(0, 4096, false));
        Assert.That(fpga.Run(20), Is.EqualTo(RunResult.Limit));
        fpga.Send(1, Packet(1, 0, false));
        ulong before = fpga.Cycle;

        fpga.Reset();

        Assert.That(fpga.Cycle, Is.EqualTo(before + 8));
        Assert.That(fpga.Run(1000), Is.EqualTo(RunResult.Idle));
        AssertEchoes(fpga);
    }

    [Test]
    public void Run_KilledSimulator_FailsAndResetRevives([ValueSource(nameof(Children))] Simulator simulator)
    {
        using NativeFpga fpga = NativeDesigns.Make(simulator, NativeDesigns.Echo);
        AssertEchoes(fpga);
        ulong before = fpga.Cycle;
        using (Process process = Process.GetProcessById(fpga.ProcessId!.Value))
        {
            process.Kill();
        }

        fpga.Send(0, Packet(0, 0, false));

        Assert.That(fpga.Run(1000), Is.EqualTo(RunResult.Failed));
        Assert.That(fpga.Failure, Does.StartWith($"{fpga.Kind}: the simulator ended by signal 9"));
        Assert.That(fpga.Run(1000), Is.EqualTo(RunResult.Failed), "and stays lost");
        Assert.That(fpga.TryReceive(out _), Is.False);

        fpga.Reset();

        Assert.That(fpga.Failure, Is.Null);
        Assert.That(fpga.Cycle, Is.GreaterThanOrEqualTo(before + 8));
        AssertEchoes(fpga);
    }

    [Test]
    public void Run_AfterCtrlC_GoesOn([ValueSource(nameof(Children))] Simulator simulator)
    {
        using NativeFpga fpga = NativeDesigns.Make(simulator, NativeDesigns.Echo);
        Signal("-INT", fpga);

        AssertEchoes(fpga);
    }

    [Test]
    public void Run_StoppedSimulator_CountsAsHanging()
    {
        FpgaOptions options = NativeDesigns.Options(Simulator.VerilatorChild, NativeDesigns.Echo) with { HangSeconds = 0.5 };
        using NativeFpga fpga = NativeFpga.Create(options);
        Signal("-STOP", fpga);
        fpga.Send(0, Packet(0, 0, false));

        Assert.That(fpga.Run(1000), Is.EqualTo(RunResult.Failed));
        Assert.That(fpga.Failure, Does.Contain("hangs").And.Contain("0.5 seconds"));
        fpga.Reset();
        AssertEchoes(fpga);
    }

    [Test]
    public void Run_AssertionOfTheDesign_FailsWithItsTextAndResetRevives([Values] Simulator simulator)
    {
        using NativeFpga fpga = NativeDesigns.Make(simulator, NativeDesigns.Echo);
        fpga.Send(0, Packet(0, 64, false, tag: 0xDEADDEAD));

        RunResult result;
        do
        {
            result = fpga.Run(1000);
            Drain(fpga);
        }
        while (result is RunResult.Output);

        Assert.That(result, Is.EqualTo(RunResult.Failed));
        Assert.That(fpga.Failure, simulator is Simulator.Ghdl or Simulator.GhdlMcode
            ? Does.Contain("assertion failure").And.Contain("poisoned packet")
            : Does.Contain("assertion failed in cycle").And.Contain("echo.v"));
        fpga.Reset();
        AssertEchoes(fpga);
    }

    [TestCase(Simulator.VerilatorInProcess, "did not converge")]
    [TestCase(Simulator.Ghdl, "--stop-delta")]
    public void Run_CombinationalLoop_Fails(Simulator simulator, string reason)
    {
        using NativeFpga fpga = NativeDesigns.Make(simulator, new FpgaDesign("endless", [NativeDesigns.DesignFile("loop.vhd")], 1, null));
        fpga.Send(0, Packet(0, 0, false));

        Assert.That(fpga.Run(1000), Is.EqualTo(RunResult.Failed));
        Assert.That(fpga.Failure, Does.Contain(reason).And.Contain("cycle 8"));
    }

    [Test]
    public void Create_InstancesOfOneModelInProcess_AreIndependent()
    {
        using NativeFpga first = NativeDesigns.Make(Simulator.VerilatorInProcess, NativeDesigns.Echo);
        using NativeFpga second = NativeDesigns.Make(Simulator.VerilatorInProcess, NativeDesigns.Echo);
        first.Send(0, Packet(0, 0, false, tag: 0xDEADDEAD));
        second.Send(0, Packet(0, 0, false, tag: 1));

        while (first.Run(1000) == RunResult.Output)
        {
            Drain(first);
        }

        Assert.That(first.Failure, Is.Not.Null);
        Assert.That(second.Run(1000), Is.EqualTo(RunResult.Output));
    }

    [TestCase(Simulator.VerilatorInProcess, WaveFormat.Vcd)]
    [TestCase(Simulator.VerilatorChild, WaveFormat.Fst)]
    [TestCase(Simulator.Ghdl, WaveFormat.Vcd)]
    [TestCase(Simulator.Ghdl, WaveFormat.Fst)]
    [TestCase(Simulator.Ghdl, WaveFormat.Ghw)]
    [TestCase(Simulator.GhdlMcode, WaveFormat.Vcd)]
    public void Create_WithWaveFile_WritesThePins(Simulator simulator, WaveFormat format)
    {
        string file = Path.Combine(NativeDesigns.Scratch("waves"), "echo." + format);
        using (NativeFpga fpga = NativeFpga.Create(NativeDesigns.Options(simulator, NativeDesigns.Echo) with { WaveFile = file, WaveFormat = format }))
        {
            AssertEchoes(fpga);
        }

        byte[] content = File.ReadAllBytes(file);
        if (format == WaveFormat.Ghw)
        {
            Assert.That(Encoding.ASCII.GetString(content, 0, 8), Is.EqualTo("GHDLwave"));
        }
        else if (format == WaveFormat.Fst)
        {
            Assert.That(content[0], Is.EqualTo(0).Or.EqualTo(254), "FST begins with its header, or with a wrapper once it was packed at its end");
            Assert.That(content, Has.Length.GreaterThan(500));
        }
        else
        {
            string text = Encoding.ASCII.GetString(content);
            Assert.That(text, Does.Match(@"\$scope module (?i:echo) \$end").And.Match(@"\$var \w+ 256 \S+ p2_tx_data_o(\[255:0\])? ?(\[255:0\] )?\$end"));
            Assert.That(text, Does.Not.Match(@"\$var \w+ \d+ \S+ n\d+"), "temporaries of the synthesis");
            Assert.That(text, Does.Contain("#44").And.Contain("\nb"), "and the cycles after the reset");
        }
    }

    [Test]
    public void Create_WaveFileThatCannotBe_Throws()
    {
        FpgaOptions options = NativeDesigns.Options(Simulator.VerilatorChild, NativeDesigns.Echo) with { WaveFile = "/nowhere/echo.fst", WaveFormat = WaveFormat.Fst };

        Assert.That(() => NativeFpga.Create(options), Throws.InstanceOf<FpgaBuildException>().With.Message.Contains("/nowhere/echo.fst"));
    }

    [Test]
    public void Create_WhatASimulatorCannotDo_Throws()
    {
        FpgaOptions ghdl = NativeDesigns.Options(Simulator.Ghdl, NativeDesigns.Echo);
        FpgaOptions verilator = NativeDesigns.Options(Simulator.VerilatorChild, NativeDesigns.Echo);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(() => NativeFpga.Create(ghdl with { InProcess = true }), Throws.ArgumentException);
            Assert.That(() => NativeFpga.Create(verilator with { WaveFile = "x.ghw", WaveFormat = WaveFormat.Ghw }), Throws.ArgumentException);
            Assert.That(() => NativeFpga.Create(verilator with { Kind = FpgaKind.Model }), Throws.ArgumentException);
            Assert.That(() => NativeFpga.Create(verilator with { ToolsFile = "/nowhere/tools.json" }), Throws.InstanceOf<FpgaBuildException>().With.Message.Contains("/nowhere/tools.json"));
        }
    }

    [Test]
    public void Create_SourceWithAnError_NamesStepFileAndLine([Values] Simulator simulator)
    {
        string folder = NativeDesigns.Scratch("broken");
        string file = Path.Combine(folder, "broken.vhd");
        File.WriteAllText(file, File.ReadAllText(NativeDesigns.DesignFile("echo.vhd")).Replace("full <= '0';", "full <= nonsense;", StringComparison.Ordinal));
        FpgaOptions options = NativeDesigns.Options(simulator, NativeDesigns.Echo with { Files = [file] }) with { BuildDirectory = Path.Combine(folder, "build") };

        FpgaBuildException error = Assert.Throws<FpgaBuildException>(() => NativeFpga.Create(options));

        using (Assert.EnterMultipleScope())
        {
            Assert.That(error.Step, Is.EqualTo("analysing echo"));
            Assert.That(error.File, Is.EqualTo(file));
            Assert.That(error.Message, Does.Contain("broken.vhd:39:").And.Contain("nonsense"));
            Assert.That(Directory.GetDirectories(options.BuildDirectory, "*.partial"), Is.Empty);
        }
    }

    [TestCase(Simulator.VerilatorChild, "p1_rx_valid_i")]
    [TestCase(Simulator.Ghdl, "p1_rx_data_i")]
    public void Create_TopWithoutThePins_SaysWhich(Simulator simulator, string pin)
    {
        FpgaOptions options = NativeDesigns.Options(simulator, NativeDesigns.Example with { Ports = 2 }) with { BuildDirectory = NativeDesigns.Scratch("pins") };

        Assert.That(() => NativeFpga.Create(options), Throws.InstanceOf<FpgaBuildException>().With.Message.Contains(pin));
    }

    [Test]
    public void Create_DesignThatMakesNoSense_Throws()
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Creating(NativeDesigns.Echo with { Top = "a b" }), Throws.InstanceOf<FpgaBuildException>().With.Message.Contains("\"a b\""));
            Assert.That(Creating(NativeDesigns.Echo with { Ports = 4 }), Throws.InstanceOf<FpgaBuildException>().With.Message.Contains("4 ports"));
            Assert.That(Creating(NativeDesigns.Echo with { IdleCycles = 0 }), Throws.InstanceOf<FpgaBuildException>().With.Message.Contains("idle-cycle"));
            Assert.That(Creating(NativeDesigns.Echo with { Files = [] }), Throws.InstanceOf<FpgaBuildException>().With.Message.Contains("no VHDL file"));
            Assert.That(Creating(NativeDesigns.Echo with { Files = ["/nowhere.vhd"] }), Throws.InstanceOf<FpgaBuildException>().With.Message.Contains("/nowhere.vhd"));
            Assert.That(Creating(NativeDesigns.Echo with { Top = "other" }), Throws.InstanceOf<FpgaBuildException>().With.Message.Contains("other"));
        }

        static Action Creating(FpgaDesign design) => () => NativeFpga.Create(NativeDesigns.Options(Simulator.Ghdl, design));
    }

    [Test]
    public void Create_SameBuildAtTheSameTime_IsMadeOnce()
    {
        FpgaOptions options = NativeDesigns.Options(Simulator.Ghdl, NativeDesigns.Echo) with { BuildDirectory = NativeDesigns.Scratch("twice") };

        Parallel.For(0, 3, new ParallelOptions { MaxDegreeOfParallelism = 3 }, _ =>
        {
            using NativeFpga fpga = NativeFpga.Create(options);
            AssertEchoes(fpga);
        });

        Assert.That(Directory.GetDirectories(options.BuildDirectory), Has.Length.EqualTo(1));
    }

    [Test]
    public void Run_SteadyTraffic_AllocatesNothing([Values(Simulator.VerilatorInProcess, Simulator.VerilatorChild, Simulator.Ghdl)] Simulator simulator)
    {
        using NativeFpga fpga = NativeDesigns.Make(simulator, NativeDesigns.Echo);
        byte[] packet = Packet(0, 256, true);
        Exchange(100);
        long before = GC.GetAllocatedBytesForCurrentThread();

        Exchange(1000);

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);

        void Exchange(int count)
        {
            for (int i = 0; i < count; i++)
            {
                fpga.Send(0, packet);
                while (fpga.Run(1000, 16) == RunResult.Output)
                {
                    while (fpga.TryReceive(out _))
                    {
                    }
                }
            }
        }
    }

    [Test]
    public async Task SimulatorEnded_KilledWhileIdle_IsCalledAndTheNextRunFails([ValueSource(nameof(Children))] Simulator simulator)
    {
        TaskCompletionSource ended = new();
        using NativeFpga fpga = NativeDesigns.Make(simulator, NativeDesigns.Echo, ended: () => ended.SetResult());
        AssertEchoes(fpga);

        Signal("-KILL", fpga);
        await ended.Task.WaitAsync(TimeSpan.FromSeconds(30));

        Assert.That(fpga.Run(1000), Is.EqualTo(RunResult.Failed));
        Assert.That(fpga.Failure, Does.StartWith($"{fpga.Kind}: the simulator ended by signal 9"));
    }

    [Test]
    public async Task Dispose_InProcessModelsOnOtherThreads_DoesNotMixThemUp()
    {
        // The models of the FPGA have scopes, which each take themselves out of their own context when they end.
        FpgaOptions options = NativeDesigns.Options(Simulator.VerilatorInProcess, NativeDesigns.Echo) with { Design = null };
        for (int i = 0; i < 20; i++)
        {
            IFpga other = await Task.Factory.StartNew(() => FpgaFactory.Create(options), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
            FpgaFactory.Create(options).Dispose();
            Assert.That(other.Run(10_000), Is.EqualTo(RunResult.Idle), $"round {i}");
            other.Dispose();
        }
    }

    [Test]
    public void Dispose_RunningSimulator_EndsItsProcess([ValueSource(nameof(Children))] Simulator simulator)
    {
        NativeFpga fpga = NativeDesigns.Make(simulator, NativeDesigns.Echo);
        int process = fpga.ProcessId!.Value;
        Assert.That(Directory.Exists($"/proc/{process}"), Is.True);

        fpga.Dispose();

        Assert.That(Directory.Exists($"/proc/{process}"), Is.False);
        Assert.That(fpga.Run(1), Is.EqualTo(RunResult.Failed));
    }

    private static void AssertEchoes(NativeFpga fpga)
    {
        byte[] packet = Packet(0, 40, true, tag: 77);
        fpga.Send(0, packet);
        Assert.That(fpga.Run(1000), Is.EqualTo(RunResult.Output), fpga.Failure);
        Assert.That(fpga.TryReceive(out FpgaPacket output), Is.True);
        Assert.That(output.Bytes.ToArray(), Is.EqualTo(packet));
        Assert.That(fpga.Run(1000), Is.EqualTo(RunResult.Idle));
    }

    private static void Signal(string signal, NativeFpga fpga)
    {
        using Process kill = Process.Start("kill", [signal, $"{fpga.ProcessId}"]);
        kill.WaitForExit();
        Assert.That(kill.ExitCode, Is.Zero);
    }

    private static int Drain(NativeFpga fpga, Action<FpgaPacketCopy>? each = null)
    {
        int count = 0;
        while (fpga.TryReceive(out FpgaPacket packet))
        {
            each?.Invoke(new FpgaPacketCopy(packet.Port, packet.Cycle, packet.Bytes.ToArray()));
            count++;
        }

        return count;
    }

    private static byte[] Packet(int port, int payload, bool four, uint tag = 0)
    {
        int header = port == 2 ? 32 : 16;
        byte[] packet = new byte[header + payload];
        for (int i = 0; i < packet.Length; i++)
        {
            packet[i] = (byte)(i * 7 + payload + port);
        }

        if (port != 2)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(packet, (four ? 0x2000_0000u : 0) | (payload == 0 ? 0 : 0x4000_0000u) | ((uint)payload / 4 & 0x3FF));
            if (!four)
            {
                packet.AsSpan(12, 4).Clear();
            }
        }

        BinaryPrimitives.WriteUInt32LittleEndian(packet.AsSpan(4), tag);
        return packet;
    }

    private static uint Word(byte[] bytes, int index) => BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(4 * index));

    private sealed record FpgaPacketCopy(int Port, ulong Cycle, byte[] Bytes);
}
