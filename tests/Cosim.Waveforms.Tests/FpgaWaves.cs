// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Pcie;

namespace Cosim.Waveforms.Tests;

/// <summary>Waveforms of the virtio FPGA as the simulators write them, and what of them is kept.</summary>
internal static class FpgaWaves
{
    private const string Top = "cosim_top";
    private const int ManagementPort = 2;

    private static readonly VhdlEnumerations Enumerations = new(
        Directory.GetFiles(Path.Combine(Repository.Root, "hdl"), "*.vhd").Select(File.ReadAllText));

    /// <summary>Folder of the golden waveforms.</summary>
    public static string Folder { get; } = Path.Combine(Repository.Root, "waveforms");

    /// <summary>Runs a scenario on a fresh FPGA and gives its canonical waveform.</summary>
    /// <param name="kind">The simulator.</param>
    /// <param name="play">The scenario.</param>
    /// <param name="seed">Of random initial values; null: none.</param>
    public static string Record(FpgaKind kind, Action<Scenario> play, int? seed = null)
    {
        string folder = Path.Combine(TestContext.CurrentContext.WorkDirectory, "waves", $"{TestContext.CurrentContext.Test.ID}-{Guid.NewGuid():N}");
        Directory.CreateDirectory(folder);
        try
        {
            string file = Path.Combine(folder, "fpga.vcd");
            using Scenario scenario = new(new FpgaOptions
            {
                Kind = kind,
                RandomSeed = seed,
                WaveFile = file,
                WaveFormat = WaveFormat.Vcd,
                HdlDirectory = Path.Combine(Repository.Root, "hdl"),
                BuildDirectory = Path.Combine(Repository.Root, ".cosim", "build"),
                ToolsFile = Path.Combine(Repository.Root, ".cosim", "tools.json"),
            });
            play(scenario);
            scenario.Settle();
            scenario.Dispose();
            return CanonicalWave.Of(file, scenario.Selection);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>The pins, and internal signals given by name.</summary>
    public static WaveSelection Pins(params ReadOnlySpan<string> inner)
    {
        List<WaveStream> streams = [];
        for (int port = 0; port <= ManagementPort; port++)
        {
            streams.Add(Stream($"p{port}_rx", "i", "o", port));
            streams.Add(Stream($"p{port}_tx", "o", "i", port));
        }

        List<WaveSignal> signals = [new("busy_o")];
        foreach (string path in inner)
        {
            signals.Add(new WaveSignal(path, Literals: Enumerations.Find(Top, path)));
        }

        return new WaveSelection { Top = Top, Clock = "clk_i", Reset = "rst_i", Signals = signals, Streams = streams };
    }

    private static WaveStream Stream(string name, string forth, string back, int port) => new(
        name,
        $"{name}_data_{forth}",
        $"{name}_keep_{forth}",
        $"{name}_last_{forth}",
        $"{name}_valid_{forth}",
        $"{name}_ready_{back}",
        port == ManagementPort ? 32 : Tlp.HeaderBytes,
        port == ManagementPort ? ManagementFormatter.Format : TlpText);

    private static string TlpText(ReadOnlySpan<byte> packet)
    {
        string data = packet.Length == Tlp.HeaderBytes + 4 ? $" data {BinaryPrimitives.ReadUInt32LittleEndian(packet[Tlp.HeaderBytes..]):x8}" : "";
        return TlpFormatter.Format(packet) + data;
    }
}
