// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.VfioUser.Internal;
using NUnit.Framework;

namespace Cosim.VfioUser.Tests;

/// <summary>The client half against a server that is played by the test, and misbehaves.</summary>
public sealed class ClientTests
{
    private string _folder = string.Empty;
    private int _listener;

    [SetUp]
    public void Listen()
    {
        _folder = Directory.CreateTempSubdirectory("vfu").FullName;
        _listener = UnixSocket.Listen(Path.Combine(_folder, "s"));
    }

    [TearDown]
    public void Close()
    {
        _ = Libc.Close(_listener);
        Directory.Delete(_folder, recursive: true);
    }

    [TestCase(0)]
    [TestCase(2)]
    [Clause("vfio-user Twin-4")]
    public void Connect_TwinPromisedWithoutItsDescriptor_IsGivenUp(int descriptors)
    {
        using EventFd passed = new();

        VfioUserException error = Assert.Throws<VfioUserException>(
            () => Connect("{\"capabilities\":{\"twin_socket\":{\"supported\":true,\"fd_index\":0}}}\0", descriptors, passed).Dispose())!;

        Assert.That(error.Message, Does.Contain("twin socket"));
    }

    private static IEnumerable<TestCaseData> BadRequests()
    {
        yield return new TestCaseData(VfioUserCommand.DmaRead, Array.Empty<byte>()).SetName("Serve_ReadWithoutFields_IsRefused");
        yield return new TestCaseData(VfioUserCommand.DmaRead, (byte[])[.. Bytes.U64(0, 4), 1]).SetName("Serve_ReadWithData_IsRefused");
        yield return new TestCaseData(VfioUserCommand.DmaRead, Bytes.U64(0, 4097)).SetName("Serve_ReadOfTooMuch_IsRefused");
        yield return new TestCaseData(VfioUserCommand.DmaRead, Bytes.U64(0, ulong.MaxValue)).SetName("Serve_ReadOfEverything_IsRefused");
        yield return new TestCaseData(VfioUserCommand.DmaWrite, (byte[])[.. Bytes.U64(0, 4), 1, 2, 3]).SetName("Serve_WriteOfFewerBytes_IsRefused");
        yield return new TestCaseData(VfioUserCommand.DmaWrite, (byte[])[.. Bytes.U64(0, 1), 1, 2]).SetName("Serve_WriteOfMoreBytes_IsRefused");
        yield return new TestCaseData(VfioUserCommand.DeviceReset, Array.Empty<byte>()).SetName("Serve_CommandOfTheOtherDirection_IsRefused");
        yield return new TestCaseData((VfioUserCommand)77, Array.Empty<byte>()).SetName("Serve_UnknownCommand_IsRefused");
    }

    [TestCaseSource(nameof(BadRequests))]
    [Clause("vfio-user DMA_READ-8")]
    public void Serve_Malformed_IsRefused(VfioUserCommand command, byte[] payload)
    {
        (VfioUserClient client, int server) = Accept("{}\0", 0, null);
        using (client)
        {
            _ = UnixSocket.Send(server, Bytes.Message(0x4242, command, payload), []);

            Assert.That(client.Serve(ServerHost.Deadline), Is.True);

            byte[] answer = Receive(server);
            Assert.That(answer, Has.Length.EqualTo(16));
            Assert.That(BinaryPrimitives.ReadUInt16LittleEndian(answer), Is.EqualTo(0x4242));
            Assert.That(BinaryPrimitives.ReadUInt32LittleEndian(answer.AsSpan(8)), Is.EqualTo(0x21));
            Assert.That(BinaryPrimitives.ReadInt32LittleEndian(answer.AsSpan(12)), Is.EqualTo((int)Errno.EINVAL));
        }

        _ = Libc.Close(server);
    }

    [Test]
    [Clause("vfio-user DMA_READ-8")]
    public void Serve_RequestWithADescriptor_IsRefusedAndItIsClosed()
    {
        using EventFd passed = new();
        (VfioUserClient client, int server) = Accept("{}\0", 0, null);
        using (client)
        {
            _ = UnixSocket.Send(server, Bytes.Message(1, VfioUserCommand.DmaRead, Bytes.U64(0, 4)), [passed.Fd]);

            Assert.That(client.Serve(ServerHost.Deadline), Is.True);

            Assert.That(BinaryPrimitives.ReadInt32LittleEndian(Receive(server).AsSpan(12)), Is.EqualTo((int)Errno.EINVAL));
        }

        _ = Libc.Close(server);
    }

    [Test]
    public void Serve_NothingAsked_ComesBackInTime()
    {
        (VfioUserClient client, int server) = Accept("{}\0", 0, null);
        using (client)
        {
            Assert.That(client.Serve(10), Is.False);
        }

        _ = Libc.Close(server);
    }

    private static unsafe byte[] Receive(int socket)
    {
        Libc.PollFd descriptor = new() { Fd = socket, Events = (short)PollEvents.In };
        Assert.That(Libc.Poll(&descriptor, 1, ServerHost.Deadline), Is.EqualTo(1), "Nothing came.");
        byte[] bytes = new byte[8192];
        DescriptorQueue descriptors = new();
        nint received = UnixSocket.Receive(socket, bytes, descriptors, wait: false);
        descriptors.CloseAll();
        return bytes[..(int)received];
    }

    private VfioUserClient Connect(string version, int descriptors, EventFd? passed)
    {
        (VfioUserClient client, int server) = Accept(version, descriptors, passed);
        _ = Libc.Close(server);
        return client;
    }

    /// <summary>A client that has been told the version in these words, and the server's end.</summary>
    private unsafe (VfioUserClient Client, int Server) Accept(string version, int descriptors, EventFd? passed)
    {
        Task<VfioUserClient> connecting = Task.Run(() => VfioUserClient.Connect(
            Path.Combine(_folder, "s"),
            new VfioUserClientOptions { TwinSocket = true, Memory = new NoMemory(), MaxDataTransferSize = 4096, TimeoutMilliseconds = ServerHost.Deadline }));
        Libc.PollFd descriptor = new() { Fd = _listener, Events = (short)PollEvents.In };
        Assert.That(Libc.Poll(&descriptor, 1, ServerHost.Deadline), Is.EqualTo(1), "Nobody came.");
        int server = Libc.Accept(_listener, null, null, Libc.SOCK_CLOEXEC);
        byte[] request = Receive(server);
        byte[] reply = Bytes.Message(BinaryPrimitives.ReadUInt16LittleEndian(request), VfioUserCommand.Version, Bytes.Version(0, version), flags: 1);
        _ = UnixSocket.Send(server, reply, Enumerable.Repeat(passed?.Fd ?? -1, descriptors).ToArray());
        try
        {
            return (connecting.GetAwaiter().GetResult(), server);
        }
        catch
        {
            _ = Libc.Close(server);
            throw;
        }
    }

    private sealed class NoMemory : IVfioUserClientMemory
    {
        public Errno Read(ulong address, Span<byte> destination) => Errno.None;

        public Errno Write(ulong address, ReadOnlySpan<byte> source) => Errno.None;
    }
}
