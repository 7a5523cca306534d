// SPDX-License-Identifier: Apache-2.0
using Cosim.Scheduling;
using Cosim.Scheduling.Stimuli;

namespace Cosim.Fpga.Tests;

/// <summary>
/// The FPGAs of tests, recorded where the environment names a folder for it: what the tests drive then stands in
/// recordings (<c>hdl/STIMULI.md</c>) that a bench in VHDL replays.
/// </summary>
internal static class RecordedFpga
{
    private const string Variable = "COSIM_RECORD_TESTS";

    /// <summary>Makes the FPGA; a recording of a simulator is named after the test.</summary>
    public static IFpga Create(FpgaOptions options, string name)
    {
        IFpga fpga = FpgaFactory.Create(options);
        string? folder = Environment.GetEnvironmentVariable(Variable);
        return string.IsNullOrEmpty(folder) || options.Kind == FpgaKind.Model
            ? fpga
            : new WrittenFpga(fpga, Path.Combine(folder, name + ".stim"), RecordingHead.From(options));
    }

    private sealed class WrittenFpga : IFpga
    {
        private readonly StimuliWriter _writer;
        private readonly LoggedFpga _logged;

        public WrittenFpga(IFpga fpga, string file, RecordingHead head)
        {
            _writer = new StimuliWriter(file, head);
            _logged = new LoggedFpga(fpga, _writer);
        }

        public string Kind => _logged.Kind;

        public int PortCount => _logged.PortCount;

        public ulong Cycle => _logged.Cycle;

        public string? Failure => _logged.Failure;

        public void Send(int port, ReadOnlySpan<byte> packet, ulong notBefore = 0) => _logged.Send(port, packet, notBefore);

        public RunResult Run(ulong maxCycles, uint lookahead = 0) => _logged.Run(maxCycles, lookahead);

        public bool TryReceive(out FpgaPacket packet) => _logged.TryReceive(out packet);

        public void Reset() => _logged.Reset();

        public void Dispose()
        {
            _logged.Dispose();
            _writer.Dispose();
        }
    }
}
