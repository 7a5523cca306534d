// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Scheduling;
using Cosim.Virtio;

namespace Cosim.Fuzzing.Targets;

/// <summary>The mailboxes: a session is opened with a back end that answers what the input says.</summary>
/// <remarks>
/// Steps: 0 host 2 posts the bytes that follow; 1 it answers the request under way, with these bytes as payload; 2 it takes the message; 3 the session
/// ends; 4 a further request with these bytes; 5 time goes on; 6 it posts the bytes that follow and finds no room for the next message; 7 it posts a part of
/// a device's state with these bytes, over and over, and takes no reply (once in an input).
/// </remarks>
public sealed class MailboxTarget : FuzzTarget
{
    private const int MailboxBytes = 1024;
    private const int Functions = 2;
    private const int Queues = 4;

    // More than replies are kept for.
    private const int ManyStates = 300;

    private readonly Mailboxes _fpga = new();
    private readonly ManagementPort _port;
    private readonly SteppedTime _time = new();
    private readonly byte[] _message = new byte[MailboxBytes];
    private readonly List<Task> _tasks = [];

    public MailboxTarget() => _port = new ManagementPort(_fpga, 1) { Report = Reported, EventReceived = _ => { } };

    public override string Name => "mailbox";

    public override string What => "messages of a back end";

    public override IReadOnlyList<string> Classes { get; } = ["Cosim.Virtio.MailboxHeader", "Cosim.Scheduling.BackEndLink", "Cosim.Scheduling.BackEnd"];

    // The greatest pool that may be lent has a map of 19 MB; a flood of states costs less than another one.
    public override long MostAllocated(int length) => (21 << 20) + (400L * length);

    public override void Generate(FuzzInput input, FuzzRandom random)
    {
        int devices = random.Between(1, Functions);
        Step(input, 2);
        Answer(input, random, (1UL, 4), ((ulong)devices, 4), ((ulong)random.Below(64) << 12, 8), (1UL << (random.OneIn(500) ? random.Between(20, 34) : 20), 8));
        for (int i = 0; i < devices; i++)
        {
            int configuration = random.OneIn(3) ? 0 : random.Between(1, 64);
            Answer(input, random, ((ulong)random.Between(1, 5), 2), ((ulong)random.Between(1, Queues), 2), (0x0100_0000UL, 4), (0x1100_1AF4UL, 4), (1UL << random.Between(1, 15), 4), ((ulong)configuration, 4));
            Answer(input, random, (0UL, 8));
            Answer(input, random, (VirtioFeatures.Version1 | VirtioFeatures.VhostUserProtocolFeatures | (uint)random.Next(), 8));
            Answer(input, random, (VhostUserProtocolFeatures.Required | (uint)random.Next(), 8));
            Answer(input, random, (0UL, 8));
            if (configuration > 0)
            {
                int start = Records.Begin(input, 1);
                for (int at = 0; at < 12 + configuration; at++)
                {
                    _ = input.Add((byte)at);
                }

                Records.End(input, start);
                Step(input, 2);
            }
        }

        for (int i = 0; i < devices; i++)
        {
            Answer(input, random, (0UL, 8));
        }

        for (int more = random.Below(3); more > 0; more--)
        {
            switch (random.Below(8))
            {
                case 5:
                    int start = Records.Begin(input, (byte)(random.OneIn(3) ? 6 : 0));
                    State(input, random, (ulong)random.Below(40), random.OneIn(4) ? 0 : MailboxHeader.NeedReply);
                    Records.End(input, start);
                    break;
                case 6:
                    start = Records.Begin(input, 7);
                    _ = input.Add(new byte[random.Below(40)]);
                    Records.End(input, start);
                    break;
                case 0:
                    start = Records.Begin(input, 0);
                    _ = input.Number(MailboxHeader.ConfigChange, 4).Number(MailboxHeader.Version, 4).Number(0, 4, FieldKind.Length).Number((ulong)random.Below(3), 4);
                    Records.End(input, start);
                    break;
                case 1:
                    start = Records.Begin(input, 4);
                    _ = input.Add(random.Pick(new byte[16], new byte[1008], [1]));
                    Records.End(input, start);
                    Answer(input, random, ((ulong)random.Below(2), 8));
                    break;
                case 2:
                    start = Records.Begin(input, 5);
                    _ = input.Add(new byte[random.Below(3)]);
                    Records.End(input, start);
                    break;
                default:
                    Step(input, (byte)random.Between(2, 3));
                    break;
            }
        }

        input.IsMarked = true;
    }

    public override void Mark(FuzzInput input) => Records.Mark(input, 0);

    public override void Execute(ReadOnlySpan<byte> input)
    {
        _port.Abandon();
        _fpga.Reset();
        _tasks.Clear();
        BackEndLink link = new(_port, TimeSpan.FromSeconds(1), _time);
        string? lost = null;
        bool flooded = false;
        // Nobody has to listen.
        bool listens = input.Length % 4 != 3;
        if (listens)
        {
            link.Report = Reported;
            link.Lost = reason => lost = reason;
            link.ConfigurationChanged = _ => { };
            link.StateReceived = (device, part) => device + (uint)part.Length;
        }

        Task<BackEnd> session = BackEnd.Open(link, Functions, Queues);
        _tasks.Add(session);
        Records steps = new(input);
        while (steps.Next())
        {
            switch (steps.Kind)
            {
                case 0:
                    Post(link, steps.Payload);
                    break;
                case 1 when _fpga.Message.Length >= MailboxHeader.Bytes:
                    Answer(link, steps.Payload);
                    break;
                case 2:
                    _fpga.IsFull = false;
                    link.Acknowledged();
                    break;
                case 3:
                    _fpga.IsFull = false;
                    link.Abandon("the input says so");
                    break;
                case 4 when _tasks.Count < 16:
                    byte[] payload = steps.Payload[..Math.Min(steps.Payload.Length, MailboxHeader.MaxPayload)].ToArray();
                    _tasks.Add(payload.Length % 2 == 0 ? link.Command(payload.Length % 3, MailboxRequest.SetConfig, payload) : link.Request(0, MailboxRequest.GetVringBase, payload, 8));
                    break;
                case 5:
                    _time.Now += (steps.Payload.Length + 1) * _time.TimestampFrequency / 2;
                    long? deadline = link.Deadline;
                    link.CheckDeadline();
                    Require(!listens || lost is null == (deadline is null || _time.Now < deadline), "a deadline is over and nobody is told, or the other way round");
                    break;
                case 6:
                    Post(link, steps.Payload, waits: true);
                    break;
                case 7 when !flooded:
                    flooded = true;
                    for (int i = 0; i < ManyStates && lost is null; i++)
                    {
                        PostState(link, steps.Payload);
                    }

                    Require(!listens || lost is not null, "replies that nobody takes are kept for ever");
                    break;
                default:
                    break;
            }

            if (lost is not null)
            {
                Require(lost.Length > 0, "the loss has no reason");
                link.Abandon(lost);
                _fpga.IsFull = false;
                lost = null;
            }

            Pump();
        }

        link.Abandon("the input is over");
        Pump();
        foreach (Task task in _tasks)
        {
            Require(task.IsCompleted, "a request does not end with its session");
            if (task.IsFaulted)
            {
                Exception cause = task.Exception.InnerException!;
                Require(cause is BackEndException && cause.Message.Length > 0, $"a request ends with {cause}");
            }
        }

        if (session.IsCompletedSuccessfully)
        {
            Check(session.Result);
            Fit(session.Result, input[0]);
        }
    }

    private static void Step(FuzzInput input, byte kind) => Records.End(input, Records.Begin(input, kind));

    private static void State(FuzzInput input, FuzzRandom random, ulong size, uint flags)
    {
        _ = input.Number(MailboxHeader.DeviceState, 4).Number(MailboxHeader.Version | flags, 4).Number(size, 4, FieldKind.Length).Number((ulong)random.Below(3), 4);
        _ = input.Add(new byte[size]);
    }

    private static void Answer(FuzzInput input, FuzzRandom random, params ReadOnlySpan<(ulong Value, int Size)> fields)
    {
        int start = Records.Begin(input, 1);
        foreach ((ulong value, int size) in fields)
        {
            _ = input.Number(value, size);
        }

        Records.End(input, start);
        if (!random.OneIn(8))
        {
            Step(input, 2);
        }
    }

    private static void Check(BackEnd backEnd)
    {
        Require(backEnd.Devices.Count is >= 1 and <= Functions, $"a session has {backEnd.Devices.Count} devices");
        Require(backEnd.Pool.Start % 4096 == 0 && backEnd.Pool.MaxAllocation > 0, "a session has a pool that is not aligned, or empty");
        foreach (BackEndDevice device in backEnd.Devices)
        {
            Require(device.Queues is >= 1 and <= Queues && device.Configuration.Length <= 256, "a device has too many queues, or too long a configuration space");
            Require(device.QueueSizeLimit is >= 2 and <= 32768 && (device.QueueSizeLimit & (device.QueueSizeLimit - 1)) == 0, $"a device has queues of {device.QueueSizeLimit}");
        }
    }

    // Whether this back end can go on for one that is as it, but for one thing.
    private static void Fit(BackEnd backEnd, byte which)
    {
        BackEndDevice device = backEnd.Devices[0];
        Require(backEnd.Mismatch(0, device, device.Features) is null, "a back end cannot go on for itself");
        int difference = which % 5;
        string? mismatch = difference switch
        {
            0 => backEnd.Mismatch(backEnd.Devices.Count, device, 0),
            1 => backEnd.Mismatch(0, device with { DeviceId = device.DeviceId + 1 }, 0),
            2 => backEnd.Mismatch(0, device with { Queues = device.Queues + 1 }, 0),
            3 => backEnd.Mismatch(0, device with { Configuration = new byte[device.Configuration.Length + 1] }, 0),
            _ => backEnd.Mismatch(0, device, device.Features ^ 0xFF_FFFF),
        };
        Require(difference == 4 ? (mismatch is null) == ((~device.Features & 0xFF_FFFF) == 0) : mismatch is { Length: > 0 and < 300 }, "a back end goes on for one that is not as it");
    }

    private static void Reported(string what) => Require(what.Length is > 0 and < 400, "a report is empty, or too long");

    private void PostState(BackEndLink link, ReadOnlySpan<byte> state)
    {
        int length = Math.Min(state.Length, MailboxHeader.MaxPayload);
        new MailboxHeader((MailboxRequest)MailboxHeader.DeviceState, MailboxHeader.Version | MailboxHeader.NeedReply, (uint)length, 0).Write(_message);
        state[..length].CopyTo(_message.AsSpan(MailboxHeader.Bytes));
        Post(link, _message.AsSpan(0, MailboxHeader.Bytes + length));
    }

    private void Post(BackEndLink link, ReadOnlySpan<byte> message, bool waits = false)
    {
        // What the FPGA lets host 2 post: 1 to 1024 bytes (CONTRACT.md, section 3).
        int length = Math.Min(message.Length, MailboxBytes);
        if (length == 0)
        {
            return;
        }

        bool good = MailboxHeader.TryRead(message[..length], out MailboxHeader header);
        if (good)
        {
            header.Write(_message);
            Require(_message.AsSpan(0, MailboxHeader.Bytes).SequenceEqual(message[..MailboxHeader.Bytes]), "a header is another one when it is written again");
            Require(header.Size <= MailboxHeader.MaxPayload && MailboxHeader.Bytes + header.Size <= length, "a header says more than the message has");
        }

        _fpga.SetPosted(message[..length]);
        Task done = link.Posted((uint)length);
        if (waits)
        {
            link.CallWhenEmpty();
        }

        Pump();
        Require(done.IsCompletedSuccessfully, $"a posted message ends with {done.Exception?.InnerException}");
        Require(_fpga.IsPostedTaken, "host 2's mailbox is not emptied");
    }

    private void Answer(BackEndLink link, ReadOnlySpan<byte> payload)
    {
        int length = Math.Min(payload.Length, MailboxHeader.MaxPayload);
        _ = MailboxHeader.TryRead(_fpga.Message, out MailboxHeader asked);
        new MailboxHeader(asked.Request, MailboxHeader.Version | MailboxHeader.Reply, (uint)length, asked.Device).Write(_message);
        payload[..length].CopyTo(_message.AsSpan(MailboxHeader.Bytes));
        Post(link, _message.AsSpan(0, MailboxHeader.Bytes + length));
    }

    private void Pump()
    {
        for (int steps = 0; _fpga.Deliver(_port); steps++)
        {
            Require(steps < 4096, "the scheduler goes on reading registers");
        }
    }

    /// <summary>Time that the input moves.</summary>
    private sealed class SteppedTime : TimeProvider
    {
        public long Now { get; set; }

        public override long TimestampFrequency => 1000;

        public override long GetTimestamp() => Now;
    }

    /// <summary>The mailboxes' registers.</summary>
    private sealed class Mailboxes : ManagementFpga
    {
        private readonly byte[] _toHostTwo = new byte[MailboxBytes];
        private readonly byte[] _posted = new byte[MailboxBytes];
        private int _length;

        public bool IsFull { get; set; }

        public bool IsPostedTaken { get; private set; }

        /// <summary>The message that host 2 has got last.</summary>
        public ReadOnlySpan<byte> Message => _toHostTwo.AsSpan(0, _length);

        public new void Reset()
        {
            base.Reset();
            _length = 0;
            IsFull = false;
        }

        public void SetPosted(ReadOnlySpan<byte> message)
        {
            message.CopyTo(_posted);
            _posted.AsSpan(message.Length).Clear();
            IsPostedTaken = false;
        }

        protected override void WriteRegister(uint address, uint value)
        {
            if (address is >= RegisterMap.Management.F2hData and < RegisterMap.Management.F2hData + MailboxBytes)
            {
                Require(!IsFull, "a message is written over one that host 2 has not taken");
                BinaryPrimitives.WriteUInt32LittleEndian(_toHostTwo.AsSpan((int)(address - RegisterMap.Management.F2hData)), value);
            }
            else if (address == RegisterMap.Management.F2hControl)
            {
                Require(value is >= MailboxHeader.Bytes and <= MailboxBytes, $"a message of {value} bytes is sent");
                _length = (int)value;
                IsFull = true;
                Require(MailboxHeader.TryRead(Message, out MailboxHeader header) && MailboxHeader.Bytes + header.Size == _length, "a message is sent with a wrong header");
                bool answersState = header is { IsReply: true, Size: 8 } && (uint)header.Request == MailboxHeader.DeviceState;
                Require(answersState || (!header.IsReply && (header.Flags & MailboxHeader.NeedReply) != 0), "what is sent is neither a request nor the answer to a state");
            }
            else if (address == RegisterMap.Management.H2fControl)
            {
                IsPostedTaken = true;
            }
        }

        protected override uint ReadRegister(uint address) => address is >= RegisterMap.Management.H2fData and < RegisterMap.Management.H2fData + MailboxBytes
            ? BinaryPrimitives.ReadUInt32LittleEndian(_posted.AsSpan((int)(address - RegisterMap.Management.H2fData)))
            : throw new FindingException($"the register 0x{address:x} is read");
    }
}
