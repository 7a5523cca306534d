// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.VfioUser.Tests;

/// <summary>DMA_READ and DMA_WRITE: a device reaches memory that the client does not share.</summary>
[TestFixture(false, TestName = "MessageDmaTests(one socket)")]
[TestFixture(true, TestName = "MessageDmaTests(twin socket)")]
public sealed class MessageDmaTests(bool twin)
{
    private const int Page = 4096;
    private const ulong Base = 0x10_0000;

    private readonly ClientMemory _memory = new(Base, 4 * Page);
    private ServerHost _host = null!;
    private VfioUserClient _client = null!;

    [SetUp]
    public void Connect() => Start(new VfioUserServerOptions { DmaTimeoutMilliseconds = 60_000 });

    [TearDown]
    public void Leave()
    {
        _client.Dispose();
        _host.Dispose();
    }

    [Test]
    [Clause("vfio-user Twin-1")]
    [Clause("vfio-user Twin-2")]
    [Clause("vfio-user Twin-6")]
    public void Negotiate_Twin_HasASocketOfItsOwn()
    {
        Assert.That(_client.HasTwinSocket, Is.EqualTo(twin));
        Assert.That(_host.OnLoop(() => _host.Server.ServesDmaWhileWaiting), Is.EqualTo(twin));
    }

    [TestCase(0, 1)]
    [TestCase(5, 700)]
    [TestCase(1, (4 * Page) - 1)]
    [Clause("vfio-user DMA_READ-1")]
    [Clause("vfio-user Twin-3")]
    public void Read_OfAnyRange_BringsTheClientsBytes(int offset, int length)
    {
        new Random(length).NextBytes(_memory.Bytes);

        Assert.That(BeginRead(Base + (ulong)offset, length, 7), Is.EqualTo(DmaResult.Ok));
        ServeUntil(1);

        (ulong token, DmaResult result, byte[] data) = _host.Device.NextDma();
        Assert.That((token, result), Is.EqualTo((7ul, DmaResult.Ok)));
        Assert.That(data.AsSpan().SequenceEqual(_memory.Bytes.AsSpan(offset, length)), Is.True);
    }

    [Test]
    [Clause("vfio-user DMA_WRITE-1")]
    [Clause("vfio-user Twin-3")]
    public void Write_OfAnyRange_ReachesTheClientsMemoryAndNothingElse()
    {
        byte[] data = [.. Enumerable.Range(1, 999).Select(value => (byte)value)];

        Assert.That(BeginWrite(Base + 3, data, 8), Is.EqualTo(DmaResult.Ok));
        ServeUntil(1);

        (ulong token, DmaResult result, _) = _host.Device.NextDma();
        Assert.That((token, result), Is.EqualTo((8ul, DmaResult.Ok)));
        Assert.That(_memory.Bytes.AsSpan(3, 999).SequenceEqual(data), Is.True);
        Assert.That(_memory.Bytes.AsSpan(1002).IndexOfAnyExcept((byte)0), Is.Negative);
        Assert.That(_memory.Bytes.AsSpan(0, 3).IndexOfAnyExcept((byte)0), Is.Negative);
    }

    [Test]
    [Clause("vfio-user DMA_WRITE-4")]
    public void Access_ManyAtOnce_AreCarriedOutInOrder()
    {
        for (ulong round = 0; round < 200; round++)
        {
            ulong value = round;
            Assert.That(_host.OnLoop(() => _host.Server.BeginDmaWrite(Base, BitConverter.GetBytes(value), value * 2)), Is.EqualTo(DmaResult.Ok));
            Assert.That(BeginRead(Base, 8, (value * 2) + 1), Is.EqualTo(DmaResult.Ok));
        }

        ServeUntil(400);

        for (ulong round = 0; round < 200; round++)
        {
            Assert.That(_host.Device.NextDma().Token, Is.EqualTo(round * 2));
            (ulong token, _, byte[] data) = _host.Device.NextDma();
            Assert.That((token, BitConverter.ToUInt64(data)), Is.EqualTo(((round * 2) + 1, round)));
        }
    }

    [TestCase(100)]
    [TestCase(1)]
    [Clause("vfio-user Sizes-5")]
    [Clause("vfio-user DMA_READ-3")]
    [Clause("vfio-user VERSION-9")]
    public void Access_BeyondTheClientsMaxDataTransfer_IsCut(int limit)
    {
        Leave();
        Start(new VfioUserServerOptions(), limit);
        new Random(1).NextBytes(_memory.Bytes);
        byte[] data = [.. Enumerable.Range(7, 250).Select(value => (byte)value)];

        Assert.That(BeginWrite(Base + 9, data, 1), Is.EqualTo(DmaResult.Ok));
        Assert.That(BeginRead(Base + 8, 252, 2), Is.EqualTo(DmaResult.Ok));
        ServeUntil((250 + limit - 1) / limit + ((252 + limit - 1) / limit));

        Assert.That(_host.Device.NextDma().Token, Is.EqualTo(1));
        byte[] read = _host.Device.NextDma().Data;
        Assert.That(_memory.Bytes.AsSpan(9, 250).SequenceEqual(data), Is.True);
        Assert.That(read.AsSpan().SequenceEqual(_memory.Bytes.AsSpan(8, 252)), Is.True);
        Assert.That(_memory.Largest, Is.LessThanOrEqualTo(limit));
    }

    [Test]
    [Clause("vfio-user Concurrency-4")]
    [Clause("vfio-user Concurrency-5")]
    [Clause("vfio-user DMA_READ-8")]
    public void Access_WhileTheClientWaitsForAnAnswer_IsServed()
    {
        _memory.Bytes[5] = 0x5A;
        _host.Device.HeldOffset = 0;
        Task<byte[]> reading = Task.Run(() =>
        {
            byte[] read = new byte[1];
            _client.Read(0, 0, read);
            return read;
        });
        RequestToken token = _host.Device.NextHeld();

        Assert.That(BeginRead(Base + 5, 1, 3), Is.EqualTo(DmaResult.Ok));
        (_, DmaResult result, byte[] data) = _host.Device.NextDma();
        Assert.That((result, data[0]), Is.EqualTo((DmaResult.Ok, (byte)0x5A)));
        _host.OnLoop(() => _host.Server.CompleteRead(token, data));

        Assert.That(reading.Wait(ServerHost.Deadline), Is.True);
        Assert.That(reading.Result[0], Is.EqualTo(0x5A));
    }

    [Test]
    [Clause("vfio-user DMA_READ-2")]
    public void Access_OutsideTheMap_IsRefusedWithoutAMessage()
    {
        _client.Map(-1, 0, Base + (64 * Page), Page, DmaAccess.Read);

        Assert.That(BeginRead(Base - 1, 2, 1), Is.EqualTo(DmaResult.Unmapped));
        Assert.That(BeginRead(Base + (4 * Page) - 1, 2, 1), Is.EqualTo(DmaResult.Unmapped));
        Assert.That(BeginWrite(Base + (64 * Page), [1], 1), Is.EqualTo(DmaResult.Denied));
        Assert.That(_client.Serve(0), Is.False);
    }

    [TestCase(Errno.EFAULT, DmaResult.Faulted)]
    [TestCase(Errno.ENODEV, DmaResult.Unmapped)]
    [TestCase(Errno.EACCES, DmaResult.Denied)]
    [Clause("vfio-user DMA_READ-5")]
    public void Access_RefusedByTheClient_EndsWithWhatItSaid(Errno error, DmaResult expected)
    {
        _memory.Error = error;

        Assert.That(BeginRead(Base, 4, 1), Is.EqualTo(DmaResult.Ok));
        Assert.That(BeginWrite(Base, [1, 2], 2), Is.EqualTo(DmaResult.Ok));
        ServeUntil(2);

        Assert.That(_host.Device.NextDma().Result, Is.EqualTo(expected));
        Assert.That(_host.Device.NextDma().Result, Is.EqualTo(expected));
    }

    [Test]
    [Clause("vfio-user DMA_UNMAP-5")]
    [Clause("vfio-user Concurrency-5")]
    public void Unmap_OfARangeThatIsAskedFor_EndsTheAccessAndIsAnswered()
    {
        Assert.That(BeginRead(Base + 4, 4, 1), Is.EqualTo(DmaResult.Ok));

        // The client serves nothing before it has its answer.
        byte[] unmap = Bytes.Message(900, VfioUserCommand.DmaUnmap, Bytes.Unmap(24, 0, Base, 4 * Page));
        _client.SendRaw(unmap);

        Assert.That(_host.Device.NextDma().Result, Is.EqualTo(DmaResult.Unmapped));
        Assert.That(_client.Receive().MessageId, Is.EqualTo(900), "the late answer to DMA_READ was no error");
        Assert.That(_client.GetRegion(0).Size, Is.EqualTo(4096));
    }

    [Test]
    [Clause("vfio-user RESET-3")]
    [Clause("vfio-user Concurrency-5")]
    public void Reset_WhileTheClientIsAsked_EndsTheAccessAndRefusesMoreUntilItIsDone()
    {
        _host.Device.HoldResets = true;
        Assert.That(BeginRead(Base, 4, 1), Is.EqualTo(DmaResult.Ok));

        _client.SendRaw(Bytes.Message(901, VfioUserCommand.DeviceReset, []));

        Assert.That(_host.Device.NextDma().Result, Is.EqualTo(DmaResult.Faulted));
        RequestToken token = _host.Device.NextHeld();
        Assert.That(BeginRead(Base, 4, 2), Is.EqualTo(DmaResult.Faulted));
        _host.OnLoop(() => _host.Server.CompleteReset(token));
        Assert.That(_client.Receive().MessageId, Is.EqualTo(901));
        Assert.That(BeginRead(Base, 4, 3), Is.EqualTo(DmaResult.Ok));
        ServeUntil(1);
        Assert.That(_host.Device.NextDma().Result, Is.EqualTo(DmaResult.Ok));
    }

    [Test]
    [Clause("vfio-user Disconnect-1")]
    public void Client_LeavesWithoutAnswering_EndsEveryAccess()
    {
        for (ulong token = 1; token <= 3; token++)
        {
            Assert.That(BeginRead(Base, 4, token), Is.EqualTo(DmaResult.Ok));
        }

        _client.Dispose();

        for (ulong token = 1; token <= 3; token++)
        {
            (ulong ended, DmaResult result, _) = _host.Device.NextDma();
            Assert.That((ended, result), Is.EqualTo((token, DmaResult.Faulted)));
        }

        Assert.That(_host.Device.Next(), Does.StartWith("map"));
        Assert.That(_host.Device.Next(), Is.EqualTo("disconnected"));
        Assert.That(BeginRead(Base, 4, 9), Is.EqualTo(DmaResult.Unmapped));
    }

    [Test]
    [Clause("vfio-user DMA_READ-7")]
    public void Client_DoesNotAnswer_IsAskedNoMoreUntilItDoes()
    {
        Leave();
        Start(new VfioUserServerOptions { DmaTimeoutMilliseconds = 50 });
        Assert.That(BeginRead(Base, 4, 1), Is.EqualTo(DmaResult.Ok));

        Assert.That(_host.Device.NextDma().Result, Is.EqualTo(DmaResult.Faulted));
        Assert.That(BeginRead(Base, 4, 2), Is.EqualTo(DmaResult.Faulted));

        ServeUntil(1);
        Assert.That(
            SpinWait.SpinUntil(() => BeginRead(Base, 4, 3) == DmaResult.Ok, ServerHost.Deadline),
            Is.True,
            "once it has answered it is asked again");
        ServeUntil(1);
        Assert.That(_host.Device.NextDma().Token, Is.EqualTo(3));
    }

    [Test]
    [Clause("vfio-user DMA_WRITE-5")]
    public void Client_NeverTakesItsMessages_CostsBoundedMemory()
    {
        byte[] data = new byte[Page];
        List<DmaResult> results = [];
        for (ulong token = 0; token < 6000 && !results.Contains(DmaResult.Unmapped); token++)
        {
            results.Add(BeginWrite(Base, data, token));
        }

        // Refused for the messages under way, or cut off for the bytes: 16 MiB are 4094 messages.
        Assert.That(results.Count(result => result == DmaResult.Ok), Is.InRange(256, 4096));
        Assert.That(results[^1], Is.Not.EqualTo(DmaResult.Ok));
    }

    [Test]
    [Clause("vfio-user DMA_READ-6")]
    public void Access_OfAMappedRange_IsServedByMessagesToo()
    {
        // The specification: these operations work even where memory is shared.
        using SharedMemory shared = new(Page);
        _client.Map(shared, 0, 0x1000, Page);
        _memory.Alias = (0x1000, shared);

        Assert.That(BeginWrite(0x1000, [1, 2, 3], 1), Is.EqualTo(DmaResult.Ok));
        ServeUntil(1);

        Assert.That(_host.Device.NextDma().Result, Is.EqualTo(DmaResult.Ok));
        Assert.That(shared.Span(0, 3).ToArray(), Is.EqualTo(new byte[] { 1, 2, 3 }));
    }

    private void Start(VfioUserServerOptions options, int limit = 1024 * 1024)
    {
        _memory.Reset();
        _host = new ServerHost(options);
        _client = VfioUserClient.Connect(
            _host.SocketPath,
            new VfioUserClientOptions { Memory = _memory, TwinSocket = twin, MaxDataTransferSize = limit, TimeoutMilliseconds = ServerHost.Deadline });
        Assert.That(_host.Device.Next(), Is.EqualTo("connected"));
        _client.Map(-1, 0, Base, 4 * Page);
    }

    private DmaResult BeginRead(ulong address, int length, ulong token) => _host.OnLoop(() => _host.Server.BeginDmaRead(address, length, token));

    private DmaResult BeginWrite(ulong address, byte[] data, ulong token) => _host.OnLoop(() => _host.Server.BeginDmaWrite(address, data, token));

    private void ServeUntil(int messages)
    {
        for (int count = 0; count < messages; count++)
        {
            Assert.That(_client.Serve(ServerHost.Deadline), Is.True, "The server asks for nothing.");
        }
    }

    /// <summary>A client's memory in an array, with one range that is shared as well.</summary>
    private sealed class ClientMemory(ulong start, int length) : IVfioUserClientMemory
    {
        internal byte[] Bytes { get; } = new byte[length];

        internal Errno Error { get; set; }

        internal int Largest { get; private set; }

        internal (ulong Start, SharedMemory Memory)? Alias { get; set; }

        public Errno Read(ulong address, Span<byte> destination)
        {
            Largest = Math.Max(Largest, destination.Length);
            Slice(address, destination.Length).CopyTo(destination);
            return Error;
        }

        public Errno Write(ulong address, ReadOnlySpan<byte> source)
        {
            Largest = Math.Max(Largest, source.Length);
            source.CopyTo(Slice(address, source.Length));
            return Error;
        }

        internal void Reset()
        {
            Bytes.AsSpan().Clear();
            Error = Errno.None;
            Largest = 0;
            Alias = null;
        }

        private Span<byte> Slice(ulong address, int count) => Alias is { } alias && address < start
            ? alias.Memory.Span((long)(address - alias.Start), count)
            : Bytes.AsSpan((int)(address - start), count);
    }
}
