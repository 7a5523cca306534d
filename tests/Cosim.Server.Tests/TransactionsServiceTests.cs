// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Pcie;
using Cosim.Server.Internal;
using Cosim.V1;
using Google.Protobuf;
using Grpc.Core;
using NUnit.Framework;
using Direction = Cosim.V1.TlpRecord.Types.Direction;

namespace Cosim.Server.Tests;

[CancelAfter(20_000)]
public sealed class TransactionsServiceTests
{
    private static readonly FunctionAddress s_function = new() { Bridge = "b" };

    private Service _service = null!;
    private FakeBridge _bridge = null!;

    [SetUp]
    public async Task StartAsync()
    {
        _service = await Service.StartAsync();
        _bridge = await _service.CreateAsync();
    }

    [TearDown]
    public async Task StopAsync() => await _service.DisposeAsync();

    [Test]
    public async Task ConfigMemoryAndHostMemory_WriteThenRead_GiveTheBytesBack(CancellationToken token)
    {
        ByteString data = ByteString.CopyFrom(1, 2, 3, 4);
        Transactions.TransactionsClient client = _service.Transactions;
        await client.WriteConfigAsync(new WriteConfigRequest { Function = s_function, Offset = 0x10, Data = data }, cancellationToken: token);
        await client.WriteMemoryAsync(new WriteMemoryRequest { Function = s_function, Offset = 0x20, Data = data }, cancellationToken: token);
        await client.WriteHostMemoryAsync(new WriteHostMemoryRequest { Bridge = "b", Address = 0x3000, Data = data }, cancellationToken: token);
        ReadResponse config = await client.ReadConfigAsync(new ReadConfigRequest { Function = s_function, Offset = 0x12, Length = 2 }, cancellationToken: token);
        ReadResponse memory = await client.ReadMemoryAsync(new ReadMemoryRequest { Function = s_function, Offset = 0x20, Length = 4 }, cancellationToken: token);
        ReadHostMemoryResponse host = await client.ReadHostMemoryAsync(new ReadHostMemoryRequest { Bridge = "b", Address = 0x3001, Length = 3 }, cancellationToken: token);
        Assert.Multiple(() =>
        {
            Assert.That(config.Data, Is.EqualTo(ByteString.CopyFrom(3, 4)));
            Assert.That(memory.Data, Is.EqualTo(data));
            Assert.That(host.Data, Is.EqualTo(ByteString.CopyFrom(2, 3, 4)));
        });
    }

    [Test]
    public async Task ReadMemory_UnsupportedRequest_IsAResultAndNoError(CancellationToken token)
    {
        ReadResponse response = await _service.Transactions.ReadMemoryAsync(new ReadMemoryRequest { Function = s_function, Bar = 1, Length = 2 }, cancellationToken: token);
        Assert.That((response.Status, response.Data), Is.EqualTo((AccessStatus.UnsupportedRequest, ByteString.CopyFrom(255, 255))));
    }

    private static IEnumerable<TestCaseData> BadRequests()
    {
        yield return Case("config of 3 bytes", c => c.ReadConfigAsync(new ReadConfigRequest { Function = s_function, Length = 3 }).ResponseAsync);
        yield return Case("config across a double word", c => c.ReadConfigAsync(new ReadConfigRequest { Function = s_function, Offset = 3, Length = 2 }).ResponseAsync);
        yield return Case("config beyond 4 KiB", c => c.ReadConfigAsync(new ReadConfigRequest { Function = s_function, Offset = 4096, Length = 4 }).ResponseAsync);
        yield return Case("config write of nothing", c => c.WriteConfigAsync(new WriteConfigRequest { Function = s_function }).ResponseAsync);
        yield return Case("BAR 6", c => c.ReadMemoryAsync(new ReadMemoryRequest { Function = s_function, Bar = 6, Length = 4 }).ResponseAsync);
        yield return Case("read of 4097 bytes", c => c.ReadMemoryAsync(new ReadMemoryRequest { Function = s_function, Length = 4097 }).ResponseAsync);
        yield return Case("no function", c => c.ReadMemoryAsync(new ReadMemoryRequest { Length = 4 }).ResponseAsync);
        yield return Case("2 MiB of memory", c => c.ReadHostMemoryAsync(new ReadHostMemoryRequest { Bridge = "b", Length = 2 << 20 }).ResponseAsync);
        yield return Case("no vectors", c => c.ArmVectorsAsync(new ArmVectorsRequest { Function = s_function }).ResponseAsync);
        yield return Case("2049 vectors", c => c.ArmVectorsAsync(new ArmVectorsRequest { Function = s_function, FirstVector = 1, Count = 2048 }).ResponseAsync);
        yield return Case(
            "no such port", c => c.ReadMemoryAsync(new ReadMemoryRequest { Function = new() { Bridge = "b", Port = 7 }, Length = 4 }).ResponseAsync, StatusCode.FailedPrecondition);
        yield return Case(
            "function 2^32-1", c => c.ReadMemoryAsync(new ReadMemoryRequest { Function = new() { Bridge = "b", Function = uint.MaxValue }, Length = 4 }).ResponseAsync, StatusCode.FailedPrecondition);
        yield return Case("beyond memory", c => c.ReadHostMemoryAsync(new ReadHostMemoryRequest { Bridge = "b", Address = 65534, Length = 4 }).ResponseAsync, StatusCode.OutOfRange);
        yield return Case("beyond 2^64", c => c.ReadHostMemoryAsync(new ReadHostMemoryRequest { Bridge = "b", Address = ulong.MaxValue, Length = 4 }).ResponseAsync, StatusCode.OutOfRange);

        static TestCaseData Case(string name, Func<Transactions.TransactionsClient, Task> call, StatusCode expected = StatusCode.InvalidArgument) =>
            new TestCaseData(call, expected).SetArgDisplayNames(name);
    }

    [TestCaseSource(nameof(BadRequests))]
    public void Access_BadRequest_IsRefused(Func<Transactions.TransactionsClient, Task> call, StatusCode expected)
    {
        RpcException error = Assert.ThrowsAsync<RpcException>(() => call(_service.Transactions))!;
        Assert.That(error.StatusCode, Is.EqualTo(expected));
    }

    [Test]
    public async Task WaitInterrupt_RaisedBeforeAndAfter_BothArriveInOrder(CancellationToken token)
    {
        await _service.Transactions.ArmVectorsAsync(new ArmVectorsRequest { Function = s_function, FirstVector = 2, Count = 3 }, cancellationToken: token);
        _bridge.Raise(new RaisedInterrupt(3, 100));
        WaitInterruptRequest request = new() { Function = s_function };
        Interrupt first = await _service.Transactions.WaitInterruptAsync(request, cancellationToken: token);
        using AsyncUnaryCall<Interrupt> waiting = _service.Transactions.WaitInterruptAsync(request, cancellationToken: token);
        _bridge.Raise(new RaisedInterrupt(null, 200));
        Interrupt second = await waiting;
        Assert.Multiple(() =>
        {
            Assert.That(_bridge.Armed, Is.EqualTo((2, 3)));
            Assert.That((first.Vector, first.Cycle), Is.EqualTo((3u, 100ul)));
            Assert.That((second.Intx, second.Cycle), Is.EqualTo((true, 200ul)));
        });
    }

    [Test]
    public void WaitInterrupt_NoneComes_EndsAtTheDeadline()
    {
        RpcException error = Assert.ThrowsAsync<RpcException>(async () => await _service.Transactions.WaitInterruptAsync(
            new WaitInterruptRequest { Function = s_function }, deadline: DateTime.UtcNow.AddMilliseconds(100)))!;
        Assert.That(error.StatusCode, Is.EqualTo(StatusCode.DeadlineExceeded));
    }

    [Test]
    public async Task WaitInterrupt_BridgeEnds_IsAborted(CancellationToken token)
    {
        using AsyncUnaryCall<Interrupt> waiting = _service.Transactions.WaitInterruptAsync(new WaitInterruptRequest { Function = s_function }, cancellationToken: token);

        // The same connection serves calls in parallel: this answer shows that the service runs, not that it waits; either way it ends.
        await _service.Bridges.DeleteAsync(new DeleteBridgeRequest { Name = "b" }, cancellationToken: token);
        RpcException error = Assert.ThrowsAsync<RpcException>(async () => await waiting)!;
        Assert.That(error.StatusCode, Is.EqualTo(StatusCode.Aborted).Or.EqualTo(StatusCode.NotFound));
    }

    [Test]
    public async Task WatchTlps_Filtered_BringsWhatPassesWithItsFields(CancellationToken token)
    {
        WatchTlpsRequest request = new()
        {
            Bridge = "b",
            Directions = { Direction.ToHost },
            FirstAddress = 0x1004,
            LastAddress = 0x1fff,
            Functions = { 1 },
        };
        using AsyncServerStreamingCall<TlpRecord> call = _service.Transactions.WatchTlps(request, cancellationToken: token);
        await call.ResponseHeadersAsync.WaitAsync(token);
        Assert.That(_bridge.Observers, Is.EqualTo(1));
        _bridge.Show(TlpDirection.ToFpga, MemoryWrite(1, 0x1000, 2), 1);
        _bridge.Show(TlpDirection.FromFpga, MemoryWrite(0, 0x1000, 2), 2);
        _bridge.Show(TlpDirection.FromFpga, MemoryWrite(1, 0x2000, 2), 3);
        _bridge.Show(TlpDirection.FromFpga, MemoryWrite(1, 0x0ff8, 2), 4);
        _bridge.Show(TlpDirection.FromFpga, MemoryWrite(1, 0x1000, 2), 5);
        Assert.That(await call.ResponseStream.MoveNext(token));
        TlpRecord record = call.ResponseStream.Current;
        Assert.Multiple(() =>
        {
            Assert.That(record.Cycle, Is.EqualTo(5));
            Assert.That(record.Type, Is.EqualTo(TlpRecord.Types.Type.Mwr));
            Assert.That(record.Address, Is.EqualTo(0x1000));
            Assert.That(record.LengthDw, Is.EqualTo(2));
            Assert.That(record.ByteEnables, Is.EqualTo(0xff));
            Assert.That(record.RequesterId, Is.EqualTo(0x0101));
            Assert.That(record.Payload, Has.Length.EqualTo(8));
            Assert.That(record.Header, Has.Length.EqualTo(Tlp.HeaderBytes));
        });
    }

    [Test]
    public async Task WatchTlps_WatcherLeaves_NobodyObservesAnyMore(CancellationToken token)
    {
        AsyncServerStreamingCall<TlpRecord> call = _service.Transactions.WatchTlps(new WatchTlpsRequest { Bridge = "b" }, cancellationToken: token);
        await call.ResponseHeadersAsync.WaitAsync(token);
        call.Dispose();
        while (_bridge.Observers > 0)
        {
            await Task.Delay(1, token);
        }
    }

    [Test]
    public async Task WatchTlps_OtherPortOnly_ObservesNothing(CancellationToken token)
    {
        using AsyncServerStreamingCall<TlpRecord> call = _service.Transactions.WatchTlps(new WatchTlpsRequest { Bridge = "b", Ports = { 1 } }, cancellationToken: token);
        await call.ResponseHeadersAsync.WaitAsync(token);
        Assert.That(_bridge.Observers, Is.Zero);
    }

    [Test]
    public async Task TlpWatch_NobodyReads_KeepsTheOldestAndTellsHowManyWereLost(CancellationToken token)
    {
        TlpWatch watch = new(new WatchTlpsRequest());
        ITlpObserver observer = watch.ForPort(0);
        byte[] tlp = MemoryWrite(0, 0, 1);
        for (int i = 0; i < TlpWatch.Capacity + 10; i++)
        {
            observer.Observed(TlpDirection.FromFpga, tlp, (ulong)i);
        }

        await using IAsyncEnumerator<TlpRecord> records = watch.ReadAllAsync(token).GetAsyncEnumerator(token);
        for (int i = 0; i < TlpWatch.Capacity; i++)
        {
            Assert.That(await records.MoveNextAsync());
            Assert.That((records.Current.Cycle, records.Current.LostBefore), Is.EqualTo(((ulong)i, 0ul)));
        }

        observer.Observed(TlpDirection.FromFpga, tlp, 99_999);
        Assert.That(await records.MoveNextAsync());
        Assert.That((records.Current.Cycle, records.Current.LostBefore), Is.EqualTo((99_999ul, 10ul)));
    }

    [Test]
    public async Task WatchTlps_MalformedPacket_IsShownAsOther(CancellationToken token)
    {
        using AsyncServerStreamingCall<TlpRecord> call = _service.Transactions.WatchTlps(new WatchTlpsRequest { Bridge = "b" }, cancellationToken: token);
        await call.ResponseHeadersAsync.WaitAsync(token);
        _bridge.Show(TlpDirection.FromFpga, [0xff, 0xff, 0xff], 9);
        Assert.That(await call.ResponseStream.MoveNext(token));
        Assert.That((call.ResponseStream.Current.Type, call.ResponseStream.Current.Header.Length), Is.EqualTo((TlpRecord.Types.Type.Other, 3)));
    }

    // PCI Express Base Specification, 2.2.7.1: a memory write with a header of three double words.
    private static byte[] MemoryWrite(int function, uint address, int dwords)
    {
        byte[] packet = new byte[Tlp.HeaderBytes + (dwords * 4)];
        BinaryPrimitives.WriteUInt32LittleEndian(packet, 0x4000_0000u | (uint)dwords);
        BinaryPrimitives.WriteUInt32LittleEndian(packet.AsSpan(4), ((uint)(0x0100 + function) << 16) | (dwords == 1 ? 0x0fu : 0xffu));
        BinaryPrimitives.WriteUInt32LittleEndian(packet.AsSpan(8), address);
        return packet;
    }
}
