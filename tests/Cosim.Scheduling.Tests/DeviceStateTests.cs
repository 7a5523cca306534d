// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>What a back end gives the front end to keep of its devices, and who gets it back (hdl/BACKEND.md, "Device state").</summary>
[TestFixture(FpgaKind.Model)]
[TestFixture(FpgaKind.Verilator)]
[TestFixture(FpgaKind.Ghdl)]
public sealed class DeviceStateTests(FpgaKind kind) : BridgeFixture(kind)
{
    private const ulong RingMemory = 0x1_0000;
    private const ulong Data = 0x10_0000;
    private const ulong WithState = VhostUserProtocolFeatures.Required | VhostUserProtocolFeatures.DeviceState;
    private const ulong Invalid = 22;

    private static byte[] State(int length) => [.. Enumerable.Range(0, length).Select(i => (byte)((i * 11) + length))];

    private async Task Start()
    {
        BackEnd.ProtocolFeatures = WithState;
        await BackEnd.Start();
        await Driver.Enable(9);
        _ = await StartDriver();
    }

    private async Task<MockQueue> StartDriver()
    {
        await Driver.Reset();
        return await StartAfterReset();
    }

    private async Task<MockQueue> StartAfterReset()
    {
        BackEnd.Requests.Clear();
        await Driver.Negotiate(0);
        MockQueue queue = await Driver.AddQueue(0, 16, RingMemory);
        await Driver.DriverOk();
        await BackEnd.Serving();
        return queue;
    }

    private async Task Keep(byte[] state)
    {
        foreach (byte[] part in DeviceStateParts.Split(state))
        {
            Assert.That(await BackEnd.KeepPart(0, part), Is.Zero);
        }
    }

    private async Task ExpectNeedsReset(string reason)
    {
        await MockBackEnd.WaitFor(() => Log.Any(line => line.Contains(reason, StringComparison.Ordinal)));
        Assert.That(await Driver.ReadStatus() & (byte)VirtioStatus.DeviceNeedsReset, Is.Not.Zero);
        Assert.That(BackEnd.Requests, Has.None.EqualTo(MailboxRequest.SetVringEnable));
        Assert.That(Log, Has.None.Contain("back end lost"));
    }

    [TestCase(1)]
    [TestCase(996)]
    [TestCase(997)]
    [TestCase(DeviceStateParts.MostBytes)]
    public async Task NewBackEnd_StateWasKept_GetsItBeforeItsQueues(int length)
    {
        await Start();
        await Keep([1, 2, 3]);
        await Keep(State(length));

        await BackEnd.Replace(_ => { });
        await BackEnd.Serving();

        Assert.That(BackEnd.RestoredState, Is.EqualTo(State(length)));
        MailboxRequest[] order = [.. BackEnd.Requests.Where(r => r is MailboxRequest.SetFeatures or MailboxRequest.SetDeviceState or MailboxRequest.SetVringEnable).Distinct()];
        Assert.That(order, Is.EqualTo(new[] { MailboxRequest.SetFeatures, MailboxRequest.SetDeviceState, MailboxRequest.SetVringEnable }));
    }

    [Test]
    public async Task NewBackEnd_EndsToo_TheNextOneGetsTheStateAgain()
    {
        await Start();
        await Keep(State(40));
        for (int i = 0; i < 2; i++)
        {
            await BackEnd.Replace(_ => { });
            await BackEnd.Serving();
            Assert.That(BackEnd.Requests, Has.One.EqualTo(MailboxRequest.SetDeviceState));
        }
    }

    [Test]
    public async Task NewBackEnd_StateOfWhichTheLastPartIsMissing_GetsTheOneBefore()
    {
        await Start();
        await Keep(State(40));
        Assert.That(await BackEnd.KeepPart(0, DeviceStateParts.Split(State(2000))[0]), Is.Zero);

        await BackEnd.Replace(_ => { });
        await BackEnd.Serving();

        Assert.That(BackEnd.RestoredState, Is.EqualTo(State(40)));
    }

    [Test]
    public async Task NewBackEnd_StateWasEmptied_GetsNone()
    {
        await Start();
        await Keep(State(40));
        await Keep([]);

        await BackEnd.Replace(backEnd => backEnd.ProtocolFeatures = VhostUserProtocolFeatures.Required);
        await BackEnd.Serving();

        Assert.That(BackEnd.Requests, Has.None.EqualTo(MailboxRequest.SetDeviceState));
    }

    [Test]
    public async Task NewBackEnd_DriverHasResetSince_GetsNoState()
    {
        await Start();
        await Keep(State(40));
        _ = await StartDriver();

        await BackEnd.Replace(_ => { });
        await BackEnd.Serving();

        Assert.That(BackEnd.Requests, Has.None.EqualTo(MailboxRequest.SetDeviceState));
    }

    [Test]
    public async Task State_OfADriverThatHasReset_IsAnsweredAndNotKept()
    {
        await Start();
        TaskCompletionSource answer = new();
        BackEnd.MayAnswer = answer.Task;
        await Driver.Reset();
        await MockBackEnd.WaitFor(() => BackEnd.Requests.Contains(MailboxRequest.SetVringEnable));

        // The back end has not heard of the reset to its end.
        Task<ulong> late = BackEnd.KeepPart(0, DeviceStateParts.Split(State(40))[0]);
        answer.SetResult();
        Assert.That(await late, Is.Zero);
        _ = await StartAfterReset();
        await BackEnd.Replace(_ => { });
        await BackEnd.Serving();

        Assert.That(BackEnd.Requests, Has.None.EqualTo(MailboxRequest.SetDeviceState));
    }

    [Test]
    public async Task NewBackEnd_RefusesTheState_NeedsReset()
    {
        await Start();
        await Keep(State(40));
        await BackEnd.Replace(backEnd => backEnd.RefusesState = true);
        await ExpectNeedsReset("refuses the state that the driver has left its device in with error 22");

        BackEnd.RefusesState = false;
        MockQueue queue = await StartDriver();
        _ = await queue.Add(new MockBuffer(Data, 4, false), new MockBuffer(Data + 64, 4, true));
        await queue.Publish();
        Assert.That((await Driver.NextUsed(queue)).Length, Is.EqualTo(4), "after the reset");
    }

    [Test]
    public async Task NewBackEnd_KnowsOfNoState_NeedsReset()
    {
        await Start();
        await Keep(State(40));
        await BackEnd.Replace(backEnd => backEnd.ProtocolFeatures = VhostUserProtocolFeatures.Required);
        await ExpectNeedsReset("does not take the state");
    }

    private static IEnumerable<TestCaseData> Wrong()
    {
        yield return Case("Nothing", []);
        yield return Case("HeaderAlone", Part(0, 0, 10));
        yield return Case("OneByteShort", Part(0, 5, 5)[..^1]);
        yield return Case("OneByteLong", [.. Part(0, 5, 5), 0]);
        yield return Case("TooLarge", Part(0, 5, DeviceStateParts.MostBytes + 1));
        yield return Case("Huge", Part(0, 5, uint.MaxValue));
        yield return Case("NotTheFirst", Part(5, 5, 10));
        yield return Case("BeyondItsEnd", Part(0, 11, 10));
        yield return Case("OffsetBeyondItsEnd", Part(uint.MaxValue, 5, 10));

        static byte[] Part(uint offset, uint size, uint whole)
        {
            byte[] part = new byte[12 + size];
            BinaryPrimitives.WriteUInt32LittleEndian(part, offset);
            BinaryPrimitives.WriteUInt32LittleEndian(part.AsSpan(4), size);
            BinaryPrimitives.WriteUInt32LittleEndian(part.AsSpan(8), whole);
            return part;
        }

        static TestCaseData Case(string name, byte[] part) => new TestCaseData(part).SetName($"State_{name}_IsRefusedAndNoneIsKept");
    }

    [TestCaseSource(nameof(Wrong))]
    public async Task State_Wrong_IsRefusedAndNoneIsKept(byte[] part)
    {
        await Start();
        await Keep(State(40));

        Assert.That(await BackEnd.KeepPart(0, part), Is.EqualTo(Invalid));
        Assert.That(await BackEnd.KeepPart(7, part), Is.EqualTo(Invalid), "of a device that is not served");

        await BackEnd.Replace(_ => { });
        await BackEnd.Serving();
        Assert.That(BackEnd.Requests, Has.None.EqualTo(MailboxRequest.SetDeviceState));
    }

    [Test]
    public async Task Control_BackEndWaitsForItsMailbox_IsCalledAndTheSessionGoesOn()
    {
        await Start();
        BackEnd.Requests.Clear();
        int before = BackEnd.EmptyCalls;
        await BackEnd.WriteBar(RegisterMap.BackEnd.Control, 3);
        await MockBackEnd.WaitFor(() => BackEnd.EmptyCalls > before);
        await Keep(State(40));
        Assert.That(BackEnd.Requests, Is.Empty);
    }

    [Test]
    public async Task Control_BackEndWaitsWithoutASession_BeginsOne()
    {
        await Start();
        await BackEnd.WriteBar(RegisterMap.BackEnd.Control, 0);
        BackEnd.Requests.Clear();
        await BackEnd.WriteBar(RegisterMap.BackEnd.Control, 3);
        await BackEnd.Serving();
        Assert.That(BackEnd.Requests.First(), Is.EqualTo(MailboxRequest.GetBackend));
    }
}
