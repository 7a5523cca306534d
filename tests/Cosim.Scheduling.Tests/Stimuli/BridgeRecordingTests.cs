// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Scheduling.Stimuli;

namespace Cosim.Scheduling.Tests.Stimuli;

/// <summary>Recordings of a bridge, from its start and while it runs.</summary>
public sealed class BridgeRecordingTests() : BridgeFixture(FpgaKind.Model)
{
    private MemoryStream _logged = null!;
    private DirectoryInfo _folder = null!;
    private StimuliWriter? _log;

    protected override IStimuliLog? Stimuli => _log;

    protected override string? RecordingFile => PathOf("whole.stim");

    [SetUp]
    public override async Task StartBridge()
    {
        _folder = Directory.CreateTempSubdirectory("cosim-record-");
        _logged = new MemoryStream();
        _log = new StimuliWriter(_logged, RecordingHead.From(new FpgaOptions { Kind = FpgaKind.Model }));
        await base.StartBridge();
    }

    [TearDown]
    public void RemoveFolder()
    {
        _log!.Dispose();
        _folder.Delete(recursive: true);
    }

    [Test]
    public async Task FromTheStart_BridgeEnds_TheFileIsWholeAndHasAllThatCrossedTheBoundary()
    {
        await UseDevice();
        RecordingStatus running = (await Bridge.GetStatus()).Recording!;
        await BackEnd.DisposeAsync();
        Bridge.Dispose();
        _log!.Dispose();
        Assert.That((running.File, running.IsRunning, running.Failure), Is.EqualTo((PathOf("whole.stim"), true, "")));
        Assert.That(await File.ReadAllBytesAsync(PathOf("whole.stim")), Is.EqualTo(_logged.ToArray()));
        Assert.That(Read("whole.stim").Inputs, Is.GreaterThan(100));
    }

    [TestCase("late.stim")]
    [TestCase("late.stim.gz")]
    public async Task Start_WhileTheBridgeRuns_BeginsThereAndEndsAsAsked(string name)
    {
        await UseDevice();
        RecordingStatus first = await Bridge.StopRecording();
        ulong before = (await Bridge.GetStatus()).Cycles;
        await Bridge.StartRecording(PathOf(name));
        await UseDevice();
        ulong after = (await Bridge.GetStatus()).Cycles;
        RecordingStatus late = await Bridge.StopRecording();
        await UseDevice();
        Content whole = Read("whole.stim");
        Content content = Read(name);
        Assert.Multiple(() =>
        {
            Assert.That((first.Inputs, first.Outputs, first.IsRunning), Is.EqualTo((whole.Inputs, whole.Outputs, false)));
            Assert.That((content.First, content.Begin), Is.EqualTo((StimulusKind.Start, before)));
            Assert.That(content.End, Is.EqualTo(after));
            Assert.That((late.Inputs, late.Outputs), Is.EqualTo((content.Inputs, content.Outputs)));
            Assert.That((late.File, late.Failure, late.Bytes > 1000), Is.EqualTo((PathOf(name), "", true)));
        });
    }

    [Test]
    public async Task Start_WithReset_BeginsWithIt()
    {
        await UseDevice();
        _ = await Bridge.StopRecording();
        await Bridge.StartRecording(PathOf("reset.stim"), reset: true);
        Assert.That((await Bridge.ReadConfig(1, 0, 0, 4)).Data, Is.EqualTo(new byte[] { 0x05, 0x0c, 0x01, 0x51 }));
        _ = await Bridge.StopRecording();
        string[] body = [.. (await File.ReadAllLinesAsync(PathOf("reset.stim"))).SkipWhile(line => !line.StartsWith("start ", StringComparison.Ordinal))];
        Assert.That(body[1], Is.EqualTo(body[0].Replace("start", "reset", StringComparison.Ordinal)));
        Assert.That(Read("reset.stim").Inputs, Is.Positive);
    }

    [Test]
    public async Task Start_RecordedAlready_IsRefusedAndTheFirstGoesOn()
    {
        await Assert.ThatAsync(
            () => Bridge.StartRecording(PathOf("whole.stim")),
            Throws.InvalidOperationException.With.Message.Contains("already").And.Message.Contains("whole.stim"));
        await UseDevice();
        RecordingStatus status = await Bridge.StopRecording();
        Assert.That(Read("whole.stim").Inputs, Is.EqualTo(status.Inputs));
        await Assert.ThatAsync(Bridge.StopRecording, Throws.InvalidOperationException.With.Message.Contains("not being recorded"));
    }

    [Test]
    public async Task Start_FileCannotBeMade_IsRefusedAndNothingIsRecorded()
    {
        RecordingStatus first = await Bridge.StopRecording();
        await Assert.ThatAsync(() => Bridge.StartRecording(PathOf("none/x.stim")), Throws.InstanceOf<IOException>().With.Message.Contains("none/x.stim"));
        await Assert.ThatAsync(() => Bridge.StartRecording(_folder.FullName), Throws.InstanceOf<UnauthorizedAccessException>());
        Assert.That((await Bridge.GetStatus()).Recording, Is.EqualTo(first));
        Assert.That(
            () => new Bridge(Bridge.Options with { Stimuli = null, RecordingFile = PathOf("none/x.stim") }),
            Throws.InstanceOf<IOException>().With.Message.Contains("none/x.stim"));
    }

    [TestCase("full.stim")]
    [TestCase("full.stim.gz")]
    public async Task Record_DiskIsFull_EndsTheRecordingAndTheBridgeGoesOn(string name)
    {
        _ = await Bridge.StopRecording();
        _ = File.CreateSymbolicLink(PathOf(name), "/dev/full");
        using SemaphoreSlim changes = new(0);
        Bridge.RecordingChanged += (_, _) => changes.Release();
        await Bridge.StartRecording(PathOf(name));
        await UseDevice();
        RecordingStatus status;
        do
        {
            Assert.That(await changes.WaitAsync(Deadline));
            status = (await Bridge.GetStatus()).Recording!;
        }
        while (status.IsRunning || Log.Count == 0);

        Assert.Multiple(() =>
        {
            Assert.That(status.Failure, Does.StartWith("the recording ended after ").And.Contains("No space left"));
            Assert.That(Log, Has.Some.Contains(PathOf(name)).And.Some.Contains("No space left"));
        });
        await Assert.ThatAsync(Bridge.StopRecording, Throws.InvalidOperationException.With.Message.Contains("No space left"));
        await Bridge.StartRecording(PathOf("again.stim"));
        await UseDevice();
        Assert.That((await Bridge.StopRecording()).Inputs, Is.EqualTo(Read("again.stim").Inputs));
    }

    private string PathOf(string name) => Path.Combine(_folder.FullName, name);

    private async Task UseDevice()
    {
        for (int i = 0; i < 64; i++)
        {
            Assert.That((await Bridge.ReadConfig(1, 0, 0, 4)).Data, Is.EqualTo(new byte[] { 0x05, 0x0c, 0x01, 0x51 }));
        }
    }

    private Content Read(string name)
    {
        using StimuliReader reader = new(PathOf(name));
        Assert.That(reader.Read());
        Content content = new(reader.Kind, reader.Cycle, 0, 0, 0);
        while (reader.Read())
        {
            content = content with { End = reader.Cycle };
        }

        Assert.That(reader.IsComplete);
        return content with { Inputs = reader.Inputs, Outputs = reader.Outputs };
    }

    private sealed record Content(StimulusKind First, ulong Begin, ulong End, ulong Inputs, ulong Outputs);
}
