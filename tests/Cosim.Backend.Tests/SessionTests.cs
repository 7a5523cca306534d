// SPDX-License-Identifier: Apache-2.0
using Cosim.VfioUser;
using Cosim.Virtio;
using NUnit.Framework;

namespace Cosim.Backend.Tests;

/// <summary>hdl/BACKEND.md, message by message, and rings that break the rules.</summary>
public sealed class SessionTests
{
    private ProbeBackend _device = null!;
    private FakeFpga _fpga = null!;
    private RunningBackend _backend = null!;

    [SetUp]
    public void Start()
    {
        _device = new ProbeBackend();
        _fpga = new FakeFpga();
        _backend = new RunningBackend(_fpga, _device);
    }

    [TearDown]
    public void Stop()
    {
        _backend.Dispose();
        _fpga.Dispose();
        _device.Dispose();
    }

    [Test]
    public void Start_Always_SetsTheFunctionUp()
    {
        Assert.That(_fpga.MsixEnabled, Is.True);
        Assert.That(_fpga.BusMaster, Is.True);
        Assert.That(_fpga.PoolIova % 4096, Is.Zero);
        Assert.That(_fpga.Memory.Check(_fpga.PoolIova, _fpga.PoolSize, DmaAccess.ReadWrite), Is.EqualTo(DmaResult.Ok));
    }

    [Test]
    public void Dispose_Always_ClearsControl()
    {
        _backend.Dispose();

        Assert.That(_fpga.Control, Is.Zero);
        _backend = new RunningBackend(_fpga, _device);
    }

    [TestCase(0u, 1u, TestName = "Call_AfterAResetOfTheFpga_AnnouncesAnew")]
    [TestCase(1u, 0u, TestName = "Call_AfterTheFrontEndGaveUp_AnnouncesAnew")]
    public void Call_SessionIsOver_AnnouncesAnew(uint control, uint status)
    {
        int before = _fpga.ControlWrites;
        _fpga.CallWithoutMessage(control, status);
        _fpga.RunUntil(() => _fpga.ControlWrites > before, "CONTROL is written");
        Assert.That(_fpga.Control, Is.EqualTo(1));
    }

    [Test]
    public void Call_WithoutMessageInASession_ChangesNothing()
    {
        int before = _fpga.ControlWrites;
        _fpga.CallWithoutMessage(1, 1);
        Assert.That(_fpga.Ask(MailboxRequest.GetBackend), Has.Length.EqualTo(24));
        Assert.That(_fpga.ControlWrites, Is.EqualTo(before));
    }

    [Test]
    public void GetBackend_Valid_TellsVersionDevicesAndPool() =>
        Assert.That(
            _fpga.Ask(MailboxRequest.GetBackend),
            Is.EqualTo((byte[])[.. Bytes.U32(1, 1), .. Bytes.U64(_fpga.PoolIova, 32 << 20)]));

    [Test]
    public void GetDevice_Valid_TellsTypeQueuesClassAndLimits() =>
        Assert.That(
            _fpga.Ask(MailboxRequest.GetDevice),
            Is.EqualTo((byte[])[.. Bytes.U16(2, 2), .. Bytes.U32(0x0100_0001), .. Bytes.U16(0x1AF4, 0x1042), .. Bytes.U32(64, 8)]));

    [Test]
    public void Features_Valid_AreOfferedAndTakenAsASubset()
    {
        ulong offered = BitConverter.ToUInt64(_fpga.Ask(MailboxRequest.GetFeatures));

        Assert.That(offered & (VirtioFeatures.Version1 | VirtioFeatures.VhostUserProtocolFeatures | 1), Is.EqualTo(VirtioFeatures.Version1 | VirtioFeatures.VhostUserProtocolFeatures | 1));
        Assert.That(_fpga.Tell(MailboxRequest.SetFeatures, 0, Bytes.U64(VirtioFeatures.Version1 | 1)), Is.Zero);
        Assert.That(_device.Features1, Is.EqualTo(VirtioFeatures.Version1 | 1));
        Assert.That(_fpga.Tell(MailboxRequest.SetFeatures, 0, Bytes.U64(offered | 4)), Is.EqualTo(22));
    }

    [Test]
    public void ProtocolFeatures_Valid_AreThoseNeeded()
    {
        Assert.That(BitConverter.ToUInt64(_fpga.Ask(MailboxRequest.GetProtocolFeatures)), Is.EqualTo(VhostUserProtocolFeatures.Required));
        Assert.That(_fpga.Tell(MailboxRequest.SetProtocolFeatures, 0, Bytes.U64(VhostUserProtocolFeatures.Required)), Is.Zero);
        Assert.That(_fpga.Tell(MailboxRequest.SetProtocolFeatures, 0, Bytes.U64(1UL << 40)), Is.EqualTo(22));
    }

    [Test]
    public void Config_ReadAndWritten_GoesToTheDevice()
    {
        byte[] request = [.. Bytes.U32(2, 4, 0), 0, 0, 0, 0];

        Assert.That(_fpga.Ask(MailboxRequest.GetConfig, 0, request), Is.EqualTo((byte[])[.. Bytes.U32(2, 4, 0), 3, 4, 5, 6]));
        Assert.That(_fpga.Tell(MailboxRequest.SetConfig, 0, [.. Bytes.U32(0, 1, 0), 99]), Is.Zero);
        Assert.That(_device.Configuration[0], Is.EqualTo(99));
    }

    [Test]
    public void ConfigurationChange_OfTheDevice_IsToldUnasked()
    {
        _device.ChangeConfiguration();

        byte[] message = _fpga.NextMessage();
        Assert.That(MailboxHeader.TryRead(message, out MailboxHeader header), Is.True);
        Assert.That(((uint)header.Request, header.Flags, header.Size, header.Device), Is.EqualTo((2u, 1u, 0u, 0u)));
    }

    [Test]
    public void ConfigurationChange_MailboxIsFull_WaitsForTheFrontEndsCallWithoutAsking()
    {
        _fpga.HoldsMailbox = true;
        _device.ChangeConfiguration();
        Assert.That(_fpga.NextMessage()[0], Is.EqualTo(2), "CONFIG_CHANGE_MSG");
        int before = _fpga.MailboxReads;

        _device.ChangeConfiguration();
        _fpga.RunUntil(() => _fpga.Control == 3, "the back end says that it waits");
        _fpga.RunFor(100);
        Assert.That(_fpga.HasMessage, Is.False);
        Assert.That(_fpga.MailboxReads - before, Is.EqualTo(1));

        _fpga.EmptyMailbox();
        Assert.That(_fpga.NextMessage()[0], Is.EqualTo(2), "CONFIG_CHANGE_MSG");
        _fpga.HoldsMailbox = false;
        _fpga.EmptyMailbox();
        Assert.That(_fpga.Ask(MailboxRequest.GetDevice), Has.Length.EqualTo(20));
    }

    [Test]
    public void Request_WhileAMessageOfTheBackEndsOwnIsInTheMailbox_IsAnsweredBehindIt()
    {
        _fpga.HoldsMailbox = true;
        _device.ChangeConfiguration();
        Assert.That(_fpga.NextMessage()[0], Is.EqualTo(2), "CONFIG_CHANGE_MSG");
        _fpga.Send(MailboxRequest.GetDevice, MailboxHeader.Version | MailboxHeader.NeedReply, 0, []);
        _fpga.RunUntil(() => _fpga.Control == 3, "the back end says that it waits");
        _fpga.HoldsMailbox = false;

        _fpga.EmptyMailbox();

        Assert.That(_fpga.NextMessage(), Has.Length.EqualTo(MailboxHeader.Bytes + 20));
    }

    [TestCase(0u, 99)]
    [TestCase(1u, 100)]
    public void SetConfig_OfEitherKind_GoesToTheDevice(uint flags, int expected)
    {
        Assert.That(_fpga.Tell(MailboxRequest.SetConfig, 0, [.. Bytes.U32(0, 1, flags), 99]), Is.Zero);
        Assert.That(_device.Configuration[0], Is.EqualTo(expected));
    }

    private static IEnumerable<TestCaseData> Refused()
    {
        byte[] wrongTable = [.. Bytes.U32(1, 0), .. Bytes.U64(0x1000, 32 << 20, 0x1000, 0)];
        yield return Case("Request_Unknown", (MailboxRequest)4, [], 95);
        yield return Case("Request_UnknownOfOurs", (MailboxRequest)0x1005, [], 95);
        yield return Case("GetDevice_WithPayload", MailboxRequest.GetDevice, [1], 22);
        yield return Case("GetBackend_WithPayload", MailboxRequest.GetBackend, [1], 22);
        yield return Case("GetFeatures_WithPayload", MailboxRequest.GetFeatures, [1], 22);
        yield return Case("SetFeatures_Short", MailboxRequest.SetFeatures, [1, 2, 3, 4], 22);
        yield return Case("SetMemTable_OtherPool", MailboxRequest.SetMemTable, wrongTable, 22);
        yield return Case("SetMemTable_Short", MailboxRequest.SetMemTable, Bytes.U32(1, 0), 22);
        yield return Case("SetVringNum_Short", MailboxRequest.SetVringNum, Bytes.U32(0), 22);
        yield return Case("SetVringNum_NoSuchQueue", MailboxRequest.SetVringNum, Bytes.U32(2, 64), 22);
        yield return Case("SetVringNum_NoPowerOfTwo", MailboxRequest.SetVringNum, Bytes.U32(0, 48), 22);
        yield return Case("SetVringNum_Zero", MailboxRequest.SetVringNum, Bytes.U32(0, 0), 22);
        yield return Case("SetVringNum_TooLarge", MailboxRequest.SetVringNum, Bytes.U32(0, 65536), 22);
        yield return Case("SetVringBase_TooLarge", MailboxRequest.SetVringBase, Bytes.U32(0, 65536), 22);
        yield return Case("SetVringAddr_BeforeItsSize", MailboxRequest.SetVringAddr, [.. Bytes.U32(1, 0), .. Bytes.U64(0x4000_0000, 0x4000_1000, 0x4000_2000, 0)], 22);
        yield return Case("SetVringEnable_BeforeItsAddresses", MailboxRequest.SetVringEnable, Bytes.U32(1, 1), 22);
        yield return Case("SetVringEnable_Two", MailboxRequest.SetVringEnable, Bytes.U32(0, 2), 22);
        yield return Case("GetVringBase_NoSuchQueue", MailboxRequest.GetVringBase, Bytes.U32(9, 0), 22);
        yield return Case("GetConfig_BeyondTheEnd", MailboxRequest.GetConfig, [.. Bytes.U32(6, 4, 0), 0, 0, 0, 0], 22);
        yield return Case("GetConfig_OffsetOverflows", MailboxRequest.GetConfig, [.. Bytes.U32(uint.MaxValue, 1, 0), 0], 22);
        yield return Case("GetConfig_SizeUnlikeTheBytes", MailboxRequest.GetConfig, [.. Bytes.U32(0, 4, 0), 0], 22);
        yield return Case("SetConfig_BeyondTheEnd", MailboxRequest.SetConfig, [.. Bytes.U32(8, 1, 0), 0], 22);
        yield return Case("SetConfig_OfNoKnownKind", MailboxRequest.SetConfig, [.. Bytes.U32(0, 1, 2), 0], 22);
        yield return Case("SetDeviceState_OfADeviceWithoutState", MailboxRequest.SetDeviceState, [.. Bytes.U32(0, 1, 1), 0], 22);
        yield return Case("SetStatus_Short", MailboxRequest.SetStatus, [0], 22);
        yield return Case("ResetDevice_WithPayload", MailboxRequest.ResetDevice, [0], 22);
    }

    [TestCaseSource(nameof(Refused))]
    public void Request_Wrong_IsRefusedAndTheNextIsAnswered(MailboxRequest request, byte[] payload, ulong error)
    {
        Assert.That(_fpga.Tell(request, 0, payload), Is.EqualTo(error));
        Assert.That(_fpga.Ask(MailboxRequest.GetDevice), Has.Length.EqualTo(20));
    }

    [Test]
    public void Request_ForNoSuchDevice_IsRefused() =>
        Assert.That(_fpga.Tell(MailboxRequest.GetFeatures, 1, []), Is.EqualTo(22));

    [TestCase(0x4000_0008ul, 0x4000_1000ul, 0x4000_2000ul)]
    [TestCase(0x4000_0000ul, 0x4000_1002ul, 0x4000_2000ul)]
    [TestCase(0x4000_0000ul, 0x4000_1000ul, 0x4000_2001ul)]
    [TestCase(0x4000_0000ul, 0x41FF_FFFCul, 0x4000_2000ul)]
    [TestCase(0x3FFF_FFF0ul, 0x4000_1000ul, 0x4000_2000ul)]
    [TestCase(0xFFFF_FFFF_FFFF_FFF0ul, 0x4000_1000ul, 0x4000_2000ul)]
    public void SetVringAddr_OutsideThePoolOrUnaligned_IsRefused(ulong descriptors, ulong used, ulong available)
    {
        Assert.That(_fpga.Tell(MailboxRequest.SetVringNum, 0, Bytes.U32(0, 64)), Is.Zero);

        Assert.That(
            _fpga.Tell(MailboxRequest.SetVringAddr, 0, [.. Bytes.U32(0, 0), .. Bytes.U64(descriptors, used, available, 0)]), Is.EqualTo(22));
    }

    [Test]
    public void Message_MalformedOrAReply_IsDroppedAndReported()
    {
        _fpga.Send(MailboxRequest.GetDevice, 0, 0, []); // version 0
        _fpga.Send(MailboxRequest.GetDevice, MailboxHeader.Version | MailboxHeader.Reply, 0, []);

        Assert.That(_fpga.Ask(MailboxRequest.GetDevice), Has.Length.EqualTo(20));
        Assert.That(_fpga.HasMessage, Is.False);
        Assert.That(_backend.Reports, Has.Count.EqualTo(2));
    }

    [Test]
    public void Enable_WithBuffersWaiting_ServesThemWithoutAKick()
    {
        FrontEndQueue queue = Enable();
        Assert.That(_fpga.Tell(MailboxRequest.SetVringEnable, 0, Bytes.U32(0, 0)), Is.Zero);
        queue.Describe(0, queue.Buffers, 1, DescriptorFlags.None);
        queue.Offer(0);
        _fpga.RunFor(20);
        Assert.That(queue.HasUsed, Is.False, "disabled");

        Assert.That(_fpga.Tell(MailboxRequest.SetVringEnable, 0, Bytes.U32(0, 1)), Is.Zero);

        Assert.That(queue.WaitUsed().Id, Is.Zero);
    }

    [Test]
    public void GetVringBase_WhileServing_StopsTheRingWhereItIs()
    {
        FrontEndQueue queue = Enable();
        queue.Describe(3, queue.Buffers, 1, DescriptorFlags.None);
        queue.Offer(3);
        queue.WaitUsed();

        Assert.That(_fpga.Ask(MailboxRequest.GetVringBase, 0, Bytes.U32(0, 0)), Is.EqualTo(Bytes.U32(0, 1)));

        queue.Offer(3);
        _fpga.RunFor(20);
        Assert.That(queue.HasUsed, Is.False);
        Assert.That(_device.StoppedQueues, Is.EqualTo(1));
    }

    [Test]
    public void ResetDevice_AndSetUpAgain_BeginsAnew()
    {
        FrontEndQueue queue = Enable();
        queue.Describe(3, queue.Buffers, 1, DescriptorFlags.None);
        queue.Offer(3);
        queue.WaitUsed();
        Assert.That(_fpga.Tell(MailboxRequest.ResetDevice, 0, []), Is.Zero);

        FrontEndQueue again = Enable();
        again.Describe(4, again.Buffers, 1, DescriptorFlags.None);
        again.Offer(4);

        Assert.That(again.WaitUsed().Id, Is.EqualTo(4));
    }

    private static IEnumerable<TestCaseData> BrokenRings()
    {
        yield return Ring("Head_BeyondTheTable", (queue, _) => queue.Offer(64));
        yield return Ring("Next_BeyondTheTable", (queue, _) => Offer(queue, new Descriptor(queue.Buffers, 1, DescriptorFlags.Next, 64)));
        yield return Ring("Chain_Loop", (queue, _) => Offer(queue, new Descriptor(queue.Buffers, 1, DescriptorFlags.Next, 0)));
        yield return Ring("Buffer_OutsideThePool", (queue, _) => Offer(queue, new Descriptor(0x1000, 1, DescriptorFlags.None, 0)));
        yield return Ring("Buffer_AcrossThePoolsEnd", (queue, fpga) => Offer(queue, new Descriptor(fpga.PoolIova + fpga.PoolSize - 1, 2, DescriptorFlags.None, 0)));
        yield return Ring("Buffer_WrappingAround", (queue, fpga) => Offer(queue, new Descriptor(ulong.MaxValue - 1, 16, DescriptorFlags.None, 0)));
        yield return Ring("Readable_AfterWritable", (queue, _) =>
        {
            queue.Describe(1, queue.Buffers, 1, DescriptorFlags.None);
            Offer(queue, new Descriptor(queue.Buffers, 1, DescriptorFlags.Write | DescriptorFlags.Next, 1));
        });
        yield return Ring("Indirect_NotNegotiated", (queue, _) => Offer(queue, new Descriptor(queue.Buffers, 16, DescriptorFlags.Indirect, 0)));
        yield return Ring("Index_TooFarAhead", (queue, fpga) =>
        {
            FrontEndQueue.Write(fpga, queue.Layout.AvailableIndex, Bytes.U16(100));
            fpga.Kick(0, 0);
        });
    }

    [TestCaseSource(nameof(BrokenRings))]
    public void Ring_BreakingTheRules_IsNoLongerServedUntilReset(Delegate breakIt)
    {
        FrontEndQueue queue = Enable();

        ((Action<FrontEndQueue, FakeFpga>)breakIt)(queue, _fpga);

        _fpga.RunUntil(() => !_backend.Reports.IsEmpty, "the break is reported");
        Assert.That(_backend.Reports, Has.Some.Contains("queue 0").And.Some.Contains("no longer served"));
        Assert.That(queue.HasUsed, Is.False);
        Assert.That(_fpga.Tell(MailboxRequest.ResetDevice, 0, []), Is.Zero);
        FrontEndQueue again = Enable();
        again.Describe(4, again.Buffers, 1, DescriptorFlags.None);
        again.Offer(4);
        Assert.That(again.WaitUsed().Id, Is.EqualTo(4));
    }

    private static TestCaseData Ring(string name, Action<FrontEndQueue, FakeFpga> breakIt) =>
        new TestCaseData(breakIt).SetName($"{name}_StopsTheRing");

    private static TestCaseData Case(string name, MailboxRequest request, byte[] payload, ulong error) =>
        new TestCaseData(request, payload, error).SetName($"{name}_IsRefused");

    private static void Offer(FrontEndQueue queue, Descriptor descriptor)
    {
        queue.Describe(0, descriptor.Address, descriptor.Length, descriptor.Flags, descriptor.Next);
        queue.Offer(0);
    }

    private FrontEndQueue Enable() => FrontEndQueue.Enable(_fpga, 0, 0, 64, VirtioFeatures.Version1);

    /// <summary>A device that gives every buffer back at once.</summary>
    private sealed class ProbeBackend : IDeviceBackend
    {
        private readonly byte[] _configuration = [1, 2, 3, 4, 5, 6, 7, 8];
        private readonly EventFd _change = new();

        public string Description => "probe";

        public VirtioDeviceId DeviceId => VirtioDeviceId.Block;

        public uint ClassRevision => 0x0100_0001;

        public int QueueCount => 2;

        public int QueueSize => 64;

        public ulong Features => 3;

        public ReadOnlySpan<byte> Configuration => _configuration;

        internal ulong Features1 { get; private set; }

        internal int StoppedQueues { get; private set; }

        public bool WriteConfiguration(int offset, ReadOnlySpan<byte> data)
        {
            data.CopyTo(_configuration.AsSpan(offset));
            return true;
        }

        public bool RestoreConfiguration(int offset, ReadOnlySpan<byte> data)
        {
            _configuration[offset] = (byte)(data[0] + 1);
            return true;
        }

        public void Attach(EventLoop loop, Action configurationChanged) =>
            loop.Register(_change.Fd, PollEvents.In, _ =>
            {
                _change.TryTake(out ulong _);
                configurationChanged();
            });

        public void Negotiated(ulong features) => Features1 = features;

        public void Serve(Virtqueue queue)
        {
            do
            {
                while (queue.TryTake())
                {
                    queue.Complete(queue.Chain.Head, 0);
                }

                queue.Call();
            }
            while (queue.Rearm());
        }

        public void Stopped(Virtqueue queue) => StoppedQueues++;

        public void Dispose() => _change.Dispose();

        /// <summary>Happens on the loop's thread.</summary>
        internal void ChangeConfiguration() => _change.Signal();
    }
}
