// SPDX-License-Identifier: Apache-2.0
using Cosim.Grpc.Tests;
using Cosim.Scheduling.Stimuli;
using Cosim.Server.Scheduled;
using Cosim.V1;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using NUnit.Framework;
using RecordingStatus = Cosim.V1.RecordingStatus;
using State = Cosim.V1.BridgeStatus.Types.State;

namespace Cosim.Server.Tests;

/// <summary>The service over the transaction scheduler and the reference model, hosts played by programs.</summary>
[CancelAfter(60_000)]
public sealed class ScheduledBridgeTests
{
    private static readonly FunctionAddress s_endpoint = new() { Bridge = "real", Port = 1 };

    private DirectoryInfo _folder = null!;
    private BridgeServer _server = null!;
    private GrpcChannel _channel = null!;
    private Bridges.BridgesClient _bridges = null!;
    private Transactions.TransactionsClient _transactions = null!;

    [SetUp]
    public async Task StartAsync()
    {
        _folder = Directory.CreateTempSubdirectory("cosim-real-");
        BridgeFolders folders = new()
        {
            Hdl = _folder.FullName,
            Build = _folder.FullName,
            Tools = Path.Combine(_folder.FullName, "tools.json"),
            BackEnd = Path.Combine(_folder.FullName, "backend"),
            Run = RunFolder,
            Recordings = Recordings,
        };
        _server = await BridgeServer.StartAsync(new BridgeServerOptions
        {
            Address = ServiceAddress.Parse($"unix:{_folder.FullName}/s.sock"),
            Factory = new ScheduledBridgeFactory(folders, TestContext.Out.WriteLine),
        });
        _channel = _server.Address.Connect();
        _bridges = new Bridges.BridgesClient(_channel);
        _transactions = new Transactions.TransactionsClient(_channel);
    }

    [TearDown]
    public async Task StopAsync()
    {
        _channel.Dispose();
        await _server.DisposeAsync();
        Assert.That(Directory.Exists(Path.Combine(RunFolder, "real")), Is.False, "a bridge left its run-time folder");
        _folder.Delete(recursive: true);
    }

    private string Recordings => Path.Combine(_folder.FullName, "recordings");

    private string RunFolder => Path.Combine(_folder.FullName, "run");

    [Test]
    public async Task Config_OfTheBackEndEndpoint_IsReadThroughTheFpgaAndSeenByWatchers(CancellationToken token)
    {
        BridgeStatus created = await _bridges.CreateAsync(Programmed(), cancellationToken: token);
        using AsyncServerStreamingCall<TlpRecord> watch = _transactions.WatchTlps(new WatchTlpsRequest { Bridge = "real", Ports = { 1 } }, cancellationToken: token);
        await watch.ResponseHeadersAsync.WaitAsync(token);
        ReadResponse id = await _transactions.ReadConfigAsync(new ReadConfigRequest { Function = s_endpoint, Length = 4 }, cancellationToken: token);
        Assert.That(await watch.ResponseStream.MoveNext(token));
        TlpRecord request = watch.ResponseStream.Current;
        Assert.That(await watch.ResponseStream.MoveNext(token));
        TlpRecord completion = watch.ResponseStream.Current;
        BridgeStatus after = await _bridges.GetAsync(new GetBridgeRequest { Name = "real" }, cancellationToken: token);
        Assert.Multiple(() =>
        {
            Assert.That(created.State, Is.EqualTo(State.LinkDown));
            Assert.That(created.Functions.Select(f => (f.Port, f.Function)), Is.EqualTo(new[] { (0u, 0u), (0u, 1u), (1u, 0u) }));

            // hdl/CONTRACT.md, 3: vendor 0x0C05, device 0x5101.
            Assert.That(id.Data, Is.EqualTo(ByteString.CopyFrom(0x05, 0x0c, 0x01, 0x51)));
            Assert.That(request.Type, Is.EqualTo(TlpRecord.Types.Type.CfgRd0));
            Assert.That(completion.Type, Is.EqualTo(TlpRecord.Types.Type.Cpld));
            Assert.That(completion.Cycle, Is.GreaterThan(request.Cycle));
            Assert.That(completion.Payload, Is.EqualTo(id.Data));
            Assert.That(after.Counters.Cycles, Is.GreaterThanOrEqualTo(completion.Cycle));
            Assert.That(after.Counters.Ports[1].TlpsToHost, Is.GreaterThan(created.Counters.Ports[1].TlpsToHost));
        });
    }

    [Test]
    public async Task Accesses_ToWhatIsNotThere_AreRefusedAndTheBridgeLivesOn(CancellationToken token)
    {
        await _bridges.CreateAsync(Programmed(), cancellationToken: token);
        FunctionAddress nowhere = new() { Bridge = "real", Port = 5 };
        RpcException port = Assert.ThrowsAsync<RpcException>(
            async () => await _transactions.ReadConfigAsync(new ReadConfigRequest { Function = nowhere, Length = 4 }, cancellationToken: token))!;
        RpcException memory = Assert.ThrowsAsync<RpcException>(async () => await _transactions.ReadHostMemoryAsync(
            new ReadHostMemoryRequest { Bridge = "real", Port = 1, Address = 8190, Length = 4 }, cancellationToken: token))!;
        ReadResponse bar = await _transactions.ReadMemoryAsync(new ReadMemoryRequest { Function = s_endpoint, Bar = 3, Length = 4 }, cancellationToken: token);
        await _transactions.WriteHostMemoryAsync(
            new WriteHostMemoryRequest { Bridge = "real", Port = 1, Address = 8188, Data = ByteString.CopyFromUtf8("last") }, cancellationToken: token);
        ReadHostMemoryResponse last = await _transactions.ReadHostMemoryAsync(
            new ReadHostMemoryRequest { Bridge = "real", Port = 1, Address = 8188, Length = 4 }, cancellationToken: token);
        Assert.Multiple(() =>
        {
            Assert.That(port.StatusCode, Is.EqualTo(StatusCode.FailedPrecondition));
            Assert.That(memory.StatusCode, Is.EqualTo(StatusCode.OutOfRange));
            Assert.That((bar.Status, bar.Data), Is.EqualTo((AccessStatus.UnsupportedRequest, ByteString.CopyFrom(255, 255, 255, 255))));
            Assert.That(last.Data.ToStringUtf8(), Is.EqualTo("last"));
        });
    }

    [Test]
    public async Task Reset_RunningBridge_ServesOn(CancellationToken token)
    {
        await _bridges.CreateAsync(Programmed(), cancellationToken: token);
        BridgeStatus reset = await _bridges.ResetAsync(new ResetBridgeRequest { Name = "real" }, cancellationToken: token);
        ReadResponse id = await _transactions.ReadConfigAsync(new ReadConfigRequest { Function = s_endpoint, Length = 2 }, cancellationToken: token);
        Assert.That((reset.State, id.Data), Is.EqualTo((State.LinkDown, ByteString.CopyFrom(0x05, 0x0c))));
    }

    [Test]
    public async Task StartRecording_OntoALink_IsRefusedAndItsTargetUntouched(CancellationToken token)
    {
        string target = Path.Combine(_folder.FullName, "precious");
        await File.WriteAllTextAsync(target, "mine", token);
        Directory.CreateDirectory(Recordings);
        File.CreateSymbolicLink(Path.Combine(Recordings, "a.stim"), target);
        await _bridges.CreateAsync(Programmed(), cancellationToken: token);
        RpcException error = Assert.ThrowsAsync<RpcException>(
            async () => await _bridges.StartRecordingAsync(new StartRecordingRequest { Name = "real", File = "a.stim" }, cancellationToken: token))!;
        Assert.That(error.StatusCode, Is.EqualTo(StatusCode.FailedPrecondition));
        Assert.That(await File.ReadAllTextAsync(target, token), Is.EqualTo("mine"));
    }

    [Test]
    public async Task WaitInterrupt_CallersWhoGiveUpWithoutEnd_LeaveRoomForTheNext(CancellationToken token)
    {
        await _bridges.CreateAsync(Programmed(), cancellationToken: token);
        for (int i = 0; i < 40; i++)
        {
            using CancellationTokenSource caller = new();
            Task<Interrupt>[] calls =
                [.. Enumerable.Range(0, 60).Select(_ => _transactions.WaitInterruptAsync(new WaitInterruptRequest { Function = s_endpoint }, cancellationToken: caller.Token).ResponseAsync)];
            _ = await _transactions.ReadConfigAsync(new ReadConfigRequest { Function = s_endpoint, Length = 4 }, cancellationToken: token);
            await caller.CancelAsync();
            foreach (Task<Interrupt> call in calls)
            {
                RpcException error = Assert.ThrowsAsync<RpcException>(() => call)!;
                Assert.That(error.StatusCode, Is.EqualTo(StatusCode.Cancelled));
            }
        }
    }

    [Test]
    public async Task Recording_OfTheScenario_IsWholeWhenTheBridgeHasEnded(CancellationToken token)
    {
        Scenario scenario = Programmed();
        scenario.Record = new RecordSpec { File = Path.Combine(_folder.FullName, "own.stim") };
        BridgeStatus created = await _bridges.CreateAsync(scenario, cancellationToken: token);
        await _transactions.ReadConfigAsync(new ReadConfigRequest { Function = s_endpoint, Length = 4 }, cancellationToken: token);
        await _bridges.DeleteAsync(new DeleteBridgeRequest { Name = "real" }, cancellationToken: token);
        Assert.That((created.Recording.File, created.Recording.Running), Is.EqualTo((scenario.Record.File, true)));
        Assert.That(ReadRecording(scenario.Record.File), Is.GreaterThan(10));
    }

    [Test]
    public async Task Recording_StartedStoppedAndDownloaded_IsSeenInTheStatus(CancellationToken token)
    {
        BridgeStatus before = await _bridges.CreateAsync(Programmed(), cancellationToken: token);
        StartRecordingRequest start = new() { Name = "real", Reset = true };
        RecordingStatus running = await _bridges.StartRecordingAsync(start, cancellationToken: token);
        RpcException twice = Assert.ThrowsAsync<RpcException>(async () => await _bridges.StartRecordingAsync(start, cancellationToken: token))!;
        await _transactions.ReadConfigAsync(new ReadConfigRequest { Function = s_endpoint, Length = 4 }, cancellationToken: token);
        RecordingStatus ended = await _bridges.StopRecordingAsync(new StopRecordingRequest { Name = "real" }, cancellationToken: token);
        RpcException none = Assert.ThrowsAsync<RpcException>(
            async () => await _bridges.StopRecordingAsync(new StopRecordingRequest { Name = "real" }, cancellationToken: token))!;
        BridgeStatus after = await _bridges.GetAsync(new GetBridgeRequest { Name = "real" }, cancellationToken: token);
        RecordingStatus next = await _bridges.StartRecordingAsync(new StartRecordingRequest { Name = "real" }, cancellationToken: token);
        await _bridges.StopRecordingAsync(new StopRecordingRequest { Name = "real" }, cancellationToken: token);
        string copy = Path.Combine(_folder.FullName, "copy.stim");
        await using (FileStream file = File.Create(copy))
        {
            using AsyncServerStreamingCall<RecordingChunk> download = _bridges.DownloadRecording(new DownloadRecordingRequest { Name = "real" }, cancellationToken: token);
            await foreach (RecordingChunk chunk in download.ResponseStream.ReadAllAsync(token))
            {
                await file.WriteAsync(chunk.Data.Memory, token);
            }
        }

        Assert.Multiple(() =>
        {
            Assert.That(before.Recording, Is.Null);
            Assert.That((running.File, running.Running), Is.EqualTo((Path.Combine(Recordings, "real-1.stim"), true)));
            Assert.That((twice.StatusCode, none.StatusCode), Is.EqualTo((StatusCode.FailedPrecondition, StatusCode.FailedPrecondition)));
            Assert.That(twice.Status.Detail, Does.Contain(running.File));
            Assert.That(ended.Running, Is.False);
            Assert.That(after.Recording, Is.EqualTo(ended));
            Assert.That(ReadRecording(running.File), Is.EqualTo(ended.Inputs));
            Assert.That(next.File, Is.EqualTo(Path.Combine(Recordings, "real-2.stim")));
            Assert.That(File.ReadAllBytes(copy), Is.EqualTo(File.ReadAllBytes(next.File)));
        });
    }

    [Test]
    public async Task StartRecording_IntoTheFileOfAnotherBridgesRecording_IsRefusedAndThatOneGoesOn(CancellationToken token)
    {
        Scenario other = Programmed();
        other.Name = "other";
        await _bridges.CreateAsync(Programmed(), cancellationToken: token);
        await _bridges.CreateAsync(other, cancellationToken: token);
        await _bridges.StartRecordingAsync(new StartRecordingRequest { Name = "real", File = "x.stim" }, cancellationToken: token);
        RpcException error = Assert.ThrowsAsync<RpcException>(
            async () => await _bridges.StartRecordingAsync(new StartRecordingRequest { Name = "other", File = "x.stim" }, cancellationToken: token))!;
        await _transactions.ReadConfigAsync(new ReadConfigRequest { Function = s_endpoint, Length = 4 }, cancellationToken: token);
        RecordingStatus ended = await _bridges.StopRecordingAsync(new StopRecordingRequest { Name = "real" }, cancellationToken: token);
        Assert.That(error.StatusCode, Is.EqualTo(StatusCode.FailedPrecondition));
        Assert.That(error.Status.Detail, Does.Contain("x.stim").And.Contain("used by another"));
        Assert.That(ReadRecording(ended.File), Is.EqualTo(ended.Inputs).And.Positive);
    }

    [Test]
    public async Task WaitInterrupt_NoneComes_EndsAtTheDeadlineAndTheNextCallIsServed(CancellationToken token)
    {
        await _bridges.CreateAsync(Programmed(), cancellationToken: token);
        RpcException error = Assert.ThrowsAsync<RpcException>(async () => await _transactions.WaitInterruptAsync(
            new WaitInterruptRequest { Function = s_endpoint }, deadline: DateTime.UtcNow.AddMilliseconds(200), cancellationToken: token))!;
        await _bridges.GetAsync(new GetBridgeRequest { Name = "real" }, cancellationToken: token);
        Assert.That(error.StatusCode, Is.EqualTo(StatusCode.DeadlineExceeded));
    }

    [Test]
    public async Task Create_SocketHosts_MakesTheSocketsAndRemovesThemAtTheEnd(CancellationToken token)
    {
        Scenario scenario = Programmed();
        scenario.Host1 = new HostSpec { Socket = new SocketHost { Directory = Path.Combine(_folder.FullName, "sockets") } };
        BridgeStatus status = await _bridges.CreateAsync(scenario, cancellationToken: token);
        string[] sockets = [.. status.Functions.Where(f => f.Port == 0).Select(f => f.Socket)];
        bool[] there = [.. sockets.Select(File.Exists)];
        await _bridges.DeleteAsync(new DeleteBridgeRequest { Name = "real" }, cancellationToken: token);
        Assert.Multiple(() =>
        {
            Assert.That(sockets, Has.Length.EqualTo(2));
            Assert.That(there, Is.All.True);
            Assert.That(sockets.Select(File.Exists), Is.All.False);
        });
    }

    [Test]
    public void Create_ToolsMissing_SaysWhatToRunAndLeavesNothing()
    {
        Scenario scenario = Programmed();
        scenario.Host2 = new HostSpec { Qemu = new QemuHost() };
        RpcException error = Assert.ThrowsAsync<RpcException>(async () => await _bridges.CreateAsync(scenario))!;
        Assert.Multiple(() =>
        {
            Assert.That(error.StatusCode, Is.EqualTo(StatusCode.FailedPrecondition));
            Assert.That(error.Status.Detail, Does.Contain("tools.json").And.Contain("setup"));
        });
    }

    [Test]
    public async Task Create_Host2ProcessEndsAtOnce_TheBridgeFailsWithWhatItSaid(CancellationToken token)
    {
        Scenario scenario = Programmed();
        scenario.Host2 = new HostSpec { Process = new ProcessHost { Command = { "/bin/sh", "-c", "echo no such luck; exit 3", "{socket}" } } };
        await _bridges.CreateAsync(scenario, cancellationToken: token);
        using AsyncServerStreamingCall<BridgeStatus> watch = _bridges.Watch(new WatchBridgeRequest { Name = "real" }, cancellationToken: token);
        BridgeStatus status;
        do
        {
            Assert.That(await watch.ResponseStream.MoveNext(token));
            status = watch.ResponseStream.Current;
        }
        while (status.State != State.Failed || status.Hosts[0].State != HostStatus.Types.State.Ended);

        Assert.That(status.Error, Does.Contain("status 3").And.Contain("no such luck"));
    }

    [Test]
    [CancelAfter(180_000)]
    public async Task GrpcJs_PlaysBothHosts_AllChecksHold(CancellationToken token)
    {
        string modules = await GrpcJs.InstallAsync(token);
        string script = Path.Combine(AppContext.BaseDirectory, "foreign-client.js");
        (int exitCode, string output) = await GrpcJs.RunAsync(script, [modules, GrpcJs.FindClone(), _server.Address.ToString()], token);
        Assert.That(exitCode, Is.Zero, output);
        Assert.That(output, Does.EndWith("all checks hold\n"));
    }

    // The number of inputs in a recording, which is to be whole.
    private static ulong ReadRecording(string file)
    {
        using StimuliReader reader = new(file);
        while (reader.Read())
        {
        }

        Assert.That(reader.IsComplete, file);
        return reader.Inputs;
    }

    private static Scenario Programmed() => new()
    {
        Name = "real",
        Fpga = new FpgaSpec { Kind = FpgaSpec.Types.Kind.Model },
        Host1 = new HostSpec { Program = new ProgramHost { MemoryBytes = 8192 } },
        Host2 = new HostSpec { Program = new ProgramHost { MemoryBytes = 8192 } },
        Devices = { new DeviceSpec { Net = new NetDevice() }, new DeviceSpec { Net = new NetDevice() } },
    };
}
