// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Cosim.Fpga.Native;

/// <summary>The FPGA's VHDL in a simulator: Verilator or GHDL.</summary>
/// <remarks>
/// By default the simulator is a child process over shared memory; Verilator can also run inside this process, where nothing
/// can be done about a model that hangs or crashes. Simulated time is 4 ns a cycle; the reset that a new instance begins with
/// counts. A waveform is written from the first cycle on; after a failure the new simulator writes a file of its own,
/// <c>name.1.vcd</c> after <c>name.vcd</c>, so that the one that shows the failure is kept.
/// </remarks>
public sealed class NativeFpga : IFpga
{
    private const int PcieHeaderBytes = 16;
    private const int ManagementHeaderBytes = 32;
    private const int ManagementPort = 2;
    private const int PayloadBytesMax = 4096;

    private readonly FpgaOptions options;
    private readonly DesignSources design;
    private readonly LinkPauses pauses;
    private readonly Func<LinkRegion, string?, ISimulator> start;
    private LinkRegion region = null!;
    private ISimulator? simulator;
    private int restarts;
    private uint outputAt;
    private uint outputEnd;
    private bool idle;
    private volatile bool ended;

    private NativeFpga(FpgaOptions options, DesignSources design, LinkPauses pauses, Func<LinkRegion, string?, ISimulator> start)
    {
        this.options = options;
        this.design = design;
        this.pauses = pauses;
        this.start = start;
        Kind = options.Kind == FpgaKind.Ghdl ? "ghdl" : "verilator";
    }

    /// <inheritdoc/>
    public string Kind { get; }

    /// <inheritdoc/>
    public int PortCount => design.Ports;

    /// <inheritdoc/>
    public ulong Cycle { get; private set; }

    /// <inheritdoc/>
    public string? Failure { get; private set; }

    /// <summary>Process of the simulator, or null where there is none.</summary>
    internal int? ProcessId => (simulator as ChildSimulator)?.ProcessId;

    /// <summary>Builds the simulator where it is not built yet, starts it and resets the FPGA.</summary>
    /// <exception cref="FpgaBuildException">It does not build or does not start.</exception>
    /// <exception cref="ArgumentException">The options ask for what a simulator cannot be or do.</exception>
    public static NativeFpga Create(FpgaOptions options) => Create(options, options.Pauses);

    /// <summary>As above, with these pauses on the streams instead of the options'.</summary>
    internal static NativeFpga Create(FpgaOptions options, LinkPauses pauses)
    {
        bool ghdl = options.Kind == FpgaKind.Ghdl;
        if (!ghdl && options.Kind != FpgaKind.Verilator)
        {
            throw new ArgumentException($"{options.Kind} is no simulator; expected Verilator or Ghdl.", nameof(options));
        }

        if (ghdl && options.InProcess)
        {
            throw new ArgumentException("GHDL runs as a process of its own only.", nameof(options));
        }

        if (options.RandomSeed is { } seed && (ghdl || options.InProcess || seed < 1))
        {
            throw new ArgumentException($"Seed {seed} of random initial values; expected 1 or more, for Verilator in a process of its own.", nameof(options));
        }

        if (!ghdl && options.WaveFile is not null && options.WaveFormat == WaveFormat.Ghw)
        {
            throw new ArgumentException("Verilator writes VCD and FST; GHW is GHDL's.", nameof(options));
        }

        SimulationTools tools = SimulationTools.Read(options.ToolsFile);
        DesignSources design = DesignSources.From(options);
        BuildCache cache = new(options.BuildDirectory);
        NativeFpga fpga = new(options, design, pauses, ghdl ? Ghdl(cache, tools, design, options) : Verilator(cache, tools, design, options));
        try
        {
            fpga.Start();
        }
        catch
        {
            fpga.Dispose();
            throw;
        }

        if (fpga.Failure is { } failure)
        {
            fpga.Dispose();
            throw new FpgaBuildException($"starting {design.Top}", null, failure);
        }

        return fpga;
    }

    /// <inheritdoc/>
    public void Send(int port, ReadOnlySpan<byte> packet, ulong notBefore = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(port);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(port, PortCount);
        int header = port == ManagementPort ? ManagementHeaderBytes : PcieHeaderBytes;
        if (packet.Length < header || packet.Length > header + PayloadBytesMax || packet.Length % 4 != 0)
        {
            throw new ArgumentException(
                $"a packet of port {port} has a header of {header} bytes and a payload of at most {PayloadBytesMax}, in whole DWs; this one has {packet.Length} bytes.",
                nameof(packet));
        }

        if (Failure is not null)
        {
            return;
        }

        if (!region.TryWrite(port, packet, notBefore))
        {
            // Run no cycle: the link moves what is there into its queues. Outputs that wait stay where they are.
            if (Execute(LinkRegion.CommandRun, 0, 0) != RunResult.Failed)
            {
                _ = region.TryWrite(port, packet, notBefore);
            }
        }

        idle = false;
    }

    /// <inheritdoc/>
    public RunResult Run(ulong maxCycles, uint lookahead = 0)
    {
        if (Failure is not null)
        {
            return RunResult.Failed;
        }

        if (outputAt < outputEnd)
        {
            return RunResult.Output;
        }

        // An idle simulator is not asked, unless to hear how it ended.
        if (idle && !ended)
        {
            return RunResult.Idle;
        }

        RunResult result = Execute(LinkRegion.CommandRun, maxCycles, lookahead);
        if (result != RunResult.Failed)
        {
            outputAt = 0;
            outputEnd = region.OutputBytes;
            idle = result == RunResult.Idle;
        }

        return result;
    }

    /// <inheritdoc/>
    public bool TryReceive(out FpgaPacket packet)
    {
        if (outputAt >= outputEnd)
        {
            packet = default;
            return false;
        }

        packet = region.Read(ref outputAt);
        return true;
    }

    /// <inheritdoc/>
    public void Reset()
    {
        outputAt = 0;
        outputEnd = 0;
        idle = false;
        if (Failure is not null)
        {
            Failure = null;
            restarts++;
            try
            {
                Start();
            }
            catch (FpgaBuildException exception)
            {
                Failure = $"{Kind}: {exception.Message}";
            }
        }
        else
        {
            region.ClearInputs();
            _ = Execute(LinkRegion.CommandReset, 0, 0);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        simulator?.Dispose();
        simulator = null;
        region?.Dispose();
        outputAt = 0;
        outputEnd = 0;
        Failure ??= "the FPGA has been disposed of";
    }

    private static Func<LinkRegion, string?, ISimulator> Verilator(BuildCache cache, SimulationTools tools, DesignSources design, FpgaOptions options)
    {
        string folder = VerilatorBuild.Build(cache, tools, design, options.WaveFile is null ? null : options.WaveFormat, options.RandomSeed is not null);
        string[] seed = options.RandomSeed is { } number ? [number.ToString(CultureInfo.InvariantCulture)] : [];
        return options.InProcess
            ? (region, wave) => new InProcessSimulator(Path.Combine(folder, "model.so"), region, wave)
            : (region, wave) => new ChildSimulator(Path.Combine(folder, "model"), folder, [wave ?? "", .. seed], region, options.HangSeconds, options.Report);
    }

    private static Func<LinkRegion, string?, ISimulator> Ghdl(BuildCache cache, SimulationTools tools, DesignSources design, FpgaOptions options)
    {
        (string program, string folder, string[] arguments) = GhdlBuild.Build(cache, tools, design);
        return (region, wave) =>
        {
            string[] waves = wave is null ? [] : options.WaveFormat switch
            {
                WaveFormat.Fst => [$"--fst={wave}"],
                WaveFormat.Ghw => [$"--wave={wave}"],
                _ => [$"--vcd={wave}", "--vcd-nodate", "--vcd-enums"],
            };
            return new ChildSimulator(program, folder, [.. arguments, "--assert-level=error", "--ieee-asserts=disable-at-0", .. waves], region, options.HangSeconds, options.Report);
        };
    }

    private void Start()
    {
        region?.Dispose();
        region = new LinkRegion(design, pauses, Cycle);
        string? wave = options.WaveFile is null ? null : Path.GetFullPath(restarts == 0
            ? options.WaveFile
            : Path.ChangeExtension(options.WaveFile, $"{restarts}{Path.GetExtension(options.WaveFile)}"));
        ended = false;
        simulator = start(region, wave);
        if (simulator is ChildSimulator child)
        {
            child.WatchEnd(() =>
            {
                ended = true;
                options.SimulatorEnded?.Invoke();
            });
        }

        _ = Execute(LinkRegion.CommandReset, 0, 0);
    }

    private RunResult Execute(uint command, ulong maxCycles, uint lookahead)
    {
        region.WriteRequest(command, maxCycles, lookahead);
        string? lost = simulator!.Execute();
        if (lost is null && region.Result != RunResult.Failed)
        {
            Cycle = region.Cycle;
            return region.Result;
        }

        Cycle = Math.Max(Cycle, region.Progress);
        Failure = $"{Kind}: {lost ?? region.Failure}";
        if (lost is null)
        {
            simulator.Dispose(); // it still runs, and closes its waveform
        }
        else
        {
            simulator.Abandon();
        }

        simulator = null;
        return RunResult.Failed;
    }
}
