// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using NUnit.Framework;

namespace Cosim.VfioUser.Tests;

/// <summary>Region accesses and resets: their answers, their order, and how a stream may be cut.</summary>
public sealed class RequestTests
{
    [Test]
    [Clause("vfio-user GET_INFO-1")]
    [Clause("vfio-user GET_INFO-2")]
    [Clause("vfio-user GET_INFO-3")]
    [Clause("vfio-user GET_INFO-4")]
    public void GetInfo_Valid_NamesPciWithReset()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();

        VfioUserReply reply = client.Request(VfioUserCommand.DeviceGetInfo, Bytes.U32(16, 0, 0, 0));

        Assert.That(reply.Payload, Is.EqualTo(Bytes.U32(16, 3, 9, 5)));
    }

    [Test]
    [Clause("vfio-user Sizes-2")]
    [Clause("vfio-user GET_REGION_INFO-1")]
    [Clause("vfio-user GET_REGION_INFO-2")]
    [Clause("vfio-user GET_REGION_INFO-7")]
    public void GetRegionInfo_RoomForCapabilities_HasNone()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();

        VfioUserReply reply = client.Request(VfioUserCommand.DeviceGetRegionInfo, [.. Bytes.U32(128, 0, 7, 0), .. Bytes.U64(0, 0)]);

        // argsz 32, flags read and write without CAPS, index, cap_offset 0, size, offset 0
        Assert.That(reply.Payload, Is.EqualTo((byte[])[.. Bytes.U32(32, 3, 7, 0), .. Bytes.U64(256, 0)]));
    }

    [Test]
    [Clause("vfio-user GET_IRQ_INFO-1")]
    [Clause("vfio-user GET_IRQ_INFO-2")]
    [Clause("vfio-user GET_IRQ_INFO-4")]
    public void GetIrqInfo_Intx_IsAutoMasked()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();

        Assert.That(client.Request(VfioUserCommand.DeviceGetIrqInfo, Bytes.U32(16, 0, 0, 0)).Payload, Is.EqualTo(Bytes.U32(16, 7, 0, 1)));
        Assert.That(client.GetIrq(VfioPci.MsixIrqIndex).Count, Is.EqualTo(TestDevice.Vectors));
        Assert.That(client.GetIrq(VfioPci.MsiIrqIndex).Count, Is.Zero);
    }

    [Test]
    [Clause("vfio-user REGION_READ-1")]
    [Clause("vfio-user REGION_READ-3")]
    [Clause("vfio-user REGION_WRITE-1")]
    public void Access_AnySizeAndAlignment_ReachesTheDeviceAsItIs([Values(1, 2, 3, 4, 5, 8, 13, 4000)] int size, [Values(0, 1, 7)] int offset)
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();
        byte[] data = [.. Enumerable.Range(1, size).Select(value => (byte)value)];

        client.Write(0, (ulong)offset, data);
        byte[] read = new byte[size];
        client.Read(0, (ulong)offset, read);

        Assert.That(read, Is.EqualTo(data));
        Assert.That(host.Device.Next(), Is.EqualTo($"write 0+{offset:x}:{size}"));
    }

    [Test]
    public void Access_OfNoBytes_IsAnsweredWithoutTheDevice()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();

        client.Write(0, 4096, []);
        client.Read(0, 0, []);

        Assert.That(host.Device.Events, Is.Empty);
    }

    [Test]
    [Clause("vfio-user Concurrency-3")]
    [Clause("vfio-user Header-10")]
    public void Write_Posted_IsDoneBeforeALaterReadAndNotAnswered()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();

        for (uint value = 0; value < 1000; value++)
        {
            client.WriteUInt32(0, 16, value, posted: true);
            Assert.That(client.ReadUInt32(0, 16), Is.EqualTo(value));
        }

        Assert.That(host.OnLoop(() => host.Device.Posted), Is.EqualTo(1000));
    }

    [Test]
    [Clause("vfio-user Concurrency-1")]
    [Clause("vfio-user Connect-4")]
    [Clause("vfio-user REGION_READ-4")]
    [Clause("vfio-user REGION_READ-7")]
    [Clause("vfio-user Header-12")]
    [Clause("vfio-user Header-15")]
    public void Complete_OutOfOrder_AnswersTheRightRequest()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();
        host.Device.HeldOffset = 8;
        ushort first = client.Send(VfioUserCommand.RegionRead, Bytes.Access(8, 0, 1));
        ushort second = client.Send(VfioUserCommand.RegionWrite, Bytes.Access(8, 0, 1, 5));
        ushort third = client.Send(VfioUserCommand.RegionRead, Bytes.Access(8, 0, 2));
        RequestToken[] held = [host.Device.NextHeld(), host.Device.NextHeld(), host.Device.NextHeld()];

        host.OnLoop(() =>
        {
            host.Server.CompleteRead(held[2], [3, 3]);
            host.Server.Fail(held[1], Errno.EIO);
            host.Server.CompleteRead(held[0], [1]);
        });

        VfioUserReply[] replies = [client.Receive(), client.Receive(), client.Receive()];
        Assert.That(replies.Select(reply => reply.MessageId), Is.EqualTo(new[] { third, second, first }));
        Assert.That(replies.Select(reply => reply.Error), Is.EqualTo(new[] { Errno.None, Errno.EIO, Errno.None }));
        Assert.That(replies[0].Payload, Is.EqualTo(Bytes.Access(8, 0, 2, 3, 3)));
        Assert.That(replies[1].Payload, Is.Empty);
        Assert.That(replies[2].Payload, Is.EqualTo(Bytes.Access(8, 0, 1, 1)));
    }

    [Test]
    [Clause("vfio-user Concurrency-2")]
    public void Request_BeyondMaxOutstanding_WaitsForACompletion()
    {
        using ServerHost host = new(new VfioUserServerOptions { MaxOutstanding = 2 });
        using VfioUserClient client = host.Connect();
        host.Device.HeldOffset = 0;
        client.Send(VfioUserCommand.RegionWrite, Bytes.Access(0, 0, 1, 1), noReply: true);
        client.Send(VfioUserCommand.RegionRead, Bytes.Access(0, 0, 1));
        client.Send(VfioUserCommand.RegionWrite, Bytes.Access(4, 0, 1, 9));
        RequestToken first = host.Device.NextHeld();
        RequestToken second = host.Device.NextHeld();
        host.OnLoop(() => { });
        Assert.That(host.Device.Next(), Is.EqualTo("write 0+0:1 posted"));
        Assert.That(host.Device.Events, Is.Empty);

        host.OnLoop(() => host.Server.CompleteWrite(first));

        Assert.That(host.Device.Next(), Is.EqualTo("write 0+4:1"));
        Assert.That(client.Receive().Command, Is.EqualTo(VfioUserCommand.RegionWrite));
        host.OnLoop(() => host.Server.CompleteRead(second, [1]));
        Assert.That(client.Receive().Command, Is.EqualTo(VfioUserCommand.RegionRead));
    }

    [Test]
    public void Replies_LeftUntakenBeyondTheLimit_CutTheClientOffAndTheNextOneIsServed()
    {
        const int size = 1 << 20; // more than a socket holds
        using BlockingCollection<string> said = [];
        using ServerHost host = new(new VfioUserServerOptions { MaxQueuedReplyBytes = 64 << 10, Report = said.Add });
        using VfioUserClient client = host.Connect();
        client.Send(VfioUserCommand.RegionRead, Bytes.Access(0, TestDevice.LargeRegion, size));

        Assert.That(host.Device.Next(), Is.EqualTo("disconnected"));
        Assert.That(said.TryTake(out string? line, ServerHost.Deadline), Is.True);
        Assert.That(line, Does.Match("^/.*: The client was cut off: it left [0-9]+ bytes of replies untaken.$"));

        using VfioUserClient next = host.Connect();
        next.Send(VfioUserCommand.RegionRead, Bytes.Access(0, 0, 1));
        Assert.That(next.Receive().IsError, Is.False);
    }

    [Test]
    [Clause("vfio-user Concurrency-6")]
    [Clause("vfio-user RESET-1")]
    public void Reset_Held_KeepsLaterRequestsWaiting()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();
        host.Device.HoldResets = true;
        ushort reset = client.Send(VfioUserCommand.DeviceReset, []);
        ushort write = client.Send(VfioUserCommand.RegionWrite, Bytes.Access(0, 0, 1, 1));
        RequestToken token = host.Device.NextHeld();
        Assert.That(host.Device.Next(), Is.EqualTo("reset"));
        host.OnLoop(() => { });
        Assert.That(host.Device.Events, Is.Empty);

        host.OnLoop(() => host.Server.CompleteReset(token));

        Assert.That(client.Receive().MessageId, Is.EqualTo(reset));
        Assert.That(client.Receive().MessageId, Is.EqualTo(write));
    }

    [Test]
    [Clause("vfio-user WRITE_MULTI-3")]
    [Clause("vfio-user WRITE_MULTI-4")]
    public void WriteMulti_Offered_CarriesOutEachWriteAndAnswersOnce()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();
        Assert.That(client.WriteMultiple, Is.True);

        byte[] payload =
        [
            .. Bytes.U64(3),
            .. Bytes.Access(0, 0, 1, 0x11, 0, 0, 0, 0, 0, 0, 0),
            .. Bytes.Access(8, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8),
            .. Bytes.Access(4, 0, 2, 0x22, 0x33, 0, 0, 0, 0, 0, 0),
        ];
        VfioUserReply reply = client.Request(VfioUserCommand.RegionWriteMulti, payload);

        Assert.That(reply.Payload, Is.EqualTo(Bytes.U64(3)));
        byte[] read = new byte[16];
        client.Read(0, 0, read);
        Assert.That(read, Is.EqualTo(new byte[] { 0x11, 0, 0, 0, 0x22, 0x33, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8 }));
    }

    [Test]
    [Clause("vfio-user WRITE_MULTI-5")]
    public void WriteMulti_OneFails_IsAnsweredWithItsErrorAfterTheLast()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();
        host.Device.HeldOffset = 8;
        byte[] entry = Bytes.Access(8, 0, 1, new byte[8]);
        client.Send(VfioUserCommand.RegionWriteMulti, [.. Bytes.U64(2), .. entry, .. entry]);
        RequestToken token = host.Device.NextHeld();
        Assert.That(host.Device.NextHeld(), Is.EqualTo(token));

        host.OnLoop(() =>
        {
            host.Server.Fail(token, Errno.EIO);
            host.Server.CompleteWrite(token);
        });

        Assert.That(client.Receive().Error, Is.EqualTo(Errno.EIO));
    }

    [Test]
    [Clause("vfio-user Header-7")]
    public void Stream_ByteByByte_IsUnderstood()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();

        byte[] bytes = [.. Bytes.Message(1, VfioUserCommand.RegionWrite, Bytes.Access(0, 0, 2, 0xAB, 0xCD)), .. Bytes.Message(2, VfioUserCommand.RegionRead, Bytes.Access(0, 0, 2))];
        foreach (byte one in bytes)
        {
            client.SendRaw([one]);
            host.OnLoop(() => { });
        }

        Assert.That(client.Receive().MessageId, Is.EqualTo(1));
        Assert.That(client.Receive().Payload, Is.EqualTo(Bytes.Access(0, 0, 2, 0xAB, 0xCD)));
    }

    [Test]
    [Clause("vfio-user Concurrency-2")]
    public void Stream_ManyMessagesAtOnce_AreAllAnsweredInOrder()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();
        byte[] bytes = [.. Enumerable.Range(0, 2000).SelectMany(id => Bytes.Message((ushort)id, VfioUserCommand.RegionRead, Bytes.Access((ulong)id, 0, 4)))];

        client.SendRaw(bytes);

        for (int id = 0; id < 2000; id++)
        {
            Assert.That(client.Receive().MessageId, Is.EqualTo(id));
        }
    }

    [Test]
    public void Read_LargestWhileTheClientIsSlow_LosesNothing()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();
        byte[] data = new byte[TestDevice.LargeSize / 2];
        new Random(1).NextBytes(data);
        client.Write(TestDevice.LargeRegion, 0, data);

        for (int count = 0; count < 6; count++)
        {
            client.Send(VfioUserCommand.RegionRead, Bytes.Access(0, TestDevice.LargeRegion, (uint)data.Length));
        }

        host.OnLoop(() => { });
        for (int count = 0; count < 6; count++)
        {
            Assert.That(client.Receive().Payload.AsSpan(16).SequenceEqual(data), Is.True);
        }
    }

    [Test]
    [Clause("vfio-user Security-2")]
    public void Replies_BeyondTheLimit_CutTheClientOff()
    {
        using ServerHost host = new(new VfioUserServerOptions { MaxQueuedReplyBytes = 1024 * 1024 });
        using VfioUserClient client = host.Connect();
        host.Device.HeldOffset = 0;
        byte[] data = new byte[1024 * 1024];
        for (int count = 0; count < 4; count++)
        {
            client.Send(VfioUserCommand.RegionRead, Bytes.Access(0, TestDevice.LargeRegion, (uint)data.Length));
        }

        for (int count = 0; count < 4; count++)
        {
            RequestToken token = host.Device.NextHeld();
            host.OnLoop(() => host.Server.CompleteRead(token, data));
        }

        Assert.That(host.Device.Next(), Is.EqualTo("disconnected"));
        using VfioUserClient next = host.Connect();
    }

    [Test]
    public void Access_Repeated_AllocatesNothing()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();
        host.Device.RecordWrites = false;
        Exchange(client, 200);
        long before = host.OnLoop(GC.GetAllocatedBytesForCurrentThread);

        Exchange(client, 5000);

        // The two questions to the loop cost a little; 10,000 accesses must not.
        Assert.That(host.OnLoop(GC.GetAllocatedBytesForCurrentThread) - before, Is.LessThan(4096));
    }

    [Test]
    public void Report_RefusedRequests_AreToldAFewTimesOnly()
    {
        List<string> reports = [];
        using ServerHost host = new(new VfioUserServerOptions { Report = reports.Add });
        using VfioUserClient client = host.Connect();
        for (int count = 0; count < 100; count++)
        {
            client.Send(VfioUserCommand.RegionRead, Bytes.Access(0, 99, 4), noReply: true);
        }

        Assert.That(client.GetRegion(0).Size, Is.EqualTo(4096));
        host.OnLoop(() => Assert.That(reports, Has.Count.InRange(1, 16)));
        Assert.That(reports[0], Does.Contain("RegionRead").And.Contain("99").And.Contain(host.SocketPath));
    }

    private static void Exchange(VfioUserClient client, int count)
    {
        for (int index = 0; index < count; index++)
        {
            client.WriteUInt32(0, 0, 1, posted: true);
            _ = client.ReadUInt32(0, 0);
        }
    }
}
