// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>A bridge whose both hosts are played by the test.</summary>
public abstract class BridgeFixture(FpgaKind kind)
{
    protected static readonly TimeSpan Deadline = TimeSpan.FromSeconds(60);

    private readonly ConcurrentQueue<string> _log = new();

    protected FpgaKind Kind => kind;

    protected Bridge Bridge { get; private set; } = null!;

    protected MockBackEnd BackEnd { get; private set; } = null!;

    protected MockDriver Driver { get; private set; } = null!;

    protected IReadOnlyCollection<string> Log => _log;

    protected virtual IStimuliLog? Stimuli => null;

    protected virtual string? RecordingFile => null;

    protected virtual ulong RingFeatures => VirtioFeatures.UsualRing;

    [SetUp]
    public virtual async Task StartBridge()
    {
        _log.Clear();
        string root = RepositoryRoot();
        Bridge = new Bridge(new BridgeOptions
        {
            Name = "test",
            Fpga = new FpgaOptions
            {
                Kind = kind,
                Functions = 2,
                QueuesPerFunction = 8,
                HdlDirectory = Path.Combine(root, "hdl"),
                BuildDirectory = Path.Combine(root, ".cosim", "build"),
                ToolsFile = Path.Combine(root, ".cosim", "tools.json"),
            },
            Hosts = [new ProgramHostOptions { Functions = 2, MemoryBytes = 4 << 20 }, new ProgramHostOptions { Functions = 1, MemoryBytes = 8 << 20 }],
            MailboxTimeout = TimeSpan.FromSeconds(5),
            Stimuli = Stimuli,
            RecordingFile = RecordingFile,
            RingFeatures = RingFeatures,
            Log = _log.Enqueue,
        });
        await Bridge.Started.WaitAsync(Deadline);
        BackEnd = new MockBackEnd(Bridge);
        Driver = new MockDriver(Bridge, 0);
    }

    [TearDown]
    public async Task StopBridge()
    {
        await BackEnd.DisposeAsync();
        Bridge.Dispose();
        if (TestContext.CurrentContext.Result.Outcome.Status == NUnit.Framework.Interfaces.TestStatus.Failed)
        {
            await TestContext.Out.WriteLineAsync(string.Join('\n', _log));
        }
    }

    internal static string RepositoryRoot()
    {
        string? directory = TestContext.CurrentContext.TestDirectory;
        while (directory is not null && !File.Exists(Path.Combine(directory, "Cosim.sln")))
        {
            directory = Path.GetDirectoryName(directory);
        }

        return directory ?? throw new InvalidOperationException("Cosim.sln is in no folder above the tests");
    }
}
