// SPDX-License-Identifier: Apache-2.0
using System.Runtime.Versioning;
using System.Text;
using Cosim.VfioUser.Internal;
using NUnit.Framework;

namespace Cosim.VfioUser.Tests;

/// <summary>Sockets, versions, and clients that come, go and misbehave.</summary>
public sealed class ConnectionTests
{
    private string _folder = string.Empty;

    [SetUp]
    public void CreateFolder() => _folder = Directory.CreateTempSubdirectory("vfu").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    [SupportedOSPlatform("linux")]
    public void Constructor_Always_OpensTheSocketToItsOwnerOnly()
    {
        using ServerHost host = new();

        Assert.That(File.GetUnixFileMode(host.SocketPath), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
    }

    [Test]
    public void Dispose_Always_RemovesTheSocketAndClosesEveryDescriptor()
    {
        using EventLoop loop = new();
        int before = OpenDescriptors();
        string path = Path.Combine(_folder, "s");

        using (VfioUserServer server = new(loop, path, new TestDevice()))
        {
            using VfioUserClient client = Connect(path);
            loop.RunOnce(0);
        }

        Assert.That(File.Exists(path), Is.False);
        Assert.That(OpenDescriptors(), Is.EqualTo(before));
        Assert.That(loop.Count, Is.Zero);
    }

    [Test]
    public void Dispose_AfterAnotherServerTookThePath_LeavesItsSocket()
    {
        using EventLoop loop = new();
        string path = Path.Combine(_folder, "s");
        VfioUserServer first = new(loop, path, new TestDevice());
        File.Delete(path);
        using VfioUserServer second = new(loop, path, new TestDevice());

        first.Dispose();

        Assert.That(File.Exists(path), Is.True);
    }

    [Test]
    public void Constructor_StaleSocket_ReplacesIt()
    {
        string path = Path.Combine(_folder, "s");
        Libc.Close(UnixSocket.Listen(path));
        Assert.That(File.Exists(path), Is.True);

        using ServerHost host = new(path: path);
        using VfioUserClient client = host.Connect();

        Assert.That(client.GetRegion(0).Size, Is.EqualTo(4096));
    }

    [Test]
    public void Constructor_SocketInUse_NamesItAndLeavesTheServerAlone()
    {
        using ServerHost host = new();
        using EventLoop loop = new();
        int before = OpenDescriptors();

        VfioUserException error = Assert.Throws<VfioUserException>(() => new VfioUserServer(loop, host.SocketPath, new TestDevice()))!;

        Assert.That(error.Error, Is.EqualTo(Errno.EADDRINUSE));
        Assert.That(error.Message, Does.Contain(host.SocketPath).And.Contain("in use"));
        host.OnLoop(() => { });
        Assert.That(OpenDescriptors(), Is.EqualTo(before));
        using VfioUserClient client = host.Connect();
    }

    [Test]
    public void Constructor_FileInThePlace_NamesItAndKeepsTheFile()
    {
        using EventLoop loop = new();
        string path = Path.Combine(_folder, "notes");
        File.WriteAllText(path, "precious");

        VfioUserException error = Assert.Throws<VfioUserException>(() => new VfioUserServer(loop, path, new TestDevice()))!;

        Assert.That(error.Error, Is.EqualTo(Errno.EEXIST));
        Assert.That(File.ReadAllText(path), Is.EqualTo("precious"));
    }

    [Test]
    public void Constructor_PathTooLong_SaysHowLongItMayBe()
    {
        using EventLoop loop = new();
        string path = Path.Combine(_folder, new string('x', 120));

        VfioUserException error = Assert.Throws<VfioUserException>(() => new VfioUserServer(loop, path, new TestDevice()))!;

        Assert.That(error.Message, Does.Contain("107"));
    }

    [Test]
    public void LinkUp_False_HoldsVersionUntilTrue()
    {
        using ServerHost host = new();
        host.OnLoop(() => host.Server.LinkUp = false);
        using VfioUserClient client = host.ConnectRaw();
        client.Send(VfioUserCommand.Version, Bytes.Version(0, "{}\0"));
        client.Send(VfioUserCommand.DeviceReset, []);

        Assert.That(WaitOnLoop(host, () => host.Server.ClientWaiting), Is.True);
        Assert.That(host.Device.Events, Is.Empty);
        host.OnLoop(() => host.Server.LinkUp = true);

        Assert.That(client.Receive().Command, Is.EqualTo(VfioUserCommand.Version));
        Assert.That(client.Receive().Command, Is.EqualTo(VfioUserCommand.DeviceReset));
        Assert.That(host.Device.Next(), Is.EqualTo("connected"));
        Assert.That(host.Device.Next(), Is.EqualTo("reset"));
    }

    [Test]
    public void LinkUp_ClientLeavesWhileHeld_NextOneIsServed()
    {
        using ServerHost host = new();
        host.OnLoop(() => host.Server.LinkUp = false);
        using (VfioUserClient first = host.ConnectRaw())
        {
            first.Send(VfioUserCommand.Version, Bytes.Version(0, "{}\0"));
            Assert.That(WaitOnLoop(host, () => host.Server.ClientWaiting), Is.True);
        }

        Assert.That(WaitOnLoop(host, () => !host.Server.ClientWaiting), Is.True);
        host.OnLoop(() => host.Server.LinkUp = true);
        using VfioUserClient second = host.Connect();

        Assert.That(second.GetRegion(0).Size, Is.EqualTo(4096));
    }

    [TestCase("")]
    [TestCase("{}\0")]
    [TestCase("{\"capabilities\":{\"max_msg_fds\":8}}\0")]
    [TestCase("{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":1048576,\"migration\":{\"pgsize\":4096},\"write_multiple\":true,\"new\":[1]}}\0")]
    [Clause("vfio-user VERSION-1")]
    [Clause("vfio-user VERSION-3")]
    [Clause("vfio-user VERSION-5")]
    [Clause("vfio-user VERSION-7")]
    [Clause("vfio-user VERSION-13")]
    [Clause("vfio-user VERSION-15")]
    public void Version_Valid_IsAnsweredWithinTheLengthOfTheRequest(string text)
    {
        using ServerHost host = new();
        using VfioUserClient client = host.ConnectRaw();

        VfioUserReply reply = client.Request(VfioUserCommand.Version, Bytes.Version(0, text));

        Assert.That(reply.Payload.AsSpan(0, 4).ToArray(), Is.EqualTo(new byte[4]), "major 0, minor 0");
        Assert.That(reply.Payload, Has.Length.LessThanOrEqualTo(4 + text.Length));
        Assert.That(text.Length == 0 || reply.Payload[^1] == 0, Is.True, "NUL at the end");
        Assert.That(Encoding.UTF8.GetString(reply.Payload).Contains("write_multiple", StringComparison.Ordinal), Is.EqualTo(text.Contains("write_multiple", StringComparison.Ordinal)));
    }

    [TestCase((ushort)1, "{}\0", TestName = "Version_OtherMajor_IsRefused")]
    [TestCase((ushort)0, "{}", TestName = "Version_WithoutNul_IsRefused")]
    [TestCase((ushort)0, "{\0", TestName = "Version_WithoutBrace_IsRefused")]
    [TestCase((ushort)0, "\"\0", TestName = "Version_WithoutQuote_IsRefused")]
    [TestCase((ushort)0, "[]\0", TestName = "Version_NoObject_IsRefused")]
    [TestCase((ushort)0, "{\"capabilities\":\"23\"}\0", TestName = "Version_CapabilitiesNoObject_IsRefused")]
    [TestCase((ushort)0, "{\"capabilities\":{\"max_msg_fds\":\"foo\"}}\0", TestName = "Version_MaxFdsNoNumber_IsRefused")]
    [TestCase((ushort)0, "{\"capabilities\":{\"max_msg_fds\":-1}}\0", TestName = "Version_MaxFdsNegative_IsRefused")]
    [TestCase((ushort)0, "{\"capabilities\":{\"max_msg_fds\":1e99}}\0", TestName = "Version_MaxFdsHuge_IsRefused")]
    [TestCase((ushort)0, "{\"capabilities\":{\"max_data_xfer_size\":1.5}}\0", TestName = "Version_MaxDataNoInteger_IsRefused")]
    [TestCase((ushort)0, "{\"capabilities\":{\"write_multiple\":1}}\0", TestName = "Version_WriteMultipleNoBoolean_IsRefused")]
    [TestCase((ushort)0, "{\"capabilities\":{\"migration\":\"23\"}}\0", TestName = "Version_MigrationNoObject_IsRefused")]
    [TestCase((ushort)0, "{\"capabilities\":{\"max_dma_maps\":\"1\"}}\0", TestName = "Version_MaxDmaMapsNoNumber_IsRefused")]
    [TestCase((ushort)0, "{\"capabilities\":{\"pgsizes\":true}}\0", TestName = "Version_PgsizesNoNumber_IsRefused")]
    [TestCase((ushort)0, "{\"capabilities\":{\"twin_socket\":true}}\0", TestName = "Version_TwinSocketNoObject_IsRefused")]
    [TestCase((ushort)0, "{\"capabilities\":{\"twin_socket\":{\"supported\":1}}}\0", TestName = "Version_TwinSupportedNoBoolean_IsRefused")]
    [TestCase((ushort)0, "{\"capabilities\":{\"twin_socket\":{\"fd_index\":\"0\"}}}\0", TestName = "Version_TwinIndexNoNumber_IsRefused")]
    [TestCase((ushort)0, "{\"capabilities\":{}}trailing\0", TestName = "Version_TrailingText_IsRefused")]
    [TestCase((ushort)0, "\xFF\0", TestName = "Version_NoJson_IsRefused")]
    [Clause("vfio-user VERSION-11")]
    [Clause("vfio-user VERSION-12")]
    [Clause("vfio-user Connect-2")]
    [Clause("vfio-user VERSION-6")]
    [Clause("vfio-user VERSION-9")]
    [Clause("vfio-user VERSION-14")]
    public void Version_Invalid_IsRefusedAndTheClientCutOff(ushort major, string text)
    {
        using ServerHost host = new();
        using VfioUserClient client = host.ConnectRaw();

        VfioUserException error = Assert.Throws<VfioUserException>(() => client.Request(VfioUserCommand.Version, Bytes.Version(major, text)))!;

        Assert.That(error.Error, Is.EqualTo(Errno.EINVAL));
        AssertClosed(client);
        using VfioUserClient next = host.Connect();
    }

    [TestCase((ushort)0)]
    [TestCase((ushort)3)]
    [TestCase(ushort.MaxValue)]
    [Clause("vfio-user VERSION-2")]
    [Clause("vfio-user VERSION-4")]
    public void Version_AnyMinor_IsAnsweredWithOneNotAbove(ushort minor)
    {
        using ServerHost host = new();
        using VfioUserClient client = host.ConnectRaw();

        byte[] reply = client.Request(VfioUserCommand.Version, [0, 0, (byte)minor, (byte)(minor >> 8), .. "{}\0"u8]).Payload;

        Assert.That(BitConverter.ToUInt16(reply, 0), Is.Zero);
        Assert.That(BitConverter.ToUInt16(reply, 2), Is.LessThanOrEqualTo(minor));
    }

    [TestCase("[", TestName = "Version_DeepJson_IsRefused")]
    [TestCase("{\"a\":", TestName = "Version_DeepObjects_AreRefused")]
    [TestCase("\"", TestName = "Version_HugeString_IsRefused")]
    [Clause("vfio-user VERSION-18")]
    public void Version_Huge_IsRefused(string part)
    {
        using ServerHost host = new();
        using VfioUserClient client = host.ConnectRaw();
        string text = part == "\"" ? new string('x', 1_000_000) : string.Concat(Enumerable.Repeat(part, 1_000_000 / part.Length));

        Assert.That(
            () => client.Request(VfioUserCommand.Version, Bytes.Version(0, text + '\0')),
            Throws.TypeOf<VfioUserException>().With.Property("Error").EqualTo(Errno.EINVAL));
        AssertClosed(client);
        using VfioUserClient next = host.Connect();
    }

    [Test]
    [Clause("vfio-user VERSION-18")]
    public void Version_HugeButRight_IsAnswered()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.ConnectRaw();

        VfioUserReply reply = client.Request(VfioUserCommand.Version, Bytes.Version(0, $"{{\"note\":\"{new string('x', 1_000_000)}\"}}\0"));

        Assert.That(reply.Payload, Has.Length.LessThan(500));
    }

    [TestCase("{\"capabilities\":{}}\0", false)]
    [TestCase("{\"capabilities\":{\"twin_socket\":{}}}\0", false)]
    [TestCase("{\"capabilities\":{\"twin_socket\":{\"supported\":false}}}\0", false)]
    [TestCase("{\"capabilities\":{\"max_msg_fds\":0,\"twin_socket\":{\"supported\":true}}}\0", false)]
    [TestCase("{\"capabilities\":{\"twin_socket\":{\"supported\":true}}}\0", true)]
    [Clause("vfio-user Twin-1")]
    [Clause("vfio-user Twin-2")]
    [Clause("vfio-user Twin-6")]
    public void Version_TwinSocket_IsMadeForAClientThatTakesOne(string text, bool expected)
    {
        using ServerHost host = new();
        using VfioUserClient client = host.ConnectRaw();

        string reply = Encoding.UTF8.GetString(client.Request(VfioUserCommand.Version, Bytes.Version(0, text)).Payload);
        int[] descriptors = client.TakeDescriptors();

        Assert.That(reply.Contains("\"twin_socket\":{\"supported\":true,\"fd_index\":0}", StringComparison.Ordinal), Is.EqualTo(expected));
        Assert.That(descriptors, Has.Length.EqualTo(expected ? 1 : 0));
        Array.ForEach(descriptors, fd => Libc.Close(fd));
    }

    [TestCase(false, TestName = "TwinSocket_Closed_EndsTheConnection")]
    [TestCase(true, TestName = "TwinSocket_CommandOfTheClient_EndsTheConnection")]
    [Clause("vfio-user Twin-5")]
    public void TwinSocket_Misused_EndsTheConnection(bool command)
    {
        using ServerHost host = new();
        using VfioUserClient client = host.ConnectRaw();
        _ = client.Request(VfioUserCommand.Version, Bytes.Version(0, "{\"capabilities\":{\"twin_socket\":{\"supported\":true}}}\0"));
        int twin = client.TakeDescriptors()[0];

        if (command)
        {
            _ = UnixSocket.Send(twin, Bytes.Message(1, VfioUserCommand.DeviceReset, []), []);
        }

        _ = Libc.Close(twin);

        AssertClosed(client);
        Assert.That(host.Device.Next(), Is.EqualTo("connected"));
        Assert.That(host.Device.Next(), Is.EqualTo("disconnected"));
    }

    [Test]
    [Clause("vfio-user VERSION-17")]
    public void Version_TooShort_IsRefused()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.ConnectRaw();

        Assert.That(() => client.Request(VfioUserCommand.Version, [0, 0]), Throws.TypeOf<VfioUserException>().With.Property("Error").EqualTo(Errno.EINVAL));
        AssertClosed(client);
    }

    [Test]
    [Clause("vfio-user Connect-1")]
    public void FirstMessage_NotVersion_IsRefusedAndTheClientCutOff()
    {
        using ServerHost host = new();
        using VfioUserClient client = host.ConnectRaw();

        Assert.That(() => client.Reset(), Throws.TypeOf<VfioUserException>().With.Property("Error").EqualTo(Errno.EINVAL));
        AssertClosed(client);
        Assert.That(host.Device.Events, Is.Empty);
    }

    [Test]
    [Clause("vfio-user Connect-3")]
    public void Connect_WhileAnotherIsServed_IsTurnedAway()
    {
        using ServerHost host = new();
        using VfioUserClient first = host.Connect();

        Assert.That(() => VfioUserClient.Connect(host.SocketPath), Throws.TypeOf<VfioUserException>());

        Assert.That(first.GetRegion(0).Size, Is.EqualTo(4096));
    }

    [Test]
    [Clause("vfio-user Disconnect-1")]
    [Clause("vfio-user Disconnect-2")]
    [Clause("vfio-user Disconnect-4")]
    public void Client_LeavesAndReturns_FindsNothingOfTheFormerOne()
    {
        using ServerHost host = new();
        using SharedMemory memory = new(4096);
        using EventFd interrupt = new();
        int before = OpenDescriptors();
        for (int round = 0; round < 3; round++)
        {
            using (VfioUserClient client = host.Connect())
            {
                client.Map(memory, 0, 0x1000, 4096);
                client.ArmMsix(0, [interrupt]);
                Assert.That(host.OnLoop(() => host.Server.Memory.Count), Is.EqualTo(1));
            }

            Assert.That(host.Device.Next(), Is.EqualTo("map 1000-1fff"));
            Assert.That(host.Device.Next(), Is.EqualTo("irq 2 [0,1) Armed"));
            Assert.That(host.Device.Next(), Is.EqualTo("disconnected"));
            Assert.That(host.OnLoop(() => host.Server.Memory.Count), Is.Zero);
            Assert.That(host.OnLoop(() => host.Server.RaiseMsix(0)), Is.False);
        }

        Assert.That(OpenDescriptors(), Is.EqualTo(before));
    }

    [Test]
    public void Connect_RightAfterAnotherLeft_IsServed()
    {
        using EventLoop loop = new();
        TestDevice device = new();
        string path = Path.Combine(_folder, "s");
        using VfioUserServer server = new(loop, path, device);
        device.Server = server;
        VfioUserClient first = Connect(path);
        first.Send(VfioUserCommand.Version, Bytes.Version(0, string.Empty));
        loop.RunOnce(ServerHost.Deadline);
        loop.RunOnce(ServerHost.Deadline);
        first.Send(VfioUserCommand.RegionWrite, Bytes.Access(0, 0, 1, 7), noReply: true);
        first.Dispose();

        // The loop sees the last words, the hang-up and the newcomer in one round.
        using VfioUserClient second = Connect(path);
        second.Send(VfioUserCommand.Version, Bytes.Version(0, string.Empty));
        loop.RunOnce(ServerHost.Deadline);
        loop.RunOnce(ServerHost.Deadline);

        Assert.That(second.Receive().IsError, Is.False);
        Assert.That(device.Events, Is.EqualTo(new[] { "connected", "write 0+0:1 posted", "disconnected", "connected" }));
    }

    [Test]
    public void Complete_ForAClientThatLeft_IsIgnored()
    {
        using ServerHost host = new();
        host.Device.HeldOffset = 0;
        RequestToken read;
        using (VfioUserClient first = host.Connect())
        {
            first.Send(VfioUserCommand.RegionRead, Bytes.Access(0, 0, 4));
            read = host.Device.NextHeld();
        }

        Assert.That(host.Device.Next(), Is.EqualTo("disconnected"));
        using VfioUserClient second = host.Connect();
        second.Send(VfioUserCommand.RegionRead, Bytes.Access(0, 0, 2));
        RequestToken other = host.Device.NextHeld();
        host.OnLoop(() =>
        {
            host.Server.CompleteRead(read, new byte[4]);
            host.Server.Fail(read, Errno.EIO);
            host.Server.CompleteRead(default, new byte[4]);
            host.Server.CompleteRead(other, [8, 9]);
            host.Server.CompleteRead(other, [8, 9]);
        });

        Assert.That(second.Receive().Payload[16..], Is.EqualTo(new byte[] { 8, 9 }));
        Assert.That(second.GetRegion(0).Size, Is.EqualTo(4096));
    }

    /// <summary>Descriptors of the kinds that vfio-user passes or makes; the runtime opens files of its own at any time.</summary>
    internal static int OpenDescriptors() => Directory.GetFiles("/proc/self/fd")
        .Select(path => new FileInfo(path).LinkTarget)
        .Count(target => target is not null
            && (target.StartsWith("socket:", StringComparison.Ordinal)
                || target.StartsWith("/memfd:shared", StringComparison.Ordinal)
                || target is "anon_inode:[eventfd]" or "anon_inode:[timerfd]"));

    internal static void AssertClosed(VfioUserClient client) =>
        Assert.That(() => client.Receive(), Throws.TypeOf<VfioUserException>().With.Property("Error").EqualTo(Errno.ENOTCONN));

    private static VfioUserClient Connect(string path) =>
        VfioUserClient.Connect(path, new VfioUserClientOptions { Negotiate = false, TimeoutMilliseconds = ServerHost.Deadline });

    private static bool WaitOnLoop(ServerHost host, Func<bool> condition) =>
        SpinWait.SpinUntil(() => host.OnLoop(condition), ServerHost.Deadline);
}
