// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.VfioUser.Tests;

/// <summary>The header, and what a client can do to the stream: parts, ids used twice, descriptors nobody wants, clients by the thousand.</summary>
public sealed class StreamTests
{
    private static IEnumerable<TestCaseData> ValidRequests()
    {
        yield return Case("GetInfo", VfioUserCommand.DeviceGetInfo, Bytes.U32(16, 0, 0, 0));
        yield return Case("GetRegionInfo", VfioUserCommand.DeviceGetRegionInfo, [.. Bytes.U32(32, 0, 7, 0), .. Bytes.U64(0, 0)]);
        yield return Case("GetRegionIoFds", VfioUserCommand.DeviceGetRegionIoFds, Bytes.U32(512, 0, 0, 0));
        yield return Case("GetIrqInfo", VfioUserCommand.DeviceGetIrqInfo, Bytes.U32(16, 0, 2, 0));
        yield return Case("SetIrqs", VfioUserCommand.DeviceSetIrqs, Bytes.SetIrqs(IrqSetFlags.ActionTrigger | IrqSetFlags.DataNone, 2, 0, 1));
        yield return Case("RegionRead", VfioUserCommand.RegionRead, Bytes.Access(0, 0, 4));
        yield return Case("RegionWrite", VfioUserCommand.RegionWrite, Bytes.Access(0, 0, 2, 1, 2));
        yield return Case("WriteMulti", VfioUserCommand.RegionWriteMulti, [.. Bytes.U64(1), .. Bytes.Access(0, 0, 1, new byte[8])]);
        yield return Case("DmaMap", VfioUserCommand.DmaMap, Bytes.Map(32, 3, 0, 0x1000, 4096));
        yield return Case("DmaUnmap", VfioUserCommand.DmaUnmap, Bytes.Unmap(24, 0, 0, 4096));
        yield return Case("Reset", VfioUserCommand.DeviceReset, []);
        yield return Case("Feature", VfioUserCommand.DeviceFeature, Bytes.U32(8, 0x6_0006));
    }

    [TestCaseSource(nameof(ValidRequests))]
    [Clause("vfio-user Header-1")]
    [Clause("vfio-user Header-3")]
    [Clause("vfio-user Header-10")]
    [Clause("vfio-user Header-13")]
    [Clause("vfio-user Header-14")]
    [Clause("vfio-user Header-16")]
    public void Request_Valid_IsAnsweredOnceAndWithNoReplyNotAtAll(VfioUserCommand command, byte[] payload)
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();
        using EventFd passed = new();
        int[] unwanted = command is VfioUserCommand.DmaMap or VfioUserCommand.DeviceSetIrqs ? [] : [passed.Fd, passed.Fd];

        // The error number of a command is reserved: whatever stands there is passed over.
        byte[] message = Bytes.Message(0xABCD, command, payload);
        message[12] = 22;
        client.SendRaw(message, unwanted);
        VfioUserReply reply = client.Receive();
        Assert.That((reply.MessageId, reply.Command, reply.Flags, reply.Error), Is.EqualTo(((ushort)0xABCD, command, 1u, Errno.None)));

        if (command == VfioUserCommand.DmaMap)
        {
            client.Unmap(0x1000, 4096);
        }

        client.SendRaw(Bytes.Message(0xABCE, command, payload, flags: 0x10), unwanted);
        Assert.That(client.GetRegion(0).Size, Is.EqualTo(4096), "its answer comes next");
    }

    [Test]
    [Clause("vfio-user REGION_WRITE-2")]
    [Clause("vfio-user SET_IRQS-17")]
    [Clause("vfio-user DMA_MAP-8")]
    public void Reply_OfAWrite_RepeatsWhereAndOthersAreHeaders()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();

        Assert.That(client.Request(VfioUserCommand.RegionWrite, Bytes.Access(6, 0, 3, 1, 2, 3)).Payload, Is.EqualTo(Bytes.Access(6, 0, 3)));
        Assert.That(client.Request(VfioUserCommand.DmaMap, Bytes.Map(32, 3, 0, 0x1000, 4096)).Payload, Is.Empty);
        Assert.That(client.Request(VfioUserCommand.DeviceReset, []).Payload, Is.Empty);
        byte[] trigger = Bytes.SetIrqs(IrqSetFlags.ActionTrigger | IrqSetFlags.DataNone, 2, 0, 1);
        Assert.That(client.Request(VfioUserCommand.DeviceSetIrqs, trigger).Payload, Is.Empty);
    }

    [TestCaseSource(nameof(ValidRequests))]
    [Clause("vfio-user Header-11")]
    [Clause("vfio-user Header-12")]
    [Clause("vfio-user Header-15")]
    public void Request_WithTheErrorFlag_IsRefusedWithAHeader(VfioUserCommand command, byte[] payload)
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();

        foreach (uint flags in new[] { 0x20u, 0x40u, 0x8000_0000u })
        {
            client.SendRaw(Bytes.Message(3, command, payload, flags));
            VfioUserReply reply = client.Receive();
            Assert.That((reply.Flags, reply.Error), Is.EqualTo((0x21u, Errno.EINVAL)));
            Assert.That(reply.Payload, Is.Empty);
        }

        Assert.That(host.Device.Events, Is.Empty);
    }

    [Test]
    [Clause("vfio-user Header-2")]
    public void MessageId_UsedTwiceAtOnce_IsAnsweredTwice()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();
        host.Device.HeldOffset = 8;
        client.SendRaw(Bytes.Message(7, VfioUserCommand.RegionRead, Bytes.Access(8, 0, 1)));
        client.SendRaw(Bytes.Message(7, VfioUserCommand.RegionRead, Bytes.Access(8, 0, 2)));
        RequestToken first = host.Device.NextHeld();
        RequestToken second = host.Device.NextHeld();

        host.OnLoop(() =>
        {
            host.Server.CompleteRead(second, [2, 2]);
            host.Server.CompleteRead(first, [1]);
        });

        VfioUserReply[] replies = [client.Receive(), client.Receive()];
        Assert.That(replies.Select(reply => reply.MessageId), Is.All.EqualTo(7));
        Assert.That(replies.Select(reply => reply.Payload.Length - 16), Is.EqualTo(new[] { 2, 1 }));
    }

    [Test]
    [Clause("vfio-user Header-7")]
    [Clause("vfio-user Security-3")]
    public void Stream_ByteByByteWithADescriptor_IsUnderstood()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();
        using SharedMemory memory = new(4096);
        byte[] message = Bytes.Message(5, VfioUserCommand.DmaMap, Bytes.Map(32, 3, 0, 0x1000, 4096));

        client.SendRaw(message.AsSpan(0, 1), [memory.Fd]);
        foreach (byte one in message.AsSpan(1))
        {
            client.SendRaw([one]);
            host.OnLoop(() => { });
        }

        Assert.That(client.Receive().IsError, Is.False);
        Assert.That(host.OnLoop(() => host.Server.Memory.Read(0x1000, new byte[1])), Is.EqualTo(DmaResult.Ok));
    }

    [Test]
    [Clause("vfio-user Header-9")]
    public void Reply_ToWhatWasNotAsked_IsRefused()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();
        client.Map(-1, 0, 0x1000, 4096);
        host.OnLoop(() => Assert.That(host.Server.BeginDmaRead(0x1000, 4, 1), Is.EqualTo(DmaResult.Ok)));
        ushort asked = client.Receive().MessageId;

        // Another id, and the right one of another command.
        client.SendRaw(Bytes.Message((ushort)(asked + 1), VfioUserCommand.DmaRead, [.. Bytes.U64(0x1000, 4), .. new byte[4]], flags: 1));
        Assert.That(client.Receive().Error, Is.EqualTo(Errno.EINVAL));
        client.SendRaw(Bytes.Message(asked, VfioUserCommand.DmaWrite, [], flags: 1));
        Assert.That(client.Receive().Error, Is.EqualTo(Errno.EINVAL));
        Assert.That(host.Device.Dma, Is.Empty);

        client.SendRaw(Bytes.Message(asked, VfioUserCommand.DmaRead, [.. Bytes.U64(0x1000, 4), 1, 2, 3, 4], flags: 1));
        Assert.That(host.Device.NextDma().Data, Is.EqualTo(new byte[] { 1, 2, 3, 4 }));
        client.SendRaw(Bytes.Message(asked, VfioUserCommand.DmaRead, [.. Bytes.U64(0x1000, 4), 1, 2, 3, 4], flags: 1));
        Assert.That(client.Receive().Error, Is.EqualTo(Errno.EINVAL), "answered twice");
    }

    private static IEnumerable<TestCaseData> BadAnswers()
    {
        yield return new TestCaseData(Array.Empty<byte>()).SetName("DmaRead_AnsweredWithNothing_Faults");
        yield return new TestCaseData(Bytes.U64(0x1000, 4)).SetName("DmaRead_AnsweredWithoutData_Faults");
        yield return new TestCaseData((byte[])[.. Bytes.U64(0x1000, 4), 1, 2, 3]).SetName("DmaRead_AnsweredWithLess_Faults");
        yield return new TestCaseData((byte[])[.. Bytes.U64(0x1000, 4), 1, 2, 3, 4, 5]).SetName("DmaRead_AnsweredWithMore_Faults");
        yield return new TestCaseData((byte[])[.. Bytes.U64(0x1001, 4), 1, 2, 3, 4]).SetName("DmaRead_AnsweredForAnotherAddress_Faults");
        yield return new TestCaseData((byte[])[.. Bytes.U64(0x1000, 5), 1, 2, 3, 4]).SetName("DmaRead_AnsweredForAnotherCount_Faults");
    }

    [TestCaseSource(nameof(BadAnswers))]
    [Clause("vfio-user DMA_READ-4")]
    public void DmaRead_AnsweredWrongly_Faults(byte[] answer)
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();
        client.Map(-1, 0, 0x1000, 4096);
        host.OnLoop(() => Assert.That(host.Server.BeginDmaRead(0x1000, 4, 1), Is.EqualTo(DmaResult.Ok)));

        client.SendRaw(Bytes.Message(client.Receive().MessageId, VfioUserCommand.DmaRead, answer, flags: 1));

        Assert.That(host.Device.NextDma().Result, Is.EqualTo(DmaResult.Faulted));
        Assert.That(client.GetRegion(0).Size, Is.EqualTo(4096), "the connection goes on");
    }

    private static IEnumerable<TestCaseData> WriteAnswers()
    {
        yield return new TestCaseData(Array.Empty<byte>(), DmaResult.Ok).SetName("DmaWrite_AnsweredAsByQemu_IsDone");
        yield return new TestCaseData((byte[])[.. Bytes.U64(0x1000), .. Bytes.U32(4)], DmaResult.Ok).SetName("DmaWrite_AnsweredAsSpecified_IsDone");
        yield return new TestCaseData(Bytes.U64(0x1000, 4), DmaResult.Ok).SetName("DmaWrite_AnsweredWithAWideCount_IsDone");
        yield return new TestCaseData((byte[])[.. Bytes.U64(0x1000), .. Bytes.U32(3)], DmaResult.Faulted).SetName("DmaWrite_AnsweredForLess_Faults");
        yield return new TestCaseData(Bytes.U64(0x1008, 4), DmaResult.Faulted).SetName("DmaWrite_AnsweredForAnotherAddress_Faults");
        yield return new TestCaseData(Bytes.U32(1), DmaResult.Faulted).SetName("DmaWrite_AnsweredWithRubbish_Faults");
    }

    [TestCaseSource(nameof(WriteAnswers))]
    [Clause("vfio-user DMA_WRITE-2")]
    [Clause("vfio-user DMA_WRITE-3")]
    public void DmaWrite_Answered_EndsAsTheAnswerSays(byte[] answer, DmaResult expected)
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();
        client.Map(-1, 0, 0x1000, 4096);
        host.OnLoop(() => Assert.That(host.Server.BeginDmaWrite(0x1000, [1, 2, 3, 4], 1), Is.EqualTo(DmaResult.Ok)));

        VfioUserReply asked = client.Receive();
        Assert.That(asked.Flags, Is.Zero);
        Assert.That(asked.Payload, Is.EqualTo((byte[])[.. Bytes.U64(0x1000, 4), 1, 2, 3, 4]));
        client.SendRaw(Bytes.Message(asked.MessageId, VfioUserCommand.DmaWrite, answer, flags: 1));

        Assert.That(host.Device.NextDma().Result, Is.EqualTo(expected));
    }

    [Test]
    [Clause("vfio-user Concurrency-5")]
    public void Reply_BehindCommandsThatWait_IsTakenIn()
    {
        using ServerHost host = new(new VfioUserServerOptions { MaxOutstanding = 2 });
        using VfioUserClient client = host.Connect();
        client.Map(-1, 0, 0x1000, 4096);
        Assert.That(host.Device.Next(), Does.StartWith("map"));
        host.Device.HeldOffset = 0;
        client.Send(VfioUserCommand.RegionRead, Bytes.Access(0, 0, 1));
        client.Send(VfioUserCommand.RegionRead, Bytes.Access(0, 0, 1));
        RequestToken[] held = [host.Device.NextHeld(), host.Device.NextHeld()];
        host.OnLoop(() => Assert.That(host.Server.BeginDmaRead(0x1000, 2, 1), Is.EqualTo(DmaResult.Ok)));
        VfioUserReply asked = client.Receive();

        // Two commands that have to wait, the answer, one more command and, later, the second answer.
        ushort third = client.Send(VfioUserCommand.RegionWrite, Bytes.Access(4, 0, 1, 3));
        ushort fourth = client.Send(VfioUserCommand.RegionWrite, Bytes.Access(5, 0, 1, 4));
        client.SendRaw(Bytes.Message(asked.MessageId, VfioUserCommand.DmaRead, [.. Bytes.U64(0x1000, 2), 8, 9], flags: 1));
        ushort fifth = client.Send(VfioUserCommand.RegionWrite, Bytes.Access(6, 0, 1, 5));

        Assert.That(host.Device.NextDma().Data, Is.EqualTo(new byte[] { 8, 9 }));
        Assert.That(host.Device.Events, Is.Empty, "the commands wait still");
        host.OnLoop(() => host.Server.BeginDmaRead(0x1000, 1, 2));
        asked = client.Receive();
        client.SendRaw(Bytes.Message(asked.MessageId, VfioUserCommand.DmaRead, [.. Bytes.U64(0x1000, 1), 7], flags: 1));
        Assert.That(host.Device.NextDma().Data, Is.EqualTo(new byte[] { 7 }));

        host.OnLoop(() => host.Server.CompleteRead(held[0], [1]));
        host.OnLoop(() => host.Server.CompleteRead(held[1], [1]));
        ushort[] answered = [.. Enumerable.Range(0, 5).Select(_ => client.Receive().MessageId)];
        Assert.That(answered.Skip(1).Where(id => id >= third), Is.EqualTo(new[] { third, fourth, fifth }));
        Assert.That(host.Device.Next(), Is.EqualTo("write 0+4:1"));
        Assert.That(host.Device.Next(), Is.EqualTo("write 0+5:1"));
        Assert.That(host.Device.Next(), Is.EqualTo("write 0+6:1"));
    }

    [Test]
    [Clause("vfio-user DMA_MAP-12")]
    public void DmaMap_ThousandsOfRanges_AreTakenAndGivenBack()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.Connect();
        using SharedMemory memory = new(4096);
        const ulong Ranges = 3000;
        for (ulong range = 0; range < Ranges; range++)
        {
            client.Send(VfioUserCommand.DmaMap, Bytes.Map(32, 3, 0, range * 0x2000, 4096), range % 2 == 0 ? [memory.Fd] : []);
            Assert.That(client.Receive().IsError, Is.False);
        }

        Assert.That(host.OnLoop(() => host.Server.Memory.Count), Is.EqualTo(Ranges));
        Assert.That(host.OnLoop(() => host.Server.Memory.Read(0x2000 * (Ranges - 2), new byte[4096])), Is.EqualTo(DmaResult.Ok));
        Assert.That(host.OnLoop(() => host.Server.Memory.Read(0x2000 * (Ranges - 1), new byte[4096])), Is.EqualTo(DmaResult.Remote));
        client.UnmapAll();
        Assert.That(host.OnLoop(() => host.Server.Memory.Count), Is.Zero);
    }

    [Test]
    [Clause("vfio-user Security-4")]
    public void Clients_AThousand_LeaveNothingBehind()
    {
        using ServerHost host = new();
        using SharedMemory memory = new(4096);
        using EventFd interrupt = new();
        host.Device.Doorbells = [new Doorbell(0, 2, 0)];
        for (int round = 0; round < 100; round++)
        {
            Visit(host, memory, interrupt, round);
        }

        (int descriptors, int threads, long bytes) before = Measure(host);
        for (int round = 0; round < 1000; round++)
        {
            Visit(host, memory, interrupt, round);
        }

        (int descriptors, int threads, long bytes) after = Measure(host);
        Assert.That(after.descriptors, Is.EqualTo(before.descriptors));
        Assert.That(after.threads, Is.LessThanOrEqualTo(before.threads + 2), "the runtime's own come and go");
        Assert.That(after.bytes - before.bytes, Is.LessThan(256 * 1024), "managed bytes kept");
    }

    /// <summary>A client that sets everything up and leaves, in one of several ways.</summary>
    private static void Visit(ServerHost host, SharedMemory memory, EventFd interrupt, int round)
    {
        using (VfioUserClient client = VfioUserClient.Connect(host.SocketPath, new VfioUserClientOptions { TwinSocket = round % 2 == 0 }))
        {
            client.Map(memory, 0, 0x1000, 4096);
            client.Map(-1, 0, 0x10_0000, 4096);
            client.ArmMsix(0, [interrupt]);
            _ = client.Request(VfioUserCommand.DeviceGetRegionIoFds, Bytes.U32(512, 0, 0, 0));
            if (round % 3 == 0)
            {
                host.OnLoop(() => host.Server.BeginDmaRead(0x10_0000, 64, 1));
            }

            if (round % 5 == 0)
            {
                // Half a message with a descriptor.
                client.SendRaw(Bytes.Message(1, VfioUserCommand.DmaMap, Bytes.Map(32, 3, 0, 0x8000, 4096)).AsSpan(0, 20), [memory.Fd]);
            }
        }

        while (host.Device.Next() != "disconnected")
        {
        }

        if (round % 3 == 0)
        {
            Assert.That(host.Device.NextDma().Result, Is.EqualTo(DmaResult.Faulted));
        }
    }

    private static (int Descriptors, int Threads, long Bytes) Measure(ServerHost host) => host.OnLoop(() =>
        (ConnectionTests.OpenDescriptors(), Directory.GetDirectories("/proc/self/task").Length, GC.GetTotalMemory(forceFullCollection: true)));

    private static TestCaseData Case(string name, VfioUserCommand command, byte[] payload) => new(command, payload) { TestName = $"{{m}}({name})" };
}
