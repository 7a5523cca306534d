// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using NUnit.Framework;

namespace Cosim.VfioUser.Tests;

/// <summary>DEVICE_FEATURE: the log of the pages that the device writes.</summary>
public sealed class FeatureTests
{
    private const uint Get = 0x1_0000;
    private const uint Set = 0x2_0000;
    private const uint Probe = 0x4_0000;
    private const uint Start = 6;
    private const uint Stop = 7;
    private const uint Report = 8;
    private const ulong Page = 4096;
    private const ulong Base = 0x10_0000;

    private ServerHost _host = null!;
    private VfioUserClient _client = null!;
    private SharedMemory _memory = null!;

    [SetUp]
    public void Connect()
    {
        _host = new ServerHost();
        _client = _host.Connect();
        _memory = new SharedMemory(256 * (long)Page);
        _client.Map(_memory, 0, Base, 256 * Page);
    }

    [TearDown]
    public void Leave()
    {
        _client.Dispose();
        _host.Dispose();
        _memory.Dispose();
    }

    [TestCase(Set | Start)]
    [TestCase(Set | Stop)]
    [TestCase(Get | Report)]
    [TestCase(Report)]
    [Clause("vfio-user FEATURE-3")]
    public void Probe_OfWhatIsThere_IsAnsweredWithTheRequest(uint flags)
    {
        byte[] request = Bytes.U32(8, Probe | flags);

        Assert.That(_client.Request(VfioUserCommand.DeviceFeature, request).Payload, Is.EqualTo(request));
    }

    [Test]
    [Clause("vfio-user FEATURE-6")]
    [Clause("vfio-user FEATURE-9")]
    [Clause("vfio-user FEATURE-10")]
    public void Log_OfWrites_NamesThePagesOnceAndOnlyWhileItRuns()
    {
        Write(Base, 1);
        StartLog();
        Write(Base + (3 * Page) + 4095, 2);
        Write(Base + (70 * Page), 1);
        _host.OnLoop(() => _host.Server.Memory.Read(Base + (9 * Page), new byte[4]));

        Assert.That(Dirty(Base, 256, Page), Is.EqualTo(new[] { 3, 4, 70 }));
        Assert.That(Dirty(Base, 256, Page), Is.Empty, "told once");

        Write(Base + Page, 1);
        _ = _client.Request(VfioUserCommand.DeviceFeature, Bytes.U32(8, Set | Stop));
        StartLog();
        Assert.That(Dirty(Base, 256, Page), Is.Empty);
    }

    [Test]
    [Clause("vfio-user FEATURE-10")]
    public void Report_OfAPart_LeavesTheRest()
    {
        StartLog();
        Write(Base, 256 * (int)Page);

        Assert.That(Dirty(Base + (10 * Page), 3, Page), Is.EqualTo(new[] { 0, 1, 2 }));

        Assert.That(Dirty(Base, 256, Page), Is.EqualTo(Enumerable.Range(0, 256).Except([10, 11, 12])));
    }

    [TestCase(1024ul, new[] { 4, 5, 6, 7 })]
    [TestCase(8192ul, new[] { 0 })]
    [TestCase(1ul << 40, new[] { 0 })]
    [Clause("vfio-user FEATURE-11")]
    public void Report_InAnotherPageSize_IsOfThatSize(ulong pageSize, int[] expected)
    {
        StartLog();
        Write(Base + Page, 1);

        Assert.That(Dirty(Base, 4, pageSize, 4 * Page), Is.EqualTo(expected));
    }

    [Test]
    [Clause("vfio-user FEATURE-7")]
    [Clause("vfio-user FEATURE-8")]
    public void Start_WithRanges_LogsThoseAndSaysThePageSize()
    {
        byte[] request = [.. Bytes.U32(56, Set | Start), .. Bytes.U64(65536), .. Bytes.U32(2, 0), .. Bytes.U64(Base, 2 * Page, Base + (8 * Page), Page)];

        byte[] reply = _client.Request(VfioUserCommand.DeviceFeature, request).Payload;

        byte[] expected = [.. request];
        BinaryPrimitives.WriteUInt64LittleEndian(expected.AsSpan(8), Page);
        Assert.That(reply, Is.EqualTo(expected));
        Write(Base + Page, 2 * (int)Page);
        Write(Base + (8 * Page), 1);
        Assert.That(Dirty(Base, 256, Page), Is.EqualTo(new[] { 1, 8 }));
    }

    [Test]
    [Clause("vfio-user FEATURE-6")]
    public void Log_OfMemoryThatIsNotShared_NamesItsPages()
    {
        _client.Map(-1, 0, 0x1000, 4 * Page);
        StartLog();

        _host.OnLoop(() => Assert.That(_host.Server.BeginDmaWrite(0x2FFF, [1, 2], 1), Is.EqualTo(DmaResult.Ok)));

        VfioUserReply asked = _client.Receive();
        Assert.That(asked.Command, Is.EqualTo(VfioUserCommand.DmaWrite));
        Assert.That(Dirty(0x1000, 4, Page), Is.EqualTo(new[] { 1, 2 }));
    }

    [Test]
    [Clause("vfio-user FEATURE-12")]
    public void Start_Twice_IsRefused()
    {
        StartLog();

        Refused(VfioUserCommand.DeviceFeature, [.. Bytes.U32(24, Set | Start), .. Bytes.U64(Page), .. Bytes.U32(0, 0)]);
    }

    [Test]
    [Clause("vfio-user FEATURE-12")]
    public void Client_Leaves_TheLogEnds()
    {
        StartLog();
        _client.Dispose();
        Assert.That(_host.Device.Next(), Does.StartWith("map"));
        Assert.That(_host.Device.Next(), Is.EqualTo("disconnected"));
        _client = _host.Connect();

        Refused(VfioUserCommand.DeviceFeature, Bytes.U32(8, Set | Stop));
    }

    [TestCase(0ul, Page)]
    [TestCase(ulong.MaxValue, Page)]
    [TestCase(Page, 0ul)]
    [TestCase(Page, 4097ul)]
    [TestCase(ulong.MaxValue - Base, 1ul, TestName = "Report_BitmapTooLarge_IsRefused")]
    [TestCase((8ul << 20) * Page + 1, Page, TestName = "Report_BitmapOneBitTooLarge_IsRefused")]
    [Clause("vfio-user FEATURE-13")]
    public void Report_OfARangeOrPageSizeThatCannotBe_IsRefused(ulong length, ulong pageSize)
    {
        StartLog();

        Refused(VfioUserCommand.DeviceFeature, [.. Bytes.U32(1 << 21, Get | Report), .. Bytes.U64(Base, length, pageSize)]);
    }

    [Test]
    [Clause("vfio-user FEATURE-1")]
    [Clause("vfio-user Sizes-3")]
    public void Report_WithoutRoom_SaysHowMuchIsNeededAndForgetsNothing()
    {
        StartLog();
        Write(Base, 1);

        byte[] reply = _client.Request(VfioUserCommand.DeviceFeature, [.. Bytes.U32(39, Get | Report), .. Bytes.U64(Base, 64 * Page, Page)]).Payload;

        Assert.That(reply, Is.EqualTo((byte[])[.. Bytes.U32(40, Get | Report), .. Bytes.U64(Base, 64 * Page, Page)]));
        Assert.That(Dirty(Base, 64, Page), Is.EqualTo(new[] { 0 }));
    }

    private void StartLog() =>
        _ = _client.Request(VfioUserCommand.DeviceFeature, [.. Bytes.U32(24, Set | Start), .. Bytes.U64(Page), .. Bytes.U32(0, 0)]);

    private void Write(ulong address, int length) =>
        _host.OnLoop(() => Assert.That(_host.Server.Memory.Write(address, new byte[length]), Is.EqualTo(DmaResult.Ok)));

    private void Refused(VfioUserCommand command, byte[] payload) =>
        Assert.That(() => _client.Request(command, payload), Throws.TypeOf<VfioUserException>().With.Property("Error").EqualTo(Errno.EINVAL));

    /// <summary>Numbers of the bits that are set in the report.</summary>
    private int[] Dirty(ulong address, int pages, ulong pageSize, ulong? length = null)
    {
        byte[] request = [.. Bytes.U32(4096, Get | Report), .. Bytes.U64(address, length ?? ((ulong)pages * pageSize), pageSize)];
        byte[] reply = _client.Request(VfioUserCommand.DeviceFeature, request, [], 40).Payload;
        Assert.That(BinaryPrimitives.ReadInt32LittleEndian(reply), Is.EqualTo(reply.Length));
        Assert.That((reply.Length - 32) % 8, Is.Zero, "whole words");
        byte[] bitmap = reply[32..];
        return [.. Enumerable.Range(0, bitmap.Length * 8).Where(bit => (bitmap[bit / 8] >> (bit % 8) & 1) != 0)];
    }
}
