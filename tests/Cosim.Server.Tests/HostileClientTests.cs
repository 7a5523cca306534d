// SPDX-License-Identifier: Apache-2.0
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using Cosim.Pcie;
using Cosim.Server.Internal;
using Cosim.V1;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using NUnit.Framework;

namespace Cosim.Server.Tests;

/// <summary>Callers who ask for too much, say it wrongly, do not listen or go away: they get an error, the others go on.</summary>
[CancelAfter(30_000)]
public sealed class HostileClientTests
{
    private const int MostBridges = 8;
    private const int MostErrorCharacters = 8192;

    private Service _service = null!;

    [SetUp]
    public async Task StartAsync() => _service = await Service.StartAsync(MostBridges);

    [TearDown]
    public async Task StopAsync()
    {
        // Whatever the test did, the service still answers.
        ListBridgesResponse all = await _service.Bridges.ListAsync(new ListBridgesRequest());
        Assert.That(all.Bridges, Has.Count.LessThanOrEqualTo(MostBridges));
        await _service.DisposeAsync();
    }

    [Test]
    public async Task Create_AThousandBridges_AsManyAsMayBeAreMadeAndTheOthersSayWhy(CancellationToken token)
    {
        Scenario scenario = _service.Scenario();
        StatusCode[] codes = await Task.WhenAll(Enumerable.Range(0, 1000).Select(async i =>
        {
            Scenario one = scenario.Clone();
            one.Name = $"b{i}";
            return await CodeOf(_service.Bridges.CreateAsync(one, cancellationToken: token));
        }));
        Assert.That(codes.Count(c => c == StatusCode.OK), Is.EqualTo(MostBridges));
        Assert.That(codes.Count(c => c == StatusCode.ResourceExhausted), Is.EqualTo(1000 - MostBridges));
        Assert.That(_service.Factory.Bridges, Has.Count.EqualTo(MostBridges), "bridges that were built");
        scenario.Name = "late";
        RpcException error = Assert.ThrowsAsync<RpcException>(async () => await _service.Bridges.CreateAsync(scenario, cancellationToken: token))!;
        Assert.That(error.Status.Detail, Does.Contain($"{MostBridges} bridges").And.Contain("--most-bridges"));
        await _service.Bridges.DeleteAsync(new DeleteBridgeRequest { Name = _service.Factory.Bridges.Keys.First() }, cancellationToken: token);
        await _service.Bridges.CreateAsync(scenario, cancellationToken: token);
    }

    [Test]
    public async Task Create_OneNameManyTimesAtOnce_OneIsMade(CancellationToken token)
    {
        Scenario scenario = _service.Scenario();
        StatusCode[] codes = await Task.WhenAll(Enumerable.Range(0, 30).Select(_ => CodeOf(_service.Bridges.CreateAsync(scenario, cancellationToken: token))));
        Assert.That(codes.Count(c => c == StatusCode.OK), Is.EqualTo(1));
        Assert.That(codes.Count(c => c == StatusCode.AlreadyExists), Is.EqualTo(29));
    }

    [Test]
    public async Task Delete_ManyTimesAtOnce_EndsOnce(CancellationToken token)
    {
        FakeBridge bridge = await _service.CreateAsync();
        StatusCode[] codes = await Task.WhenAll(
            Enumerable.Range(0, 30).Select(_ => CodeOf(_service.Bridges.DeleteAsync(new DeleteBridgeRequest { Name = "b" }, cancellationToken: token))));
        Assert.That(codes, Is.All.EqualTo(StatusCode.OK).Or.EqualTo(StatusCode.NotFound));
        Assert.That(codes, Does.Contain(StatusCode.OK));
        Assert.That(bridge.Disposed.IsCompleted);
    }

    [Test]
    public async Task Delete_WhileItIsBuilt_IsNotFoundAndItIsThereAfterwards(CancellationToken token)
    {
        _service.Factory.Gate = new TaskCompletionSource();
        AsyncUnaryCall<BridgeStatus> create = _service.Bridges.CreateAsync(_service.Scenario(), cancellationToken: token);
        await _service.Factory.Entered.Task.WaitAsync(token);
        Assert.That(await CodeOf(_service.Bridges.DeleteAsync(new DeleteBridgeRequest { Name = "b" }, cancellationToken: token)), Is.EqualTo(StatusCode.NotFound));
        Assert.That(await CodeOf(_service.Bridges.CreateAsync(_service.Scenario(), cancellationToken: token)), Is.EqualTo(StatusCode.AlreadyExists));
        _service.Factory.Gate.SetResult();
        await create;
        Assert.That(await CodeOf(_service.Bridges.DeleteAsync(new DeleteBridgeRequest { Name = "b" }, cancellationToken: token)), Is.EqualTo(StatusCode.OK));
    }

    [Test]
    public async Task Create_CallerGoesWhileItIsBuilt_TheBridgeIsEndedAndTheNameFree(CancellationToken token)
    {
        _service.Factory.Gate = new TaskCompletionSource();
        _service.Factory.IgnoresCancellation = true;
        using CancellationTokenSource caller = new();
        AsyncUnaryCall<BridgeStatus> create = _service.Bridges.CreateAsync(_service.Scenario(), cancellationToken: caller.Token);
        await _service.Factory.Entered.Task.WaitAsync(token);
        await caller.CancelAsync();
        Assert.ThrowsAsync<RpcException>(async () => await create);

        // The server hears of it in its own time, but before it could give the name away.
        FakeBridge? second = null;
        _service.Factory.Gate.SetResult();
        while (second is null)
        {
            token.ThrowIfCancellationRequested();
            second = await CodeOf(_service.Bridges.CreateAsync(_service.Scenario(), cancellationToken: token)) == StatusCode.OK ? _service.Factory.Bridges["b"] : null;
            if (second is null && (await _service.Bridges.ListAsync(new ListBridgesRequest(), cancellationToken: token)).Bridges.Count != 0)
            {
                // Built before the server had heard: then it is the caller's to delete, as after any answer that was lost. Or it is going already.
                _ = await CodeOf(_service.Bridges.DeleteAsync(new DeleteBridgeRequest { Name = "b" }, cancellationToken: token));
            }
        }

        Assert.That(second.Disposed.IsCompleted, Is.False);
    }

    [Test]
    public async Task Delete_EndOfTheBridgeFails_TheNameIsFree(CancellationToken token)
    {
        FakeBridge bridge = await _service.CreateAsync();
        bridge.EndFailure = new IOException("the folder is busy");
        Assert.That(await CodeOf(_service.Bridges.DeleteAsync(new DeleteBridgeRequest { Name = "b" }, cancellationToken: token)), Is.Not.EqualTo(StatusCode.OK));
        await _service.CreateAsync();
    }

    [Test]
    public async Task List_ABridgeEndsMeanwhile_TellsOfTheOthers(CancellationToken token)
    {
        FakeBridge bridge = await _service.CreateAsync();
        await _service.CreateAsync("other");
        bridge.StatusFailure = new ObjectDisposedException("bridge b");
        ListBridgesResponse all = await _service.Bridges.ListAsync(new ListBridgesRequest(), cancellationToken: token);
        Assert.That(all.Bridges.Select(b => b.Name), Is.EqualTo(new[] { "other" }));
    }

    private static IEnumerable<TestCaseData> Excessive()
    {
        yield return Case("a name of 1 MiB", c => c.Bridges.GetAsync(new GetBridgeRequest { Name = new string('x', 1 << 20) }).ResponseAsync, StatusCode.NotFound);
        yield return Case("a bridge's name of 1 MiB", c => Create(c, s => s.Name = new string('x', 1 << 20)), StatusCode.InvalidArgument);
        yield return Case("a name with a line end", c => Create(c, s => s.Name = "b\n"), StatusCode.InvalidArgument);
        yield return Case("a million devices", c => Create(c, s => s.Devices.Add(Enumerable.Repeat(new DeviceSpec(), 1_000_000))), StatusCode.InvalidArgument);
        yield return Case("an image's path of 1 MiB", c => Create(c, s => s.Devices[0].Block.Image = "/" + new string('x', 1 << 20)), StatusCode.InvalidArgument);
        yield return Case(
            "a hundred thousand files",
            c => Create(c, s => s.Host1 = new HostSpec { Qemu = new QemuHost { Files = { Enumerable.Range(0, 100_000).Select(i => $"/no/{i}") } } }),
            StatusCode.InvalidArgument);
        yield return Case(
            "a recording's name of 1 MiB", c => c.Bridges.StartRecordingAsync(new StartRecordingRequest { Name = "b", File = new string('x', 1 << 20) }).ResponseAsync, StatusCode.InvalidArgument);
        yield return Case(
            "a message of 5 MiB",
            c => c.Transactions.WriteHostMemoryAsync(new WriteHostMemoryRequest { Bridge = "b", Data = ByteString.CopyFrom(new byte[5 << 20]) }).ResponseAsync,
            StatusCode.ResourceExhausted);
        yield return Case("an interval of all time", c => Watch(c, new Duration { Seconds = long.MaxValue }), StatusCode.InvalidArgument);
        yield return Case("an interval below nothing", c => Watch(c, new Duration { Seconds = long.MinValue, Nanos = -1 }), StatusCode.InvalidArgument);
        yield return Case("an interval of 2^31 ns", c => Watch(c, new Duration { Seconds = 1, Nanos = int.MaxValue }), StatusCode.InvalidArgument);

        static Task Create(Service service, Action<Scenario> spoil)
        {
            Scenario scenario = service.Scenario("x");
            spoil(scenario);
            return service.Bridges.CreateAsync(scenario).ResponseAsync;
        }

        static Task Watch(Service service, Duration interval) =>
            service.Bridges.Watch(new WatchBridgeRequest { Name = "b", Interval = interval }).ResponseStream.MoveNext();

        // Service is not public, and a test's parameters have to be.
        static TestCaseData Case(string name, Func<Service, Task> call, StatusCode expected) =>
            new TestCaseData((Func<object, Task>)(service => call((Service)service)), expected).SetArgDisplayNames(name);
    }

    [TestCaseSource(nameof(Excessive))]
    public async Task Call_Excessive_IsRefusedInAShortSentence(Func<object, Task> call, StatusCode expected)
    {
        await _service.CreateAsync();
        RpcException error = Assert.ThrowsAsync<RpcException>(() => call(_service))!;
        Assert.That(error.StatusCode, Is.EqualTo(expected));
        Assert.That(error.Status.Detail, Has.Length.InRange(1, MostErrorCharacters));
    }

    [Test]
    public async Task Frames_OfRandomBytesOrCutShort_EndTheCallAlone([Values(1, 2)] int seed, CancellationToken token)
    {
        Random random = new(seed);
        using HttpClient client = new(new SocketsHttpHandler { ConnectCallback = ConnectAsync });
        for (int i = 0; i < 40; i++)
        {
            byte[] frame = new byte[random.Next(200)];
            random.NextBytes(frame);
            if (frame.Length >= 5 && random.Next(2) == 0)
            {
                // Uncompressed, and longer than what follows, up to 4 GiB.
                frame[0] = 0;
                frame[1] = (byte)random.Next(3);
            }

            using HttpRequestMessage request = new(HttpMethod.Post, $"http://localhost/cosim.v1.Bridges/{(random.Next(2) == 0 ? "Get" : "Create")}")
            {
                Version = HttpVersion.Version20,
                VersionPolicy = HttpVersionPolicy.RequestVersionExact,
                Content = new ByteArrayContent(frame),
            };
            request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/grpc");
            request.Headers.TE.Add(new TransferCodingWithQualityHeaderValue("trailers"));
            using HttpResponseMessage response = await client.SendAsync(request, token);
            _ = await response.Content.ReadAsByteArrayAsync(token);
            HttpResponseHeaders where = response.TrailingHeaders.Contains("grpc-status") ? response.TrailingHeaders : response.Headers;
            Assert.That(where.GetValues("grpc-status").Single(), Is.Not.EqualTo("0"));
        }
    }

    [Test]
    public async Task Watch_MoreStreamsThanMayBe_IsResourceExhaustedUntilOneEnds(CancellationToken token)
    {
        FakeBridge bridge = await _service.CreateAsync();
        List<AsyncServerStreamingCall<TlpRecord>> calls = [];
        for (int i = 0; i < BridgeTable.MostWatchers; i++)
        {
            calls.Add(_service.Transactions.WatchTlps(new WatchTlpsRequest { Bridge = "b" }, cancellationToken: token));
            await calls[^1].ResponseHeadersAsync.WaitAsync(token);
        }

        Assert.That(bridge.Observers, Is.EqualTo(BridgeTable.MostWatchers));
        RpcException error = Assert.ThrowsAsync<RpcException>(
            async () => await _service.Bridges.Watch(new WatchBridgeRequest { Name = "b" }, cancellationToken: token).ResponseStream.MoveNext(token))!;
        Assert.That(error.StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));

        // None of them reads: the bridge goes on, and each stream keeps what it may.
        byte[] tlp = new byte[Tlp.HeaderBytes];
        for (int i = 0; i < 2 * TlpWatch.Capacity; i++)
        {
            bridge.Show(TlpDirection.FromFpga, tlp, (ulong)i);
        }

        calls.ForEach(call => call.Dispose());
        StatusCode code = StatusCode.ResourceExhausted;
        while (code == StatusCode.ResourceExhausted)
        {
            token.ThrowIfCancellationRequested();
            using AsyncServerStreamingCall<BridgeStatus> again = _service.Bridges.Watch(new WatchBridgeRequest { Name = "b" }, cancellationToken: token);
            code = await CodeOf(again.ResponseStream.MoveNext(token));
        }

        Assert.That(code, Is.EqualTo(StatusCode.OK));
    }

    [Test]
    public void TlpWatch_NobodyReads_CostsTheBridgeNoMemory()
    {
        ITlpObserver observer = new TlpWatch(new WatchTlpsRequest()).ForPort(0);
        byte[] tlp = new byte[Tlp.HeaderBytes];
        for (int i = 0; i < TlpWatch.Capacity + 10; i++)
        {
            observer.Observed(TlpDirection.FromFpga, tlp, (ulong)i);
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100_000; i++)
        {
            observer.Observed(TlpDirection.FromFpga, tlp, (ulong)i);
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancellation)
    {
        Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(_service.SocketPath), cancellation);
        return new NetworkStream(socket, ownsSocket: true);
    }

    private static async Task<StatusCode> CodeOf<T>(AsyncUnaryCall<T> call) => await CodeOf(call.ResponseAsync);

    private static async Task<StatusCode> CodeOf(Task call)
    {
        try
        {
            await call;
            return StatusCode.OK;
        }
        catch (RpcException e)
        {
            return e.StatusCode;
        }
    }
}
