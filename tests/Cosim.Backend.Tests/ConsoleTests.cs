// SPDX-License-Identifier: Apache-2.0
using System.Net.Sockets;
using System.Text;
using Cosim.Virtio;
using NUnit.Framework;

namespace Cosim.Backend.Tests;

/// <summary>virtio-console through the whole back end: mailbox, rings, ports, and what they are connected to.</summary>
public sealed class ConsoleTests
{
    private const ulong Features = VirtioFeatures.Version1 | VirtioFeatures.RingEventIdx;
    private const ulong Multiport = 1 << 1;
    private const uint NoPort = uint.MaxValue;

    // Events of control messages.
    private const ushort DeviceReady = 0;
    private const ushort PortAdd = 1;
    private const ushort PortRemove = 2;
    private const ushort PortReady = 3;
    private const ushort ConsolePort = 4;
    private const ushort Resize = 5;
    private const ushort PortOpen = 6;
    private const ushort PortName = 7;

    private string _folder = string.Empty;
    private FakeFpga _fpga = null!;
    private ConsoleBackend _console = null!;
    private RunningBackend _backend = null!;
    private FrontEndQueue[] _queues = null!;
    private ushort _nextControl;

    [SetUp]
    public void Start()
    {
        _folder = Directory.CreateTempSubdirectory("con").FullName;
        _fpga = new FakeFpga();
        _console = new ConsoleBackend(
            [
                new ConsolePortOptions("", ConsolePortKind.File, At("console"), IsConsole: true),
                new ConsolePortOptions("data", ConsolePortKind.Socket, At("data")),
                new ConsolePortOptions("other", ConsolePortKind.Pipe, At("other")),
            ],
            100,
            30,
            text => _backend.Reports.Enqueue(text));
        _backend = new RunningBackend(_fpga, _console);
    }

    [TearDown]
    public void Stop()
    {
        _backend.Dispose();
        _console.Dispose();
        _fpga.Dispose();
        string[] left = [.. Directory.GetFiles(_folder).Select(file => Path.GetFileName(file)!)];
        Directory.Delete(_folder, recursive: true);
        Assert.That(left, Is.SubsetOf(new[] { "console", "link" }), "sockets and pipes go with the device");
    }

    [Test]
    public void Configuration_OfThreePorts_SaysSo()
    {
        Assert.That(_fpga.Ask(MailboxRequest.GetDevice)[..4], Is.EqualTo(Bytes.U16(3, 8)), "console, 8 queues");
        Assert.That(BitConverter.ToUInt64(_fpga.Ask(MailboxRequest.GetFeatures)) & 0xFF_FFFF, Is.EqualTo(7), "SIZE, MULTIPORT, EMERG_WRITE");
        Assert.That(
            _fpga.Ask(MailboxRequest.GetConfig, 0, [.. Bytes.U32(0, 12, 0), .. new byte[12]])[12..],
            Is.EqualTo((byte[])[.. Bytes.U16(100, 30), .. Bytes.U32(3, 0)]));
    }

    [Test]
    [Clause("virtio 5.3.6.2.1-1")]
    public void DeviceReady_Said_EachPortIsAddedOnceAndNoOther()
    {
        Begin(Multiport);
        Control(NoPort, DeviceReady, 1);

        for (uint port = 0; port < 3; port++)
        {
            Assert.That(Next(), Is.EqualTo((byte[])[.. Bytes.U32(port), .. Bytes.U16(PortAdd, 0)]));
        }

        Assert.That(_backend.Do(() => _console.Command(["add", "data"])), Does.Contain("port 1"));
        Assert.That(IsSilent(), Is.True, "it exists already");
    }

    [Test]
    [Clause("virtio 5.3.6.2.1-2")]
    [Clause("virtio 5.3.6.2.1-1")]
    public void Remove_OfAPort_IsToldOnceAndThePortMayComeBack()
    {
        Begin(Multiport);
        Ready(0, 1, 2);

        _ = _backend.Do(() => _console.Command(["remove", "other"]));
        Assert.That(Next(), Is.EqualTo((byte[])[.. Bytes.U32(2), .. Bytes.U16(PortRemove, 0)]));
        _ = _backend.Do(() => _console.Command(["remove", "2"]));
        Assert.That(IsSilent(), Is.True, "it is removed already");
        Control(2, PortReady, 1);
        Assert.That(IsSilent(), Is.True, "a port that is not there gets no messages");

        _ = _backend.Do(() => _console.Command(["add", "2"]));
        Assert.That(Next(), Is.EqualTo((byte[])[.. Bytes.U32(2), .. Bytes.U16(PortAdd, 0)]));
    }

    [Test]
    [Clause("virtio 5.3.6.2.1-2")]
    public void Remove_BeforeTheDriverIsReady_IsNeverTold()
    {
        Begin(Multiport);
        _ = _backend.Do(() => _console.Command(["remove", "other"]));
        Control(NoPort, DeviceReady, 1);

        Assert.That(Next()[0], Is.Zero);
        Assert.That(Next()[0], Is.EqualTo(1));
        Assert.That(IsSilent(), Is.True);
    }

    [Test]
    public void PortReady_OfAConsole_TellsItsWindowAndThatItIsOpen()
    {
        Begin(Multiport);
        Control(NoPort, DeviceReady, 1);
        Skip(3);
        Control(0, PortReady, 1);

        Assert.That(Next(), Is.EqualTo((byte[])[.. Bytes.U32(0), .. Bytes.U16(ConsolePort, 1)]));
        Assert.That(Next(), Is.EqualTo((byte[])[.. Bytes.U32(0), .. Bytes.U16(Resize, 0), .. Bytes.U16(100, 30)]));
        Assert.That(Next(), Is.EqualTo((byte[])[.. Bytes.U32(0), .. Bytes.U16(PortOpen, 1)]));
        _ = _backend.Do(() => _console.Command(["window", "0", "132x43"]));
        Assert.That(Next(), Is.EqualTo((byte[])[.. Bytes.U32(0), .. Bytes.U16(Resize, 0), .. Bytes.U16(132, 43)]));
    }

    [Test]
    public void PortReady_OfAPortWithAName_TellsItAndWhetherSomebodyIsThere()
    {
        Begin(Multiport);
        Control(NoPort, DeviceReady, 1);
        Skip(3);
        Control(1, PortReady, 1);

        Assert.That(Next(), Is.EqualTo((byte[])[.. Bytes.U32(1), .. Bytes.U16(PortName, 1), .. "data"u8]));
        Assert.That(IsSilent(), Is.True, "nobody is at the socket");
        using (Socket first = Connect())
        {
            Assert.That(Next(), Is.EqualTo((byte[])[.. Bytes.U32(1), .. Bytes.U16(PortOpen, 1)]));
        }

        Assert.That(Next(), Is.EqualTo((byte[])[.. Bytes.U32(1), .. Bytes.U16(PortOpen, 0)]));
        using Socket second = Connect();
        Assert.That(Next(), Is.EqualTo((byte[])[.. Bytes.U32(1), .. Bytes.U16(PortOpen, 1)]));
    }

    [Test]
    public void Data_BothWaysThroughASocket_ComesWholeAndInOrder()
    {
        byte[] up = new byte[300_001];
        byte[] down = new byte[300_001];
        new Random(31).NextBytes(up);
        new Random(32).NextBytes(down);
        Begin(Multiport);
        Ready(1);
        using Socket client = Connect();
        Assert.That(Next()[4], Is.EqualTo(PortOpen));
        Control(1, PortOpen, 1);
        Task sending = Task.Run(() => SendAll(client, up));
        Task<byte[]> receiving = Task.Run(() => ReceiveAll(client, down.Length));

        using MemoryStream received = new();
        FrontEndQueue receive = _queues[4];
        OfferRoom(receive, 16, 1000);
        int sent = 0;
        while (received.Length < up.Length || sent < down.Length)
        {
            if (received.Length < up.Length)
            {
                (uint id, uint length) = receive.WaitUsed();
                Assert.That(length, Is.InRange(1, 1000));
                received.Write(FrontEndQueue.Read(_fpga, receive.Buffers + (id * 0x1000), (int)length));
                receive.Offer((ushort)id);
            }

            if (sent < down.Length)
            {
                int part = Math.Min(1777, down.Length - sent);
                Assert.That(_queues[5].Exchange(down[sent..(sent + part)], 0), Is.Empty);
                sent += part;
            }
        }

        _fpga.RunUntil(() => sending.IsCompleted && receiving.IsCompleted, "the client has all");
        Assert.That(received.ToArray().AsSpan().SequenceEqual(up), Is.True);
        Assert.That(receiving.Result.AsSpan().SequenceEqual(down), Is.True);
    }

    [Test]
    public void Data_BeforeHostOneHasOpenedThePort_WaitsForIt()
    {
        Begin(Multiport);
        Ready(1);
        using Socket client = Connect();
        Assert.That(Next()[4], Is.EqualTo(PortOpen));
        FrontEndQueue receive = _queues[4];
        OfferRoom(receive, 4, 100);
        SendAll(client, "early"u8.ToArray());
        _fpga.RunFor(50);
        Assert.That(receive.HasUsed, Is.False);

        Control(1, PortOpen, 1);
        (uint id, uint length) = receive.WaitUsed();
        Assert.That(FrontEndQueue.Read(_fpga, receive.Buffers + (id * 0x1000), (int)length), Is.EqualTo("early"u8.ToArray()));

        Control(1, PortOpen, 0);
        SendAll(client, "late"u8.ToArray());
        _fpga.RunFor(50);
        Assert.That(receive.HasUsed, Is.False);
    }

    [Test]
    public void Data_OfAClientThatHasLeft_IsDeliveredBeforeThePortCloses()
    {
        Begin(Multiport);
        Ready(1);
        using (Socket client = Connect())
        {
            Assert.That(Next()[4], Is.EqualTo(PortOpen));
            SendAll(client, "bye"u8.ToArray());
        }

        _fpga.RunFor(50);
        FrontEndQueue receive = _queues[4];
        OfferRoom(receive, 4, 100);
        Control(1, PortOpen, 1);

        (uint id, uint length) = receive.WaitUsed();
        Assert.That(FrontEndQueue.Read(_fpga, receive.Buffers + (id * 0x1000), (int)length), Is.EqualTo("bye"u8.ToArray()));
        Assert.That(Next(), Is.EqualTo((byte[])[.. Bytes.U32(1), .. Bytes.U16(PortOpen, 0)]));
    }

    [Test]
    public void Port_WhoseClientReadsNothing_WaitsAndTheOthersGoOn()
    {
        Begin(Multiport);
        Ready(1, 2);
        using Socket client = Connect();
        Assert.That(Next()[4], Is.EqualTo(PortOpen));
        byte[] piece = new byte[0x4_0000];
        new Random(33).NextBytes(piece);
        FrontEndQueue stalled = _queues[5];
        FrontEndQueue.Write(_fpga, stalled.Buffers, piece);
        for (ushort buffer = 0; buffer < 16; buffer++)
        {
            stalled.Describe(buffer, stalled.Buffers, (uint)piece.Length, DescriptorFlags.None);
            stalled.Offer(buffer);
        }

        int used = 0;
        bool More() => stalled.HasUsed && stalled.TakeUsed().Id == used++;
        _fpga.RunFor(100);
        while (More())
        {
        }

        Assert.That(used, Is.LessThan(16), "a socket does not hold 4 MiB");
        Assert.That(_queues[7].Exchange("goes on"u8.ToArray(), 0), Is.Empty);
        using (FileStream pipe = new(At("other.out"), FileMode.Open, FileAccess.Read))
        {
            byte[] text = new byte[7];
            pipe.ReadExactly(text);
            Assert.That(Encoding.ASCII.GetString(text), Is.EqualTo("goes on"));
        }

        Task<byte[]> receiving = Task.Run(() => ReceiveAll(client, 16 * piece.Length));
        _fpga.RunUntil(() => !More() && used == 16 && receiving.IsCompleted, "all of it has gone through");
        for (int part = 0; part < 16; part++)
        {
            Assert.That(receiving.Result.AsSpan(part * piece.Length, piece.Length).SequenceEqual(piece), Is.True);
        }
    }

    [Test]
    public void Port_WithoutClient_DropsWhatIsWritten()
    {
        Begin(Multiport);
        Ready(1);

        Assert.That(_queues[5].Exchange(new byte[100], 0), Is.Empty);
        using Socket client = Connect();
        Assert.That(Next()[4], Is.EqualTo(PortOpen));
        Assert.That(_queues[5].Exchange("now"u8.ToArray(), 0), Is.Empty);
        Assert.That(ReceiveAll(client, 3), Is.EqualTo("now"u8.ToArray()));
    }

    [Test]
    public void Driver_WithoutMultiport_HasPortZeroOnItsFirstQueues()
    {
        _queues = [.. Enumerable.Range(0, 2).Select(queue => FrontEndQueue.Enable(_fpga, 0, queue, 64, Features))];

        Assert.That(_queues[1].Exchange("login: "u8.ToArray(), 0), Is.Empty);

        Assert.That(File.ReadAllText(At("console")), Is.EqualTo("login: "));
    }

    [Test]
    [Clause("virtio 5.3.5.1-1")]
    [Clause("virtio 5.3.5.1-2")]
    public void EmergencyWrite_OnADeviceThatNobodyHasSetUp_GoesToTheConsoleAndTheReport()
    {
        foreach (char letter in "panic!\n")
        {
            Assert.That(_fpga.Tell(MailboxRequest.SetConfig, 0, [.. Bytes.U32(8, 4, 0), .. Bytes.U32(letter | 0xABCD_EF00u)]), Is.Zero);
        }

        Assert.That(File.ReadAllText(At("console")), Is.EqualTo("panic!\n"));
        Assert.That(_backend.Reports, Has.Some.Contains("panic!"));
        Assert.That(_fpga.Tell(MailboxRequest.SetConfig, 0, [.. Bytes.U32(4, 4, 0), .. Bytes.U32(9)]), Is.EqualTo(22), "max_nr_ports is the device's");
    }

    [Test]
    public void EmergencyWrite_ThatAnotherBackEndHasCarriedOut_IsNotCarriedOutAgain()
    {
        Assert.That(_fpga.Tell(MailboxRequest.SetConfig, 0, [.. Bytes.U32(8, 4, 1), .. Bytes.U32('!')]), Is.Zero);
        Assert.That(_fpga.Tell(MailboxRequest.SetConfig, 0, [.. Bytes.U32(8, 4, 0), .. Bytes.U32('?')]), Is.Zero);

        Assert.That(File.ReadAllText(At("console")), Is.EqualTo("?"));
    }

    [Test]
    public void Control_MalformedMessages_AreDroppedAndTheNextIsTaken()
    {
        Begin(Multiport);
        Ready(1);
        int before = _backend.Reports.Count;

        Assert.That(_queues[3].Exchange(new byte[7], 0), Is.Empty); // too short
        Control(3, PortReady, 1); // no such port
        Control(NoPort, PortOpen, 1);
        Control(1, PortName, 1); // the device's own
        Control(1, 99, 1); // no such event
        Control(1, PortReady, 0); // the driver failed

        Assert.That(_backend.Reports, Has.Count.EqualTo(before + 6));
        Control(1, PortReady, 1);
        Assert.That(Next(), Is.EqualTo((byte[])[.. Bytes.U32(1), .. Bytes.U16(PortName, 1), .. "data"u8]));
    }

    [Test]
    public void Control_BufferTooSmallForAName_IsUsedEmptyAndSaidSo()
    {
        Begin(Multiport, controlRoom: 8);
        Control(NoPort, DeviceReady, 1);
        Skip(3);
        Control(1, PortReady, 1);

        Assert.That(Next(), Is.Empty);
        Assert.That(_backend.Reports, Has.Some.Contains("12 bytes"));
    }

    [Test]
    public void Session_BegunAnewUnderADriver_GoesOnWithoutAddingItsPortsAgain()
    {
        Begin(Multiport);
        Ready(1);
        OfferRoom(_queues[4], 4, 100);
        using Socket client = Connect();
        Assert.That(Next()[4], Is.EqualTo(PortOpen));

        // A new front end: the same driver's buffers are offered again, and it says nothing of being ready.
        _ = _fpga.Ask(MailboxRequest.GetBackend);
        Begin(Multiport);
        OfferRoom(_queues[4], 4, 100);
        Assert.That(Next(), Is.EqualTo((byte[])[.. Bytes.U32(1), .. Bytes.U16(PortOpen, 1)]));
        SendAll(client, "still there"u8.ToArray());

        (uint id, uint length) = _queues[4].WaitUsed();
        Assert.That(FrontEndQueue.Read(_fpga, _queues[4].Buffers + (id * 0x1000), (int)length), Is.EqualTo("still there"u8.ToArray()));
        Assert.That(_queues[5].Exchange("here too"u8.ToArray(), 0), Is.Empty);
        Assert.That(ReceiveAll(client, 8), Is.EqualTo("here too"u8.ToArray()));
        Assert.That(IsSilent(), Is.True);
    }

    [Test]
    public void Terminal_OfAConsole_CarriesBothWaysAndLosesOnlyWhatNobodyReads()
    {
        _backend.Dispose();
        _console.Dispose();
        _fpga.Dispose();
        _fpga = new FakeFpga();
        _console = new ConsoleBackend([new ConsolePortOptions("", ConsolePortKind.Pty, At("link"), IsConsole: true)], 80, 24, text => _backend.Reports.Enqueue(text));
        _backend = new RunningBackend(_fpga, _console);
        _queues = [.. Enumerable.Range(0, 2).Select(queue => FrontEndQueue.Enable(_fpga, 0, queue, 64, Features))];
        string terminal = File.ResolveLinkTarget(At("link"), returnFinalTarget: true)!.FullName;
        Assert.That(terminal, Does.StartWith("/dev/pts/"));

        // More than a terminal holds: a console's driver would wait for ever.
        _queues[1].Exchange(new byte[200_000], 0);

        using FileStream stream = new(terminal, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
        OfferRoom(_queues[0], 4, 100);
        stream.Write("raw\x03\r"u8);
        (uint id, uint length) = _queues[0].WaitUsed();
        Assert.That(FrontEndQueue.Read(_fpga, _queues[0].Buffers + (id * 0x1000), (int)length), Is.EqualTo("raw\x03\r"u8.ToArray()));
    }

    private static void SendAll(Socket socket, byte[] data)
    {
        for (int sent = 0; sent < data.Length;)
        {
            sent += socket.Send(data.AsSpan(sent));
        }
    }

    private static byte[] ReceiveAll(Socket socket, int length)
    {
        byte[] data = new byte[length];
        for (int received = 0; received < length;)
        {
            int part = socket.Receive(data.AsSpan(received));
            Assert.That(part, Is.Positive, "the port was closed");
            received += part;
        }

        return data;
    }

    private string At(string name) => Path.Combine(_folder, name);

    private Socket Connect()
    {
        Socket client = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        client.Connect(new UnixDomainSocketEndPoint(At("data")));
        return client;
    }

    /// <summary>Enables all queues and gives the device room for control messages.</summary>
    private void Begin(ulong features, uint controlRoom = 72)
    {
        _queues = [.. Enumerable.Range(0, 8).Select(queue => FrontEndQueue.Enable(_fpga, 0, queue, 64, Features | features))];
        OfferRoom(_queues[2], 32, controlRoom);
        _nextControl = 0;
    }

    private static void OfferRoom(FrontEndQueue queue, ushort buffers, uint size)
    {
        for (ushort buffer = 0; buffer < buffers; buffer++)
        {
            queue.Describe(buffer, queue.Buffers + (buffer * 0x1000u), size, DescriptorFlags.Write);
            queue.Offer(buffer);
        }
    }

    /// <summary>Plays the driver up to where these ports are ready, and skips what the device says meanwhile.</summary>
    private void Ready(params uint[] ports)
    {
        Control(NoPort, DeviceReady, 1);
        Skip(3);
        foreach (uint port in ports)
        {
            Control(port, PortReady, 1);
            Skip(port switch { 0 => 3, 1 => 1, _ => 2 });
        }
    }

    private void Control(uint port, ushort what, ushort value) =>
        Assert.That(_queues[3].Exchange([.. Bytes.U32(port), .. Bytes.U16(what, value)], 0), Is.Empty);

    private void Skip(int messages)
    {
        for (int message = 0; message < messages; message++)
        {
            _ = Next();
        }
    }

    /// <summary>The next control message of the device.</summary>
    private byte[] Next()
    {
        (uint id, uint length) = _queues[2].WaitUsed();
        Assert.That(id, Is.EqualTo(_nextControl++));
        return FrontEndQueue.Read(_fpga, _queues[2].Buffers + (id * 0x1000), (int)length);
    }

    private bool IsSilent()
    {
        _fpga.RunFor(30);
        return !_queues[2].HasUsed;
    }
}
