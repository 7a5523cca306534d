// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Pcie;

namespace Cosim.Waveforms.Tests;

/// <summary>Waveforms of the virtio FPGA as the simulators write them, and what of them is kept.</summary>
internal static class FpgaWaves
{
    private const int ManagementPort = 2;

    /// <summary>Folder of the golden waveforms.</summary>
    public static string Folder { get; } = Path.Combine(Repository.Root, "waveforms");

    /// <summary>Runs a scenario on a fresh FPGA and gives its canonical waveform.</summary>
    public static string Record(FpgaKind kind, WaveSelection selection, Action<IFpga> scenario)
    {
        string folder = Path.Combine(TestContext.CurrentContext.WorkDirectory, "waves", $"{TestContext.CurrentContext.Test.ID}-{Guid.NewGuid():N}");
        Directory.CreateDirectory(folder);
        try
        {
            string file = Path.Combine(folder, "fpga.vcd");
            using (IFpga fpga = FpgaFactory.Create(new FpgaOptions
            {
                Kind = kind,
                WaveFile = file,
                WaveFormat = WaveFormat.Vcd,
                HdlDirectory = Path.Combine(Repository.Root, "hdl"),
                BuildDirectory = Path.Combine(Repository.Root, ".cosim", "build"),
                ToolsFile = Path.Combine(Repository.Root, ".cosim", "tools.json"),
            }))
            {
                scenario(fpga);
            }

            return CanonicalWave.Of(file, selection);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>The pins, and internal signals given by name.</summary>
    public static WaveSelection Pins(params ReadOnlySpan<string> inner)
    {
        List<WaveSignal> signals = [new("busy_o")];
        List<WaveStream> streams = [];
        for (int port = 0; port <= ManagementPort; port++)
        {
            PacketText describe = port == ManagementPort ? ManagementText : TlpText;
            streams.Add(Stream($"p{port}_rx", "i", "o", port, describe, signals));
            streams.Add(Stream($"p{port}_tx", "o", "i", port, describe, signals));
        }

        foreach (string path in inner)
        {
            signals.Add(new WaveSignal(path));
        }

        return new WaveSelection { Top = "cosim_top", Clock = "clk_i", Reset = "rst_i", Signals = signals, Streams = streams };
    }

    private static WaveStream Stream(string name, string forth, string back, int port, PacketText describe, List<WaveSignal> signals)
    {
        string valid = $"{name}_valid_{forth}";
        signals.Add(new WaveSignal(valid));
        signals.Add(new WaveSignal($"{name}_ready_{back}"));
        signals.Add(new WaveSignal($"{name}_last_{forth}", valid));
        signals.Add(new WaveSignal($"{name}_keep_{forth}", valid));
        signals.Add(new WaveSignal($"{name}_data_{forth}", valid));
        return new WaveStream(
            name, $"{name}_data_{forth}", $"{name}_keep_{forth}", $"{name}_last_{forth}", valid, $"{name}_ready_{back}",
            port == ManagementPort ? 32 : Tlp.HeaderBytes, describe);
    }

    private static string TlpText(ReadOnlySpan<byte> packet)
    {
        string data = packet.Length == Tlp.HeaderBytes + 4 ? $" data {BinaryPrimitives.ReadUInt32LittleEndian(packet[Tlp.HeaderBytes..]):x8}" : "";
        return TlpFormatter.Format(packet) + data;
    }

    private static string ManagementText(ReadOnlySpan<byte> packet)
        => $"opcode {packet[0]:x2} tag {BinaryPrimitives.ReadUInt16LittleEndian(packet[2..])} length {BinaryPrimitives.ReadUInt32LittleEndian(packet[4..])}";
}
