// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>The device configuration space between driver and back end: what is written is heard of before the requests behind it, and by a new back end too.</summary>
[TestFixture(FpgaKind.Model)]
[TestFixture(FpgaKind.Verilator)]
[TestFixture(FpgaKind.Ghdl)]
public sealed class ConfigurationTests(FpgaKind kind) : BridgeFixture(kind)
{
    private const ulong RingMemory = 0x1_0000;
    private const ulong OtherRingMemory = 0x2_0000;
    private const ulong Data = 0x10_0000;
    private const int Field = 32;
    private const int Capacity = 3;

    private async Task<MockQueue> Start()
    {
        await BackEnd.Start();
        await Driver.Enable(9);
        return await StartDriver(Driver, RingMemory);
    }

    private async Task<MockQueue> StartDriver(MockDriver driver, ulong memory)
    {
        BackEnd.Requests.Clear();
        await driver.Reset();
        await driver.Negotiate(0);
        await driver.WriteCommon(0x10, 2, 0);
        MockQueue queue = await driver.AddQueue(0, 16, memory);
        await driver.DriverOk();
        await BackEnd.Serving();
        return queue;
    }

    private Task<TransactionResult> WriteField(byte value) => Bridge.WriteMemory(0, 0, 0, RegisterMap.Bar.VirtioDevice + Field, [value]);

    private async Task<byte> ReadField(int offset) => (await Bridge.ReadMemory(0, 0, 0, RegisterMap.Bar.VirtioDevice + (uint)offset, 1)).Data[0];

    private async Task<byte> ReadIsr() => (await Bridge.ReadMemory(0, 0, 0, RegisterMap.Bar.VirtioIsr, 1)).Data[0];

    private static async Task Offer(MockQueue queue, ulong buffer)
    {
        _ = await queue.Add(new MockBuffer(buffer, 4, false), new MockBuffer(buffer + 64, 4, true));
        await queue.Publish();
    }

    private async Task<ushort> Offered(SplitVirtqueue ring) => BitConverter.ToUInt16(await Bridge.ReadHostMemory(1, ring.AvailableIndex, 2));

    [Test]
    public async Task Write_NotAnsweredYet_RequestBehindItWaitsAndOtherFunctionsGoOn()
    {
        List<byte> seen = [];
        BackEnd.Serve = request =>
        {
            seen.Add(BackEnd.Configuration[Field]);
            return new byte[4];
        };
        MockQueue queue = await Start();
        MockDriver other = new(Bridge, 1);
        await other.Enable(9);
        MockQueue otherQueue = await StartDriver(other, OtherRingMemory);
        TaskCompletionSource answer = new();
        BackEnd.MayAnswer = answer.Task;

        _ = await WriteField(0xC3);
        await MockBackEnd.WaitFor(() => BackEnd.Requests.Contains(MailboxRequest.SetConfig));
        await Offer(queue, Data);
        await Offer(otherQueue, Data + 0x1000);
        while (await Offered(BackEnd.Layouts[1]) == 0)
        {
        }

        Assert.That(await Offered(BackEnd.Layouts[0]), Is.Zero, "offered before the write is answered");
        answer.SetResult();
        Assert.That((await Driver.NextUsed(queue)).Length, Is.EqualTo(4));
        Assert.That((await other.NextUsed(otherQueue)).Length, Is.EqualTo(4));
        Assert.That(seen, Is.EqualTo(new byte[] { 0xC3, 0xC3 }));
    }

    [Test]
    public async Task Write_FollowedByARequestAtOnce_RequestMeetsWhatWasWritten()
    {
        List<byte> seen = [];
        BackEnd.Serve = request =>
        {
            seen.Add(BackEnd.Configuration[Field]);
            return new byte[4];
        };
        MockQueue queue = await Start();
        byte[] values = [.. Enumerable.Range(1, Kind == FpgaKind.Ghdl ? 4 : 16).Select(i => (byte)i)];
        foreach (byte value in values)
        {
            Task<TransactionResult> written = WriteField(value);
            await Offer(queue, Data);
            _ = await written;
            _ = await Driver.NextUsed(queue);
        }

        Assert.That(seen, Is.EqualTo(values));
    }

    [Test]
    public async Task Write_BackEndLostBeforeItAnswers_NewOneHearsOfItBeforeItGetsTheRequest()
    {
        List<byte> seen = [];
        BackEnd.Serve = request =>
        {
            seen.Add(BackEnd.Configuration[Field]);
            return new byte[4];
        };
        MockQueue queue = await Start();
        TaskCompletionSource answer = new();
        BackEnd.MayAnswer = answer.Task;
        _ = await WriteField(0xC3);
        await MockBackEnd.WaitFor(() => BackEnd.Requests.Contains(MailboxRequest.SetConfig));
        await Offer(queue, Data);

        // What the old program would have answered is dropped.
        BackEnd.Mute = true;
        await BackEnd.WriteBar(RegisterMap.BackEnd.Control, 0);
        answer.SetResult();
        byte old = BackEnd.Configuration[Field];
        await BackEnd.Replace(backEnd =>
        {
            backEnd.Mute = false;
            backEnd.Configuration[Field] = Field;
        });

        Assert.That((await Driver.NextUsed(queue)).Length, Is.EqualTo(4));
        Assert.That(seen, Is.EqualTo(new byte[] { 0xC3 }), $"was {old} before");
        Assert.That(await queue.TakeUsed(), Is.Null);
    }

    [Test]
    public async Task ConfigurationChange_DriverWritesBeforeItIsRead_DriversByteStays()
    {
        _ = await Start();
        TaskCompletionSource answer = new();
        BackEnd.MayAnswer = answer.Task;
        BackEnd.Configuration[Capacity] = 0x77;
        byte[] message = new byte[MailboxHeader.Bytes];
        new MailboxHeader((MailboxRequest)MailboxHeader.ConfigChange, MailboxHeader.Version, 0, 0).Write(message);
        await BackEnd.Post(message);
        await MockBackEnd.WaitFor(() => BackEnd.Requests.Contains(MailboxRequest.GetConfig));

        _ = await WriteField(0xC3);
        Assert.That(await ReadField(Field), Is.EqualTo(0xC3));
        answer.SetResult();
        await MockBackEnd.WaitFor(() => BackEnd.Requests.Contains(MailboxRequest.SetConfig));
        Assert.That(await Driver.NextInterrupt(), Is.Zero, "configuration vector");

        Assert.That(await ReadField(Capacity), Is.EqualTo(0x77));
        Assert.That(await ReadField(Field), Is.EqualTo(0xC3));
        await MockBackEnd.WaitFor(() => BackEnd.Configuration[Field] == 0xC3);
    }

    [Test]
    public async Task Write_Refused_DriverReadsWhatTheDeviceHas()
    {
        BackEnd.RefusesConfigurationWrites = true;
        _ = await Start();
        _ = await WriteField(0xC3);
        Assert.That(await Driver.NextInterrupt(), Is.Zero, "configuration vector");
        Assert.That(await ReadField(Field), Is.EqualTo(Field));
    }

    [Test]
    public async Task NewBackEnd_DriverHasWritten_HearsOfItBeforeItServes()
    {
        MockQueue queue = await Start();
        _ = await WriteField(0xC3);
        await MockBackEnd.WaitFor(() => BackEnd.Configuration[Field] == 0xC3);

        await BackEnd.Replace(backEnd => backEnd.Configuration[Field] = Field);
        await BackEnd.Serving();

        Assert.That(BackEnd.Configuration[Field], Is.EqualTo(0xC3));
        MailboxRequest[] order = [.. BackEnd.Requests.Where(r => r is MailboxRequest.SetFeatures or MailboxRequest.SetConfig or MailboxRequest.SetVringEnable)];
        Assert.That(order, Is.EqualTo(new[] { MailboxRequest.SetFeatures, MailboxRequest.SetConfig, MailboxRequest.SetVringEnable }));
        Assert.That(BackEnd.LastSetConfigFlags, Is.EqualTo(1), "VHOST_SET_CONFIG_TYPE_MIGRATION");
        Assert.That(await ReadIsr(), Is.Zero, "nothing is new for the driver");
        await Offer(queue, Data);
        Assert.That((await Driver.NextUsed(queue)).Length, Is.EqualTo(4));
    }

    [Test]
    public async Task NewBackEnd_DriverHasResetSince_HearsOfNoWrite()
    {
        _ = await Start();
        _ = await WriteField(0xC3);
        await MockBackEnd.WaitFor(() => BackEnd.Configuration[Field] == 0xC3);
        _ = await StartDriver(Driver, RingMemory);

        await BackEnd.Replace(_ => { });
        await BackEnd.Serving();

        Assert.That(BackEnd.Requests, Has.None.EqualTo(MailboxRequest.SetConfig));
    }

    [Test]
    public async Task NewBackEnd_RefusesWhatTheDriverWrote_NeedsReset()
    {
        _ = await Start();
        _ = await WriteField(0xC3);
        await MockBackEnd.WaitFor(() => BackEnd.Configuration[Field] == 0xC3);

        await BackEnd.Replace(backEnd => backEnd.RefusesConfigurationWrites = true);

        await MockBackEnd.WaitFor(() => Log.Any(line => line.Contains("does not take what the driver has written", StringComparison.Ordinal)));
        Assert.That(await Driver.ReadStatus() & (byte)VirtioStatus.DeviceNeedsReset, Is.Not.Zero);
        Assert.That(BackEnd.Requests, Has.None.EqualTo(MailboxRequest.SetVringEnable));
    }

    [Test]
    [Clause("virtio 4.1.4.3.1-5")]
    public async Task NewBackEnd_OtherCapacity_DriverSeesItAndIsTold()
    {
        _ = await Start();
        Assert.That(await ReadField(Capacity), Is.EqualTo(Capacity));
        uint generation = await Driver.ReadCommon(0x15, 1);

        await BackEnd.Replace(backEnd => backEnd.Configuration[Capacity] = 0x99);

        Assert.That(await Driver.NextInterrupt(), Is.Zero, "configuration vector");
        Assert.That(await ReadField(Capacity), Is.EqualTo(0x99));
        Assert.That(await Driver.ReadCommon(0x15, 1), Is.Not.EqualTo(generation));
        Assert.That(await ReadIsr(), Is.EqualTo(2));
    }

    [Test]
    public async Task NewBackEnd_OtherCapacityBeforeADriverStarts_DriverFindsIt()
    {
        await BackEnd.Start();
        await BackEnd.Replace(backEnd => backEnd.Configuration[Capacity] = 0x99);
        await MockBackEnd.WaitFor(() => BackEnd.Requests.Count(r => r == MailboxRequest.GetConfig) == 4);
        await Driver.Enable(9);
        _ = await StartDriver(Driver, RingMemory);
        Assert.That(await ReadField(Capacity), Is.EqualTo(0x99));
    }

    [Test]
    public async Task NewBackEnd_SmallerConfigurationSpace_NeedsReset()
    {
        _ = await Start();
        await BackEnd.Replace(backEnd => backEnd.ConfigurationSize = 8);
        await MockBackEnd.WaitFor(() => Log.Any(line => line.Contains("configuration space of 8 bytes; it had 60", StringComparison.Ordinal)));
        Assert.That(await Driver.ReadStatus() & (byte)VirtioStatus.DeviceNeedsReset, Is.Not.Zero);
    }
}
