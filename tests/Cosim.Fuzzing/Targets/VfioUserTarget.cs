// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.VfioUser;
using Cosim.VfioUser.Internal;

namespace Cosim.Fuzzing.Targets;

/// <summary>
/// A vfio-user server on its socket: messages with their descriptors, whole, cut and joined, answers and events of a client that may do anything.
/// Everything that wants an answer has one, everything that reaches the device is in order, and nothing stays open.
/// </summary>
/// <remarks>
/// Bytes 0 to 2: which server, whether its link is down at first and whether the client takes answers; what the device holds back; which VERSION comes
/// first. Then the steps of <see cref="Step"/>.
/// </remarks>
public sealed class VfioUserTarget : FuzzTarget
{
    internal const int Head = 3;

    /// <summary>How a message is sent: bit 7 its size field is put right; 0 whole, 1 together with what follows, else so many bytes first.</summary>
    internal const int SizeIsRight = 0x80;

    private const int MostSteps = 48;
    private const int MostRounds = 4000;
    private const int MemoryBytes = 1 << 16;

    private readonly DescriptorCount _open = new();
    private readonly byte[] _message = new byte[FuzzInput.MostBytes];
    private readonly byte[] _last = new byte[1 << 16];
    private readonly int[] _passed = new int[Wire.MaxDescriptors + 4];
    private Served? _usual;
    private Served? _strict;
    private int _present;
    private bool _isRestarted;
    private EventFd _event = null!;
    private EventFd _unmask = null!;
    private SharedMemory _memory = null!;
    private SharedMemory _short = null!;
    private string? _folder;
    private int _lastLength;

    private Served Present => _present == 0 ? _usual! : _strict!;

    internal enum Step
    {
        Send,
        Complete,
        Dma,
        Answer,
        Raise,
        Twin,
        Link,
        Reconnect,
        Reads,
        Again,
        Signal,
        Holds,
        MapMany,
        Truncate,
        Time,
        Server,
        Count,
    }

    public override string Name => "vfio-user";

    public override string What => "messages to a vfio-user server";

    public override bool IsTimed => true;

    public override IReadOnlyList<string> Classes { get; } =
    [
        "Cosim.VfioUser.VfioUserServer", "Cosim.VfioUser.GuestMemory", "Cosim.VfioUser.DmaRange", "Cosim.VfioUser.Internal.DescriptorQueue", "Cosim.VfioUser.Internal.DirtyLog",
        "Cosim.VfioUser.Internal.DmaMessages", "Cosim.VfioUser.Internal.InterruptTable", "Cosim.VfioUser.Internal.SendQueue", "Cosim.VfioUser.Internal.TwinSocket",
        "Cosim.VfioUser.Internal.VersionData",
    ];

    public override IReadOnlyList<byte[]> Words => VfioUserGrammar.Words;

    // The buffers of both ends, which grow with the greatest message, and the table of DMA messages.
    public override long MostAllocated(int length) => 16 << 20;

    public override void Generate(FuzzInput input, FuzzRandom random) => VfioUserGrammar.Generate(input, random);

    public override void Mark(FuzzInput input) => Records.Mark(input, Head);

    public override void Execute(ReadOnlySpan<byte> input)
    {
        try
        {
            Span<byte> head = stackalloc byte[Head];
            head.Clear();
            input[..Math.Min(input.Length, Head)].CopyTo(head);
            EnsureServers();
            Begin(head);
            Records steps = new(input.Length > Head ? input[Head..] : default);
            for (int done = 0; done < MostSteps && steps.Next(); done++)
            {
                Do((Step)(steps.Kind % (int)Step.Count), new StepArguments(steps.Payload));
            }

            End(Present);
        }
        catch
        {
            // Nothing of it may be left for the next one.
            Forget();
            throw;
        }
    }

    protected override void Dispose(bool disposing)
    {
        Forget();
        base.Dispose(disposing);
    }

    private static void Settle(Served served)
    {
        // A handler that asks to be called again shows nothing in the count of what is ready.
        int quiet = 0;
        for (int rounds = 0; quiet < 3; rounds++)
        {
            Require(rounds < MostRounds, "server and client do not come to rest");
            quiet = served.Loop.RunOnce(0) != 0 | served.Client.Receive() ? 0 : quiet + 1;
        }

        served.Device.CheckMap();
    }

    private void Begin(ReadOnlySpan<byte> head)
    {
        _present = head[0] & 1;
        _isRestarted = false;
        Served served = Present;
        served.Device.Holds = head[1];
        served.Server.LinkUp = (head[0] & 2) == 0;
        Connect(served);
        served.Client.Reads = (head[0] & 4) == 0;
        _lastLength = 0;
        if (VfioUserGrammar.Version(head[2]) is { Length: > 0 } version)
        {
            served.Client.Send(version, []);
            Settle(served);
        }
    }

    private static void Connect(Served served)
    {
        served.Client.Connect(served.Server.SocketPath);
        // What its smaller limits end is ended rightly.
        served.Client.MayBeCut = served.IsStrict;
        Settle(served);
    }

    private void End(Served served)
    {
        served.Client.Reads = true;
        served.Server.LinkUp = true;
        served.Device.Holds = 0;
        Settle(served);
        served.Device.CompleteAll();
        Settle(served);
        served.Client.CheckAnswered();
        served.Client.Close();
        Settle(served);
        Require(!served.Device.HasClient && served.Server.Memory.Count == 0 && !served.Server.ClientWaiting, "a client is gone, and is still served");
        Require(!served.Device.HasDma, "a DMA has not ended");
        int left = _open.Left();
        Require(left == 0, $"{left} descriptors were left open");
        if (_memory.Length != MemoryBytes)
        {
            _memory.Truncate(MemoryBytes);
        }
    }

    private void Do(Step step, StepArguments arguments)
    {
        Served served = Present;
        switch (step)
        {
            case Step.Send:
                Send(served, arguments.U8(), arguments.U8(), arguments.U8(), arguments.Rest());
                return;
            case Step.Complete:
                byte place = arguments.U8();
                served.Device.CompleteNothing(place * 3);
                served.Device.Complete(place, (arguments.U8() & 1) != 0);
                break;
            case Step.Dma:
                served.Device.BeginDma(arguments.U8(), arguments.U64(), arguments.U16());
                break;
            case Step.Answer:
                served.Client.Answer(arguments.U8(), arguments.U8());
                break;
            case Step.Raise:
                int vector = arguments.U8() % (PlayedDevice.Vectors + 1);
                _ = vector == PlayedDevice.Vectors ? served.Server.RaiseIntx() : served.Server.RaiseMsix(vector);
                break;
            case Step.Twin:
                Twin(served, arguments.U8(), arguments.Rest());
                break;
            case Step.Link:
                served.Server.LinkUp = (arguments.U8() & 1) != 0;
                break;
            case Step.Reconnect:
                Reconnect(served, arguments.U8());
                break;
            case Step.Reads:
                served.Client.Reads = (arguments.U8() & 1) != 0;
                break;
            case Step.Again:
                for (int times = arguments.U8() & 63; times > 0; times--)
                {
                    served.Client.Send(_last.AsSpan(0, _lastLength), []);
                }

                break;
            case Step.Signal:
                byte which = arguments.U8();
                if ((which & 0x80) != 0)
                {
                    _unmask.Signal();
                }
                else
                {
                    served.Client.RingDoorbell(which);
                }

                break;
            case Step.Holds:
                served.Device.Holds = arguments.U8();
                break;
            case Step.MapMany:
                MapMany(served, arguments.U8(), arguments.U64());
                break;
            case Step.Server when !_isRestarted:
                _isRestarted = true;
                // It ends under its client, and another one begins where it was.
                Forget();
                EnsureServers();
                Connect(Present);
                Present.Client.Send(VfioUserGrammar.Version(arguments.U8()), []);
                served = Present;
                break;
            case Step.Truncate:
                // A client may take memory away that it has lent.
                _memory.Truncate((arguments.U8() & 31) * 4096);
                break;
            default:
                // On the server with little patience, the answers that do not come are given up.
                if (served.IsStrict && served.Device.HasDma)
                {
                    _ = served.Loop.RunOnce(20);
                }

                break;
        }

        Settle(served);
    }

    // The first byte of its arguments is how many descriptors come with it, the second which ones.
    private void Send(Served served, byte how, byte count, byte kinds, ReadOnlySpan<byte> bytes)
    {
        Span<byte> message = _message.AsSpan(0, bytes.Length);
        bytes.CopyTo(message);
        if ((how & SizeIsRight) != 0 && message.Length >= Wire.HeaderSize)
        {
            BinaryPrimitives.WriteInt32LittleEndian(message[4..], message.Length);
        }

        _lastLength = Math.Min(message.Length, _last.Length);
        message[.._lastLength].CopyTo(_last);
        ReadOnlySpan<int> descriptors = Descriptors(count, kinds);
        int first = how & ~SizeIsRight;
        if (first > 1 && first < message.Length)
        {
            served.Client.Send(message[..first], descriptors);
            Settle(served);
            served.Client.Send(message[first..], []);
        }
        else
        {
            served.Client.Send(message, descriptors);
        }

        if (first != 1)
        {
            Settle(served);
        }
    }

    private ReadOnlySpan<int> Descriptors(byte count, byte kinds)
    {
        int number = Math.Min(count, _passed.Length);
        for (int i = 0; i < number; i++)
        {
            // All are of the lower kind; the last one is of the upper.
            _passed[i] = (i + 1 < number ? kinds & 7 : (kinds >> 3) & 7) switch
            {
                0 or 1 => _event.Fd,
                2 => _unmask.Fd,
                3 or 4 or 5 => _memory.Fd,
                6 => _short.Fd,
                _ => 2,
            };
        }

        return _passed.AsSpan(0, number);
    }

    private void Twin(Served served, byte how, ReadOnlySpan<byte> bytes)
    {
        if (how == 0)
        {
            served.Client.CloseTwin();
        }
        else
        {
            served.Client.SendTwin(bytes, Descriptors((byte)(how & 3), how));
        }
    }

    private static void Reconnect(Served served, byte how)
    {
        if ((how & 1) != 0)
        {
            // Turned away while the first one is served.
            int second = UnixSocket.Connect(served.Server.SocketPath);
            _ = served.Loop.RunOnce(0);
            _ = Libc.Close(second);
            return;
        }

        // The one who leaves and the one who comes are seen in the same round, or not.
        served.Client.Close();
        if ((how & 2) != 0)
        {
            Settle(served);
        }

        Connect(served);
        served.Client.Send(VfioUserGrammar.Version((byte)(how >> 2)), []);
    }

    private void MapMany(Served served, byte count, ulong address)
    {
        Span<byte> message = stackalloc byte[Wire.HeaderSize + Wire.DmaMapSize];
        for (int i = 0; i < Math.Min((int)count, 140); i++)
        {
            message.Clear();
            BinaryPrimitives.WriteUInt16LittleEndian(message, (ushort)i);
            BinaryPrimitives.WriteUInt16LittleEndian(message[2..], (ushort)VfioUserCommand.DmaMap);
            BinaryPrimitives.WriteInt32LittleEndian(message[4..], message.Length);
            BinaryPrimitives.WriteInt32LittleEndian(message[16..], Wire.DmaMapSize);
            BinaryPrimitives.WriteUInt32LittleEndian(message[20..], (uint)DmaAccess.ReadWrite);
            BinaryPrimitives.WriteUInt64LittleEndian(message[32..], address + ((ulong)i * 4096));
            BinaryPrimitives.WriteUInt64LittleEndian(message[40..], 4096);
            served.Client.Send(message, []);
        }
    }

    private void EnsureServers()
    {
        if (_usual is not null)
        {
            return;
        }

        _folder = Directory.CreateTempSubdirectory("fuzz").FullName;
        _event = new EventFd();
        _unmask = new EventFd();
        _memory = new SharedMemory(MemoryBytes, DescriptorCount.MemoryName);
        _short = new SharedMemory(100, DescriptorCount.MemoryName);
        _usual = new Served(Path.Combine(_folder, "usual"), new VfioUserServerOptions { MaxDataTransferSize = PlayedDevice.MostTransfer, MaxDmaMaps = 100, Report = Reported }, isStrict: false);
        _strict = new Served(
            Path.Combine(_folder, "strict"),
            new VfioUserServerOptions { MaxDataTransferSize = PlayedDevice.MostTransfer, MaxDmaMaps = 3, MaxOutstanding = 2, MaxQueuedReplyBytes = 1 << 16, DmaTimeoutMilliseconds = 1 },
            isStrict: true);

        // What the runtime opens at the first connection is none of the server's.
        foreach (Served served in new[] { _usual, _strict })
        {
            Connect(served);
            served.Client.Close();
            Settle(served);
        }

        _open.Begin();
    }

    private void Reported(string sentence) => Require(sentence.Length is > 0 and < 1000 && !sentence.Contains("Exception", StringComparison.Ordinal), sentence);

    private void Forget()
    {
        if (_folder is null)
        {
            return;
        }

        _usual?.Dispose();
        _strict?.Dispose();
        _usual = _strict = null;
        _event.Dispose();
        _unmask.Dispose();
        _memory.Dispose();
        _short.Dispose();
        Directory.Delete(_folder, recursive: true);
        _folder = null;
    }

    /// <summary>A server with its device and its client.</summary>
    private sealed class Served : IDisposable
    {
        public Served(string path, VfioUserServerOptions options, bool isStrict)
        {
            IsStrict = isStrict;
            Server = new VfioUserServer(Loop, path, Device, options);
            Device.Server = Server;
            Client = new PlayedClient(Device);
        }

        public EventLoop Loop { get; } = new();

        public PlayedDevice Device { get; } = new();

        public VfioUserServer Server { get; }

        public PlayedClient Client { get; }

        /// <summary>Its limits are small.</summary>
        public bool IsStrict { get; }

        public void Dispose()
        {
            Client.Close();
            try
            {
                Server.Dispose();
                Server.Dispose();
            }
            catch (FindingException)
            {
                // What is wrong was found before.
            }

            Loop.Dispose();
            Device.Dispose();
        }
    }
}
