// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Cosim.Backend.Internal;
using Cosim.VfioUser;
using Cosim.Virtio;

namespace Cosim.Backend;

/// <summary>virtio-console (virtio 1.3, 5.3) with any number of ports, each connected to something in host 2.</summary>
/// <remarks>A driver without MULTIPORT has port 0 alone. What is to be told to the driver is kept as a state of each port, never as a list of messages.</remarks>
public sealed unsafe class ConsoleBackend : IDeviceBackend
{
    /// <summary>Most ports, so that they and the control queues fit the 64 queues that a function has at most.</summary>
    public const int MaxPorts = 31;

    /// <summary>Longest name of a port in bytes.</summary>
    public const int MaxNameLength = 64;

    /// <summary>VIRTIO_CONSOLE_F_SIZE, MULTIPORT, EMERG_WRITE.</summary>
    private const ulong OfferedFeatures = (1 << 0) | MultiportFeature | (1 << 2);

    private const ulong MultiportFeature = 1 << 1;
    private const int ConfigurationSize = 12;
    private const int EmergencyOffset = 8;
    private const int ControlReceive = 2;
    private const int ControlTransmit = 3;

    /// <summary>struct virtio_console_control: id, event, value.</summary>
    private const int ControlSize = 8;

    /// <summary>Buffers of one queue carried before other queues and devices have their turn.</summary>
    private const int Batch = 64;

    private readonly byte[] _configuration = new byte[ConfigurationSize];
    private readonly byte[] _message = new byte[ControlSize + MaxNameLength];
    private readonly Port[] _ports;
    private readonly Action<string> _report;
    private readonly List<byte> _emergency = [];
    private NextRound? _next;
    private Virtqueue? _controlReceive;
    private bool _multiport;
    private bool _driverReady;

    /// <summary>Opens the ports.</summary>
    /// <param name="ports">At most <see cref="MaxPorts"/>; port 0 is what a driver without MULTIPORT has.</param>
    /// <param name="columns">Width of the consoles' windows in characters.</param>
    /// <param name="rows">Their height.</param>
    /// <param name="report">Takes a sentence for each thing worth knowing.</param>
    /// <exception cref="BackendException">A port cannot be opened, or a name is taken or too long.</exception>
    public ConsoleBackend(IReadOnlyList<ConsolePortOptions> ports, ushort columns, ushort rows, Action<string> report)
    {
        ArgumentNullException.ThrowIfNull(ports);
        if (ports.Count is 0 or > MaxPorts)
        {
            throw new BackendException($"A console has {ports.Count} ports; expected 1 to {MaxPorts}.");
        }

        if (ports.FirstOrDefault(port => Encoding.UTF8.GetByteCount(port.Name) > MaxNameLength) is { } tooLong)
        {
            throw new BackendException($"The name of console port \"{tooLong.Name}\" is longer than {MaxNameLength} bytes.");
        }

        if (ports.Where(port => port.Name.Length > 0).GroupBy(port => port.Name).FirstOrDefault(group => group.Count() > 1) is { } twice)
        {
            throw new BackendException($"Two console ports are called \"{twice.Key}\".");
        }

        _report = report;
        _ports = new Port[ports.Count];
        try
        {
            for (int port = 0; port < _ports.Length; port++)
            {
                _ports[port] = new Port(ports[port]) { Columns = columns, Rows = rows };
            }
        }
        catch
        {
            Dispose();
            throw;
        }

        BinaryPrimitives.WriteUInt16LittleEndian(_configuration, columns);
        BinaryPrimitives.WriteUInt16LittleEndian(_configuration.AsSpan(2), rows);
        BinaryPrimitives.WriteUInt32LittleEndian(_configuration.AsSpan(4), (uint)_ports.Length); // max_nr_ports
    }

    private enum ControlEvent : ushort
    {
        DeviceReady = 0,
        PortAdd = 1,
        PortRemove = 2,
        PortReady = 3,
        ConsolePort = 4,
        Resize = 5,
        PortOpen = 6,
        PortName = 7,
    }

    /// <summary>What the driver has yet to be told of a port, in the order in which it is told.</summary>
    [Flags]
    private enum News
    {
        None = 0,
        Remove = 1,
        Add = 2,
        Console = 4,
        Window = 8,
        Name = 16,
        Open = 32,
    }

    /// <inheritdoc/>
    public string Description =>
        $"console {string.Join(", ", _ports.Select(port => $"{(port.Options.Name.Length > 0 ? port.Options.Name : "-")} on {port.Options.Kind} {port.Options.Path}"))}";

    /// <inheritdoc/>
    public VirtioDeviceId DeviceId => VirtioDeviceId.Console;

    /// <summary>Communication controller of another kind, revision 1.</summary>
    public uint ClassRevision => 0x0780_0001;

    /// <summary>Two for each port, two for control.</summary>
    public int QueueCount => 2 * (_ports.Length + 1);

    /// <inheritdoc/>
    public int QueueSize => 128;

    /// <inheritdoc/>
    public ulong Features => OfferedFeatures;

    /// <inheritdoc/>
    public ReadOnlySpan<byte> Configuration => _configuration;

    /// <inheritdoc/>
    public void Attach(EventLoop loop, Action configurationChanged)
    {
        _next = new NextRound(loop, Serve, _report);
        foreach (Port port in _ports)
        {
            port.Patience = new Alarm(loop, () => GiveUp(port));
            port.End.Attach(loop, () => Receive(port), () => GoOn(port), () => OpenChanged(port));
        }
    }

    /// <summary>An emergency write (5.3.4): the lowest byte goes to port 0, and line by line to the report.</summary>
    public bool WriteConfiguration(int offset, ReadOnlySpan<byte> data)
    {
        if (offset != EmergencyOffset || data.IsEmpty)
        {
            return false;
        }

        byte value = data[0];
        _ = _ports[0].End.Write(&value, 1);
        if (value != (byte)'\n')
        {
            _emergency.Add(value);
        }

        if (value == (byte)'\n' || _emergency.Count >= 128)
        {
            _report($"Emergency output: {Encoding.ASCII.GetString([.. _emergency])}");
            _emergency.Clear();
        }

        return true;
    }

    /// <summary>An emergency write leaves nothing behind in the field, and its character is out.</summary>
    public bool RestoreConfiguration(int offset, ReadOnlySpan<byte> data) => offset == EmergencyOffset;

    /// <inheritdoc/>
    public void Negotiated(ulong features)
    {
        _multiport = (features & MultiportFeature) != 0;
        ForgetDriver();
    }

    /// <summary>
    /// <c>remove PORT</c>, <c>add PORT</c> (again), <c>window PORT COLUMNSxROWS</c>; a port by its name or number.
    /// </summary>
    public string Command(IReadOnlyList<string> words)
    {
        ArgumentNullException.ThrowIfNull(words);
        int number = words.Count > 1 ? Array.FindIndex(_ports, port => port.Options.Name == words[1]) : -1;
        if (number < 0 && (words.Count < 2 || !int.TryParse(words[1], NumberStyles.None, CultureInfo.InvariantCulture, out number) || number >= _ports.Length))
        {
            throw new BackendException("expected remove, add or window and the name or number of a port");
        }

        Port subject = _ports[number];
        switch (words)
        {
            case ["remove", _]:
                SetPresent(subject, false);
                return $"port {number} is removed";
            case ["add", _]:
                SetPresent(subject, true);
                return $"port {number} is added";
            case ["window", _, string size] when TryParseWindow(size, out ushort columns, out ushort rows):
                (subject.Columns, subject.Rows) = (columns, rows);
                if (subject is { IsReady: true, Options.IsConsole: true })
                {
                    Tell(subject, News.Window);
                }

                return $"port {number} has a window of {columns}x{rows}";
            default:
                throw new BackendException("expected remove PORT, add PORT or window PORT COLUMNSxROWS");
        }
    }

    /// <inheritdoc/>
    public void Serve(Virtqueue queue)
    {
        if (queue.Index == ControlReceive)
        {
            _controlReceive = queue;
            SendNews();
        }
        else if (queue.Index == ControlTransmit)
        {
            TakeControl(queue);
        }
        else
        {
            Port port = _ports[queue.Index < ControlReceive ? 0 : (queue.Index / 2) - 1];
            if (queue.Index % 2 == 0)
            {
                port.ReceiveQueue = queue;
                Recognize(port, queue);
                Receive(port);
            }
            else
            {
                port.TransmitQueue = queue;
                Transmit(port, queue);
            }
        }
    }

    /// <inheritdoc/>
    public void Stopped(Virtqueue queue)
    {
        if (queue.Index == ControlReceive)
        {
            _controlReceive = null;
        }
        else if (queue.Index == ControlTransmit)
        {
            ForgetDriver();
        }
        else
        {
            Port port = _ports[queue.Index < ControlReceive ? 0 : (queue.Index / 2) - 1];
            if (queue.Index % 2 == 0)
            {
                port.ReceiveQueue = null;
                port.End.WantsInput = false;
            }
            else
            {
                port.TransmitQueue = null;
                port.Sent = 0;
                port.End.WantsRoom = false;
                port.Patience!.Stop();
            }
        }
    }

    /// <summary>Closes the ports.</summary>
    public void Dispose()
    {
        _next?.Dispose();
        foreach (Port? port in _ports)
        {
            port?.Patience?.Dispose();
            port?.End.Dispose();
        }
    }

    /// <summary>Reads COLUMNSxROWS.</summary>
    internal static bool TryParseWindow(string text, out ushort columns, out ushort rows)
    {
        string[] parts = text.Split('x');
        rows = 0;
        return ushort.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out columns)
            && parts.Length == 2
            && ushort.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out rows);
    }

    private void ForgetDriver()
    {
        _driverReady = false;
        foreach (Port port in _ports)
        {
            port.IsAdded = port.IsReady = port.IsOpenInHostOne = false;
            port.News = News.None;
        }
    }

    /// <summary>
    /// A driver that has not said in this session that it is ready, but has given a port its buffers, has met us before: this program, or host 2,
    /// was started anew. It is not told again of a port that it has (5.3.6.2.1), and will not open again what it has opened.
    /// </summary>
    private void Recognize(Port port, Virtqueue queue)
    {
        if (_multiport && !_driverReady && !port.IsAdded && queue.TryTake())
        {
            queue.Untake();
            port.IsAdded = port.IsReady = port.IsOpenInHostOne = true;
            Tell(port, News.Open);
        }
    }

    private void TakeControl(Virtqueue queue)
    {
        Span<byte> message = stackalloc byte[ControlSize];
        int count = 0;
        do
        {
            queue.SuppressKicks();
            while (queue.TryTake())
            {
                if (++count > Batch)
                {
                    queue.Untake();
                    _next!.Add(queue);
                    return;
                }

                bool whole = queue.Chain.Read(0, message) == ControlSize;
                uint id = BinaryPrimitives.ReadUInt32LittleEndian(message);
                ControlEvent what = (ControlEvent)BinaryPrimitives.ReadUInt16LittleEndian(message[4..]);
                ushort value = BinaryPrimitives.ReadUInt16LittleEndian(message[6..]);
                if (!whole || !TryTakeControl(id, what, value))
                {
                    _report($"A control message of the console's driver was dropped: {(whole ? $"event {(ushort)what}, port {id}, value {value}" : "too short")}.");
                }

                // A used buffer says that the message has been taken, with all that came of it.
                queue.Complete(queue.Chain.Head, 0);
                queue.Call();
            }
        }
        while (queue.Rearm());
    }

    private bool TryTakeControl(uint id, ControlEvent what, ushort value)
    {
        if (what == ControlEvent.DeviceReady)
        {
            ForgetDriver();
            _driverReady = value == 1;
            foreach (Port port in _ports)
            {
                if (_driverReady && port.IsPresent)
                {
                    Tell(port, News.Add);
                }
            }

            return _driverReady;
        }

        if (id >= (uint)_ports.Length || !_ports[id].IsAdded || what is not (ControlEvent.PortReady or ControlEvent.PortOpen))
        {
            return false;
        }

        Port subject = _ports[id];
        if (what == ControlEvent.PortReady)
        {
            subject.IsReady = value == 1;
            if (subject.IsReady)
            {
                Tell(
                    subject,
                    (subject.Options.IsConsole ? News.Console | News.Window : News.None)
                        | (subject.Options.Name.Length > 0 ? News.Name : News.None)
                        | (subject.End.IsOpen ? News.Open : News.None));
            }

            return subject.IsReady;
        }

        subject.IsOpenInHostOne = value != 0;
        subject.End.WantsInput = false;
        Receive(subject);
        return true;
    }

    private void SetPresent(Port port, bool present)
    {
        port.IsPresent = present;
        if ((!_driverReady && !port.IsAdded) || present == port.IsAdded)
        {
            port.News &= ~(present ? News.Remove : News.Add);
            return;
        }

        Tell(port, present ? News.Add : News.Remove);
    }

    private void OpenChanged(Port port)
    {
        if (port.IsReady)
        {
            Tell(port, News.Open);
        }

        if (port.TransmitQueue is { } queue)
        {
            Transmit(port, queue);
        }

        Receive(port);
    }

    private void Tell(Port port, News news)
    {
        port.News |= news;
        SendNews();
    }

    private void SendNews()
    {
        if (_controlReceive is not { IsReady: true } queue)
        {
            return;
        }

        for (int port = 0; port < _ports.Length; port++)
        {
            while (_ports[port].News != News.None)
            {
                if (!queue.TryTake())
                {
                    if (queue.Rearm())
                    {
                        continue;
                    }

                    queue.Call();
                    return;
                }

                int length = Compose(port);
                bool fits = queue.Chain.WritableLength >= (ulong)length;
                if (!fits)
                {
                    _report($"A control message of {length} bytes for console port {port} was dropped: the driver's buffer has {queue.Chain.WritableLength}.");
                }

                queue.Complete(queue.Chain.Head, fits ? (uint)queue.Chain.Write(0, _message.AsSpan(0, length)) : 0);
            }
        }

        queue.Call();
    }

    /// <summary>Makes the next message about a port that has news.</summary>
    private int Compose(int number)
    {
        Port port = _ports[number];
        News first = port.News & (News)(-(int)port.News);
        port.News &= ~first;
        int length = ControlSize;
        (ControlEvent what, ushort value) = first switch
        {
            News.Remove => (ControlEvent.PortRemove, (ushort)0),
            News.Add => (ControlEvent.PortAdd, (ushort)0),
            News.Console => (ControlEvent.ConsolePort, (ushort)1),
            News.Window => (ControlEvent.Resize, (ushort)0),
            News.Name => (ControlEvent.PortName, (ushort)1),
            _ => (ControlEvent.PortOpen, port.End.IsOpen ? (ushort)1 : (ushort)0),
        };
        BinaryPrimitives.WriteUInt32LittleEndian(_message, (uint)number);
        BinaryPrimitives.WriteUInt16LittleEndian(_message.AsSpan(4), (ushort)what);
        BinaryPrimitives.WriteUInt16LittleEndian(_message.AsSpan(6), value);
        switch (first)
        {
            case News.Add:
                port.IsAdded = true;
                break;
            case News.Remove:
                port.IsAdded = port.IsReady = port.IsOpenInHostOne = false;
                port.News &= News.Add;
                break;
            case News.Window:
                BinaryPrimitives.WriteUInt16LittleEndian(_message.AsSpan(8), port.Columns);
                BinaryPrimitives.WriteUInt16LittleEndian(_message.AsSpan(10), port.Rows);
                length += 4;
                break;
            case News.Name:
                length += Encoding.UTF8.GetBytes(port.Options.Name, _message.AsSpan(ControlSize));
                break;
            default:
                break;
        }

        return length;
    }

    /// <summary>From host 2's end to the driver's buffers.</summary>
    private void Receive(Port port)
    {
        if (port.ReceiveQueue is not { IsReady: true } queue)
        {
            port.End.WantsInput = false;
            return;
        }

        bool listens = !_multiport || port.IsOpenInHostOne;
        int count = 0;
        while (true)
        {
            if (!queue.TryTake())
            {
                if (queue.Rearm())
                {
                    continue;
                }

                port.End.WantsInput = false;
                break;
            }

            if (queue.Chain.WritableLength == 0 && count < Batch)
            {
                queue.Complete(queue.Chain.Head, 0);
                count++;
                continue;
            }

            uint filled = 0;
            while (listens && count < Batch && port.End.IsOpen && queue.Chain.Find(writable: true, filled, out byte* address, out ulong length))
            {
                nint part = port.End.Read(address, (nuint)length);
                filled += (uint)part;
                if ((ulong)part < length)
                {
                    break;
                }
            }

            if (filled == 0)
            {
                // The buffer waits for what comes.
                queue.Untake();
                port.End.WantsInput = listens;
                break;
            }

            queue.Complete(queue.Chain.Head, filled);
            count++;
        }

        queue.Call();
    }

    /// <summary>From the driver's buffers to host 2's end.</summary>
    private void Transmit(Port port, Virtqueue queue)
    {
        int count = 0;
        do
        {
            queue.SuppressKicks();
            while (queue.TryTake())
            {
                if (++count > Batch)
                {
                    queue.Untake();
                    queue.Call();
                    _next!.Add(queue);
                    return;
                }

                if (!TrySend(port, queue.Chain))
                {
                    queue.Untake();
                    queue.Call();
                    port.End.WantsRoom = true;
                    if (port.Options.IsConsole && !port.Patience!.IsSet)
                    {
                        port.Patience.Set(1000);
                    }

                    return;
                }

                port.Sent = 0;
                queue.Complete(queue.Chain.Head, 0);
            }

            queue.Call();
        }
        while (queue.Rearm());
    }

    /// <summary>Sends the rest of a buffer.</summary>
    /// <returns>False when there is no room for all of it yet. What nobody takes counts as sent.</returns>
    private static bool TrySend(Port port, DescriptorChain chain)
    {
        while (chain.Find(writable: false, port.Sent, out byte* address, out ulong length))
        {
            nint part = port.End.Write(address, (nuint)length);
            if (part < 0 || (part == 0 && port.NobodyReads))
            {
                return true;
            }

            if (part == 0)
            {
                return false;
            }

            port.NobodyReads = false;
            port.Sent += (ulong)part;
        }

        return true;
    }

    private void GiveUp(Port port)
    {
        port.NobodyReads = true;
        if (port.TransmitQueue is { } queue)
        {
            Transmit(port, queue);
        }
    }

    private void GoOn(Port port)
    {
        port.NobodyReads = false;
        port.Patience!.Stop();
        port.End.WantsRoom = false;
        if (port.TransmitQueue is { } queue)
        {
            Transmit(port, queue);
        }
    }

    private sealed class Port(ConsolePortOptions options)
    {
        internal ConsolePortOptions Options { get; } = options;

        internal PortEnd End { get; } = new(options);

        internal ushort Columns { get; set; }

        internal ushort Rows { get; set; }

        /// <summary>It is to exist for the driver.</summary>
        internal bool IsPresent { get; set; } = true;

        /// <summary>The driver was told that it exists.</summary>
        internal bool IsAdded { get; set; }

        /// <summary>The driver has set it up.</summary>
        internal bool IsReady { get; set; }

        /// <summary>A program of host 1 has it open.</summary>
        internal bool IsOpenInHostOne { get; set; }

        internal News News { get; set; }

        internal Virtqueue? ReceiveQueue { get; set; }

        internal Virtqueue? TransmitQueue { get; set; }

        /// <summary>Bytes of the transmit queue's next buffer that are sent already.</summary>
        internal ulong Sent { get; set; }

        /// <summary>Runs while a console waits for room.</summary>
        internal Alarm? Patience { get; set; }

        internal bool NobodyReads { get; set; }
    }
}
