// SPDX-License-Identifier: Apache-2.0
using Cosim.V1;
using Google.Protobuf.WellKnownTypes;
using Google.Rpc;
using Grpc.Core;
using NUnit.Framework;
using State = Cosim.V1.BridgeStatus.Types.State;

namespace Cosim.Server.Tests;

[CancelAfter(20_000)]
public sealed class BridgesServiceTests
{
    private Service _service = null!;

    [SetUp]
    public async Task StartAsync() => _service = await Service.StartAsync();

    [TearDown]
    public async Task StopAsync() => await _service.DisposeAsync();

    [Test]
    public async Task Create_GetListDelete_FollowTheBridge(CancellationToken token)
    {
        Scenario scenario = _service.Scenario("one");
        BridgeStatus created = await _service.Bridges.CreateAsync(scenario, cancellationToken: token);
        BridgeStatus got = await _service.Bridges.GetAsync(new GetBridgeRequest { Name = "one" }, cancellationToken: token);
        await _service.CreateAsync("another");
        ListBridgesResponse list = await _service.Bridges.ListAsync(new ListBridgesRequest(), cancellationToken: token);
        await _service.Bridges.DeleteAsync(new DeleteBridgeRequest { Name = "one" }, cancellationToken: token);
        ListBridgesResponse rest = await _service.Bridges.ListAsync(new ListBridgesRequest(), cancellationToken: token);
        got.Counters.BusyNs = created.Counters.BusyNs;
        Assert.Multiple(() =>
        {
            Assert.That(created.Scenario, Is.EqualTo(scenario));
            Assert.That(created.State, Is.EqualTo(State.LinkUp));
            Assert.That(got, Is.EqualTo(created));
            Assert.That(list.Bridges.Select(b => b.Name), Is.EqualTo(new[] { "another", "one" }));
            Assert.That(rest.Bridges.Select(b => b.Name), Is.EqualTo(new[] { "another" }));
            Assert.That(_service.Factory.Bridges["one"].Disposed.IsCompleted);
        });
    }

    [Test]
    public void Create_BadScenario_IsInvalidArgumentWithAViolationAField()
    {
        Scenario scenario = _service.Scenario();
        scenario.Name = "NO";
        scenario.Devices[0].Block.Image = "/no/such.img";
        RpcException error = Assert.ThrowsAsync<RpcException>(async () => await _service.Bridges.CreateAsync(scenario))!;
        Google.Rpc.Status status = Google.Rpc.Status.Parser.ParseFrom(error.Trailers.GetValueBytes("grpc-status-details-bin"));
        BadRequest details = status.Details.Single().Unpack<BadRequest>();
        Assert.Multiple(() =>
        {
            Assert.That(error.StatusCode, Is.EqualTo(StatusCode.InvalidArgument));
            Assert.That(error.Status.Detail, Does.Contain("/no/such.img"));
            Assert.That(details.FieldViolations.Select(v => v.Field), Is.EqualTo(new[] { "name", "devices[0].block.image" }));
        });
    }

    [Test]
    public async Task Create_NameTaken_IsAlreadyExistsAndTheFirstLives(CancellationToken token)
    {
        FakeBridge bridge = await _service.CreateAsync();
        RpcException error = Assert.ThrowsAsync<RpcException>(async () => await _service.Bridges.CreateAsync(_service.Scenario(), cancellationToken: token))!;
        Assert.That((error.StatusCode, bridge.Disposed.IsCompleted), Is.EqualTo((StatusCode.AlreadyExists, false)));
    }

    [Test]
    public async Task Create_FactoryFails_IsFailedPreconditionAndTheNameIsFree(CancellationToken token)
    {
        _service.Factory.Failure = "QEMU is missing";
        RpcException error = Assert.ThrowsAsync<RpcException>(async () => await _service.Bridges.CreateAsync(_service.Scenario(), cancellationToken: token))!;
        _service.Factory.Failure = null;
        await _service.CreateAsync();
        Assert.Multiple(() =>
        {
            Assert.That(error.StatusCode, Is.EqualTo(StatusCode.FailedPrecondition));
            Assert.That(error.Status.Detail, Is.EqualTo("QEMU is missing"));
        });
    }

    [Test]
    public async Task Create_BeingBuilt_IsNotSeenAndIsGivenUpWithTheCall(CancellationToken token)
    {
        _service.Factory.Gate = new TaskCompletionSource();
        using CancellationTokenSource cancellation = new();
        AsyncUnaryCall<BridgeStatus> call = _service.Bridges.CreateAsync(_service.Scenario(), cancellationToken: cancellation.Token);
        await _service.Factory.Entered.Task.WaitAsync(token);
        RpcException unseen = Assert.ThrowsAsync<RpcException>(async () => await _service.Bridges.GetAsync(new GetBridgeRequest { Name = "b" }, cancellationToken: token))!;
        await cancellation.CancelAsync();
        Assert.ThrowsAsync<RpcException>(async () => await call);
        Assert.That(unseen.StatusCode, Is.EqualTo(StatusCode.NotFound));
    }

    [Test]
    public void UnknownName_EveryMethod_IsNotFound()
    {
        Func<Task>[] calls =
        [
            async () => await _service.Bridges.GetAsync(new GetBridgeRequest { Name = "x" }),
            async () => await _service.Bridges.DeleteAsync(new DeleteBridgeRequest { Name = "x" }),
            async () => await _service.Bridges.ResetAsync(new ResetBridgeRequest { Name = "x" }),
            async () => await _service.Bridges.StartRecordingAsync(new StartRecordingRequest { Name = "x" }),
            async () => await _service.Bridges.StopRecordingAsync(new StopRecordingRequest { Name = "x" }),
            async () => await _service.Bridges.DownloadRecording(new DownloadRecordingRequest { Name = "x" }).ResponseStream.MoveNext(),
            async () => await _service.Bridges.Watch(new WatchBridgeRequest { Name = "x" }).ResponseStream.MoveNext(),
            async () => await _service.Transactions.WatchTlps(new WatchTlpsRequest { Bridge = "x" }).ResponseStream.MoveNext(),
        ];
        foreach (Func<Task> call in calls)
        {
            RpcException error = Assert.ThrowsAsync<RpcException>(() => call())!;
            Assert.That(error.StatusCode, Is.EqualTo(StatusCode.NotFound));
        }
    }

    [Test]
    public async Task Watch_StateAndCountersChange_StreamsBothAndEndsWithTheBridge(CancellationToken token)
    {
        FakeBridge bridge = await _service.CreateAsync();
        using AsyncServerStreamingCall<BridgeStatus> call = _service.Bridges.Watch(
            new WatchBridgeRequest { Name = "b", Interval = Duration.FromTimeSpan(TimeSpan.FromMilliseconds(20)) }, cancellationToken: token);
        IAsyncStreamReader<BridgeStatus> statuses = call.ResponseStream;
        Assert.That(await statuses.MoveNext(token));
        bridge.Cycles = 5;
        Assert.That(await statuses.MoveNext(token));
        ulong cycles = statuses.Current.Counters.Cycles;
        await _service.Bridges.ResetAsync(new ResetBridgeRequest { Name = "b" }, cancellationToken: token);
        Assert.That(await statuses.MoveNext(token));
        State reset = statuses.Current.State;
        await _service.Bridges.DeleteAsync(new DeleteBridgeRequest { Name = "b" }, cancellationToken: token);
        Assert.That(await statuses.MoveNext(token));
        State last = statuses.Current.State;
        Assert.Multiple(() =>
        {
            Assert.That(cycles, Is.EqualTo(5));
            Assert.That(bridge.Resets, Is.EqualTo(1));
            Assert.That(reset, Is.EqualTo(State.LinkDown));
            Assert.That(last, Is.EqualTo(State.Stopping));
        });
        Assert.That(await statuses.MoveNext(token), Is.False);
    }

    [Test]
    public async Task Watch_ChangeOfState_DoesNotWaitForTheInterval(CancellationToken token)
    {
        FakeBridge bridge = await _service.CreateAsync();
        using AsyncServerStreamingCall<BridgeStatus> call = _service.Bridges.Watch(
            new WatchBridgeRequest { Name = "b", Interval = Duration.FromTimeSpan(TimeSpan.FromHours(1)) }, cancellationToken: token);
        Assert.That(await call.ResponseStream.MoveNext(token));
        bridge.SetState(State.Failed);
        Assert.That(await call.ResponseStream.MoveNext(token));
        Assert.That(call.ResponseStream.Current.State, Is.EqualTo(State.Failed));
    }

    [Test]
    public async Task Dispose_ServiceWithBridgesAndWatchers_EndsThemAllAndRemovesItsSocket(CancellationToken token)
    {
        FakeBridge bridge = await _service.CreateAsync();
        using AsyncServerStreamingCall<BridgeStatus> call = _service.Bridges.Watch(new WatchBridgeRequest { Name = "b" }, cancellationToken: token);
        Assert.That(await call.ResponseStream.MoveNext(token));
        await _service.Server.DisposeAsync();
        Assert.Multiple(() =>
        {
            Assert.That(bridge.Disposed.IsCompleted);
            Assert.That(File.Exists(_service.SocketPath), Is.False);
        });
    }

    [TestCase("a.stim")]
    [TestCase("Long-name_2.b.stim.gz")]
    [TestCase("", null)]
    public async Task StartRecording_GoodName_IsTheBridges(string file, string? expected = "same")
    {
        FakeBridge bridge = await _service.CreateAsync();
        await _service.Bridges.StartRecordingAsync(new StartRecordingRequest { Name = "b", File = file, Reset = true });
        Assert.That(bridge.Recorded, Is.EqualTo((expected is null ? null : file, true)));
    }

    [TestCase("../a.stim")]
    [TestCase("/tmp/a.stim")]
    [TestCase("folder/a.stim")]
    [TestCase("..stim")]
    [TestCase(".stim")]
    [TestCase("a.stim\n")]
    [TestCase("a.stim\0")]
    [TestCase("a.txt")]
    [TestCase("a.stim.gz/")]
    [TestCase("a\\b.stim")]
    public async Task StartRecording_NameThatLeavesTheFolder_IsInvalidArgument(string file)
    {
        FakeBridge bridge = await _service.CreateAsync();
        RpcException error = Assert.ThrowsAsync<RpcException>(async () => await _service.Bridges.StartRecordingAsync(new StartRecordingRequest { Name = "b", File = file }))!;
        Assert.That((error.StatusCode, bridge.Recorded), Is.EqualTo((StatusCode.InvalidArgument, ((string?, bool)?)null)));
        Assert.That(error.Status.Detail, Does.Contain(".stim.gz"));
    }

    [Test]
    public async Task DownloadRecording_OfManyChunks_IsTheFile(CancellationToken token)
    {
        FakeBridge bridge = await _service.CreateAsync();
        bridge.Recording = [.. Enumerable.Range(0, 1_000_001).Select(i => (byte)(i * 7 / 11))];
        using AsyncServerStreamingCall<RecordingChunk> call = _service.Bridges.DownloadRecording(new DownloadRecordingRequest { Name = "b" }, cancellationToken: token);
        List<byte> got = [];
        await foreach (RecordingChunk chunk in call.ResponseStream.ReadAllAsync(token))
        {
            got.AddRange(chunk.Data.Span);
        }

        Assert.That(got, Has.Count.EqualTo(bridge.Recording.Length));
        Assert.That(got.SequenceEqual(bridge.Recording));
    }

    [Test]
    public async Task BecameEmpty_LastBridgeDeleted_IsRaisedOnce(CancellationToken token)
    {
        int raised = 0;
        _service.Server.BecameEmpty += () => Interlocked.Increment(ref raised);
        await _service.CreateAsync("a");
        await _service.CreateAsync("b");
        await _service.Bridges.DeleteAsync(new DeleteBridgeRequest { Name = "a" }, cancellationToken: token);
        int before = raised;
        await _service.Bridges.DeleteAsync(new DeleteBridgeRequest { Name = "b" }, cancellationToken: token);
        Assert.That((before, raised), Is.EqualTo((0, 1)));
    }
}
