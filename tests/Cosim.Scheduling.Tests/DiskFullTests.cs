// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;

namespace Cosim.Scheduling.Tests;

/// <summary>No room for a waveform: it ends, once, with a message, and the bridge goes on. (Recordings: BridgeRecordingTests.)</summary>
public sealed class DiskFullTests
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(60);

    private DirectoryInfo _folder = null!;

    private string WaveFile => Path.Combine(_folder.FullName, "wave.vcd");

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("cosim-full-");

    [TearDown]
    public void RemoveFolder() => _folder.Delete(recursive: true);

    [Test]
    public async Task Waveform_DiskIsFull_EndsWithOneMessageAndTheBridgeGoesOn()
    {
        List<string> log = [];
        using SteppedBridge stepped = Start(FpgaKind.Verilator, log);
        long start = Environment.TickCount64;
        while (log.Count == 0)
        {
            Assert.That(Environment.TickCount64 - start, Is.LessThan(s_deadline.TotalMilliseconds), "nothing is said of the waveform");
            UseDevice(stepped);
            await Task.Delay(1);
        }

        UseDevice(stepped);
        Assert.That(stepped.Bridge.State, Is.EqualTo(BridgeState.LinkDown), stepped.Bridge.Failure);
        Assert.That(log, Has.Count.EqualTo(1).And.Some.Contain(WaveFile).And.Some.Contain("No space left"));
    }

    // GHDL does not look whether what it writes arrives.
    [Test]
    public void Waveform_DiskIsFullUnderGhdl_TheBridgeGoesOn()
    {
        List<string> log = [];
        using SteppedBridge stepped = Start(FpgaKind.Ghdl, log);
        for (int i = 0; i < 20; i++)
        {
            UseDevice(stepped);
        }

        Assert.That(stepped.Bridge.State, Is.EqualTo(BridgeState.LinkDown), stepped.Bridge.Failure);
        Assert.That(log, Is.Empty);
    }

    private SteppedBridge Start(FpgaKind kind, List<string> log)
    {
        _ = File.CreateSymbolicLink(WaveFile, "/dev/full");
        BridgeOptions options = SteppedBridgeTests.Options(kind, null);
        return new SteppedBridge(options with { Fpga = options.Fpga with { WaveFile = WaveFile, WaveFormat = WaveFormat.Vcd }, Log = log.Add });
    }

    private static void UseDevice(SteppedBridge stepped) => stepped.Complete(async () =>
    {
        for (int i = 0; i < 64; i++)
        {
            Assert.That((await stepped.Bridge.ReadConfig(1, 0, 0, 4)).Data, Is.EqualTo(new byte[] { 0x05, 0x0c, 0x01, 0x51 }));
        }
    });
}
